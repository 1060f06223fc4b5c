import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startApi, type TestApi } from "../../../../test/harness-api.ts";
import type { KubeObject } from "../../../api/meta.ts";
import { resources } from "../../../api/resources.ts";
import { StatusError } from "../../../api/status.ts";
import type { Pod } from "../../../api/types.ts";
import { vpaDefinitions } from "../../../api/vpa/definition.ts";
import { type VerticalPodAutoscaler, verticalPodAutoscalers } from "../../../api/vpa/types.ts";

let api: TestApi;
before(async () => {
  api = await startApi();
  for (const { resource, object } of vpaDefinitions) await api.client.create(resource, undefined, object);
});
after(() => api[Symbol.asyncDispose]());

const targetRef = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };
let count = 0;
const create = (spec: object) => api.client.create<VerticalPodAutoscaler & KubeObject>(verticalPodAutoscalers, "default", { metadata: { name: `v${++count}` }, spec: { targetRef, ...spec } });

test("an autoscaler is completed, and judged in upstream's words", async () => {
  assert.deepEqual((await create({})).spec.updatePolicy, { updateMode: "Recreate" });
  const policy = (one: object) => ({ resourcePolicy: { containerPolicies: [{ containerName: "app", ...one }] } });
  const denied = 'admission webhook "vpa.k8s.io" denied the request: ';
  const cases: [spec: object, text: string][] = [
    [{ updatePolicy: {} }, `${denied}updateMode is required if UpdatePolicy is used`],
    [{ updatePolicy: { updateMode: "Off", minReplicas: 0 } }, `${denied}minReplicas has to be positive, got 0`],
    [{ updatePolicy: { updateMode: "Sometimes" } }, 'Unsupported value: "Sometimes": supported values: "Off", "Initial", "Recreate", "InPlaceOrRecreate", "Auto"'],
    [policy({ containerName: "" }), `${denied}containerPolicies.ContainerName is required`],
    [policy({ minAllowed: { cpu: "0.5m" } }), `${denied}minAllowed: CPU [0.5m] must be a whole number of milli CPUs`],
    [policy({ maxAllowed: { memory: "1.5" } }), `${denied}maxAllowed: memory [1.5] must be a whole number of bytes`],
    [policy({ minAllowed: { cpu: "2" }, maxAllowed: { cpu: "1" } }), `${denied}max resource for cpu is lower than min`],
    [policy({ maxAllowed: { memory: "much" } }), `${denied}maxAllowed: quantities must match the regular expression`],
    [policy({ mode: "Off", controlledValues: "RequestsAndLimits" }), `${denied}controlledValues shouldn't be specified if container scaling mode is off`],
    [{ recommenders: [{ name: "a" }, { name: "b" }] }, `${denied}the current version of VPA object shouldn't specify more than one recommenders`],
    [{ targetRef: undefined }, `${denied}targetRef is required. If you're using v1beta1 version of the API, please migrate to v1`],
  ];
  for (const [spec, text] of cases) {
    await assert.rejects(create(spec), (error: StatusError) => {
      assert.ok(error.message.includes(text), `${error.message}\n  should say\n${text}`);
      return true;
    });
  }
});

test("kubectl: columns, the short name, the warning of Auto", async (t) => {
  const manifest = JSON.stringify({ apiVersion: "autoscaling.k8s.io/v1", kind: "VerticalPodAutoscaler", metadata: { name: "shown" }, spec: { targetRef, updatePolicy: { updateMode: "Auto" } } });
  const applied = await api.kubectl("1.33", ["apply", "-f", "-"], { input: manifest });
  if (applied.code !== 0) return t.skip(`no kubectl 1.33 here: ${applied.stderr}`);
  assert.match(applied.stderr, /Warning: UpdateMode "Auto" is deprecated and will be removed in a future API version\./);
  const status = { conditions: [{ type: "RecommendationProvided", status: "True" }], recommendation: { containerRecommendations: [{ containerName: "app", target: { cpu: "587m", memory: "262144k" } }] } };
  await api.client.patch(verticalPodAutoscalers, "default", "shown", { status }, { subresource: "status", type: "merge" });
  const { stdout } = await api.kubectl("1.33", ["get", "vpa", "shown"]);
  assert.match(stdout.replaceAll(/ +/g, " "), /^NAME MODE CPU MEM PROVIDED AGE\nshown Auto 587m 262144k True \d+s\n$/);
});

/** A controller with pods of the name it has, and an autoscaler over it with a recommendation. */
async function recommended(name: string, spec: object, targets: Record<string, object>): Promise<(containers: object[]) => Promise<Pod>> {
  const labels = { app: name };
  const set = await api.client.create<KubeObject>(resources.replicaSets, "default", { metadata: { name, labels }, spec: { replicas: 0, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: "app", image: "i" }] } } } });
  await api.client.create(verticalPodAutoscalers, "default", { metadata: { name }, spec: { targetRef: { apiVersion: "apps/v1", kind: "ReplicaSet", name }, ...spec } });
  const containerRecommendations = Object.entries(targets).map(([containerName, target]) => ({ containerName, target, lowerBound: target, upperBound: target, uncappedTarget: target }));
  await api.client.patch(verticalPodAutoscalers, "default", name, { status: { recommendation: { containerRecommendations } } }, { subresource: "status", type: "merge" });
  const ownerReferences = [{ apiVersion: "apps/v1", kind: "ReplicaSet", name, uid: set.metadata.uid, controller: true }];
  return (containers) => api.client.create<Pod>(resources.pods, "default", { metadata: { generateName: `${name}-`, labels, ownerReferences }, spec: { containers } });
}

test("a new pod begins with what is recommended", async () => {
  const make = await recommended("sized", { updatePolicy: { updateMode: "Initial" }, resourcePolicy: { containerPolicies: [{ containerName: "side", maxAllowed: { cpu: "50m" } }] } }, { app: { cpu: "300m", memory: "400Mi" }, side: { cpu: "100m", memory: "100Mi" } });
  const pod = await make([
    { name: "app", image: "i", resources: { requests: { cpu: "100m", memory: "100Mi" }, limits: { cpu: "200m", memory: "100Mi" } } },
    { name: "other", image: "i" },
    { name: "side", image: "i" },
  ]);
  assert.deepEqual(pod.spec!.containers.map(({ resources }) => resources), [{ limits: { cpu: "600m", memory: "400Mi" }, requests: { cpu: "300m", memory: "400Mi" } }, {}, { requests: { cpu: "50m", memory: "100Mi" } }]);
  assert.deepEqual(pod.metadata.annotations, {
    vpaUpdates: "Pod resources updated by sized: container 0: cpu request, memory request, cpu limit, memory limit; container 1: ; container 2: cpu capped to maxAllowed, cpu request, memory request",
    vpaObservedContainers: "app, other, side",
  });
  assert.equal(pod.status!.qosClass, "Burstable");
});

test("whose pods are left as they are", async () => {
  const off = await recommended("off", { updatePolicy: { updateMode: "Off" } }, { app: { cpu: "300m" } });
  assert.deepEqual((await off([{ name: "app", image: "i" }])).spec!.containers[0]!.resources, {});
  const alone = await api.client.create<Pod>(resources.pods, "default", { metadata: { generateName: "alone-", labels: { app: "sized" } }, spec: { containers: [{ name: "app", image: "i" }] } });
  assert.equal(alone.metadata.annotations, undefined, "a pod of nobody's");
});

test("a quota counts what admission made of it", async () => {
  const namespace = "counted";
  await api.client.create(resources.namespaces, undefined, { metadata: { name: namespace } });
  await api.client.create(resources.serviceAccounts, namespace, { metadata: { name: "default" } });
  await api.client.create({ group: "", version: "v1", resource: "resourcequotas" }, namespace, { metadata: { name: "q" }, spec: { hard: { "requests.cpu": "200m" } } });
  const set = await api.client.create<KubeObject>(resources.replicaSets, namespace, { metadata: { name: "web" }, spec: { replicas: 0, selector: { matchLabels: { a: "b" } }, template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "app", image: "i" }] } } } });
  await api.client.create(verticalPodAutoscalers, namespace, { metadata: { name: "web" }, spec: { targetRef: { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web" } } });
  await api.client.patch(verticalPodAutoscalers, namespace, "web", { status: { recommendation: { containerRecommendations: [{ containerName: "app", target: { cpu: "300m" } }] } } }, { subresource: "status", type: "merge" });
  const pod = { metadata: { name: "p", ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: set.metadata.uid, controller: true }] }, spec: { containers: [{ name: "app", image: "i", resources: { requests: { cpu: "100m" } } }] } };
  await assert.rejects(api.client.create(resources.pods, namespace, pod), /exceeded quota: q, requested: requests\.cpu=300m, used: requests\.cpu=0, limited: requests\.cpu=200m/);
});

test("upstream's own definition over ours: what is stored stays, and the autoscaler goes on", async () => {
  const [{ resource, object }] = vpaDefinitions as unknown as [{ resource: typeof verticalPodAutoscalers; object: { metadata: object; spec: { versions: object[] } } }];
  const theirs = structuredClone(object);
  // Theirs has a version that is not served any more, and a schema of its own.
  theirs.spec.versions.push({ name: "v1beta2", served: false, storage: false, deprecated: true, schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } } });
  const { stdout, stderr, code } = await api.kubectl("1.33", ["apply", "-f", "-"], { input: JSON.stringify(theirs) });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /customresourcedefinition\.apiextensions\.k8s\.io\/verticalpodautoscalers\.autoscaling\.k8s\.io configured/);
  assert.ok((await api.client.list(verticalPodAutoscalers, { namespace: "default" })).items.length > 0);
  assert.deepEqual((await create({})).spec.updatePolicy, { updateMode: "Recreate" });
  const known = await api.client.get<KubeObject>(resource, undefined, "verticalpodautoscalers.autoscaling.k8s.io");
  assert.equal((known["spec"] as { versions: object[] }).versions.length, 2);
});
