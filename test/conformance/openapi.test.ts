import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { createBuiltinRegistry } from "../../src/api/registry.ts";
import { createOpenApi } from "../../src/apiserver/openapi/openapi.ts";

/**
 * Our OpenAPI documents against the published ones of the same release, leaving out what we mean to leave out:
 * words, the deprecated watch paths, the paths behind a proxy, media types. Allowed values are those of the running
 * server, which these documents leave out: differential/documents.ts compares them.
 */
const data = process.env.KUBERNETES_OPENAPI ?? join(import.meta.dirname, "../../../shared/data/kubernetes-openapi");
const skip = !existsSync(data) && "no OpenAPI documents here; set KUBERNETES_OPENAPI to their folder";
type Json = Record<string, unknown>;
const read = (path: string) => JSON.parse(gunzipSync(readFileSync(join(data, path))).toString()) as Json;

function comparableSchema(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return key === "required" ? value.toSorted() : value.map((item) => comparableSchema(item));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(
    ([name, inner]) => !(name === "description" && typeof inner === "string") && !(name === "enum" && Array.isArray(inner)),
  );
  // A reference with nothing beside it needs no allOf.
  if (entries.length === 1 && entries[0]![0] === "allOf") return (value as { allOf: unknown[] }).allOf[0];
  return Object.fromEntries(entries.map(([name, inner]) => [name, comparableSchema(inner, name)]));
}

interface Parameter {
  in: string;
  name: string;
  required?: boolean;
  type?: string;
  schema?: { type: string };
  $ref?: string;
}
function comparableOperation(operation: Json, item: Json, shared: Record<string, Parameter>): unknown {
  const parameters = [...((operation.parameters ?? []) as Parameter[]), ...((item.parameters ?? []) as Parameter[])]
    .map((parameter) => (parameter.$ref ? shared[parameter.$ref.split("/").at(-1)!]! : parameter))
    .filter(({ in: place }) => place !== "body")
    .map(({ in: place, name, required, type, schema }) => `${place} ${name} ${schema?.type ?? type}${required ? " required" : ""}`);
  const answers = Object.entries(operation.responses as Record<string, Json>).map(([code, answer]) => {
    const content = (answer.content as Record<string, Json> | undefined)?.["application/json"] ?? answer;
    return `${code} ${((content.schema ?? {}) as Json).$ref ?? ""}`;
  });
  return { id: operation.operationId, action: operation["x-kubernetes-action"], kind: operation["x-kubernetes-group-version-kind"], parameters: [...new Set(parameters)].sort(), answers, tags: operation.tags };
}

function comparablePaths(document: Json): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [path, item] of Object.entries(document.paths as Record<string, Json>)) {
    if (path.includes("/watch/") || path.includes("{path}")) continue;
    for (const method of ["get", "put", "post", "patch", "delete"]) {
      if (item[method]) result[`${method} ${path}`] = comparableOperation(item[method] as Json, item, (document.parameters ?? {}) as Record<string, Parameter>);
    }
  }
  return result;
}

test("OpenAPI v3: our documents say what upstream's say", { skip }, () => {
  const openApi = createOpenApi(createBuiltinRegistry([]));
  const { paths } = JSON.parse(openApi.index().body.toString()) as { paths: Json };
  assert.equal(Object.keys(paths).length, 24);
  for (const path of Object.keys(paths)) {
    const ours = JSON.parse(openApi.document(path)!.body.toString()) as Json & { components: { schemas: Json } };
    const theirs = read(`v3/1.35/${path}.json.gz`) as Json & { components: { schemas: Json } };
    assert.deepEqual(comparablePaths(ours), comparablePaths(theirs), path);
    for (const [name, schema] of Object.entries(theirs.components.schemas)) {
      // Nothing of ours refers to WatchEvent, and RawExtension is often there for its sake alone.
      if (/\.(WatchEvent|Info)$/.test(name) || (name.endsWith(".RawExtension") && !ours.components.schemas[name])) continue;
      const expected = comparableSchema(schema) as Json;
      const actual = comparableSchema(ours.components.schemas[name]) as Json | undefined;
      // Which groups and versions exist is ours to say.
      if (name.endsWith(".DeleteOptions") || name.endsWith(".Status")) for (const side of [expected, actual!]) delete side["x-kubernetes-group-version-kind"];
      assert.deepEqual(actual, expected, `${path} ${name}`);
    }
  }
});
