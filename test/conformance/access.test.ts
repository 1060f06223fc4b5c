import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, sign, verify, X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import { openStructuredAuthentication } from "../../src/apiserver/authn/oidc/authenticator.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { makeRequest } from "../../src/api/kinds/certificates/testing/request.ts";
import { bootstrapRbac } from "../../src/apiserver/authz/bootstrap-roles.ts";
import { certificateCleaner, certificateSigner } from "../../src/controllers/certificates/signer.ts";
import { clusterRoleAggregationController } from "../../src/controllers/cluster-role-aggregation/plan.ts";
import { resources } from "../../src/api/resources.ts";
import type { KubeObject } from "../../src/api/meta.ts";
import { runControllers } from "../controllers.ts";
import { hasKubectl, startApi, type TestApi } from "../harness-api.ts";

/** Who may do what, as kubectl asks and shows it. */
const minor = "1.33";
const commands = (api: TestApi) => async (command: string, input?: string): Promise<string> => {
  const { stdout, stderr } = await api.kubectl(minor, command.split(" "), { ...(input !== undefined && { input }) });
  return `${stdout}${stderr}`.trim();
};

test("kubectl asks who may do what", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  await using api = await startApi();
  const kubectl = commands(api);
  await kubectl("create role reads --verb=get,list --resource=pods,pods/log");
  await kubectl("create role one --verb=update --resource=configmaps --resource-name=settings");
  await kubectl("apply -f -", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: scales}\nrules: [{apiGroups: [apps], resources: ['*/scale'], verbs: [patch]}]");
  await kubectl("create clusterrole pages --verb=get --non-resource-url=/logs/*");
  for (const role of ["role=reads", "role=one", "clusterrole=scales"]) await kubectl(`create rolebinding ${role.split("=")[1]} --${role} --user=bob`);
  await kubectl("create clusterrolebinding pages --clusterrole=pages --group=team");
  const table: [question: string, answer: string][] = [
    ["list pods --as=bob", "yes"],
    ["list pods --as=bob -n kube-system", "no"],
    ["delete pods --as=bob", "no"],
    ["get pods/p --as=bob", "yes"],
    ["get pods --subresource=log --as=bob", "yes"],
    ["get pods --subresource=exec --as=bob", "no"],
    ["update configmaps/settings --as=bob", "yes"],
    ["update configmaps/other --as=bob", "no"],
    ["update configmaps --as=bob", "no"],
    ["patch deployments.apps --subresource=scale --as=bob", "yes"],
    ["patch statefulsets.apps --subresource=scale --as=bob", "yes"],
    ["patch deployments.apps --as=bob", "no"],
    ["get /logs/today --as=bob --as-group=team", "yes"],
    ["get /logs/today --as=bob", "no"],
    ["get /metrics --as=bob --as-group=team", "no"],
    ["* * --as=bob", "no"],
    ["* *", "yes"],
    ["get pods --as=system:serviceaccount:default:default", "no"],
  ];
  const answers = await Promise.all(table.map(async ([question]) => [question, (await kubectl(`auth can-i ${question}`)).split("\n").at(-1)]));
  assert.deepEqual(answers, table);
  const listed = (await kubectl("auth can-i --list --as=bob")).split("\n").map((line) => line.trim().split(/\s{2,}/));
  assert.deepEqual(listed.filter(([name]) => /^(pods|configmaps|\*)/.test(name!)), [["pods/log", "[]", "[]", "[get list]"], ["pods", "[]", "[]", "[get list]"], ["*.apps/scale", "[]", "[]", "[patch]"], ["configmaps", "[]", "[settings]", "[update]"]]);
  assert.match(await kubectl("auth whoami --as=bob --as-group=team --as-uid=7 -o jsonpath={.status.userInfo}"), /^\{"groups":\["team","system:authenticated"\],"uid":"7","username":"bob"\}$/);
});

test("reviews that make no sense are refused in upstream's words", async () => {
  await using api = await startApi();
  const group = "authorization.k8s.io";
  const resourceAttributes = { namespace: "default", verb: "get", resource: "pods" };
  const nonResourceAttributes = { path: "/x", verb: "get" };
  const table: [kind: string, spec: object, message: RegExp | undefined][] = [
    ["SubjectAccessReview", { user: "bob", resourceAttributes }, undefined],
    ["SubjectAccessReview", { groups: ["team"], nonResourceAttributes }, undefined],
    ["SubjectAccessReview", { resourceAttributes }, /^\.authorization\.k8s\.io "" is invalid: spec\.user: Invalid value: "": at least one of user or group must be specified$/],
    ["SubjectAccessReview", { user: "bob" }, /spec\.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified$/],
    ["SubjectAccessReview", { user: "bob", resourceAttributes, nonResourceAttributes }, /spec\.nonResourceAttributes: Invalid value: .*: cannot be specified in combination with resourceAttributes$/],
    ["SelfSubjectAccessReview", {}, /^\.authorization\.k8s\.io "" is invalid: spec\.resourceAttributes/],
    ["LocalSubjectAccessReview", { user: "bob", resourceAttributes }, undefined],
    ["LocalSubjectAccessReview", { user: "bob", nonResourceAttributes }, /disallowed on this kind of request$/],
    ["LocalSubjectAccessReview", { user: "bob", resourceAttributes: { ...resourceAttributes, namespace: "other" } }, /spec\.resourceAttributes\.namespace: Invalid value: "other": must match metadata\.namespace$/],
    ["SelfSubjectRulesReview", {}, /^no namespace on request$/],
  ];
  for (const [kind, spec, message] of table) {
    const place = kind.startsWith("Local") ? "namespaces/default/" : "";
    const asked = api.http().raw("POST", `/apis/${group}/v1/${place}${kind.toLowerCase()}s`, { apiVersion: `${group}/v1`, kind, spec });
    if (message) await assert.rejects(asked, { message }, `${kind} ${JSON.stringify(spec)}`);
    else assert.equal(JSON.parse((await asked).text).status.allowed, false);
  }
});

test("nobody hands on what he does not hold", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  await using api = await startApi();
  const kubectl = commands(api);
  await kubectl("create clusterrole manages --verb=* --resource=clusterroles,clusterrolebindings,roles,rolebindings");
  await kubectl("create clusterrole reads --verb=get,list --resource=pods");
  for (const role of ["manages", "reads"]) await kubectl(`create clusterrolebinding ${role} --clusterrole=${role} --user=ann`);
  const table: [command: string, answer: string][] = [
    ["create role fine --verb=get --resource=pods", "role.rbac.authorization.k8s.io/fine created"],
    // `*` on roles holds escalate and bind as well.
    ["create role more --verb=get,list,delete,watch --resource=pods,secrets", "role.rbac.authorization.k8s.io/more created"],
  ];
  for (const [command, answer] of table) assert.equal(await kubectl(`${command} --as=ann`), answer);
  await kubectl("delete clusterrole manages");
  await kubectl("create clusterrole manages --verb=create,update,get,patch --resource=clusterroles,clusterrolebindings,roles,rolebindings");
  const forbidden = (kind: string, name: string, text: string): string => `${kind}.rbac.authorization.k8s.io "${name}" is forbidden: ${text}`;
  const grant = (lines: string): string => `user "ann" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n${lines}`;
  const strict: [command: string, answer: string][] = [
    ["create role fine2 --verb=get --resource=pods", "role.rbac.authorization.k8s.io/fine2 created"],
    ["create role more2 --verb=watch,delete,get --resource=secrets,pods", `${forbidden("roles", "more2", grant('{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}\n{APIGroups:[""], Resources:["secrets"], Verbs:["watch" "delete" "get"]}'))}`],
    ["create clusterrolebinding own --clusterrole=reads --user=bob", "clusterrolebinding.rbac.authorization.k8s.io/own created"],
    ["create clusterrolebinding top --clusterrole=cluster-admin --user=bob", `${forbidden("clusterrolebindings", "top", grant('{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}'))}`],
    ["create clusterrolebinding none --clusterrole=absent --user=bob", `clusterrolebindings.rbac.authorization.k8s.io "absent" not found`],
    ["create clusterrole gathers --aggregation-rule=a=b", `${forbidden("clusterroles", "gathers", "must have cluster-admin privileges to use the aggregationRule")}`],
  ];
  for (const [command, answer] of strict) assert.equal((await kubectl(`${command} --as=ann`)).replace(/^(Error from server \(\w+\)|error: failed to create \w+): /, ""), answer);
});

test("what is taken from the first roles comes back, what was added stays", async () => {
  await using api = await startApi();
  const { client } = api;
  const mine = { verbs: ["get"], apiGroups: ["example.com"], resources: ["things"] };
  const before = await client.get<KubeObject & { rules: object[] }>(resources.clusterRoles, undefined, "system:basic-user");
  await client.patch(resources.clusterRoles, undefined, "system:basic-user", { metadata: { labels: null }, rules: [mine] });
  await client.patch(resources.clusterRoles, undefined, "system:monitoring", { metadata: { annotations: { "rbac.authorization.kubernetes.io/autoupdate": "false" } }, rules: [mine] });
  await client.patch(resources.clusterRoleBindings, undefined, "system:discovery", { subjects: [] });
  await client.delete(resources.clusterRoles, undefined, "view");
  await bootstrapRbac(client);
  const after = await client.get<KubeObject & { rules: { resources?: string[]; verbs: string[] }[] }>(resources.clusterRoles, undefined, "system:basic-user");
  assert.deepEqual(after.metadata.labels, before.metadata.labels);
  assert.deepEqual(after.rules[0], mine);
  assert.deepEqual(new Set(after.rules.slice(1).flatMap((rule) => rule.resources!)), new Set(["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"]));
  assert.deepEqual((await client.get<KubeObject>(resources.clusterRoles, undefined, "system:monitoring"))["rules"], [mine]);
  assert.equal(((await client.get<KubeObject>(resources.clusterRoleBindings, undefined, "system:discovery"))["subjects"] as object[]).length, 1);
  assert.ok(await client.get(resources.clusterRoles, undefined, "view"));
});

test("a role with the right label makes admin, edit and view more", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  await using api = await startApi();
  await using controllers = await runControllers(api.client, [clusterRoleAggregationController]);
  const kubectl = commands(api);
  await kubectl("create rolebinding eve --clusterrole=admin --user=eve");
  assert.match(await kubectl("auth can-i get podtemplates --as=eve"), /^no\b/);
  await kubectl("apply -f -", "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: backups, labels: {rbac.authorization.k8s.io/aggregate-to-view: 'true'}}\nrules: [{apiGroups: [''], resources: [podtemplates], verbs: [get]}]");
  assert.match(await kubectl("auth can-i get podtemplates --as=eve"), /^yes\b/);
  // From view to edit to admin, each by its own label.
  await controllers.until(resources.clusterRoles, "admin", (role) => JSON.stringify(role["rules"]).includes("podtemplates"));
  assert.match(await kubectl("describe clusterrole admin"), /podtemplates +\[\] +\[\] +\[get\]/);
  await kubectl("delete clusterrole backups");
  await controllers.until(resources.clusterRoles, "admin", (role) => !JSON.stringify(role["rules"]).includes("podtemplates"));
  assert.match(await kubectl("auth can-i get podtemplates --as=eve"), /^no\b/);
});

test("kubectl certificate approve: the certificate that comes of it lets in whom it names", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  await using api = await startApi();
  await using controllers = await runControllers(api.client, [certificateSigner((wish) => api.pki.sign(wish), (object) => api.client.update(resources.certificateSigningRequests, undefined, object.metadata.name, object, { subresource: "status" })), certificateCleaner]);
  const kubectl = commands(api);
  const ask = async (name: string, subject: string, more: object = {}, as = ""): Promise<{ key: string; answer: string }> => {
    const { request, key } = await makeRequest({ name: subject });
    const spec = { request: Buffer.from(request).toString("base64"), signerName: "kubernetes.io/kube-apiserver-client", usages: ["client auth"], expirationSeconds: 3600, ...more };
    return { key, answer: await kubectl(`apply -f -${as}`, JSON.stringify({ apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest", metadata: { name }, spec })) };
  };
  await kubectl("create clusterrole asks --verb=create,get,patch,update --resource=certificatesigningrequests,certificatesigningrequests/approval");
  await kubectl("create clusterrolebinding asks --clusterrole=asks --user=ann");

  const { key, answer } = await ask("ann", "O=team, CN=ann", {}, " --as=ann");
  assert.equal(answer, "certificatesigningrequest.certificates.k8s.io/ann created", "and no warning that nothing is done about it");
  assert.match(await kubectl("get csr ann"), /ann +\d+s +kubernetes\.io\/kube-apiserver-client +ann +60m +Pending$/);
  assert.equal(await kubectl("certificate approve ann --as=ann"), 'Error from server (Forbidden): certificatesigningrequests.certificates.k8s.io "ann" is forbidden: user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"');
  await kubectl("create clusterrolebinding approves --clusterrole=system:certificates.k8s.io:kube-apiserver-client-approver --user=ann");
  assert.equal(await kubectl("certificate approve ann --as=ann"), "certificatesigningrequest.certificates.k8s.io/ann approved");
  const issued = await controllers.until(resources.certificateSigningRequests, "ann", (object) => (object["status"] as { certificate?: string })?.certificate !== undefined);
  assert.match(await kubectl("get csr ann"), /Approved,Issued$/);
  const cert = Buffer.from((issued["status"] as { certificate: string }).certificate, "base64").toString();
  const { validFrom, validTo, ca, subject, keyUsage } = new X509Certificate(cert);
  assert.deepEqual([ca, subject, keyUsage], [false, "O=team\nCN=ann", ["1.3.6.1.5.5.7.3.2"]]);
  assert.equal((Date.parse(validTo) - Date.parse(validFrom)) / 60_000, 65);
  const whoami = await api.kubectl(minor, ["auth", "whoami", "-o", "jsonpath={.status.userInfo}"], { kubeconfig: api.kubeconfig("ann", { cert, key }) });
  const fingerprint = new X509Certificate(cert).fingerprint256.replaceAll(":", "").toLowerCase();
  assert.deepEqual(JSON.parse(whoami.stdout), { username: "ann", groups: ["team", "system:authenticated"], extra: { "authentication.kubernetes.io/credential-id": [`X509SHA256=${fingerprint}`] } });

  assert.match((await ask("top", "O=system:masters, CN=ann")).answer, /is forbidden: use of kubernetes\.io\/kube-apiserver-client signer with system:masters group is not allowed$/);
  await ask("no", "CN=bob");
  assert.equal(await kubectl("certificate deny no"), "certificatesigningrequest.certificates.k8s.io/no denied");
  assert.equal(await kubectl("certificate approve no"), 'error: certificate signing request "no" is already Denied');
  await ask("wrong", "CN=bob", { usages: ["server auth"] });
  await kubectl("certificate approve wrong");
  await controllers.until(resources.certificateSigningRequests, "wrong", (object) => JSON.stringify(object["status"]).includes("invalid usage for client certificate: server auth"));
  await ask("foreign", "CN=bob", { signerName: "example.com/mine" });
  await kubectl("certificate approve foreign");
  assert.deepEqual((await kubectl("get csr --no-headers --sort-by=.metadata.name")).split("\n").map((line) => line.split(/\s+/)).map((row) => `${row[0]} ${row.at(-1)}`), ["ann Approved,Issued", "foreign Approved", "no Denied", "wrong Approved,Failed"]);
});

test("an issuer's token lets in whom its claims name, and nobody else", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  await using api = await startApi();
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const server = createServer({ key: api.pki.server.key, cert: api.pki.server.cert }, (request, response) => void response.end(JSON.stringify(request.url === "/keys" ? { keys: [{ ...keys.publicKey.export({ format: "jwk" }), kid: "k" }] } : { issuer: url, jwks_uri: `${url}/keys` })));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => (server.close(), server.closeAllConnections()));
  const url = `https://127.0.0.1:${(server.address() as { port: number }).port}`;
  const file = join(api.folder, "authentication.yaml");
  writeFileSync(file, JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "AuthenticationConfiguration", jwt: [{ issuer: { url, audiences: ["wherry"], certificateAuthority: api.pki.ca }, claimMappings: { username: { expression: "'oidc:' + claims.sub" }, groups: { claim: "groups", prefix: "oidc:" } } }] }));
  api.tokens.structured = openStructuredAuthentication({ file, clock: systemClock, log: silentLog, ownIssuers: [] });
  const tokenOf = (claims: object): string => {
    const content = [{ alg: "ES256", kid: "k" }, { iss: url, aud: "wherry", exp: Date.now() / 1000 + 600, ...claims }].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${content}.${sign("sha256", Buffer.from(content), { key: keys.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  };
  const as = (name: string, token: string) => async (command: string): Promise<string> => {
    const { stdout, stderr } = await api.kubectl(minor, command.split(" "), { kubeconfig: api.kubeconfig(name, { token }) });
    return `${stdout}${stderr}`.trim();
  };
  const token = tokenOf({ sub: "ann", groups: ["team"] });
  const ann = as("ann", token);
  assert.deepEqual(JSON.parse(await ann("auth whoami -o jsonpath={.status.userInfo}")), { username: "oidc:ann", groups: ["oidc:team", "system:authenticated"] });
  assert.equal(await ann("get pods"), 'Error from server (Forbidden): pods is forbidden: User "oidc:ann" cannot list resource "pods" in API group "" in the namespace "default"');
  await commands(api)("create rolebinding team --clusterrole=view --group=oidc:team");
  assert.equal(await ann("get pods"), "No resources found in default namespace.");
  assert.match(await as("late", tokenOf({ sub: "ann", exp: 1 }))("get pods"), /You must be logged in to the server/);
  const review = async (spec: object) => (await api.client.create<KubeObject>({ group: "authentication.k8s.io", version: "v1", resource: "tokenreviews" }, undefined, { spec }))["status"];
  assert.deepEqual(await review({ token }), { authenticated: true, user: { username: "oidc:ann", groups: ["oidc:team", "system:authenticated"] }, audiences: ["https://kubernetes.default.svc.cluster.local"] });
  assert.deepEqual(await review({ token, audiences: ["else"] }), { user: {}, error: "invalid bearer token" });
});

test("who checks tokens himself can: by the issuer's own documents", async () => {
  await using api = await startApi();
  const { status } = await api.client.create<KubeObject & { status: { token: string } }>(resources.serviceAccounts, "default", { spec: { audiences: ["vault"] } } as never, { subresource: "token", name: "default" });
  const http = api.http({ token: (await api.client.create<KubeObject & { status: { token: string } }>(resources.serviceAccounts, "default", { spec: {} } as never, { subresource: "token", name: "default" })).status.token });
  const discovery = JSON.parse((await http.raw("GET", "/.well-known/openid-configuration")).text) as { issuer: string; jwks_uri: string };
  const { keys } = JSON.parse((await http.raw("GET", new URL(discovery.jwks_uri).pathname)).text) as { keys: { kid: string }[] };
  const [head, body, signature] = status.token.split(".") as [string, string, string];
  const { kid } = JSON.parse(Buffer.from(head, "base64url").toString()) as { kid: string };
  const key = createPublicKey({ key: keys.find((one) => one.kid === kid)! as never, format: "jwk" });
  assert.equal(verify("sha256", Buffer.from(`${head}.${body}`), { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url")), true);
  assert.equal((JSON.parse(Buffer.from(body, "base64url").toString()) as { iss: string }).iss, discovery.issuer);
});
