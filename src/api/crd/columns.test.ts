import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../meta.ts";
import { customColumns } from "./columns.ts";
import { JsonPathError, parseJsonPath } from "./json-path.ts";

const object = {
  apiVersion: "x/v1",
  kind: "X",
  metadata: { name: "one", creationTimestamp: "2026-01-01T00:00:00Z", annotations: { "a.b/c": "dotted" } },
  spec: { size: 3, share: 0.5, on: true, color: "red", parts: [{ name: "x", size: 1 }, { name: "y", size: 7 }, { name: "z" }], tags: ["p", "q", "r", "s"], nothing: null, nested: { b: 1, a: [2] } },
  status: { conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2026-01-01T00:59:00Z" }, { type: "Stale", status: "False" }] },
} as unknown as KubeObject;
const nowMs = Date.parse("2026-01-01T01:00:00Z");

/** Path → what it finds. */
const paths: [path: string, ...found: unknown[]][] = [
  [".spec.size", 3],
  ["$.spec.size", 3],
  [".spec.missing"],
  [".spec.missing.deeper"],
  ["['spec']['color']", "red"],
  [".metadata.annotations.a\\.b/c", "dotted"],
  [".metadata.annotations['a.b/c']", "dotted"],
  [".spec.tags[0]", "p"],
  [".spec.tags[-1]", "s"],
  [".spec.tags[9]"],
  [".spec.tags[1:3]", "q", "r"],
  [".spec.tags[:2]", "p", "q"],
  [".spec.tags[0:4:2]", "p", "r"],
  [".spec.tags[0,2]", "p", "r"],
  [".spec.tags[*]", "p", "q", "r", "s"],
  [".spec.parts[*].name", "x", "y", "z"],
  ['.status.conditions[?(@.type=="Ready")].status', "True"],
  [".status.conditions[?(@.type=='Ready')].status", "True"],
  ['.status.conditions[?(@.type != "Ready")].type', "Stale"],
  ['.status.conditions[?(@.type=="Gone")].status'],
  [".spec.parts[?(@.size > 2)].name", "y"],
  [".spec.parts[?(@.size <= 1)].name", "x"],
  [".spec.parts[?(@.size)].name", "x", "y"],
  [".spec.nested.*", [2], 1],
  ["..size", 3, 1, 7],
];

test("paths find what they name", async (t) => {
  for (const [path, ...found] of paths) await t.test(path, () => assert.deepEqual(parseJsonPath(path)(object), found));
});

test("what is no path is refused", () => {
  for (const path of [".a[", ".a[x]", ".a[?(@.b==", ".a[0:2:0]", "spec"]) assert.throws(() => parseJsonPath(path), JsonPathError, path);
});

/** Type and path → cell. */
const cells: [type: string, path: string, cell: unknown][] = [
  ["string", ".spec.color", "red"],
  ["string", ".spec.size", "3"],
  ["string", ".spec.on", "true"],
  ["string", ".spec.nested", '{"a":[2],"b":1}'],
  ["string", ".spec.missing", null],
  ["string", ".spec.tags[*]", "p"],
  ["integer", ".spec.size", 3],
  ["integer", ".spec.share", 0],
  ["integer", ".spec.color", null],
  ["number", ".spec.share", 0.5],
  ["boolean", ".spec.on", true],
  ["boolean", ".spec.color", null],
  ["date", ".status.conditions[?(@.type=='Ready')].lastTransitionTime", "60s"],
  ["date", ".spec.color", "<invalid>"],
  ["date", ".spec.missing", null],
];

test("cells", async (t) => {
  for (const [type, jsonPath, cell] of cells) await t.test(`${type} ${jsonPath}`, () => assert.deepEqual(customColumns([{ name: "C", type, jsonPath }])[1]!.cell(object, nowMs), cell));
});

test("the name comes first; the age only where nothing else is asked for", () => {
  assert.deepEqual(customColumns(undefined).map(({ name, type }) => [name, type]), [["Name", "string"], ["Age", "date"]]);
  assert.equal(customColumns([])[1]!.cell(object, nowMs), "60m");
  assert.deepEqual(customColumns([{ name: "Size", type: "integer", jsonPath: ".spec.size", priority: 1 }]).map(({ name, priority }) => [name, priority]), [["Name", undefined], ["Size", 1]]);
});
