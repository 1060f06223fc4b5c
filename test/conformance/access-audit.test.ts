import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { strategies } from "../../src/api/kinds/index.ts";
import { createBuiltinRegistry } from "../../src/api/registry.ts";
import { resources } from "../../src/api/resources.ts";
import { openAudit } from "../../src/apiserver/audit/audit.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { hasKubectl, startApi } from "../harness-api.ts";
import { startWebhookServer } from "../webhook-server.ts";

/** What the audit log says of what kubectl does. */
const minor = "1.33";
interface Event {
  level: string;
  auditID: string;
  stage: string;
  requestURI: string;
  verb: string;
  user: { username?: string; groups?: string[] };
  impersonatedUser?: { username: string };
  sourceIPs: string[];
  userAgent: string;
  objectRef?: { resource: string; name?: string; namespace?: string; uid?: string; resourceVersion?: string; apiGroup?: string; apiVersion?: string; subresource?: string };
  responseStatus?: { code: number; status?: string; reason?: string; message?: string; details?: object };
  requestObject?: { kind: string; data?: object; metadata?: { managedFields?: unknown } };
  responseObject?: { kind: string; data?: object; metadata?: { managedFields?: unknown } };
  annotations?: Record<string, string>;
}

test("requests are recorded by the policy's levels and stages", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  const folder = mkdtempSync(join(tmpdir(), "wherry-audit-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "audit.log");
  const policy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, nonResourceURLs: ["/api*", "/openapi*", "/version"]}
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: Request, verbs: [patch]}
- {level: RequestResponse, resources: [{resources: [configmaps]}]}
- {level: Metadata, omitStages: [], resources: [{resources: [pods]}]}
`;
  writeFileSync(join(folder, "policy.yaml"), policy);
  const { audit, close } = openAudit(join(folder, "policy.yaml"), { file, clock: systemClock, log: silentLog, registry: createBuiltinRegistry(strategies) });
  await using api = await startApi({ audit });
  const kubectl = (command: string) => api.kubectl(minor, command.split(" "));
  await kubectl("create configmap c --from-literal=a=1");
  await kubectl("create secret generic s --from-literal=password=hunter2");
  await kubectl("get configmap absent --as=ann --as-group=team");
  await kubectl("label configmap c x=y");
  await kubectl("get nodes");
  await assert.rejects(api.http({ token: "nonsense" }).list(resources.pods), { code: 401 });
  const watching = api.spawnKubectl(minor, ["get", "pods", "--watch-only"]);
  await api.client.create(resources.configMaps, "default", { metadata: { name: "unseen" } });
  const seen = () => events().some(({ verb, stage }) => verb === "watch" && stage === "ResponseStarted");
  const events = (): Event[] => readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Event);
  const deadline = AbortSignal.timeout(20_000);
  while (!seen()) {
    deadline.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
  watching.kill();
  await new Promise((resolve) => watching.once("exit", resolve));
  while (!events().some(({ verb, stage }) => verb === "watch" && stage === "ResponseComplete")) {
    deadline.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await close();

  const all = events();
  const lines = all.map(({ level, stage, verb, user, objectRef, responseStatus }) => [level, stage, user.username ?? "nobody", verb, `${objectRef?.resource}/${objectRef?.name ?? ""}`, responseStatus?.code].join(" "));
  assert.deepEqual(lines, [
    "RequestResponse ResponseComplete kubernetes-admin create configmaps/c 201",
    "Metadata ResponseComplete kubernetes-admin create secrets/s 201",
    "RequestResponse ResponseComplete kubernetes-admin get configmaps/absent 403",
    "RequestResponse ResponseComplete kubernetes-admin get configmaps/c 200",
    "Request ResponseComplete kubernetes-admin patch configmaps/c 200",
    "Metadata ResponseStarted nobody list pods/ 401",
    "Metadata ResponseComplete kubernetes-admin list pods/ 200",
    "Metadata ResponseStarted kubernetes-admin watch pods/ 200",
    "Metadata ResponseComplete kubernetes-admin watch pods/ 200",
  ]);
  assert.doesNotMatch(readFileSync(file, "utf8"), /hunter2|aHVudGVyMg|managedFields|unseen/);
  const [created, , refused, , patched] = all;
  assert.deepEqual([created!.requestObject!.data, created!.responseObject!.data], [{ a: "1" }, { a: "1" }]);
  assert.equal(created!.responseObject!.kind, "ConfigMap");
  assert.deepEqual(created!.sourceIPs, ["127.0.0.1"]);
  assert.match(created!.userAgent, /^kubectl/);
  assert.equal(created!.annotations!["authorization.k8s.io/decision"], "allow");
  assert.equal(refused!.impersonatedUser!.username, "ann");
  assert.deepEqual(refused!.annotations, { "authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": "" });
  assert.match(refused!.responseStatus!.message!, /^configmaps "absent" is forbidden: User "ann" cannot get resource "configmaps"/);
  assert.deepEqual([patched!.requestObject, patched!.responseObject], [{ metadata: { labels: { x: "y" } } }, undefined]);
  assert.equal(new Set(all.map(({ auditID }) => auditID)).size, all.length - 1, "one a request");
});

test("what has to be recorded and cannot be is refused", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-audit-"));
  try {
    writeFileSync(join(folder, "policy.yaml"), JSON.stringify({ apiVersion: "audit.k8s.io/v1", kind: "Policy", rules: [{ level: "None", verbs: ["get"] }, { level: "Metadata" }] }));
    let told: () => void = () => {};
    const failed = new Promise<void>((resolve) => (told = resolve));
    // A folder is where the file should be.
    const { audit } = openAudit(join(folder, "policy.yaml"), { file: folder, clock: systemClock, log: { ...silentLog, error: () => told() }, registry: createBuiltinRegistry(strategies) });
    await using api = await startApi({ audit });
    const http = api.http();
    await http.list(resources.configMaps).catch(() => {});
    await failed;
    await assert.rejects(http.create(resources.configMaps, "default", { metadata: { name: "c" } }), { code: 500, message: /the audit log cannot be written, and this request has to be recorded/ });
    await assert.rejects(api.client.get(resources.configMaps, "default", "c"), { code: 404 });
    await http.get(resources.namespaces, undefined, "default");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** An audit of its own; `ended` gives what was recorded when a request was answered, once all is in the file. */
function auditing(t: TestContext, ...rules: object[]) {
  const folder = mkdtempSync(join(tmpdir(), "wherry-audit-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "audit.log");
  writeFileSync(join(folder, "policy.yaml"), JSON.stringify({ apiVersion: "audit.k8s.io/v1", kind: "Policy", omitStages: ["RequestReceived"], rules }));
  const { audit, close } = openAudit(join(folder, "policy.yaml"), { file, clock: systemClock, log: silentLog, registry: createBuiltinRegistry(strategies) });
  const ended = async (): Promise<Event[]> => {
    await close();
    return readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Event);
  };
  return { audit, ended };
}

test("what is asked for is named, also where its content is not shown", async (t) => {
  const { audit, ended } = auditing(t, { level: "Metadata" });
  const api = await startApi({ audit });
  const http = api.http();
  const path = "/api/v1/namespaces/default/configmaps";
  const made = JSON.parse((await http.raw("POST", path, { metadata: { name: "c" } })).text) as { metadata: { uid: string; resourceVersion: string } };
  const { uid, resourceVersion } = made.metadata;
  await http.raw("POST", path, { metadata: { generateName: "g-" } });
  await http.raw("PUT", `${path}/c`, { metadata: { name: "c", uid, resourceVersion }, data: { password: "hunter2" } });
  await http.raw("GET", `${path}/c`, undefined, { "x-forwarded-for": "192.0.2.7, nonsense", "x-real-ip": "192.0.2.8", "audit-id": "mine" });
  const told = await new Promise<unknown>((resolve, reject) => void request({ socketPath: api.socketPath, method: "DELETE", path: `${path}/c` }, (response) => response.resume().once("end", () => resolve(response.headers["audit-id"]))).once("error", reject).end());
  await http.raw("GET", "/version");
  await api[Symbol.asyncDispose]();
  const all = await ended();
  assert.doesNotMatch(JSON.stringify(all), /hunter2/);
  const reference = { resource: "configmaps", namespace: "default", apiVersion: "v1" };
  assert.deepEqual(all.map(({ verb, objectRef }) => [verb, objectRef]), [
    ["create", { ...reference, name: "c" }],
    ["create", reference],
    ["update", { ...reference, name: "c", uid, resourceVersion }],
    ["get", { ...reference, name: "c" }],
    ["delete", { ...reference, name: "c" }],
    ["get", undefined],
  ]);
  const [, , , read, removed] = all;
  assert.deepEqual([read!.auditID, read!.sourceIPs], ["mine", ["192.0.2.7", "192.0.2.8", "127.0.0.1"]]);
  assert.equal(told, removed!.auditID);
  assert.deepEqual(removed!.responseStatus, { metadata: {}, status: "Success", details: { name: "c", kind: "configmaps", uid }, code: 200 });
});

test("what authorization and admission have to say stands beside the request", async (t) => {
  const { audit, ended } = auditing(t, { level: "Request", resources: [{ group: "", resources: ["configmaps"] }] }, { level: "Metadata" });
  await using hooks = await startWebhookServer();
  const api = await startApi({ audit });
  const { client } = api;
  const rules = (resource: string) => [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: [resource] }];
  const hook = (name: string, resource: string, more: object = {}) => ({ name, sideEffects: "None", admissionReviewVersions: ["v1"], clientConfig: { url: `${hooks.url}/${name}`, caBundle: hooks.caBundle }, rules: rules(resource), ...more });
  const registration = (resource: string) => ({ group: "admissionregistration.k8s.io", version: "v1", resource });
  hooks.on("/label.example.com", () => ({ patch: [{ op: "add", path: "/metadata/labels", value: { a: "b" } }], auditAnnotations: { why: "because" } }));
  await client.create(registration("mutatingwebhookconfigurations"), undefined, { metadata: { name: "labels" }, webhooks: [hook("label.example.com", "configmaps"), hook("absent.example.com", "configmaps", { failurePolicy: "Ignore" }), hook("secret.example.com", "secrets", { failurePolicy: "Ignore" })] });
  hooks.on("/secret.example.com", () => ({ patch: [{ op: "add", path: "/metadata/labels", value: { a: "hunter2" } }] }));
  const policy = (name: string, spec: object, actions: string[]) => [
    client.create(registration("validatingadmissionpolicies"), undefined, { metadata: { name }, spec: { matchConstraints: { resourceRules: rules("configmaps") }, ...spec } }),
    client.create(registration("validatingadmissionpolicybindings"), undefined, { metadata: { name }, spec: { policyName: name, validationActions: actions } }),
  ];
  await Promise.all([...policy("audits", { validations: [{ expression: "false", message: "no" }] }, ["Audit"]), ...policy("notes", { validations: [{ expression: "true" }], auditAnnotations: [{ key: "name", valueExpression: "'it is ' + object.metadata.name" }] }, ["Deny"])]);
  await client.create(resources.namespaces, undefined, { metadata: { name: "strict", labels: { "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/audit": "restricted" } } });
  await client.create(resources.serviceAccounts, "strict", { metadata: { name: "default" } });
  await client.create(resources.roleBindings, "strict", { metadata: { name: "edits" }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "edit" }, subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "ann" }] });

  const admin = api.http();
  const ann = api.http(await api.pki.issueClient("ann", []));
  await admin.create(resources.configMaps, "default", { metadata: { name: "c" } });
  await admin.create(resources.secrets, "default", { metadata: { name: "s" } });
  await ann.create(resources.pods, "strict", { metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "a" }] } });
  await assert.rejects(ann.create(resources.pods, "strict", { metadata: { name: "q" }, spec: { hostNetwork: true, containers: [{ name: "c", image: "a" }] } }), { code: 403 });
  await assert.rejects(ann.list(resources.nodes), { code: 403 });
  const { status } = await admin.create<{ metadata: { name: string }; status: { token: string } }>(resources.serviceAccounts, "default", { spec: {} } as never, { subresource: "token", name: "default" });
  await api[Symbol.asyncDispose]();
  const noted = (await ended()).map(({ annotations }) => {
    const { "authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason, ...rest } = annotations!;
    return [decision, reason, rest];
  });
  const granted = 'RBAC: allowed by RoleBinding "edits/strict" of ClusterRole "edit" to User "ann"';
  const violates = (text: string): string => `would violate PodSecurity "restricted:latest": ${text}`;
  const restricted = 'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")';
  const mutation = (index: number, webhook: string, mutated: boolean) => [`mutation.webhook.admission.k8s.io/round_0_index_${index}`, JSON.stringify({ configuration: "labels", webhook, mutated })];
  assert.deepEqual(noted, [
    ["allow", "", Object.fromEntries([
      mutation(0, "label.example.com", true),
      ["patch.webhook.admission.k8s.io/round_0_index_0", JSON.stringify({ configuration: "labels", webhook: "label.example.com", patch: [{ op: "add", path: "/metadata/labels", value: { a: "b" } }], patchType: "JSONPatch" })],
      ["label.example.com/why", "because"],
      mutation(1, "absent.example.com", false),
      ["failed-open.mutation.webhook.admission.k8s.io/round_0_index_1", "absent.example.com"],
      ["validation.policy.admission.k8s.io/validation_failure", JSON.stringify([{ message: "no", policy: "audits", binding: "audits", expressionIndex: 0, validationActions: ["Audit"] }])],
      ["notes/name", "it is c"],
    ])],
    ["allow", "", Object.fromEntries([mutation(0, "secret.example.com", true)])],
    ["allow", granted, { "pod-security.kubernetes.io/enforce-policy": "baseline:latest", "pod-security.kubernetes.io/audit-violations": violates(restricted) }],
    ["allow", granted, { "pod-security.kubernetes.io/enforce-policy": "baseline:latest", "pod-security.kubernetes.io/audit-violations": violates(`host namespaces (hostNetwork=true), ${restricted}`) }],
    ["forbid", "", {}],
    ["allow", "", { "authentication.kubernetes.io/issued-credential-id": `JTI=${(JSON.parse(Buffer.from(status.token.split(".")[1]!, "base64url").toString()) as { jti: string }).jti}` }],
  ]);
});
