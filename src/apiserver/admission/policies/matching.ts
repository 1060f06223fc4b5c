import type { Kind } from "../../../api/kind.ts";
import type { KubeObject } from "../../../api/meta.ts";
import type { KindRegistry } from "../../../api/registry.ts";
import { labelSelectorOf } from "../../../api/selectors.ts";
import { notFoundError } from "../../../api/status.ts";
import type { Store } from "../../../store/store.ts";
import type { AdmissionRequest } from "../../rest/context.ts";
import { matches } from "../webhooks/configurations.ts";
import { isNamespace } from "../webhooks/review.ts";
import type { MatchResources, NamedRule } from "./definitions.ts";

/** The namespace that a request is in, as stored; undefined for what is in none. Throws NotFound. */
export function namespaceOf(store: Store, { kind, namespace }: AdmissionRequest): KubeObject | undefined {
  if (kind.scope !== "Namespaced" || namespace === undefined) return undefined;
  const entry = store.get(`/core/namespaces/${namespace}`);
  if (!entry) throw notFoundError({ group: "", resource: "namespaces" }, namespace);
  return entry.object as unknown as KubeObject;
}

/** Labels that a namespaceSelector judges; undefined when it lets the request pass. */
function namespaceLabels(store: Store, request: AdmissionRequest): Record<string, string> | undefined {
  const { kind, operation, name, object } = request;
  if (!isNamespace(kind)) {
    const namespace = namespaceOf(store, request);
    return namespace && (namespace.metadata.labels ?? {});
  }
  // What is being written is newer than what is stored.
  if (operation !== "DELETE" && object) return object.metadata?.labels ?? {};
  return (store.get(`/core/namespaces/${name}`)?.object as KubeObject | undefined)?.metadata.labels ?? {};
}

/**
 * Whether the constraints choose the request; then the kind in whose version it is to be seen.
 * Source: k8s.io/apiserver/pkg/admission/plugin/policy/matching/matching.go.
 */
export function matchOf(store: Store, registry: KindRegistry, constraints: MatchResources, request: AdmissionRequest): Kind | undefined {
  const { kind } = request;
  // The cheapest question first: most policies are about other kinds.
  const chosen = (constraints.resourceRules ?? []).length === 0 ? kind : chosenBy(constraints.resourceRules!, constraints, registry, request);
  if (!chosen) return undefined;
  const namespaces = labelSelectorOf(constraints.namespaceSelector ?? {})!;
  if (!namespaces.isEmpty) {
    const labels = namespaceLabels(store, request);
    if (labels !== undefined && !namespaces.matches(labels)) return undefined;
  }
  const objects = labelSelectorOf(constraints.objectSelector ?? {})!;
  if (!objects.isEmpty && !objects.matches(request.object?.metadata?.labels) && !objects.matches(request.old?.metadata?.labels)) return undefined;
  if (chosenBy(constraints.excludeResourceRules ?? [], constraints, registry, request)) return undefined;
  return chosen;
}

function chosenBy(rules: readonly NamedRule[], { matchPolicy }: MatchResources, registry: KindRegistry, { operation, kind, subresource, name }: AdmissionRequest): Kind | undefined {
  const named = rules.filter(({ resourceNames }) => !resourceNames?.length || resourceNames.includes(name));
  if (named.some((rule) => matches(rule, operation, kind, subresource))) return kind;
  if (matchPolicy === "Exact" || named.length === 0) return undefined;
  const home = (of: Kind): string => `${of.storedAs?.group ?? of.group}/${of.storedAs?.resource ?? of.resource}`;
  const others = registry.all().filter((other) => other !== kind && home(other) === home(kind));
  for (const rule of named) {
    const other = others.find((candidate) => matches(rule, operation, candidate, subresource));
    if (other) return other;
  }
  return undefined;
}
