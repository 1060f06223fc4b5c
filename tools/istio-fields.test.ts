import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { shippedDefinitions } from "../src/api/definitions/definitions.ts";
import type { Schema } from "../src/api/schema.ts";

const root = dirname(import.meta.dirname);
const page = readFileSync(join(root, "docs/reference/istio-fields.md"), "utf8");
const rows = [...page.matchAll(/^\| ((?:[A-Z]\w+(?:, )?)+) \|(.*?)\| (.*?) \| (.*) \|$/gm)].map(([, kinds, at, fields, outcome]) => ({ kinds: kinds!.split(", "), at: at!.trim() === "" ? [""] : words(at!), fields: words(fields!), outcome: outcome! }));

test("every field of spec stands in the table once, and no other", () => {
  const told = rows.flatMap(({ kinds, at, fields }) => kinds.flatMap((kind) => at.flatMap((path) => fields.map((field) => `${kind} ${path === "" ? "" : `${path}.`}${field}`))));
  const fields = fieldsOfSchemas();
  const covers = (entry: string, field: string): boolean => (entry.endsWith(".*") ? field.startsWith(entry.slice(0, -1)) || field === entry.slice(0, -2) : field === entry);
  assert.deepEqual(fields.filter((field) => !told.some((entry) => covers(entry, field))), [], "not in the table");
  assert.deepEqual(fields.filter((field) => told.filter((entry) => covers(entry, field)).length > 1), [], "twice");
  assert.deepEqual(told.filter((entry) => !fields.some((field) => covers(entry, field))), [], "in no schema");
});

test("what is honoured is read", () => {
  const code = readdirSync(join(root, "src/proxy/istio")).filter((file) => /^[\w-]+(?<!\.test)\.ts$/.test(file)).map((file) => readFileSync(join(root, "src/proxy/istio", file), "utf8")).join("\n");
  const honoured = rows.filter(({ outcome }) => outcome.startsWith("honoured"));
  assert.ok(honoured.length > 30);
  const names = honoured.flatMap(({ kinds, fields }) => fields.map((field) => ({ kind: kinds[0], name: field.replace(/\[\]|\{\}/g, "").split(".").at(-1)! })));
  assert.deepEqual(names.filter(({ name }) => !new RegExp(`\\b${name}\\b`).test(code)), []);
});

function words(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
}

function fieldsOfSchemas(): string[] {
  return shippedDefinitions("istio").flatMap(({ spec }) => {
    const { schema } = spec.versions.find(({ storage }: { storage: boolean }) => storage);
    return leaves(schema.openAPIV3Schema.properties.spec as Schema).map((path) => `${spec.names.kind} ${path}`);
  });
}

function leaves(schema: Schema, path = ""): string[] {
  if (schema.items) return leaves(schema.items, `${path}[]`);
  if (schema.properties) return Object.entries(schema.properties).flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`));
  return [`${path}${schema.additionalProperties ? "{}" : ""}`];
}
