import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { strategies } from "../../src/api/kinds/index.ts";
import type { KubeObject } from "../../src/api/meta.ts";
import { createBuiltinRegistry } from "../../src/api/registry.ts";
import { resources } from "../../src/api/resources.ts";
import { createApi } from "../../src/apiserver/api.ts";
import { systemIdentity } from "../../src/apiserver/rest/context.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { systemRandom } from "../../src/base/random.ts";
import { startControllers } from "../../src/controllers/index.ts";
import { hasKubectl, startApi, type TestApi } from "../harness-api.ts";

const minor = "1.33";

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all, toys]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size, labelSelectorPath: .status.selector}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Color, type: string, jsonPath: .spec.color, priority: 1}
    selectableFields: [{jsonPath: .spec.color}]
    schema:
      openAPIV3Schema:
        type: object
        description: Widget is a thing with a size.
        required: [spec]
        properties:
          spec:
            type: object
            description: What the widget shall be.
            properties:
              size: {type: integer, default: 3, minimum: 1, maximum: 100, description: How large.}
              color: {type: string, enum: [red, green], default: red}
              low: {type: integer}
              high: {type: integer}
              port: {x-kubernetes-int-or-string: true}
              any: {type: object, x-kubernetes-preserve-unknown-fields: true}
            x-kubernetes-validations:
            - {rule: "!has(self.low) || !has(self.high) || self.low <= self.high", message: low must not be above high}
          status:
            type: object
            properties:
              size: {type: integer}
              selector: {type: string}
              conditions: {type: array, items: {type: object, properties: {type: {type: string}, status: {type: string}}}}
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    deprecationWarning: stable.example.com/v1beta1 Widget is old
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}, color: {type: string}, weight: {type: integer, default: 7}}}
`;
const widget = (name: string, spec: string) => `{apiVersion: stable.example.com/v1, kind: Widget, metadata: {name: ${name}}, spec: ${spec}}`;
const definitions = { group: "apiextensions.k8s.io", version: "v1", resource: "customresourcedefinitions" };

async function withWidgets(api: TestApi) {
  const kubectl = async (...args: string[]) => {
    const { stdout, stderr } = await api.kubectl(minor, args);
    return stdout + stderr;
  };
  const apply = async (input: string, ...args: string[]) => {
    const { stdout, stderr } = await api.kubectl(minor, ["apply", ...args, "-f", "-"], { input });
    return stdout + stderr;
  };
  assert.equal(await apply(definition), "customresourcedefinition.apiextensions.k8s.io/widgets.stable.example.com created\n");
  return { kubectl, apply };
}

test("kubectl and a custom resource", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  await using api = await startApi();
  const { kubectl, apply } = await withWidgets(api);

  await t.test("established at once, and waited for", async () => {
    assert.equal(await kubectl("wait", "--for=condition=established", "crd/widgets.stable.example.com", "--timeout=5s"), "customresourcedefinition.apiextensions.k8s.io/widgets.stable.example.com condition met\n");
    assert.equal(await kubectl("get", "crd", "widgets.stable.example.com", "-o", "jsonpath={.status.conditions[*].type} {.status.storedVersions} {.status.acceptedNames.kind}"), 'NamesAccepted Established ["v1"] Widget');
  });
  await t.test("apply, defaults, pruning with a warning", async () => {
    assert.equal(await apply(widget("one", "{color: green, shape: round}"), "--validate=warn"), 'widget.stable.example.com/one created\nWarning: unknown field "spec.shape"\n');
    assert.equal(await kubectl("get", "widget", "one", "-o", "jsonpath={.spec} {.metadata.generation}"), '{"color":"green","size":3} 1');
    assert.match(await apply(widget("two", "{shape: round}")), /strict decoding error: unknown field "spec.shape"/);
  });
  await t.test("lists: columns, wide, short name, category, field selector", async () => {
    assert.equal(await kubectl("get", "wd"), "NAME   SIZE   READY\none    3      \n");
    assert.equal(await kubectl("get", "wd", "-o", "wide"), "NAME   SIZE   READY   COLOR\none    3              green\n");
    assert.match(await kubectl("get", "toys"), /one\s+3/);
    assert.equal(await kubectl("get", "wd", "--field-selector=spec.color=green", "-o", "name"), "widget.stable.example.com/one\n");
    assert.equal(await kubectl("get", "wd", "--field-selector=spec.color=red", "-o", "name"), "");
    assert.match(await kubectl("get", "wd", "--field-selector=spec.size=3"), /field label not supported: spec.size/);
  });
  await t.test("explain", async () => {
    assert.equal(await kubectl("explain", "widgets.spec.size"), "GROUP:      stable.example.com\nKIND:       Widget\nVERSION:    v1\n\nFIELD: size <integer>\n\n\nDESCRIPTION:\n    How large.\n    \n\n");
    assert.match(await kubectl("explain", "wd"), /DESCRIPTION:\n {4}Widget is a thing with a size\.\n/);
  });
  await t.test("refused: by type, by bounds, by enum, by rule", async () => {
    const refusal = async (spec: string) => (await apply(widget("bad", spec))).replace(/^The Widget "bad" is invalid: /, "");
    assert.equal(await refusal("{size: 0}"), "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1\n");
    assert.match(await refusal("{size: large}"), /spec\.size: Invalid value: "string": spec\.size in body must be of type integer: "string"/);
    assert.match(await refusal("{size: large}"), /<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation/);
    assert.match(await refusal("{color: blue}"), /spec\.color: Unsupported value: "blue": supported values: "red", "green"/);
    assert.equal(await refusal("{low: 5, high: 4}"), "spec: Invalid value: low must not be above high\n");
    assert.match(await apply("{apiVersion: stable.example.com/v1, kind: Widget, metadata: {name: bad}}"), /spec: Required value/);
  });
  await t.test("status and spec are two worlds; scale sees both", async () => {
    assert.equal(await kubectl("patch", "wd", "one", "--type=merge", "-p", '{"status":{"size":9}}'), "widget.stable.example.com/one patched (no change)\n");
    assert.equal(await kubectl("patch", "wd", "one", "--subresource=status", "--type=merge", "-p", '{"spec":{"size":50},"status":{"size":2,"selector":"a=b","conditions":[{"type":"Ready","status":"True"}]}}'), "widget.stable.example.com/one patched\n");
    assert.equal(await kubectl("get", "wd", "one", "-o", "jsonpath={.spec.size} {.status.size} {.metadata.generation}"), "3 2 1");
    assert.equal(await kubectl("scale", "wd/one", "--replicas=5"), "widget.stable.example.com/one scaled\n");
    assert.deepEqual(JSON.parse(await kubectl("get", "--raw", "/apis/stable.example.com/v1/namespaces/default/widgets/one/scale")).status, { replicas: 2, selector: "a=b" });
    assert.equal(await kubectl("get", "wd"), "NAME   SIZE   READY\none    5      True\n");
    assert.equal(await kubectl("get", "wd", "one", "-o", "jsonpath={.metadata.generation}"), "2");
  });
  await t.test("another version: the same object, with the defaults of the stored one, a warning", async () => {
    const { stdout, stderr } = await api.kubectl(minor, ["get", "widgets.v1beta1.stable.example.com", "one", "-o", "jsonpath={.apiVersion} {.spec}"]);
    assert.equal(stdout, 'stable.example.com/v1beta1 {"color":"green","size":5}');
    assert.equal(stderr, "Warning: stable.example.com/v1beta1 Widget is old\n");
    assert.equal(await kubectl("get", "wd", "one", "-o", "jsonpath={.spec}"), '{"color":"green","size":5}');
  });
  await t.test("server-side apply, patch, edit of one field", async () => {
    assert.equal(await apply(widget("one", "{color: red}"), "--server-side", "--force-conflicts"), "widget.stable.example.com/one serverside-applied\n");
    assert.equal(await kubectl("patch", "wd", "one", "--type=json", "-p", '[{"op":"replace","path":"/spec/color","value":"green"}]'), "widget.stable.example.com/one patched\n");
    assert.equal(await kubectl("get", "wd", "one", "-o", "jsonpath={.spec.color}"), "green");
    assert.match(await kubectl("patch", "wd", "one", "--type=strategic", "-p", "{}"), /accepted media types include: application\/json-patch\+json, application\/merge-patch\+json, application\/apply-patch\+yaml/);
    assert.match(await kubectl("patch", "wd", "one", "--type=merge", "-p", '{"metadata":{"finalizers":["hold"]}}'), /Warning: metadata.finalizers: "hold": prefer a domain-qualified finalizer name to avoid accidental conflicts/);
    await kubectl("patch", "wd", "one", "--type=merge", "-p", '{"metadata":{"finalizers":null}}');
  });
  await t.test("discovery knows it, and forgets it", async () => {
    assert.match(await kubectl("api-resources", "--api-group=stable.example.com", "-o", "wide"), /^widgets\s+wd\s+stable\.example\.com\/v1\s+true\s+Widget\s+delete,deletecollection,get,list,patch,create,update,watch\s+all,toys$/m);
    const watching = api.spawnKubectl(minor, ["get", "wd", "-w"]);
    const ended = new Promise((resolve) => watching.once("exit", resolve));
    await new Promise((resolve) => watching.stdout!.once("data", resolve));
    assert.equal(await kubectl("delete", "crd", "widgets.stable.example.com"), 'customresourcedefinition.apiextensions.k8s.io "widgets.stable.example.com" deleted\n');
    await ended;
    assert.equal(await kubectl("api-resources", "--api-group=stable.example.com", "--no-headers"), "");
    assert.deepEqual(api.api.store.range("/stable.example.com/"), []);
    assert.equal((JSON.parse(await kubectl("get", "--raw", "/openapi/v3")) as { paths: object }).paths["apis/stable.example.com/v1" as never], undefined);
  });
});

test("a definition and its object in one file: kubectl looks for kinds before it writes, so the second time does it", async (t) => {
  if (!(await hasKubectl(t, minor))) return;
  await using api = await startApi();
  const both = () => api.kubectl(minor, ["apply", "-f", "-"], { input: `${definition}\n---\n${widget("one", "{}")}` });
  assert.match((await both()).stderr, /ensure CRDs are installed first/);
  assert.equal((await both()).stdout, "customresourcedefinition.apiextensions.k8s.io/widgets.stable.example.com unchanged\nwidget.stable.example.com/one created\n");
});

const tiny = (group: string, plural: string, names: object = {}) => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${group}` },
  spec: { group, scope: "Namespaced", names: { plural, kind: plural.charAt(0).toUpperCase() + plural.slice(1, -1), ...names }, versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } } }] },
});
interface Conditions {
  status: { conditions: { type: string; status: string; reason: string; message: string }[] };
}
async function conditionsOf(api: TestApi, name: string): Promise<Record<string, string>> {
  const { status } = await api.client.get<Conditions>(definitions, undefined, name);
  return Object.fromEntries(status.conditions.map(({ type, status: value, reason, message }) => [type, `${value} ${reason} ${message}`]));
}
async function until(look: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await look())) await delay(1);
}

test("names are given once, and passed on when they are free", async () => {
  await using api = await startApi();
  await api.client.create(definitions, undefined, tiny("a.example", "cups", { shortNames: ["c"] }));
  await api.client.create(definitions, undefined, tiny("a.example", "cans", { shortNames: ["c"] }));
  await until(async () => ((await api.client.get<Partial<Conditions>>(definitions, undefined, "cans.a.example")).status?.conditions ?? []).length > 0);
  assert.deepEqual(await conditionsOf(api, "cans.a.example"), { NamesAccepted: 'False ShortNamesConflict "c" is already in use', Established: "False NotAccepted not all names are accepted" });
  assert.equal(api.api.registry.byResource("a.example", "v1", "cans"), undefined);
  await api.client.delete(definitions, undefined, "cups.a.example");
  await until(async () => (await conditionsOf(api, "cans.a.example"))["Established"]!.startsWith("True"));
  assert.deepEqual(api.api.registry.byResource("a.example", "v1", "cans")?.shortNames, ["c"]);
});

test("an object with a finalizer holds its definition; nothing is created meanwhile", async () => {
  await using api = await startApi();
  const cups = { group: "a.example", version: "v1", resource: "cups" };
  await api.client.create(definitions, undefined, tiny("a.example", "cups"));
  await api.client.create(cups, "default", { apiVersion: "a.example/v1", kind: "Cup", metadata: { name: "kept", finalizers: ["a.example/hold"] } });
  await api.client.create(cups, "default", { apiVersion: "a.example/v1", kind: "Cup", metadata: { name: "free" } });
  await api.client.delete(definitions, undefined, "cups.a.example");
  await until(() => api.api.store.count("/a.example/cups/") === 1);
  assert.match((await conditionsOf(api, "cups.a.example"))["Terminating"]!, /^True InstanceDeletion/);
  await assert.rejects(api.client.create(cups, "default", { apiVersion: "a.example/v1", kind: "Cup", metadata: { name: "late" } }), /create not allowed while custom resource definition is terminating/);
  await api.client.patch(cups, "default", "kept", { metadata: { finalizers: null } });
  await until(() => api.api.registry.byResource("a.example", "v1", "cups") === undefined);
  assert.deepEqual(api.api.store.range("/a.example/"), []);
});

test("refused definitions", async () => {
  await using api = await startApi();
  const refused = async (change: (definition: ReturnType<typeof tiny> & { spec: any; metadata: any }) => void, text: RegExp) => {
    const made = tiny("a.example", "cups");
    change(made);
    await assert.rejects(api.client.create(definitions, undefined, made), text);
  };
  await refused((made) => (made.metadata.name = "mugs.a.example"), /metadata\.name: Invalid value: "mugs\.a\.example": must be spec\.names\.plural\+"\."\+spec\.group/);
  await refused((made) => (made.spec.versions[0].storage = false), /must have exactly one version marked as storage version/);
  await refused((made) => delete made.spec.versions[0].schema, /spec\.versions\[0\]\.schema\.openAPIV3Schema: Required value/);
  await refused((made) => (made.spec.names.kind = "2Cup"), /spec\.names\.kind: Invalid value: "2Cup": may have mixed case, but should otherwise match: a DNS-1035 label/);
  await refused((made) => (made.spec.versions[0].subresources = { scale: { specReplicasPath: ".size", statusReplicasPath: ".status.size" } }), /scale\.specReplicasPath: Invalid value: "\.size": should be a json path under \.spec/);
  await refused((made) => (made.spec.versions[0].additionalPrinterColumns = [{ name: "X", type: "word", jsonPath: "spec.x" }]), /type: Invalid value: "word": must be one of boolean,date,integer,number,string.*JSONPath: Invalid value: "spec\.x": must be a simple json path starting with \./);
  await refused((made) => (made.spec.versions[0].selectableFields = [{ jsonPath: ".spec.x" }]), /selectableFields\[0\]\.jsonPath: Invalid value: "\.spec\.x": is an invalid path: does not refer to a valid field/);
  await refused((made) => (made.spec.conversion = { strategy: "Webhook" }), /webhookClientConfig: Required value: required when strategy is set to Webhook/);
  await refused((made) => (made.spec.preserveUnknownFields = true), /spec\.preserveUnknownFields: Invalid value: true: cannot set to true/);
  const property = (schema: unknown) => (made: { spec: any }) => (made.spec.versions[0].schema.openAPIV3Schema.properties = { a: schema });
  await refused(property({ type: "object", additionalProperties: 5 }), /boolean or JSON schema expected/);
  await refused(property({ type: "array", items: { type: 5 } }), /cannot unmarshal number into Go struct field JSONSchemaProps\.spec\.versions\.schema\.openAPIV3Schema\.properties\.items\.type of type string/);
  await refused(property({ type: "array", items: { type: "string", typo: 1 } }), /strict decoding error: unknown field "spec\.versions\[0\]\.schema\.openAPIV3Schema\.properties\.a\.items\.typo"/);
  await refused(property({ type: "array", items: "string" }), /properties\[a\]\.items\.type: Required value: must not be empty for specified array items/);
  await refused(property({ type: "string", "x-kubernetes-validations": [null] }), /x-kubernetes-validations\[0\]\.rule: Required value: rule is not specified/);
  await refused(property(null), /properties\[a\]\.type: Required value: must not be empty for specified object fields/);
  const protectedGroup = tiny("a.k8s.io", "cups");
  await assert.rejects(api.client.create(definitions, undefined, protectedGroup), /metadata\.annotations\[api-approved\.kubernetes\.io\]: Required value: protected groups must have approval annotation/);
  await api.client.create(definitions, undefined, { ...protectedGroup, metadata: { ...protectedGroup.metadata, annotations: { "api-approved.kubernetes.io": "unapproved, for a test" } } });
});

test("a start serves what is stored, before anything is asked", async () => {
  await using api = await startApi();
  const cups = { group: "a.example", version: "v1", resource: "cups" };
  await api.client.create(definitions, undefined, tiny("a.example", "cups", { shortNames: ["c"] }));
  await api.client.create(definitions, undefined, tiny("a.example", "cans", { shortNames: ["c"] }));
  await api.client.create(cups, "default", { apiVersion: "a.example/v1", kind: "Cup", metadata: { name: "one" } });
  const { clock, log, store } = api.api;
  const next = createApi({ store, registry: createBuiltinRegistry(strategies), clock, random: systemRandom, log });
  assert.deepEqual(next.registry.byResource("a.example", "v1", "cups")?.shortNames, ["c"]);
  assert.equal(next.registry.byResource("a.example", "v1", "cans"), undefined, "who had the name has it");
  assert.equal((await next.client(systemIdentity("test")).get<KubeObject>(cups, "default", "one")).metadata.name, "one");
  next.close();
});

test("another storage version: old objects are read as before, and stored anew when they are written", async () => {
  await using api = await startApi();
  const cups = { group: "a.example", version: "v1", resource: "cups" };
  const made = tiny("a.example", "cups");
  await api.client.create(definitions, undefined, made);
  await api.client.create(cups, "default", { apiVersion: "a.example/v1", kind: "Cup", metadata: { name: "one" }, size: 1 });
  const versions = [{ ...made.spec.versions[0]!, storage: false }, { ...made.spec.versions[0]!, name: "v2" }];
  await api.client.patch(definitions, undefined, "cups.a.example", { spec: { versions } });
  assert.deepEqual((await api.client.get<{ status: { storedVersions: string[] } }>(definitions, undefined, "cups.a.example")).status.storedVersions, ["v1", "v2"]);
  const stored = () => (api.api.store.get("/a.example/cups/default/one")!.object as unknown as KubeObject).apiVersion;
  assert.equal(stored(), "a.example/v1");
  assert.equal((await api.client.get<KubeObject>({ ...cups, version: "v2" }, "default", "one")).apiVersion, "a.example/v2");
  await api.client.patch(cups, "default", "one", { size: 2 });
  assert.equal(stored(), "a.example/v2");
  await assert.rejects(api.client.patch(definitions, undefined, "cups.a.example", { spec: { versions: [versions[1]] } }), /v1 was previously a storage version, and must remain in spec\.versions until a storage migration/);
  await api.client.patch(definitions, undefined, "cups.a.example", { status: { storedVersions: ["v2"] } }, { subresource: "status" });
  await api.client.patch(definitions, undefined, "cups.a.example", { spec: { versions: [versions[1]] } });
  assert.equal(api.api.registry.byResource("a.example", "v1", "cups"), undefined);
});

test("a changed definition is served at once: defaults of what is stored, columns, bounds that only count for what changes", async () => {
  await using api = await startApi();
  const cups = { group: "a.example", version: "v1", resource: "cups" };
  const schema = (size: object) => ({ openAPIV3Schema: { type: "object", properties: { size, color: { type: "string" } } } });
  const made = tiny("a.example", "cups");
  await api.client.create(definitions, undefined, { ...made, spec: { ...made.spec, versions: [{ ...made.spec.versions[0], schema: schema({ type: "integer" }) }] } });
  for (const [name, size] of [["one", 50], ["two", undefined]] as const) await api.client.create(cups, "default", { apiVersion: "a.example/v1", kind: "Cup", metadata: { name }, ...(size && { size }) });
  await api.client.patch(definitions, undefined, "cups.a.example", { spec: { versions: [{ ...made.spec.versions[0], schema: schema({ type: "integer", maximum: 9, default: 3 }), additionalPrinterColumns: [{ name: "Size", type: "integer", jsonPath: ".size" }] }] } });
  assert.equal((await api.client.get<KubeObject>(cups, "default", "two"))["size"], 3);
  assert.deepEqual((await api.client.list<KubeObject>(cups, { namespace: "default" })).items.map((item) => item["size"] as number), [50, 3]);
  assert.deepEqual(api.api.registry.byResource("a.example", "v1", "cups")!.columns!.map(({ name }) => name), ["Name", "Size"]);
  await api.client.patch(cups, "default", "one", { color: "red" });
  await assert.rejects(api.client.patch(cups, "default", "one", { size: 51 }), /size in body should be less than or equal to 9/);
});

test("namespaces and owners take custom objects with them", async () => {
  await using api = await startApi();
  const volumesDir = mkdtempSync(join(tmpdir(), "wherry-volumes-"));
  const controllers = startControllers({ client: api.client, registry: api.api.registry, clock: systemClock, random: systemRandom, log: silentLog, volumesDir, rootCa: "" });
  await controllers.start();
  try {
    const cups = { group: "a.example", version: "v1", resource: "cups" };
    await api.client.create(definitions, undefined, tiny("a.example", "cups"));
    await api.client.create(resources.namespaces, undefined, { metadata: { name: "space" } });
    const cup = (name: string, rest: object = {}) => ({ apiVersion: "a.example/v1", kind: "Cup", metadata: { name, ...rest } });
    const owner = await api.client.create<KubeObject>(cups, "space", cup("owner"));
    const ownerReferences = [{ apiVersion: "a.example/v1", kind: "Cup", name: "owner", uid: owner.metadata.uid }];
    await api.client.create(resources.configMaps, "space", { metadata: { name: "owned", ownerReferences } });
    await api.client.create(cups, "space", cup("owned", { ownerReferences }));
    await api.client.create(cups, "space", cup("other"));
    await api.client.delete(cups, "space", "owner");
    await until(() => api.api.store.count("/a.example/cups/space/") === 1 && !api.api.store.get("/core/configmaps/space/owned"));
    await api.client.delete(resources.namespaces, undefined, "space");
    await until(() => !api.api.store.get("/core/namespaces/space"));
    assert.deepEqual(api.api.store.range("/a.example/cups/"), []);
  } finally {
    await controllers.stop(AbortSignal.timeout(2_000));
    rmSync(volumesDir, { recursive: true, force: true });
  }
});
