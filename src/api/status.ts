import { type FieldError, renderFieldError } from "./field.ts";
import { qualifiedResource } from "./meta.ts";

/**
 * The API's errors: each is a `metav1.Status` with code, reason, message and details, thrown as an exception.
 * One constructor a case, texts as upstream's.
 * Source: k8s.io/apimachinery/pkg/api/errors/errors.go.
 */
export interface StatusCause {
  reason?: string;
  message?: string;
  field?: string;
}
export interface StatusDetails {
  name?: string;
  group?: string;
  /** The resource ("pods") in most errors; the Kind ("Pod") where upstream says so (Invalid). */
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}
export interface Status {
  kind: "Status";
  apiVersion: "v1";
  metadata: Record<string, unknown>;
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code: number;
}

export class StatusError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;
  /** Extra `metadata`, such as the continue token that a 410 of a list carries. */
  readonly metadata: Record<string, unknown>;

  constructor(code: number, reason: string, message: string, details?: StatusDetails, metadata: Record<string, unknown> = {}) {
    super(message);
    this.name = "StatusError";
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.metadata = metadata;
  }
  toStatus(): Status {
    return { kind: "Status", apiVersion: "v1", metadata: this.metadata, status: "Failure", message: this.message, ...(this.reason !== "" && { reason: this.reason }), ...(this.details && { details: this.details }), code: this.code };
  }
  static from(status: Partial<Status>): StatusError {
    return new StatusError(status.code ?? 500, status.reason ?? "InternalError", status.message ?? "unknown error", status.details, status.metadata);
  }
}

interface ResourceName {
  group: string;
  resource: string;
}
const detailsOf = ({ group, resource }: ResourceName, name: string): StatusDetails => ({ ...(name !== "" && { name }), ...(group !== "" && { group }), kind: resource });

export const notFoundError = (of: ResourceName, name: string): StatusError =>
  new StatusError(404, "NotFound", `${qualifiedResource(of.group, of.resource)} ${JSON.stringify(name)} not found`, detailsOf(of, name));
export const alreadyExistsError = (of: ResourceName, name: string, isBeingDeleted = false): StatusError =>
  new StatusError(409, "AlreadyExists", `${isBeingDeleted ? "object is being deleted: " : ""}${qualifiedResource(of.group, of.resource)} ${JSON.stringify(name)} already exists`, detailsOf(of, name));
export const generatedNameTakenError = (of: ResourceName, name: string): StatusError =>
  new StatusError(409, "AlreadyExists", `${qualifiedResource(of.group, of.resource)} ${JSON.stringify(name)} already exists, the server was not able to generate a unique name for the object`, { ...detailsOf(of, name), retryAfterSeconds: 1 });
export const conflictError = (of: ResourceName, name: string, why = "the object has been modified; please apply your changes to the latest version and try again"): StatusError =>
  new StatusError(409, "Conflict", `Operation cannot be fulfilled on ${qualifiedResource(of.group, of.resource)} ${JSON.stringify(name)}: ${why}`, detailsOf(of, name));
export const badRequestError = (message: string): StatusError => new StatusError(400, "BadRequest", message);
export const unauthorizedError = (): StatusError => new StatusError(401, "Unauthorized", "Unauthorized");
export const forbiddenError = (of: ResourceName, name: string, why: string): StatusError => {
  const resource = qualifiedResource(of.group, of.resource);
  return new StatusError(403, "Forbidden", name === "" ? `${resource} is forbidden: ${why}` : `${resource} ${JSON.stringify(name)} is forbidden: ${why}`, detailsOf(of, name));
};
export const methodNotSupportedError = (of: ResourceName, action: string): StatusError =>
  new StatusError(405, "MethodNotAllowed", `${action} is not supported on resources of kind ${JSON.stringify(qualifiedResource(of.group, of.resource))}`, detailsOf(of, ""));
/** List and continue tokens outside the window. */
export const expiredError = (message: string, metadata: Record<string, unknown> = {}): StatusError => new StatusError(410, "Expired", message, undefined, metadata);
export const goneRevisionError = (asked: number, current: number): StatusError => expiredError(`too old resource version: ${asked} (${current})`);
export const tooLargeRevisionError = (asked: number, current: number): StatusError =>
  new StatusError(504, "Timeout", `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });
export const tooManyRequestsError = (message: string, retryAfterSeconds: number): StatusError => new StatusError(429, "TooManyRequests", message, { retryAfterSeconds });
export const requestTooLargeError = (message: string): StatusError => new StatusError(413, "RequestEntityTooLarge", message);
export const internalError = (why: string): StatusError => new StatusError(500, "InternalError", `Internal error occurred: ${why}`, { causes: [{ message: why }] });
export const serviceUnavailableError = (message: string): StatusError => new StatusError(503, "ServiceUnavailable", message);

/** 422 with every field error at once: `Deployment.apps "x" is invalid: spec.replicas: Invalid value: …`. */
export function invalidError(of: { group: string; kind: string }, name: string, errors: readonly FieldError[]): StatusError {
  // The message tells each once; the causes keep every check's word.
  const messages = [...new Set(errors.map(renderFieldError))];
  const text = messages.length === 1 ? messages[0]! : `[${messages.join(", ")}]`;
  return new StatusError(422, "Invalid", `${qualifiedResource(of.group, of.kind)} ${JSON.stringify(name)} is invalid: ${text}`, {
    ...(name !== "" && { name }),
    ...(of.group !== "" && { group: of.group }),
    ...(of.kind !== "" && { kind: of.kind }),
    causes: errors.map((error) => ({ reason: error.type, message: error.body, field: error.field })),
  });
}
