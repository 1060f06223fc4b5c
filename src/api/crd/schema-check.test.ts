import assert from "node:assert/strict";
import { test } from "node:test";
import { renderFieldError } from "../field.ts";
import type { JSONSchemaProps } from "./json-schema.ts";
import { validateSchema } from "./schema-check.ts";

const text: JSONSchemaProps = { type: "string" };
const object = (properties: Record<string, JSONSchemaProps>, rest: JSONSchemaProps = {}): JSONSchemaProps => ({ type: "object", properties, ...rest });

/** A property `a`, and what is said of it; ROOT stands for the path of the schema, A for that of the property. */
const properties: [schema: JSONSchemaProps, ...errors: string[]][] = [
  [text],
  [{}, "A.type: Required value: must not be empty for specified object fields"],
  [{ type: "array" }, "A.items: Required value: must be specified"],
  [{ type: "array", items: {} }, "A.items.type: Required value: must not be empty for specified array items"],
  [{ type: "array", items: [text] as never }, "A.items: Forbidden: items must be a schema object and not an array"],
  [{ type: "file" }, 'A.type: Unsupported value: "file": supported values: "array", "boolean", "integer", "number", "object", "string"'],
  [{ type: "null" }, 'A.type: Unsupported value: "null": supported values: "array", "boolean", "integer", "number", "object", "string"', "A.type: Forbidden: type cannot be set to null, use nullable as an alternative"],
  [{ ...text, uniqueItems: true }, "A.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"],
  [{ ...text, $ref: "#/x" }, "A.$ref: Forbidden: $ref is not supported"],
  [{ ...text, id: "x" }, "A.id: Forbidden: id is not supported"],
  [{ type: "object", patternProperties: { x: text } }, "A.patternProperties: Forbidden: patternProperties is not supported"],
  [{ type: "object", definitions: { x: text } }, "A.definitions: Forbidden: definitions is not supported"],
  [{ ...text, pattern: "(?=a)b" }, 'A.pattern: Invalid value: "(?=a)b": must be a valid regular expression, but isn\'t: error parsing regexp: invalid or unsupported Perl syntax: `(?=`'],
  [object({ x: text }, { additionalProperties: text }), "A.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
  [{ type: "object", additionalProperties: true }],
  // Extensions
  [{ "x-kubernetes-int-or-string": true }],
  [{ "x-kubernetes-int-or-string": true, anyOf: [{ type: "integer" }, { type: "string" }] }],
  [{ "x-kubernetes-int-or-string": true, allOf: [{ anyOf: [{ type: "integer" }, { type: "string" }] }, { pattern: "x" }] }],
  [{ "x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true }, "A.x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true"],
  [{ "x-kubernetes-preserve-unknown-fields": true }],
  [{ type: "object", "x-kubernetes-preserve-unknown-fields": false }, "A.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"],
  [{ "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true }, "A.type: Required value: must be object if x-kubernetes-embedded-resource is true"],
  [{ type: "object", "x-kubernetes-embedded-resource": true }, "A.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"],
  [{ ...text, "x-kubernetes-map-type": "atomic" }, 'A.type: Invalid value: "string": must be object if x-kubernetes-map-type is specified'],
  [{ type: "object", "x-kubernetes-map-type": "loose" }, 'A.x-kubernetes-map-type: Unsupported value: "loose": supported values: "atomic", "granular"'],
  [{ type: "object", "x-kubernetes-list-type": "set" }, 'A.type: Invalid value: "object": must be array if x-kubernetes-list-type is specified'],
  [{ type: "array", items: text, "x-kubernetes-list-type": "bag" }, 'A.x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "set", "map"'],
  [{ type: "array", items: object({ x: text }), "x-kubernetes-list-type": "set" }, "A.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set"],
  [{ type: "array", items: text, "x-kubernetes-list-map-keys": ["x"] }, "A.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"],
  [{ type: "array", items: object({ x: text }), "x-kubernetes-list-type": "map" }, "A.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"],
  [{ type: "array", items: text, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["x"] }, 'A.items.type: Invalid value: "string": must be object if parent array\'s x-kubernetes-list-type is map'],
  [{ type: "array", items: object({ x: text }, { required: ["x"] }), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["y"] }, 'A.x-kubernetes-list-map-keys: Invalid value: ["y"]: entries must all be names of item properties'],
  [{ type: "array", items: object({ x: text }), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["x"] }, "A.items.properties[x].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"],
  [{ type: "array", items: object({ x: text }, { required: ["x"] }), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["x"] }],
  [{ type: "array", items: { ...text, nullable: true }, "x-kubernetes-list-type": "set" }, "A.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"],
  // Below junctors
  [object({ x: text }, { anyOf: [{ required: ["x"] }] })],
  [{ ...text, anyOf: [{ type: "string" }] }, "A.anyOf[0].type: Forbidden: must be empty to be structural"],
  [{ ...text, not: { description: "x" } }, "A.not.description: Forbidden: must be empty to be structural"],
  [{ ...text, oneOf: [{ default: "x" }] }, "A.oneOf[0].default: Forbidden: must be undefined to be structural"],
  [{ ...text, allOf: [{ nullable: true }] }, "A.allOf[0].nullable: Forbidden: must be false to be structural"],
  [object({ x: text }, { allOf: [{ properties: { y: { minLength: 1 } } }] }), "A.properties[y]: Required value: because it is defined in A.allOf[0].properties[y]"],
  [{ type: "object", additionalProperties: text, not: { additionalProperties: {} } }, "A.not.additionalProperties: Forbidden: must be undefined to be structural"],
  // Defaults
  [{ ...text, default: "x" }],
  [{ ...text, default: 5 }, 'A.default: Invalid value: "integer":  in body must be of type string: "integer"'],
  [{ type: "integer", minimum: 5, default: 1 }, "A.default: Invalid value: 1:  in body should be greater than or equal to 5"],
  [object({ x: text }, { default: { y: 1 } }), 'A.default: Invalid value: {"y":1}: must not have unknown fields'],
  // Rules
  [{ ...text, "x-kubernetes-validations": [{ rule: " " }] }, "A.x-kubernetes-validations[0].rule: Required value: rule is not specified"],
  [{ ...text, "x-kubernetes-validations": [{ rule: "self != ''", message: " " }] }, 'A.x-kubernetes-validations[0].message: Invalid value: " ": must be non-empty if specified'],
  [{ ...text, "x-kubernetes-validations": [{ rule: "self != ''", message: "a\nb" }] }, 'A.x-kubernetes-validations[0].message: Invalid value: "a\\nb": must not contain line breaks'],
  [{ ...text, "x-kubernetes-validations": [{ rule: "self\n != ''" }] }, "A.x-kubernetes-validations[0].message: Required value: message must be specified if rule contains line breaks"],
  [{ ...text, "x-kubernetes-validations": [{ rule: "self != ''", reason: "Why" as never }] }, 'A.x-kubernetes-validations[0].reason: Unsupported value: "Why": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"'],
  [object({ x: text }, { "x-kubernetes-validations": [{ rule: "self.x != ''", fieldPath: ".y" }] }), 'A.x-kubernetes-validations[0].fieldPath: Invalid value: ".y": must be a valid path'],
  [object({ x: text }, { "x-kubernetes-validations": [{ rule: "self.x != ''", fieldPath: ".x" }] })],
  [{ type: "array", maxItems: 5, items: { ...text, maxLength: 10, "x-kubernetes-validations": [{ rule: "self == oldSelf" }] } }, 'A.items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within A'],
  [{ ...text, maxLength: 10, "x-kubernetes-validations": [{ rule: "self != ''", optionalOldSelf: true }] }, "A.x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"],
];

test("properties of a schema", async (t) => {
  for (const [schema, ...errors] of properties) {
    await t.test(JSON.stringify(schema), () => {
      const at = "s.openAPIV3Schema.properties[a]";
      const found = validateSchema(object({ a: schema }), false, "s").map((error) => renderFieldError(error).replaceAll(at, "A"));
      assert.deepEqual(found, errors);
    });
  }
});

const roots: [about: string, schema: JSONSchemaProps, hasStatus: boolean, ...errors: string[]][] = [
  ["an object", object({}), true],
  ["no type", { properties: {} }, false, "ROOT.type: Required value: must not be empty at the root"],
  ["another type", { type: "string" }, false, 'ROOT.type: Invalid value: "string": must be object at the root'],
  ["additional properties", { type: "object", additionalProperties: text }, false, "ROOT.additionalProperties: Forbidden: must not be used at the root"],
  ["nullable", object({}, { nullable: true }), false, "ROOT.nullable: Forbidden: nullable cannot be true at the root"],
  ["metadata with a type", object({ metadata: { type: "object" } }), false],
  ["metadata with a name", object({ metadata: object({ name: { ...text, pattern: "^a" } }) }), false],
  ["metadata with labels", object({ metadata: object({ labels: { type: "object", additionalProperties: text } }) }), false, "ROOT.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"],
  ["a kind that is no text", object({ kind: { type: "integer" } }), false, 'ROOT.properties[kind].type: Invalid value: "integer": must be string'],
  ["a default of the kind", object({ kind: { ...text, default: "X" } }), false, "ROOT.properties[kind].default: Forbidden: must not be set in top-level kind"],
  ["constraints on metadata below a junctor", object({ metadata: { type: "object" } }, { anyOf: [{ properties: { metadata: {} } }] }), false, "ROOT.anyOf[0].properties[metadata]: Forbidden: must not be specified in a nested context"],
];

test("the root of a schema", async (t) => {
  for (const [about, schema, hasStatus, ...errors] of roots) {
    await t.test(about, () => assert.deepEqual(validateSchema(schema, hasStatus, "s").map(renderFieldError).map((error) => error.replaceAll("s.openAPIV3Schema", "ROOT")), errors));
  }
});

test("with a status of its own, nothing at the root may be lost when the status is taken out", () => {
  const [error] = validateSchema(object({ x: text }, { oneOf: [{ required: ["x"] }] }), true, "s");
  assert.match(renderFieldError(error!), /^s\.openAPIV3Schema: Invalid value: .*: only \[Description Type .* XValidations\] fields are allowed at the root of the schema if the status subresource is enabled$/);
});
