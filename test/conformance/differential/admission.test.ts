import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { HttpClient } from "../../../src/api/http-client.ts";
import type { StatusError } from "../../../src/api/status.ts";
import { startApi, type TestApi } from "../../harness-api.ts";
import { startWebhookServer, type WebhookServer } from "../../webhook-server.ts";
import { hasOracle, type Oracle, startOracle } from "./oracle.ts";

/**
 * Admission beside the real kube-apiserver: the same objects are there, the same writes are tried (as dry runs), and
 * both must give the same object or the same refusal.
 */
const skip = hasOracle() ? false : "no kube-apiserver here: node tools/build-oracle.mjs";
let api: TestApi;
let ours: HttpClient;
let oracle: Oracle;
let hooks: WebhookServer;
before(async () => {
  if (skip) return;
  [api, oracle, hooks] = await Promise.all([startApi(), startOracle(), startWebhookServer()]);
  ours = api.http();
});
after(async () => {
  if (skip) return;
  await Promise.all([api[Symbol.asyncDispose](), oracle[Symbol.asyncDispose](), hooks[Symbol.asyncDispose]()]);
});

type Json = Record<string, any>;
const plurals: Record<string, string> = { Pod: "/api/v1 pods", Namespace: "/api/v1 -namespaces", ServiceAccount: "/api/v1 serviceaccounts", LimitRange: "/api/v1 limitranges", ResourceQuota: "/api/v1 resourcequotas", ConfigMap: "/api/v1 configmaps", PersistentVolumeClaim: "/api/v1 persistentvolumeclaims", Service: "/api/v1 services", PriorityClass: "/apis/scheduling.k8s.io/v1 -priorityclasses", RuntimeClass: "/apis/node.k8s.io/v1 -runtimeclasses", ValidatingWebhookConfiguration: "/apis/admissionregistration.k8s.io/v1 -validatingwebhookconfigurations", MutatingWebhookConfiguration: "/apis/admissionregistration.k8s.io/v1 -mutatingwebhookconfigurations", PodDisruptionBudget: "/apis/policy/v1 poddisruptionbudgets" };
function pathOf({ kind, metadata }: Json): string {
  if (kind === "Eviction") return `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}/eviction`;
  const [root, plural] = plurals[kind]!.split(" ") as [string, string];
  return plural.startsWith("-") ? `${root}/${plural.slice(1)}` : `${root}/namespaces/${metadata.namespace}/${plural}`;
}

/** What a client sees, without what is each server's own. */
async function outcome(client: HttpClient, object: Json, dryRun: boolean): Promise<unknown> {
  try {
    const { text } = await client.raw("POST", `${pathOf(object)}?fieldManager=test${dryRun ? "&dryRun=All" : ""}`, object);
    const { metadata, ...rest } = JSON.parse(text) as Json;
    return { ...rest, metadata: { name: object["metadata"].generateName ? "" : metadata.name, labels: metadata.labels, annotations: metadata.annotations } };
  } catch (error) {
    const { code, reason, message, details } = error as StatusError;
    return { code, reason, message: message.replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT"), causes: details?.causes?.map((cause) => ({ ...cause, message: cause.message?.replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT") })) };
  }
}

async function setUp(objects: readonly Json[]): Promise<void> {
  for (const object of objects) for (const client of [ours, oracle.client]) {
    const { status, ...rest } = object;
    await client.raw("POST", `${pathOf(object)}?fieldManager=test`, rest);
    if (status) await client.raw("PATCH", `${pathOf(object)}/${object["metadata"].name}/status`, { status }, { "content-type": "application/merge-patch+json" });
  }
}

/** The real server learns of what was set up a moment later, so it is asked until it agrees, for a while. */
async function same(object: Json): Promise<void> {
  const mine = await outcome(ours, object, true);
  const deadline = performance.now() + 3_000;
  for (;;) {
    const real = await outcome(oracle.client, object, true);
    try {
      return assert.deepEqual(mine, real, `${object["kind"]} ${object["metadata"].name}`);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

const namespace = (name: string, labels: Record<string, string> = {}): Json[] => [
  { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } },
  { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: name } },
];
let count = 0;
const pod = (namespace: string, spec: Json = {}, container: Json = {}): Json => ({ apiVersion: "v1", kind: "Pod", metadata: { name: `p${++count}`, namespace }, spec: { automountServiceAccountToken: false, containers: [{ name: "a", image: "i", ...container }], ...spec } });

test("pod security", { skip }, async () => {
  const levels = { restricted: { enforce: "restricted" }, baseline: { enforce: "baseline" }, old: { enforce: "restricted", "enforce-version": "v1.20" }, middle: { enforce: "baseline", "enforce-version": "v1.30" } };
  for (const [name, labels] of Object.entries(levels)) await setUp(namespace(name, Object.fromEntries(Object.entries(labels).map(([key, value]) => [`pod-security.kubernetes.io/${key}`, value]))));
  const good = { allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: { drop: ["ALL"] }, seccompProfile: { type: "RuntimeDefault" } };
  const contexts: Json[] = [
    {}, good, { ...good, runAsUser: 0 }, { ...good, runAsNonRoot: false }, { ...good, seccompProfile: { type: "Unconfined" } }, { ...good, allowPrivilegeEscalation: true },
    { ...good, capabilities: { drop: ["KILL"], add: ["NET_ADMIN", "CHOWN"] } }, { privileged: true }, { capabilities: { add: ["SYS_ADMIN"] } }, { seLinuxOptions: { type: "x_t", user: "u", role: "r" } }, { seLinuxOptions: { type: "container_engine_t" } }, { appArmorProfile: { type: "Unconfined" } },
  ];
  const specs: Json[] = [
    { hostNetwork: true, hostIPC: true }, { hostPID: true }, { volumes: [{ name: "h", hostPath: { path: "/" } }, { name: "n", nfs: { server: "s", path: "/" } }] }, { securityContext: { sysctls: [{ name: "net.ipv4.tcp_rmem", value: "1" }, { name: "kernel.msgmax", value: "1" }] } },
    { securityContext: { runAsNonRoot: true, seccompProfile: { type: "Localhost", localhostProfile: "p" } } }, { initContainers: [{ name: "i", image: "i", ports: [{ containerPort: 80, hostPort: 8080 }] }] }, { containers: [{ name: "a", image: "i", livenessProbe: { httpGet: { port: 1, host: "10.0.0.1" } } }] },
  ];
  for (const level of ["restricted", "baseline", "old", "middle"]) {
    for (const securityContext of contexts) {
      const refusedHere = level !== "restricted" && level !== "old";
      // What no pod may have here is refused in our own words where the level would let it pass.
      if (refusedHere && securityContext["capabilities"]?.add?.includes("CHOWN")) continue;
      await same(pod(level, {}, { securityContext }));
    }
    for (const spec of specs) await same(pod(level, spec));
  }
  for (const labels of [{ enforce: "strict" }, { "warn-version": "1.2" }, { audit: "none", "audit-version": "v1.x" }]) await same({ apiVersion: "v1", kind: "Namespace", metadata: { name: `bad${++count}`, labels: Object.fromEntries(Object.entries(labels).map(([key, value]) => [`pod-security.kubernetes.io/${key}`, value])) } });
});

test("limit ranges", { skip }, async () => {
  await setUp([...namespace("ranged"), { apiVersion: "v1", kind: "LimitRange", metadata: { name: "r", namespace: "ranged" }, spec: { limits: [{ type: "Container", max: { cpu: "2" }, default: { cpu: "500m", memory: "64Mi" }, defaultRequest: { cpu: "50m" }, maxLimitRequestRatio: { cpu: "10" } }, { type: "Pod", max: { memory: "1Gi" } }, { type: "PersistentVolumeClaim", min: { storage: "1Mi" }, max: { storage: "1Gi" } }] } }]);
  const resources: Json[] = [{}, { limits: { cpu: "1" } }, { limits: { cpu: "3" }, requests: { cpu: "1" } }, { requests: { cpu: "10m" }, limits: { cpu: "1" } }, { limits: { memory: "2Gi" } }, { requests: { cpu: "600m" } }];
  for (const each of resources) await same(pod("ranged", {}, { resources: each }));
  await same(pod("ranged", { initContainers: [{ name: "i", image: "i", resources: { limits: { memory: "900Mi" } } }, { name: "s", image: "i", restartPolicy: "Always", resources: { limits: { memory: "300Mi" } } }] }));
  for (const storage of ["512Ki", "2Mi", "2Gi"]) await same({ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: `c${storage.toLowerCase()}`, namespace: "ranged" }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage } } } });
});

test("quotas", { skip }, async () => {
  const quota = (name: string, hard: Json, spec: Json = {}): Json => ({ apiVersion: "v1", kind: "ResourceQuota", metadata: { name, namespace: "counted" }, spec: { hard, ...spec }, status: { hard, used: Object.fromEntries(Object.keys(hard).map((key) => [key, "0"])) } });
  await setUp([
    ...namespace("counted"),
    quota("compute", { "requests.cpu": "1", "limits.memory": "1Gi" }, { scopes: ["NotBestEffort"] }),
    quota("lazy", { pods: "0" }, { scopes: ["BestEffort"] }),
    quota("objects", { "count/configmaps": "0", secrets: "5", "services.nodeports": "1", "services.loadbalancers": "0", "requests.storage": "1Gi", "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "0" }),
    quota("ends", { pods: "0" }, { scopeSelector: { matchExpressions: [{ scopeName: "Terminating", operator: "Exists" }] } }),
  ]);
  const resources: Json[] = [{}, { requests: { cpu: "1m" } }, { requests: { cpu: "1m" }, limits: { memory: "1Mi" } }, { requests: { cpu: "2" }, limits: { memory: "2Gi" } }];
  for (const each of resources) await same(pod("counted", {}, { resources: each }));
  await same(pod("counted", { activeDeadlineSeconds: 3 }, { resources: resources[2] }));
  await same({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "m", namespace: "counted" } });
  const claim = (name: string, storageClassName: string, storage: string): Json => ({ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name, namespace: "counted" }, spec: { storageClassName, accessModes: ["ReadWriteOnce"], resources: { requests: { storage } } } });
  for (const each of [claim("a", "slow", "1Gi"), claim("b", "slow", "1025Mi"), claim("c", "fast", "1")]) await same(each);
  for (const spec of [{ type: "LoadBalancer", ports: [{ port: 80 }] }, { type: "NodePort", ports: [{ name: "a", port: 80 }, { name: "b", port: 81 }] }]) await same({ apiVersion: "v1", kind: "Service", metadata: { name: "s", namespace: "counted" }, spec });
});

test("priority and runtime classes", { skip }, async () => {
  await setUp([...namespace("classed"), { apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", metadata: { name: "usual" }, value: 7, globalDefault: true, preemptionPolicy: "Never" }, { apiVersion: "node.k8s.io/v1", kind: "RuntimeClass", metadata: { name: "kata" }, handler: "kata", overhead: { podFixed: { cpu: "10m" } }, scheduling: { nodeSelector: { kata: "yes" }, tolerations: [{ key: "kata", operator: "Exists" }] } }]);
  for (const spec of [{}, { priorityClassName: "none" }, { priority: 9 }, { preemptionPolicy: "PreemptLowerPriority" }, { runtimeClassName: "none" }, { runtimeClassName: "kata" }, { runtimeClassName: "kata", nodeSelector: { kata: "no" } }, { overhead: { cpu: "1m" } }, { runtimeClassName: "kata", overhead: { cpu: "1m" } }]) await same(pod("classed", spec));
  await same({ apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", metadata: { name: "second" }, value: 8, globalDefault: true });
});

test("evictions", { skip }, async () => {
  await setUp(namespace("evicted"));
  const ready = (value: string) => ({ phase: "Running", conditions: [{ type: "Ready", status: value }] });
  const applications: Record<string, [pod: Json, budget: Json | undefined, spec?: Json]> = {
    free: [ready("True"), undefined],
    room: [ready("True"), { disruptionsAllowed: 1, currentHealthy: 2, desiredHealthy: 1, expectedPods: 2 }],
    full: [ready("True"), { disruptionsAllowed: 0, currentHealthy: 1, desiredHealthy: 1, expectedPods: 2 }],
    behind: [ready("True"), { observedGeneration: 0, disruptionsAllowed: 1, currentHealthy: 2, desiredHealthy: 1, expectedPods: 2 }],
    odd: [ready("True"), { disruptionsAllowed: 0, currentHealthy: 3, desiredHealthy: 1, expectedPods: 3, conditions: [{ type: "DisruptionAllowed", status: "False", reason: "SyncFailed", message: "why", lastTransitionTime: "2026-01-01T00:00:00Z" }] }],
    pending: [{ phase: "Pending" }, { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 1, expectedPods: 1 }],
    unready: [ready("False"), { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 1, expectedPods: 1 }],
    always: [ready("False"), { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 1, expectedPods: 1 }, { unhealthyPodEvictionPolicy: "AlwaysAllow" }],
  };
  for (const [app, [podStatus, status, spec]] of Object.entries(applications)) {
    const labels = { app };
    await setUp([{ ...pod("evicted", { nodeName: "n" }), metadata: { name: app, namespace: "evicted", labels }, status: podStatus }]);
    if (status) await setUp([{ apiVersion: "policy/v1", kind: "PodDisruptionBudget", metadata: { name: app, namespace: "evicted" }, spec: { minAvailable: 1, selector: { matchLabels: labels }, ...spec }, status: { observedGeneration: 1, ...status } }]);
  }
  for (const name of [...Object.keys(applications), "none"]) await same({ apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace: "evicted" } });
});

test("quotas and limit ranges that make no sense", { skip }, async () => {
  await setUp(namespace("odd"));
  const quota = (spec: Json): Json => ({ apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "q", namespace: "odd" }, spec });
  const select = (...matchExpressions: Json[]) => ({ hard: { pods: "1" }, scopeSelector: { matchExpressions } });
  const specs: Json[] = [
    {}, { hard: { pods: "1" } }, { hard: { "not a name": "1" } }, { hard: { cpus: "1" } }, { hard: { "example.com/gpu": "1", "requests.example.com/gpu": "1" } }, { hard: { pods: "-1" } }, { hard: { pods: "1.5" } }, { hard: { "count/x.y": "1", "a.storageclass.storage.k8s.io/requests.storage": "1Gi" } },
    { hard: { pods: "1" }, scopes: ["Never"] }, { hard: { pods: "1" }, scopes: ["BestEffort", "NotBestEffort"] }, { hard: { "requests.cpu": "1" }, scopes: ["BestEffort"] }, { hard: { services: "1" }, scopes: ["NotTerminating"] }, { hard: { pods: "1" }, scopes: ["PriorityClass"] },
    select({ scopeName: "PriorityClass", operator: "In", values: ["a"] }), select({ scopeName: "PriorityClass", operator: "In" }), select({ scopeName: "PriorityClass", operator: "Exists", values: ["a"] }), select({ scopeName: "BestEffort", operator: "In", values: ["a"] }), select({ scopeName: "Never", operator: "Exists" }), select({ scopeName: "PriorityClass", operator: "Equals", values: ["a"] }), select({ scopeName: "Terminating", operator: "Exists" }, { scopeName: "NotTerminating", operator: "Exists" }), { hard: { services: "1" }, scopeSelector: { matchExpressions: [{ scopeName: "PriorityClass", operator: "Exists" }] } },
  ];
  for (const spec of specs) await same(quota(spec));
  const limits: Json[][] = [
    [{ type: "Container" }], [{ type: "" }], [{ type: "Container" }, { type: "Container" }], [{ type: "Pod", default: { cpu: "1" } }], [{ type: "Container", min: { cpu: "2" }, max: { cpu: "1" } }], [{ type: "Container", min: { cpu: "2" }, defaultRequest: { cpu: "1" } }],
    [{ type: "Container", max: { cpu: "1" }, default: { cpu: "2" } }], [{ type: "Container", defaultRequest: { cpu: "2" }, default: { cpu: "1" } }], [{ type: "Container", maxLimitRequestRatio: { cpu: "0.5" } }], [{ type: "Container", min: { cpu: "1" }, max: { cpu: "2" }, maxLimitRequestRatio: { cpu: "3" } }], [{ type: "PersistentVolumeClaim" }], [{ type: "PersistentVolumeClaim", max: { storage: "1Gi" } }], [{ type: "example.com/thing", max: { x: "1" } }], [{ type: "Container", max: { "no name": "1" } }], [{ type: "Pod", max: { cpu: "-1" } }], [{ type: "Container", default: { "hugepages-2Mi": "4Mi" }, defaultRequest: { "hugepages-2Mi": "2Mi" } }],
  ];
  for (const each of limits) await same({ apiVersion: "v1", kind: "LimitRange", metadata: { name: "l", namespace: "odd" }, spec: { limits: each } });
});

test("webhooks: what they are asked, and what becomes of their answers", { skip }, async () => {
  hooks.on("/mutate", () => ({ patch: [{ op: "add", path: "/data/seen", value: "yes" }] }));
  hooks.on("/validate", ({ object }) => (object.data?.code ? { allowed: false, status: { code: Number(object.data.code), reason: object.data.reason, message: object.data.message } } : object.data?.deny ? { allowed: false } : {}));
  const webhook = (name: string, path: string, more: Json = {}): Json => ({ name, clientConfig: { url: `${hooks.url}${path}`, caBundle: hooks.caBundle }, rules: [{ operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }], sideEffects: "None", admissionReviewVersions: ["v1"], namespaceSelector: { matchLabels: { hooked: "yes" } }, ...more });
  await setUp([
    ...namespace("hooked", { hooked: "yes" }),
    { apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration", metadata: { name: "m" }, webhooks: [webhook("m.test.example.com", "/mutate")] },
    { apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingWebhookConfiguration", metadata: { name: "v" }, webhooks: [webhook("v.test.example.com", "/validate"), webhook("c.test.example.com", "/gone", { objectSelector: { matchLabels: { ask: "gone" } } }), webhook("e.test.example.com", "/validate", { clientConfig: { url: "https://127.0.0.1:1/x", caBundle: hooks.caBundle }, objectSelector: { matchLabels: { ask: "nobody" } } }), webhook("x.test.example.com", "/validate", { matchConditions: [{ name: "missing", expression: "object.data.none == 'x'" }], objectSelector: { matchLabels: { ask: "condition" } } })] },
  ]);
  const map = (data: Json, labels: Json = {}): Json => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: `m${++count}`, namespace: "hooked", labels }, data });
  await same(map({ a: "b" }));
  const asked = (index: number) => {
    const { uid: _, userInfo: __, object, ...rest } = hooks.asked.filter(({ path }) => path === "/mutate").at(index)!.request;
    const { managedFields: ___, ...metadata } = object.metadata as Json;
    return { ...rest, object: { ...object, metadata } };
  };
  assert.deepEqual(asked(0), asked(-1));
  hooks.asked.length = 0;
  await same({ ...map({ a: "b" }), metadata: { generateName: "m-", namespace: "hooked" } });
  const [first, last] = [asked(0), asked(-1)] as Json[];
  for (const one of [first!, last!]) one["object"].metadata.name = one["object"].metadata.name && "given";
  assert.deepEqual({ ...first, name: first!["name"] && "given" }, { ...last, name: last!["name"] && "given" }, "the names that are made");
  for (const data of [{ deny: "1" }, { code: "418" }, { code: "403", reason: "Forbidden", message: "no" }, { code: "200", reason: "Odd" }]) await same(map(data));
  for (const ask of ["gone", "nobody", "condition"]) await same(map({ a: "b" }, { ask }));
});
