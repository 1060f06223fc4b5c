import assert from "node:assert/strict";
import { test } from "node:test";
import { NodeHarness } from "../testing/harness.ts";

test("a pod runs: sandbox, container, Running and Ready, in kubelet's words", async () => {
  await using node = new NodeHarness();
  await node.run({});
  const status = node.pod()!.status!;
  assert.equal(status.phase, "Running");
  assert.equal(status.podIP, "10.244.0.2");
  assert.equal(status.hostIP, "192.0.2.1");
  assert.deepEqual(Object.fromEntries(status.conditions!.map(({ type, status }) => [type, status])), { PodReadyToStartContainers: "True", Initialized: "True", Ready: "True", ContainersReady: "True", PodScheduled: "True" });
  assert.ok(status.containerStatuses![0]!.state!.running!.startedAt);
  assert.match(status.containerStatuses![0]!.containerID!, /^wherry:\/\/[0-9a-f]{64}$/);
  assert.deepEqual(node.events.map(({ reason, message }) => `${reason}: ${message}`), [
    'Pulled: Container image "app:1" already present on machine',
    "Created: Created container: app",
    "Started: Started container app",
  ]);
  assert.deepEqual(node.readiness, [{ ip: "10.244.0.2", ready: true }]);
});
