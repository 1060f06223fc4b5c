import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import type { KubeObject } from "../../src/api/meta.ts";
import { hasKubectl, startApi, type TestApi } from "../harness-api.ts";

/** Who may do what: certificates, tokens, roles; 401 and 403 in upstream's words. */
async function start(t: TestContext): Promise<TestApi> {
  const server = await startApi();
  t.after(() => server[Symbol.asyncDispose]());
  return server;
}
const path = (resource: string) => `/api/v1/namespaces/default/${resource}`;
const pod = { metadata: { name: "p" }, spec: { nodeName: "wherry", containers: [{ name: "c", image: "a" }] } };

async function tokenFor(server: TestApi, spec: object, account = "default"): Promise<string> {
  const answer = await server.client.create<KubeObject>(resources.serviceAccounts, "default", { spec }, { subresource: "token", name: account });
  return (answer["status"] as { token: string }).token;
}

test("without credentials only health and version answer; wrong ones are 401", async (t) => {
  const server = await start(t);
  const nobody = server.http({});
  for (const open of ["/healthz", "/livez", "/readyz", "/version"]) assert.equal((await nobody.raw("GET", open)).status, 200, open);
  for (const shut of ["/", "/api", "/metrics", "/openapi/v3", path("pods")]) await assert.rejects(nobody.raw("GET", shut), { code: 401, reason: "Unauthorized", message: "Unauthorized" }, shut);
  const good = await tokenFor(server, {});
  const [head, body] = good.split(".");
  const unsigned = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${body}.`;
  for (const token of ["nonsense", `${head}.${body}.${"A".repeat(86)}`, unsigned, `${good.slice(0, -2)}xx`]) await assert.rejects(server.http({ token }).raw("GET", path("pods")), { code: 401 }, token);
});

test("certificates of another authority are nobody's", async (t) => {
  const server = await start(t);
  const other = await start(t);
  await assert.rejects(server.http(other.pki.admin).raw("GET", path("pods")), { code: 401 });
});

test("a client certificate says name and groups; roles say what they may", async (t) => {
  const server = await start(t);
  const ann = server.http(await server.pki.issueClient("ann", ["team"]));
  await assert.rejects(ann.raw("GET", path("pods")), { code: 403, reason: "Forbidden", message: 'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"' });
  await assert.rejects(ann.raw("GET", "/api/v1/nodes/wherry"), { code: 403, message: 'nodes "wherry" is forbidden: User "ann" cannot get resource "nodes" in API group "" at the cluster scope' });
  await assert.rejects(ann.raw("GET", "/metrics"), { code: 403, message: 'forbidden: User "ann" cannot get path "/metrics"' });
  assert.equal((await ann.raw("GET", "/apis")).status, 200);
  const bind = (role: string, name: string) => server.client.create(resources.roleBindings, "default", { metadata: { name }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role }, subjects: [{ kind: "Group", apiGroup: "rbac.authorization.k8s.io", name: "team" }] });
  await bind("view", "team-views");
  assert.equal((await ann.list(resources.pods, { namespace: "default" })).items.length, 0);
  await assert.rejects(ann.list(resources.secrets, { namespace: "default" }), { code: 403 });
  await assert.rejects(ann.list(resources.pods, { namespace: "kube-system" }), { code: 403 });
  await assert.rejects(ann.create(resources.configMaps, "default", { metadata: { name: "c" } }), { code: 403 });
  await bind("edit", "team-edits");
  await ann.create(resources.configMaps, "default", { metadata: { name: "c" } });
});

test("nobody grants what he does not hold", async (t) => {
  const server = await start(t);
  const ann = server.http(await server.pki.issueClient("ann", []));
  await server.client.create(resources.roleBindings, "default", { metadata: { name: "ann" }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "admin" }, subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "ann" }] });
  const role = (rules: object[]) => ({ metadata: { name: `r${Math.random().toString(36).slice(2)}` }, rules });
  await ann.create(resources.roles, "default", role([{ verbs: ["get"], apiGroups: [""], resources: ["pods"] }]));
  await assert.rejects(ann.create(resources.roles, "default", role([{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }])), { code: 403, message: /is attempting to grant RBAC permissions not currently held:\n\{APIGroups:\["\*"\], Resources:\["\*"\], Verbs:\["\*"\]\}/ });
  const binding = (name: string) => ({ metadata: { name }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name }, subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: "bob" }] });
  await ann.create(resources.roleBindings, "default", binding("view"));
  await assert.rejects(ann.create(resources.roleBindings, "default", binding("cluster-admin")), { code: 403 });
});

test("a pod's token speaks for its account until the pod is gone", async (t) => {
  const server = await start(t);
  await server.client.create(resources.pods, "default", pod);
  const token = await tokenFor(server, { expirationSeconds: 3607, boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "p" } });
  const http = server.http({ token });
  const who = JSON.parse((await http.raw("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", { kind: "SelfSubjectReview", apiVersion: "authentication.k8s.io/v1" })).text) as { status: { userInfo: { username: string; groups: string[]; extra: Record<string, string[]> } } };
  assert.equal(who.status.userInfo.username, "system:serviceaccount:default:default");
  assert.deepEqual(who.status.userInfo.groups, ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]);
  assert.deepEqual(who.status.userInfo.extra["authentication.kubernetes.io/pod-name"], ["p"]);
  await assert.rejects(http.raw("GET", path("pods")), { code: 403, message: /User "system:serviceaccount:default:default" cannot list resource "pods"/ });
  await server.client.delete(resources.pods, "default", "p", { gracePeriodSeconds: 0 });
  await assert.rejects(http.raw("GET", path("pods")), { code: 401 });
});

test("token requests are checked, and tokens for others are not for us", async (t) => {
  const server = await start(t);
  await assert.rejects(tokenFor(server, { expirationSeconds: 5 }), { code: 422, message: /spec\.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes/ });
  await assert.rejects(tokenFor(server, {}, "nobody"), { code: 404, message: 'serviceaccounts "nobody" not found' });
  const vault = await tokenFor(server, { audiences: ["vault"] });
  await assert.rejects(server.http({ token: vault }).raw("GET", path("pods")), { code: 401 });
  const review = async (spec: object) => (JSON.parse((await server.http().raw("POST", "/apis/authentication.k8s.io/v1/tokenreviews", { kind: "TokenReview", apiVersion: "authentication.k8s.io/v1", spec })).text) as { status: { authenticated?: boolean; audiences?: string[] } }).status;
  assert.deepEqual((await review({ token: vault, audiences: ["vault", "other"] })).audiences, ["vault"]);
  assert.equal((await review({ token: vault })).authenticated, undefined);
  await server.client.delete(resources.serviceAccounts, "default", "default");
  assert.equal((await review({ token: vault, audiences: ["vault"] })).authenticated, undefined);
});

test("who reaches the unix socket is an administrator", async (t) => {
  const server = await start(t);
  const { createHttpClient } = await import("../../src/api/http-client.ts");
  const local = createHttpClient({ socketPath: server.socketPath, userAgent: "wherry-test" });
  t.after(() => local.close());
  await local.create(resources.configMaps, "default", { metadata: { name: "c" } });
  const events: string[] = [];
  for await (const { type, object } of local.watch(resources.configMaps, { namespace: "default" })) {
    events.push(`${type} ${object.metadata.name}`);
    break;
  }
  assert.deepEqual(events, ["ADDED c"]);
});

test("kubectl auth can-i answers for the one who asks", async (t) => {
  if (!(await hasKubectl(t, "1.33"))) return;
  const server = await start(t);
  const kubeconfig = server.kubeconfig("ann", await server.pki.issueClient("ann", []));
  const asked = await server.kubectl("1.33", ["auth", "can-i", "list", "pods"], { kubeconfig });
  assert.deepEqual([asked.stdout, asked.code], ["no\n", 1]);
  const refused = await server.kubectl("1.33", ["get", "pods"], { kubeconfig });
  assert.equal(refused.stderr, 'Error from server (Forbidden): pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"\n');
  const rules = await server.kubectl("1.33", ["auth", "can-i", "--list"], { kubeconfig });
  assert.match(rules.stdout, /selfsubjectaccessreviews\.authorization\.k8s\.io +\[\] +\[\] +\[create\]/);
});

test("kubectl --as acts with the other's rights, and only for those who may", async (t) => {
  if (!(await hasKubectl(t, "1.33"))) return;
  const server = await start(t);
  const as = (...args: string[]) => server.kubectl("1.33", args);
  assert.equal((await as("auth", "can-i", "list", "pods")).stdout, "yes\n");
  assert.equal((await as("auth", "can-i", "list", "pods", "--as=bob")).stdout, "no\n");
  assert.match((await as("auth", "whoami", "--as=bob", "--as-group=a", "--as-group=b")).stdout, /Username +bob\nGroups +\[a b system:authenticated\]/);
  assert.match((await as("get", "pods", "--as=system:serviceaccount:default:default")).stderr, /User "system:serviceaccount:default:default" cannot list resource "pods"/);
  const ann = server.http(await server.pki.issueClient("ann", []));
  await assert.rejects(ann.raw("GET", path("pods"), undefined, { "impersonate-user": "root" }), { code: 403, message: 'users "root" is forbidden: User "ann" cannot impersonate resource "users" in API group "" at the cluster scope' });
  await assert.rejects(server.http().raw("GET", path("pods"), undefined, { "impersonate-group": "a" }), { code: 400 });
});

test("a handle that somebody else has bound is served", async (t) => {
  const server = await start(t);
  const { bindHandle } = await import("../../src/base/handles.ts");
  const bound = bindHandle("127.0.0.1", 0);
  assert.ok(bound.handle);
  server.listen(bound.handle);
  const { createHttpClient } = await import("../../src/api/http-client.ts");
  const client = createHttpClient({ url: `https://127.0.0.1:${bound.port}`, ca: server.pki.ca, ...server.pki.admin });
  t.after(() => client.close());
  assert.equal((await client.get(resources.namespaces, undefined, "default")).metadata.name, "default");
});

test("what is not served is refused, not answered with something else", async (t) => {
  const server = await start(t);
  await server.client.create(resources.pods, "default", pod);
  const http = server.http();
  await assert.rejects(http.raw("GET", "/api/v1/nodes/wherry/proxy/pods"), { code: 501 });
  await assert.rejects(http.raw("GET", `${path("pods")}/p/eviction`), { code: 405 });
  await assert.rejects(http.raw("GET", `${path("pods")}/p/nonsense`), { code: 404 });
});

test("a Binding places its pod, with or without the pod's address", async (t) => {
  const server = await start(t);
  const http = server.http();
  for (const [name, place] of [["a", path("bindings")], ["b", `${path("pods")}/b/binding`]] as const) {
    await server.client.create(resources.pods, "default", { metadata: { name }, spec: { containers: [{ name: "c", image: "a" }] } });
    await http.raw("POST", place, { apiVersion: "v1", kind: "Binding", metadata: { name }, target: { kind: "Node", name: "wherry" } });
    assert.equal((await server.client.get(resources.pods, "default", name)).spec.nodeName, "wherry");
    await assert.rejects(http.raw("POST", place, { apiVersion: "v1", kind: "Binding", metadata: { name }, target: { kind: "Node", name: "other" } }), { code: 409 });
  }
});
