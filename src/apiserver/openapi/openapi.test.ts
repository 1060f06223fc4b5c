import assert from "node:assert/strict";
import { test } from "node:test";
import type { CustomResourceDefinition } from "../../api/crd/definition.ts";
import type { JSONSchemaProps } from "../../api/crd/json-schema.ts";
import { kindsOf } from "../../api/crd/kind.ts";
import type { Kind } from "../../api/kind.ts";
import { createBuiltinRegistry } from "../../api/registry.ts";
import { createOpenApi, type OpenApiDocument } from "./openapi.ts";

let generation = 0;
const widget = (properties: JSONSchemaProps["properties"]): Kind => {
  const schema: JSONSchemaProps = { type: "object", properties: { spec: { type: "object", ...(properties && { properties }) } } };
  const definition = { metadata: { uid: "1", generation: ++generation }, spec: { group: "stable.example.com", scope: "Namespaced", names: { plural: "widgets", kind: "Widget" }, versions: [{ name: "v1", served: true, storage: true, subresources: { status: {} } }] } };
  return kindsOf(definition as unknown as CustomResourceDefinition, () => schema)[0]!;
};
interface Parsed {
  paths: Record<string, Record<string, Record<string, unknown>>>;
  components: { schemas: Record<string, Record<string, unknown>> };
  definitions: Record<string, unknown>;
}
const parse = (document: OpenApiDocument | undefined) => JSON.parse(document!.body.toString()) as Parsed;

test("documents are made once and remade when their kinds change", () => {
  const registry = createBuiltinRegistry([]);
  const openApi = createOpenApi(registry);
  const index = openApi.index();
  const apps = openApi.document("apis/apps/v1")!;
  assert.equal(openApi.index(), index);
  assert.equal(openApi.document("apis/apps/v1"), apps);
  assert.equal(openApi.v2(), openApi.v2());
  assert.equal(apps.etag, `"${apps.hash}"`);
  assert.ok(index.body.toString().includes(`"/openapi/v3/apis/apps/v1?hash=${apps.hash}"`));
  assert.equal(openApi.document("apis/apps/v9"), undefined);
  assert.equal(createOpenApi(createBuiltinRegistry([])).document("apis/apps/v1")!.hash, apps.hash, "another start makes the same bytes");

  registry.add(widget({ size: { type: "integer" } }));
  const first = openApi.document("apis/stable.example.com/v1")!;
  assert.notEqual(openApi.index().hash, index.hash);
  const other = openApi.document("apis/apps/v1");
  registry.add(widget({ colour: { type: "string" } }));
  assert.notEqual(openApi.document("apis/stable.example.com/v1")!.hash, first.hash);
  assert.equal(openApi.document("apis/apps/v1"), other, "a changed custom resource costs no built-in document");
  registry.remove("stable.example.com", "v1", "widgets");
  assert.equal(openApi.document("apis/stable.example.com/v1"), undefined);
  assert.equal(openApi.index().hash, index.hash);
});

test("values of fields are published as version 3 and version 2 have them, parameters with what they are for", () => {
  const openApi = createOpenApi(createBuiltinRegistry([]), () => undefined);
  const { paths, components } = parse(openApi.document("apis/apps/v1"));
  const field = (schemas: Record<string, unknown>, name: string) => (schemas[`io.k8s.api.${name.slice(0, name.lastIndexOf("."))}`] as { properties: Record<string, unknown> }).properties[name.slice(name.lastIndexOf(".") + 1)];
  const { definitions, parameters, ...v2 } = parse(openApi.v2()) as Parsed & { parameters: Record<string, Record<string, unknown>> };
  const table: [field: string, v3: object, v2: object][] = [
    ["core.v1.Container.imagePullPolicy", { type: "string", enum: ["Always", "IfNotPresent", "Never"] }, { type: "string", enum: ["Always", "IfNotPresent", "Never"] }],
    ["core.v1.Container.name", { type: "string", default: "" }, { type: "string" }],
    ["core.v1.Container.image", { type: "string" }, { type: "string" }],
    ["core.v1.ContainerPort.protocol", { type: "string", default: "TCP", enum: ["SCTP", "TCP", "UDP"] }, { type: "string", enum: ["SCTP", "TCP", "UDP"] }],
    ["core.v1.LocalObjectReference.name", { type: "string", default: "" }, { type: "string" }],
    ["core.v1.PersistentVolumeClaimSpec.accessModes", { type: "array", items: { type: "string", default: "", enum: ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"] }, "x-kubernetes-list-type": "atomic" }, { type: "array", items: { type: "string", enum: ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"] }, "x-kubernetes-list-type": "atomic" }],
    ["apps.v1.DeploymentSpec.replicas", { type: "integer", format: "int32" }, { type: "integer", format: "int32" }],
  ];
  for (const [name, three, two] of table) {
    assert.deepEqual(field(components.schemas, name), three, name);
    assert.deepEqual(field(definitions, name), two, name);
  }
  const at = "/apis/apps/v1/namespaces/{namespace}/deployments";
  const watch = (paths[at]!.get!.parameters as { name: string; description?: string }[]).find(({ name }) => name === "watch")!;
  assert.match(watch.description!, /^Watch for changes to the described resources/);
  assert.equal(parameters.watch!.description, watch.description);
  const used = new Set(Object.values(v2.paths).flatMap((item) => [item, ...Object.values(item)].flatMap(({ parameters = [] }) => (parameters as { $ref?: string }[]).flatMap(({ $ref }) => $ref ?? []))));
  assert.deepEqual([...used].sort(), Object.keys(parameters).map((name) => `#/parameters/${name}`).sort(), "each reference leads somewhere, nothing is left over");
  assert.deepEqual(Object.values(parameters).filter(({ description }) => description === undefined), []);
});

test("custom resources are published in both versions", () => {
  const registry = createBuiltinRegistry([]);
  registry.add(widget({ size: { type: "integer", minimum: 1, default: 3 }, any: { type: "object", "x-kubernetes-preserve-unknown-fields": true }, port: { "x-kubernetes-int-or-string": true }, maybe: { type: "array", nullable: true, items: { type: "string" } } }));
  const openApi = createOpenApi(registry);
  const { paths, components } = parse(openApi.document("apis/stable.example.com/v1"));
  const schema = components.schemas["com.example.stable.v1.Widget"]!;
  assert.deepEqual(schema["x-kubernetes-group-version-kind"], [{ group: "stable.example.com", kind: "Widget", version: "v1" }]);
  assert.deepEqual((schema.properties as Record<string, { properties: unknown }>).spec!.properties, {
    size: { default: 3, type: "integer", minimum: 1 },
    any: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    port: { "x-kubernetes-int-or-string": true },
    maybe: { type: "array", nullable: true, items: { type: "string" } },
  });
  assert.ok(components.schemas["com.example.stable.v1.WidgetList"]);
  const patch = paths["/apis/stable.example.com/v1/namespaces/{namespace}/widgets/{name}"]!.patch!;
  // Without this parameter kubectl validates on its own side.
  assert.ok((patch.parameters as { name: string }[]).some(({ name }) => name === "fieldValidation"));
  assert.deepEqual(Object.keys((patch.requestBody as { content: object }).content), ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]);
  assert.equal(patch.operationId, "patchStableExampleComV1NamespacedWidget");
  assert.ok(paths["/apis/stable.example.com/v1/namespaces/{namespace}/widgets/{name}/status"]);
  // kubectl's own validation must not refuse what version 2 cannot say.
  const old = parse(openApi.v2()).definitions["com.example.stable.v1.Widget"] as unknown as { properties: Record<string, { properties: unknown }> };
  assert.deepEqual(old.properties.spec!.properties, { size: { default: 3, type: "integer", minimum: 1 }, any: { "x-kubernetes-preserve-unknown-fields": true }, port: { "x-kubernetes-int-or-string": true }, maybe: {} });
});

test("words are shown where somebody has them", () => {
  const openApi = createOpenApi(createBuiltinRegistry([]), (definition, field) => (definition === "io.k8s.api.apps.v1.DeploymentSpec" ? (field === "replicas" ? "How many." : field === undefined ? "What is wanted." : undefined) : undefined));
  const schema = parse(openApi.document("apis/apps/v1")).components.schemas["io.k8s.api.apps.v1.DeploymentSpec"]!;
  assert.equal(schema.description, "What is wanted.");
  assert.equal((schema.properties as Record<string, { description?: string }>).replicas!.description, "How many.");
});
