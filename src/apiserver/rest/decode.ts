import type { Kind } from "../../api/kind.ts";
import { builtinSchema } from "../../api/kinds/table.ts";
import { apiVersionOf, type KubeObject } from "../../api/meta.ts";
import { invalid } from "../../api/field.ts";
import { badRequestError, invalidError, type StatusError } from "../../api/status.ts";
import { cannotBeHandled, DecodeError, strictDecodingText, walk } from "../../api/walker.ts";
import type { WriteContext } from "./context.ts";

/**
 * A body as an object of the kind: types checked, values canonical, unknown fields judged by fieldValidation.
 * A missing apiVersion or kind is taken from the URL, as some clients rely on. `refuse` makes the error of a value that
 * does not fit; default: the 400 of a body.
 */
export function decode(kind: Kind, body: unknown, context: Pick<WriteContext, "fieldValidation" | "warnings" | "duplicates">, shared: boolean, refuse?: (why: string) => StatusError, declared = false): KubeObject {
  const apiVersion = apiVersionOf(kind.group, kind.version);
  const unfit = refuse ?? ((why: string) => cannotBeHandled(kind.version, kind.kind, why));
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw badRequestError(`the object provided is unrecognized (must be of type ${kind.kind}): couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(body) ? "array" : typeof body} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`);
  const given = body as { apiVersion?: unknown; kind?: unknown };
  for (const field of ["apiVersion", "kind"] as const) {
    const value = given[field];
    if (value !== undefined && value !== null && typeof value !== "string") throw unfit(`couldn't get version/kind; json parse error: json: cannot unmarshal ${Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value} into Go struct field .${field} of type string`);
  }
  const type = { apiVersion: (given.apiVersion as string | null | undefined) || apiVersion, kind: (given.kind as string | null | undefined) || kind.kind };
  if (type.apiVersion !== apiVersion || type.kind !== kind.kind) throw wrongType(kind, type, body, refuse);
  try {
    const { value, unknownFields } = kind.custom ? kind.custom.walk(body as Record<string, unknown>, { declared }) : walk(kind.schema, body as Record<string, unknown>, { shared, declared });
    const problems = [...unknownFields, ...(context.duplicates ?? [])];
    if (problems.length > 0 && context.fieldValidation === "Strict") throw unfit(strictDecodingText(problems));
    if (problems.length > 0 && context.fieldValidation === "Warn") context.warnings.push(...problems);
    const { apiVersion: _, kind: __, metadata, ...rest } = value;
    const sent = (body as { metadata?: { managedFields?: unknown } }).metadata?.managedFields;
    // None at all is a wish of its own: to start over.
    const cleared = Array.isArray(sent) && sent.length === 0 && { managedFields: [] };
    return { kind: kind.kind, apiVersion, metadata: { ...(metadata as object | undefined), ...cleared } as KubeObject["metadata"], ...rest };
  } catch (error) {
    if (error instanceof DecodeError) throw unfit(error.message);
    throw error;
  }
}

/**
 * What a type other than that of the URL gets: upstream decodes what it knows before it compares.
 * Source of the texts: k8s.io/apimachinery/pkg/runtime/{error,converter}.go, apiserver/pkg/endpoints/handlers/rest.go.
 */
function wrongType(wanted: Kind, { apiVersion, kind }: { apiVersion: string; kind: string }, body: object, refuse: ((why: string) => StatusError) | undefined): StatusError {
  const parts = apiVersion.split("/");
  if (parts.length > 2) {
    const why = `unexpected GroupVersion string: ${apiVersion}`;
    return refuse?.(why) ?? badRequestError(`the object provided is unrecognized (must be of type ${wanted.kind}): ${why} (${JSON.stringify(body).slice(0, 30)} ...)`);
  }
  const [version, group = ""] = parts.toReversed() as [string, string?];
  // A custom resource is decoded whatever it says it is.
  if (wanted.custom && apiVersion === apiVersionOf(wanted.group, wanted.version)) return invalidError({ group, kind }, (body as { metadata?: { name?: string } }).metadata?.name ?? "", [invalid("kind", kind, `must be ${wanted.kind}`)]);
  // What is not served any more and still read has no table here.
  const isOld = /^v\d+(alpha|beta)\d+$/.test(version);
  if (wanted.custom || (kind === wanted.kind && (isOld || builtinSchema(group, version, kind)))) return badRequestError(`the API version in the data (${apiVersion}) does not match the expected API version (${apiVersionOf(wanted.group, wanted.version)})`);
  const isKnown = builtinSchema(group, version, kind.replace(/List$/, "")) || /^(Status|WatchEvent|(Create|Update|Patch|Delete|List|Get)Options)$/.test(kind);
  const why = isKnown ? `converting (${version}.${kind}) to (${wanted.group === "" ? "core" : wanted.group.split(".")[0]}.${wanted.kind}): unknown conversion` : `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)} in scheme "pkg/runtime/scheme.go:111"`;
  return refuse?.(why) ?? badRequestError(`${kind} in version ${JSON.stringify(version)} cannot be handled as a ${wanted.kind}: ${why}`);
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
