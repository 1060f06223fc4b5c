import type { HttpClient } from "../../../src/api/http-client.ts";

/** What both servers say of their kinds: discovery, columns of tables, schemas. Each difference is a line. */
type Json = Record<string, any>;
const get = async (client: HttpClient, path: string, accept = "application/json"): Promise<Json | undefined> =>
  client.raw("GET", path, undefined, { accept }).then(
    ({ text }) => JSON.parse(text) as Json,
    () => undefined,
  );

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, part]) => [key, sorted(part)]));
}
const same = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

export interface Documents {
  /** How many resources, columns and fields were compared. */
  compared: { resources: number; columns: number; fields: number; operations: number };
  differences: string[];
}

/** Compares every group version that both serve; a kind that only one has is a difference, a group version of ours alone is not. */
export async function compareDocuments(ours: HttpClient, theirs: HttpClient): Promise<Documents> {
  const compared = { resources: 0, columns: 0, fields: 0, operations: 0 };
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
  await compareVersion2();
  return { compared, differences };

  /** OpenAPI v2: the definitions that both have, in the words of that version. */
  async function compareVersion2(): Promise<void> {
    const [mine, real] = (await Promise.all([ours, theirs].map((client) => get(client, "/openapi/v2")))).map((document) => document?.["definitions"] as Json) as [Json, Json];
    for (const name of Object.keys(mine)) if (real[name]) compareNode(`v2 ${name}`, mine[name] as Json, real[name] as Json);
  }

  /** OpenAPI v3 of one group version: each schema and each operation that ours names must say the same, but for its prose. */
  async function compareSchemas(base: string): Promise<void> {
    const [mine, real] = await Promise.all([ours, theirs].map((client) => get(client, `/openapi/v3${base}`)));
    if (!mine || !real) return void differences.push(`${base}: no OpenAPI v3 ${mine ? "there" : "here"}`);
    const [schemas, wanted] = [mine, real].map((document) => (document["components"]?.schemas ?? {}) as Json) as [Json, Json];
    for (const name of new Set([...Object.keys(schemas), ...Object.keys(wanted)])) {
      if (!schemas[name] || !wanted[name]) differences.push(`${base} ${name}: only ${schemas[name] ? "here" : "there"}`);
      else compareNode(`${base} ${name}`, schemas[name] as Json, wanted[name] as Json);
    }
    const [paths, others] = [mine, real].map((document) => operationsOf(document)) as [Map<string, Json>, Map<string, Json>];
    for (const operation of new Set([...paths.keys(), ...others.keys()])) {
      const [one, other] = [paths.get(operation), others.get(operation)];
      compared.operations++;
      if (!one || !other) differences.push(`${base}: ${operation} only ${one ? "here" : "there"}`);
      else for (const part of Object.keys(one)) if (!same(one[part], other[part])) differences.push(`${base}: ${operation} ${part}: ${JSON.stringify(one[part])} instead of ${JSON.stringify(other[part])}`);
    }
  }
  /** A definition, or a field of one: everything it says but in prose. */
  function compareNode(at: string, mine: Json, real: Json): void {
    for (const key of new Set([...Object.keys(mine), ...Object.keys(real)])) {
      if (key === "description") continue;
      if (key === "properties") compareProperties(at, mine[key] as Json | undefined, real[key] as Json | undefined);
      else if (["items", "additionalProperties"].includes(key) && typeof mine[key] === "object" && typeof real[key] === "object") compareNode(`${at}.${key}`, mine[key] as Json, real[key] as Json);
      else if (key === "$ref" || key === "allOf" ? referenceOf(mine) !== referenceOf(real) : !same(mine[key], real[key])) differences.push(`${at} ${key}: ${JSON.stringify(mine[key])} instead of ${JSON.stringify(real[key])}`);
    }
  }
  function compareProperties(at: string, properties: Json = {}, wanted: Json = {}): void {
    for (const field of new Set([...Object.keys(properties), ...Object.keys(wanted)])) {
      compared.fields++;
      if (!properties[field] || !wanted[field]) differences.push(`${at}.${field}: only ${properties[field] ? "here" : "there"}`);
      else compareNode(`${at}.${field}`, properties[field] as Json, wanted[field] as Json);
    }
  }
}

/** Beside words it stands in a list of one. */
const referenceOf = (schema: Json): string | undefined => (schema["$ref"] ?? schema["allOf"]?.[0]?.["$ref"]) as string | undefined;

/** "get /api/v1/pods" → what the operation is called, takes and gives. */
function operationsOf(document: Json): Map<string, Json> {
  const found = new Map<string, Json>();
  // Objects are read as protobuf here, and never answered so.
  const contentOf = (content: Json | undefined): string[] => Object.entries(content ?? {}).flatMap(([type, { schema }]) => (type.includes("protobuf") ? [] : [`${type} ${JSON.stringify(schema)}`]));
  for (const [path, item] of Object.entries((document["paths"] ?? {}) as Json)) {
    for (const method of ["get", "put", "post", "patch", "delete", "head", "options"]) {
      const operation = item[method] as Json | undefined;
      if (!operation) continue;
      const { operationId, tags, requestBody, responses } = operation;
      found.set(`${method} ${path}`, {
        operationId,
        tags,
        action: operation["x-kubernetes-action"],
        kind: operation["x-kubernetes-group-version-kind"],
        deprecated: operation["deprecated"],
        parameters: [...(operation["parameters"] ?? []), ...(item["parameters"] ?? [])].map((parameter: Json) => ({ ...parameter, description: "" })),
        body: requestBody && { required: requestBody.required === true, content: contentOf(requestBody.content as Json) },
        answers: Object.entries(responses as Json).map(([code, { content }]) => [code, contentOf(content as Json | undefined)]),
      });
    }
  }
  return found;
}

/** What documents of ours leave out, or say otherwise. */
export const acceptedDocuments: readonly { reason: string; is: RegExp }[] = [
  { reason: "DeleteOptions belongs to the groups that are served", is: /DeleteOptions x-kubernetes-group-version-kind: / },
  { reason: "the addresses of watches are served and, being deprecated, not shown", is: /: get \S+\/watch\/\S+ only there$|\.(WatchEvent|RawExtension): only there$/ },
];
