import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import type { Pod, StatefulSet } from "../../src/api/types.ts";
import { Cluster } from "./cluster.ts";

const isReady = (pod: Pod): boolean => pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
const setOf = (spec: object) => ({ metadata: { name: "db" }, spec: { serviceName: "db", selector: { matchLabels: { app: "db" } }, template: { metadata: { labels: { app: "db" } }, spec: { containers: [{ name: "main", image: "db:1" }] } }, ...spec } });
const setImage = (cluster: Cluster, image: string) => cluster.client.patch(resources.statefulSets, "default", "db", { spec: { template: { spec: { containers: [{ name: "main", image }] } } } }, { type: "strategic" });
const done = (cluster: Cluster, replicas: number) => async (): Promise<boolean> => {
  const { metadata, status } = await cluster.client.get<StatefulSet>(resources.statefulSets, "default", "db");
  return status?.observedGeneration === metadata.generation && status?.availableReplicas === replicas && status.updatedReplicas === replicas && status.replicas === replicas;
};

test("how many of a StatefulSet may be missing during a roll-out", async (t) => {
  const cases: [why: string, spec: object, missing: number][] = [
    ["one by default", {}, 1],
    ["two at a time", { updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 2 } } }, 2],
    ["half of five is two", { updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "50%" } } }, 2],
    ["a tenth of five is one", { updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "10%" } } }, 1],
  ];
  for (const [why, spec, missing] of cases) {
    await t.test(why, async () => {
      const cluster = new Cluster();
      await cluster.start();
      await cluster.client.create(resources.statefulSets, "default", setOf({ replicas: 5, podManagementPolicy: "Parallel", ...spec }));
      await cluster.until("five run", done(cluster, 5));
      let most = 0;
      cluster.check = () => void (most = Math.max(most, 5 - cluster.stored<Pod>(resources.pods).filter((pod) => isReady(pod) && !pod.metadata.deletionTimestamp).length));
      await setImage(cluster, "db:2");
      await cluster.until("it is through", done(cluster, 5));
      assert.equal(most, missing);
      await cluster.stop();
    });
  }
});

test("ordinals begin where they are told to, and move", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const names = async () => (await cluster.pods()).map(({ metadata }) => metadata.name).sort();
  await cluster.client.create(resources.statefulSets, "default", setOf({ replicas: 2, ordinals: { start: 5 } }));
  await cluster.until("two run", done(cluster, 2));
  assert.deepEqual(await names(), ["db-5", "db-6"]);
  await cluster.client.patch(resources.statefulSets, "default", "db", { spec: { ordinals: { start: 4 } } });
  await cluster.until("they have moved", async () => (await done(cluster, 2)()) && (await names()).join() === "db-4,db-5");
  await cluster.stop();
});

test("minReadySeconds: the next one waits until the one before has been ready so long", async () => {
  const cluster = new Cluster({ startMsMax: 10, stopMsMax: 10 });
  await cluster.start();
  const startMs = cluster.clock.now();
  const made: number[] = [];
  cluster.check = () => {
    for (let count = cluster.stored<Pod>(resources.pods).length; made.length < count; ) made.push(Math.round((cluster.clock.now() - startMs) / 1000));
  };
  await cluster.client.create(resources.statefulSets, "default", setOf({ replicas: 3, minReadySeconds: 10 }));
  await cluster.until("three are available", done(cluster, 3), 120_000);
  assert.deepEqual(made, [0, 10, 20]);
  assert.ok(cluster.clock.now() - startMs >= 29_000);
  await cluster.stop();
});

test("in the middle of a roll-out a pod that is lost comes back new at once, below a partition as it was", async () => {
  for (const [partition, image] of [[0, "db:2"], [2, "db:1"]] as const) {
    // What is new never becomes ready, so the roll-out stays at its first pod.
    const cluster = new Cluster({ becomesReady: ({ spec, metadata }) => spec!.containers[0]!.image !== "db:2" || metadata.name === "db-0" });
    await cluster.start();
    await cluster.client.create(resources.statefulSets, "default", setOf({ replicas: 3, updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition } } }));
    await cluster.until("three run", done(cluster, 3));
    await setImage(cluster, "db:2");
    await cluster.run(5_000);
    const images = async () => (await cluster.pods()).sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)).map(({ spec }) => spec!.containers[0]!.image);
    assert.deepEqual(await images(), ["db:1", "db:1", "db:2"]);
    await cluster.client.delete(resources.pods, "default", "db-0");
    await cluster.run(5_000);
    assert.deepEqual(await images(), [image, "db:1", "db:2"]);
    await cluster.stop();
  }
});

test("a parallel roll-out that cannot work ends one pod, and is mended by the next", async () => {
  const cluster = new Cluster({ becomesReady: ({ spec }) => spec!.containers[0]!.image !== "db:2" });
  await cluster.start();
  await cluster.client.create(resources.statefulSets, "default", setOf({ replicas: 4, podManagementPolicy: "Parallel" }));
  await cluster.until("four run", done(cluster, 4));
  await setImage(cluster, "db:2");
  await cluster.run(20_000);
  assert.equal((await cluster.pods()).filter(isReady).length, 3);
  await setImage(cluster, "db:3");
  await cluster.until("it is mended", done(cluster, 4));
  assert.deepEqual([...new Set((await cluster.pods()).map(({ spec }) => spec!.containers[0]!.image))], ["db:3"]);
  await cluster.stop();
});
