import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { limits } from "../../base/limits.ts";
import { builtinSchema } from "../kinds/table.ts";
import { StatusError } from "../status.ts";
import { parseYaml } from "../yaml.ts";
import { applyJsonPatch } from "./json.ts";
import { applyMergePatch } from "./merge.ts";
import type { JsonObject } from "./object.ts";
import { applyStrategicMergePatch } from "./strategic.ts";

interface Case {
  case: string;
  schema?: string;
  at?: string;
  original: JsonObject;
  patch: unknown;
  result?: JsonObject;
  error?: string | number;
}
const casesOf = (name: string) => parseYaml(readFileSync(join(import.meta.dirname, "testdata", `${name}.yaml`), "utf8")) as Case[];
const freeze = (value: unknown): unknown => (typeof value === "object" && value !== null ? (Object.values(value).forEach(freeze), Object.freeze(value)) : value);
const wrap = (at: string | undefined, value: unknown): JsonObject => (at?.split(".") ?? []).reduceRight<unknown>((inner, name) => ({ [name]: inner }), value) as JsonObject;

function schemaOf(name: string) {
  const [apiVersion, kind] = name.split(" ") as [string, string];
  const [group, version] = apiVersion.includes("/") ? (apiVersion.split("/") as [string, string]) : ["", apiVersion];
  return builtinSchema(group, version, kind)!;
}

const patches: Record<string, (original: JsonObject, patch: unknown, given: Case) => unknown> = {
  json: (original, patch) => applyJsonPatch(original, patch),
  merge: (original, patch) => applyMergePatch(original, patch),
  strategic: (original, patch, given) => applyStrategicMergePatch(original, patch, schemaOf(given.schema!)),
};

for (const [name, apply] of Object.entries(patches)) {
  test(`${name} patches: testdata/${name}.yaml`, () => {
    const cases = casesOf(name);
    assert.ok(cases.length > 10);
    for (const given of cases) {
      const original = freeze(wrap(given.at, given.original)) as JsonObject;
      const patch = freeze(wrap(given.at, given.patch));
      if (given.error !== undefined) {
        assert.throws(() => apply(original, patch, given), (error) => error instanceof StatusError && (assert.equal(typeof given.error === "number" ? error.code : error.message, given.error, given.case), true), given.case);
      } else assert.deepEqual(apply(original, patch, given), wrap(given.at, given.result), given.case);
    }
  });
}

test("a JSON patch is bounded in operations and in what copies add", () => {
  const many = Array.from({ length: limits.jsonPatchOperationsMax + 1 }, () => ({ op: "test", path: "", value: {} }));
  assert.throws(() => applyJsonPatch({}, many), { code: 413, message: `The allowed maximum operations in a JSON patch is 10000, got 10001` });
  const doubling = Array.from({ length: 40 }, (_, index) => ({ op: "copy", from: "", path: `/x${index}` }));
  assert.throws(() => applyJsonPatch({ a: "x".repeat(100) }, doubling), { code: 422 });
});

test("many operations on a large list stay linear", () => {
  const original = { list: Array.from({ length: 50_000 }, (_, index) => index) };
  const patch = Array.from({ length: 10_000 }, () => ({ op: "add", path: "/list/-", value: 1 }));
  const start = performance.now();
  assert.equal((applyJsonPatch(original, patch) as typeof original).list.length, 60_000);
  assert.ok(performance.now() - start < 2000);
});

test("an own property named __proto__ stays a property", () => {
  const patch = JSON.parse('{"data":{"__proto__":{"polluted":"yes"}}}') as JsonObject;
  for (const result of [applyMergePatch({ data: {} }, patch), applyStrategicMergePatch({ data: {} }, patch, schemaOf("v1 ConfigMap")), applyJsonPatch({ data: {} }, [{ op: "add", path: "/data/__proto__", value: { polluted: "yes" } }])] as JsonObject[]) {
    assert.equal((result.data as JsonObject).polluted, undefined);
    assert.equal(JSON.stringify(result), '{"data":{"__proto__":{"polluted":"yes"}}}');
  }
});
