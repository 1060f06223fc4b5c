import { createHash } from "node:crypto";
import type { ApiStage } from "../../api/product/kinds.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import type { OpenApi } from "./document.ts";
import { isObject, type Json, methods, operationIdOf } from "./json.ts";
import { NotHonoured } from "./not-honoured.ts";
import type { Operation } from "./operations.ts";
import { serverPath } from "./server-path.ts";
import { defaultPath } from "./template.ts";

/** Of a document that the gateway itself gives. */
const bytesMax = 1_048_576;

/**
 * A document as clients of a stage are to see it: where it is served, what of it is served, and nothing of what stands behind it
 * (`x-amazon-…`). `url` may be relative to where the document is.
 */
export function portalDocument(document: OpenApi, operations: readonly Operation[], url: string): { [field: string]: Json } {
  const refused = new Set(operations.flatMap(({ id, refusal }) => (refusal === undefined ? [] : [id])));
  const paths = Object.entries(document.paths).flatMap(([path, item]): [string, Json][] => {
    if (path === defaultPath) return [];
    const isServed = ([field, given]: [string, Json]): boolean => !(methods as readonly string[]).includes(field) || !refused.has(operationIdOf(given, field, path));
    const served = Object.entries(item).filter(([field, given]) => !field.startsWith(internal) && isServed([field, given]));
    return served.some(([field]) => (methods as readonly string[]).includes(field)) ? [[path, outward(Object.fromEntries(served))]] : [];
  });
  const { openapi, info, ...rest } = outward(document.root) as { [field: string]: Json };
  return { openapi: openapi!, info: info!, ...rest, servers: [{ url }], paths: Object.fromEntries(paths) };
}

const internal = "x-amazon-";
/** What stands in them are names and values of the API's own. */
const values = new Set(["properties", "patternProperties", "example", "examples", "default", "enum", "const"]);
function outward(value: Json): Json {
  if (Array.isArray(value)) return value.map(outward);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([field, inner]): [string, Json][] => (field.startsWith(internal) ? [] : [[field, values.has(field) ? named(field, inner) : outward(inner)]])));
}
const named = (field: string, value: Json): Json => (/ropert/.test(field) && isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, schema]) => [name, outward(schema)])) : value);

/** The rules that give a stage's document at its `documentPath`. */
export function documentRules(document: OpenApi, operations: readonly Operation[], stage: ApiStage, { before, priority }: { before: HttpFilter[]; priority: number }): Operation[] {
  const { documentPath } = stage;
  if (documentPath === undefined) return [];
  const value = `${stage.path ?? ""}${documentPath}`;
  const common = { isOther: true as const, matches: ["GET", "HEAD"].map((method) => ({ path: { type: "exact" as const, value }, method, ...(priority > 0 && { priority }) })) };
  const names = operations.map(({ name }) => name);
  const name = names.includes("document") ? `document-${names.length}` : "document";
  const body = JSON.stringify(portalDocument(document, operations, `${stage.path ?? ""}${serverPath(document, stage)}` || "/"));
  const taken = operations.some(({ matches }) => matches.some(({ path }) => path.type === "exact" && path.value === value));
  const refusal = Buffer.byteLength(body) > bytesMax ? `documentPath: the document has ${Buffer.byteLength(body)} bytes, of at most ${bytesMax}` : undefined;
  if (taken) throw new NotHonoured("documentPath", `${documentPath} is a path of the document`);
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return [{ ...common, name, id: "document", ...(refusal === undefined ? { filters: [...before, { type: "respond", status: 200, headers: [{ name: "content-type", value: "application/json" }, { name: "cache-control", value: "no-cache" }, { name: "etag", value: etag }], body }] } : { filters: [], refusal }) }];
}
