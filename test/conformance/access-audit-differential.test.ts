import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { HttpClient } from "../../src/api/http-client.ts";
import { strategies } from "../../src/api/kinds/index.ts";
import { createBuiltinRegistry } from "../../src/api/registry.ts";
import { openAudit } from "../../src/apiserver/audit/audit.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { startApi } from "../harness-api.ts";
import { hasOracle, startOracle } from "./differential/oracle.ts";

/** The audit log beside the real kube-apiserver's: the same policy, the same requests, the same lines. */
const skip = hasOracle() ? false : "no kube-apiserver here: node tools/build-oracle.mjs";
type Json = Record<string, any>;

// What a test's client asks for; the real server's own parts are left out by their names.
const policy = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  rules: [
    { level: "None", userGroups: ["system:nodes"] },
    { level: "None", users: ["system:apiserver"] },
    { level: "None", nonResourceURLs: ["/readyz*", "/openapi*"] },
    { level: "None", verbs: ["deletecollection"] },
    { level: "Metadata", resources: [{ group: "", resources: ["secrets", "serviceaccounts/token"] }] },
    { level: "Metadata", nonResourceURLs: ["/version", "/apis*"], omitStages: ["RequestReceived"] },
    { level: "Request", verbs: ["get", "list", "watch"], namespaces: ["audited"], omitStages: ["RequestReceived"] },
    { level: "RequestResponse", namespaces: ["audited"], omitManagedFields: true },
    { level: "Request", resources: [{ group: "rbac.authorization.k8s.io" }], omitManagedFields: true },
  ],
};

const core = "/api/v1/namespaces/audited";
const judgement = {
  validatingadmissionpolicies: {
    metadata: { name: "judges" },
    spec: {
      matchConstraints: { resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["configmaps"] }] },
      validations: [{ expression: "object.metadata.?name.orValue('') != 'judged'", message: "not this one" }],
      auditAnnotations: [{ key: "name", valueExpression: "'it is ' + object.metadata.?name.orValue('nobody')" }],
    },
  },
  validatingadmissionpolicybindings: { metadata: { name: "judges" }, spec: { policyName: "judges", validationActions: ["Deny", "Audit"] } },
};
const requests: [request: string, body?: Json | Json[], headers?: Record<string, string>][] = [
  [`POST ${core}/configmaps`, { metadata: { name: "c" }, data: { a: "1" } }],
  [`POST ${core}/configmaps`, { metadata: { generateName: "g-" } }],
  [`POST ${core}/configmaps`, { metadata: { name: "Wrong_Name" } }],
  [`POST ${core}/configmaps?dryRun=All`, { metadata: { name: "dry" } }],
  [`POST ${core}/configmaps`, { metadata: { name: "judged" } }],
  [`GET ${core}/configmaps/c`],
  [`GET ${core}/configmaps/absent`],
  [`GET ${core}/configmaps?limit=1&labelSelector=a%3Db`],
  [`GET ${core}/configmaps?watch=1&timeoutSeconds=1&resourceVersion=0`],
  [`PUT ${core}/configmaps/c`, { metadata: { name: "c" }, data: { a: "2" } }],
  [`PATCH ${core}/configmaps/c`, { data: { b: "1" } }, { "content-type": "application/merge-patch+json" }],
  [`PATCH ${core}/configmaps/c?fieldManager=m&force=true`, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" }, data: { z: "1" } }, { "content-type": "application/apply-patch+yaml" }],
  [`DELETE ${core}/configmaps/c`],
  [`DELETE ${core}/configmaps/absent`],
  [`POST ${core}/secrets`, { metadata: { name: "s" }, stringData: { password: "hunter2" } }],
  [`GET ${core}/secrets/s`],
  [`DELETE ${core}/secrets/s`, { propagationPolicy: "Background" }],
  [`POST ${core}/serviceaccounts/default/token`, { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} }],
  [`POST ${core}/pods`, { metadata: { name: "p" }, spec: { automountServiceAccountToken: false, containers: [{ name: "c", image: "a" }] } }],
  [`PATCH ${core}/pods/p/status`, { status: { phase: "Running" } }, { "content-type": "application/merge-patch+json" }],
  [`POST ${core}/pods/p/eviction`, { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "p" } }],
  [`DELETE ${core}/pods/p?gracePeriodSeconds=0`],
  [`GET ${core}/configmaps`, undefined, { "impersonate-user": "ann", "impersonate-group": "team", "impersonate-uid": "7" }],
  [`POST ${core}/configmaps`, { metadata: { name: "not-hers" } }, { "impersonate-user": "ann" }],
  ["POST /apis/rbac.authorization.k8s.io/v1/clusterroles", { metadata: { name: "r" }, rules: [{ verbs: ["get"], apiGroups: [""], resources: ["pods"] }] }],
  [`GET ${core}/pods/absent/exec?command=ls`],
  [`POST ${core}/pods/absent/attach`],
  [`GET ${core}/pods/absent/log`],
  [`GET ${core}/pods?fieldSelector=spec.nodeName%3Dn`, undefined, { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" }],
  [`GET ${core}/configmaps`, undefined, { accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" }],
  [`POST ${core}/configmaps`, { metadata: { name: "unknown" }, dota: { a: "1" } }],
  [`PUT ${core}/configmaps/gone`, { metadata: { name: "gone" } }],
  [`PUT ${core}/configmaps/one`, { metadata: { name: "two" } }],
  [`PATCH ${core}/configmaps/unknown`, [{ op: "add", path: "/data", value: { a: "b" } }], { "content-type": "application/json-patch+json" }],
  [`PATCH ${core}/configmaps/unknown`, { data: { a: "c" } }, { "content-type": "application/strategic-merge-patch+json" }],
  [`PATCH ${core}/configmaps/absent`, { data: { a: "c" } }, { "content-type": "application/merge-patch+json" }],
  [`POST ${core}/services`, { metadata: { name: "svc" }, spec: { type: "ExternalName", externalName: "a.example.com" } }],
  [`DELETE ${core}/services/svc?dryRun=All`],
  [`DELETE ${core}/services/svc`],
  [`POST ${core}/configmaps/unknown/nothing`, {}],
  [`GET ${core}/configmaps`, undefined, { "impersonate-user": "ann", "impersonate-extra-scope": "a", "impersonate-extra-example.com%2fkey": "b" }],
  [`GET ${core}/configmaps`, undefined, { "impersonate-group": "team" }],
  [`GET ${core}/configmaps`, undefined, { "impersonate-user": "system:serviceaccount:audited:default" }],
  ["POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes: { namespace: "audited", verb: "get", resource: "pods" } } }],
  [`POST /apis/authorization.k8s.io/v1/namespaces/audited/localsubjectaccessreviews`, { apiVersion: "authorization.k8s.io/v1", kind: "LocalSubjectAccessReview", spec: { user: "ann", resourceAttributes: { namespace: "audited", verb: "get", resource: "pods" } } }],
  ["PUT /apis/rbac.authorization.k8s.io/v1/clusterroles/made", { metadata: { name: "made" }, rules: [{ verbs: ["get"], apiGroups: [""], resources: ["pods"] }] }],
  ["GET /version"],
  ["GET /nothing"],
  ["GET /apis/unknown.example.com/v1/things"],
  ["GET /apis"],
];

/** Without what is each server's own. */
function normal(event: Json): Json {
  const uids = new Set<string>();
  const text = JSON.stringify(event, (key, part: unknown) => {
    if (["auditID", "requestReceivedTimestamp", "stageTimestamp", "creationTimestamp", "sourceIPs", "authentication.kubernetes.io/issued-credential-id", "lastTransitionTime", "startTime"].includes(key)) return part === undefined ? undefined : "SET";
    if (key === "resourceVersion" && part !== "0") return "SET";
    if (key === "uid" && typeof part === "string" && part.length === 36) uids.add(part);
    if (Array.isArray(part) && key === "tolerations") return undefined;
    return part;
  });
  let plain = text;
  for (const uid of uids) plain = plain.replaceAll(uid, "UID");
  return sorted(JSON.parse(plain.replaceAll(/\bg-\w{5}\b/g, "g-NAME"))) as Json;
}
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, part]) => [key, sorted(part)]));
}

async function send(client: HttpClient, nobody: HttpClient): Promise<void> {
  await nobody.raw("GET", `${core}/configmaps`, undefined, { "user-agent": "audited", authorization: "Bearer nonsense" }).catch(() => {});
  for (const [request, body, headers] of requests) {
    const [method, path] = request.split(" ") as [string, string];
    await client.raw(method, path, body, { "user-agent": "audited", ...headers }).catch(() => {});
  }
}
const eventsIn = (file: string): Json[] => readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Json).filter(({ userAgent }) => userAgent === "audited");

test("the same requests leave the same lines", { skip, timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-audit-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "policy.yaml");
  writeFileSync(file, JSON.stringify(policy));
  const logs = { ours: join(folder, "ours.log"), theirs: join(folder, "theirs.log") };
  const { audit, close } = openAudit(file, { file: logs.ours, clock: systemClock, log: silentLog, registry: createBuiltinRegistry(strategies) });
  const [api, oracle] = await Promise.all([startApi({ audit }), startOracle({ args: ["--audit-policy-file", file, "--audit-log-path", logs.theirs] })]);
  api.tokens.structured = { authenticate: async (token) => (token === "oracle" ? { name: "kubernetes-admin", groups: ["system:masters", "system:authenticated"] } : undefined), mayBeAnonymous: undefined };
  const { signal } = t;
  for (const [client, nobody] of [[api.http({ token: "oracle" }), api.http({})], [oracle.client, oracle.client]] as const) {
    await client.raw("POST", "/api/v1/namespaces", { metadata: { name: "audited", labels: { "pod-security.kubernetes.io/audit": "restricted" } } });
    for (const [resource, object] of Object.entries(judgement)) await client.raw("POST", `/apis/admissionregistration.k8s.io/v1/${resource}`, object);
    await client.raw("POST", `${core}/serviceaccounts`, { metadata: { name: "default" } });
    // The real one learns of a policy a moment later.
    const judged = (): Promise<boolean> => client.raw("POST", `${core}/configmaps?dryRun=All`, { metadata: { name: "judged" } }, { "user-agent": "waits" }).then(() => false, () => true);
    while (!(await judged())) signal.throwIfAborted();
    await send(client, nobody);
  }
  const last = (events: Json[]): boolean => events.some(({ requestURI, stage }) => requestURI === "/apis" && stage === "ResponseComplete");
  const deadline = AbortSignal.timeout(20_000);
  while (!last(eventsIn(logs.theirs)) || !last(eventsIn(logs.ours))) {
    deadline.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all([api[Symbol.asyncDispose](), oracle[Symbol.asyncDispose]()]);
  await close();
  const [ours, theirs] = [eventsIn(logs.ours).map(normal), eventsIn(logs.theirs).map(normal)];
  const named = ({ stage, verb, requestURI, level }: Json): string => [level, stage, verb, requestURI].join(" ");
  assert.deepEqual(ours.map(named), theirs.map(named));
  const differences: string[] = [];
  theirs.forEach((event, index) => {
    try {
      assert.deepEqual(ours[index], event);
    } catch (error) {
      differences.push(`${named(event)}\n${(error as Error).message}`);
    }
  });
  assert.equal(differences.length, 0, differences.join("\n\n"));
});
