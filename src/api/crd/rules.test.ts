import assert from "node:assert/strict";
import { test } from "node:test";
import { CostBudget } from "../cel/program.ts";
import { renderFieldError } from "../field.ts";
import type { JSONSchemaProps, ValidationRule } from "./json-schema.ts";
import { validateRules } from "./rules.ts";
import { CustomSchema } from "./schema.ts";
import { validateSchema } from "./schema-check.ts";

const integer: JSONSchemaProps = { type: "integer" };
const text: JSONSchemaProps = { type: "string", maxLength: 20 };
const ruled = (schema: JSONSchemaProps, ...rules: (string | ValidationRule)[]): JSONSchemaProps => ({ ...schema, "x-kubernetes-validations": rules.map((rule) => (typeof rule === "string" ? { rule } : rule)) });
const object = (properties: Record<string, JSONSchemaProps>): JSONSchemaProps => ({ type: "object", properties });
const range = object({ low: integer, high: integer });
const parts: JSONSchemaProps = { type: "array", maxItems: 10, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], items: object({ name: text, size: ruled(integer, "self >= oldSelf") }) };

/** The schema of `.a`, its value (and what it was), what is said of it. */
const cases: [about: string, schema: JSONSchemaProps, value: unknown, old: unknown, ...errors: string[]][] = [
  ["a rule that holds", ruled(range, "self.low <= self.high"), { low: 1, high: 2 }, undefined],
  ["one that does not, of an object", ruled(range, "self.low <= self.high"), { low: 3, high: 2 }, undefined, "a: Invalid value: failed rule: self.low <= self.high"],
  ["of a scalar", ruled(integer, "self > 3"), 1, undefined, "a: Invalid value: 1: failed rule: self > 3"],
  ["in its own words", ruled(integer, { rule: "self > 3", message: " too small " }), 1, undefined, "a: Invalid value: 1: too small"],
  ["in words made for it", ruled(integer, { rule: "self > 3", message: "x", messageExpression: "'is ' + string(self)" }), 1, undefined, "a: Invalid value: 1: is 1"],
  ["words that fail give way to those that do not", ruled(integer, { rule: "self > 3", message: "plain", messageExpression: "string(1 / (self - 1))" }), 1, undefined, "a: Invalid value: 1: plain"],
  ["empty words as well", ruled(integer, { rule: "self > 3", messageExpression: "' '" }), 1, undefined, "a: Invalid value: 1: failed rule: self > 3"],
  ["another reason", ruled(integer, { rule: "self > 3", message: "m", reason: "FieldValueForbidden" }), 1, undefined, "a: Forbidden: m"],
  ["required", ruled(range, { rule: "has(self.low)", message: "low it must have", reason: "FieldValueRequired", fieldPath: ".low" }), {}, undefined, "a.low: Required value: low it must have"],
  ["all that are wrong", ruled(integer, "self > 3", "self > 2", "self > 0"), 1, undefined, "a: Invalid value: 1: failed rule: self > 3", "a: Invalid value: 1: failed rule: self > 2"],
  ["null is for the rules around it", ruled({ ...integer, nullable: true }, "self > 3"), null, undefined],
  ["absent as well", object({ x: ruled(integer, "self > 3") }), {}, undefined],
  ["a field that is not there", ruled(range, "self.low <= self.high"), { low: 1 }, undefined, 'a: Invalid value: "object": no such key: high evaluating rule: self.low <= self.high'],
  ["names that are no identifiers", ruled(object({ "a-b": integer, "c.d": integer }), "self.a__dash__b == self.c__dot__d"), { "a-b": 1, "c.d": 2 }, undefined, "a: Invalid value: failed rule: self.a__dash__b == self.c__dot__d"],
  ["values of a map", { type: "object", maxProperties: 5, additionalProperties: ruled(integer, "self > 3") }, { x: 1 }, undefined, "a[x]: Invalid value: 1: failed rule: self > 3"],
  ["elements of a list", { type: "array", maxItems: 5, items: ruled(integer, "self > 3") }, [4, 1], undefined, "a[1]: Invalid value: 1: failed rule: self > 3"],
  // Change
  ["a rule about change is silent at creation", ruled(integer, "self >= oldSelf"), 1, undefined],
  ["and speaks at updates", ruled(integer, "self >= oldSelf"), 1, 2, "a: Invalid value: 1: failed rule: self >= oldSelf"],
  ["a value that was not there has no past", object({ x: ruled(integer, "self >= oldSelf") }), { x: 1 }, {}],
  ["elements with keys have one", parts, [{ name: "y", size: 1 }, { name: "x", size: 1 }], [{ name: "x", size: 2 }], "a[1].size: Invalid value: 1: failed rule: self >= oldSelf"],
  ["a rule may ask whether there was one", ruled(integer, { rule: "!oldSelf.hasValue() || self >= oldSelf.value()", optionalOldSelf: true }), 1, 2, "a: Invalid value: 1: failed rule: !oldSelf.hasValue() || self >= oldSelf.value()"],
  ["and speak at creation", ruled(integer, { rule: "oldSelf.hasValue() || self == 0", optionalOldSelf: true }), 1, undefined, "a: Invalid value: 1: failed rule: oldSelf.hasValue() || self == 0"],
  // What has not changed
  ["wrong already, unchanged: passes", object({ x: ruled(integer, "self > 3"), y: integer }), { x: 1, y: 2 }, { x: 1, y: 1 }],
  ["wrong already, changed: does not", object({ x: ruled(integer, "self > 3") }), { x: 2 }, { x: 1 }, "a.x: Invalid value: 2: failed rule: self > 3"],
];

test("rules are evaluated on what they stand at", async (t) => {
  for (const [about, schema, value, old, ...errors] of cases) {
    await t.test(about, () => {
      const root = new CustomSchema(object({ a: schema, z: integer }));
      const found = validateRules(root, { a: value, z: 2 }, { budget: new CostBudget(1e7), ...(old !== undefined && { old: { a: old, z: 1 } }) });
      assert.deepEqual(found.map(renderFieldError), errors);
    });
  }
});

test("a resource's rule sees its name and kind", () => {
  const schema = new CustomSchema(ruled(object({}), { rule: "self.metadata.name.startsWith('a') && self.kind == 'Thing'", message: "no" }));
  const named = (name: string) => ({ apiVersion: "x/v1", kind: "Thing", metadata: { name } });
  assert.deepEqual(validateRules(schema, named("ann"), { budget: new CostBudget(1e7) }), []);
  assert.deepEqual(validateRules(schema, named("bob"), { budget: new CostBudget(1e7) }).map(renderFieldError), ["<nil>: Invalid value: no"]);
});

test("a budget that ends, ends the rules", () => {
  const schema = new CustomSchema(object({ a: ruled({ type: "array", items: integer }, "self.all(x, self.exists(y, y == x))"), b: ruled(integer, "self > 3") }));
  const list = Array.from({ length: 100 }, (_, index) => index);
  assert.deepEqual(validateRules(schema, { a: list, b: 1 }, { budget: new CostBudget(100) }).map(renderFieldError), ['a: Invalid value: "array": validation failed due to running out of cost budget, no further validation rules will be run']);
  const longer = Array.from({ length: 2000 }, (_, index) => index);
  assert.match(renderFieldError(validateRules(schema, { a: longer }, { budget: new CostBudget(1e7) })[0]!), /^a: Invalid value: "array": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self\.all/);
});

/** A schema, and what a definition with it is refused for. */
const definitions: [schema: JSONSchemaProps, error: RegExp][] = [
  [ruled(range, "self.low"), /x-kubernetes-validations\[0\]\.rule: Invalid value: .*cel expression must evaluate to a bool/],
  [ruled(range, "self.lwo > 1"), /rule: Invalid value: .*compilation failed: ERROR: <input>:1:5: undefined field 'lwo'/],
  [ruled(range, "self.low >"), /compilation failed: ERROR: <input>:1:11: Syntax error/],
  [ruled(integer, { rule: "self > 1", messageExpression: "self" }), /messageExpression: Invalid value: .*messageExpression must evaluate to a string/],
  [ruled({ type: "array", items: { type: "string" } }, "self.all(x, self.all(y, x == y || x.contains(y)))"), /rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x \(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared\)/],
];

test("rules that cannot be are refused with their definition", async (t) => {
  for (const [schema, error] of definitions) {
    await t.test(schema["x-kubernetes-validations"]![0]!.rule, () => assert.match(validateSchema(object({ a: schema }), false, "s").map(renderFieldError).join("\n"), error));
  }
});
