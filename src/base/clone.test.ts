import { deepEqual, equal, notEqual } from "node:assert/strict";
import { test } from "node:test";
import { cloneJson } from "./clone.ts";

test("a clone is what JSON would make of a value, and shares no object with it", () => {
  const values: unknown[] = [
    null,
    0,
    "text",
    [],
    {},
    [1, [2, [undefined, null]], { a: [{}] }],
    { a: 1, b: undefined, c: { d: [{ e: undefined, f: null }], g: "" } },
    JSON.parse('{"__proto__":{"a":{"b":1}},"constructor":{"x":[]},"toString":"t"}'),
    Object.freeze({ deep: Object.freeze([Object.freeze({ a: 1 })]) }),
  ];
  for (const value of values) {
    const copy = cloneJson(value);
    equal(JSON.stringify(copy), JSON.stringify(value));
    if (typeof value === "object" && value !== null) assertNothingShared(copy as object, value);
  }
  const copy = cloneJson(JSON.parse('{"__proto__":{"polluted":true}}') as object);
  equal(Object.getPrototypeOf(copy), Object.prototype);
  deepEqual(Object.keys(copy), ["__proto__"]);
});

function assertNothingShared(copy: object, value: object): void {
  notEqual(copy, value);
  for (const key of Object.keys(copy)) {
    const [left, right] = [copy, value].map((holder) => Object.getOwnPropertyDescriptor(holder, key)!.value as unknown);
    if (typeof left === "object" && left !== null) assertNothingShared(left, right as object);
  }
}
