import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { Container, Pod } from "../../api/types.ts";
import { NodeHarness } from "../testing/harness.ts";
import type { PodWorker } from "./worker.ts";

const Mi = 2 ** 20;
type Sizes = NonNullable<Container["resources"]>;
const sized = (cpu: string, memory: string, limits: Record<string, string> = {}): Sizes => ({ requests: { cpu, memory }, ...(Object.keys(limits).length > 0 && { limits }) });
const app = (resources: Sizes, more: Partial<Container> = {}): Pod["spec"] & object => ({ containers: [{ name: "app", image: "app:1", resources, ...more }] });
const restarts = (resourceName: "cpu" | "memory"): Partial<Container> => ({ resizePolicy: [{ resourceName, restartPolicy: "RestartContainer" }] });

async function resize(node: NodeHarness, resources_: Sizes, name = "web"): Promise<void> {
  const pod = node.pod(name)!;
  const generation = (pod.metadata.generation ?? 0) + 1;
  await node.client.patch(resources.pods, "default", name, { metadata: { generation }, spec: { containers: [{ ...pod.spec!.containers[0]!, resources: resources_ }] } });
  await node.settle();
}
/** What a client sees of it: what is in force, what was given, and the conditions. */
function shown(node: NodeHarness, name = "web"): unknown {
  const { containerStatuses, conditions } = node.pod(name)!.status!;
  const { resources, allocatedResources, restartCount } = containerStatuses![0]! as { resources?: Sizes; allocatedResources?: Sizes["requests"]; restartCount: number };
  return { resources, allocatedResources, restartCount, conditions: conditions!.filter(({ type }) => type.startsWith("PodResize")).map(({ type, reason, message }) => [type, reason, message].filter((word) => word !== undefined).join(" ")) };
}
const said = (node: NodeHarness) => node.events.filter(({ reason }) => /^Resize|^Runtime|^Killing/.test(reason)).map(({ type, reason, message }) => `${type} ${reason}: ${message}`);

test("more is given to what runs, without a restart", async () => {
  await using node = new NodeHarness();
  await node.run({ ...app(sized("100m", "64Mi", { cpu: "500m", memory: "128Mi" })) });
  assert.deepEqual(shown(node), { resources: sized("100m", "64Mi", { cpu: "500m", memory: "128Mi" }), allocatedResources: { cpu: "100m", memory: "64Mi" }, restartCount: 0, conditions: [] });
  const more = sized("200m", "64Mi", { cpu: "1", memory: "256Mi" });
  await resize(node, more);
  assert.deepEqual(node.sandbox.started.map(({ resized }) => resized), [{ memoryBytes: 256 * Mi, cpuMillis: 1000, cpuRequestMillis: 200 }]);
  assert.deepEqual(shown(node), { resources: more, allocatedResources: more.requests, restartCount: 0, conditions: [] });
  assert.equal(node.pod()!.status!.observedGeneration, 2);
  const summary = '{"containers":[{"name":"app","resources":{"limits":{"cpu":"1","memory":"256Mi"},"requests":{"cpu":"200m","memory":"64Mi"}}}],"generation":2}';
  const [started, kept, completed] = said(node).slice(1);
  assert.deepEqual([started, completed], [`Normal ResizeStarted: Pod resize started: ${summary}`, `Normal ResizeCompleted: Pod resize completed: ${summary}`]);
  assert.match(kept!, /^Warning RuntimeNotResized: Container app was resized while it runs and goes on with what its former limits set: NODE_OPTIONS="--max-old-space-size=96/);
});

test("requests alone, and other words for the same, change nothing of what runs", async () => {
  await using node = new NodeHarness();
  await node.run({ ...app(sized("100m", "64Mi", { cpu: "500m", memory: "128Mi" })) });
  await resize(node, sized("0.1", "65536Ki", { cpu: "0.5", memory: "128Mi" }));
  assert.deepEqual(said(node).filter((line) => line.includes("Resize")), []);
  await resize(node, sized("200m", "64Mi", { cpu: "500m", memory: "128Mi" }));
  assert.deepEqual(said(node).filter((line) => line.includes("RuntimeNotResized")), [], "no limit changed");
  assert.equal(said(node).filter((line) => line.includes("ResizeCompleted")).length, 1);
});

test("where the policy says so, the container is started anew with what it has now", async () => {
  for (const restartPolicy of ["Always", "OnFailure"] as const) {
    await using node = new NodeHarness();
    await node.run({ restartPolicy, ...app(sized("100m", "64Mi", { cpu: "500m", memory: "128Mi" }), restarts("memory")) });
    await resize(node, sized("100m", "64Mi", { cpu: "1", memory: "128Mi" }));
    assert.equal(node.sandbox.started.length, 1, "the CPU has another policy");
    node.sandbox.started[0]!.onSignal = () => node.sandbox.started[0]!.exit(0);
    const more = sized("100m", "64Mi", { cpu: "1", memory: "256Mi" });
    await resize(node, more);
    assert.deepEqual(node.sandbox.started.map(({ spec }) => [spec.limits.memoryBytes, spec.env["GOMEMLIMIT"]]), [[128 * Mi, "115MiB"], [256 * Mi, "230MiB"]]);
    assert.deepEqual(shown(node), { resources: more, allocatedResources: more.requests, restartCount: 1, conditions: [] });
    assert.ok(said(node).includes("Normal Killing: Container app resize requires restart"));
    assert.match(said(node).at(-1)!, /^Normal ResizeCompleted|^Normal RuntimeConfigured/);
  }
});

test("what does not fit now waits until others go; what never fits is refused; what is taken back is forgotten", async () => {
  await using node = new NodeHarness();
  const other: PodWorker = await node.run(app(sized("2", "1Gi")), { name: "other" });
  await node.run(app(sized("1", "1Gi")));
  await resize(node, sized("3", "1Gi"));
  const waiting = "PodResizePending Deferred Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000";
  assert.deepEqual(shown(node), { resources: sized("1", "1Gi"), allocatedResources: sized("1", "1Gi").requests, restartCount: 0, conditions: [waiting] });
  assert.deepEqual(said(node).slice(-1), [`Warning ResizeDeferred: Pod resize Deferred: {"containers":[{"name":"app","resources":{"requests":{"cpu":"3","memory":"1Gi"}}}],"generation":2,"error":"Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000"}`]);
  await resize(node, sized("1", "8Gi"));
  assert.deepEqual((shown(node) as { conditions: string[] }).conditions, [`PodResizePending Infeasible Node didn't have enough capacity: memory, requested: ${8192 * Mi}, capacity: ${4096 * Mi}`]);
  await resize(node, sized("1", "1Gi"));
  assert.deepEqual((shown(node) as { conditions: string[] }).conditions, []);
  await resize(node, sized("3", "1Gi"));
  assert.deepEqual((shown(node) as { conditions: string[] }).conditions, [waiting]);
  await node.client.delete(resources.pods, "default", "other");
  await node.settle();
  await other.ended;
  await node.settle();
  assert.deepEqual(shown(node), { resources: sized("3", "1Gi"), allocatedResources: sized("3", "1Gi").requests, restartCount: 0, conditions: [] });
});

test("memory is not taken from a program that uses it: said, and tried again", async () => {
  await using node = new NodeHarness();
  await node.run(app(sized("100m", "64Mi", { memory: "128Mi" })));
  const [program] = node.sandbox.started;
  program!.memoryBytes = 100 * Mi;
  const less = sized("100m", "64Mi", { memory: "96Mi" });
  await resize(node, less);
  const text = `cannot decrease memory limits: attempting to set container "app" memory limit (${96 * Mi}) below current usage (${100 * Mi})`;
  assert.deepEqual(shown(node), { resources: sized("100m", "64Mi", { memory: "128Mi" }), allocatedResources: less.requests, restartCount: 0, conditions: [`PodResizeInProgress Error ${text}`] });
  await node.advance(60_000);
  assert.equal(said(node).filter((line) => line.startsWith("Warning ResizeError")).length, 1, "said once");
  program!.memoryBytes = 90 * Mi;
  program!.beforeResize = () => {
    throw new Error("EBUSY: resource busy");
  };
  await node.advance(10_000);
  assert.deepEqual((shown(node) as { conditions: string[] }).conditions, ["PodResizeInProgress Error EBUSY: resource busy"]);
  program!.beforeResize = () => {};
  await node.advance(10_000);
  assert.deepEqual(shown(node), { resources: less, allocatedResources: less.requests, restartCount: 0, conditions: [] });
});

test("after a restart of Wherry a pod has what it was given, not what it waits for", async () => {
  await using node = new NodeHarness();
  await node.run(app(sized("1", "1Gi")));
  await resize(node, sized("9", "1Gi"));
  const pod = structuredClone(node.pod()!);
  await using later = new NodeHarness();
  await later.run({ ...pod.spec }, { uid: pod.metadata.uid, generation: pod.metadata.generation! }, pod.status);
  const { resources: inForce, conditions } = shown(later) as { resources: Sizes; conditions: string[] };
  assert.deepEqual([inForce, conditions], [sized("1", "1Gi"), ["PodResizePending Infeasible Node didn't have enough capacity: cpu, requested: 9000, capacity: 4000"]]);
  assert.deepEqual(said(later).filter((line) => line.includes("ResizeInfeasible")), [], "it was said before");
});

test("a program that has ended, or has not begun, starts with what was given meanwhile", async () => {
  await using node = new NodeHarness();
  await node.run(app(sized("100m", "64Mi", { memory: "128Mi" })));
  node.sandbox.started[0]!.exit(1);
  await node.settle();
  node.sandbox.started[1]!.exit(1);
  await node.settle();
  await resize(node, sized("100m", "64Mi", { memory: "256Mi" }));
  assert.equal(node.sandbox.started.length, 2, "it waits for its back-off");
  await node.advance(20_000);
  assert.equal(node.sandbox.started[2]!.spec.limits.memoryBytes, 256 * Mi);
  assert.deepEqual((shown(node) as { conditions: string[] }).conditions, []);
});

test("files of the downward API follow what was given", async () => {
  await using node = new NodeHarness();
  const items = [{ path: "memory", resourceFieldRef: { containerName: "app", resource: "limits.memory", divisor: "1Mi" } }];
  const worker = await node.run({ ...app(sized("100m", "64Mi", { memory: "128Mi" }), { volumeMounts: [{ name: "info", mountPath: "/info" }] }), volumes: [{ name: "info", downwardAPI: { items } }] });
  const [mount] = node.sandbox.started[0]!.spec.mounts.filter(({ target }) => target === "/info");
  const file = join(mount!.source!, "memory");
  assert.equal(readFileSync(file, "utf8"), "128");
  await resize(node, sized("100m", "64Mi", { memory: "256Mi" }));
  assert.equal(readFileSync(file, "utf8"), "256");
  await worker.shutdown("fast");
});

test("a sidecar is resized as a container is; an init container is history", async () => {
  await using node = new NodeHarness();
  const side = (memory: string) => ({ name: "side", image: "side:1", restartPolicy: "Always", resources: sized("10m", "16Mi", { memory }) });
  const first = { name: "first", image: "first:1", resources: sized("10m", "16Mi", { memory: "32Mi" }) };
  await node.run({ ...app(sized("100m", "64Mi")), initContainers: [first, side("32Mi")] });
  node.sandbox.started[0]!.exit(0);
  await node.settle();
  await node.client.patch(resources.pods, "default", "web", { metadata: { generation: 2 }, spec: { initContainers: [first, side("64Mi")] } });
  await node.settle();
  assert.deepEqual(node.sandbox.started.map(({ spec, resized }) => [spec.name, resized]), [["first", undefined], ["side", { memoryBytes: 64 * Mi, cpuRequestMillis: 10 }], ["app", undefined]]);
  const statuses = node.pod()!.status!.initContainerStatuses! as unknown as { name: string; resources?: Sizes }[];
  assert.deepEqual(statuses.map(({ name, resources: inForce }) => [name, inForce?.limits?.["memory"]]), [["first", "32Mi"], ["side", "64Mi"]]);
});

test("a limit that this machine does not enforce is accepted, and a condition says so from then on", async () => {
  await using node = new NodeHarness();
  Object.assign(node.sandbox, { findings: [{ id: "cpu-limits", enforced: false, message: "CPU limits are not enforced.", remedy: "" }] });
  await node.run(app(sized("100m", "64Mi")));
  const unenforced = () => node.pod()!.status!.conditions!.filter(({ type }) => type.startsWith("wherry.dev/") && type !== "wherry.dev/Meshed").map(({ type, status, message }) => `${type}=${status}: ${message}`);
  assert.deepEqual(unenforced(), []);
  await resize(node, sized("100m", "64Mi", { cpu: "1" }));
  assert.deepEqual(unenforced(), ["wherry.dev/CpuLimits=False: CPU limits are not enforced."]);
});
