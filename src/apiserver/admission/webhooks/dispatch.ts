import type { Kind } from "../../../api/kind.ts";
import type { KubeObject } from "../../../api/meta.ts";
import { applyJsonPatch } from "../../../api/patch/json.ts";
import { badRequestError, internalError, StatusError } from "../../../api/status.ts";
import { semanticEqual } from "../../../api/validation/checks.ts";
import type { Log } from "../../../base/log.ts";
import type { AdmissionRequest } from "../../rest/context.ts";
import { decode } from "../../rest/decode.ts";
import { type CallWebhook, WebhookConfigError } from "../../webhooks/call.ts";
import type { Candidate, Hook } from "./configurations.ts";
import { converted, inVersion, settle } from "./convert.ts";
import { createReview, readVerdict, rejection, ReviewError, type Verdict } from "./review.ts";

export interface DispatchDependencies {
  log: Log;
  call: CallWebhook;
}

/**
 * Asks one webhook. Gives its verdict, or undefined when it could not be asked and that is ignored; throws the
 * StatusError with which the request is refused. `index` is its place among those concerned, for the audit log.
 * Source: k8s.io/apiserver/pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go.
 */
export async function ask(dependencies: DispatchDependencies, { hook, kind }: Candidate, request: AdmissionRequest, mutating: boolean, index: number): Promise<Verdict | undefined> {
  const place = `round_${request.round ?? 0}_index_${index}`;
  if (request.dryRun && hook.sideEffects !== "None" && hook.sideEffects !== "NoneOnDryRun") throw badRequestError(`admission webhook ${JSON.stringify(hook.name)} does not support dry run`);
  const { log, call } = dependencies;
  let verdict: Verdict;
  try {
    const review = createReview(request, kind, inVersion(request, request.object, kind), inVersion(request, request.old, kind), hook.admissionReviewVersions);
    const answer = await call(hook.clientConfig, review.body, { timeoutSeconds: hook.timeoutSeconds, purpose: `admission webhook ${hook.name}` });
    verdict = readVerdict(review, answer, mutating);
  } catch (error) {
    const why = `failed calling webhook ${JSON.stringify(hook.name)}: ${failureText(error as Error)}`;
    if (hook.failurePolicy !== "Ignore") throw internalError(why);
    log.warn("a webhook could not be asked, and its failurePolicy is Ignore", { webhook: hook.name, configuration: hook.configuration, error: why });
    annotate(request, `failed-open.${mutating ? "mutation" : "validating"}.webhook.admission.k8s.io/${place}`, hook.name);
    return undefined;
  }
  for (const [key, value] of Object.entries(verdict.auditAnnotations)) annotate(request, `${hook.name}/${key}`, value);
  request.warnings.push(...verdict.warnings);
  if (!verdict.allowed) throw rejection(hook.name, verdict.result);
  return verdict;
}

function failureText(error: Error): string {
  if (error instanceof ReviewError) return error.message.startsWith("received ") || error.message.startsWith("could not ") ? error.message : `received invalid webhook response: ${error.message}`;
  if (error instanceof WebhookConfigError) return `could not get REST client: ${error.message}`;
  return `failed to call webhook: ${error.message}`;
}

/** For the audit log: that a webhook was asked to change the request, and whether it did. */
export function noteMutation(request: AdmissionRequest, { hook }: Candidate, index: number, mutated: boolean, patch?: readonly unknown[]): void {
  const place = `webhook.admission.k8s.io/round_${request.round ?? 0}_index_${index}`;
  const of = { configuration: hook.configuration, webhook: hook.name };
  annotate(request, `mutation.${place}`, JSON.stringify({ ...of, mutated }));
  if (mutated && patch) annotate(request, `patch.${place}`, JSON.stringify({ ...of, patch, patchType: "JSONPatch" }));
}

function annotate(request: AdmissionRequest, key: string, value: string): void {
  (request.annotations ??= {})[key] = value;
}

/** Puts the patch on the request's object, in place. Gives whether anything changed. Throws StatusErrors. */
export async function applyPatch({ hook, kind: as }: Candidate, request: AdmissionRequest, patch: unknown[]): Promise<boolean> {
  if (patch.length === 0) return false;
  const { kind, object } = request;
  if (!object) throw internalError(`admission webhook ${JSON.stringify(hook.name)} attempted to modify the object, which is not supported for this operation`);
  // The old content stays what it was: the patched one shares none of it that is written to.
  const before = JSON.parse(JSON.stringify(object)) as KubeObject;
  if (!request.objectKind) await settle(before, kind, as);
  const after = await patched(hook, request, inVersion(request, before, as)!, as, patch);
  replaceContent(object, after);
  if (!request.objectKind) kind.defaults?.(object);
  return !semanticEqual(before, object);
}

async function patched(hook: Hook, request: AdmissionRequest, object: KubeObject, as: Kind, patch: unknown[]): Promise<KubeObject> {
  const { kind } = request;
  try {
    const result = applyJsonPatch(object as unknown as Parameters<typeof applyJsonPatch>[0], patch);
    if (request.objectKind) return result as KubeObject;
    const decoded = decode(as, result, { fieldValidation: "Ignore", warnings: [] }, false);
    await settle(decoded, as, kind);
    const next = converted(decoded, as, kind);
    // Ownership is the server's to write.
    if (object.metadata.managedFields) next.metadata.managedFields = object.metadata.managedFields;
    else delete next.metadata.managedFields;
    if (request.namespace !== undefined && next.metadata.namespace !== request.namespace) throw badRequestError("the namespace of the provided object does not match the namespace sent on the request");
    return next;
  } catch (error) {
    if (error instanceof StatusError && error.message.startsWith("the namespace of")) throw error;
    // Why a patch does not fit is the client's business elsewhere; here it is the webhook's author who must know.
    const { message, cause } = error as Error;
    throw internalError(`the patch of admission webhook ${JSON.stringify(hook.name)} cannot be applied: ${cause instanceof Error ? cause.message : message}`);
  }
}

/** Others hold on to the object and to its metadata: both stay, with other content. */
export function replaceContent(object: KubeObject, next: KubeObject): void {
  const { metadata } = object;
  const refill = (target: object, content: object) => {
    for (const key of Object.keys(target)) delete (target as Record<string, unknown>)[key];
    Object.assign(target, content);
  };
  refill(object, next);
  if (metadata && next.metadata) {
    refill(metadata, { ...next.metadata });
    object.metadata = metadata;
  }
}
