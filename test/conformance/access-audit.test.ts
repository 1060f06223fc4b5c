import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { strategies } from "../../src/api/kinds/index.ts";
import { createBuiltinRegistry } from "../../src/api/registry.ts";
import { resources } from "../../src/api/resources.ts";
import { openAudit } from "../../src/apiserver/audit/audit.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { hasKubectl, startApi } from "../harness-api.ts";

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
  objectRef?: { resource: string; name?: string; namespace?: string; apiGroup?: string; subresource?: string };
  responseStatus?: { code: number; reason?: string; message?: string };
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
    "RequestResponse ResponseComplete kubernetes-admin create configmaps/ 201",
    "Metadata ResponseComplete kubernetes-admin create secrets/ 201",
    "RequestResponse ResponseComplete kubernetes-admin get configmaps/absent 403",
    "RequestResponse ResponseComplete kubernetes-admin get configmaps/c 200",
    "Request ResponseComplete kubernetes-admin patch configmaps/c 200",
    "Metadata ResponseComplete nobody list pods/ 401",
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
