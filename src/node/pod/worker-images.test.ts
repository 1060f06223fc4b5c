import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import { ContainerError } from "../context.ts";
import { NodeHarness, plainImage } from "../testing/harness.ts";

const messages = (node: NodeHarness, reason: string) => node.events.filter((event) => event.reason === reason).map(({ message }) => message);

test("an image that nothing stands for: ErrImagePull, ImagePullBackOff, and a deletion at once", async () => {
  await using node = new NodeHarness();
  node.resolveImage = async () => {
    throw new ContainerError("ErrImagePull", "no program");
  };
  const worker = await node.run({});
  const waiting = () => node.pod()!.status!.containerStatuses![0]!.state!.waiting!;
  assert.deepEqual(waiting(), { reason: "ErrImagePull", message: "no program" });
  await node.advance(1500);
  assert.deepEqual(waiting(), { reason: "ImagePullBackOff", message: 'Back-off pulling image "app:1": ErrImagePull: no program' });
  assert.deepEqual(new Set(messages(node, "Failed")), new Set(['Failed to pull image "app:1": no program', "Error: ErrImagePull", "Error: ImagePullBackOff"]));
  assert.equal(node.pod()!.status!.phase, "Pending");
  await node.client.delete(resources.pods, "default", "web");
  await worker.ended;
  assert.equal(node.pod(), undefined);
});

test("pull policy Never and names that are none have words of their own", async () => {
  const cases = [
    { container: { imagePullPolicy: "Never" as const }, error: new ContainerError("ErrImagePull", "no program"), reason: "ErrImageNeverPull", events: ['ErrImageNeverPull: Container image "app:1" is not present with pull policy of Never: no program', "Failed: Error: ErrImageNeverPull"] },
    { container: {}, error: new ContainerError("InvalidImageName", "no name"), reason: "InvalidImageName", events: ["InspectFailed: no name", "Failed: Error: InvalidImageName"] },
  ];
  for (const { container, error, reason, events } of cases) {
    await using node = new NodeHarness();
    node.resolveImage = async () => {
      throw error;
    };
    await node.run({ containers: [{ name: "app", image: "app:1", ...container }] });
    assert.equal(node.pod()!.status!.containerStatuses![0]!.state!.waiting!.reason, reason);
    assert.deepEqual(node.events.map(({ reason, message }) => `${reason}: ${message}`), events);
  }
});

test("what is linked later is found at once", async () => {
  await using node = new NodeHarness();
  node.resolveImage = async () => {
    throw new ContainerError("ErrImagePull", "no program");
  };
  const worker = await node.run({});
  node.resolveImage = async () => plainImage;
  worker.referenceChanged();
  await node.settle();
  assert.equal(node.pod()!.status!.phase, "Running");
  assert.equal(node.pod()!.status!.containerStatuses![0]!.restartCount, 0);
});

test("missing configuration is named in kubelet's words and found when it comes", async () => {
  const cases = [
    { env: { name: "A", valueFrom: { configMapKeyRef: { name: "conf", key: "a" } } }, message: 'configmap "conf" not found' },
    { env: { name: "A", valueFrom: { secretKeyRef: { name: "conf", key: "a" } } }, message: 'secret "conf" not found' },
  ];
  for (const { env, message } of cases) {
    await using node = new NodeHarness();
    const worker = await node.run({ containers: [{ name: "app", image: "a", env: [env] }] });
    assert.deepEqual(node.pod()!.status!.containerStatuses![0]!.state!.waiting, { reason: "CreateContainerConfigError", message });
    assert.deepEqual(messages(node, "Failed"), [`Error: ${message}`]);
    await node.client.create(resources.configMaps, "default", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "conf" }, data: { a: "1" } });
    await node.client.create(resources.secrets, "default", { apiVersion: "v1", kind: "Secret", metadata: { name: "conf" }, data: { a: "MQ==" } });
    worker.referenceChanged();
    await node.settle();
    assert.equal(node.sandbox.started[0]?.spec.env["A"], "1");
  }
});
