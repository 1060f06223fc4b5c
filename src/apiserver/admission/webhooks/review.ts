import { randomUUID } from "node:crypto";
import type { Kind } from "../../../api/kind.ts";
import type { KubeObject } from "../../../api/meta.ts";
import { type Status, StatusError } from "../../../api/status.ts";
import type { AdmissionRequest } from "../../rest/context.ts";

/** AdmissionReview, which a webhook gets and answers with. Source: k8s.io/apiserver/pkg/admission/plugin/webhook/request. */

/** What the webhook said, whichever version it speaks. */
export interface Verdict {
  allowed: boolean;
  result: Partial<Status> | undefined;
  warnings: readonly string[];
  auditAnnotations: Readonly<Record<string, string>>;
  /** Of mutating ones: the operations of a JSON patch. Undefined: none. */
  patch: unknown[] | undefined;
}

/** The answer is no AdmissionReview that could be understood. */
export class ReviewError extends Error {}

export interface Review {
  readonly uid: string;
  readonly version: "v1" | "v1beta1";
  readonly body: object;
}

/** The request as the hook wants to see it; `object` and `old` are in its version already. Throws ReviewError. */
export function createReview(request: AdmissionRequest, as: Kind, object: KubeObject | undefined, old: KubeObject | undefined, versions: readonly string[]): Review {
  const version = versions.find((candidate) => candidate === "v1" || candidate === "v1beta1") as Review["version"] | undefined;
  if (!version) throw new ReviewError("could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)");
  const { kind, subresource, operation, user } = request;
  const uid = randomUUID();
  const gvk = (of: { group: string; version: string; kind: string }) => ({ group: of.group, version: of.version, kind: of.kind });
  const gvr = (of: Kind) => ({ group: of.group, version: of.version, resource: of.resource });
  return {
    uid,
    version,
    body: {
      kind: "AdmissionReview",
      apiVersion: `admission.k8s.io/${version}`,
      request: {
        uid,
        kind: gvk(request.objectKind ?? as),
        resource: gvr(as),
        ...(subresource && { subResource: subresource }),
        requestKind: gvk(request.objectKind ?? kind),
        requestResource: gvr(kind),
        ...(subresource && { requestSubResource: subresource }),
        ...(request.name && { name: request.name }),
        // A namespace counts as its own content.
        ...((request.namespace ?? (isNamespace(kind) ? request.name : undefined)) && { namespace: request.namespace ?? request.name }),
        operation,
        userInfo: { ...(user.name && { username: user.name }), ...(user.uid && { uid: user.uid }), ...(user.groups.length > 0 && { groups: user.groups }), ...(user.extra && Object.keys(user.extra).length > 0 && { extra: user.extra }) },
        object: object ?? null,
        oldObject: old ?? null,
        dryRun: request.dryRun,
        options: optionsOf(request),
      },
    },
  };
}

export const isNamespace = (kind: Pick<Kind, "group" | "resource">): boolean => kind.group === "" && kind.resource === "namespaces";

function optionsOf({ operation, dryRun, fieldManager }: AdmissionRequest): object | null {
  if (operation === "CONNECT") return null;
  const kind = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" }[operation];
  return { kind, apiVersion: "meta.k8s.io/v1", ...(dryRun && { dryRun: ["All"] }), ...(fieldManager && operation !== "DELETE" && { fieldManager }) };
}

/** Reads the answer. Throws ReviewError with upstream's texts. */
export function readVerdict({ uid, version }: Review, answer: unknown, mutating: boolean): Verdict {
  const review = answer as { kind?: unknown; apiVersion?: unknown; response?: Record<string, unknown> } | null;
  const response = typeof review === "object" && review !== null ? review.response : undefined;
  if (typeof response !== "object" || response === null) throw new ReviewError("webhook response was absent");
  const { patch, patchType } = response;
  if (version === "v1") {
    if (response["uid"] !== uid) throw new ReviewError(`expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response["uid"] ?? "")}`);
    const [answered, group = ""] = String(review!.apiVersion ?? "").split("/").toReversed();
    if (review!.kind !== "AdmissionReview" || group !== "admission.k8s.io" || answered !== "v1") {
      throw new ReviewError(`expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got ${group}/${answered}, Kind=${String(review!.kind ?? "")}`);
    }
    if (!mutating && patch) throw new ReviewError("validating webhook may not return response.patch");
    if (!mutating && patchType !== undefined && patchType !== null) throw new ReviewError("validating webhook may not return response.patchType");
    if (patch && (patchType === undefined || patchType === null)) throw new ReviewError("webhook returned response.patch but not response.patchType");
    if (!patch && patchType !== undefined && patchType !== null) throw new ReviewError("webhook returned response.patchType but not response.patch");
    if (patch && patchType !== "JSONPatch") throw new ReviewError(patchType === "" ? `webhook returned invalid response.patchType of ""` : `unsupported patch type ${JSON.stringify(patchType)}`);
  }
  return {
    allowed: response["allowed"] === true,
    result: (response["status"] as Partial<Status> | null | undefined) ?? undefined,
    warnings: ((response["warnings"] as unknown[] | null | undefined) ?? []).map(String),
    auditAnnotations: (response["auditAnnotations"] as Record<string, string> | null | undefined) ?? {},
    patch: mutating && typeof patch === "string" && patch !== "" ? decodePatch(patch) : undefined,
  };
}

function decodePatch(base64: string): unknown[] {
  const text = Buffer.from(base64, "base64").toString("utf8");
  try {
    const patch = JSON.parse(text) as unknown;
    if (Array.isArray(patch)) return patch;
    throw new Error(`json: cannot unmarshal ${patch === null ? "null" : typeof patch} into Go value of type jsonpatch.Patch`);
  } catch (error) {
    throw new ReviewError(`received undecodable patch in webhook response: ${(error as Error).message}`);
  }
}

/** The answer of a webhook that said no: its own code, reason and details, and its name before its message. */
export function rejection(name: string, result: Partial<Status> | undefined): StatusError {
  const denied = `admission webhook ${JSON.stringify(name)} denied the request`;
  const { code = 0, reason = "", message, details } = result ?? {};
  return new StatusError(code < 400 ? 400 : code, reason, message ? `${denied}: ${message}` : reason ? `${denied}: ${reason}` : `${denied} without explanation`, details);
}
