import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import { nodeName, resources } from "../../src/api/resources.ts";
import { StatusError } from "../../src/api/status.ts";
import type { ControllerRevision, Endpoints, EndpointSlice, Event, PersistentVolume, PersistentVolumeClaim, Pod, Service, StatefulSet } from "../../src/api/types.ts";
import { Cluster, deployment } from "./cluster.ts";

/** Everything but roll-outs: names that stay, volumes, endpoints, owners and namespaces. */
const statefulSet = (name: string, replicas: number, spec: Record<string, unknown> = {}, image = "db:1") => ({
  metadata: { name },
  spec: {
    replicas,
    serviceName: name,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "app", image, volumeMounts: [{ name: "data", mountPath: "/data" }] }] } },
    volumeClaimTemplates: [{ metadata: { name: "data" }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } }],
    ...spec,
  },
});
const names = (objects: readonly { metadata: { name: string } }[]): string[] => objects.map(({ metadata }) => metadata.name).sort();
const ready = (pod: Pod): boolean => pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") === true;
const statefulReady = (cluster: Cluster, replicas: number) => async (): Promise<boolean> => {
  const { status, metadata } = await cluster.client.get<StatefulSet>(resources.statefulSets, "default", "db");
  return status?.observedGeneration === metadata.generation && status?.replicas === replicas && status.readyReplicas === replicas && status.updatedReplicas === replicas && status.currentRevision === status.updateRevision;
};
const setImage = (cluster: Cluster, image: string) => cluster.client.patch(resources.statefulSets, "default", "db", { spec: { template: { spec: { containers: [{ name: "app", image }] } } } }, { type: "strategic" });
const events = async (cluster: Cluster, kind: string, reason: string): Promise<string[]> =>
  (await cluster.client.list<Event>(resources.events)).items.filter((event) => event.involvedObject.kind === kind && event.reason === reason).map((event) => event.message!);

test("a StatefulSet goes up one by one, down one by one, and its data stays", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  const broken: string[] = [];
  cluster.check = () => {
    const pods = cluster.stored<Pod>(resources.pods);
    if (pods.filter((pod) => !ready(pod) || pod.metadata.deletionTimestamp).length > 1) broken.push("two pods at once are not ready");
  };
  await client.create(resources.statefulSets, "default", statefulSet("db", 3));
  await cluster.until("3 run", statefulReady(cluster, 3));
  const created = [...new Set(cluster.trace.filter((line) => line.includes("/pods/")).map((line) => line.split("/").at(-1)))];
  assert.deepEqual(created, ["db-0", "db-1", "db-2"]);
  const [first] = await cluster.pods();
  assert.deepEqual(
    [first!.metadata.name, first!.spec!.hostname, first!.spec!.subdomain, first!.metadata.labels!["apps.kubernetes.io/pod-index"], first!.metadata.labels!["statefulset.kubernetes.io/pod-name"]],
    ["db-0", "db-0", "db", "0", "db-0"],
  );
  const claims = (await client.list<PersistentVolumeClaim>(resources.persistentVolumeClaims)).items;
  assert.deepEqual(claims.map(({ metadata, spec, status }) => [metadata.name, status?.phase, spec?.storageClassName, status?.capacity?.["storage"]]), [0, 1, 2].map((ordinal) => [`data-db-${ordinal}`, "Bound", "standard", "1Gi"]));
  const volume = await client.get<PersistentVolume>(resources.persistentVolumes, undefined, claims[0]!.spec!.volumeName!);
  assert.equal(volume.spec!.local!.path, `/nonexistent/volumes/${volume.metadata.name}`);
  assert.equal(volume.status!.phase, "Bound");

  await client.patch(resources.statefulSets, "default", "db", { spec: { replicas: 1 } });
  await cluster.until("1 runs", statefulReady(cluster, 1));
  assert.equal((await client.list(resources.persistentVolumeClaims)).items.length, 3, "claims outlive their pods");
  await client.patch(resources.statefulSets, "default", "db", { spec: { replicas: 3 } });
  await cluster.until("3 run again", statefulReady(cluster, 3));
  assert.equal((await client.list<PersistentVolume>(resources.persistentVolumes)).items.length, 3, "and are used again");

  await setImage(cluster, "db:2");
  await cluster.until("the roll-out is through", statefulReady(cluster, 3));
  assert.deepEqual((await cluster.pods()).map((pod) => pod.spec!.containers[0]!.image), ["db:2", "db:2", "db:2"]);
  assert.deepEqual((await client.list<ControllerRevision>(resources.controllerRevisions)).items.map(({ revision }) => revision).sort(), [1, 2]);
  await setImage(cluster, "db:1");
  await cluster.until("the undo is through", statefulReady(cluster, 3));
  assert.deepEqual((await client.list<ControllerRevision>(resources.controllerRevisions)).items.map(({ revision }) => revision).sort(), [2, 3]);
  assert.deepEqual(broken, []);
  assert.ok((await events(cluster, "StatefulSet", "SuccessfulCreate")).includes("create Claim data-db-0 Pod db-0 in StatefulSet db success"));
  await cluster.stop();
});

test("claims go or stay as the retention policy says", async (t) => {
  const cases: [whenScaled: string, whenDeleted: string, afterScaling: number, afterDeletion: number][] = [
    ["Retain", "Retain", 3, 3],
    ["Delete", "Retain", 1, 1],
    ["Retain", "Delete", 3, 0],
    ["Delete", "Delete", 1, 0],
  ];
  for (const [whenScaled, whenDeleted, afterScaling, afterDeletion] of cases) {
    await t.test(`whenScaled ${whenScaled}, whenDeleted ${whenDeleted}`, async () => {
      const cluster = new Cluster();
      await cluster.start();
      const { client } = cluster;
      await client.create(resources.statefulSets, "default", statefulSet("db", 3, { persistentVolumeClaimRetentionPolicy: { whenScaled, whenDeleted } }));
      await cluster.until("3 run", statefulReady(cluster, 3));
      await client.patch(resources.statefulSets, "default", "db", { spec: { replicas: 1 } });
      await cluster.until("1 runs", statefulReady(cluster, 1));
      await cluster.run(2_000);
      assert.equal(cluster.stored(resources.persistentVolumeClaims).length, afterScaling);
      await client.delete(resources.statefulSets, "default", "db");
      await cluster.run(3_000);
      assert.equal(cluster.stored(resources.pods).length, 0);
      assert.equal(cluster.stored(resources.persistentVolumeClaims).length, afterDeletion);
      await cluster.stop();
    });
  }
});

test("partition, OnDelete and Parallel", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  const images = async () => (await cluster.pods()).map((pod) => pod.spec!.containers[0]!.image);
  await client.create(resources.statefulSets, "default", statefulSet("db", 3, { podManagementPolicy: "Parallel", updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 2 } } }));
  await cluster.run(100);
  assert.equal((await cluster.pods()).length, 3, "Parallel does not wait");
  await cluster.until("3 run", statefulReady(cluster, 3));
  await setImage(cluster, "db:2");
  await cluster.run(10_000);
  assert.deepEqual(await images(), ["db:1", "db:1", "db:2"]);
  await client.delete(resources.pods, "default", "db-0");
  await cluster.run(5_000);
  assert.deepEqual(await images(), ["db:1", "db:1", "db:2"], "below the partition a pod comes back as it was");
  await client.patch(resources.statefulSets, "default", "db", { spec: { updateStrategy: { type: "OnDelete", rollingUpdate: null } } });
  await cluster.run(5_000);
  assert.deepEqual(await images(), ["db:1", "db:1", "db:2"]);
  await client.delete(resources.pods, "default", "db-1");
  await cluster.run(5_000);
  assert.deepEqual(await images(), ["db:1", "db:2", "db:2"]);
  await cluster.stop();
});

test("endpoints follow readiness, and go at the first word of an end", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  await client.create(resources.services, "default", { metadata: { name: "web", labels: { team: "a" } }, spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] } });
  const slices = async () => (await client.list<EndpointSlice>(resources.endpointSlices, { labelSelector: "kubernetes.io/service-name=web" })).items;
  const endpoints = async () => (await client.get<Endpoints>(resources.endpoints, "default", "web")).subsets ?? [];
  await cluster.run(200);
  assert.equal((await slices()).length, 1, "there is a slice before there is a pod");
  await client.create(resources.deployments, "default", deployment("web", 3));
  await cluster.run(3_000);
  const [slice] = await slices();
  assert.deepEqual([slice!.ports, slice!.metadata.labels!["team"], slice!.metadata.labels!["endpointslice.kubernetes.io/managed-by"]], [[{ name: "", port: 8080, protocol: "TCP" }], "a", "endpointslice-controller.k8s.io"]);
  assert.deepEqual(slice!.endpoints!.map(({ conditions, nodeName: node, targetRef }) => [conditions, node, targetRef!.kind]), Array.from({ length: 3 }, () => [{ ready: true, serving: true, terminating: false }, nodeName, "Pod"]));
  assert.deepEqual((await endpoints()).map(({ addresses, ports }) => [addresses!.length, ports]), [[3, [{ port: 8080, protocol: "TCP" }]]]);

  const [sick] = await cluster.pods();
  const changedAtMs = cluster.clock.now();
  await cluster.setPodStatus(sick!, false);
  await cluster.run(1);
  assert.equal((await slices())[0]!.endpoints!.filter(({ conditions }) => conditions!.ready).length, 2, "the first change is not delayed");
  assert.equal(cluster.clock.now() - changedAtMs, 1);
  await cluster.run(200);
  assert.equal((await endpoints())[0]!.notReadyAddresses!.length, 1);
  await client.delete(resources.pods, "default", sick!.metadata.name);
  await cluster.run(100);
  const ending = (await slices())[0]!.endpoints!.find(({ targetRef }) => targetRef!.uid === sick!.metadata.uid);
  if (ending) assert.deepEqual(ending.conditions, { ready: false, serving: false, terminating: true });

  const before = cluster.revision;
  await Promise.all((await cluster.pods()).map((pod) => cluster.setPodStatus(pod, false)));
  await cluster.run(1_000);
  const sliceWrites = cluster.trace.filter((line) => line.includes("/endpointslices/") && Number.parseInt(line, 10) > before).length;
  assert.ok(sliceWrites <= 6, `${sliceWrites} writes for one burst`);
  await client.delete(resources.services, "default", "web");
  await cluster.run(2_000);
  assert.deepEqual([(await slices()).length, (await client.list<Endpoints>(resources.endpoints)).items.length], [0, 0]);
  await cluster.stop();
});

test("a headless Service names its pods; publishNotReadyAddresses publishes them at once", async () => {
  const cluster = new Cluster({ becomesReady: () => false });
  await cluster.start();
  const { client } = cluster;
  await client.create(resources.services, "default", { metadata: { name: "db" }, spec: { clusterIP: "None", selector: { app: "db" }, ports: [{ port: 5432 }], publishNotReadyAddresses: true } });
  await client.create(resources.statefulSets, "default", statefulSet("db", 1));
  await cluster.run(3_000);
  const [slice] = (await client.list<EndpointSlice>(resources.endpointSlices, { labelSelector: "kubernetes.io/service-name=db" })).items;
  assert.deepEqual(slice!.endpoints!.map(({ hostname, conditions }) => [hostname, conditions]), [["db-0", { ready: true, serving: false, terminating: false }]]);
  assert.equal(slice!.metadata.labels!["service.kubernetes.io/headless"], "");
  await cluster.stop();
});

test("deleting an owner: dependents later, first, or not at all", async (t) => {
  for (const propagationPolicy of ["Background", "Foreground", "Orphan"] as const) {
    await t.test(propagationPolicy, async () => {
      const cluster = new Cluster();
      await cluster.start();
      const { client } = cluster;
      await client.create(resources.deployments, "default", deployment("web", 3));
      await cluster.run(3_000);
      const wrong: string[] = [];
      cluster.check = () => {
        const [owners, sets, pods] = [cluster.stored(resources.deployments).length, cluster.stored(resources.replicaSets).length, cluster.stored(resources.pods).length];
        if (propagationPolicy === "Foreground" && ((owners === 0 && sets > 0) || (sets === 0 && pods > 0))) wrong.push(`${owners} ${sets} ${pods}`);
      };
      await client.delete(resources.deployments, "default", "web", { propagationPolicy });
      if (propagationPolicy === "Background") assert.equal(cluster.stored(resources.deployments).length, 0);
      await cluster.run(10_000);
      assert.deepEqual(wrong, [], "an owner was gone before what it waits for");
      const left = [cluster.stored(resources.deployments).length, cluster.stored(resources.replicaSets).length, cluster.stored(resources.pods).length];
      assert.deepEqual(left, propagationPolicy === "Orphan" ? [0, 1, 3] : [0, 0, 0]);
      if (propagationPolicy === "Orphan") assert.equal(cluster.stored<KubeObject>(resources.replicaSets)[0]!.metadata.ownerReferences, undefined);
      await cluster.stop();
    });
  }
});

test("owners: an absent one takes its dependents along, one of two does not, one elsewhere is absent and warned of", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  const map = (name: string, ownerReferences: object[], namespace = "default") => client.create<KubeObject>(resources.configMaps, namespace, { metadata: { name, ownerReferences } });
  const owner = (object: KubeObject) => ({ apiVersion: "v1", kind: "ConfigMap", name: object.metadata.name, uid: object.metadata.uid });
  const alive = await map("alive", []);
  const gone = { apiVersion: "v1", kind: "ConfigMap", name: "gone", uid: "11111111-2222-3333-4444-555555555555" };
  await map("orphaned", [gone]);
  await map("wrong-uid", [{ ...owner(alive), uid: gone.uid }]);
  await map("half", [owner(alive), gone]);
  await map("unknown-kind", [{ ...gone, kind: "Nonsense", apiVersion: "example.com/v1" }]);
  await map("foreign", [owner(alive)], "kube-public");
  await cluster.run(5_000);
  const left = (await client.list<KubeObject>(resources.configMaps)).items.filter(({ metadata }) => metadata.name !== "kube-root-ca.crt");
  assert.deepEqual(names(left), ["alive", "half", "unknown-kind"]);
  assert.deepEqual(left.find(({ metadata }) => metadata.name === "half")!.metadata.ownerReferences!.map(({ name }) => name), ["alive"]);
  assert.match((await events(cluster, "ConfigMap", "OwnerRefInvalidNamespace"))[0]!, /^ownerRef \[v1\/ConfigMap, namespace: kube-public, name: alive, uid: .*\] does not exist in namespace "kube-public"$/);
  await cluster.stop();
});

test("custom kinds come and go: their objects own, are owned, and go with their namespace", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client, registry } = cluster;
  const widgets = { group: "example.com", version: "v1", resource: "widgets" };
  const configMap = registry.byResource("", "v1", "configmaps")!;
  registry.add(Object.create(configMap, Object.getOwnPropertyDescriptors({ group: "example.com", kind: "Widget", resource: "widgets", singular: "widget", shortNames: [] })));
  await cluster.run(100);
  await client.create(resources.namespaces, undefined, { metadata: { name: "shop" } });
  const parent = await client.create<KubeObject>(widgets, "default", { metadata: { name: "parent" } });
  const ownerReferences = [{ apiVersion: "example.com/v1", kind: "Widget", name: "parent", uid: parent.metadata.uid }];
  await client.create(widgets, "default", { metadata: { name: "child", ownerReferences } });
  await client.create(widgets, "shop", { metadata: { name: "tenant" } });
  await cluster.run(1_000);
  assert.equal(cluster.stored(widgets).length, 3);
  await client.delete(widgets, "default", "parent");
  await client.delete(resources.namespaces, undefined, "shop");
  await cluster.run(3_000);
  assert.deepEqual([cluster.stored(widgets).length, cluster.stored<KubeObject>(resources.namespaces).some(({ metadata }) => metadata.name === "shop")], [0, false]);

  await client.create(resources.configMaps, "default", { metadata: { name: "owned", ownerReferences } });
  await cluster.run(1_000);
  registry.remove("example.com", "v1", "widgets");
  await client.create(resources.configMaps, "default", { metadata: { name: "owned-later", ownerReferences } });
  await cluster.run(10_000);
  assert.deepEqual(names(cluster.stored<KubeObject>(resources.configMaps).filter(({ metadata }) => metadata.name.startsWith("owned"))), ["owned-later"], "an owner of a kind that is not served is no absent owner");
  await cluster.stop();
});

for (const seed of [1, 2, 3]) {
  test(`a StatefulSet under trouble keeps names unique and converges (seed ${seed})`, async () => {
    const cluster = new Cluster({ seed });
    await cluster.start();
    const { client, random } = cluster;
    await client.create(resources.statefulSets, "default", statefulSet("db", 3, { podManagementPolicy: seed === 2 ? "Parallel" : "OrderedReady" }));
    for (let step = 0; step < 25; step++) {
      await cluster.run(random(600));
      const pods = (await cluster.pods()).filter((pod) => !pod.metadata.deletionTimestamp);
      const pod = pods[random(Math.max(1, pods.length))];
      const choices: (() => Promise<unknown>)[] = [
        () => setImage(cluster, `db:${random(3)}`),
        () => client.patch(resources.statefulSets, "default", "db", { spec: { replicas: random(5) } }),
        () => (pod ? client.delete(resources.pods, "default", pod.metadata.name) : Promise.resolve()),
        () => (pod?.spec?.nodeName ? cluster.setPodStatus(pod, false, "Failed") : Promise.resolve()),
        () => cluster.stopControllers().then(() => cluster.startControllers()),
      ];
      await choices[random(choices.length)]!().catch((error: unknown) => {
        if (!(error instanceof StatusError)) throw error;
      });
    }
    await client.patch(resources.statefulSets, "default", "db", { spec: { replicas: 3 } });
    await cluster.until("it converges", statefulReady(cluster, 3), 120_000);
    assert.deepEqual(names(await cluster.pods()), ["db-0", "db-1", "db-2"]);
    const volumes = cluster.stored<PersistentVolume>(resources.persistentVolumes);
    assert.equal(new Set(volumes.map(({ spec }) => spec!.claimRef!.name)).size, volumes.length, "one volume a claim");
    const revision = cluster.revision;
    await cluster.run(60_000);
    assert.ok(cluster.revision - revision <= 8, `${cluster.revision - revision} writes in a quiet minute`);
    await cluster.stop();
  });
}

test("a deleted namespace is emptied, waits for finalizers, and goes", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  await client.create(resources.namespaces, undefined, { metadata: { name: "shop" } });
  await cluster.run(500);
  assert.deepEqual(names((await client.list<KubeObject>(resources.serviceAccounts, { namespace: "shop" })).items), ["default"]);
  await client.create(resources.deployments, "shop", deployment("web", 3));
  await client.create(resources.statefulSets, "shop", statefulSet("db", 1));
  await client.create(resources.services, "shop", { metadata: { name: "web" }, spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] } });
  await client.create(resources.configMaps, "shop", { metadata: { name: "held", finalizers: ["example.com/hold"] } });
  await cluster.run(3_000);
  await client.delete(resources.namespaces, undefined, "shop");
  await cluster.run(5_000);
  const held = await client.get<KubeObject>(resources.namespaces, undefined, "shop");
  const conditions = Object.fromEntries(held["status"].conditions.map(({ type, status, message }: Record<string, string>) => [type, [status, message]]));
  assert.equal(held["status"].phase, "Terminating");
  assert.deepEqual(conditions["NamespaceContentRemaining"], ["True", "Some resources are remaining: configmaps. has 1 resource instances"]);
  assert.deepEqual(conditions["NamespaceFinalizersRemaining"], ["True", "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"]);
  await client.patch(resources.configMaps, "shop", "held", { metadata: { finalizers: null } });
  await cluster.until("the namespace is gone", () => cluster.stored<KubeObject>(resources.namespaces).every(({ metadata }) => metadata.name !== "shop"));
  await cluster.run(2_000);
  const last = new Map(cluster.trace.filter((line) => line.includes("/shop/")).map((line) => [line.split(" ")[2]!, line.split(" ")[1]!]));
  assert.deepEqual([...last].filter(([, type]) => type === "put").map(([key]) => key), [], "something is left in a namespace that is gone");
  assert.equal((await client.list(resources.persistentVolumes)).items.length, 0, "volumes of reclaim policy Delete go with their claims");
  assert.equal(cluster.removedVolumes.length, 1, "and so does what is in them");
  await cluster.stop();
});

test("volumes: waiting, static binding, Retain, and claims in use", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  const claim = (name: string, more: object = {}) => client.create(resources.persistentVolumeClaims, "default", { metadata: { name }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "2Gi" } }, ...more } });
  const phase = async (name: string) => (await client.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, "default", name)).status?.phase;
  await claim("lazy");
  const volume = (name: string, storage: string) => client.create(resources.persistentVolumes, undefined, { metadata: { name }, spec: { capacity: { storage }, accessModes: ["ReadWriteOnce"], persistentVolumeReclaimPolicy: "Retain", storageClassName: "manual", hostPath: { path: `/data/${name}` } } });
  await volume("large", "10Gi");
  await volume("fitting", "3Gi");
  await volume("small", "1Gi");
  // A volume can be taken once it is Available.
  await cluster.run(500);
  await claim("static", { storageClassName: "manual" });
  await cluster.run(2_000);
  assert.equal(await phase("lazy"), "Pending");
  assert.deepEqual(await events(cluster, "PersistentVolumeClaim", "WaitForFirstConsumer"), ["waiting for first consumer to be created before binding"]);
  assert.equal(await phase("static"), "Bound");
  assert.equal((await client.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, "default", "static")).spec!.volumeName, "fitting", "the smallest that is large enough");

  await client.create(resources.pods, "default", { metadata: { name: "user" }, spec: { terminationGracePeriodSeconds: 5, containers: [{ name: "c", image: "i" }], volumes: ["lazy", "static"].map((name) => ({ name, persistentVolumeClaim: { claimName: name } })) } });
  await cluster.run(2_000);
  assert.equal(await phase("lazy"), "Bound");
  assert.equal((await client.get<Pod>(resources.pods, "default", "user")).status!.phase, "Running");
  await client.delete(resources.persistentVolumeClaims, "default", "static");
  await cluster.run(2_000);
  assert.equal(await phase("static"), "Bound", "a claim in use stays");
  await client.delete(resources.pods, "default", "user");
  await cluster.run(3_000);
  await assert.rejects(phase("static"), /not found/);
  assert.equal((await client.get<PersistentVolume>(resources.persistentVolumes, undefined, "fitting")).status!.phase, "Released");
  await cluster.stop();
});

test("scheduling: what does not fit says why and goes when there is room", async () => {
  const cluster = new Cluster({ allocatable: { cpu: "1", memory: "1Gi", pods: "10" } });
  await cluster.start();
  const { client } = cluster;
  const pod = (name: string, cpu: string, more: object = {}) => client.create(resources.pods, "default", { metadata: { name, labels: { app: name } }, spec: { containers: [{ name: "c", image: "i", resources: { requests: { cpu } } }], ...more } });
  const scheduled = async (name: string) => {
    const { spec, status } = await client.get<Pod>(resources.pods, "default", name);
    const condition = status?.conditions?.find(({ type }) => type === "PodScheduled");
    return spec!.nodeName ?? `${condition?.reason}: ${condition?.message}`;
  };
  await pod("first", "700m");
  await pod("second", "400m");
  await pod("gated", "1m", { schedulingGates: [{ name: "example.com/wait" }] });
  await pod("elsewhere", "1m", { nodeSelector: { disk: "ssd" } });
  await cluster.run(2_000);
  assert.equal(await scheduled("first"), nodeName);
  assert.equal(await scheduled("second"), "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.");
  assert.match(await scheduled("gated"), /^SchedulingGated: Scheduling is blocked due to non-empty scheduling gates$/);
  assert.equal(await scheduled("elsewhere"), "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.");
  assert.equal((await events(cluster, "Pod", "FailedScheduling")).length, 2);
  await cluster.run(70 * 60_000);
  assert.equal((await events(cluster, "Pod", "FailedScheduling")).length, 2, "an hour later it still says why");
  await client.delete(resources.pods, "default", "first");
  await client.patch(resources.pods, "default", "gated", { spec: { schedulingGates: null } });
  await client.patch(resources.nodes, undefined, nodeName, { metadata: { labels: { disk: "ssd" } } });
  await cluster.run(2_000);
  assert.deepEqual([await scheduled("second"), await scheduled("gated"), await scheduled("elsewhere")], [nodeName, nodeName, nodeName]);
  await cluster.stop();
});

test("Events go after an hour", async () => {
  const cluster = new Cluster();
  await cluster.start();
  await cluster.client.create(resources.pods, "default", { metadata: { name: "one" }, spec: { containers: [{ name: "c", image: "i" }] } });
  await cluster.run(59 * 60_000);
  assert.ok((await cluster.client.list(resources.events, { namespace: "default" })).items.length > 0);
  await cluster.run(4 * 60_000);
  assert.equal((await cluster.client.list(resources.events, { namespace: "default" })).items.length, 0);
  await cluster.stop();
});

test("bootstrap objects are there, and stay as the user changed them", async () => {
  const cluster = new Cluster();
  await cluster.start();
  const { client } = cluster;
  assert.deepEqual(names((await client.list<KubeObject>(resources.namespaces)).items), ["default", "kube-node-lease", "kube-public", "kube-system", "wherry-system"]);
  await client.patch(resources.storageClasses, undefined, "standard", { metadata: { annotations: { "storageclass.kubernetes.io/is-default-class": "false" } } });
  await cluster.stopControllers();
  await cluster.startControllers();
  await cluster.run(1_000);
  assert.equal((await client.get<Service>(resources.storageClasses, undefined, "standard")).metadata.annotations!["storageclass.kubernetes.io/is-default-class"], "false");
  const ca = await client.get<KubeObject>(resources.configMaps, "kube-public", "kube-root-ca.crt");
  assert.equal(ca["data"]["ca.crt"], "CERTIFICATE");
  await client.delete(resources.configMaps, "kube-public", "kube-root-ca.crt");
  await cluster.run(1_000);
  assert.ok(await client.get(resources.configMaps, "kube-public", "kube-root-ca.crt"));
  await cluster.stop();
});
