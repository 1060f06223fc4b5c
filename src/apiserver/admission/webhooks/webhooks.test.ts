import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { KubeObject } from "../../../api/meta.ts";
import { resources } from "../../../api/resources.ts";
import { StatusError } from "../../../api/status.ts";
import { startApi, type TestApi } from "../../../../test/harness-api.ts";
import { type ReviewAnswer, type ReviewRequest, startWebhookServer, type WebhookServer } from "../../../../test/webhook-server.ts";

let api: TestApi;
let hooks: WebhookServer;
before(async () => {
  [api, hooks] = await Promise.all([startApi(), startWebhookServer()]);
});
after(async () => {
  await api[Symbol.asyncDispose]();
  await hooks[Symbol.asyncDispose]();
});

const mutating = { group: "admissionregistration.k8s.io", version: "v1", resource: "mutatingwebhookconfigurations" };
const validating = { ...mutating, resource: "validatingwebhookconfigurations" };
const configMaps = resources.configMaps;
const anything = [{ operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*/*"] }];
const maps = [{ operations: ["CREATE", "UPDATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }];

let count = 0;
/** Configures one webhook at a path of its own, which answers so. */
async function hook(of: typeof mutating, answer: (request: ReviewRequest) => ReviewAnswer | Promise<ReviewAnswer>, more: Record<string, unknown> = {}, configuration = `c${++count}`): Promise<string> {
  const path = `/${configuration}`;
  hooks.on(path, answer);
  const webhook = { name: `${configuration}.test.example.com`, clientConfig: { url: `${hooks.url}${path}`, caBundle: hooks.caBundle }, rules: maps, sideEffects: "None", admissionReviewVersions: ["v1"], timeoutSeconds: 5, ...more };
  await api.client.create(of, undefined, { metadata: { name: configuration }, webhooks: [webhook] });
  return path;
}
const create = (name: string, data: Record<string, string> = {}, labels?: Record<string, string>) => api.client.create<KubeObject & { data?: Record<string, string> }>(configMaps, "default", { metadata: { name, ...(labels && { labels }) }, data });
const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => assert.fail("was not refused"),
    (error: StatusError) => ({ code: error.code, reason: error.reason, message: error.message }),
  );
const askedAt = (path: string) => hooks.asked.filter((asked) => asked.path === path).map(({ request }) => request);

beforeEach(async () => {
  hooks.asked.length = 0;
  for (const resource of [mutating, validating]) for (const { metadata } of (await api.client.list<KubeObject>(resource)).items) await api.client.delete(resource, undefined, metadata.name);
  for (const { metadata } of (await api.client.list<KubeObject>(configMaps, { namespace: "default" })).items) await api.client.delete(configMaps, "default", metadata.name);
});

test("a mutating webhook sees the request as upstream describes it, and its patch is stored", async () => {
  const path = await hook(mutating, () => ({ patch: [{ op: "add", path: "/data/added", value: "yes" }, { op: "add", path: "/unknown", value: 1 }], warnings: ["look out"] }));
  const { stderr, stdout } = await api.kubectl("1.33", ["create", "configmap", "seen", "--from-literal=a=1", "-o", "json"]);
  const made = JSON.parse(stdout) as KubeObject;
  assert.deepEqual(made["data"], { a: "1", added: "yes" });
  assert.equal("unknown" in made, false, "what the schema does not know is pruned");
  assert.match(stderr, /Warning: look out/);
  const [request] = askedAt(path);
  const { extra, ...userInfo } = request!.userInfo;
  // Which certificate it was, by its hash, as upstream has it since 1.32.
  assert.match(extra["authentication.kubernetes.io/credential-id"]![0], /^X509SHA256=[0-9a-f]{64}$/);
  assert.deepEqual(
    { ...request!, uid: "", userInfo, object: { ...request!.object, metadata: { name: request!.object.metadata.name } } },
    {
      uid: "",
      kind: { group: "", version: "v1", kind: "ConfigMap" },
      resource: { group: "", version: "v1", resource: "configmaps" },
      requestKind: { group: "", version: "v1", kind: "ConfigMap" },
      requestResource: { group: "", version: "v1", resource: "configmaps" },
      name: "seen",
      namespace: "default",
      operation: "CREATE",
      userInfo: { username: "kubernetes-admin", groups: ["system:masters", "system:authenticated"] },
      object: { kind: "ConfigMap", apiVersion: "v1", metadata: { name: "seen" }, data: { a: "1" } },
      oldObject: null,
      dryRun: false,
      options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1", fieldManager: "kubectl-create" },
    },
  );
});

test("mutating webhooks come by name of their configuration, each seeing what those before it did", async () => {
  const append = (letter: string) => (request: ReviewRequest) => ({ patch: [{ op: "replace", path: "/data/order", value: request.object.data.order + letter }] });
  await hook(mutating, append("b"), {}, "order-b");
  await hook(mutating, append("a"), {}, "order-a");
  assert.equal((await create("ordered", { order: "" })).data!["order"], "ab");
});

test("reinvocation: IfNeeded is called again when a later one changed something, Never is not", async () => {
  const mirror = (key: string) => (request: ReviewRequest) => ({ patch: [{ op: "add", path: `/data/${key}`, value: String(Object.keys(request.object.data).filter((name) => name.startsWith("late")).length) }] });
  await hook(mutating, mirror("again"), { reinvocationPolicy: "IfNeeded" }, "r1");
  await hook(mutating, mirror("once"), {}, "r2");
  await hook(mutating, () => ({ patch: [{ op: "add", path: "/data/late", value: "x" }] }), {}, "r3");
  assert.deepEqual((await create("twice", { start: "s" })).data, { again: "1", late: "x", once: "0", start: "s" });
  assert.deepEqual([askedAt("/r1").length, askedAt("/r2").length, askedAt("/r3").length], [2, 1, 1]);
});

test("a validating webhook sees the finished object on CREATE, both on UPDATE, the old one on DELETE; each of a collection", async () => {
  const path = await hook(validating, () => ({}), { rules: [{ ...maps[0], operations: ["*"] }] });
  const made = await create("life", { a: "1" });
  await api.client.patch(configMaps, "default", "life", { data: { a: "2" } });
  await api.client.delete(configMaps, "default", "life");
  const seen = askedAt(path).map(({ operation, object, oldObject, name }) => [operation, name, object?.data?.a ?? null, oldObject?.data?.a ?? null]);
  assert.deepEqual(seen, [["CREATE", "life", "1", null], ["UPDATE", "life", "2", "1"], ["DELETE", "life", null, "2"]]);
  assert.equal(askedAt(path)[0]!.object.metadata.uid, made.metadata.uid);
  await create("one", {}, { group: "x" });
  await create("two", {}, { group: "x" });
  hooks.asked.length = 0;
  await api.kubectl("1.33", ["delete", "configmaps", "-l", "group=x"]);
  assert.deepEqual(askedAt(path).map(({ operation, name }) => `${operation} ${name}`).sort(), ["DELETE one", "DELETE two"]);
});

const denials: [answer: ReviewAnswer, expected: { code: number; reason: string; message: string }][] = [
  [{ allowed: false }, { code: 400, reason: "", message: "denied the request without explanation" }],
  [{ allowed: false, status: { message: "no blue ones" } }, { code: 400, reason: "", message: "denied the request: no blue ones" }],
  [{ allowed: false, status: { code: 403, reason: "Forbidden", message: "no" } }, { code: 403, reason: "Forbidden", message: "denied the request: no" }],
  [{ allowed: false, status: { code: 200, reason: "Because" } }, { code: 400, reason: "Because", message: "denied the request: Because" }],
];
for (const [answer, expected] of denials) {
  test(`a denial is passed on: ${JSON.stringify(answer)}`, async () => {
    const path = await hook(validating, () => answer);
    assert.deepEqual(await refusal(create("denied")), { ...expected, message: `admission webhook "${path.slice(1)}.test.example.com" ${expected.message}` });
    assert.equal((await api.client.list(configMaps, { namespace: "default" })).items.length, 0);
  });
}

test("validating webhooks are asked at the same time", async () => {
  let waiting = 0;
  let both: () => void = () => {};
  const met = new Promise<void>((resolve) => (both = resolve));
  const meet = async (): Promise<ReviewAnswer> => {
    if (++waiting === 2) both();
    await met;
    return {};
  };
  await hook(validating, meet);
  await hook(validating, meet);
  await create("parallel");
});

test("failurePolicy decides when a webhook cannot be asked", async () => {
  const nowhere = { clientConfig: { url: "https://127.0.0.1:1/x", caBundle: hooks.caBundle } };
  await hook(validating, () => ({}), { ...nowhere, failurePolicy: "Ignore" });
  await create("ignored");
  await hook(validating, () => ({}), nowhere, "closed");
  assert.deepEqual(await refusal(create("closed")), { code: 500, reason: "InternalError", message: `Internal error occurred: failed calling webhook "closed.test.example.com": failed to call webhook: Post "https://127.0.0.1:1/x?timeout=5s": dial tcp 127.0.0.1:1: connect: connection refused` });
});

const badAnswers: [raw: (uid: string) => object, text: RegExp][] = [
  [() => ({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" }), /received invalid webhook response: webhook response was absent/],
  [() => ({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid: "other", allowed: true } }), /received invalid webhook response: expected response\.uid="[-0-9a-f]+", got "other"/],
  [(uid) => ({ apiVersion: "admission.k8s.io/v1beta1", kind: "AdmissionReview", response: { uid, allowed: true } }), /expected webhook response of admission\.k8s\.io\/v1, Kind=AdmissionReview, got admission\.k8s\.io\/v1beta1, Kind=AdmissionReview/],
  [(uid) => ({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, allowed: true, patch: "W10=" } }), /webhook returned response\.patch but not response\.patchType/],
  [(uid) => ({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, allowed: true, patchType: "JSONPatch" } }), /webhook returned response\.patchType but not response\.patch/],
  [(uid) => ({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, allowed: true, patch: "bm8=", patchType: "JSONPatch" } }), /received undecodable patch in webhook response: /],
];
for (const [raw, text] of badAnswers) {
  test(`an answer that is none: ${text.source.slice(0, 60)}`, async () => {
    await hook(mutating, ({ uid }) => ({ raw: raw(uid) }));
    const { code, message } = await refusal(create("bad"));
    assert.equal(code, 500);
    assert.match(message, text);
  });
}

test("a patch that does not fit, or that breaks the object, refuses the write", async () => {
  await hook(mutating, () => ({ patch: [{ op: "remove", path: "/data/none" }] }), {}, "misfit");
  assert.deepEqual(await refusal(create("x")), { code: 500, reason: "InternalError", message: `Internal error occurred: the patch of admission webhook "misfit.test.example.com" cannot be applied: doc is missing path: "/data/none"` });
  await api.client.delete(mutating, undefined, "misfit");
  await hook(mutating, () => ({ patch: [{ op: "replace", path: "/metadata/labels", value: { "not a label": "x" } }] }), {}, "breaks");
  assert.equal((await refusal(create("x", {}, { a: "b" }))).code, 422);
  await api.client.delete(mutating, undefined, "breaks");
  await hook(mutating, () => ({ patch: [{ op: "replace", path: "/metadata/namespace", value: "kube-system" }] }));
  assert.equal((await refusal(create("x"))).message, "the namespace of the provided object does not match the namespace sent on the request");
});

test("dry run: asked when it has no side effects, refused when it may have", async () => {
  const path = await hook(validating, () => ({}));
  await api.client.create(configMaps, "default", { metadata: { name: "dry" } }, { dryRun: true });
  assert.equal(askedAt(path)[0]!.dryRun, true);
  assert.deepEqual(askedAt(path)[0]!.options.dryRun, ["All"]);
  // Only v1beta1 allowed "Some"; objects of that time may still be stored.
  const key = "/admissionregistration.k8s.io/validatingwebhookconfigurations/old";
  const object = { metadata: { name: "old" }, webhooks: [{ name: "old.test.example.com", clientConfig: { url: `${hooks.url}/old` }, rules: maps, sideEffects: "Some", failurePolicy: "Ignore", matchPolicy: "Exact", timeoutSeconds: 1, admissionReviewVersions: ["v1"] }] };
  await api.api.store.put(key, 0, (revision) => ({ bytes: Buffer.from(JSON.stringify(object)), object: { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } } }));
  assert.deepEqual(await refusal(api.client.create(configMaps, "default", { metadata: { name: "dry" } }, { dryRun: true })), { code: 400, reason: "BadRequest", message: `admission webhook "old.test.example.com" does not support dry run` });
});

test("selectors: of the namespace's labels, and of the object's, old or new", async () => {
  await api.client.patch(resources.namespaces, undefined, "kube-system", { metadata: { labels: { team: "a" } } });
  const byNamespace = await hook(validating, () => ({}), { namespaceSelector: { matchLabels: { team: "a" } } });
  const byObject = await hook(validating, () => ({}), { objectSelector: { matchExpressions: [{ key: "color", operator: "In", values: ["blue"] }] } });
  await create("plain");
  await create("blue", {}, { color: "blue" });
  await api.client.patch(configMaps, "default", "blue", { metadata: { labels: { color: "red" } } });
  await api.client.patch(configMaps, "default", "blue", { metadata: { labels: { color: "green" } } });
  await api.client.create(configMaps, "kube-system", { metadata: { name: "there" } });
  await api.client.delete(configMaps, "kube-system", "there");
  assert.deepEqual(askedAt(byNamespace).map(({ namespace, name }) => `${namespace}/${name}`), ["kube-system/there"]);
  assert.deepEqual(askedAt(byObject).map(({ operation, name }) => `${operation} ${name}`), ["CREATE blue", "UPDATE blue"]);
});

test("a namespace is chosen by its own labels, also by those it is about to get", async () => {
  const path = await hook(validating, () => ({}), { rules: [{ operations: ["*"], apiGroups: [""], apiVersions: ["v1"], resources: ["namespaces"], scope: "Cluster" }], namespaceSelector: { matchLabels: { watched: "yes" } } });
  await api.client.create(resources.namespaces, undefined, { metadata: { name: "unwatched" } });
  await api.client.create(resources.namespaces, undefined, { metadata: { name: "watched", labels: { watched: "yes" } } });
  assert.deepEqual(askedAt(path).map(({ name, namespace }) => [name, namespace]), [["watched", "watched"]]);
});

test("matchPolicy: another version of the same objects is shown in the version asked for, or not at all", async () => {
  const rules = [{ operations: ["CREATE"], apiGroups: ["autoscaling"], apiVersions: ["v1"], resources: ["horizontalpodautoscalers"] }];
  const patch = (request: ReviewRequest): ReviewAnswer => ({ patch: [{ op: "replace", path: "/spec/targetCPUUtilizationPercentage", value: request.object.spec.targetCPUUtilizationPercentage + 1 }] });
  const equivalent = await hook(mutating, patch, { rules });
  const exact = await hook(mutating, patch, { rules, matchPolicy: "Exact" });
  const made = await api.client.create<any>({ group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers" }, "default", {
    metadata: { name: "web" },
    spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, maxReplicas: 3, metrics: [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 50 } } }] },
  });
  assert.equal(made.spec.metrics[0].resource.target.averageUtilization, 51);
  const [request] = askedAt(equivalent);
  assert.deepEqual([request!.kind.version, request!.requestKind.version, request!.object.apiVersion], ["v1", "v2", "autoscaling/v1"]);
  assert.deepEqual(askedAt(exact), []);
});

test("v1beta1 is spoken with those who ask for it first", async () => {
  const path = await hook(mutating, () => ({ patch: [{ op: "add", path: "/data", value: { v: "beta" } }] }), { admissionReviewVersions: ["v1beta1", "v1"] });
  assert.equal((await create("old-style")).data!["v"], "beta");
  assert.equal(hooks.asked.find((asked) => asked.path === path)!.apiVersion, "admission.k8s.io/v1beta1");
});

test("nobody locks himself out: webhooks are not asked about what configures admission", async () => {
  const path = await hook(validating, () => ({ allowed: false }), { rules: anything }, "lock");
  await api.client.patch(validating, undefined, "lock", { metadata: { labels: { a: "b" } } });
  await hook(mutating, () => ({}));
  await api.client.delete(validating, undefined, "lock");
  assert.deepEqual(askedAt(path), []);
});

test("/status: only a rule that names it is asked, and only its patch of the status counts", async () => {
  const rule = (resource: string) => ({ rules: [{ operations: ["UPDATE"], apiGroups: ["apps"], apiVersions: ["v1"], resources: [resource] }] });
  const main = await hook(mutating, () => ({}), rule("deployments"));
  const status = await hook(mutating, () => ({ patch: [{ op: "add", path: "/status/replicas", value: 7 }, { op: "replace", path: "/spec/replicas", value: 99 }] }), rule("deployments/*"));
  const template = { metadata: { labels: { app: "x" } }, spec: { containers: [{ name: "c", image: "busybox" }] } };
  await api.client.create(resources.deployments, "default", { metadata: { name: "web" }, spec: { replicas: 2, selector: { matchLabels: { app: "x" } }, template } });
  const after = await api.client.patch<any>(resources.deployments, "default", "web", { status: { observedGeneration: 1 } }, { subresource: "status" });
  assert.deepEqual([after.status.replicas, after.status.observedGeneration, after.spec.replicas], [7, 1, 2]);
  assert.equal(askedAt(main).length, 0);
  assert.equal(askedAt(status)[0]!.subResource, "status");
});

test("a ClusterIP is given after mutating webhooks and before validating ones", async () => {
  const rules = [{ operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["services"] }];
  const first = await hook(mutating, () => ({}), { rules });
  const last = await hook(validating, () => ({}), { rules });
  const made = await api.client.create<any>(resources.services, "default", { metadata: { name: "web" }, spec: { ports: [{ port: 80 }] } });
  assert.equal(askedAt(first)[0]!.object.spec.clusterIP, undefined);
  assert.equal(askedAt(last)[0]!.object.spec.clusterIP, made.spec.clusterIP);
});

const conditions: [expressions: string[], failurePolicy: "Fail" | "Ignore", outcome: "asked" | "passed over" | RegExp][] = [
  [["object.metadata.name == 'chosen'"], "Fail", "asked"],
  [["object.metadata.name == 'another'"], "Fail", "passed over"],
  [["request.operation == 'CREATE'", "request.userInfo.username == 'system:wherry:test'", "oldObject == null", "request.dryRun == false"], "Fail", "asked"],
  [["object.metadata.name == 'chosen'", "object.data.none == 'x'"], "Fail", /^configmaps "chosen" is forbidden: .*no such key: none/i],
  [["object.metadata.name == 'chosen'", "object.data.none == 'x'"], "Ignore", "passed over"],
  // One that is false decides, also when another fails.
  [["object.data.none == 'x'", "false"], "Fail", "passed over"],
];
for (const [expressions, failurePolicy, outcome] of conditions) {
  test(`match conditions: ${expressions.join(" && ")} with ${failurePolicy}: ${String(outcome)}`, async () => {
    const path = await hook(validating, () => ({}), { failurePolicy, matchConditions: expressions.map((expression, index) => ({ name: `c${index}`, expression })) });
    const creating = create("chosen", { a: "b" });
    if (outcome instanceof RegExp) {
      const { code, message } = await refusal(creating);
      assert.equal(code, 403);
      assert.match(message, outcome);
    } else await creating;
    assert.equal(askedAt(path).length, outcome === "asked" ? 1 : 0);
  });
}

test("a custom resource that a webhook converts is shown to admission webhooks in the version they ask for, and goes back", async () => {
  hooks.on("/convert", (request) => {
    const { uid, desiredAPIVersion, objects } = request as unknown as { uid: string; desiredAPIVersion: string; objects: { apiVersion: string; spec: { size?: number; length?: number } }[] };
    const convertedObjects = objects.map(({ spec, ...rest }) => ({ ...rest, apiVersion: desiredAPIVersion, spec: desiredAPIVersion.endsWith("v2") ? { length: spec.size } : { size: spec.length } }));
    return { raw: { apiVersion: "apiextensions.k8s.io/v1", kind: "ConversionReview", response: { uid, result: { status: "Success" }, convertedObjects } } };
  });
  const version = (name: string, field: string) => ({ name, served: true, storage: name === "v1", schema: { openAPIV3Schema: { type: "object", properties: { spec: { type: "object", properties: { [field]: { type: "integer" } } } } } } });
  await api.client.create({ group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions" }, undefined, {
    metadata: { name: "boats.example.com" },
    spec: { group: "example.com", scope: "Namespaced", names: { plural: "boats", kind: "Boat" }, versions: [version("v1", "size"), version("v2", "length")], conversion: { strategy: "Webhook", webhook: { conversionReviewVersions: ["v1"], clientConfig: { url: `${hooks.url}/convert`, caBundle: hooks.caBundle } } } },
  });
  const rules = [{ operations: ["*"], apiGroups: ["example.com"], apiVersions: ["v2"], resources: ["boats"] }];
  const longer = await hook(mutating, ({ object }) => ({ patch: [{ op: "replace", path: "/spec/length", value: object.spec.length + 1 }] }), { rules, matchConditions: [{ name: "long", expression: "object.spec.length > 3" }] });
  const seen = await hook(validating, () => ({}), { rules });
  const boats = (version: string) => ({ group: "example.com", version, resource: "boats" });
  const made = await api.client.create<any>(boats("v1"), "default", { metadata: { name: "a" }, spec: { size: 5 } });
  assert.deepEqual([made.apiVersion, made.spec], ["example.com/v1", { size: 6 }]);
  assert.deepEqual(askedAt(longer).map(({ object, kind, requestKind }) => [object.spec, kind.version, requestKind.version]), [[{ length: 5 }, "v2", "v1"]]);
  await api.client.patch(boats("v1"), "default", "a", { spec: { size: 2 } });
  assert.deepEqual(askedAt(longer).length, 1);
  assert.deepEqual(askedAt(seen).map(({ object, oldObject }) => [object.spec, oldObject?.spec ?? null]), [[{ length: 6 }, null], [{ length: 2 }, { length: 6 }]]);
});
