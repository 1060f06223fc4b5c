import assert from "node:assert/strict";
import { test } from "node:test";
import type { JSONSchemaProps } from "./json-schema.ts";
import { CustomSchema } from "./schema.ts";
import { shapeObject } from "./shape-object.ts";

const object = (properties: Record<string, JSONSchemaProps>, rest: JSONSchemaProps = {}): JSONSchemaProps => ({ type: "object", properties, ...rest });
const text: JSONSchemaProps = { type: "string" };
const free: JSONSchemaProps = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
const list = (items: JSONSchemaProps, rest: JSONSchemaProps = {}): JSONSchemaProps => ({ type: "array", items, ...rest });
const map = (additionalProperties: JSONSchemaProps | boolean): JSONSchemaProps => ({ type: "object", additionalProperties });
const resource = (rest: JSONSchemaProps = {}): JSONSchemaProps => ({ type: "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, ...rest });

/** What it is about, the schema of `.a`, what comes in `.a` (undefined: nothing), what becomes of it, and the fields that were unknown. */
const cases: [about: string, schema: JSONSchemaProps, input: unknown, output: unknown, unknown?: string[]][] = [
  // Pruning
  ["a known field stays", object({ x: text }), { x: "1" }, { x: "1" }],
  ["an unknown field goes", object({ x: text }), { x: "1", y: 2 }, { x: "1" }, ["a.y"]],
  ["unknown fields are named in order of the alphabet", object({}), { z: 1, b: 2 }, {}, ["a.b", "a.z"]],
  ["what lies inside an unknown field is not named", object({}), { z: { deep: 1 } }, {}, ["a.z"]],
  ["in lists as well", list(object({ x: text })), [{ x: "1", y: 2 }, { y: 3 }], [{ x: "1" }, {}], ["a[0].y", "a[1].y"]],
  ["in maps as well", map(object({ x: text })), { one: { x: "1", y: 2 } }, { one: { x: "1" } }, ["a.one.y"]],
  ["keys of a map are no fields", map(text), { any: "1", other: "2" }, { any: "1", other: "2" }],
  ["scalars of a wrong type are for validation", object({ x: text }), { x: 5 }, { x: 5 }],
  ["an object where a list belongs is kept by its own fields", list(object({ x: text })), { x: "1" }, {}, ["a.x"]],
  ["a map of anything holds scalars", map(true), { x: 1, y: "2" }, { x: 1, y: "2" }],
  ["but no objects with fields", map(true), { x: { y: 1 } }, { x: {} }, ["a.x.y"]],
  ["additionalProperties: false is none", { type: "object", additionalProperties: false }, { x: 1 }, {}, ["a.x"]],
  ["a field called like a method of objects", object({ constructor: text }), { constructor: "1", toString: 2 }, { constructor: "1" }, ["a.toString"]],
  ["preserved: everything stays", free, { x: 1, y: { z: [1, { w: 2 }] } }, { x: 1, y: { z: [1, { w: 2 }] } }],
  ["preserved: known fields are pruned inside", object({ x: object({ y: text }) }, free), { x: { y: "1", z: 2 }, w: { v: 1 } }, { x: { y: "1" }, w: { v: 1 } }, ["a.x.z"]],
  ["preserved list: its elements are kept as well", list(object({ x: object({}) }), { "x-kubernetes-preserve-unknown-fields": true }), [{ x: { y: 1 }, z: 2 }], [{ x: {}, z: 2 }], ["a[0].x.y"]],
  ["int-or-string: both", { "x-kubernetes-int-or-string": true }, "80%", "80%"],
  // Embedded resources
  ["an embedded resource keeps its type and metadata", resource(), { apiVersion: "v1", kind: "Pod", metadata: { name: "x", labels: { a: "b" } }, spec: { x: 1 } }, { apiVersion: "v1", kind: "Pod", metadata: { name: "x", labels: { a: "b" } }, spec: { x: 1 } }],
  ["its metadata is an ObjectMeta", resource(), { apiVersion: "v1", kind: "Pod", metadata: { name: "x", color: "red" } }, { apiVersion: "v1", kind: "Pod", metadata: { name: "x" } }, ["a.metadata.color"]],
  ["its creationTimestamp of nothing is nothing", resource(), { apiVersion: "v1", kind: "Pod", metadata: { name: "x", creationTimestamp: null } }, { apiVersion: "v1", kind: "Pod", metadata: { name: "x" } }],
  ["without preserving, only its own fields stay beside them", { type: "object", "x-kubernetes-embedded-resource": true, properties: { spec: object({ x: text }) } }, { apiVersion: "v1", kind: "Pod", spec: { x: "1", y: 2 }, data: 1 }, { apiVersion: "v1", kind: "Pod", spec: { x: "1" } }, ["a.data", "a.spec.y"]],
  // Defaults
  ["an absent field gets its default", object({ x: { type: "integer", default: 3 } }), {}, { x: 3 }],
  ["zero is there", object({ x: { type: "integer", default: 3 } }), { x: 0 }, { x: 0 }],
  ["false and the empty text are there", object({ x: { type: "boolean", default: true }, y: { ...text, default: "d" } }), { x: false, y: "" }, { x: false, y: "" }],
  ["no default below an absent object", object({ x: object({ y: { ...text, default: "d" } }) }), {}, {}],
  ["an object's default gets the defaults below", object({ x: object({ y: { ...text, default: "d" }, z: text }, { default: { z: "1" } }) }), {}, { x: { z: "1", y: "d" } }],
  ["the default of the object itself", object({ y: { ...text, default: "d" } }, { default: {} }), undefined, { y: "d" }],
  ["in elements of a list", list(object({ x: { ...text, default: "d" } })), [{}, { x: "1" }], [{ x: "d" }, { x: "1" }]],
  ["in values of a map", map(object({ x: { ...text, default: "d" } })), { one: {} }, { one: { x: "d" } }],
  ["a default of null is none", object({ x: { ...text, default: null } }), {}, {}],
  // Null
  ["null where it may not be, without a default: dropped", object({ x: text }), { x: null }, {}],
  ["null where it may not be, with a default: the default", object({ x: { ...text, default: "d" } }), { x: null }, { x: "d" }],
  ["null where it may be stays", object({ x: { ...text, nullable: true, default: "d" } }), { x: null }, { x: null }],
  ["null of a map that may not be: dropped", map(text), { x: null, y: "1" }, { y: "1" }],
  ["null of an unknown field in what is preserved stays", free, { x: null }, { x: null }],
  ["null in a list stays, for validation", list(text), [null, "1"], [null, "1"]],
  ["null in a list with a default: the default", list({ ...text, default: "d" }), [null], ["d"]],
];

test("pruning, defaults and nulls", async (t) => {
  for (const [about, schema, input, output, unknown = []] of cases) {
    await t.test(about, () => {
      const given = JSON.parse(JSON.stringify({ metadata: { name: "n" }, ...(input !== undefined && { a: input }) })) as Record<string, unknown>;
      const before = structuredClone(given);
      const shaped = shapeObject(new CustomSchema(object({ a: schema })), given);
      assert.deepEqual(shaped.value["a"], output);
      assert.deepEqual(shaped.unknownFields, unknown.map((path) => `unknown field ${JSON.stringify(path)}`));
      assert.deepEqual(given, before, "the input stays as it is");
      const again = shapeObject(new CustomSchema(object({ a: schema })), shaped.value);
      assert.equal(again.value, shaped.value, "what is in shape is given back itself");
    });
  }
});

test("the object's own metadata is an ObjectMeta, its kind is not pruned", () => {
  const { value, unknownFields } = shapeObject(new CustomSchema(object({})), { apiVersion: "x/v1", kind: "X", metadata: { name: "n", nonsense: 1, labels: null }, spec: {} });
  assert.deepEqual(value, { apiVersion: "x/v1", kind: "X", metadata: { name: "n" } });
  assert.deepEqual(unknownFields, ['unknown field "metadata.nonsense"', 'unknown field "spec"']);
});

test("refused: metadata of wrong types, and kinds that are no texts", () => {
  const schema = new CustomSchema(object({ a: resource() }));
  assert.throws(() => shapeObject(schema, { metadata: { labels: { a: 1 } } }), /cannot unmarshal number into Go struct field ObjectMeta.labels of type string/);
  assert.throws(() => shapeObject(schema, { metadata: { labels: { a: 1 }, annotations: { a: true } } }), /cannot unmarshal bool into Go struct field ObjectMeta.annotations of type string/);
  assert.throws(() => shapeObject(schema, { metadata: {}, a: { metadata: { name: true } } }), /a\.metadata: Invalid value: \{"name":true\}: json: cannot unmarshal bool into Go struct field ObjectMeta.name of type string$/);
  assert.throws(() => shapeObject(schema, { metadata: {}, a: { metadata: [] } }), /a\.metadata: Invalid value: \[\]: json: cannot unmarshal array into Go value of type v1.ObjectMeta$/);
  assert.throws(() => shapeObject(schema, { metadata: { labels: { a: 1 } }, a: { kind: 5 } }), /ObjectMeta\.labels/, "the object's own first");
  assert.throws(() => shapeObject(schema, { metadata: {}, a: { kind: 5 } }), /a\.kind: Invalid value: 5: must be a string/);
});

test("nulls stay in an object that was applied to, for validation", () => {
  const schema = new CustomSchema(object({ a: text, b: { ...text, default: "d" } }));
  assert.deepEqual(shapeObject(schema, { metadata: {}, a: null, b: null }, { keepsNulls: true }).value, { metadata: {}, a: null, b: "d" });
});
