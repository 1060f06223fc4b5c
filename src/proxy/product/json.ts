export type Json = null | boolean | number | string | Json[] | { [field: string]: Json };

export const methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"] as const;

/** A document that is none: nothing of it can be served. */
export class DocumentError extends Error {}

export const isObject = (value: Json | undefined): value is { [field: string]: Json } => typeof value === "object" && value !== null && !Array.isArray(value);

/** A value that should be a text or a number. An object may have any members, also one that is called "toString". */
export const textIn = (value: Json | undefined): string => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));

export const anyMethod = "x-amazon-apigateway-any-method";

/** What an operation is called: its `operationId`, else "GET /pets". `method` is the field of the path that has it. */
export function operationIdOf(operation: Json | undefined, method: string, path: string): string {
  return isObject(operation) && typeof operation["operationId"] === "string" ? operation["operationId"] : `${verbOf(method)} ${path}`;
}
export const verbOf = (method: string): string => (method === anyMethod ? "ANY" : method.toUpperCase());

/** Of one element of a JSON pointer in a URI's fragment; what is not encoded as one is itself. */
export function pointerName(part: string): string {
  try {
    return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
  } catch {
    return part;
  }
}

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
      const name = pointerName(part);
      found = typeof found === "object" && found !== null && Object.hasOwn(found, name) ? (found as Record<string, Json>)[name] : undefined;
    }
    if (found === undefined) throw new DocumentError(`${at}: $ref ${reference} leads nowhere`);
    value = found;
  }
  throw new DocumentError(`${at}: $ref goes in circles`);
}
