import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { shippedDefinitions } from "../src/api/definitions/definitions.ts";
import { type PolicyKind, policyKinds } from "../src/api/envoy/kinds.ts";
import type { Schema } from "../src/api/schema.ts";
import { honoured as ofRouteFilters } from "../src/proxy/gateway/route-filter.ts";
import { filterOrder } from "../src/proxy/policies/effect.ts";
import { honoured, notHonoured } from "../src/proxy/policies/fields.ts";

const root = dirname(import.meta.dirname);
const page = readFileSync(join(root, "docs/reference/policy-fields.md"), "utf8");
const rows = [...page.matchAll(/^\| ((?:[A-Z]\w+(?:, )?)+) \|(.*?)\| (.*?) \| (.*) \|$/gm)].map(([, kinds, at, fields, outcome]) => ({ kinds: kinds!.split(", "), at: at!.trim() === "" ? [""] : words(at!), fields: words(fields!), outcome: outcome! }));
const told = rows.flatMap(({ kinds, at, fields, outcome }) => kinds.flatMap((kind) => at.flatMap((path) => fields.map((field) => ({ kind, entry: path === "" ? field : `${path}.${field}`, outcome })))));
const fields = fieldsOfSchemas();

test("every field of spec stands in the table once, and no other", () => {
  const entries = told.map(({ kind, entry }) => `${kind} ${entry}`);
  assert.deepEqual(entries.filter((entry, i) => entries.indexOf(entry) !== i), [], "twice");
  assert.deepEqual(fields.filter(({ kind, path }) => !rowOf(kind, path)).map(({ kind, path }) => `${kind} ${path}`), [], "not in the table");
  assert.deepEqual(told.filter(({ kind, entry }) => !fields.some((field) => field.kind === kind && covers(entry, field.path))).map(({ kind, entry }) => `${kind} ${entry}`), [], "in no schema");
});

test("the table calls honoured what the translator does, and nothing else", () => {
  const wrong = fields.flatMap(({ kind, path }) => {
    const is = isHonoured(kind, path);
    const outcome = rowOf(kind, path)?.outcome ?? "";
    return outcome.startsWith("honoured") === is && outcome.startsWith("refused") === !is ? [] : [`${kind} ${path} is ${is ? "" : "not "}honoured, and the table says: ${outcome}`];
  });
  assert.deepEqual(wrong, []);
});

test("what is honoured is a field of the schema, and is read", () => {
  for (const kind of policyKinds) assert.deepEqual(honoured[kind].filter((entry) => !fields.some((field) => field.kind === kind && covers(entry, field.path))), [], kind);
  const code = sources();
  const names = fields.flatMap(({ kind, path }) => (isHonoured(kind, path) ? [path.replace(/\[\]|\{\}/g, "").split(".").at(-1)!] : []));
  assert.ok(names.length > 60);
  assert.deepEqual(names.filter((name) => !unread.includes(name) && !new RegExp(`\\b${name}\\b`).test(code)), []);
});

test("what the schemas fill in beside a field that is honoured is not refused", () => {
  const filledIn = schemas().flatMap(({ kind, schema }) => defaults(schema).map(({ path, value }) => ({ kind: kind as PolicyKind, path, value, above: path.slice(0, path.lastIndexOf(".")) })));
  const beside = filledIn.filter(({ kind, above }) => policyKinds.includes(kind) && fields.some((field) => field.kind === kind && field.path.startsWith(`${above}.`) && isHonoured(kind, field.path)));
  assert.ok(beside.length > 30);
  assert.deepEqual(beside.filter(({ kind, path, value }) => notHonoured(kind, nested(path.split("."), value)).length > 0).map(({ kind, path }) => `${kind} ${path}`), []);
});

test("words of refusals and reasons are those that are given", () => {
  const code = sources();
  const phrases = rows.flatMap(({ outcome }) => words(outcome)).filter((word) => word.includes(" "));
  assert.deepEqual(phrases.filter((phrase) => !code.includes(phrase)), []);
  const reasons = new Set([...page.matchAll(/`Accepted` False, `(\w+)`|`(Overridden)`/g)].map(([, reason, type]) => (reason ?? type)!));
  assert.ok(reasons.size >= 4);
  assert.deepEqual([...reasons].filter((reason) => !code.includes(`"${reason}"`)), []);
});

test("the order of filters is the one in which they stand before a rule", () => {
  const listed = [...page.matchAll(/^\| (\d+) \| `(\w+)` \|/gm)].map(([, place, type]) => ({ place: Number(place), type }));
  assert.deepEqual(listed, filterOrder.map((type, i) => ({ place: i + 1, type })));
});

/** Selectors are read by what reads all of them; a way to compress has no options that would be read, and the client's address is what is seen anyway. */
const unread = ["key", "operator", "values", "gzip", "brotli", "zstd", "directSourceIP"];

/** The longest entry that covers a field: `.*` stands for what has no row of its own. */
function rowOf(kind: string, path: string): { outcome: string } | undefined {
  return told.filter((row) => row.kind === kind && covers(row.entry, path)).sort((a, b) => b.entry.length - a.entry.length)[0];
}

function covers(entry: string, path: string): boolean {
  const above = entry.replace(/\.\*$|\{\}$/, "");
  return path === above || ["[]", "{}", "."].some((then) => path.startsWith(above + then));
}

function isHonoured(kind: string, path: string): boolean {
  return (kind === "HTTPRouteFilter" ? ofRouteFilters : honoured[kind as PolicyKind]).some((entry) => covers(entry, path));
}

/** Without types, which name fields that nobody may read. */
function sources(): string {
  const files = readdirSync(join(root, "src/proxy/policies"), { recursive: true, encoding: "utf8" }).filter((file) => /(?<!\.test)\.ts$/.test(file) && file !== "fields.ts");
  return [...files, "../gateway/route-filter.ts"].map((file) => readFileSync(join(root, "src/proxy/policies", file), "utf8")).join("\n").replace(/^(export )?type .*;$/gm, "").replace(/^(export )?(interface|type) [^\n]*\{\n[\s\S]*?^}/gm, "");
}

function words(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
}

function schemas(): { kind: string; schema: Schema }[] {
  return shippedDefinitions("envoy-gateway").map(({ spec }) => {
    const { schema } = spec.versions.find(({ storage }: { storage: boolean }) => storage);
    return { kind: spec.names.kind as string, schema: schema.openAPIV3Schema.properties.spec as Schema };
  });
}

function fieldsOfSchemas(): { kind: string; path: string }[] {
  return schemas().flatMap(({ kind, schema }) => leaves(schema).map((path) => ({ kind, path })));
}

function defaults(schema: Schema, path = ""): { path: string; value: unknown }[] {
  return [
    ...(schema.default === undefined ? [] : [{ path, value: schema.default }]),
    ...(schema.items ? defaults(schema.items, `${path}[]`) : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => defaults(inner, path === "" ? name : `${path}.${name}`)),
  ];
}
/** "a[].b" of 1 → { a: [{ b: 1 }] }. */
function nested([first, ...rest]: string[], value: unknown): object {
  const inner = rest.length === 0 ? value : nested(rest, value);
  return first!.endsWith("[]") ? { [first!.slice(0, -2)]: [inner] } : { [first!]: inner };
}

function leaves(schema: Schema, path = ""): string[] {
  if (schema.items) return leaves(schema.items, `${path}[]`);
  if (schema.properties) return Object.entries(schema.properties).flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`));
  return [`${path}${schema.additionalProperties ? "{}" : ""}`];
}
