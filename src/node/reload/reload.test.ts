import assert from "node:assert/strict";
import { test } from "node:test";
import { artifactsConfigMap } from "../../api/artifacts.ts";
import { parseReload, reloadAnnotation, reloadValue } from "../../api/reload.ts";
import { resources, systemNamespace } from "../../api/resources.ts";
import type { Pod } from "../../api/types.ts";
import { NodeHarness, plainImage } from "../testing/harness.ts";
import { parseSockets } from "./sockets.ts";

const probed = { name: "app", image: "app:1", readinessProbe: { httpGet: { path: "/", port: 8080 }, initialDelaySeconds: 30, periodSeconds: 10 } };
const told = (node: NodeHarness) => node.readiness.map(({ ready }) => ready);
const messages = (node: NodeHarness, reason: string) => node.events.filter((event) => event.reason === reason).map(({ message }) => message);
const status = (node: NodeHarness) => node.pod()!.status!.containerStatuses![0]!;

async function reload(node: NodeHarness, request: Partial<Parameters<typeof reloadValue>[0]> = {}): Promise<void> {
  const value = reloadValue({ containers: [], files: ["server.js"], at: node.clock.now().toString(), ...request });
  await node.client.patch<Pod>(resources.pods, "default", "web", { metadata: { annotations: { [reloadAnnotation]: value } } });
  await node.settle();
}

/** Lets time pass, in steps as small as those of the reload, until so many programs were started in all. */
async function untilStarted(node: NodeHarness, count: number): Promise<void> {
  for (let steps = 0; node.sandbox.started.length < count; steps++) {
    assert.ok(steps < 100, `only ${node.sandbox.started.length} of ${count} programs were started`);
    await node.advance(10);
  }
  await node.advance(100);
}

test("a reload: held, ended, started again and probed at once; no restart, no back-off, no preStop", async () => {
  await using node = new NodeHarness();
  await node.run({ containers: [{ ...probed, lifecycle: { preStop: { exec: { command: ["sleep", "15"] } } } }] });
  await node.advance(30_000);
  assert.deepEqual(told(node), [false, true]);
  const [first] = node.sandbox.started;
  first!.onExec = () => assert.fail("the preStop hook ran");
  await reload(node);
  await untilStarted(node, 2);
  assert.deepEqual(first!.signals, ["SIGTERM"]);
  assert.deepEqual(told(node), [false, true, "held", true], "thirty seconds before the probe would have been asked");
  assert.equal(status(node).restartCount, 0);
  assert.equal(status(node).ready, true);
  assert.deepEqual(status(node).lastState, {});
  assert.equal(node.pod()!.status!.phase, "Running");
  assert.deepEqual(messages(node, "Reloading"), ["server.js changed: restarting container app in place"]);
  assert.deepEqual([messages(node, "Created").length, messages(node, "Killing").length], [1, 0]);
});

test("new code that is not ready yet is asked again and again, and failures count when they would have otherwise", async () => {
  await using node = new NodeHarness();
  let answer = { success: true, output: "" };
  node.probe = async () => answer;
  await node.run({ containers: [probed] });
  await node.advance(30_000);
  answer = { success: false, output: "HTTP probe failed with statuscode: 503" };
  await reload(node);
  await untilStarted(node, 2);
  await node.advance(2_000);
  assert.deepEqual(told(node), [false, true, "held"]);
  assert.deepEqual(messages(node, "Unhealthy"), []);
  answer = { success: true, output: "" };
  await node.advance(300);
  assert.deepEqual(told(node), [false, true, "held", true]);
});

test("new code that ends at once: connections are refused again, an Event says what it said, and the back-off begins anew", async () => {
  await using node = new NodeHarness();
  let answer = { success: true, output: "" };
  node.probe = async () => answer;
  await node.run({ containers: [probed] });
  await node.advance(30_000);
  // It has crashed before, and would have to wait.
  node.sandbox.started[0]!.exit(1);
  await node.settle();
  node.sandbox.started[1]!.exit(1);
  await node.settle();
  assert.equal(status(node).state!.waiting!.reason, "CrashLoopBackOff");
  answer = { success: false, output: "connection refused" };
  await reload(node, { files: ["lib/a.js", "lib/b.js", "lib/c.js"] });
  assert.equal(node.sandbox.started.length, 3, "the reload does not wait");
  node.sandbox.started[2]!.stderr.push("TypeError: no\n    at lib/a.js:3\n");
  await node.settle();
  node.sandbox.started[2]!.exit(1);
  await node.settle();
  assert.equal(told(node).at(-1), false);
  assert.deepEqual(messages(node, "ReloadFailed"), ["lib/a.js and 2 other files changed, and container app exited with code 1 before it was Ready:\nTypeError: no\n    at lib/a.js:3"]);
});

test("held connections are let go after a while, whatever the program does", async () => {
  await using node = new NodeHarness();
  let answer = { success: true, output: "" };
  node.probe = async () => answer;
  await node.run({ containers: [probed] });
  await node.advance(30_000);
  answer = { success: false, output: "HTTP probe failed with statuscode: 500" };
  await reload(node);
  await untilStarted(node, 2);
  await node.advance(10_000);
  assert.equal(told(node).at(-1), "held");
  await node.advance(6_000);
  assert.equal(told(node).at(-1), false);
});

test("a program that does not end is killed after five seconds, and another change meanwhile is the same reload", async () => {
  await using node = new NodeHarness();
  await node.run({ terminationGracePeriodSeconds: 60, containers: [probed] });
  await node.advance(30_000);
  const [first] = node.sandbox.started;
  first!.onSignal = (signal) => signal === "SIGKILL" && first!.exit(137);
  await reload(node);
  for (let steps = 0; first!.signals.length === 0 && steps < 100; steps++) await node.advance(10);
  await reload(node, { files: ["other.js"] });
  await node.advance(4_500);
  assert.deepEqual(first!.signals, ["SIGTERM"]);
  await node.advance(600);
  assert.deepEqual(first!.signals, ["SIGTERM", "SIGKILL"]);
  await untilStarted(node, 2);
  await node.advance(1_000);
  assert.equal(node.sandbox.started.length, 2);
  assert.equal(status(node).restartCount, 0);
});

test("only the containers that are named, never init containers; a pod that is being deleted is left alone", async () => {
  await using node = new NodeHarness();
  const worker = await node.run({ initContainers: [{ name: "setup", image: "a" }], containers: [{ name: "app", image: "a" }, { name: "other", image: "b" }] });
  node.sandbox.started[0]!.exit(0);
  await node.settle();
  const names = () => node.sandbox.started.map(({ spec }) => spec.name);
  assert.deepEqual(names(), ["setup", "app", "other"]);
  await reload(node, { containers: ["other", "setup"] });
  await untilStarted(node, 4);
  assert.deepEqual(names(), ["setup", "app", "other", "other"]);
  for (const process of node.sandbox.started) process.onSignal = () => {};
  await node.client.delete(resources.pods, "default", "web");
  await node.settle();
  await reload(node);
  await node.advance(200);
  assert.equal(names().length, 4);
  for (const process of node.sandbox.started) process.exit(0);
  await worker.ended;
});

test("a reload that relinks reads what images are made of first", async () => {
  await using node = new NodeHarness();
  let linked = "old";
  Object.assign(node.ctx.images, { link: (configMap: { data: { app: string } }) => (linked = configMap.data.app) });
  node.resolveImage = async () => ({ ...plainImage, id: linked });
  await node.run({});
  await node.client.create(resources.configMaps, systemNamespace, { metadata: { name: artifactsConfigMap }, data: { app: "new" } });
  await reload(node);
  await untilStarted(node, 2);
  assert.equal(status(node).imageID, "old");
  await reload(node, { relinked: true });
  await untilStarted(node, 3);
  assert.equal(status(node).imageID, "new");
});

test("parseReload() takes what `up` writes, and anything typed by hand for everything", () => {
  const request = { containers: ["app"], files: ["a.js"], relinked: true, at: "2026-01-01T00:00:00Z" };
  assert.deepEqual(parseReload(reloadValue(request)), request);
  for (const value of ["now", "3", "[]", '{"containers": 3}']) assert.deepEqual([parseReload(value).containers, parseReload(value).files], [[], []], value);
});

test("parseSockets() sees which ports a pod listens on and who is connected", () => {
  const table = (rows: string[]) => ["  sl  local_address rem_address   st tx_queue", ...rows.map((row, n) => `   ${n}: ${row} 00000000:00000000`)].join("\n");
  // 0A: listening, 01: established, 03: about to be, 08: half-closed by the client, 06: time-wait. 8080 = 1F90, 9229 = 240D, 10.244.0.5 = 0500F40A, 127.97.0.5 = 0500617F.
  const isolated = table(["00000000:1F90 00000000:0000 0A", "0100007F:240D 00000000:0000 0A", "0500F40A:1F90 0100F40A:C001 01", "0500F40A:C002 0A00600A:1538 01", "0500F40A:1F90 0100F40A:C003 06", "0500F40A:1F90 0700F40A:C004 03", "0500F40A:1F90 0700F40A:C005 08"]);
  assert.deepEqual(parseSockets(isolated, "10.244.0.5", "10.244.0.1"), { listening: new Set([8080]), established: [8080, 8080, 8080], direct: [0xc004, 0xc005].map((fromPort) => ({ from: "10.244.0.7", fromPort, port: 8080 })) });
  const six = table(["00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A", "0000000000000000FFFF00000500F40A:1F90 0000000000000000FFFF00000100F40A:C001 01"]);
  assert.deepEqual(parseSockets(six, "10.244.0.5", "10.244.0.1"), { listening: new Set([8080]), established: [8080], direct: [] });
  // On the machine's own network a listener on every address may be anybody's.
  const plain = table(["00000000:0016 00000000:0000 0A", "0500617F:1F90 00000000:0000 0A", "0600617F:1F90 00000000:0000 0A", "0500617F:1F90 0100007F:C001 01", "0600617F:1F90 0100007F:C002 01"]);
  assert.deepEqual(parseSockets(plain, "127.97.0.5", "127.97.0.1"), { listening: new Set([8080]), established: [8080], direct: [{ from: "127.0.0.1", fromPort: 0xc001, port: 8080 }] });
  assert.deepEqual(parseSockets("", "10.244.0.5", "10.244.0.1"), { listening: new Set(), established: [], direct: [] });
});
