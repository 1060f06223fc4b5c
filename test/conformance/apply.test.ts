import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { KubeObject, ManagedFieldsEntry } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import { StatusError } from "../../src/api/status.ts";
import { hasKubectl, startApi, type TestApi } from "../harness-api.ts";

/** Server-side apply on the wire: what kubectl prints and what clients get. Semantics are cases of src/api/apply. */
const minors = ["1.33", "1.31"];

async function start(t: TestContext): Promise<TestApi> {
  const server = await startApi();
  t.after(() => server[Symbol.asyncDispose]());
  return server;
}

const deployment = (replicas = "replicas: 2", image = "nginx:1") => `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "${image}", ports: [{containerPort: 80}]}]}
`;
const configMap = (data: string) => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: ${data}\n`;

/** Who owns what, in short: "kubectl Apply v1 …" without times. */
const owners = (object: KubeObject) => (object.metadata.managedFields ?? []).map(({ manager, operation, apiVersion, subresource, fieldsV1 }) => `${manager} ${operation} ${apiVersion}${subresource ? ` ${subresource}` : ""} ${JSON.stringify(fieldsV1)}`);

for (const minor of minors) {
  test(`kubectl ${minor} apply --server-side: conflicts as printed, and the ways out`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    const apply = (input: string, ...more: string[]) => server.kubectl(minor, ["apply", "--server-side", ...more, "-f", "-"], { input });
    const get = () => server.client.get(resources.deployments, "default", "web");
    assert.equal((await apply(deployment())).stdout, "deployment.apps/web serverside-applied\n");
    const { resourceVersion } = (await get()).metadata;
    assert.equal((await apply(deployment())).stdout, "deployment.apps/web serverside-applied\n");
    assert.equal((await get()).metadata.resourceVersion, resourceVersion, "the same again is no write");
    await server.kubectl(minor, ["set", "image", "deployment/web", "c=nginx:9", "--field-manager=robot"]);
    await server.kubectl(minor, ["patch", "deployment", "web", "--field-manager=robot", "-p", '{"spec":{"replicas":5}}']);
    const refused = await apply(deployment());
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^error: Apply failed with 2 conflicts: conflicts with "robot" using apps\/v1:\n- \.spec\.replicas\n- \.spec\.template\.spec\.containers\[name="c"\]\.image\nPlease review the fields above--they currently have other managers\./);
    // Who no longer states a field is in nobody's way.
    assert.match((await apply(deployment("", "nginx:9"))).stdout, /serverside-applied/);
    assert.equal((await get()).spec.replicas, 5);
    assert.match((await apply(deployment(), "--force-conflicts")).stdout, /serverside-applied/);
    assert.deepEqual([(await get()).spec.replicas, (await get()).spec.template.spec.containers[0].image], [2, "nginx:1"]);
    assert.deepEqual((await get()).metadata.managedFields!.map(({ manager, operation }) => `${manager} ${operation}`), ["kubectl Apply"]);
  });

  test(`kubectl ${minor} scale, then apply: the conflict names the subresource`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    const apply = (input: string) => server.kubectl(minor, ["apply", "--server-side", "-f", "-"], { input });
    await apply(deployment());
    await server.kubectl(minor, ["scale", "deployment", "web", "--replicas=3"]);
    const { stderr } = await apply(deployment());
    assert.match(stderr, /^error: Apply failed with 1 conflict: conflict with "kubectl[^"]*" with subresource "scale" using apps\/v1: \.spec\.replicas\n/);
  });

  test(`kubectl ${minor}: from client-side to server-side apply and back`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    const kubectl = (input: string, ...args: string[]) => server.kubectl(minor, [...args, "-f", "-"], { input });
    const get = () => server.client.get(resources.configMaps, "default", "cm");
    assert.equal((await kubectl(configMap("{a: '1', b: '2'}"), "apply")).stdout, "configmap/cm created\n");
    assert.match(owners(await get())[0]!, /^kubectl-client-side-apply Update v1 \{"f:data":\{"\.":\{\},"f:a":\{\},"f:b":\{\}\},"f:metadata":\{"f:annotations":/);
    // No conflict with oneself, and what the new configuration leaves out goes: the old entry was made an applied one.
    const moved = await kubectl(configMap("{a: '3'}"), "apply", "--server-side");
    assert.equal(moved.stdout, "configmap/cm serverside-applied\n", moved.stderr);
    assert.deepEqual((await get())["data"], { a: "3" });
    assert.deepEqual(owners(await get()).sort(), ['kubectl Apply v1 {"f:data":{"f:a":{}}}', 'kubectl-last-applied Apply v1 {"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}']);
    const last = await server.kubectl(minor, ["apply", "view-last-applied", "configmap/cm", "-o", "json"]);
    assert.deepEqual(JSON.parse(last.stdout).data, { a: "3" });
    assert.equal((await kubectl(configMap("{a: '4'}"), "apply")).stdout, "configmap/cm configured\n");
    assert.equal((await kubectl(configMap("{a: '4'}"), "apply")).stdout, "configmap/cm unchanged\n");
  });

  test(`kubectl ${minor} diff, from either side, changes nothing`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    const diff = (input: string, ...more: string[]) => server.kubectl(minor, ["diff", ...more, "-f", "-"], { input });
    const fresh = await diff(configMap("{a: '1'}"), "--server-side");
    assert.equal(fresh.code, 1);
    assert.match(fresh.stdout, /^\+ {2}a: "1"$/m);
    await assert.rejects(server.client.get(resources.configMaps, "default", "cm"), { code: 404 });
    await server.kubectl(minor, ["apply", "--server-side", "-f", "-"], { input: configMap("{a: '1'}") });
    const { resourceVersion } = (await server.client.get(resources.configMaps, "default", "cm")).metadata;
    for (const side of [["--server-side"], []]) {
      const changed = await diff(configMap("{a: '2'}"), ...side);
      assert.equal(changed.code, 1, changed.stderr);
      assert.match(changed.stdout, /^- {2}a: "1"\n\+ {2}a: "2"$/m);
    }
    assert.deepEqual(await diff(configMap("{a: '1'}"), "--server-side"), { stdout: "", stderr: "", code: 0 });
    assert.equal((await server.client.get(resources.configMaps, "default", "cm")).metadata.resourceVersion, resourceVersion);
  });

  test(`kubectl ${minor}: edit, replace and --show-managed-fields`, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    const server = await start(t);
    await server.kubectl(minor, ["create", "configmap", "cm", "--from-literal=a=1"]);
    const edited = await server.kubectl(minor, ["edit", "configmap", "cm"], { env: { KUBE_EDITOR: `sed -i 's/a: "1"/a: "2"/'` } });
    assert.equal(edited.stdout, "configmap/cm edited\n", edited.stderr);
    assert.equal((await server.kubectl(minor, ["replace", "-f", "-"], { input: configMap("{a: '3', b: '1'}") })).stdout, "configmap/cm replaced\n");
    const shown = await server.kubectl(minor, ["get", "configmap", "cm", "-o", "json", "--show-managed-fields"]);
    assert.deepEqual((JSON.parse(shown.stdout) as KubeObject).metadata.managedFields!.map(({ manager }) => manager).sort(), ["kubectl-create", "kubectl-replace"]);
    assert.doesNotMatch((await server.kubectl(minor, ["get", "configmap", "cm", "-o", "json"])).stdout, /managedFields/);
  });
}

const path = "/api/v1/namespaces/default/configmaps/cm";
const yaml = { "content-type": "application/apply-patch+yaml" };

test("an apply that creates answers 201, later ones 200; the body may be YAML", async (t) => {
  const server = await start(t);
  const client = server.http();
  const send = (body: unknown, query = "") => client.raw("PATCH", `${path}?fieldManager=me${query}`, body, yaml);
  const dry = await send(JSON.parse(JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cm" }, data: { a: "1" } })), "&dryRun=All");
  assert.equal(dry.status, 201);
  await assert.rejects(server.client.get(resources.configMaps, "default", "cm"), { code: 404 });
  assert.equal((await send({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cm" }, data: { a: "1" } })).status, 201);
  assert.equal((await send({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cm" }, data: { a: "2" } })).status, 200);
  const found = await server.client.get(resources.configMaps, "default", "cm");
  assert.deepEqual(owners(found), ['me Apply v1 {"f:data":{"f:a":{}}}']);
  const text = await sendText(server, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata:\n  b: yes and no\n");
  assert.deepEqual(text["data"], { b: "yes and no" });
});

/** A body as it is, which the JSON client would encode. */
async function sendText(server: TestApi, body: string, query = ""): Promise<KubeObject> {
  const { request } = await import("node:http");
  const { once } = await import("node:events");
  const sent = request({ socketPath: server.socketPath, method: "PATCH", path: `${path}?fieldManager=me${query}`, headers: yaml });
  sent.end(body);
  const [response] = (await once(sent, "response")) as [AsyncIterable<Buffer>];
  let text = "";
  for await (const piece of response) text += piece.toString();
  return JSON.parse(text) as KubeObject;
}

test("keys that come twice are judged by fieldValidation", async (t) => {
  const server = await start(t);
  const twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata:\n  a: '1'\n  a: '2'\n";
  const strict = await sendText(server, twice, "&fieldValidation=Strict");
  assert.match(String(strict["message"]), /^error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n {2}line 6: /);
  assert.equal((await sendText(server, twice, "&fieldValidation=Ignore"))["data"].a, "2");
  const json = await sendText(server, '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cm"},"data":{"a":"1","a":"3"}}', "&fieldValidation=Strict");
  assert.equal(json["message"], 'error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 1: key "a" already set in map');
});

test("what is refused, in upstream's words", async (t) => {
  const server = await start(t);
  const client = server.http();
  await server.client.create(resources.configMaps, "default", { metadata: { name: "cm" }, data: { a: "1" } }, { fieldManager: "first" });
  const cases: [query: string, body: object, code: number, message: RegExp][] = [
    ["", {}, 422, /^PatchOptions\.meta\.k8s\.io "" is invalid: fieldManager: Required value: is required for apply patch$/],
    [`fieldManager=${"m".repeat(129)}`, {}, 422, /^PatchOptions\.meta\.k8s\.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes$/],
    ["fieldManager=a%0Ab", {}, 422, /fieldManager: Invalid value: "a\\nb": invalid character U\+000A \(at position 1\)$/],
    ["fieldManager=me", { data: { a: "2" } }, 409, /^Apply failed with 1 conflict: conflict with "first" using v1: \.data\.a$/],
    ["fieldManager=me", { metadata: { name: "other" } }, 400, /^the name of the object \(other\) does not match the name on the URL \(cm\)$/],
    ["fieldManager=me", { metadata: { name: "cm", namespace: "other" } }, 400, /^the namespace of the provided object does not match the namespace sent on the request$/],
    ["fieldManager=me", { metadata: { name: "cm", managedFields: [] } }, 400, /^metadata\.managedFields must be nil$/],
    ["fieldManager=me", { metadata: { name: "cm", resourceVersion: "1" } }, 409, /the object has been modified/],
    ["fieldManager=me", { metadata: { name: "cm", uid: "other" } }, 422, /metadata\.uid: Invalid value: "other": field is immutable$/],
    ["fieldManager=me", { apiVersion: "apps/v1" }, 400, /^invalid object type: apps\/v1, Kind=ConfigMap$/],
    ["fieldManager=me", { kind: "Secret" }, 400, /^invalid object type: \/v1, Kind=Secret$/],
    ["fieldManager=me", { spec: {} }, 500, /^failed to create typed patch object \(\/cm; \/v1, Kind=ConfigMap\): \.spec: field not declared in schema$/],
    ["fieldManager=me", { binaryData: { b: "not base64!" } }, 500, /^failed to convert new object \(\/cm; \/v1, Kind=ConfigMap\) to proper version: unable to convert unstructured object to \/v1, Kind=ConfigMap: error decoding from json: illegal base64 data at input byte 3$/],
    ["fieldManager=me", { data: { a: 1 } }, 500, /\.data\.a: expected string, got &value\.valueUnstructured\{Value:1\}$/],
  ];
  const { resourceVersion } = (await server.client.get(resources.configMaps, "default", "cm")).metadata;
  for (const [query, body, code, message] of cases) {
    const error: unknown = await client.raw("PATCH", `${path}?${query}`, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cm" }, ...body }, yaml).catch((why: unknown) => why);
    assert.ok(error instanceof StatusError, JSON.stringify(body));
    assert.match(error.message, message);
    assert.equal(error.code, code, error.message);
  }
  const conflict = (await client.raw("PATCH", `${path}?fieldManager=me`, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cm" }, data: { a: "2" } }, yaml).catch((why: unknown) => why)) as StatusError;
  assert.deepEqual(conflict.details, { causes: [{ reason: "FieldManagerConflict", message: 'conflict with "first" using v1', field: ".data.a" }] });
  assert.equal((await server.client.get(resources.configMaps, "default", "cm")).metadata.resourceVersion, resourceVersion, "nothing was written");
  const missing = (await client.raw("PATCH", path.replace("/cm", "/none"), { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "none", uid: "x" } }, yaml).catch((why: unknown) => why)) as StatusError;
  assert.equal(missing.code, 422);
  const uid = (await client.raw("PATCH", `${path.replace("/cm", "/none")}?fieldManager=me`, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "none", uid: "x" } }, yaml).catch((why: unknown) => why)) as StatusError;
  assert.match(uid.message, /uid mismatch: the provided object specified uid x, and no existing object was found$/);
});

test("nonsense is refused, and nothing lies in the store after it", async (t) => {
  const server = await start(t);
  const client = server.http();
  const before = server.api.store.revision;
  const head = '"apiVersion":"v1","kind":"ConfigMap"';
  const bodies = ["", "null", "1", "[]", '"text"', "{", "a: [", "{}", `{${head}}`, `{${head},"metadata":1}`, `{${head},"metadata":{}}`, `{${head},"metadata":{"name":1}}`, `{${head},"metadata":{"name":"cm","labels":[]}}`, `{${head},"metadata":{"name":"cm","finalizers":[{}]}}`, `{${head},"metadata":{"name":"cm","ownerReferences":[null]}}`, `{${head},"metadata":{"name":"cm","__proto__":{}}}`, '{"apiVersion":1,"kind":[]}', "%", "\u0000", `a: &a [1,1,1,1,1,1,1,1,1]\n${"bcdefghij".split("").map((name, index) => `${name}: &${name} [${Array.from({ length: 9 }, () => `*${"abcdefghij"[index]}`).join(",")}]`).join("\n")}\n`, `{${head},"metadata":{"name":"cm"},"data":${'{"a":'.repeat(2000)}1${"}".repeat(2000)}}`];
  for (const body of bodies) {
    const status = await sendText(server, body);
    assert.equal(status.kind, "Status", body.slice(0, 60));
    assert.ok((status["code"] as number) >= 400, `${body.slice(0, 60)}: ${JSON.stringify(status)}`);
    assert.doesNotMatch(String(status["message"]), /TypeError|RangeError|undefined|Cannot read/, body.slice(0, 60));
  }
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", metadata: { name: "r" }, spec: { token: "t" } };
  await assert.rejects(client.raw("PATCH", "/apis/authentication.k8s.io/v1/tokenreviews/r?fieldManager=me", review, yaml), { code: 404 });
  assert.equal(server.api.store.revision, before);
});

test("who may patch and not create cannot create by applying", async (t) => {
  const server = await start(t);
  const rules = [{ apiGroups: [""], resources: ["configmaps"], verbs: ["patch", "get"] }];
  await server.client.create({ group: "rbac.authorization.k8s.io", version: "v1", resource: "roles" }, "default", { metadata: { name: "r" }, rules });
  await server.client.create({ group: "rbac.authorization.k8s.io", version: "v1", resource: "rolebindings" }, "default", { metadata: { name: "r" }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "r" }, subjects: [{ kind: "ServiceAccount", name: "default", namespace: "default" }] });
  const { status } = await server.client.create<KubeObject>(resources.serviceAccounts, "default", { spec: {} }, { subresource: "token", name: "default" });
  const client = server.http({ token: status.token as string });
  const config = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cm" }, data: { a: "1" } };
  await assert.rejects(client.patch(resources.configMaps, "default", "cm", config, { type: "apply", fieldManager: "me" }), { code: 403 });
  await server.client.create(resources.configMaps, "default", { metadata: { name: "cm" } });
  await client.patch(resources.configMaps, "default", "cm", config, { type: "apply", fieldManager: "me" });
});

test("status is applied on its own, and only there", async (t) => {
  const { client } = await start(t);
  const head = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" } };
  await assert.rejects(client.patch(resources.deployments, "default", "web", { ...head, status: { replicas: 1 } }, { type: "apply", fieldManager: "s", subresource: "status" }), { code: 404 });
  const spec = { selector: { matchLabels: { app: "web" } }, template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image: "a" }] } } };
  const made = await client.patch(resources.deployments, "default", "web", { ...head, spec, status: { replicas: 7 } }, { type: "apply", fieldManager: "m" });
  assert.doesNotMatch(JSON.stringify(made.metadata.managedFields), /f:status/);
  const after = await client.patch(resources.deployments, "default", "web", { ...head, spec: { replicas: 9 }, status: { observedGeneration: 1 } }, { type: "apply", fieldManager: "s", subresource: "status" });
  assert.deepEqual([after.spec.replicas, after.status.observedGeneration], [1, 1]);
  assert.equal(owners(after).find((owner) => owner.startsWith("s ")), 's Apply apps/v1 status {"f:status":{"f:observedGeneration":{}}}');
});

test("who writes a status owns what of the metadata came along, but not what the kind keeps", async (t) => {
  const { client } = await start(t);
  const spec = { selector: { matchLabels: { app: "web" } }, template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image: "a" }] } } };
  const made = await client.create<KubeObject>(resources.deployments, "default", { metadata: { name: "web" }, spec }, { fieldManager: "m" });
  const written = await client.update<KubeObject>(resources.deployments, "default", "web", { ...made, metadata: { ...made.metadata, labels: { l: "1" }, annotations: { a: "1" } }, spec: { ...made.spec, replicas: 9 }, status: { replicas: 1 } }, { fieldManager: "s", subresource: "status" });
  assert.equal(owners(written).find((owner) => owner.startsWith("s ")), 's Update apps/v1 status {"f:metadata":{"f:annotations":{".":{},"f:a":{}}},"f:status":{"f:replicas":{}}}');
  assert.deepEqual([written.spec.replicas, written.metadata.labels], [1, undefined]);
});

test("managedFields are started over by an empty list, and kept from whoever does not know them", async (t) => {
  const { client } = await start(t);
  const update = (managedFields: unknown, data: object) => client.update<KubeObject>(resources.configMaps, "default", "cm", { metadata: { name: "cm", ...(managedFields !== undefined && { managedFields: managedFields as ManagedFieldsEntry[] }) }, data }, { fieldManager: "b" });
  await client.create(resources.configMaps, "default", { metadata: { name: "cm" }, data: { a: "1" } }, { fieldManager: "a" });
  assert.deepEqual(owners(await update(undefined, { a: "1", b: "1" })), ['a Update v1 {"f:data":{".":{},"f:a":{}}}', 'b Update v1 {"f:data":{"f:b":{}}}']);
  // Nonsense is passed over.
  const kept = await update([{ manager: "x", operation: "Sing" as never }], { a: "2", b: "1" });
  assert.deepEqual(owners(kept), ['a Update v1 {"f:data":{".":{}}}', 'b Update v1 {"f:data":{"f:a":{},"f:b":{}}}'].map((line) => line.replace('{"f:data":{".":{}}}', '{"f:data":{}}')));
  for (const none of [[], [{}]]) {
    assert.equal((await update(none, { a: "2", b: "1" })).metadata.managedFields, undefined);
    assert.equal((await update(undefined, { a: String(Math.PI), b: "1" })).metadata.managedFields, undefined, "no records are begun by an update");
  }
  const applied = await client.patch(resources.configMaps, "default", "cm", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cm" }, data: { c: "1" } }, { type: "apply", fieldManager: "me" });
  assert.deepEqual(owners(applied), ['me Apply v1 {"f:data":{"f:c":{}}}', 'before-first-apply Update v1 {"f:data":{".":{},"f:a":{},"f:b":{}}}']);
  // A client may also write them, as kubectl's migration does.
  const migrated = await client.patch(resources.configMaps, "default", "cm", { metadata: { managedFields: [{ manager: "me", operation: "Apply", apiVersion: "v1", fieldsType: "FieldsV1", fieldsV1: { "f:data": { "f:a": {} } } }] } });
  assert.deepEqual(owners(migrated), ['me Apply v1 {"f:data":{"f:a":{}}}']);
});

test("of many managers who update, the oldest are put together", async (t) => {
  const { client } = await start(t);
  await client.create(resources.configMaps, "default", { metadata: { name: "cm" }, data: { a: "1" } }, { fieldManager: "m00" });
  for (let index = 1; index < 14; index++) await client.patch(resources.configMaps, "default", "cm", { data: { [`k${index}`]: "1" } }, { fieldManager: `m${String(index).padStart(2, "0")}` });
  const found = await client.get(resources.configMaps, "default", "cm");
  assert.equal(found.metadata.managedFields!.length, 10);
  assert.ok(found.metadata.managedFields!.some(({ manager }) => manager === "ancient-changes"));
  assert.equal(JSON.stringify(found.metadata.managedFields).match(/f:k\d+/g)!.length, 13, "nothing was forgotten");
});

test("what admission fills in is nobody's, and versions of one object have one list", async (t) => {
  const { client } = await start(t);
  const service = await client.create<KubeObject>(resources.services, "default", { metadata: { name: "s" }, spec: { selector: { app: "a" }, ports: [{ port: 80 }] } }, { fieldManager: "m" });
  assert.ok(service.spec.clusterIP);
  assert.deepEqual(owners(service), ['m Update v1 {"f:spec":{"f:internalTrafficPolicy":{},"f:ports":{".":{},"k:{\\"port\\":80,\\"protocol\\":\\"TCP\\"}":{".":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}},"f:selector":{},"f:sessionAffinity":{},"f:type":{}}}']);
  const of = (version: string) => ({ group: "autoscaling", version, resource: "horizontalpodautoscalers" });
  const target = { apiVersion: "apps/v1", kind: "Deployment", name: "web" };
  await client.patch(of("v2"), "default", "h", { apiVersion: "autoscaling/v2", kind: "HorizontalPodAutoscaler", metadata: { name: "h" }, spec: { scaleTargetRef: target, maxReplicas: 5 } }, { type: "apply", fieldManager: "two" });
  await assert.rejects(client.patch(of("v1"), "default", "h", { apiVersion: "autoscaling/v1", kind: "HorizontalPodAutoscaler", metadata: { name: "h" }, spec: { maxReplicas: 6 } }, { type: "apply", fieldManager: "one" }), { message: 'Apply failed with 1 conflict: conflict with "two": .spec.maxReplicas' });
  const both = await client.patch<KubeObject>(of("v1"), "default", "h", { apiVersion: "autoscaling/v1", kind: "HorizontalPodAutoscaler", metadata: { name: "h" }, spec: { minReplicas: 2 } }, { type: "apply", fieldManager: "one" });
  assert.deepEqual([both.apiVersion, both.spec.minReplicas, both.metadata.managedFields!.map(({ manager, apiVersion }) => `${manager} ${apiVersion}`).sort()], ["autoscaling/v1", 2, ["one autoscaling/v1", "two autoscaling/v2"]]);
});

test("custom resources: lists as their schema says, defaults, scale and status", async (t) => {
  const { client } = await start(t);
  const items = { type: "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], items: { type: "object", required: ["name"], properties: { name: { type: "string" }, value: { type: "integer", default: 5 } } } };
  const schema = { type: "object", properties: { spec: { type: "object", properties: { replicas: { type: "integer" }, items, plain: { type: "array", items: { type: "string" } } } }, status: { type: "object", properties: { replicas: { type: "integer" } } } } };
  const versions = [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema }, subresources: { status: {}, scale: { specReplicasPath: ".spec.replicas", statusReplicasPath: ".status.replicas" } } }];
  await client.create({ group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions" }, undefined, { metadata: { name: "things.example.com" }, spec: { group: "example.com", scope: "Namespaced", names: { plural: "things", kind: "Thing", singular: "thing" }, versions } });
  const things = { group: "example.com", version: "v1", resource: "things" };
  const head = { apiVersion: "example.com/v1", kind: "Thing", metadata: { name: "t" } };
  const apply = (fieldManager: string, spec: object) => client.patch<KubeObject>(things, "default", "t", { ...head, spec }, { type: "apply", fieldManager });
  await apply("a", { items: [{ name: "x" }], plain: ["1"] });
  const both = await apply("b", { items: [{ name: "y", value: 1 }], replicas: 2 });
  assert.deepEqual(both.spec, { items: [{ name: "x", value: 5 }, { name: "y", value: 1 }], plain: ["1"], replicas: 2 });
  await assert.rejects(apply("b", { plain: ["2"] }), { message: 'Apply failed with 1 conflict: conflict with "a": .spec.plain' });
  await assert.rejects(apply("b", { other: 1 }), { message: "failed to create typed patch object (/t; example.com/v1, Kind=Thing): .spec.other: field not declared in schema" });
  await client.patch(things, "default", "t", { spec: { replicas: 6 } }, { subresource: "scale", fieldManager: "s" });
  await client.patch(things, "default", "t", { ...head, spec: { replicas: 9 }, status: { replicas: 6 } }, { subresource: "status", type: "apply", fieldManager: "st" });
  const found = await client.get(things, "default", "t");
  assert.equal(found.spec.replicas, 6);
  assert.deepEqual(owners(found).sort(), [
    'a Apply example.com/v1 {"f:spec":{"f:items":{"k:{\\"name\\":\\"x\\"}":{".":{},"f:name":{}}},"f:plain":{}}}',
    'b Apply example.com/v1 {"f:spec":{"f:items":{"k:{\\"name\\":\\"y\\"}":{".":{},"f:name":{},"f:value":{}}}}}',
    's Update example.com/v1 scale {"f:spec":{"f:replicas":{}}}',
    'st Apply example.com/v1 status {"f:status":{"f:replicas":{}}}',
  ]);
});

test("appliers who race lose nothing", async (t) => {
  const { client } = await start(t);
  const apply = (manager: string) => client.patch(resources.configMaps, "default", "cm", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "cm" }, data: { [manager]: "1" } }, { type: "apply", fieldManager: manager });
  await Promise.all(["a", "b", "c", "d"].map(apply));
  const found = await client.get(resources.configMaps, "default", "cm");
  assert.deepEqual([found["data"], found.metadata.managedFields!.length], [{ a: "1", b: "1", c: "1", d: "1" }, 4]);
});
