import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import type { ControllerRevision, DaemonSet, Pod } from "../../src/api/types.ts";
import { Cluster } from "./cluster.ts";

const isReady = (pod: Pod): boolean => pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
const template = (image: string) => ({ metadata: { labels: { app: "agent" } }, spec: { containers: [{ name: "main", image }] } });
const image = (cluster: Cluster, value: string) => cluster.client.patch(resources.daemonSets, "default", "agent", { spec: { template: { spec: { containers: [{ name: "main", image: value }] } } } }, { type: "strategic" });
async function rolledOut(cluster: Cluster): Promise<boolean> {
  const { metadata, status } = await cluster.client.get<DaemonSet>(resources.daemonSets, "default", "agent");
  return status?.observedGeneration === metadata.generation && status?.desiredNumberScheduled === 1 && status.updatedNumberScheduled === 1 && status.numberAvailable === 1;
}

for (const [why, rollingUpdate, least, most] of [
  ["without surge the old pod ends first", { maxUnavailable: 1, maxSurge: 0 }, 0, 1],
  ["with surge one is always ready", { maxUnavailable: 0, maxSurge: 1 }, 1, 2],
] as const) {
  test(`a DaemonSet rolls out, and back to an older revision: ${why}`, async () => {
    const cluster = new Cluster();
    await cluster.start();
    await cluster.client.create(resources.daemonSets, "default", { metadata: { name: "agent" }, spec: { selector: { matchLabels: { app: "agent" } }, updateStrategy: { type: "RollingUpdate", rollingUpdate }, revisionHistoryLimit: 2, template: template("agent:1") } });
    await cluster.until("the first runs", () => rolledOut(cluster));
    let fewest = 9;
    let running = 0;
    cluster.check = () => {
      const pods = cluster.stored<Pod>(resources.pods);
      fewest = Math.min(fewest, pods.filter((pod) => isReady(pod) && !pod.metadata.deletionTimestamp).length);
      running = Math.max(running, pods.length);
    };
    for (const version of ["agent:2", "agent:3", "agent:4", "agent:5"]) {
      await image(cluster, version);
      await cluster.until(`${version} runs, and alone`, async () => (await rolledOut(cluster)) && (await cluster.pods()).length === 1);
    }
    await cluster.until("the history is cut", () => cluster.stored(resources.controllerRevisions).length === 3);
    const third = cluster.stored<ControllerRevision>(resources.controllerRevisions).find(({ data }) => JSON.stringify(data).includes("agent:3"))!;
    // What kubectl rollout undo sends.
    await cluster.client.patch(resources.daemonSets, "default", "agent", third.data as object, { type: "strategic" });
    await cluster.until("it is back", () => rolledOut(cluster));
    await cluster.until("the other is gone", async () => (await cluster.pods()).length === 1);
    assert.deepEqual((await cluster.pods()).map(({ spec }) => spec!.containers[0]!.image), ["agent:3"]);
    assert.deepEqual(cluster.stored<ControllerRevision>(resources.controllerRevisions).map((one) => one.revision).sort(), [4, 5, 6]);
    assert.deepEqual([fewest, running], [least, most]);
    await cluster.stop();
  });
}

test("a ReplicationController keeps its number, as /scale says", async () => {
  const cluster = new Cluster();
  await cluster.start();
  await cluster.client.create(resources.replicationControllers, "default", { metadata: { name: "agent" }, spec: { replicas: 2, template: template("agent:1") } });
  const status = async () => (await cluster.client.get<KubeObject>(resources.replicationControllers, "default", "agent"))["status"];
  await cluster.until("two are ready", async () => (await status()).readyReplicas === 2);
  await cluster.client.update(resources.replicationControllers, "default", "agent", { metadata: { name: "agent", namespace: "default" }, spec: { replicas: 1 } }, { subresource: "scale" });
  await cluster.until("one is left", async () => (await status()).replicas === 1 && (await cluster.pods()).length === 1);
  const [pod] = await cluster.pods();
  await cluster.client.delete(resources.pods, "default", pod!.metadata.name);
  await cluster.until("another came", async () => (await cluster.pods()).some(({ metadata }) => metadata.uid !== pod!.metadata.uid));
  await cluster.run(60_000);
  const revision = cluster.revision;
  await cluster.run(60_000);
  assert.ok(cluster.revision - revision <= 8);
  assert.deepEqual(Object.keys(await status()).sort(), ["availableReplicas", "fullyLabeledReplicas", "observedGeneration", "readyReplicas", "replicas"]);
  await cluster.stop();
});
