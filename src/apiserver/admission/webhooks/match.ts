import type { KubeObject } from "../../../api/meta.ts";
import { forbiddenError, notFoundError, type StatusError } from "../../../api/status.ts";
import type { Store } from "../../../store/store.ts";
import type { AdmissionRequest } from "../../rest/context.ts";
import type { Candidate, Hook } from "./configurations.ts";
import { inVersion } from "./convert.ts";
import { isNamespace } from "./review.ts";

/**
 * Which hooks are called, of those whose rules choose the request. Throws the StatusError with which the request is
 * refused when that cannot be told. Source: k8s.io/apiserver/pkg/admission/plugin/webhook/{generic,predicates,matchconditions}.
 */
export function isChosen(store: Store, { hook, kind }: Candidate, request: AdmissionRequest, conditions: ConditionEvaluator): boolean {
  if (!hook.namespaces.isEmpty) {
    const labels = namespaceLabels(store, request);
    if (labels !== undefined && !hook.namespaces.matches(labels)) return false;
  }
  if (!hook.objects.isEmpty && !hook.objects.matches(labelsOf(request.object)) && !hook.objects.matches(labelsOf(request.old))) return false;
  if (!hook.matchConditions?.length) return true;
  return conditions(hook, request, inVersion(request, request.object, kind), inVersion(request, request.old, kind));
}

/** Whether all match conditions hold of the objects, in the version the hook asks for; throws the StatusError of a request that they cannot judge. */
export type ConditionEvaluator = (hook: Hook, request: AdmissionRequest, object: KubeObject | undefined, old: KubeObject | undefined) => boolean;

/** Labels of something without metadata: none, which a selector of what is absent matches as well. */
const labelsOf = (object: KubeObject | undefined) => object?.metadata?.labels;

/** Undefined: the request is about no namespace, and a selector of namespaces lets it pass. */
function namespaceLabels(store: Store, { kind, operation, namespace, name, object }: AdmissionRequest): Record<string, string> | undefined {
  // What is being written is newer than what is stored.
  if (isNamespace(kind) && operation !== "DELETE" && object) return object.metadata.labels ?? {};
  const of = isNamespace(kind) ? name : kind.scope === "Namespaced" ? namespace : undefined;
  if (of === undefined) return undefined;
  const entry = store.get(`/core/namespaces/${of}`);
  if (!entry) throw notFoundError({ group: "", resource: "namespaces" }, of);
  return (entry.object as unknown as KubeObject).metadata.labels ?? {};
}

/** A request whose match conditions could not be evaluated, under `failurePolicy: Fail`. */
export const conditionError = ({ kind, name }: AdmissionRequest, why: string): StatusError => forbiddenError(kind, name, why);
