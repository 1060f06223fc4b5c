import assert from "node:assert/strict";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import { hasKubectl, startApi, type TestApi } from "../harness-api.ts";

/** The traps of the API on the wire, with real kubectls over TLS. Streams have a file of their own. */
const minors = ["1.33", "1.32", "1.31"];

async function start(t: TestContext, options: Parameters<typeof startApi>[0] = {}): Promise<TestApi> {
  const server = await startApi(options);
  t.after(() => server[Symbol.asyncDispose]());
  return server;
}

const deployment = (image = "nginx:1", extra = "") => `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      ${extra}
      containers: [{name: c, image: "${image}", ports: [{containerPort: 80}]}]
`;

for (const minor of minors) {
  test(`trap 1: kubectl ${minor} create … is understood, whatever it sends`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    const commands = ["deployment d --image=nginx", "configmap c --from-literal=a=b", "secret generic s --from-literal=a=b", "job j --image=busybox -- echo hi", "cronjob cj --image=busybox --schedule=@daily -- echo hi", "namespace n", "role r --verb=get --resource=pods", "rolebinding rb --role=r --user=u", "ingress i --rule=foo.com/bar*=svc:8080", "poddisruptionbudget p --selector=app=x --min-available=1", "service clusterip sv --tcp=80:80", "serviceaccount sa", "quota q --hard=pods=2", "priorityclass pc --value=7"];
    for (const command of commands) {
      const { stdout, stderr, code } = await server.kubectl(minor, ["create", ...command.split(" ")]);
      assert.equal(code, 0, `${command}: ${stderr}`);
      assert.match(stdout, / created\n$/, command);
    }
    const token = await server.kubectl(minor, ["create", "token", "default"]);
    assert.match(token.stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n?$/, token.stderr);
  });

  test(`trap 8: kubectl ${minor} apply says created, unchanged, configured, and nothing moves for nothing`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    const apply = async (input: string) => (await server.kubectl(minor, ["apply", "-f", "-"], { input })).stdout;
    assert.equal(await apply(deployment()), "deployment.apps/web created\n");
    const before = await server.client.get(resources.deployments, "default", "web");
    assert.equal(await apply(deployment()), "deployment.apps/web unchanged\n");
    const same = await server.kubectl(minor, ["patch", "deployment", "web", "-p", '{"spec":{"replicas":2}}']);
    assert.equal(same.stdout, "deployment.apps/web patched (no change)\n");
    assert.equal((await server.client.get(resources.deployments, "default", "web")).metadata.resourceVersion, before.metadata.resourceVersion);
    assert.equal(await apply(deployment("nginx:2")), "deployment.apps/web configured\n");
  });

  test(`trap 7: kubectl ${minor} apply merges containers by name and keeps what others added`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    await server.kubectl(minor, ["apply", "-f", "-"], { input: deployment() });
    await server.kubectl(minor, ["patch", "deployment", "web", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"sidecar","image":"s:1"}]}}}}']);
    await server.kubectl(minor, ["apply", "-f", "-"], { input: deployment("nginx:2") });
    const { spec } = await server.client.get(resources.deployments, "default", "web");
    assert.deepEqual(spec.template.spec.containers.map((container: { name: string; image: string }) => `${container.name}=${container.image}`).sort(), ["c=nginx:2", "sidecar=s:1"]);
  });

  test(`trap 6: kubectl ${minor} prints tables, also while watching`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    await server.kubectl(minor, ["apply", "-f", "-"], { input: deployment() });
    const shown = await server.kubectl(minor, ["get", "deployment", "-o", "wide"]);
    assert.match(shown.stdout, /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE +CONTAINERS +IMAGES +SELECTOR\nweb +0\/2 +0 +0 +\d+s +c +nginx:1 +app=web\n$/);
    assert.match((await server.kubectl(minor, ["get", "deployment", "web"])).stdout, /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb +0\/2/);
    const child = server.spawnKubectl(minor, ["get", "configmap", "-w"]);
    let output = "";
    child.stdout!.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await server.client.create(resources.configMaps, "default", { metadata: { name: "first" } });
    while (!output.includes("first")) await once(child.stdout!, "data");
    await server.client.patch(resources.configMaps, "default", "first", { data: { a: "1" } });
    while (!/first +1 /.test(output)) await once(child.stdout!, "data");
    assert.match(output, /^NAME +DATA +AGE\nfirst +0 /);
  });

  test(`trap 10: kubectl ${minor} delete waits until the object is gone`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    await server.client.create(resources.configMaps, "default", { metadata: { name: "held", finalizers: ["example.com/hold"] } });
    const deleting = server.kubectl(minor, ["delete", "configmap", "held"]);
    for await (const { object } of server.client.watch<KubeObject>(resources.configMaps, { namespace: "default" })) if (object.metadata.deletionTimestamp) break;
    await server.client.patch(resources.configMaps, "default", "held", { metadata: { finalizers: null } });
    const { stdout, code, stderr } = await deleting;
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^configmap "held" deleted/);
    const again = await server.kubectl(minor, ["delete", "configmap", "held"]);
    assert.match(again.stderr, /^Error from server \(NotFound\): configmaps "held" not found\n$/);
  });

  test(`trap 17: kubectl ${minor} scale, also with a condition on the present size`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    await server.kubectl(minor, ["apply", "-f", "-"], { input: deployment() });
    assert.equal((await server.kubectl(minor, ["scale", "deployment", "web", "--replicas=3"])).stdout, "deployment.apps/web scaled\n");
    assert.equal((await server.kubectl(minor, ["scale", "deployment", "web", "--current-replicas=3", "--replicas=4"])).stdout, "deployment.apps/web scaled\n");
    assert.equal((await server.kubectl(minor, ["patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":5}}'])).code, 0);
    assert.equal((await server.client.get(resources.deployments, "default", "web")).spec.replicas, 5);
  });

  test(`kubectl ${minor}: bad input is refused in upstream's words`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    await server.kubectl(minor, ["apply", "-f", "-"], { input: deployment() });
    const apply = (input: string) => server.kubectl(minor, ["apply", "-f", "-"], { input });
    const pod = (spec: string) => `apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: a${spec}}]}\n`;
    const cases: [string, () => Promise<{ stderr: string; code: number }>, RegExp][] = [
      ["unknown field", () => apply(deployment("nginx:1", "foo: 1")), /strict decoding error: unknown field "spec\.template\.spec\.foo"/],
      ["wrong type", () => apply(deployment().replace("replicas: 2", 'replicas: "two"')), /^The request is invalid: patch: Invalid value: "map\[metadata:.* spec:map\[replicas:two\]\]": unrecognized type: int32\n$/],
      ["immutable selector", () => apply(deployment().replaceAll("app: web", "app: other")), /The Deployment "web" is invalid: spec\.selector: Invalid value: .*: field is immutable/],
      ["bad name", () => apply(pod("").replace("name: p}", "name: P_1}")), /The Pod "P_1" is invalid: metadata\.name: Invalid value: "P_1": a lowercase RFC 1123 subdomain must consist of/],
      ["nonsense quantity", () => apply(pod(", resources: {requests: {memory: 64 Megs}}")), /quantities must match the regular expression/],
      ["privileged", () => apply(pod(", securityContext: {privileged: true}")), /The Pod "p" is invalid: spec\.containers\[0\]\.securityContext\.privileged: Forbidden: .*remove the field/],
      ["patch that does not apply", () => server.kubectl(minor, ["patch", "deployment", "web", "--type=json", "-p", '[{"op":"remove","path":"/spec/nope"}]']), /the server rejected our request due to an error in our request/],
      ["unknown namespace", () => server.kubectl(minor, ["create", "configmap", "c", "-n", "nowhere"]), /namespaces "nowhere" not found/],
      ["taken name", () => server.kubectl(minor, ["create", "deployment", "web", "--image=a"]), /deployments\.apps "web" already exists/],
      ["no such kind", () => server.kubectl(minor, ["get", "gizmos"]), /the server doesn't have a resource type "gizmos"/],
      ["no object", () => apply("- a\n- b\n"), /error validating "STDIN": error validating data: invalid object to validate/],
      ["too large", () => server.kubectl(minor, ["create", "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "big" }, data: { a: "x".repeat(10_000_000) } }) }), /^Error from server \(RequestEntityTooLarge\): error when creating "STDIN": Request entity too large: limit is 3145728\n$/],
    ];
    for (const [name, attempt, words] of cases) {
      const { stderr, code } = await attempt();
      assert.notEqual(code, 0, name);
      assert.match(stderr, words, name);
    }
    const stale = await server.client.get(resources.deployments, "default", "web");
    await server.client.patch(resources.deployments, "default", "web", { metadata: { labels: { x: "y" } } });
    const replaced = await server.kubectl(minor, ["replace", "-f", "-"], { input: JSON.stringify(stale) });
    assert.match(replaced.stderr, /Operation cannot be fulfilled on deployments\.apps "web": the object has been modified; please apply your changes to the latest version and try again/);
  });

  test(`kubectl ${minor}: wait, label, annotate, dry run, chunks, explain, api-resources`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    const run = async (...args: string[]) => {
      const { stdout, stderr, code } = await server.kubectl(minor, args);
      assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
      return stdout;
    };
    await server.kubectl(minor, ["apply", "-f", "-"], { input: deployment() });
    const waiting = server.kubectl(minor, ["wait", "deployment/web", "--for=condition=Available", "--timeout=20s"]);
    await server.client.patch(resources.deployments, "default", "web", { status: { conditions: [{ type: "Available", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z", lastUpdateTime: "2026-01-01T00:00:00Z" }] } }, { subresource: "status" });
    assert.equal((await waiting).stdout, "deployment.apps/web condition met\n");
    assert.equal(await run("label", "deployment", "web", "tier=front"), "deployment.apps/web labeled\n");
    assert.match(await run("get", "deployment", "-l", "tier=front", "-o", "name"), /deployment\.apps\/web/);
    assert.equal(await run("annotate", "deployment", "web", "note=x"), "deployment.apps/web annotated\n");
    assert.equal(await run("create", "configmap", "dry", "--dry-run=server"), "configmap/dry created (server dry run)\n");
    assert.match((await server.kubectl(minor, ["get", "configmap", "dry"])).stderr, /NotFound/);
    for (let index = 0; index < 12; index++) await server.client.create(resources.configMaps, "default", { metadata: { name: `c${index}` } });
    assert.equal((await run("get", "configmap", "--chunk-size=5", "-o", "name")).trim().split("\n").length, 12);
    assert.match(await run("explain", "deployment.spec.replicas"), /FIELD: replicas <integer>/);
    assert.match(await run("api-resources", "--api-group=apps"), /deployments +deploy +apps\/v1 +true +Deployment/);
    assert.match(await run("get", "--raw", "/readyz?verbose"), /readyz check passed/);
    assert.match(await run("auth", "whoami"), /kubernetes-admin/);
  });
}

test("trap 2: kubectl 1.33 waits as a WatchList client, and the initial events end", async (t) => {
  if (!(await hasKubectl(t, "1.33"))) return;
  const server = await start(t);
  await server.kubectl("1.33", ["apply", "-f", "-"], { input: deployment() });
  const waiting = server.kubectl("1.33", ["wait", "deployment/web", "--for=condition=Available", "--timeout=20s"], { env: { KUBE_FEATURE_WatchListClient: "true" } });
  await server.client.patch(resources.deployments, "default", "web", { status: { conditions: [{ type: "Available", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z", lastUpdateTime: "2026-01-01T00:00:00Z" }] } }, { subresource: "status" });
  assert.equal((await waiting).stdout, "deployment.apps/web condition met\n");
  await server.client.create(resources.configMaps, "default", { metadata: { name: "c" } });
  const response = await server.http().raw("GET", "/api/v1/namespaces/default/configmaps?allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeoutSeconds=1&watch=true");
  const events = response.text.trim().split("\n").map((line) => JSON.parse(line) as { type: string; object: KubeObject });
  assert.deepEqual(events.slice(0, 2).map(({ type, object }) => `${type} ${object.metadata.name ?? object.metadata.annotations!["k8s.io/initial-events-end"]}`), ["ADDED c", "BOOKMARK true"]);
});

test("trap 3: discovery in every form, by exact content type, with 304", async (t) => {
  const server = await start(t);
  const get = (path: string, headers: Record<string, string>) => request(server, path, headers);
  const aggregated = (version: string) => `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;
  for (const version of ["v2", "v2beta1"]) {
    for (const path of ["/api", "/apis"]) {
      const answer = await get(path, { accept: `${aggregated(version)},application/json` });
      assert.equal(answer.headers["content-type"], aggregated(version));
      assert.match(String(answer.headers.vary), /Accept/);
      assert.equal((await get(path, { accept: `${aggregated(version)},application/json`, "if-none-match": String(answer.headers.etag) })).status, 304);
    }
  }
  const unknownProfile = await get("/apis", { accept: `${aggregated("v2")};profile=nopeer,${aggregated("v2")},application/json` });
  assert.equal(unknownProfile.headers["content-type"], aggregated("v2"));
  assert.equal((JSON.parse((await get("/apis", { accept: "application/json" })).text) as { kind: string }).kind, "APIGroupList");
  assert.equal((JSON.parse((await get("/api/v1", { accept: "application/json" })).text) as { kind: string }).kind, "APIResourceList");
});

test("trap 12, 13: a watch answers at once, and tells 410 and 504 as it must", async (t) => {
  const server = await start(t);
  const http = server.http();
  await assert.rejects(http.raw("GET", "/api/v1/configmaps?watch=true&resourceVersion=999999999"), { code: 504, reason: "Timeout" });
  await assert.rejects(http.raw("GET", "/api/v1/configmaps?resourceVersion=abc"), { code: 400 });
  const { resourceVersion } = (await server.client.list(resources.configMaps)).metadata;
  const events = http.watch(resources.configMaps, { namespace: "default", resourceVersion })[Symbol.asyncIterator]();
  const first = events.next();
  await server.client.create(resources.configMaps, "default", { metadata: { name: "now" } });
  assert.equal((await first).value!.object.metadata.name, "now");
  await events.return!();
});

test("trap 12: outside the window a watch, an exact list and a continue token get 410, and a way on", async (t) => {
  const server = await start(t, { store: { watchWindowEvents: 5 } });
  for (let index = 0; index < 5; index++) await server.client.create(resources.configMaps, "default", { metadata: { name: `c${index}` } });
  const http = server.http();
  const list = (query: string) => http.raw("GET", `/api/v1/namespaces/default/configmaps?${query}`).then(({ text }) => JSON.parse(text) as { metadata: { continue?: string; resourceVersion: string }; items: KubeObject[] });
  const first = await list("limit=2");
  for (let index = 0; index < 8; index++) await server.client.patch(resources.configMaps, "default", "c0", { data: { n: String(index) } });
  const old = first.metadata.resourceVersion;
  await assert.rejects(http.raw("GET", `/api/v1/configmaps?watch=true&resourceVersion=${old}`), { code: 410, reason: "Expired", message: new RegExp(`^too old resource version: ${old} \\(\\d+\\)$`) });
  await assert.rejects(list(`resourceVersion=${old}&resourceVersionMatch=Exact`), { code: 410, message: "The resourceVersion for the provided list is too old." });
  const expired = await list(`limit=2&continue=${first.metadata.continue}`).catch((error: { code: number; metadata: { continue: string } }) => error);
  assert.ok("code" in expired);
  assert.equal(expired.code, 410);
  const rest = await list(`limit=10&continue=${expired.metadata.continue}`);
  assert.deepEqual(rest.items.map(({ metadata }) => metadata.name), ["c2", "c3", "c4"]);
});

test("a watcher that does not read is ended with 410, and holds nobody up", async (t) => {
  const server = await start(t, { store: { watcherQueueEvents: 20, watchWindowBytes: 1 << 28 } });
  const { request: open } = await import("node:http");
  const call = open({ socketPath: server.socketPath, path: "/api/v1/namespaces/default/configmaps?watch=true", agent: false });
  call.end();
  const [slow] = (await once(call, "response")) as [import("node:http").IncomingMessage];
  slow.pause();
  const data = { blob: "x".repeat(900_000) };
  await server.client.create(resources.configMaps, "default", { metadata: { name: "big" }, data });
  for (let index = 0; index < 60; index++) await server.client.patch(resources.configMaps, "default", "big", { data: { n: String(index) } });
  let tail = "";
  for await (const chunk of slow) tail = (tail + String(chunk)).slice(-2000);
  const last = JSON.parse(tail.trim().split("\n").at(-1)!) as { type: string; object: { code: number; reason: string } };
  assert.deepEqual([last.type, last.object.code, last.object.reason], ["ERROR", 410, "Expired"]);
});

test("trap 19: one Event is seen in both groups, by all its fields", async (t) => {
  const server = await start(t);
  const http = server.http();
  await http.create(resources.events, "default", { metadata: { name: "e" }, involvedObject: { kind: "Pod", namespace: "default", name: "p", uid: "u" }, reason: "Started", message: "m", type: "Normal", firstTimestamp: "2026-01-01T00:00:00Z", lastTimestamp: "2026-01-01T00:00:00Z", count: 1, source: { component: "kubelet" } });
  const modern = (await http.list<KubeObject>({ group: "events.k8s.io", version: "v1", resource: "events" }, { namespace: "default" })).items[0]!;
  assert.deepEqual([modern["regarding"].name, modern["note"], modern["deprecatedCount"]], ["p", "m", 1]);
  for (const selector of ["involvedObject.uid=u", "involvedObject.name=p,involvedObject.kind=Pod", "reason=Started,type=Normal", "source=kubelet"]) assert.equal((await http.list(resources.events, { namespace: "default", fieldSelector: selector })).items.length, 1, selector);
  assert.equal((await http.list(resources.events, { namespace: "default", fieldSelector: "involvedObject.uid!=u" })).items.length, 0);
});

test("trap 22: quantities are canonical, int-or-string stays what it was", async (t) => {
  const server = await start(t);
  const made = await server.http().create<KubeObject>(resources.pods, "default", { metadata: { name: "p" }, spec: { containers: [{ name: "c", image: "a", ports: [{ containerPort: 80 }], readinessProbe: { httpGet: { port: "http" } }, livenessProbe: { httpGet: { port: 80 } }, resources: { requests: { cpu: "1000m", memory: "1024Ki" }, limits: { cpu: 1.5, memory: "1Mi" } } }] } });
  const [container] = made["spec"].containers;
  assert.deepEqual(container.resources, { limits: { cpu: "1500m", memory: "1Mi" }, requests: { cpu: "1", memory: "1Mi" } });
  assert.deepEqual([container.readinessProbe.httpGet.port, container.livenessProbe.httpGet.port], ["http", 80]);
});

test("trap 14: strict, warning and silent field validation, duplicates included", async (t) => {
  const server = await start(t);
  const body = '{"metadata":{"name":"c"},"data":{"a":"1","a":"2"},"foo":1}';
  const post = (mode: string) => request(server, `/api/v1/namespaces/default/configmaps?dryRun=All&fieldValidation=${mode}`, { "content-type": "application/json" }, body);
  const strict = await post("Strict");
  assert.equal(strict.status, 400);
  assert.match(strict.text, /strict decoding error: unknown field \\"foo\\", duplicate field \\"data\.a\\"|strict decoding error: duplicate field \\"data\.a\\", unknown field \\"foo\\"/);
  const warned = await post("Warn");
  assert.equal(warned.status, 201);
  assert.match(String(warned.headers.warning), /299 - "unknown field \\"foo\\""/);
  assert.equal((await post("Ignore")).headers.warning, undefined);
});

test("trap 16: every refusal is a Status", async (t) => {
  const server = await start(t);
  const cases: [string, Record<string, string>, string | undefined, number, string, string?][] = [
    ["/api/v1/namespaces/default/pods/x", {}, undefined, 404, "NotFound"],
    ["/api/v1/nonsense", {}, undefined, 404, "NotFound"],
    ["/nonsense", {}, undefined, 404, "NotFound"],
    ["/api/v1/pods", { accept: "text/csv" }, undefined, 406, "NotAcceptable"],
    ["/api/v1/namespaces/default/configmaps", { "content-type": "text/csv" }, "a,b", 415, "UnsupportedMediaType"],
    ["/api/v1/namespaces/default/configmaps", { "content-type": "application/json" }, "{", 400, "BadRequest"],
    ["/api/v1/pods", { "content-type": "application/json" }, "{}", 405, "MethodNotAllowed"],
    ["/api/v1/namespaces/default/configmaps/a", { "content-type": "application/apply-patch+yaml" }, "{}", 422, "Invalid", "PATCH"],
    ["/api/v1/namespaces/default/configmaps", { "content-type": "application/json" }, JSON.stringify({ metadata: { name: "c" }, data: { a: "x".repeat(4_000_000) } }), 413, "RequestEntityTooLarge"],
  ];
  for (const [path, headers, body, code, reason, method] of cases) {
    const answer = await request(server, path, headers, body, {}, method);
    const status = JSON.parse(answer.text) as { kind: string; status: string; code: number; reason: string };
    assert.deepEqual([answer.status, status.kind, status.status, status.code, status.reason], [code, "Status", "Failure", code, reason], path);
  }
});

test("trap 20: OpenAPI is cached by address", async (t) => {
  const server = await start(t);
  const index = JSON.parse((await request(server, "/openapi/v3", {})).text) as { paths: Record<string, { serverRelativeURL: string }> };
  const document = await request(server, index.paths["apis/apps/v1"]!.serverRelativeURL, {});
  assert.equal(document.status, 200);
  assert.match(String(document.headers["cache-control"]), /immutable/);
  assert.ok(Date.parse(String(document.headers.expires)) > Date.now() + 300 * 24 * 3600 * 1000);
  assert.equal((await request(server, "/openapi/v3", { "if-none-match": String((await request(server, "/openapi/v3", {})).headers.etag) })).status, 304);
});

test("trap 21: no answer holds a null that the client sent", async (t) => {
  const server = await start(t);
  const made = await server.http().create(resources.configMaps, "default", { metadata: { name: "c", creationTimestamp: null, labels: null }, data: null });
  assert.ok(!JSON.stringify(made).includes("null"), JSON.stringify(made));
});

test("trap 25: HTTP/2 and HTTP/1.1 on one port, connections kept", async (t) => {
  const server = await start(t);
  const { connect } = await import("node:http2");
  const session = connect(server.url, { ca: server.pki.ca, cert: server.pki.admin.cert, key: server.pki.admin.key });
  t.after(() => session.destroy());
  const stream = session.request({ ":path": "/api/v1/namespaces/default" });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  assert.equal(headers[":status"], 200);
  const watching = session.request({ ":path": "/api/v1/namespaces/default/configmaps?watch=true" });
  await once(watching, "response");
  const event = once(watching, "data");
  await server.client.create(resources.configMaps, "default", { metadata: { name: "over-h2" } });
  assert.match(String((await event)[0]), /^\{"type":"ADDED","object":\{.*"name":"over-h2"/);
  watching.close();
  assert.equal((await request(server, "/api/v1/namespaces/default", {})).httpVersion, "1.1");
});

test("an offer to upgrade to something else is not taken up", async (t) => {
  const server = await start(t);
  const answer = await request(server, "/version", { connection: "Upgrade, HTTP2-Settings", upgrade: "h2c", "http2-settings": "AAMAAABkAAQCAAAAAAIAAAAA" });
  assert.equal(answer.status, 200);
  const { request: open } = await import("node:http");
  const call = open({ socketPath: server.socketPath, path: "/version", headers: { connection: "Upgrade", upgrade: "h2c" }, agent: false });
  call.end();
  const [response] = (await once(call, "response")) as [import("node:http").IncomingMessage];
  assert.equal(response.statusCode, 200);
  response.resume();
});

interface Answer {
  status: number;
  headers: NodeJS.Dict<string | string[]>;
  text: string;
  httpVersion: string;
}
async function request(server: TestApi, path: string, headers: Record<string, string>, body?: string, user: { cert?: string; key?: string } = {}, method = body === undefined ? "GET" : "POST"): Promise<Answer> {
  const https = await import("node:https");
  const { ca, admin } = server.pki;
  return new Promise((resolve, reject) => {
    const call = https.request(`${server.url}${path}`, { method, headers, ca, ...admin, ...user, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, text: Buffer.concat(chunks).toString(), httpVersion: response.httpVersion }));
    });
    call.on("error", reject);
    call.end(body);
  });
}
