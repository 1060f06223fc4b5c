import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { startApi, type TestApi } from "../../../../test/harness-api.ts";
import type { KubeObject } from "../../../api/meta.ts";
import { resources } from "../../../api/resources.ts";
import { StatusError } from "../../../api/status.ts";
import type { Identity, WriteContext } from "../../rest/context.ts";

let api: TestApi;
before(async () => {
  api = await startApi();
});
after(() => api[Symbol.asyncDispose]());

const group = "admissionregistration.k8s.io";
const kinds = {
  policy: { group, version: "v1", resource: "validatingadmissionpolicies" },
  binding: { group, version: "v1", resource: "validatingadmissionpolicybindings" },
  mutating: { group, version: "v1beta1", resource: "mutatingadmissionpolicies" },
  mutatingBinding: { group, version: "v1beta1", resource: "mutatingadmissionpolicybindings" },
};
const made: [keyof typeof kinds | "configMap", string][] = [];
afterEach(async () => {
  for (const [kind, name] of made.splice(0).toReversed()) await api.client.delete(kind === "configMap" ? resources.configMaps : kinds[kind], kind === "configMap" ? "default" : undefined, name);
});

const rule = (resource = "configmaps", operations = ["CREATE", "UPDATE"]) => ({ apiGroups: [resource === "deployments" ? "apps" : ""], apiVersions: ["v1"], operations, resources: [resource] });

interface Spec {
  [field: string]: unknown;
  resource?: string;
}
async function put(kind: keyof typeof kinds, name: string, spec: object): Promise<void> {
  await api.client.create(kinds[kind], undefined, { metadata: { name }, spec });
  made.push([kind, name]);
}
/** A policy over config maps, if it says no more, with a binding of its name. */
async function policy(name: string, spec: Spec, binding: object = {}): Promise<void> {
  await put("policy", name, { matchConstraints: { resourceRules: [rule()] }, ...spec });
  await put("binding", name, { policyName: name, validationActions: ["Deny"], ...binding });
}
async function mutation(name: string, spec: Spec, binding: object = {}): Promise<void> {
  await put("mutating", name, { matchConstraints: { resourceRules: [rule()] }, ...spec });
  await put("mutatingBinding", name, { policyName: name, ...binding });
}
const applied = (expression: string) => ({ patchType: "ApplyConfiguration", applyConfiguration: { expression } });
const patched = (expression: string) => ({ patchType: "JSONPatch", jsonPatch: { expression } });

type Outcome = { object: KubeObject & { data?: Record<string, string> }; warnings: string[]; annotations: Record<string, string> };
const admin: Identity = { name: "alice", groups: ["system:masters"] };
async function create(name: string, data: Record<string, string> = {}, { user = admin, dryRun = true, labels }: { user?: Identity; dryRun?: boolean; labels?: Record<string, string> } = {}): Promise<Outcome> {
  const context: WriteContext = { user, fieldManager: "test", fieldValidation: "Strict", dryRun, warnings: [], annotations: {} };
  const kind = api.api.registry.byResource("", "v1", "configmaps")!;
  const object = (await api.api.create(kind, "default", { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...(labels && { labels }) }, data }, context)) as Outcome["object"];
  if (!dryRun) made.push(["configMap", name]);
  return { object, warnings: context.warnings, annotations: context.annotations! };
}
const refused = (promise: Promise<unknown>): Promise<{ code: number; reason: string; message: string }> =>
  promise.then(
    () => assert.fail("was not refused"),
    (error: unknown) => {
      if (!(error instanceof StatusError)) throw error;
      return { code: error.code, reason: error.reason, message: error.message };
    },
  );
const denial = (name: string, why: string, object = "x"): string => `configmaps "${object}" is forbidden: ValidatingAdmissionPolicy '${name}' with binding '${name}' denied request: ${why}`;

test("the message: what messageExpression says, else the message, else the expression", async () => {
  const cases: [validation: object, code: number, reason: string, why: string][] = [
    [{ expression: "object.data.a == 'b'" }, 422, "Invalid", "failed expression: object.data.a == 'b'"],
    [{ expression: "object.data.a == 'b'", message: " say b " }, 422, "Invalid", "say b"],
    [{ expression: "object.data.a == 'b'", message: "say b", messageExpression: "'not ' + object.data.a", reason: "Forbidden" }, 403, "Forbidden", "not c"],
    [{ expression: "object.data.a == 'b'", message: "say b", messageExpression: "string(object.data.missing)", reason: "RequestEntityTooLarge" }, 413, "RequestEntityTooLarge", "say b"],
    [{ expression: "object.data.a == 'b'", messageExpression: "'two\\nlines'" }, 422, "Invalid", "failed expression: object.data.a == 'b'"],
    [{ expression: "object.data.missing == 'b'" }, 422, "Invalid", "expression 'object.data.missing == 'b'' resulted in error: no such key: missing"],
  ];
  for (const [index, [validation, code, reason, why]] of cases.entries()) {
    const name = `m${index}`;
    await policy(name, { validations: [validation] });
    assert.deepEqual(await refused(create("x", { a: "c" })), { code, reason, message: denial(name, why) });
    for (const kind of ["binding", "policy"] as const) await api.client.delete(kinds[kind], undefined, name);
    made.length = 0;
  }
});

test("without a binding nothing happens; what a binding or the constraints do not choose passes", async () => {
  await put("policy", "alone", { matchConstraints: { resourceRules: [rule()] }, validations: [{ expression: "false" }] });
  await create("x");
  await put("binding", "alone", { policyName: "alone", validationActions: ["Deny"], matchResources: { objectSelector: { matchLabels: { judged: "yes" } } } });
  await create("x");
  await refused(create("x", {}, { labels: { judged: "yes" } }));
});

test("selectors, names, exclusions and equivalent versions", async () => {
  const cases: [constraints: object, refuses: boolean][] = [
    [{ resourceRules: [rule()] }, true],
    [{ resourceRules: [rule("secrets")] }, false],
    [{ resourceRules: [rule("configmaps", ["DELETE"])] }, false],
    [{ resourceRules: [{ ...rule(), resourceNames: ["x"] }] }, true],
    [{ resourceRules: [{ ...rule(), resourceNames: ["y"] }] }, false],
    [{ resourceRules: [{ ...rule(), resources: ["*"] }], excludeResourceRules: [rule()] }, false],
    [{ resourceRules: [{ ...rule(), scope: "Cluster" }] }, false],
    [{ resourceRules: [rule()], namespaceSelector: { matchLabels: { team: "a" } } }, false],
    [{ resourceRules: [rule()], namespaceSelector: { matchExpressions: [{ key: "team", operator: "DoesNotExist" }] } }, true],
    [{ resourceRules: [rule()], objectSelector: { matchLabels: { app: "web" } } }, true],
    [{ resourceRules: [rule()], objectSelector: { matchLabels: { app: "db" } } }, false],
  ];
  for (const [index, [matchConstraints, refuses]] of cases.entries()) {
    const name = `s${index}`;
    await policy(name, { matchConstraints, validations: [{ expression: "false", message: "no" }] });
    const outcome = create("x", {}, { labels: { app: "web" } });
    if (refuses) assert.equal((await refused(outcome)).message, denial(name, "no"), JSON.stringify(matchConstraints));
    else await outcome;
    for (const kind of ["binding", "policy"] as const) await api.client.delete(kinds[kind], undefined, name);
    made.length = 0;
  }
});

test("match conditions: one that is false spares, one that fails counts as the failure policy says", async () => {
  await policy("conditions", { matchConditions: [{ name: "other", expression: "request.userInfo.username != 'alice'" }, { name: "broken", expression: "object.nope == 1" }], validations: [{ expression: "false", message: "no" }] });
  await create("x");
  const bob = { name: "bob", groups: ["system:masters"] };
  assert.equal((await refused(create("x", {}, { user: bob }))).message, denial("conditions", "expression 'object.nope == 1' resulted in error: no such key: nope"));
});

test("failurePolicy Ignore lets pass what cannot be evaluated, and refuses what is false", async () => {
  await policy("lenient", { failurePolicy: "Ignore", validations: [{ expression: "object.data.size == '1'" }] });
  await create("x", { other: "1" });
  assert.equal((await refused(create("x", { size: "2" }))).code, 422);
});

test("variables are evaluated when asked, and see those before them", async () => {
  await policy("composed", {
    variables: [{ name: "broken", expression: "object.data.nope" }, { name: "size", expression: "int(object.data.size)" }, { name: "half", expression: "variables.size / 2" }],
    validations: [{ expression: "variables.half < 5", messageExpression: "string(variables.half) + ' of ' + string(variables.size)" }, { expression: "object.data.size != '9' || variables.broken == ''" }],
  });
  await create("x", { size: "8" });
  assert.equal((await refused(create("x", { size: "20" }))).message, denial("composed", "10 of 20"));
  assert.equal((await refused(create("x", { size: "9" }))).message, denial("composed", `expression 'object.data.size != '9' || variables.broken == ''' resulted in error: composited variable "broken" fails to evaluate: no such key: nope`));
});

test("warnings and audit annotations instead of a refusal", async () => {
  await policy("gentle", { validations: [{ expression: "has(object.data.a)", message: "an a would be nice" }], auditAnnotations: [{ key: "keys", valueExpression: "string(size(object.data))" }, { key: "none", valueExpression: "null" }] }, { validationActions: ["Warn", "Audit"] });
  const { warnings, annotations } = await create("x", { b: "1" });
  assert.deepEqual(warnings, ["Validation failed for ValidatingAdmissionPolicy 'gentle' with binding 'gentle': an a would be nice"]);
  assert.deepEqual(annotations, {
    "gentle/keys": "1",
    "validation.policy.admission.k8s.io/validation_failure": '[{"message":"an a would be nice","policy":"gentle","binding":"gentle","expressionIndex":0,"validationActions":["Warn","Audit"]}]',
  });
});

test("parameters: by name, by selector, and none", async () => {
  await create("limits", { most: "3" }, { dryRun: false, labels: { kind: "limits" } });
  await create("limits2", { most: "5" }, { dryRun: false, labels: { kind: "limits" } });
  const spec = { paramKind: { apiVersion: "v1", kind: "ConfigMap" }, matchConstraints: { resourceRules: [{ ...rule(), resourceNames: ["x"] }] }, validations: [{ expression: "size(object.data) <= int(params.data.most)", messageExpression: "'at most ' + params.data.most" }] };
  const four = { a: "", b: "", c: "", d: "" };
  const cases: [reference: object | undefined, why: string | undefined][] = [
    [{ name: "limits", parameterNotFoundAction: "Deny" }, "at most 3"],
    [{ name: "limits2", namespace: "default", parameterNotFoundAction: "Deny" }, undefined],
    [{ selector: { matchLabels: { kind: "limits" } }, parameterNotFoundAction: "Deny" }, "at most 3"],
    [{ name: "gone", parameterNotFoundAction: "Allow" }, undefined],
    [{ name: "gone", parameterNotFoundAction: "Deny" }, "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"],
    [undefined, "expression 'size(object.data) <= int(params.data.most)' resulted in error: no such key: data"],
  ];
  for (const [index, [paramRef, why]] of cases.entries()) {
    const name = `p${index}`;
    await policy(name, spec, paramRef && { paramRef });
    const outcome = create("x", four);
    if (why === undefined) await outcome;
    else assert.equal((await refused(outcome)).message, denial(name, why));
    for (const kind of ["binding", "policy"] as const) await api.client.delete(kinds[kind], undefined, name);
    made.splice(2);
  }
  await policy("unknown", { ...spec, paramKind: { apiVersion: "example.com/v1", kind: "Limit" } }, { paramRef: { name: "a", parameterNotFoundAction: "Deny" } });
  assert.equal((await refused(create("x"))).message, `configmaps "x" is forbidden: ValidatingAdmissionPolicy 'unknown' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'`);
});

test("the request, its namespace, the old object and who may do what", async () => {
  await create("seen", { a: "1" }, { dryRun: false });
  const update = async (data: Record<string, string>) => {
    const context: WriteContext = { user: admin, fieldManager: "test", fieldValidation: "Strict", dryRun: true, warnings: [] };
    return api.api.update(api.api.registry.byResource("", "v1", "configmaps")!, "default", "seen", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "seen" }, data }, context);
  };
  const expressions = [
    "request.operation == 'UPDATE' && request.kind.kind == 'ConfigMap' && request.resource.resource == 'configmaps' && request.name == 'seen' && request.namespace == 'default' && request.dryRun",
    "request.userInfo.username == 'alice' && 'system:masters' in request.userInfo.groups",
    "namespaceObject.metadata.name == 'default'",
    "oldObject.data.a == '1' && object.data.a == '2'",
    "authorizer.group('').resource('pods').namespace('default').check('create').allowed()",
    "!authorizer.serviceAccount('default', 'nobody').group('').resource('pods').namespace('default').check('create').allowed()",
    "authorizer.path('/healthz').check('get').allowed()",
    "authorizer.requestResource.check('update').allowed()",
  ];
  await policy("views", { matchConstraints: { resourceRules: [{ ...rule(), resourceNames: ["seen"] }] }, validations: expressions.map((expression) => ({ expression })) });
  await update({ a: "2" });
  assert.match((await refused(update({ a: "3" }))).message, /failed expression: oldObject/);
});

test("costly expressions are stopped with upstream's words", async () => {
  await policy("costly", { validations: [{ expression: "object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != '')))" }] });
  const data = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`k${index}`, ""]));
  assert.match((await refused(create("x", data))).message, /resulted in error: operation cancelled: actual cost limit exceeded$/);
});

test("policies judge neither policies nor webhooks, and a change holds for the next request", async () => {
  await policy("all", { matchConstraints: { resourceRules: [{ apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*"] }] }, validations: [{ expression: "false", message: "first" }] });
  assert.match((await refused(create("x"))).message, /first$/);
  await api.client.patch(kinds.policy, undefined, "all", { spec: { validations: [{ expression: "false", message: "second" }] } }, { type: "merge" });
  assert.match((await refused(create("x"))).message, /second$/);
  await api.client.delete(kinds.binding, undefined, "all");
  made.splice(1);
  await create("x");
});

test("apply configurations and JSON patches, one after the other", async () => {
  await mutation("fill", {
    variables: [{ name: "who", expression: "request.userInfo.username" }],
    mutations: [applied("Object{metadata: Object.metadata{labels: {'by': variables.who}}, data: {'a': 'policy', 'b': 'policy'}}"), patched("[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('c.d'), value: object.metadata.labels.by}, JSONPatch{op: 'remove', path: '/data/b'}]")],
  });
  const { object } = await create("x", { a: "mine" });
  assert.deepEqual(object.data, { a: "policy", "c.d": "alice" });
  assert.deepEqual(object.metadata.labels, { by: "alice" });
});

test("a JSON patch whose test fails changes nothing; one that does not fit is refused", async () => {
  await mutation("tested", { mutations: [patched("[JSONPatch{op: 'test', path: '/data/a', value: '1'}, JSONPatch{op: 'replace', path: '/data/a', value: '2'}]")] });
  assert.deepEqual((await create("x", { a: "5" })).object.data, { a: "5" });
  assert.deepEqual((await create("x", { a: "1" })).object.data, { a: "2" });
  await mutation("unfit", { mutations: [patched("[JSONPatch{op: 'remove', path: '/data/nope'}]")] });
  assert.match((await refused(create("x", { a: "1" }))).message, /^policy 'unfit' with binding 'unfit' denied request: JSONPath: /);
});

test("what an apply configuration may not do", async () => {
  const pods = { matchConstraints: { resourceRules: [rule("pods")] } };
  const cases: [spec: Spec, why: RegExp][] = [
    [{ ...pods, mutations: [applied("Object{spec: Object.spec{tolerations: [Object.spec.tolerations{key: 'a'}]}}")] }, /may not mutate atomic arrays, maps or structs: \.spec\.tolerations/],
    [{ ...pods, mutations: [applied("Object{spec: Object.spec{hostname: 5}}")] }, /expected string/],
    [{ ...pods, mutations: [applied("Object{spec: Object.other{hostname: 'a'}}")] }, /type mismatch: unexpected type name "Object.other", expected "Object.spec"/],
  ];
  for (const [index, [spec, why]] of cases.entries()) {
    const name = `a${index}`;
    await mutation(name, spec);
    const pod = api.client.create(resources.pods, "default", { metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "i" }] } });
    assert.match((await refused(pod)).message, why);
    for (const kind of ["mutatingBinding", "mutating"] as const) await api.client.delete(kinds[kind], undefined, name);
    made.length = 0;
  }
});

test("reinvocation: a policy sees what a later one added, when it asks for that", async () => {
  const count = "Object{data: {'seen': string(size(object.data))}}";
  await mutation("a-counts", { reinvocationPolicy: "IfNeeded", mutations: [applied(count)] });
  await mutation("b-adds", { mutations: [applied("Object{data: {'added': 'yes'}}")] });
  assert.deepEqual((await create("x", { mine: "1" })).object.data, { mine: "1", seen: "3", added: "yes" });
  await api.client.patch(kinds.mutating, undefined, "a-counts", { spec: { reinvocationPolicy: "Never" } }, { type: "merge" });
  assert.deepEqual((await create("x", { mine: "1" })).object.data, { mine: "1", seen: "1", added: "yes" });
});

test("what a mutating policy makes, a validating one judges", async () => {
  await mutation("fill", { mutations: [applied("Object{data: {'a': 'policy'}}")] });
  await policy("judge", { validations: [{ expression: "object.data.a == 'mine'", messageExpression: "'a is ' + object.data.a" }] });
  assert.equal((await refused(create("x", { a: "mine" }))).message, denial("judge", "a is policy"));
});

test("the status says what the kinds' schemas know better", async () => {
  await put("policy", "typo", { matchConstraints: { resourceRules: [rule("deployments")] }, validations: [{ expression: "object.replicas > 1" }, { expression: "object.spec.replicas > 1" }] });
  const { status } = await api.client.get<KubeObject & { status: Record<string, unknown> }>(kinds.policy, undefined, "typo");
  assert.deepEqual(status, {
    observedGeneration: 1,
    typeChecking: { expressionWarnings: [{ fieldRef: "spec.validations[0].expression", warning: "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n" }] },
  });
  await api.client.patch(kinds.policy, undefined, "typo", { spec: { validations: [{ expression: "true" }] } }, { type: "merge" });
  assert.deepEqual((await api.client.get<KubeObject & { status: unknown }>(kinds.policy, undefined, "typo")).status, { observedGeneration: 2, typeChecking: {} });
});
