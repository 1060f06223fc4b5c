import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../api/meta.ts";
import { lastApplied, threeWay } from "./apply.ts";

test("lastApplied() is what kubectl writes, to the byte", () => {
  const object = { kind: "ConfigMap", apiVersion: "v1", metadata: { name: "a" }, data: { b: "<x> & y", a: "1" } } as unknown as KubeObject;
  assert.equal(lastApplied(object, "default"), '{"apiVersion":"v1","data":{"a":"1","b":"\\u003cx\\u003e \\u0026 y"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"a","namespace":"default"}}\n');
});

test("threeWay() removes what only the last file named and keeps what others set", () => {
  const cases: [string, unknown, unknown, unknown, unknown][] = [
    ["nothing to do", { a: 1 }, { a: 1 }, { a: 1, b: 2 }, undefined],
    ["changed", { a: 1 }, { a: 2 }, { a: 1, b: 2 }, { a: 2 }],
    ["removed from the file", { a: 1, c: { d: 1, e: 2 } }, { c: { e: 2 } }, { a: 1, b: 2, c: { d: 1, e: 2, f: 3 } }, { a: null, c: { d: null } }],
    ["set by others, never in the file", {}, { a: 1 }, { a: 1, z: 1 }, undefined],
    ["already gone", { a: 1 }, {}, {}, undefined],
    ["lists are replaced whole", { l: [1] }, { l: [1, 2] }, { l: [1] }, { l: [1, 2] }],
  ];
  for (const [name, original, wanted, present, patch] of cases) assert.deepEqual(threeWay(original, wanted, present), patch, name);
});
