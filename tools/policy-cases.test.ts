import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { loadAll } from "js-yaml";
import { readTables } from "../test/conformance/policies/table.ts";

/**
 * Every field that docs/reference/policy-fields.md calls honoured, which is what the translator honours (policy-fields.test.ts), is set
 * by a case: of the translation's (src/proxy/gateway/cases), or of those that are asked by requests (test/conformance/policies).
 */
const root = dirname(import.meta.dirname);
const kinds = ["SecurityPolicy", "BackendTrafficPolicy", "ClientTrafficPolicy", "HTTPRouteFilter"];

test("every field that is honoured is set by a case", () => {
  const set = new Set<string>();
  const add = (kind: string, value: unknown, path: string): void => {
    if (path !== "") set.add(`${kind} ${path}`);
    if (Array.isArray(value)) for (const item of value) add(kind, item, `${path}[]`);
    else if (typeof value === "object" && value !== null) for (const [name, inner] of Object.entries(value)) add(kind, inner, path === "" ? name : `${path}.${name}`);
  };
  const folder = join(root, "src/proxy/gateway/cases");
  const translated = readdirSync(folder).filter((file) => file.endsWith(".in.yaml")).flatMap((file) => loadAll(readFileSync(join(folder, file), "utf8")) as { kind: string; spec: object }[]);
  for (const { kind, spec } of translated) if (kinds.includes(kind)) add(kind, spec, "");
  for (const { objects, lines } of readTables(join(root, "test/conformance/policies"), {})) {
    const put = lines.flatMap((line) => (line.type === "put" ? line.policy : []));
    for (const { kind, name: _, at, ...spec } of [...(objects.policies ?? []), ...put]) add(kind, { ...spec, ...(at !== undefined && { targetRefs: [{ group: "", kind: "", name: "", ...(at.includes("#") && { sectionName: "" }) }] }) }, "");
    for (const object of (objects.objects ?? []) as { kind: string; spec: object }[]) if (kinds.includes(object.kind)) add(object.kind, object.spec, "");
  }
  const honoured = tableOf(readFileSync(join(root, "docs/reference/policy-fields.md"), "utf8"));
  assert.ok(honoured.length > 200, String(honoured.length));
  const all = [...set];
  const missing = honoured.filter((entry) => {
    const above = entry.replace(/\.\*$|\{\}$/, "");
    return !all.some((field) => field === above || ["[]", "."].some((then) => field.startsWith(above + then)));
  });
  assert.deepEqual(missing, [], "a field that is honoured needs a case");
});

/** "KIND FIELD" of each that is honoured. */
function tableOf(page: string): string[] {
  const words = (text: string): string[] => [...text.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
  return [...page.matchAll(/^\| ((?:[A-Z]\w+(?:, )?)+) \|(.*?)\| (.*?) \| honoured.* \|$/gm)].flatMap(([, of, at, fields]) =>
    of!.split(", ").flatMap((kind) => (words(at!).length === 0 ? [""] : words(at!)).flatMap((path) => words(fields!).map((field) => `${kind} ${path === "" ? field : `${path}.${field}`}`))),
  );
}
