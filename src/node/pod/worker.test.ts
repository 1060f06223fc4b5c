import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { PodStatus } from "../../api/types.ts";
import type { FakeProcess } from "../testing/fake-sandbox.ts";
import { NodeHarness } from "../testing/harness.ts";

const conditionsOf = (status: PodStatus) => Object.fromEntries(status.conditions!.map(({ type, status }) => [type, status]));
const messages = (node: NodeHarness, reason: string) => node.events.filter((event) => event.reason === reason).map(({ message }) => message);

test("a pod runs: sandbox, container, Running and Ready, in kubelet's words", async () => {
  await using node = new NodeHarness();
  await node.run({});
  const status = node.pod()!.status!;
  assert.equal(status.phase, "Running");
  assert.equal(status.podIP, "10.244.0.2");
  assert.equal(status.hostIP, "192.0.2.1");
  assert.equal(status.observedGeneration, 1);
  assert.deepEqual(conditionsOf(status), { PodReadyToStartContainers: "True", Initialized: "True", Ready: "True", ContainersReady: "True", PodScheduled: "True", "wherry.dev/Meshed": "False" });
  assert.ok(status.containerStatuses![0]!.state!.running!.startedAt);
  assert.match(status.containerStatuses![0]!.containerID!, /^wherry:\/\/[0-9a-f]{64}$/);
  assert.deepEqual(
    node.events.map(({ reason, message }) => `${reason}: ${message}`),
    ['Pulled: Container image "app:1" already present on machine', "Created: Created container: app", "Started: Started container app"],
  );
  assert.deepEqual(node.readiness, [{ ip: "10.244.0.2", ready: true }]);
});

test("what an exit means depends on the restart policy", async () => {
  const cases = [
    { policy: "Always", exit: 0, phase: "Running", starts: 2 },
    { policy: "Always", exit: 1, phase: "Running", starts: 2 },
    { policy: "OnFailure", exit: 0, phase: "Succeeded", starts: 1 },
    { policy: "OnFailure", exit: 1, phase: "Running", starts: 2 },
    { policy: "Never", exit: 0, phase: "Succeeded", starts: 1 },
    { policy: "Never", exit: 7, phase: "Failed", starts: 1 },
  ] as const;
  for (const { policy, exit, phase, starts } of cases) {
    await using node = new NodeHarness();
    await node.run({ restartPolicy: policy });
    node.sandbox.started[0]!.exit(exit);
    await node.settle();
    const name = `${policy}, exit ${exit}`;
    assert.equal(node.pod()!.status!.phase, phase, name);
    assert.equal(node.sandbox.started.length, starts, name);
    const { state, lastState, restartCount } = node.pod()!.status!.containerStatuses![0]!;
    const ended = (starts === 2 ? lastState : state)!.terminated!;
    assert.deepEqual([ended.exitCode, ended.reason, restartCount], [exit, exit === 0 ? "Completed" : "Error", starts - 1], name);
    // A completed pod keeps its object and its address in the status, and gives its sandbox back.
    assert.equal(node.sandbox.pods[0]!.removed, starts === 1, name);
    assert.equal(node.pod()!.status!.podIP, "10.244.0.2", name);
  }
});

test("crashes back off: the first restart is free, then 10 s doubling to 5 min, forgotten after 10 quiet minutes", async () => {
  await using node = new NodeHarness();
  await node.run({});
  const waits: number[] = [];
  for (let crash = 0; crash < 9; crash++) {
    const before = node.sandbox.started.length;
    const beganMs = node.clock.now();
    node.sandbox.started.at(-1)!.exit(1);
    await node.settle();
    while (node.sandbox.started.length === before) await node.advance(node.clock.nextDueMs()! - node.clock.now());
    waits.push((node.clock.now() - beganMs) / 1000);
  }
  assert.deepEqual(waits, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
  node.sandbox.started.at(-1)!.exit(1);
  await node.settle();
  const { state, lastState, restartCount } = node.pod()!.status!.containerStatuses![0]!;
  assert.deepEqual(state!.waiting, { reason: "CrashLoopBackOff", message: `back-off 5m0s restarting failed container=app pod=web_default(${node.pod()!.metadata.uid})` });
  assert.equal(lastState!.terminated!.exitCode, 1);
  assert.equal(restartCount, 9);
  assert.equal(messages(node, "BackOff").at(-1), `Back-off restarting failed container app in pod web_default(${node.pod()!.metadata.uid})`);
  await node.advance(300_000);
  await node.advance(601_000);
  const before = node.sandbox.started.length;
  node.sandbox.started.at(-1)!.exit(1);
  await node.settle();
  assert.equal(node.sandbox.started.length, before + 1, "after ten quiet minutes a restart is free again");
});

test("init containers run one after the other, sidecars stay, and end last in reverse order", async () => {
  await using node = new NodeHarness();
  const worker = await node.run({
    initContainers: [
      { name: "first", image: "a" },
      { name: "proxy", image: "b", restartPolicy: "Always" },
      { name: "second", image: "c" },
      { name: "logger", image: "d", restartPolicy: "Always" },
    ],
  });
  const names = () => node.sandbox.started.map(({ spec }) => spec.name);
  assert.deepEqual(names(), ["first"]);
  const pending = node.pod()!.status!;
  assert.equal(pending.phase, "Pending");
  assert.equal(pending.containerStatuses![0]!.state!.waiting!.reason, "PodInitializing");
  assert.equal(pending.conditions!.find(({ type }) => type === "Initialized")!.message, "containers with incomplete status: [first proxy second logger]");
  node.sandbox.started[0]!.exit(0);
  await node.settle();
  assert.deepEqual(names(), ["first", "proxy", "second"]);
  node.sandbox.started[2]!.exit(1);
  await node.settle();
  assert.deepEqual(names(), ["first", "proxy", "second", "second"], "a failed init container is tried again");
  node.sandbox.started[3]!.exit(0);
  await node.settle();
  assert.deepEqual(names().slice(4), ["logger", "app"]);
  assert.equal(node.pod()!.status!.phase, "Running");
  assert.equal(node.pod()!.status!.initContainerStatuses![2]!.restartCount, 1);
  assert.deepEqual(node.pod()!.status!.initContainerStatuses!.map(({ ready }) => ready), [true, true, true, true]);

  // A sidecar that dies is started again and holds nothing up.
  node.sandbox.started[1]!.exit(1);
  await node.settle();
  assert.equal(names().at(-1), "proxy");
  const order: string[] = [];
  for (const process of node.sandbox.started) process.onSignal = (signal) => {
    order.push(`${process.spec.name} ${signal}`);
    process.exit(143);
  };
  await node.client.delete(resources.pods, "default", "web");
  await worker.ended;
  assert.deepEqual(order, ["app SIGTERM", "logger SIGTERM", "proxy SIGTERM"]);
  assert.equal(node.pod(), undefined);
});

test("a failed init container of a Never pod fails the pod", async () => {
  await using node = new NodeHarness();
  await node.run({ restartPolicy: "Never", initContainers: [{ name: "setup", image: "a" }] });
  node.sandbox.started[0]!.exit(2);
  await node.settle();
  assert.equal(node.pod()!.status!.phase, "Failed");
  assert.equal(node.sandbox.started.length, 1);
});

test("readiness reaches the data plane before the API, follows its thresholds, and Ready is never skipped", async () => {
  await using node = new NodeHarness();
  let answer = { success: false, output: "HTTP probe failed with statuscode: 503" };
  node.probe = async () => answer;
  const order: string[] = [];
  node.client.before = (verb, resource) => void (verb === "patch" && resource === "pods" && order.push("status"));
  const worker = await node.run({ containers: [{ name: "app", image: "a", ports: [{ name: "web", containerPort: 8080 }], readinessProbe: { httpGet: { path: "/ready", port: "web" }, periodSeconds: 5, failureThreshold: 2, successThreshold: 1 } }] });
  assert.equal(conditionsOf(node.pod()!.status!)["Ready"], "False");
  assert.deepEqual(messages(node, "Unhealthy"), ["Readiness probe failed: HTTP probe failed with statuscode: 503"]);
  assert.deepEqual(node.readiness, [{ ip: "10.244.0.2", ready: false }]);
  answer = { success: true, output: "" };
  order.length = 0;
  node.ctx.network.setReady = (ip, ready) => void (order.push(`data plane ${ready}`), node.readiness.push({ ip, ready }));
  await node.advance(5000);
  assert.deepEqual(order, ["data plane true", "status"]);
  assert.equal(conditionsOf(node.pod()!.status!)["Ready"], "True");
  answer = { success: false, output: "no" };
  await node.advance(5000);
  assert.equal(conditionsOf(node.pod()!.status!)["Ready"], "True", "one failure is not two");
  await node.advance(5000);
  assert.equal(conditionsOf(node.pod()!.status!)["Ready"], "False");
  assert.equal(node.pod()!.status!.conditions!.find(({ type }) => type === "Ready")!.message, "containers with unready status: [app]");
  await node.client.delete(resources.pods, "default", "web");
  await worker.ended;
  assert.equal(node.readiness.at(-1)!.ready, undefined, "the override is forgotten with the pod");
});

test("a program is told to end when nobody dials it any more, and not before", async () => {
  await using node = new NodeHarness();
  const order: string[] = [];
  const settled = Promise.withResolvers<void>();
  node.ctx.network.settled = () => (order.push("asked whether all know it"), settled.promise);
  const worker = await node.run({ containers: [{ name: "app", image: "a" }] });
  node.ctx.network.setReady = (_ip, ready) => void order.push(`data plane ${ready}`);
  const { process } = worker.runners.get("app")!;
  const signal = process!.signal.bind(process);
  process!.signal = (name) => (order.push(name), signal(name));
  await node.client.delete(resources.pods, "default", "web");
  await node.advance(0);
  assert.deepEqual(order, ["data plane false", "asked whether all know it"]);
  settled.resolve();
  await worker.ended;
  assert.deepEqual(order.slice(2), ["SIGTERM", "data plane undefined"]);
});

test("a program that does not listen yet is asked again at once, not a period later", async () => {
  await using node = new NodeHarness();
  let asked = 0;
  node.probe = async () => (++asked < 4 ? { success: false, output: "dial tcp 10.244.0.2:80: connect: connection refused" } : { success: true, output: "" });
  await node.run({ containers: [{ name: "app", image: "a", readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 10 } }] });
  await node.advance(200);
  assert.equal(conditionsOf(node.pod()!.status!)["Ready"], "True");
  assert.deepEqual(messages(node, "Unhealthy"), [], "and nothing is said of it");
});

test("startup holds the other probes back; liveness restarts the container", async () => {
  await using node = new NodeHarness();
  const asked: string[] = [];
  const up = { startup: false, liveness: true };
  node.probe = async (request) => {
    const path = request.type === "http" ? request.path : "";
    asked.push(path);
    return { success: path === "/startup" ? up.startup : up.liveness, output: "HTTP probe failed with statuscode: 500" };
  };
  const probe = (path: string, failureThreshold: number) => ({ httpGet: { path, port: 80 }, periodSeconds: 1, failureThreshold });
  await node.run({ containers: [{ name: "app", image: "a", startupProbe: probe("/startup", 3), livenessProbe: probe("/live", 2), readinessProbe: probe("/ready", 1) }] });
  assert.deepEqual(new Set(asked), new Set(["/startup"]));
  assert.equal(node.pod()!.status!.containerStatuses![0]!.started, false);
  up.startup = true;
  await node.advance(1000);
  assert.ok(asked.includes("/live") && asked.includes("/ready"));
  assert.equal(node.pod()!.status!.containerStatuses![0]!.started, true);
  up.liveness = up.startup = false;
  await node.advance(2000);
  assert.deepEqual(node.sandbox.started[0]!.signals, ["SIGTERM"]);
  assert.ok(messages(node, "Killing").includes("Container app failed liveness probe, will be restarted"));
  assert.equal(node.sandbox.started.length, 2);
  await node.advance(3000);
  assert.ok(messages(node, "Killing").includes("Container app failed startup probe, will be restarted"));
});

test("exec probes run in the container, and time out", async () => {
  await using node = new NodeHarness();
  let answer: ReturnType<FakeProcess["onExec"]> = { exitCode: 1, output: "not yet" };
  node.sandbox.changes.on("started", (process: FakeProcess) => (process.onExec = () => answer));
  await node.run({ containers: [{ name: "app", image: "a", readinessProbe: { exec: { command: ["check", "me"] }, periodSeconds: 1, timeoutSeconds: 2 } }] });
  assert.deepEqual(messages(node, "Unhealthy"), ["Readiness probe failed: not yet"]);
  answer = { exitCode: 0 };
  await node.advance(1000);
  assert.equal(conditionsOf(node.pod()!.status!)["Ready"], "True");
  answer = new Promise<never>(() => {});
  await node.advance(3500);
  assert.ok(messages(node, "Unhealthy").includes('Readiness probe failed: command timed out: "check me" timed out after 2s'));
});

test("deletion: preStop, then the signal, then SIGKILL when the grace period is over; the hook's time counts", async () => {
  await using node = new NodeHarness();
  const worker = await node.run({ terminationGracePeriodSeconds: 20, containers: [{ name: "app", image: "a", lifecycle: { preStop: { sleep: { seconds: 15 } } } }] });
  const process = node.sandbox.started[0]!;
  process.onSignal = (signal) => void (signal === "SIGKILL" && process.exit(137));
  await node.client.delete(resources.pods, "default", "web");
  await node.settle();
  assert.deepEqual(messages(node, "Killing"), ["Stopping container app"]);
  assert.equal(node.readiness.at(-1)!.ready, true, "while the hook runs the pod still serves");
  await node.advance(14_000);
  assert.deepEqual(process.signals, []);
  await node.advance(1000);
  assert.deepEqual(process.signals, ["SIGTERM"]);
  assert.equal(node.readiness.at(-1)!.ready, false, "no new connections once the program is told to end");
  await node.advance(4000);
  assert.deepEqual(process.signals, ["SIGTERM"]);
  await node.advance(1000);
  assert.deepEqual(process.signals, ["SIGTERM", "SIGKILL"]);
  await worker.ended;
  const last = node.client.writes.filter(({ verb }) => verb === "delete").at(-1)!;
  assert.deepEqual(last.body, { gracePeriodSeconds: 0, preconditions: { uid: worker.uid } });
  assert.equal(node.sandbox.pods[0]!.removed, true);
});

test("a grace period that is shortened meanwhile is kept", async () => {
  await using node = new NodeHarness();
  const worker = await node.run({});
  const process = node.sandbox.started[0]!;
  process.onSignal = (signal) => void (signal === "SIGKILL" && process.exit(137));
  await node.client.delete(resources.pods, "default", "web", { gracePeriodSeconds: 300 });
  await node.advance(10_000);
  assert.deepEqual(process.signals, ["SIGTERM"]);
  await node.client.delete(resources.pods, "default", "web", { gracePeriodSeconds: 3 });
  await node.advance(3000);
  assert.deepEqual(process.signals, ["SIGTERM", "SIGKILL"]);
  await worker.ended;
});

test("an object that is gone takes its programs with it at once", async () => {
  await using node = new NodeHarness();
  const worker = await node.run({ containers: [{ name: "app", image: "a", lifecycle: { preStop: { sleep: { seconds: 100 } } } }] });
  await node.client.delete(resources.pods, "default", "web", { gracePeriodSeconds: 0 });
  await worker.ended;
  assert.deepEqual(node.sandbox.started[0]!.signals, ["SIGKILL"]);
  assert.equal(node.sandbox.pods[0]!.removed, true);
});

test("after a restart of Wherry the same pods run anew: one restart more, the end nobody saw in lastState", async () => {
  await using node = new NodeHarness();
  const startedAt = "2025-12-31T23:00:00Z";
  const status = (policy: string): PodStatus => ({
    phase: "Running",
    podIP: "10.244.0.9",
    podIPs: [{ ip: "10.244.0.9" }],
    startTime: startedAt,
    conditions: [{ type: "Ready", status: "True", lastTransitionTime: startedAt }],
    initContainerStatuses: [{ name: "setup", image: "s", imageID: "", ready: true, restartCount: 0, state: { terminated: { exitCode: 0, reason: "Completed", startedAt, finishedAt: startedAt } }, lastState: {} }],
    containerStatuses: [{ name: "app", image: "a", imageID: "", containerID: `wherry://${policy}`, ready: true, restartCount: 2, state: { running: { startedAt } }, lastState: {} }],
  });
  await node.run({ initContainers: [{ name: "setup", image: "s" }] }, {}, status("Always"));
  assert.equal(node.sandbox.started[0]!.spec.name, "setup", "a new sandbox begins with init containers");
  node.sandbox.started[0]!.exit(0);
  await node.settle();
  const { state, lastState, restartCount } = node.pod()!.status!.containerStatuses![0]!;
  assert.ok(state!.running);
  assert.equal(restartCount, 3);
  assert.deepEqual({ ...lastState!.terminated, finishedAt: undefined }, { exitCode: 255, reason: "Unknown", startedAt, finishedAt: undefined, containerID: "wherry://Always" });
  assert.equal(node.pod()!.status!.startTime, startedAt);
  assert.deepEqual(node.pod()!.status!.podIPs, [{ ip: "10.244.0.2" }], "the old address is gone");
});

test("a Job's completed init container stays completed for the API, though it runs again after a restart", async () => {
  await using node = new NodeHarness();
  const startedAt = "2025-12-31T23:00:00Z";
  await node.run({ restartPolicy: "OnFailure", initContainers: [{ name: "setup", image: "s" }] }, {}, {
    phase: "Running",
    initContainerStatuses: [{ name: "setup", image: "s", imageID: "", ready: true, restartCount: 0, state: { terminated: { exitCode: 0, reason: "Completed", startedAt, finishedAt: startedAt } }, lastState: {} }],
    containerStatuses: [{ name: "app", image: "a", imageID: "", ready: true, restartCount: 0, state: { running: { startedAt } }, lastState: {} }],
  });
  assert.deepEqual(node.sandbox.started.map(({ spec }) => spec.name), ["setup"]);
  const states = () => node.client.writes.flatMap(({ verb, body }) => (verb === "patch" ? ((body as { status: PodStatus }).status.initContainerStatuses ?? []) : [])).map(({ state }) => Object.keys(state!)[0]);
  node.sandbox.started[0]!.exit(0);
  await node.settle();
  assert.ok(states().every((state) => state === "terminated"), states().join());
  assert.equal(node.sandbox.started.at(-1)!.spec.name, "app");
});

test("a pod that ended before the restart stays ended, one of policy Never fails", async () => {
  await using node = new NodeHarness();
  const state = { running: { startedAt: "2025-12-31T23:00:00Z" } };
  await node.run({ restartPolicy: "Never" }, {}, { phase: "Running", containerStatuses: [{ name: "app", image: "a", imageID: "", ready: true, restartCount: 0, state, lastState: {} }] });
  assert.equal(node.pod()!.status!.phase, "Failed");
  await node.run({ restartPolicy: "Always" }, { name: "done", uid: "done" }, { phase: "Succeeded", containerStatuses: [{ name: "app", image: "a", imageID: "", ready: false, restartCount: 0, state: { terminated: { exitCode: 0 } }, lastState: {} }] });
  assert.equal(node.pod("done")!.status!.phase, "Succeeded");
  assert.equal(node.sandbox.started.length, 0);
});

test("a container killed for its memory says so; last words come from the file, or from the log of a failure", async () => {
  await using node = new NodeHarness();
  await node.run({ restartPolicy: "Never", containers: [{ name: "app", image: "a", terminationMessagePolicy: "FallbackToLogsOnError" }, { name: "words", image: "a" }] });
  const [app, words] = node.sandbox.started;
  app!.say("about to\nfall over\n", "stderr");
  const file = words!.spec.mounts.find(({ target }) => target === "/dev/termination-log")!.source!;
  writeFileSync(file, `${"x".repeat(5000)}end`);
  app!.exit(137, true);
  words!.exit(0);
  await node.settle();
  const [first, second] = node.pod()!.status!.containerStatuses!.map(({ state }) => state!.terminated!);
  assert.deepEqual([first!.exitCode, first!.reason, first!.message], [137, "OOMKilled", "about to\nfall over\n"]);
  assert.equal(second!.message!.length, 4096);
  assert.ok(second!.message!.endsWith("xend"));
});

test("activeDeadlineSeconds ends a pod", async () => {
  await using node = new NodeHarness();
  await node.run({ activeDeadlineSeconds: 60 });
  await node.advance(59_000);
  assert.equal(node.pod()!.status!.phase, "Running");
  await node.advance(2000);
  assert.deepEqual([node.pod()!.status!.phase, node.pod()!.status!.reason], ["Failed", "DeadlineExceeded"]);
  assert.deepEqual(node.sandbox.started[0]!.signals, ["SIGTERM"]);
});

test("a postStart hook holds Running back, and a failed one ends the container", async () => {
  await using node = new NodeHarness();
  let finish: (result: { exitCode: number; output: string }) => void = () => {};
  node.sandbox.changes.on("started", (process: FakeProcess) => (process.onExec = () => new Promise((resolve) => (finish = resolve))));
  await node.run({ containers: [{ name: "app", image: "a", lifecycle: { postStart: { exec: { command: ["warm", "up"] } } } }] });
  assert.equal(node.pod()!.status!.containerStatuses![0]!.state!.waiting!.reason, "ContainerCreating");
  assert.equal(node.pod()!.status!.phase, "Pending");
  finish({ exitCode: 0, output: "" });
  await node.settle();
  assert.equal(node.pod()!.status!.phase, "Running");
  node.sandbox.started[0]!.exit(1);
  await node.settle();
  finish({ exitCode: 3, output: "cold" });
  await node.settle();
  assert.deepEqual(messages(node, "FailedPostStartHook"), ["PostStartHook failed"]);
  assert.deepEqual(node.sandbox.started[1]!.signals, ["SIGTERM"]);
});

test("a changed image restarts the container in place", async () => {
  await using node = new NodeHarness();
  await node.run({});
  await node.client.patch(resources.pods, "default", "web", { spec: { containers: [{ name: "app", image: "app:2" }] } });
  await node.settle();
  assert.deepEqual(messages(node, "Killing"), ["Container app definition changed, will be restarted"]);
  assert.equal(node.sandbox.started.length, 2);
  const { image, restartCount } = node.pod()!.status!.containerStatuses![0]!;
  assert.deepEqual([image, restartCount], ["app:2", 1]);
});

test("what a pod may not have is refused with the reason, and nothing starts", async () => {
  const cases = [
    [{ hostNetwork: true }, /hostNetwork is refused/],
    [{ containers: [{ name: "app", image: "a", securityContext: { privileged: true } }] }, /privileged is refused/],
    [{ containers: [{ name: "app", image: "a", securityContext: { capabilities: { add: ["NET_ADMIN"] } } }] }, /added capabilities \(NET_ADMIN\) are refused/],
    [{ volumes: [{ name: "v", hostPath: { path: "/etc" } }] }, /hostPath \/etc lies outside of the folders given to "wherry up"/],
  ] as const;
  for (const [spec, text] of cases) {
    await using node = new NodeHarness();
    await node.run(spec as object);
    assert.match(node.events.at(-1)!.message, text);
    assert.equal(node.sandbox.started.length, 0);
    assert.equal(node.pod()!.status!.phase, "Pending");
  }
});

test("the CPU quota begins at first Ready, or after 30 s", async () => {
  await using node = new NodeHarness();
  let up = false;
  node.probe = async () => ({ success: up, output: "no" });
  await node.run({ containers: [{ name: "probed", image: "a", readinessProbe: { tcpSocket: { port: 1 }, periodSeconds: 1 } }, { name: "plain", image: "a" }] });
  const limited = () => node.sandbox.started.map(({ cpuLimited }) => cpuLimited);
  assert.deepEqual(limited(), [false, false]);
  up = true;
  await node.advance(1000);
  assert.deepEqual(limited(), [true, false]);
  await node.advance(30_000);
  assert.deepEqual(limited(), [true, true]);
});

test("what is not honoured or not enforced is said, and a pod found ended is left as it was", async () => {
  await using node = new NodeHarness();
  Object.assign(node.sandbox, { findings: [{ id: "memory-limits", enforced: false, message: "watched only", remedy: "" }, { id: "cpu-limits", enforced: false, message: "none", remedy: "" }] });
  await node.run({ containers: [{ name: "app", image: "a", resources: { limits: { memory: "64Mi" } }, securityContext: { capabilities: { add: ["SYS_PTRACE"] } } }] });
  assert.deepEqual(messages(node, "NotHonoured"), ["SYS_PTRACE of container app: containers run without any capability"]);
  assert.equal(node.sandbox.started.length, 1, "a copy that kubectl debug makes runs");
  const condition = node.pod()!.status!.conditions!.find(({ type }) => type === "wherry.dev/MemoryLimits")!;
  assert.deepEqual([condition.status, condition.reason, condition.message], ["False", "NotEnforced", "watched only"]);
  assert.equal(conditionsOf(node.pod()!.status!)["wherry.dev/CpuLimits"], undefined, "the pod asks for none");
  const evicted: PodStatus = { phase: "Failed", reason: "Evicted", message: "gone" };
  const worker = await node.run({}, { name: "old", uid: "old" }, evicted);
  assert.deepEqual(node.pod("old")!.status, evicted);
  await node.client.delete(resources.pods, "default", "old");
  await worker.ended;
  assert.equal(node.pod("old"), undefined);
});

test("a container added to a running pod runs once, counts for nothing, and ends with the pod", async () => {
  await using node = new NodeHarness();
  const worker = await node.run({});
  await node.client.patch(resources.pods, "default", "web", { spec: { ephemeralContainers: [{ name: "debug", image: "busybox", targetContainerName: "app" }] } });
  await node.settle();
  assert.deepEqual(node.sandbox.started.map(({ spec }) => spec.name), ["app", "debug"]);
  assert.equal(node.sandbox.started[1]!.spec.processesOf, "app");
  const debug = () => node.pod()!.status!.ephemeralContainerStatuses![0]!;
  assert.ok(debug().state!.running);
  node.sandbox.started[1]!.exit(5);
  await node.settle();
  assert.equal(debug().state!.terminated!.exitCode, 5);
  assert.equal(node.sandbox.started.length, 2, "it is not started again");
  assert.equal(conditionsOf(node.pod()!.status!)["Ready"], "True");
  await node.client.patch(resources.pods, "default", "web", { spec: { ephemeralContainers: [{ name: "debug", image: "busybox" }, { name: "second", image: "busybox" }] } });
  await node.settle();
  await node.client.delete(resources.pods, "default", "web");
  await worker.ended;
  assert.deepEqual(node.sandbox.started[2]!.signals, ["SIGTERM"]);
});
