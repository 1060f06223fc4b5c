import assert from "node:assert/strict";
import { test } from "node:test";
import { controllerOf, type KubeObject } from "../../src/api/meta.ts";
import { nodeName, resources } from "../../src/api/resources.ts";
import { StatusError } from "../../src/api/status.ts";
import type { Deployment, EndpointSlice, Event, Pod, ReplicaSet } from "../../src/api/types.ts";
import { Cluster, deployment } from "./cluster.ts";

/** Roll-outs over the real API, with every step of the node's delays drawn from the seed. */
/** `SEED=4,5,6` tries others; a failure names its seed. */
const seeds = process.env["SEED"]?.split(",").map(Number) ?? [1, 2, 3];
const isReady = (pod: Pod): boolean => pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
const getDeployment = (cluster: Cluster, name = "web") => cluster.client.get<Deployment>(resources.deployments, "default", name);
const condition = (object: Deployment, type: string) => object.status?.conditions?.find((one) => one.type === type);
const setImage = (cluster: Cluster, image: string, name = "web") =>
  cluster.client.patch(resources.deployments, "default", name, { spec: { template: { spec: { containers: [{ name: "app", image }] } } } }, { type: "strategic" });
const setReplicas = (cluster: Cluster, replicas: number, name = "web") => cluster.client.patch(resources.deployments, "default", name, { spec: { replicas } });
const complete = async (cluster: Cluster, name = "web"): Promise<boolean> => {
  const { spec, status, metadata } = await getDeployment(cluster, name);
  const wanted = spec!.replicas!;
  return status?.observedGeneration === metadata.generation && status?.updatedReplicas === wanted && status.replicas === wanted && status.availableReplicas === wanted && condition({ status } as Deployment, "Progressing")?.reason === "NewReplicaSetAvailable";
};
const replicaSets = async (cluster: Cluster): Promise<ReplicaSet[]> => (await cluster.client.list<ReplicaSet>(resources.replicaSets, { namespace: "default" })).items;
const messages = async (cluster: Cluster, kind: string, reason: string): Promise<string[]> =>
  (await cluster.client.list<Event>(resources.events)).items.filter((event) => event.involvedObject.kind === kind && event.reason === reason).map((event) => event.message!);

for (const seed of seeds) {
  test(`a roll-out never has too few available pods nor too many at all (seed ${seed})`, async () => {
    const cluster = new Cluster({ seed });
    await cluster.start();
    await cluster.client.create(resources.deployments, "default", deployment("web", 8, { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: "20%" } }, revisionHistoryLimit: 2 }));
    await cluster.until("the first version runs", () => complete(cluster));
    const broken: string[] = [];
    cluster.check = () => {
      const pods = cluster.stored<Pod>(resources.pods);
      const alive = pods.filter((pod) => !pod.metadata.deletionTimestamp);
      const available = alive.filter(isReady).length;
      if (available < 7) broken.push(`${available} of at least 7 are available`);
      if (alive.length > 10) broken.push(`${alive.length} of at most 10 exist`);
    };
    for (const version of [2, 3, 4, 5]) {
      await setImage(cluster, `app:${version}`);
      await cluster.until(`version ${version} runs`, () => complete(cluster));
      assert.deepEqual([...new Set((await cluster.pods()).filter((pod) => !pod.metadata.deletionTimestamp).map((pod) => pod.spec!.containers[0]!.image))], [`app:${version}`]);
    }
    assert.deepEqual(broken, []);
    await cluster.until("the history is bounded", async () => (await replicaSets(cluster)).length === 3);
    const revisions = (await replicaSets(cluster)).map((set) => set.metadata.annotations!["deployment.kubernetes.io/revision"]).sort();
    assert.deepEqual(revisions, ["3", "4", "5"]);
    assert.equal((await getDeployment(cluster)).metadata.annotations!["deployment.kubernetes.io/revision"], "5");
    await cluster.stop();
  });

  test(`pods that die, controllers that crash and users who change their minds: it converges (seed ${seed})`, async () => {
    const cluster = new Cluster({ seed });
    await cluster.start();
    const random = cluster.random;
    await cluster.client.create(resources.deployments, "default", deployment("web", 5, { revisionHistoryLimit: 3 }));
    for (let step = 0; step < 25; step++) {
      await cluster.run(random(400));
      const pods = (await cluster.pods()).filter((pod) => !pod.metadata.deletionTimestamp);
      const pod = pods[random(Math.max(1, pods.length))];
      const choices: (() => Promise<unknown>)[] = [
        () => setImage(cluster, `app:${random(4)}`),
        () => setReplicas(cluster, random(9)),
        () => (pod ? cluster.client.delete(resources.pods, "default", pod.metadata.name) : Promise.resolve()),
        () => (pod?.spec?.nodeName ? cluster.setPodStatus(pod, false, "Failed") : Promise.resolve()),
        () => cluster.stopControllers().then(() => cluster.startControllers()),
      ];
      await choices[random(choices.length)]!().catch((error: unknown) => {
        // A pod may be gone by now.
        if (!(error instanceof StatusError)) throw error;
      });
    }
    await setReplicas(cluster, 4);
    await cluster.until("it converges", () => complete(cluster), 120_000);
    await cluster.run(5_000);
    const sets = await replicaSets(cluster);
    const owners = new Set(sets.map((set) => set.metadata.uid));
    const pods = (await cluster.pods()).filter((pod) => pod.status?.phase !== "Failed");
    assert.equal(pods.length, 4);
    assert.deepEqual(pods.filter((pod) => !owners.has(controllerOf(pod)!.uid)).map((pod) => pod.metadata.name), [], "no pod without its ReplicaSet");
    assert.ok(sets.length <= 4, `${sets.length} ReplicaSets are kept with a limit of 3 old ones`);
    // Quiet: nothing more is written once the wanted state is reached.
    const revision = cluster.revision;
    await cluster.run(60_000);
    assert.ok(cluster.revision - revision <= 8, `${cluster.revision - revision} writes in a quiet minute (the node's own Lease makes 6)`);
    await cluster.stop();
  });
}

for (const seed of seeds) {
  test(`writes that are lost, answers that are lost, watches that break: it converges all the same (seed ${seed})`, async () => {
    const cluster = new Cluster({ seed });
    await cluster.start();
    const { client, random } = cluster;
    await client.create(resources.services, "default", { metadata: { name: "web" }, spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] } });
    await client.create(resources.deployments, "default", deployment("web", 5, { revisionHistoryLimit: 2 }));
    cluster.mood = 1;
    for (let step = 0; step < 12; step++) {
      await cluster.run(random(2_000));
      await (random(2) ? setImage(cluster, `app:${random(4)}`) : setReplicas(cluster, random(9)));
    }
    await setReplicas(cluster, 6);
    cluster.mood = 0;
    await cluster.until("it converges", () => complete(cluster), 180_000);
    await cluster.run(30_000);
    const pods = await cluster.pods();
    assert.equal(pods.length, 6, "lost answers leave no pods too many");
    const ips = new Set(pods.map((pod) => pod.status!.podIP));
    const slices = cluster.stored<EndpointSlice>(resources.endpointSlices);
    const listed = slices.flatMap(({ endpoints }) => endpoints!.flatMap(({ addresses }) => addresses));
    assert.deepEqual([listed.length, new Set(listed)], [6, ips], "nor endpoints twice");
    assert.ok((await replicaSets(cluster)).length <= 3);
    await cluster.stop();
  });
}

test("the same seed gives the same run, another seed another", async () => {
  const traces = [];
  for (const seed of [7, 7, 8]) {
    const cluster = new Cluster({ seed });
    await cluster.start();
    await cluster.client.create(resources.deployments, "default", deployment("web", 6));
    await cluster.run(300);
    await setImage(cluster, "app:2");
    await cluster.until("done", () => complete(cluster));
    await cluster.run(1_000);
    traces.push(cluster.trace.join("\n"));
    await cluster.stop();
  }
  assert.equal(traces[0], traces[1]);
  assert.notEqual(traces[0], traces[2]);
});

test("undo is one more revision, and the set remembers its former number", async () => {
  const cluster = new Cluster();
  await cluster.start();
  await cluster.client.create(resources.deployments, "default", { ...deployment("web", 2), metadata: { name: "web", annotations: { "kubernetes.io/change-cause": "first" } } });
  await cluster.until("1", () => complete(cluster));
  await setImage(cluster, "app:2");
  await cluster.until("2", () => complete(cluster));
  await setImage(cluster, "app:1");
  await cluster.until("3", () => complete(cluster));
  const sets = (await replicaSets(cluster)).map(({ metadata, spec }) => ({ revision: metadata.annotations!["deployment.kubernetes.io/revision"], history: metadata.annotations!["deployment.kubernetes.io/revision-history"], cause: metadata.annotations!["kubernetes.io/change-cause"], replicas: spec!.replicas }));
  assert.deepEqual(sets.sort((a, b) => Number(b.replicas) - Number(a.replicas)), [
    { revision: "3", history: "1", cause: "first", replicas: 2 },
    { revision: "2", history: undefined, cause: "first", replicas: 0 },
  ]);
  await cluster.stop();
});

test("Recreate: no new pod before the last old one is gone", async () => {
  const cluster = new Cluster();
  await cluster.start();
  await cluster.client.create(resources.deployments, "default", deployment("web", 3, { strategy: { type: "Recreate" } }));
  await cluster.until("the first version runs", () => complete(cluster));
  let mixed = 0;
  cluster.check = () => void (mixed += Number(new Set(cluster.stored<Pod>(resources.pods).map((pod) => pod.spec!.containers[0]!.image)).size > 1));
  await setImage(cluster, "app:2");
  await cluster.until("the second version runs", () => complete(cluster));
  assert.equal(mixed, 0);
  assert.deepEqual(await messages(cluster, "Deployment", "ScalingReplicaSet").then((all) => all.map((text) => text.replace(/web-\w+/, "x"))), ["Scaled up replica set x from 0 to 3", "Scaled down replica set x from 3 to 0", "Scaled up replica set x from 0 to 3"]);
  await cluster.stop();
});

test("a version that never becomes ready stops at the deadline and leaves the old one serving", async () => {
  const cluster = new Cluster({ becomesReady: (pod) => pod.spec!.containers[0]!.image !== "app:broken" });
  await cluster.start();
  await cluster.client.create(resources.deployments, "default", deployment("web", 4, { progressDeadlineSeconds: 60 }));
  await cluster.until("the first version runs", () => complete(cluster));
  await setImage(cluster, "app:broken");
  await cluster.run(50_000);
  assert.equal(condition(await getDeployment(cluster), "Progressing")!.reason, "ReplicaSetUpdated");
  await cluster.run(15_000);
  const stuck = await getDeployment(cluster);
  const name = (await replicaSets(cluster)).find((set) => set.spec!.template!.spec!.containers[0]!.image === "app:broken")!.metadata.name;
  assert.deepEqual([condition(stuck, "Progressing")!.status, condition(stuck, "Progressing")!.reason, condition(stuck, "Progressing")!.message], ["False", "ProgressDeadlineExceeded", `ReplicaSet "${name}" has timed out progressing.`]);
  assert.equal(condition(stuck, "Available")!.reason, "MinimumReplicasAvailable");
  assert.equal(stuck.status!.availableReplicas, 3);
  await setImage(cluster, "app:1");
  await cluster.until("the undo is through", () => complete(cluster));
  await cluster.stop();
});

test("paused: a new template waits, scaling does not", async () => {
  const cluster = new Cluster();
  await cluster.start();
  await cluster.client.create(resources.deployments, "default", deployment("web", 2));
  await cluster.until("it runs", () => complete(cluster));
  await cluster.client.patch(resources.deployments, "default", "web", { spec: { paused: true } });
  await cluster.run(1_000);
  assert.equal(condition(await getDeployment(cluster), "Progressing")!.reason, "DeploymentPaused");
  await setImage(cluster, "app:2");
  await setReplicas(cluster, 4);
  await cluster.run(5_000);
  assert.deepEqual((await cluster.pods()).map((pod) => pod.spec!.containers[0]!.image), ["app:1", "app:1", "app:1", "app:1"]);
  await cluster.client.patch(resources.deployments, "default", "web", { spec: { paused: false } });
  await cluster.until("it is resumed", () => complete(cluster));
  assert.deepEqual([...new Set((await cluster.pods()).filter((pod) => !pod.metadata.deletionTimestamp).map((pod) => pod.spec!.containers[0]!.image))], ["app:2"]);
  await cluster.stop();
});

test("minReadySeconds: ready is not yet available", async () => {
  const cluster = new Cluster();
  await cluster.start();
  await cluster.client.create(resources.deployments, "default", deployment("web", 2, { minReadySeconds: 30 }));
  await cluster.run(20_000);
  const waiting = await getDeployment(cluster);
  assert.deepEqual([waiting.status!.readyReplicas, waiting.status!.availableReplicas, condition(waiting, "Available")!.reason], [2, undefined, "MinimumReplicasUnavailable"]);
  await cluster.until("they are available", () => complete(cluster), 13_000);
  await cluster.stop();
});

test("a taken name: the next hash", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  await client.create(resources.deployments, "default", deployment("web", 1));
  await cluster.run(2_000);
  const [first] = await replicaSets(cluster);
  await client.delete(resources.deployments, "default", "web", { propagationPolicy: "Background" });
  await cluster.run(3_000);
  const spec = deployment("other", 0).spec;
  await client.create(resources.replicaSets, "default", { metadata: { name: first!.metadata.name }, spec: { replicas: 0, selector: spec.selector, template: spec.template } });
  await client.create(resources.deployments, "default", deployment("web", 1));
  await cluster.until("it runs under another name", () => complete(cluster));
  const own = (await replicaSets(cluster)).filter((set) => set.metadata.labels?.["app"] === "web");
  assert.equal((await getDeployment(cluster)).status!.collisionCount, 1);
  assert.deepEqual([own.length, own[0]!.metadata.name === first!.metadata.name], [1, false]);
  await cluster.stop();
});

test("a ReplicaSet adopts what it selects and releases what it no longer does", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  await client.create(resources.pods, "default", { metadata: { name: "stray", labels: { app: "set" } }, spec: { containers: [{ name: "app", image: "app:0" }] } });
  const template = deployment("set", 2).spec;
  await client.create(resources.replicaSets, "default", { metadata: { name: "set" }, spec: { replicas: 2, selector: template.selector, template: template.template } });
  await cluster.run(3_000);
  const set = await client.get<ReplicaSet>(resources.replicaSets, "default", "set");
  const owner = (pod: Pod) => controllerOf(pod)?.uid;
  assert.deepEqual([set.status!.readyReplicas, (await cluster.pods()).map(owner)], [2, [set.metadata.uid, set.metadata.uid]]);
  await client.patch(resources.pods, "default", "stray", { metadata: { labels: { app: "other" } } });
  await cluster.run(3_000);
  assert.equal(owner(await client.get<Pod>(resources.pods, "default", "stray")), undefined);
  assert.equal((await cluster.pods()).filter((pod) => owner(pod) === set.metadata.uid).length, 2);
  await cluster.stop();
});

test("what cannot be created is said in condition and Event, and tried again", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const spec = deployment("web", 2).spec;
  const refused = { ...spec, template: { ...spec.template, spec: { ...spec.template.spec, serviceAccountName: "missing" } } };
  await cluster.client.create(resources.deployments, "default", { metadata: { name: "web" }, spec: refused });
  await cluster.run(2_000);
  const failing = await getDeployment(cluster);
  assert.equal(condition(failing, "ReplicaFailure")?.reason, "FailedCreate");
  assert.match(condition(failing, "ReplicaFailure")!.message!, /serviceaccount "missing" not found/);
  assert.match((await messages(cluster, "ReplicaSet", "FailedCreate"))[0]!, /^Error creating: pods "web-\w+-\w*" is forbidden: error looking up service account default\/missing: serviceaccount "missing" not found$/);
  await cluster.client.create(resources.serviceAccounts, "default", { metadata: { name: "missing" } });
  await cluster.until("it recovers", () => complete(cluster));
  assert.equal(condition(await getDeployment(cluster), "ReplicaFailure"), undefined);
  await cluster.stop();
});

test("a silent node is Unknown and takes no pods until it speaks again", async () => {
  const cluster = new Cluster();
  await cluster.start();
  cluster.nodeIsSilent = true;
  await cluster.run(65_000);
  const ready = async () => (await cluster.client.get<KubeObject>(resources.nodes, undefined, nodeName))["status"].conditions.find((one: { type: string }) => one.type === "Ready");
  assert.deepEqual([(await ready()).status, (await ready()).message], ["Unknown", "Kubelet stopped posting node status."]);
  await cluster.client.create(resources.deployments, "default", deployment("web", 1));
  await cluster.run(2_000);
  assert.deepEqual((await cluster.pods()).map((pod) => pod.spec!.nodeName), [undefined]);
  assert.match((await messages(cluster, "Pod", "FailedScheduling"))[0]!, /^0\/1 nodes are available: 1 node\(s\) had untolerated taint\(s\)\. /);
  cluster.nodeIsSilent = false;
  await cluster.postNodeStatus();
  await cluster.until("it runs after all", () => complete(cluster));
  await cluster.stop();
});
