import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { KubeObject } from "../../../api/meta.ts";
import { resources } from "../../../api/resources.ts";
import type { StatusError } from "../../../api/status.ts";
import { randomInt, seededRandom } from "../../../base/random.ts";
import { startApi, type TestApi } from "../../../../test/harness-api.ts";

let api: TestApi;
before(async () => {
  api = await startApi();
});
after(() => api[Symbol.asyncDispose]());

let namespaces = 0;
async function namespace(spec: object, name = "q"): Promise<string> {
  const made = `n${++namespaces}`;
  await api.client.create(resources.namespaces, undefined, { metadata: { name: made } });
  await api.client.create(resources.serviceAccounts, made, { metadata: { name: "default" } });
  await api.client.create(resources.resourceQuotas, made, { metadata: { name }, spec });
  return made;
}
const pod = (name: string, container: object = {}, spec: object = {}) => ({ metadata: { name }, spec: { containers: [{ name: "app", image: "busybox", ...container }], ...spec } });
const message = (promise: Promise<unknown>) =>
  promise.then(
    () => "admitted",
    (error: StatusError) => error.message,
  );
const pods = resources.pods;
const limited = (requests: object, limits: object = {}) => ({ resources: { requests, limits } });

type Step = [resource: (typeof resources)[keyof typeof resources], object: object, expected: string];
const cases: [what: string, spec: object, steps: Step[]][] = [
  ["a number of pods", { hard: { pods: "2" } }, [
    [pods, pod("a"), "admitted"],
    [pods, pod("b"), "admitted"],
    [pods, pod("c"), `pods "c" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2`],
  ]],
  ["compute, with what must be stated", { hard: { "requests.cpu": "1", "limits.memory": "1Gi" } }, [
    [pods, pod("silent"), `pods "silent" is forbidden: failed quota: q: must specify limits.memory for: app; requests.cpu for: app`],
    [pods, pod("a", limited({ cpu: "600m", memory: "64Mi" }, { memory: "512Mi" })), "admitted"],
    [pods, pod("b", limited({ cpu: "600m", memory: "64Mi" }, { memory: "768Mi" })), `pods "b" is forbidden: exceeded quota: q, requested: limits.memory=768Mi,requests.cpu=600m, used: limits.memory=512Mi,requests.cpu=600m, limited: limits.memory=1Gi,requests.cpu=1`],
    [pods, pod("c", limited({ cpu: "400m", memory: "64Mi" }, { memory: "512Mi" })), "admitted"],
  ]],
  ["objects by count/, of any kind", { hard: { "count/deployments.apps": "0", "count/configmaps": "1" } }, [
    [resources.configMaps, { metadata: { name: "a" } }, "admitted"],
    [resources.configMaps, { metadata: { name: "b" } }, `configmaps "b" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1`],
    [resources.deployments, { metadata: { name: "d" }, spec: { selector: { matchLabels: { a: "b" } }, template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } } } }, `deployments.apps "d" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=0, limited: count/deployments.apps=0`],
    [resources.secrets, { metadata: { name: "free" } }, "admitted"],
  ]],
  ["Services by what they take", { hard: { "services.nodeports": "2", "services.loadbalancers": "1" } }, [
    [resources.services, { metadata: { name: "a" }, spec: { type: "NodePort", ports: [{ port: 80 }] } }, "admitted"],
    [resources.services, { metadata: { name: "b" }, spec: { type: "LoadBalancer", ports: [{ port: 80 }] } }, "admitted"],
    [resources.services, { metadata: { name: "c" }, spec: { type: "LoadBalancer", allocateLoadBalancerNodePorts: false, ports: [{ port: 80 }] } }, `services "c" is forbidden: exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=1, limited: services.loadbalancers=1`],
    [resources.services, { metadata: { name: "d" }, spec: { type: "NodePort", ports: [{ port: 80 }] } }, `services "d" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=2, limited: services.nodeports=2`],
    [resources.services, { metadata: { name: "e" }, spec: { ports: [{ port: 80 }] } }, "admitted"],
  ]],
  ["storage by class", { hard: { "requests.storage": "3Gi", "fast.storageclass.storage.k8s.io/requests.storage": "1Gi", "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "5" } }, [
    [resources.persistentVolumeClaims, claim("a", "1Gi", "fast"), "admitted"],
    [resources.persistentVolumeClaims, claim("b", "1Gi", "fast"), `persistentvolumeclaims "b" is forbidden: exceeded quota: q, requested: fast.storageclass.storage.k8s.io/requests.storage=1Gi, used: fast.storageclass.storage.k8s.io/requests.storage=1Gi, limited: fast.storageclass.storage.k8s.io/requests.storage=1Gi`],
    [resources.persistentVolumeClaims, claim("c", "2Gi", "slow"), "admitted"],
    [resources.persistentVolumeClaims, claim("d", "1", "slow"), `persistentvolumeclaims "d" is forbidden: exceeded quota: q, requested: requests.storage=1, used: requests.storage=3Gi, limited: requests.storage=3Gi`],
  ]],
  ["scope BestEffort", { hard: { pods: "0" }, scopes: ["BestEffort"] }, [
    [pods, pod("asks", limited({ cpu: "1m" })), "admitted"],
    [pods, pod("lazy"), `pods "lazy" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0`],
  ]],
  ["scope Terminating", { hard: { pods: "0" }, scopes: ["Terminating"] }, [
    [pods, pod("stays"), "admitted"],
    [pods, pod("ends", {}, { activeDeadlineSeconds: 5 }), `pods "ends" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0`],
  ]],
  ["scopeSelector on priority classes", { hard: { pods: "0" }, scopeSelector: { matchExpressions: [{ scopeName: "PriorityClass", operator: "In", values: ["system-node-critical"] }] } }, [
    [pods, pod("plain"), "admitted"],
  ]],
  ["scope CrossNamespacePodAffinity", { hard: { pods: "0" }, scopeSelector: { matchExpressions: [{ scopeName: "CrossNamespacePodAffinity", operator: "Exists" }] } }, [
    [pods, pod("near", {}, { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: "k", labelSelector: {}, namespaces: ["x"] }] } } }), `pods "near" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0`],
    [pods, pod("plain"), "admitted"],
  ]],
  ["init containers count where they are the most", { hard: { "requests.cpu": "1" } }, [
    [pods, pod("a", limited({ cpu: "200m" }), { initContainers: [{ name: "i", image: "i", ...limited({ cpu: "1100m" }) }] }), `pods "a" is forbidden: exceeded quota: q, requested: requests.cpu=1100m, used: requests.cpu=0, limited: requests.cpu=1`],
    [pods, pod("b", limited({ cpu: "200m" }), { initContainers: [{ name: "i", image: "i", ...limited({ cpu: "900m" }) }] }), "admitted"],
  ]],
];
function claim(name: string, storage: string, storageClassName: string): object {
  return { metadata: { name }, spec: { accessModes: ["ReadWriteOnce"], storageClassName, resources: { requests: { storage } } } };
}
for (const [what, spec, steps] of cases) {
  test(`quota on ${what}`, async () => {
    const of = await namespace(spec);
    for (const [resource, object, expected] of steps) assert.equal(await message(api.client.create(resource, of, object)), expected);
  });
}

test("what is deleted, or has ended, is free again at once; a smaller quota takes nothing away", async () => {
  const of = await namespace({ hard: { pods: "1" } });
  await api.client.create(pods, of, pod("a"));
  assert.match(await message(api.client.create(pods, of, pod("b"))), /exceeded quota/);
  await api.client.delete(pods, of, "a", { gracePeriodSeconds: 0 });
  assert.equal(await message(api.client.create(pods, of, pod("b"))), "admitted");
  await api.client.patch(pods, of, "b", { status: { phase: "Succeeded" } }, { subresource: "status" });
  assert.equal(await message(api.client.create(pods, of, pod("c"))), "admitted");
  await api.client.patch(resources.resourceQuotas, of, "q", { spec: { hard: { pods: "0" } } });
  assert.match(await message(api.client.create(pods, of, pod("d"))), /used: pods=1, limited: pods=0/);
  await api.client.delete(resources.resourceQuotas, of, "q");
  assert.equal(await message(api.client.create(pods, of, pod("d"))), "admitted");
});

test("an update is charged for what it adds", async () => {
  const of = await namespace({ hard: { "services.nodeports": "1" } });
  await api.client.create(resources.services, of, { metadata: { name: "a" }, spec: { type: "NodePort", ports: [{ name: "a", port: 80 }] } });
  await api.client.patch(resources.services, of, "a", { metadata: { labels: { still: "one" } } });
  assert.match(await message(api.client.patch(resources.services, of, "a", { spec: { ports: [{ name: "a", port: 80 }, { name: "b", port: 81 }] } })), /exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1/);
  await api.client.patch(resources.services, of, "a", { spec: { type: "ClusterIP" } });
  assert.equal(await message(api.client.create(resources.services, of, { metadata: { name: "b" }, spec: { type: "NodePort", ports: [{ port: 80 }] } })), "admitted");
});

test("a dry run is judged and uses nothing", async () => {
  const of = await namespace({ hard: { pods: "1" } });
  for (const name of ["a", "b"]) assert.equal(await message(api.client.create(pods, of, pod(name), { dryRun: true })), "admitted");
  await api.client.create(pods, of, pod("a"));
  assert.match(await message(api.client.create(pods, of, pod("b"), { dryRun: true })), /exceeded quota/);
});

test("a write that fails after it was admitted uses nothing", async () => {
  const of = await namespace({ hard: { pods: "2" } });
  await api.client.create(pods, of, pod("a"));
  const again = await Promise.all([1, 2, 3].map(() => message(api.client.create(pods, of, pod("a")))));
  assert.equal(again.filter((text) => text.includes("already exists") || text.includes("exceeded")).length, 3);
  assert.equal(await message(api.client.create(pods, of, pod("b"))), "admitted");
});

for (const seed of (process.env["SEED"] ?? "1,2,3").split(",").map(Number)) {
  test(`however many write at once, a quota is used up and never exceeded (SEED=${seed})`, async () => {
    const random = seededRandom(seed);
    const hard = 5;
    const of = await namespace({ hard: { "count/configmaps": String(hard) } });
    const names = async () => (await api.client.list<KubeObject>(resources.configMaps, { namespace: of })).items.map(({ metadata }) => metadata.name);
    for (let round = 0; round < 12; round++) {
      const present = await names();
      const doomed = present.filter(() => random.next() < 0.5);
      const creations = Array.from({ length: 1 + randomInt(random, 12) }, (_, index) => message(api.client.create(resources.configMaps, of, { metadata: { name: `r${round}-${index}` } })));
      const deletions = doomed.map((name) => api.client.delete(resources.configMaps, of, name));
      const results = await Promise.all(creations);
      await Promise.all(deletions);
      const now = (await names()).length;
      assert.ok(now <= hard, `${now} of ${hard}`);
      assert.ok(results.every((text) => text === "admitted" || text.includes("exceeded quota")), results.join("\n"));
      // What is free can be used: no admission was forgotten on the way.
      for (let free = hard - now; free > 0; free--) assert.equal(await message(api.client.create(resources.configMaps, of, { metadata: { name: `f${round}-${free}` } })), "admitted");
      assert.match(await message(api.client.create(resources.configMaps, of, { metadata: { name: "over" } })), /exceeded quota/);
    }
  });
}
