import type { Kind } from "../../api/kind.ts";
import { builtinSchema } from "../../api/kinds/table.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
import { badRequestError, type StatusError } from "../../api/status.ts";
import { cannotBeHandled, DecodeError, strictDecodingText, walk } from "../../api/walker.ts";
import type { WriteContext } from "./context.ts";

/**
 * A body as an object of the kind: types checked, values canonical, unknown fields judged by fieldValidation.
 * A missing apiVersion or kind is taken from the URL, as some clients rely on. `refuse` makes the error of a value that
 * does not fit.
 */
export function decode(kind: Kind, body: unknown, context: Pick<WriteContext, "fieldValidation" | "warnings" | "duplicates">, shared: boolean, refuse: (why: string) => StatusError = (why) => cannotBeHandled(kind.version, kind.kind, why)): KubeObject {
  const apiVersion = apiVersionOf(kind.group, kind.version);
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw badRequestError(`the object provided is unrecognized (must be of type ${kind.kind}): couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(body) ? "array" : typeof body} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`);
  const given = body as { apiVersion?: unknown; kind?: unknown };
  for (const field of ["apiVersion", "kind"] as const) {
    const value = given[field];
    if (value !== undefined && value !== null && typeof value !== "string") throw refuse(`couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value} into Go struct field .${field} of type string`);
  }
  if (given.kind !== undefined && given.kind !== null && given.kind !== "" && given.kind !== kind.kind) throw badRequestError(`${String(given.kind)} in version ${JSON.stringify(String(given.apiVersion ?? apiVersion).split("/").at(-1))} cannot be handled as a ${kind.kind}: converting (${String(given.apiVersion ?? "")}.${String(given.kind)}) to (${apiVersion}.${kind.kind}): unknown conversion`);
  if (given.apiVersion !== undefined && given.apiVersion !== null && given.apiVersion !== "" && given.apiVersion !== apiVersion) throw badRequestError(`the API version in the data (${String(given.apiVersion)}) does not match the expected API version (${apiVersion})`);
  try {
    const { value, unknownFields } = kind.custom ? kind.custom.walk(body as Record<string, unknown>, {}) : walk(kind.schema, body as Record<string, unknown>, { shared });
    const problems = [...unknownFields, ...(context.duplicates ?? [])];
    if (problems.length > 0 && context.fieldValidation === "Strict") throw refuse(strictDecodingText(problems));
    if (problems.length > 0 && context.fieldValidation === "Warn") context.warnings.push(...problems);
    const { apiVersion: _, kind: __, metadata, ...rest } = value;
    const sent = (body as { metadata?: { managedFields?: unknown } }).metadata?.managedFields;
    // None at all is a wish of its own: to start over.
    const cleared = Array.isArray(sent) && sent.length === 0 && { managedFields: [] };
    return { kind: kind.kind, apiVersion, metadata: { ...(metadata as object | undefined), ...cleared } as KubeObject["metadata"], ...rest };
  } catch (error) {
    if (error instanceof DecodeError) throw refuse(error.message);
    throw error;
  }
}

/** A body that is no object of its own (Binding, Eviction, TokenRequest, DeleteOptions): its types are checked all the same. Absent: empty. */
export function decodeRequest(group: string, version: string, kind: string, body: unknown): Record<string, unknown> {
  if (body === undefined || body === null) return {};
  if (typeof body !== "object" || Array.isArray(body)) throw badRequestError(`couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(body) ? "array" : typeof body} into Go value of type ${version}.${kind}`);
  const given = (body as { kind?: unknown }).kind;
  if (given !== undefined && given !== "" && given !== kind) throw badRequestError(`${String(given)} cannot be handled as a ${kind}`);
  try {
    return walk(builtinSchema(group, version, kind)!, body as Record<string, unknown>, { shared: true }).value;
  } catch (error) {
    if (error instanceof DecodeError) throw error.toStatusError(version, kind);
    throw error;
  }
}
