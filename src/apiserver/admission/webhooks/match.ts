import type { KubeObject } from "../../../api/meta.ts";
import { notFoundError } from "../../../api/status.ts";
import type { Store } from "../../../store/store.ts";
import type { AdmissionRequest } from "../../rest/context.ts";
import type { ConditionEvaluator } from "./conditions.ts";
import type { Candidate } from "./configurations.ts";
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
  return conditions(hook, request, kind);
}

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
