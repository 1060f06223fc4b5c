import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { shippedDefinitions } from "../src/api/definitions/definitions.ts";
import { createBuiltinRegistry } from "../src/api/registry.ts";
import type { Schema } from "../src/api/schema.ts";

const root = dirname(import.meta.dirname);
const page = readFileSync(join(root, "docs/reference/gateway-fields.md"), "utf8");
const rows = [...page.matchAll(/^\| ((?:[A-Z]\w+(?:, )?)+) \|(.*?)\| (.*?) \| (.*) \|$/gm)].map(([, kinds, at, fields, outcome]) => ({ kinds: kinds!.split(", "), at: at!.trim() === "" ? [""] : words(at!), fields: words(fields!), outcome: outcome! }));

test("every field of spec stands in the table once, and no other", () => {
  const told = rows.flatMap(({ kinds, at, fields }) => kinds.flatMap((kind) => at.flatMap((path) => fields.map((field) => `${kind} ${path === "" ? "" : `${path}.`}${field}`))));
  assert.deepEqual(told.filter((field, i) => told.indexOf(field) !== i), [], "twice");
  assert.deepEqual(told.toSorted(), fieldsOfSchemas().sort());
});

test("what is honoured is read, and reasons are those that are given", () => {
  const source = ["src/proxy/gateway", "src/proxy/ingress"].flatMap((folder) => readdirSync(join(root, folder)).filter((file) => /^[\w-]+(?<!\.test)\.ts$/.test(file)).map((file) => readFileSync(join(root, folder, file), "utf8"))).join("\n");
  // Types name fields that nobody may read.
  const code = source.replace(/^(export )?(interface|type) [\s\S]*?^}/gm, "");
  const unread = rows.flatMap(({ kinds, fields, outcome }) => (outcome.startsWith("honoured") ? fields.map((field) => field.replace(/\[\]|\{\}/g, "").split(".").at(-1)!).filter((word) => !isSelectors(word) && !new RegExp(`\\b${word}\\b`).test(code)).map((word) => `${kinds[0]} ${word}`) : []));
  assert.deepEqual(unread, []);
  const reasons = rows.flatMap(({ outcome }) => words(outcome)).filter((word) => /^[A-Z][a-z]+([A-Z][A-Za-z]+)+$|^Invalid$/.test(word) && word !== "ResolvedRefs");
  assert.ok(reasons.length > 20);
  assert.deepEqual(reasons.filter((reason) => !code.includes(`"${reason}"`)), []);
});

/** Read by what reads all selectors. */
const isSelectors = (word: string): boolean => ["matchLabels", "key", "operator", "values"].includes(word);

function words(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
}

function fieldsOfSchemas(): string[] {
  const definitions = shippedDefinitions("gateway-api").map(({ spec }) => {
    const { schema } = spec.versions.find(({ storage }: { storage: boolean }) => storage);
    return [spec.names.kind, schema.openAPIV3Schema.properties.spec] as [string, Schema];
  });
  const ingress = createBuiltinRegistry([]).all().find(({ kind, group }) => kind === "Ingress" && group === "networking.k8s.io")!;
  return [...definitions, ["Ingress", ingress.schema.properties!["spec"]!] as const].flatMap(([kind, schema]) => leaves(schema).map((path) => `${kind} ${path}`));
}

function leaves(schema: Schema, path = ""): string[] {
  if (schema.items) return leaves(schema.items, `${path}[]`);
  if (schema.properties) return Object.entries(schema.properties).flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`));
  return [`${path}${schema.additionalProperties ? "{}" : ""}`];
}
