/** An OpenAPI 3 document as far as it is read. What a field means: spec.openapis.org/oas/v3.1.1. */
export interface OpenApi {
  openapi: string;
  info: { title: string; version: string };
  servers: Json[];
  security: Json[] | undefined;
  paths: Record<string, Record<string, Json>>;
  root: Record<string, Json>;
}
export type Json = null | boolean | number | string | Json[] | { [field: string]: Json };

export const methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"] as const;

/** A document that is none: nothing of it can be served. */
export class DocumentError extends Error {}

export const isObject = (value: Json | undefined): value is { [field: string]: Json } => typeof value === "object" && value !== null && !Array.isArray(value);

/** @throws DocumentError with the field that is wrong */
export function readDocument(given: unknown): OpenApi {
  const root = given as Json;
  if (!isObject(root)) throw new DocumentError("it is not an object");
  if (root["swagger"] !== undefined) throw new DocumentError(`swagger: it is of version ${String(root["swagger"])}; OpenAPI 3.0 and 3.1 are read`);
  const { openapi, info, paths = {}, servers = [], security } = root;
  if (typeof openapi !== "string" || !/^3\.[01]\.\d+/.test(openapi)) throw new DocumentError(`openapi: it is ${JSON.stringify(openapi) ?? "missing"}; OpenAPI 3.0 and 3.1 are read`);
  if (!isObject(info) || typeof info["title"] !== "string" || typeof info["version"] !== "string") throw new DocumentError("info: title and version must be given");
  if (!isObject(paths)) throw new DocumentError("paths: must be an object");
  if (!Array.isArray(servers)) throw new DocumentError("servers: must be a list");
  if (security !== undefined && !Array.isArray(security)) throw new DocumentError("security: must be a list");
  const read: OpenApi["paths"] = Object.create(null) as OpenApi["paths"];
  for (const [path, given] of Object.entries(paths)) {
    if (path.startsWith("x-")) continue;
    if (!path.startsWith("/")) throw new DocumentError(`paths.${path}: must begin with '/'`);
    const item = resolve(root, given, `paths.${path}`);
    if (!isObject(item)) throw new DocumentError(`paths.${path}: must be an object`);
    read[path] = item;
  }
  return { openapi, info: info as unknown as OpenApi["info"], servers, security, paths: read, root };
}

/** How many operations there are. */
export function operationsIn({ paths }: OpenApi): number {
  return Object.values(paths).reduce((sum, item) => sum + methods.filter((method) => item[method] !== undefined).length + (item[anyMethod] === undefined ? 0 : 1), 0);
}
export const anyMethod = "x-amazon-apigateway-any-method";

const referencesMax = 16;

/** What a `$ref` within the document leads to. @throws DocumentError */
export function resolve(root: Json, given: Json | undefined, at: string): Json | undefined {
  let value = given;
  for (let i = 0; i < referencesMax; i++) {
    if (!isObject(value) || typeof value["$ref"] !== "string") return value;
    const reference: string = value["$ref"];
    if (!reference.startsWith("#/")) throw new DocumentError(`${at}: $ref ${reference} leads out of the document`);
    let found: Json | undefined = root;
    for (const part of reference.slice(2).split("/")) {
      const name = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      found = typeof found === "object" && found !== null && Object.hasOwn(found, name) ? (found as Record<string, Json>)[name] : undefined;
    }
    if (found === undefined) throw new DocumentError(`${at}: $ref ${reference} leads nowhere`);
    value = found;
  }
  throw new DocumentError(`${at}: $ref goes in circles`);
}
