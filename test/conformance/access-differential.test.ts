import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createHttpClient, type HttpClient } from "../../src/api/http-client.ts";
import { makeRequest } from "../../src/api/kinds/certificates/testing/request.ts";
import type { StatusError } from "../../src/api/status.ts";
import { startApi, type TestApi } from "../harness-api.ts";
import { hasOracle, type Oracle, startOracle } from "./differential/oracle.ts";

/** Who may what, beside the real kube-apiserver: the same questions, and both must give the same answer. */
const skip = hasOracle() ? false : "no kube-apiserver here: node tools/build-oracle.mjs";
type Json = Record<string, any>;
interface Side {
  client: HttpClient;
  /** What earlier answers are called in later requests: TOKEN.x, UID.x. */
  names: Map<string, string>;
  issuer: string;
}
let api: TestApi;
let oracle: Oracle;
let sides: { ours: Side; theirs: Side };
before(async () => {
  if (skip) return;
  api = await startApi();
  writeFileSync(join(api.folder, "client-ca.crt"), api.pki.ca);
  // Both know the same token, and the same authority of certificates.
  api.tokens.structured = { authenticate: async (token) => (token === "oracle" ? { name: "kubernetes-admin", groups: ["system:masters", "system:authenticated"] } : undefined), mayBeAnonymous: undefined };
  oracle = await startOracle({ args: ["--client-ca-file", join(api.folder, "client-ca.crt"), "--runtime-config", "certificates.k8s.io/v1beta1=true", "--feature-gates", "ClusterTrustBundle=true,PodCertificateRequest=true"] });
  sides = {
    ours: { client: api.http({ token: "oracle" }), names: new Map(), issuer: "https://kubernetes.default.svc.cluster.local" },
    theirs: { client: oracle.client, names: new Map(), issuer: "https://kubernetes.default.svc" },
  };
});
after(async () => {
  if (skip) return;
  await Promise.all([api[Symbol.asyncDispose](), oracle[Symbol.asyncDispose]()]);
});

/** A request: "POST /path", its body, and a name for what is answered. */
type Case = [request: string, body?: Json, options?: { name?: string; headers?: Record<string, string> }];

async function ask(side: Side, [request, body, { name, headers = {} } = {}]: Case): Promise<unknown> {
  const fill = (text: string): string => text.replaceAll(/\b(TOKEN|UID)\.(\w+)/g, (whole) => side.names.get(whole) ?? whole).replaceAll("ISSUER", side.issuer);
  const [method, path] = request.split(" ") as [string, string];
  const filled = Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, fill(value)]));
  let answer: unknown;
  try {
    const { status, text } = await side.client.raw(method, path, body && (JSON.parse(fill(JSON.stringify(body))) as object), filled);
    const object = JSON.parse(text) as Json;
    if (name) {
      if (object["metadata"]?.uid && object["kind"] !== "TokenRequest") side.names.set(`UID.${name}`, object["metadata"].uid as string);
      if (object["status"]?.token) side.names.set(`TOKEN.${name}`, object["status"].token as string);
    }
    answer = { status, object };
  } catch (error) {
    const { code, reason, message, details } = error as StatusError;
    answer = { code, reason, message, details };
  }
  return normal(side, answer);
}

/** Without what is each server's own. */
// Order of properties is nobody's business; a Go struct without names for JSON shows times that are not set.
function normal(side: Side, value: unknown): unknown {
  let text = JSON.stringify(value, (key, part: unknown) => (["managedFields", "resourceVersion", "creationTimestamp", "expirationTimestamp", "lastUpdateTime", "lastTransitionTime"].includes(key) ? undefined : typeof part === "string" ? part.replace(/,"managedFields":\[.*\](?=\}: must)/, "") : part));
  for (const [name, own] of [...side.names].sort(([, a], [, b]) => b.length - a.length)) text = text.replaceAll(own, name);
  text = text.replaceAll(side.issuer, "ISSUER").replaceAll(/[\w-]+\.[\w-]+\.[\w-]{40,}/g, "TOKEN").replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "UID");
  return sorted(JSON.parse(text));
}
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, part]) => [key, sorted(part)]));
}

async function same(...cases: Case[]): Promise<void> {
  const differences: string[] = [];
  for (const one of cases) {
    const [ours, theirs] = await Promise.all([ask(sides.ours, one), ask(sides.theirs, one)]);
    try {
      assert.deepEqual(ours, theirs);
    } catch (error) {
      differences.push(`${one[0]} ${JSON.stringify(one[1] ?? "")}\n${(error as Error).message}`);
    }
  }
  assert.equal(differences.length, 0, differences.join("\n\n"));
}
/** Objects that both have from then on; what comes of them is not compared. */
async function setUp(...cases: Case[]): Promise<void> {
  for (const one of cases) for (const side of [sides.ours, sides.theirs]) {
    const answer = (await ask(side, one)) as { code?: number; message?: string };
    if (answer.code !== undefined && answer.code !== 409) throw new Error(`${one[0]}: ${answer.message}`);
  }
}

const core = "/api/v1/namespaces/default";
const accounts = `${core}/serviceaccounts`;
const rbac = "/apis/rbac.authorization.k8s.io/v1";
const authorization = "/apis/authorization.k8s.io/v1";
const authentication = "/apis/authentication.k8s.io/v1";
const tokenRequest = (spec: Json, metadata: Json = {}): Json => ({ apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", metadata, spec });
const review = (kind: string, spec: Json): Json => ({ apiVersion: `${kind === "TokenReview" || kind === "SelfSubjectReview" ? "authentication" : "authorization"}.k8s.io/v1`, kind, spec });
const tokenReview = (token: string, ...audiences: string[]): Case => [`POST ${authentication}/tokenreviews`, review("TokenReview", { token, ...(audiences.length > 0 && { audiences }) })];

test("tokens are issued, bound and reviewed alike", { skip }, async () => {
  const pod = (name: string, account: string): Json => ({ metadata: { name }, spec: { serviceAccountName: account, automountServiceAccountToken: false, containers: [{ name: "c", image: "a" }] } });
  await setUp(
    [`POST ${accounts}`, { metadata: { name: "default" } }],
    [`POST ${accounts}`, { metadata: { name: "ann" } }, { name: "ann" }],
    [`POST ${accounts}`, { metadata: { name: "other" } }],
    [`POST ${core}/pods`, pod("p", "ann"), { name: "p" }],
    [`POST ${core}/pods`, pod("gone", "ann"), { name: "gone" }],
    [`POST ${core}/secrets`, { metadata: { name: "s" } }, { name: "s" }],
    [`POST /api/v1/nodes`, { metadata: { name: "n" } }, { name: "n" }],
    [`POST /api/v1/nodes`, { metadata: { name: "far" } }, { name: "far" }],
    [`POST ${core}/pods`, { ...pod("placed", "ann"), spec: { ...pod("placed", "ann")["spec"], nodeName: "n" } }, { name: "placed" }],
  );
  const token = `POST ${accounts}/ann/token`;
  const bound = (kind: string, name: string, more: Json = {}): Json => tokenRequest({ boundObjectRef: { apiVersion: "v1", kind, name, ...more } });
  await same(
    [token, tokenRequest({}), { name: "plain" }],
    [token, tokenRequest({ audiences: ["vault", "ISSUER"], expirationSeconds: 700 }), { name: "both" }],
    [token, tokenRequest({ audiences: ["vault"] }), { name: "vault" }],
    [token, tokenRequest({ expirationSeconds: 599 })],
    [token, tokenRequest({ expirationSeconds: 4294967297 })],
    [token, tokenRequest({ expirationSeconds: 4294967296 })],
    [token, tokenRequest({ expirationSeconds: 100_000_000 })],
    [token, tokenRequest({}, { name: "other" })],
    [token, tokenRequest({}, { namespace: "kube-system" })],
    [token, tokenRequest({}, { name: "ann", namespace: "default", uid: "UID.ann", labels: { a: "b" } })],
    [token, tokenRequest({}, { uid: "00000000-0000-0000-0000-000000000001" })],
    [`POST ${accounts}/absent/token`, tokenRequest({})],
    [token, bound("Pod", "p"), { name: "p" }],
    [token, bound("Pod", "placed"), { name: "placed" }],
    [token, bound("Pod", "gone"), { name: "gone" }],
    [`POST ${accounts}/other/token`, bound("Pod", "p")],
    [token, bound("Pod", "absent")],
    [token, bound("Pod", "p", { uid: "00000000-0000-0000-0000-000000000001" })],
    [token, bound("Pod", "p", { uid: "UID.p" })],
    [token, bound("Pod", "p", { apiVersion: "apps/v1" })],
    [token, bound("Secret", "s"), { name: "s" }],
    [token, bound("Secret", "absent")],
    [token, bound("Node", "n"), { name: "n" }],
    [token, bound("Node", "far"), { name: "far" }],
    [token, bound("ConfigMap", "c")],
    ...["plain", "both", "vault", "p", "placed", "s", "n", "far"].flatMap((name): Case[] => [tokenReview(`TOKEN.${name}`), tokenReview(`TOKEN.${name}`, "vault"), tokenReview(`TOKEN.${name}`, "vault", "ISSUER", "else")]),
    tokenReview("nonsense"),
    tokenReview("a.b.c"),
    tokenReview(""),
    tokenReview("oracle2", "else"),
  );
  await setUp([`DELETE ${core}/pods/gone?gracePeriodSeconds=0`], [`DELETE ${core}/secrets/s`], [`DELETE /api/v1/nodes/far`]);
  const gone = (name: string): Case => tokenReview(`TOKEN.${name}`);
  // The real one remembers an answer for some seconds: these were not asked before, or are asked otherwise.
  await same(gone("gone"), tokenReview("TOKEN.s", "ISSUER", "new"), tokenReview("TOKEN.far", "ISSUER", "new"));
});

test("reviews answer alike", { skip }, async () => {
  const role = (name: string, ...rules: Json[]): Case => [`POST ${rbac}/clusterroles`, { metadata: { name }, rules }];
  const bind = (name: string, subject: Json, namespace?: string): Case => [`POST ${rbac}/${namespace ? `namespaces/${namespace}/rolebindings` : "clusterrolebindings"}`, { metadata: { name }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name }, subjects: [subject] }];
  const user = (name: string): Json => ({ apiGroup: "rbac.authorization.k8s.io", kind: "User", name });
  await setUp(
    role("reads", { verbs: ["get", "list"], apiGroups: [""], resources: ["pods", "pods/log"] }),
    role("one", { verbs: ["update"], apiGroups: [""], resources: ["configmaps"], resourceNames: ["settings"] }),
    role("scales", { verbs: ["patch"], apiGroups: ["apps"], resources: ["*/scale"] }),
    role("pages", { verbs: ["get"], nonResourceURLs: ["/logs/*"] }),
    bind("reads", user("bob"), "default"),
    bind("one", user("bob"), "default"),
    bind("scales", user("bob")),
    bind("pages", { apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "team" }),
    bind("reads", { kind: "ServiceAccount", name: "ann", namespace: "default" }),
  );
  const may = (user: string | undefined, resourceAttributes: Json | undefined, nonResourceAttributes?: Json, more: Json = {}): Case => [`POST ${authorization}/subjectaccessreviews`, review("SubjectAccessReview", { ...(user !== undefined && { user }), ...(resourceAttributes && { resourceAttributes }), ...(nonResourceAttributes && { nonResourceAttributes }), ...more })];
  const pods = { namespace: "default", verb: "list", resource: "pods" };
  const as = (name: string, ...groups: string[]): { headers: Record<string, string> } => ({ headers: { "impersonate-user": name, ...(groups[0] && { "impersonate-group": groups[0] }) } });
  await same(
    may("bob", pods),
    may("bob", { ...pods, namespace: "kube-system" }),
    may("bob", { ...pods, namespace: undefined }),
    may("bob", { ...pods, subresource: "log" }),
    may("bob", { ...pods, subresource: "exec" }),
    may("bob", { ...pods, group: "apps" }),
    may("bob", { namespace: "default", verb: "update", resource: "configmaps", name: "settings" }),
    may("bob", { namespace: "default", verb: "update", resource: "configmaps" }),
    may("bob", { namespace: "any", verb: "patch", group: "apps", resource: "deployments", subresource: "scale" }),
    may("bob", { namespace: "default", verb: "*", resource: "*" }),
    may("root", pods, undefined, { groups: ["system:masters"] }),
    may("x", undefined, { path: "/logs/a", verb: "get" }, { groups: ["team"] }),
    may("x", undefined, { path: "/logs", verb: "get" }, { groups: ["team"] }),
    may("system:serviceaccount:default:ann", pods),
    may("", pods),
    may(undefined, pods),
    may("bob", undefined),
    may("bob", pods, { path: "/", verb: "get" }),
    may("bob", { ...pods, labelSelector: { requirements: [{ key: "a", operator: "In", values: ["b"] }] } }),
    may("bob", { ...pods, labelSelector: { rawSelector: "a=b" } }),
    may("bob", { ...pods, labelSelector: { rawSelector: "a=b", requirements: [{ key: "a", operator: "Exists" }] } }),
    may("bob", { ...pods, labelSelector: {} }),
    may("bob", { ...pods, labelSelector: { requirements: [{ key: "a", operator: "Near" }] } }),
    may("bob", { ...pods, fieldSelector: { requirements: [{ key: "spec.nodeName", operator: "In", values: ["n"] }] } }),
    may("bob", { ...pods, fieldSelector: { requirements: [{ key: "", operator: "In", values: [] }] } }),
    [`POST ${authorization}/namespaces/default/localsubjectaccessreviews`, review("LocalSubjectAccessReview", { user: "bob", resourceAttributes: pods })],
    [`POST ${authorization}/namespaces/kube-system/localsubjectaccessreviews`, review("LocalSubjectAccessReview", { user: "bob", resourceAttributes: pods })],
    [`POST ${authorization}/namespaces/default/localsubjectaccessreviews`, review("LocalSubjectAccessReview", { user: "bob", nonResourceAttributes: { path: "/", verb: "get" } })],
    [`POST ${authorization}/namespaces/default/localsubjectaccessreviews`, { ...review("LocalSubjectAccessReview", { user: "bob", resourceAttributes: pods }), metadata: { namespace: "other" } }],
    [`POST ${authorization}/selfsubjectaccessreviews`, review("SelfSubjectAccessReview", { resourceAttributes: pods })],
    [`POST ${authorization}/selfsubjectaccessreviews`, review("SelfSubjectAccessReview", { resourceAttributes: pods }), as("bob")],
    [`POST ${authorization}/selfsubjectaccessreviews`, review("SelfSubjectAccessReview", {}), as("bob")],
    [`POST ${authorization}/selfsubjectrulesreviews`, review("SelfSubjectRulesReview", {}), as("bob")],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {})],
    [`POST ${authentication}/selfsubjectreviews`, { ...review("SelfSubjectReview", {}), metadata: { name: "x", labels: { a: "b" } } }],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {}), { headers: { "impersonate-user": "bob", "impersonate-group": "team", "impersonate-uid": "7", "impersonate-extra-scope": "a", "impersonate-extra-Example.com%2fkey": "b" } }],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {}), as("system:anonymous")],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {}), as("system:serviceaccount:default:ann")],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {}), as("system:serviceaccount:default:ann", "team")],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {}), as("bob", "system:unauthenticated")],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {}), { headers: { "impersonate-group": "team" } }],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {}), { headers: { "impersonate-uid": "7" } }],
    [`POST ${authentication}/selfsubjectreviews`, review("SelfSubjectReview", {}), { headers: { "impersonate-extra-scope": "a" } }],
    [`POST ${authorization}/selfsubjectaccessreviews`, { ...review("SelfSubjectAccessReview", { resourceAttributes: pods }), metadata: { name: "x" } }],
    [`POST ${authorization}/namespaces/default/localsubjectaccessreviews`, { ...review("LocalSubjectAccessReview", { user: "bob", resourceAttributes: pods }), metadata: { name: "x" } }],
  );
  await setUp(
    bind("gone", user("ann"), "default"),
    bind("gone-too", user("ann")),
    [`POST ${rbac}/clusterrolebindings`, { metadata: { name: "twice" }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "pages" }, subjects: [user("ann"), { ...user("team"), kind: "Group" }, user("ann")] }],
  );
  await same(may("ann", { namespace: "kube-system", verb: "list", resource: "pods" }), may("ann", undefined, { path: "/logs/x", verb: "get" }));
  // A real server goes through bindings in no order: roles follow each other as they like, their rules do not.
  const rules = async (side: Side, namespace: string, options?: { headers: Record<string, string> }): Promise<unknown> => {
    const answer = (await ask(side, [`POST ${authorization}/selfsubjectrulesreviews`, review("SelfSubjectRulesReview", { namespace }), options])) as { object?: Json };
    const { object } = answer;
    if (!object) return answer;
    const { resourceRules, nonResourceRules, evaluationError = "", ...rest } = object["status"] as Json;
    const lines = (list: Json[]) => list.map((rule) => JSON.stringify(rule)).sort();
    return { ...object, status: { ...rest, resourceRules: lines(resourceRules as Json[]), nonResourceRules: lines(nonResourceRules as Json[]), failures: evaluationError.replace(/^\[|\]$/g, "").split(", ").sort() } };
  };
  for (const [namespace, options] of [["default", as("bob")], ["kube-system", as("bob")], ["default", undefined], ["default", as("ann", "team")], ["kube-system", as("ann")], ["default", as("system:serviceaccount:default:ann")], ["default", as("system:anonymous")], ["absent", as("nobody")]] as const) {
    assert.deepEqual(await rules(sides.ours, namespace, options), await rules(sides.theirs, namespace, options), JSON.stringify([namespace, options]));
  }
});

test("who may not impersonate, and who may not ask, is told so alike", { skip }, async (t) => {
  await setUp([`POST ${rbac}/clusterroles`, { metadata: { name: "acts" }, rules: [{ verbs: ["impersonate"], apiGroups: [""], resources: ["users"], resourceNames: ["bob"] }] }]);
  await setUp([`POST ${rbac}/clusterrolebindings`, { metadata: { name: "acts" }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "acts" }, subjects: [{ kind: "ServiceAccount", name: "ann", namespace: "default" }] }]);
  for (const side of [sides.ours, sides.theirs]) await ask(side, [`POST ${accounts}/ann/token`, tokenRequest({}), { name: "ann" }]);
  const ann = (headers: Record<string, string>): { headers: Record<string, string> } => ({ headers: { authorization: "Bearer TOKEN.ann", ...headers } });
  sides.ours = { ...sides.ours, client: api.http({}) };
  t.after(() => (sides.ours = { ...sides.ours, client: api.http({ token: "oracle" }) }));
  await same(
    [`GET ${core}/pods`, undefined, ann({ "impersonate-user": "eve" })],
    [`GET ${core}/configmaps`, undefined, ann({ "impersonate-user": "bob" })],
    [`GET ${core}/pods`, undefined, ann({ "impersonate-user": "bob", "impersonate-group": "team" })],
    [`GET ${core}/pods`, undefined, ann({ "impersonate-user": "bob", "impersonate-uid": "7" })],
    [`GET ${core}/pods`, undefined, ann({ "impersonate-user": "bob", "impersonate-extra-scope": "a" })],
    [`GET ${core}/pods`, undefined, ann({ "impersonate-user": "system:serviceaccount:default:default" })],
    [`GET ${core}/secrets`, undefined, ann({})],
    [`GET /api/v1/nodes/x`, undefined, ann({})],
    [`GET /metrics`, undefined, ann({})],
    [`GET ${core}/pods/x/log`, undefined, ann({})],
    [`POST ${core}/pods/x/eviction`, { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "x" } }, ann({})],
    [`PUT /api/v1/namespaces/default/finalize`, { metadata: { name: "default" } }, ann({})],
    [`GET /apis/unknown.example.com/v1/things`, undefined, ann({})],
  );
});

test("certificate requests are judged alike", { skip }, async () => {
  const requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
  const { request } = await makeRequest({ name: "O=team, CN=ann" });
  const { request: masters } = await makeRequest({ name: "O=system:masters, CN=ann" });
  const signing = (name: string, text: string, more: Json = {}): Json => ({ metadata: { name }, spec: { request: Buffer.from(text).toString("base64"), signerName: "kubernetes.io/kube-apiserver-client", usages: ["client auth"], ...more } });
  const approved = (name: string, ...conditions: Json[]): Case => [`PATCH ${requests}/${name}/approval`, { status: { conditions } }, { headers: { "content-type": "application/merge-patch+json" } }];
  await same(
    [`POST ${requests}`, signing("fine", request), { name: "fine" }],
    [`POST ${requests}`, signing("masters", masters)],
    [`POST ${requests}`, signing("masters-else", masters, { signerName: "example.com/mine" })],
    [`POST ${requests}`, signing("nothing", "nonsense")],
    [`POST ${requests}`, signing("signer", request, { signerName: "nonsense" })],
    [`POST ${requests}`, signing("usage", request, { usages: ["nonsense"] })],
    [`POST ${requests}`, signing("usages", request, { usages: [] })],
    [`POST ${requests}`, signing("short", request, { expirationSeconds: 599 })],
    [`POST ${requests}`, signing("legacy", request, { signerName: "kubernetes.io/legacy-unknown" })],
    [`POST ${requests}`, signing("claims", request, { username: "somebody", groups: ["system:masters"] })],
    approved("fine", { type: "Nonsense", status: "True" }),
    approved("fine", { type: "Approved", status: "False" }),
    approved("fine", { type: "Approved", status: "True", reason: "Because", message: "of that" }, { type: "Denied", status: "True" }),
    approved("fine", { type: "Approved", status: "True", reason: "Because", message: "of that" }),
    approved("fine"),
    approved("fine", { type: "Denied", status: "True" }),
  );
});

test("a certificate speaks for whom it names", { skip }, async () => {
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  for (const name of ["CN=ann", "CN=ann, O=team, O=other", "O=team", "CN=one, CN=two", "CN=ann, 1.3.6.1.4.1.57683.2=#130137", "CN=ann, 1.3.6.1.4.1.57683.2=#130137, 1.3.6.1.4.1.57683.2=#130138", "CN=system:anonymous", "CN=ann, O=system:unauthenticated", "CN=ann, O=system:authenticated"]) {
    const { request, key } = await makeRequest({ name });
    const cert = await api.pki.sign({ request, usages: ["client auth"], seconds: 3600, nowMs: Date.now() });
    const ask = async (url: string, ca: string): Promise<unknown> => {
      const client = createHttpClient({ url, ca, cert, key, userAgent: "test" });
      try {
        const { text } = await client.raw("POST", `${authentication}/selfsubjectreviews`, review);
        return sorted(((JSON.parse(text) as Json)["status"] as Json)["userInfo"]);
      } catch (error) {
        // Who is nobody may be anonymous there, and gets no further.
        const { code } = error as StatusError;
        return code === 403 ? 401 : code;
      } finally {
        client.close();
      }
    };
    assert.deepEqual(await ask(api.url, api.pki.ca), await ask(oracle.url, readFileSync(oracle.certificate, "utf8")), name);
  }
});

/** What of it must be equal, rules in their order. What an aggregation gathers, a controller writes; none runs beside the real one here. */
const content = ({ metadata: { labels, annotations }, rules, subjects, roleRef, aggregationRule }: Json): unknown => sorted({ labels, annotations, rules: aggregationRule ? [] : rules, subjects, roleRef, aggregationRule });

test("the first roles and bindings are the real ones", { skip }, async () => {
  for (const kind of ["clusterroles", "clusterrolebindings"]) {
    const listed = async ({ client }: Side): Promise<Map<string, unknown>> => {
      const { items } = JSON.parse((await client.raw("GET", `${rbac}/${kind}?labelSelector=kubernetes.io/bootstrapping=rbac-defaults`)).text) as { items: Json[] };
      return new Map(items.map((item) => [item["metadata"].name as string, content(item)]));
    };
    const [ours, theirs] = [await listed(sides.ours), await listed(sides.theirs)];
    for (const name of theirs.keys()) if (name.startsWith("system:controller:")) theirs.delete(name);
    assert.deepEqual(Object.fromEntries([...ours].sort()), Object.fromEntries([...theirs].sort()));
  }
});

test("who checks tokens himself finds the issuer's documents", { skip }, async () => {
  const key = ({ alg, kty, use }: Json): Json => ({ alg, kty, use });
  const documents = async ({ client, issuer }: Side): Promise<unknown> => {
    const discovery = JSON.parse((await client.raw("GET", "/.well-known/openid-configuration")).text) as Json;
    const { keys } = JSON.parse((await client.raw("GET", "/openid/v1/jwks", undefined, { accept: "*/*" })).text) as { keys: Json[] };
    const [algorithm] = discovery["id_token_signing_alg_values_supported"] as string[];
    assert.match(discovery["jwks_uri"] as string, /^https:\/\/[^/]+\/openid\/v1\/jwks$/);
    return { ...discovery, issuer: discovery["issuer"] === issuer, jwks_uri: "", id_token_signing_alg_values_supported: "", keys: keys.map(key).map((one) => ({ ...one, alg: one["alg"] === algorithm, kty: typeof one["kty"] })) };
  };
  assert.deepEqual(await documents(sides.ours), await documents(sides.theirs));
});

test("who may not hand something on is told so alike", { skip }, async () => {
  const role = (name: string, rules: Json[], namespace?: string): Case => [`POST ${rbac}/${namespace ? `namespaces/${namespace}/roles` : "clusterroles"}`, { metadata: { name }, rules }, eve];
  const binding = (name: string, roleRef: Json, subjects: Json[], namespace?: string): Case => [`POST ${rbac}/${namespace ? `namespaces/${namespace}/rolebindings` : "clusterrolebindings"}`, { metadata: { name }, roleRef: { apiGroup: "rbac.authorization.k8s.io", ...roleRef }, subjects }, eve];
  const eve = { headers: { "impersonate-user": "eve", "impersonate-group": "staff" } };
  const user = { apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "mallory" };
  const pods = { verbs: ["get", "list"], apiGroups: [""], resources: ["pods"] };
  await setUp(
    [`POST ${rbac}/clusterroles`, { metadata: { name: "eve" }, rules: [{ verbs: ["create", "update", "patch", "get"], apiGroups: ["rbac.authorization.k8s.io"], resources: ["clusterroles", "clusterrolebindings", "roles", "rolebindings"] }, pods, { verbs: ["get"], nonResourceURLs: ["/logs/*"] }, { verbs: ["get"], apiGroups: ["apps"], resources: ["deployments"], resourceNames: ["one"] }] }],
    [`POST ${rbac}/clusterrolebindings`, { metadata: { name: "eve" }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "eve" }, subjects: [{ ...user, name: "eve" }] }],
  );
  await same(
    role("fine", [pods]),
    role("fine", [pods], "default"),
    role("verbs", [{ ...pods, verbs: ["get", "delete", "watch"] }]),
    role("all", [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }]),
    role("several", [{ verbs: ["get", "update"], apiGroups: ["", "apps"], resources: ["secrets", "deployments/scale"] }], "default"),
    role("names", [{ verbs: ["get"], apiGroups: ["apps"], resources: ["deployments"], resourceNames: ["one", "two"] }]),
    role("no-names", [{ verbs: ["get"], apiGroups: ["apps"], resources: ["deployments"] }]),
    role("urls", [{ verbs: ["get", "post"], nonResourceURLs: ["/logs/a", "/metrics"] }]),
    role("urls", [{ verbs: ["get"], nonResourceURLs: ["/logs/a"] }], "default"),
    role("mixed", [{ verbs: ["get"], apiGroups: [""], resources: ["pods"], nonResourceURLs: ["/logs/a"] }]),
    role("none", [{ verbs: [], apiGroups: [""], resources: ["pods"] }]),
    role("groups", [{ verbs: ["get"], resources: ["pods"] }]),
    [`POST ${rbac}/clusterroles`, { metadata: { name: "gathers" }, aggregationRule: { clusterRoleSelectors: [{ matchLabels: { a: "b" } }] } }, eve],
    [`PATCH ${rbac}/clusterroles/fine`, { rules: [pods, { ...pods, resources: ["secrets"] }] }, { headers: { ...eve.headers, "content-type": "application/merge-patch+json" } }],
    binding("own", { kind: "ClusterRole", name: "fine" }, [user]),
    binding("own", { kind: "Role", name: "fine" }, [user], "default"),
    binding("top", { kind: "ClusterRole", name: "cluster-admin" }, [user]),
    binding("top", { kind: "ClusterRole", name: "cluster-admin" }, [user], "default"),
    binding("absent", { kind: "ClusterRole", name: "absent" }, [user]),
    binding("absent", { kind: "Role", name: "absent" }, [user], "default"),
    binding("subject", { kind: "ClusterRole", name: "fine" }, [{ kind: "User", name: "" }, { kind: "ServiceAccount", name: "x" }, { kind: "Robot", name: "x" }, { kind: "ServiceAccount", name: "x", namespace: "y", apiGroup: "z" }]),
    [`PATCH ${rbac}/clusterrolebindings/own`, { roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" } }, { headers: { "content-type": "application/merge-patch+json" } }],
  );
});

test("who may escalate, bind, or has it from somewhere else", { skip }, async () => {
  const as = (name: string, type?: string): { headers: Record<string, string> } => ({ headers: { "impersonate-user": name, ...(type && { "content-type": type }) } });
  const merge = "application/merge-patch+json";
  const apply = "application/apply-patch+yaml";
  const group = "rbac.authorization.k8s.io";
  const subject = (name: string): Json => ({ apiGroup: group, kind: "User", name });
  const may = (name: string, rules: Json[], namespace?: string): Case[] => [
    [`POST ${rbac}/${namespace ? `namespaces/${namespace}/roles` : "clusterroles"}`, { metadata: { name: `may-${name}` }, rules }],
    [`POST ${rbac}/${namespace ? `namespaces/${namespace}/rolebindings` : "clusterrolebindings"}`, { metadata: { name: `may-${name}` }, roleRef: { apiGroup: group, kind: namespace ? "Role" : "ClusterRole", name: `may-${name}` }, subjects: [subject(name)] }],
  ];
  const edits = { verbs: ["*"], apiGroups: [group], resources: ["roles", "rolebindings", "clusterroles", "clusterrolebindings"], resourceNames: [] };
  const writes = { ...edits, verbs: ["create", "update", "patch", "delete", "get"] };
  const secrets = { verbs: ["get"], apiGroups: [""], resources: ["secrets"] };
  const star = { verbs: ["*"], apiGroups: ["*"], resources: ["*"] };
  await setUp(
    ...may("esc", [writes, { verbs: ["escalate"], apiGroups: [group], resources: ["clusterroles"], resourceNames: ["free"] }]),
    ...may("binder", [writes, { verbs: ["bind"], apiGroups: [group], resources: ["clusterroles"], resourceNames: ["view"] }, { verbs: ["bind"], apiGroups: [group], resources: ["roles"] }]),
    ...may("every", [edits]),
    ...may("local", [writes, secrets], "default"),
    ...may("stars", [writes, { verbs: ["*"], apiGroups: [""], resources: ["*"] }, { verbs: ["get"], apiGroups: ["apps"], resources: ["*/status", "deployments"] }, { verbs: ["get"], nonResourceURLs: ["*"] }]),
    ...may("broken", [writes]),
    [`POST ${rbac}/clusterrolebindings`, { metadata: { name: "broken" }, roleRef: { apiGroup: group, kind: "ClusterRole", name: "nowhere" }, subjects: [subject("broken")] }],
    [`POST ${rbac}/clusterroles`, { metadata: { name: "wide" }, rules: [star] }],
    [`POST ${rbac}/namespaces/default/roles`, { metadata: { name: "deep" }, rules: [secrets] }],
  );
  const clusterRole = (who: string, name: string, rules: Json[]): Case => [`POST ${rbac}/clusterroles`, { metadata: { name }, rules }, as(who)];
  const role = (who: string, name: string, rules: Json[]): Case => [`POST ${rbac}/namespaces/default/roles`, { metadata: { name }, rules }, as(who)];
  const bind = (who: string, name: string, kind: string, to: string, namespace?: string): Case => [`POST ${rbac}/${namespace ? `namespaces/${namespace}/rolebindings` : "clusterrolebindings"}`, { metadata: { name }, roleRef: { apiGroup: group, kind, name: to }, subjects: [subject("x")] }, as(who)];
  await same(
    clusterRole("esc", "free", [star]),
    clusterRole("esc", "bound", [secrets]),
    role("esc", "free", [secrets]),
    [`PATCH ${rbac}/clusterroles/free`, { rules: [star, secrets] }, as("esc", merge)],
    [`PATCH ${rbac}/clusterroles/wide`, { rules: [star, secrets] }, as("esc", merge)],
    // Labels are no rights.
    [`PATCH ${rbac}/clusterroles/wide`, { metadata: { labels: { a: "b" } } }, as("esc", merge)],
    [`PATCH ${rbac}/clusterroles/applied?fieldManager=m`, { apiVersion: `${group}/v1`, kind: "ClusterRole", metadata: { name: "applied" }, rules: [secrets] }, as("esc", apply)],
    [`PUT ${rbac}/clusterroles/made`, { metadata: { name: "made" }, rules: [secrets] }, as("esc")],
    [`PUT ${rbac}/clusterroles/made`, { metadata: { name: "made" }, rules: [] }, as("esc")],
    clusterRole("every", "all", [star]),
    clusterRole("every", "roles", [edits]),
    bind("every", "all", "ClusterRole", "wide"),
    bind("binder", "view", "ClusterRole", "view"),
    bind("binder", "view", "ClusterRole", "view", "default"),
    bind("binder", "wide", "ClusterRole", "wide", "default"),
    bind("binder", "deep", "Role", "deep", "default"),
    bind("binder", "absent", "Role", "absent", "default"),
    [`PATCH ${rbac}/rolebindings`, {}, as("binder", merge)],
    [`PATCH ${rbac}/namespaces/default/rolebindings/deep`, { subjects: [subject("y")] }, as("binder", merge)],
    [`PATCH ${rbac}/namespaces/default/rolebindings/deep`, { subjects: [subject("z")] }, as("esc", merge)],
    [`PATCH ${rbac}/namespaces/default/rolebindings/deep`, { metadata: { labels: { a: "b" } } }, as("esc", merge)],
    [`DELETE ${rbac}/namespaces/default/rolebindings/deep`, undefined, as("esc")],
    role("local", "own", [secrets]),
    role("local", "more", [{ ...secrets, verbs: ["get", "list"] }]),
    clusterRole("local", "own", [secrets]),
    bind("local", "own", "Role", "deep", "default"),
    bind("local", "own", "Role", "deep", "kube-system"),
    role("stars", "covered", [{ verbs: ["get", "delete"], apiGroups: [""], resources: ["pods", "secrets"] }, { verbs: ["get"], apiGroups: ["apps"], resources: ["deployments/status"] }]),
    role("stars", "not", [{ verbs: ["get"], apiGroups: ["apps"], resources: ["deployments/scale", "replicasets"] }, { verbs: ["get"], apiGroups: ["*"], resources: ["*"] }]),
    clusterRole("stars", "addresses", [{ verbs: ["get"], nonResourceURLs: ["/a", "/b/*"] }]),
    clusterRole("broken", "more", [secrets]),
    [`POST ${rbac}/clusterroles`, { metadata: { name: "gathers" }, aggregationRule: { clusterRoleSelectors: [{}] } }, as("every")],
    [`POST ${rbac}/clusterroles`, { metadata: { name: "gathers-nothing" }, aggregationRule: { clusterRoleSelectors: [] } }],
    [`POST ${rbac}/clusterroles`, { metadata: { name: "gathers-badly" }, aggregationRule: { clusterRoleSelectors: [{ matchExpressions: [{ key: "a", operator: "Near" }] }] } }],
    [`DELETE ${rbac}/clusterroles?labelSelector=a%3Db`, undefined, as("esc")],
  );
});

test("a deletion that passes over what cannot be read is asked for alike", { skip }, async () => {
  await setUp([`POST ${core}/configmaps`, { metadata: { name: "unsafe" } }]);
  const options = (more: Json): Json => ({ apiVersion: "v1", kind: "DeleteOptions", ...more });
  await same(
    [`DELETE ${core}/configmaps/unsafe?ignoreStoreReadErrorWithClusterBreakingPotential=true&dryRun=All`],
    [`DELETE ${core}/configmaps/unsafe`, options({ ignoreStoreReadErrorWithClusterBreakingPotential: true, dryRun: ["All"] })],
    [`DELETE ${core}/configmaps/unsafe`, options({ ignoreStoreReadErrorWithClusterBreakingPotential: true, gracePeriodSeconds: 5 })],
    [`DELETE ${core}/configmaps/unsafe`, options({ ignoreStoreReadErrorWithClusterBreakingPotential: true, propagationPolicy: "Orphan" })],
    [`DELETE ${core}/configmaps/unsafe`, options({ ignoreStoreReadErrorWithClusterBreakingPotential: true, preconditions: { uid: "x" } })],
    [`DELETE ${core}/configmaps?labelSelector=a%3Db`, options({ ignoreStoreReadErrorWithClusterBreakingPotential: true })],
    [`DELETE ${core}/configmaps/unsafe`, options({ ignoreStoreReadErrorWithClusterBreakingPotential: false })],
    [`DELETE ${core}/configmaps/unsafe?ignoreStoreReadErrorWithClusterBreakingPotential=true`],
  );
});
