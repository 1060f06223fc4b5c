import assert from "node:assert/strict";
import { test } from "node:test";
import { renderFieldError } from "../field.ts";
import { Correlation } from "./correlation.ts";
import type { JSONSchemaProps } from "./json-schema.ts";
import { validateListTypes } from "./list-types.ts";
import { CustomSchema } from "./schema.ts";
import { validateValue } from "./validate-value.ts";

const text: JSONSchemaProps = { type: "string" };
const integer: JSONSchemaProps = { type: "integer" };
const object = (properties: Record<string, JSONSchemaProps>, rest: JSONSchemaProps = {}): JSONSchemaProps => ({ type: "object", properties, ...rest });

/** The schema of `.a`, its value, what is said of it. */
const cases: [schema: JSONSchemaProps, value: unknown, ...errors: string[]][] = [
  // Types
  [text, "x"],
  [text, 5, 'a: Invalid value: "integer": a in body must be of type string: "integer"'],
  [text, null, 'a: Invalid value: "null": a in body must be of type string: "null"'],
  [{ ...text, nullable: true }, null],
  [integer, "5", 'a: Invalid value: "string": a in body must be of type integer: "string"'],
  [integer, 5.5, 'a: Invalid value: "number": a in body must be of type integer: "number"'],
  [{ ...integer, format: "int32" }, true, 'a: Invalid value: "boolean": a in body must be of type integer: "boolean"'],
  [{ type: "number" }, 5],
  [{ type: "number" }, "5", 'a: Invalid value: "string": a in body must be of type number: "string"'],
  [{ type: "boolean" }, "true", 'a: Invalid value: "string": a in body must be of type boolean: "string"'],
  [{ type: "array", items: text }, {}, 'a: Invalid value: "object": a in body must be of type array: "object"'],
  [object({}), [], 'a: Invalid value: "array": a in body must be of type object: "array"'],
  [{ "x-kubernetes-int-or-string": true }, 5],
  [{ "x-kubernetes-int-or-string": true }, "50%"],
  [{ "x-kubernetes-int-or-string": true }, true, 'a: Invalid value: "boolean": a in body must be of type integer,string: "boolean"'],
  [{ "x-kubernetes-preserve-unknown-fields": true }, { any: [1, "2"] }],
  // Numbers
  [{ ...integer, minimum: 1 }, 0, "a: Invalid value: 0: a in body should be greater than or equal to 1"],
  [{ ...integer, minimum: 1, exclusiveMinimum: true }, 1, "a: Invalid value: 1: a in body should be greater than 1"],
  [{ ...integer, maximum: 9 }, 10, "a: Invalid value: 10: a in body should be less than or equal to 9"],
  [{ ...integer, maximum: 9, exclusiveMaximum: true }, 9, "a: Invalid value: 9: a in body should be less than 9"],
  [{ ...integer, multipleOf: 5 }, 12, "a: Invalid value: 12: a in body should be a multiple of 5"],
  [{ type: "number", multipleOf: 0.1 }, 0.3],
  // Texts
  [{ ...text, minLength: 3 }, "ab", 'a: Invalid value: "ab": a in body should be at least 3 chars long'],
  [{ ...text, maxLength: 2 }, "abc", "a: Too long: may not be more than 2 bytes"],
  [{ ...text, maxLength: 2 }, "😀😀"],
  [{ ...text, pattern: "^a+$" }, "ab", `a: Invalid value: "ab": a in body should match '^a+$'`],
  [{ ...text, pattern: "b" }, "abc"],
  [{ ...text, pattern: "^(a+)+$" }, `${"a".repeat(60)}b`, `a: Invalid value: "${"a".repeat(60)}b": a in body should match '^(a+)+$'`],
  [{ ...text, enum: ["One", "Two"] }, "Three", 'a: Unsupported value: "Three": supported values: "One", "Two"'],
  [{ ...integer, enum: [1, 2] }, 3, 'a: Unsupported value: 3: supported values: "1", "2"'],
  // Formats
  [{ ...text, format: "date-time" }, "2020-01-02T03:04:05Z"],
  [{ ...text, format: "date-time" }, "yesterday", 'a: Invalid value: "yesterday": a in body must be of type date-time: "yesterday"'],
  [{ ...text, format: "ipv4" }, "1.2.3.4.5", 'a: Invalid value: "1.2.3.4.5": a in body must be of type ipv4: "1.2.3.4.5"'],
  [{ ...text, format: "shoe-size" }, "anything"],
  [{ ...text, format: "date" }, 5, 'a: Invalid value: "int64": a in body must be of type date: "int64"'],
  // Lists
  [{ type: "array", items: integer }, [1, "2"], 'a[1]: Invalid value: "string": a[1] in body must be of type integer: "string"'],
  [{ type: "array", items: integer, minItems: 2 }, [1], "a: Invalid value: 1: a in body should have at least 2 items"],
  [{ type: "array", items: integer, maxItems: 1 }, [1, 2], "a: Too many: 2: must have at most 1 items"],
  [{ type: "array", items: integer, uniqueItems: true }, [1, 1], `a: Invalid value: "": a in body shouldn't contain duplicates`],
  // Objects
  [object({ x: text }, { required: ["x", "y"] }), { x: "1" }, "a.y: Required value"],
  [object({ x: text }), { x: 1 }, 'a.x: Invalid value: "integer": a.x in body must be of type string: "integer"'],
  [{ type: "object", additionalProperties: text }, { k: 1 }, 'a.k: Invalid value: "integer": a.k in body must be of type string: "integer"'],
  [{ type: "object", additionalProperties: text, minProperties: 1 }, {}, "a: Invalid value: 0: a in body should have at least 1 properties"],
  [{ type: "object", additionalProperties: text, maxProperties: 1 }, { x: "1", y: "2" }, "a: Too many: 2: must have at most 1 items"],
  // Junctors
  [object({ x: text, y: text }, { oneOf: [{ required: ["x"] }, { required: ["y"] }] }), { x: "1" }],
  [object({ x: text, y: text }, { oneOf: [{ required: ["x"] }, { required: ["y"] }] }), {}, '<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found none valid', "a.x: Required value"],
  [object({ x: text, y: text }, { oneOf: [{ required: ["x"] }, { required: ["y"] }] }), { x: "1", y: "2" }, '<nil>: Invalid value: "": "a" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
  [{ ...integer, anyOf: [{ maximum: 3 }, { minimum: 7 }] }, 5, '<nil>: Invalid value: "": "a" must validate at least one schema (anyOf)', "a: Invalid value: 5: a in body should be less than or equal to 3"],
  [{ ...integer, anyOf: [{ maximum: 3 }, { minimum: 7 }] }, 8],
  [{ ...integer, allOf: [{ maximum: 3 }, { minimum: 1 }] }, 5, "a: Invalid value: 5: a in body should be less than or equal to 3", '<nil>: Invalid value: "": "a" must validate all the schemas (allOf)'],
  [{ ...integer, allOf: [{ maximum: 3 }] }, 5, "a: Invalid value: 5: a in body should be less than or equal to 3", '<nil>: Invalid value: "": "a" must validate all the schemas (allOf). None validated'],
  [{ ...text, not: { enum: ["x"] } }, "x", '<nil>: Invalid value: "": "a" must not validate the schema (not)'],
  [{ "x-kubernetes-int-or-string": true, anyOf: [{ type: "integer" }, { type: "string" }], pattern: "^[0-9]+%$" }, "x%", `a: Invalid value: "x%": a in body should match '^[0-9]+%$'`],
];

test("values are judged in upstream's words", async (t) => {
  for (const [schema, value, ...errors] of cases) {
    await t.test(`${JSON.stringify(schema)} ← ${JSON.stringify(value)}`, () => {
      assert.deepEqual(validateValue(new CustomSchema(object({ a: schema })), { a: value }).map(renderFieldError), errors);
    });
  }
});

const part = object({ name: text, size: { ...integer, maximum: 5 } });
const keyed: JSONSchemaProps = { type: "array", items: part, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] };
const tooLarge = (path: string, value = 9) => `${path}: Invalid value: ${value}: ${path} in body should be less than or equal to 5`;

/** The schema of `.a`, what it was, what it is, what is said of it. */
const ratcheted: [about: string, schema: JSONSchemaProps, old: unknown, value: unknown, ...errors: string[]][] = [
  ["what was wrong and has not changed passes", object({ size: { ...integer, maximum: 5 }, color: text }), { size: 9 }, { size: 9, color: "red" }],
  ["what has changed must be right", object({ size: { ...integer, maximum: 5 } }), { size: 8 }, { size: 9 }, tooLarge("a.size")],
  ["what is new must be right", object({ size: { ...integer, maximum: 5 } }), {}, { size: 9 }, tooLarge("a.size")],
  ["an element with a key is known by it, wherever it stands", keyed, [{ name: "x", size: 9 }], [{ name: "y", size: 1 }, { name: "x", size: 9 }]],
  ["a new element must be right", keyed, [{ name: "x", size: 9 }], [{ name: "x", size: 9 }, { name: "y", size: 9 }], tooLarge("a[1].size")],
  ["elements without keys are not told apart", { type: "array", items: part }, [{ name: "x", size: 9 }], [{ name: "x", size: 9 }, { name: "y", size: 1 }], tooLarge("a[0].size")],
  ["but a whole list that has not changed is", { type: "array", items: part }, [{ name: "x", size: 9 }], [{ name: "x", size: 9 }]],
  ["values of a map by their key", { type: "object", additionalProperties: { ...integer, maximum: 5 } }, { x: 9 }, { x: 9, y: 9 }, tooLarge("a.y")],
  ["a field that has come to be required is missed once the object changes", object({ x: text, y: text }, { required: ["y"] }), { x: "1" }, { x: "2" }, "a.y: Required value"],
  ["and not before", object({ x: text, y: text }, { required: ["y"] }), { x: "1" }, { x: "1" }],
];

test("what was wrong already may go on", async (t) => {
  for (const [about, schema, old, value, ...errors] of ratcheted) {
    await t.test(about, () => {
      const root = new CustomSchema(object({ a: schema, z: integer }));
      assert.deepEqual(validateValue(root, { a: value, z: 2 }, new Correlation(root, { a: value, z: 2 }, { a: old, z: 1 })).map(renderFieldError), errors);
    });
  }
});

const lists: [schema: JSONSchemaProps, value: unknown, ...errors: string[]][] = [
  [{ type: "array", items: text, "x-kubernetes-list-type": "set" }, ["x", "y", "x", "x"], 'a[2]: Duplicate value: "x"'],
  [{ type: "array", items: text, "x-kubernetes-list-type": "set" }, ["x", "y"]],
  [{ type: "array", items: text }, ["x", "x"]],
  [keyed, [{ name: "x" }, { name: "x", size: 1 }], 'a[1]: Duplicate value: {"name":"x"}'],
  [keyed, [{ name: "x" }, { size: 1 }, { size: 2 }], "a[2]: Duplicate value: {}"],
  [keyed, [{ name: "x" }, "x"], 'a[1]: Invalid value: "x": must be an object for an array of list-type map'],
  [{ type: "object", additionalProperties: { type: "array", items: integer, "x-kubernetes-list-type": "set" } }, { k: [1, 1] }, "a[k][1]: Duplicate value: 1"],
];

test("sets hold nothing twice", async (t) => {
  for (const [schema, value, ...errors] of lists) {
    await t.test(JSON.stringify(value), () => assert.deepEqual(validateListTypes(new CustomSchema(object({ a: schema })), { a: value }).map(renderFieldError), errors));
  }
});
