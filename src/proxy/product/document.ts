import { anyMethod, DocumentError, isObject, type Json, methods, resolve } from "./json.ts";
import { fromSwagger } from "./swagger.ts";


/** An OpenAPI 3 document as far as it is read. What a field means: spec.openapis.org/oas/v3.1.1. */
export interface OpenApi {
  openapi: string;
  info: { title: string; version: string; description?: Json };
  servers: Json[];
  security: Json[] | undefined;
  paths: Record<string, Record<string, Json>>;
  root: Record<string, Json>;
}
/** @throws DocumentError with the field that is wrong */
export function readDocument(given: unknown): OpenApi {
  if (!isObject(given as Json)) throw new DocumentError("it is not an object");
  const root = (given as Record<string, Json>)["swagger"] === undefined ? (given as Record<string, Json>) : fromSwagger(given as Record<string, Json>);
  const { openapi, info, paths = {}, servers = [], security } = root;
  if (typeof openapi !== "string" || !/^3\.[01]\.\d+/.test(openapi)) throw new DocumentError(`openapi: it is ${JSON.stringify(openapi) ?? "missing"}; Swagger 2.0, OpenAPI 3.0 and 3.1 are read`);
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
