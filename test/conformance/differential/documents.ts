import type { HttpClient } from "../../../src/api/http-client.ts";

/** What both servers say of their kinds: discovery, columns of tables, schemas. Each difference is a line. */
type Json = Record<string, any>;
const get = async (client: HttpClient, path: string, accept = "application/json"): Promise<Json | undefined> =>
  client.raw("GET", path, undefined, { accept }).then(
    ({ text }) => JSON.parse(text) as Json,
    () => undefined,
  );

const sorted = (value: unknown): unknown => (Array.isArray(value) ? value.map(sorted).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : value);
const same = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

export interface Documents {
  /** How many resources, columns and fields were compared. */
  compared: { resources: number; columns: number; fields: number };
  differences: string[];
}

/** Compares every group version that both serve; a kind that only one has is a difference, a group version of ours alone is not. */
export async function compareDocuments(ours: HttpClient, theirs: HttpClient): Promise<Documents> {
  const compared = { resources: 0, columns: 0, fields: 0 };
  const differences: string[] = [];
  const groups = ((await get(ours, "/apis")) as Json)["groups"] as { versions: { groupVersion: string }[] }[];
  for (const base of ["/api/v1", ...groups.flatMap(({ versions }) => versions.map(({ groupVersion }) => `/apis/${groupVersion}`))]) {
    const [mine, real] = await Promise.all([get(ours, base), get(theirs, base)]);
    if (!mine || !real) continue;
    const known = new Map((real["resources"] as Json[]).map((resource) => [resource["name"] as string, resource]));
    for (const resource of mine["resources"] as Json[]) {
      const name = resource["name"] as string;
      const other = known.get(name);
      known.delete(name);
      compared.resources++;
      if (!other) differences.push(`${base} ${name}: only here`);
      else for (const field of new Set([...Object.keys(resource), ...Object.keys(other)])) if (field !== "storageVersionHash" && !same(resource[field], other[field])) differences.push(`${base} ${name} ${field}: ${JSON.stringify(resource[field])} instead of ${JSON.stringify(other[field])}`);
      if (name.includes("/") || !(resource["verbs"] as string[]).includes("list") || !other) continue;
      const tables = await Promise.all([ours, theirs].map((client) => get(client, `${base}/${name}`, "application/json;as=Table;v=v1;g=meta.k8s.io")));
      const [columns, wanted] = tables.map((table) => ((table?.["columnDefinitions"] ?? []) as Json[]).map((column) => JSON.stringify({ ...column, description: "" }))) as [string[], string[]];
      compared.columns += wanted.length;
      for (let index = 0; index < Math.max(columns.length, wanted.length); index++) if (columns[index] !== wanted[index]) differences.push(`${base} ${name} column ${index}: ${columns[index]} instead of ${wanted[index]}`);
    }
    for (const name of known.keys()) differences.push(`${base} ${name}: only there`);
    await compareSchemas(base);
  }
  return { compared, differences };

  /** OpenAPI v3 of one group version: each schema that ours names must say the same of every field but its prose. */
  async function compareSchemas(base: string): Promise<void> {
    const [mine, real] = await Promise.all([ours, theirs].map((client) => get(client, `/openapi/v3${base}`)));
    if (!mine || !real) return void differences.push(`${base}: no OpenAPI v3 ${mine ? "there" : "here"}`);
    const [schemas, wanted] = [mine, real].map((document) => (document["components"]?.schemas ?? {}) as Json) as [Json, Json];
    for (const [name, schema] of Object.entries(schemas)) {
      if (!wanted[name]) continue;
      compareSchema(`${base} ${name}`, schema as Json, wanted[name] as Json);
    }
    const paths = new Set(Object.keys((real["paths"] ?? {}) as Json).filter((path) => !/\/watch\//.test(path)));
    for (const path of Object.keys((mine["paths"] ?? {}) as Json)) if (!paths.has(path)) differences.push(`${base}: path ${path} only here`);
  }
  function compareSchema(at: string, mine: Json, real: Json): void {
    const properties = (mine["properties"] ?? {}) as Json;
    const wanted = (real["properties"] ?? {}) as Json;
    for (const field of new Set([...Object.keys(properties), ...Object.keys(wanted)])) {
      compared.fields++;
      if (!properties[field] || !wanted[field]) differences.push(`${at}.${field}: only ${properties[field] ? "here" : "there"}`);
      else compareField(`${at}.${field}`, properties[field] as Json, wanted[field] as Json);
    }
    if (!same(mine["required"] ?? [], real["required"] ?? [])) differences.push(`${at}: required ${JSON.stringify(mine["required"])} instead of ${JSON.stringify(real["required"])}`);
    if (!same(mine["x-kubernetes-group-version-kind"] ?? [], real["x-kubernetes-group-version-kind"] ?? [])) differences.push(`${at}: x-kubernetes-group-version-kind ${JSON.stringify(mine["x-kubernetes-group-version-kind"])} instead of ${JSON.stringify(real["x-kubernetes-group-version-kind"])}`);
  }
  function compareField(at: string, mine: Json, real: Json): void {
    for (const key of ["type", "format", "default", "enum", "nullable", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key"]) if (!same(mine[key], real[key])) differences.push(`${at} ${key}: ${JSON.stringify(mine[key])} instead of ${JSON.stringify(real[key])}`);
    if (!same(refOf(mine), refOf(real))) differences.push(`${at}: ${JSON.stringify(refOf(mine))} instead of ${JSON.stringify(refOf(real))}`);
    for (const below of ["items", "additionalProperties"]) if (typeof mine[below] === "object" && typeof real[below] === "object") compareField(`${at}.${below}`, mine[below] as Json, real[below] as Json);
  }
}

/** What documents of ours leave out. */
export const acceptedDocuments: readonly { reason: string; is: RegExp }[] = [
  { reason: "schemas name no values that Go writes by itself, and no lists of allowed values", is: / (default|enum): undefined instead of / },
  { reason: "DeleteOptions belongs to the groups that are served", is: /DeleteOptions: x-kubernetes-group-version-kind / },
];

const refOf = (schema: Json): string | undefined => (schema["$ref"] ?? schema["allOf"]?.[0]?.["$ref"]) as string | undefined;
