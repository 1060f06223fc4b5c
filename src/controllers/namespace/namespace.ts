import { type Condition, type GroupVersionResource, type KubeObject, qualifiedResource, withCondition } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Namespace } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { stableJson } from "../pod-template.ts";
import { type Controller, controller } from "../runner.ts";

/**
 * Empties a namespace that is being deleted, then lets go of it.
 * `contents` gives the namespaced resources there are now (custom ones come and go); their informers must run.
 * Source: k8s.io/kubernetes/pkg/controller/namespace/deletion/namespaced_resources_deleter.go.
 */
export function namespaceController(contents: () => readonly GroupVersionResource[]): Controller {
  return controller<Namespace>({
    name: "namespace-controller",
    for: resources.namespaces,
    plan: ({ object, cache, nowMs }) => planNamespace(object, contents(), cache, nowMs),
  });
}

/** What holds a namespace up is mostly pods with a grace; looking again is cheap. */
const lookAgainMs = 250;

export function planNamespace(namespace: Namespace, contents: readonly GroupVersionResource[], cache: Cache, nowMs: number): Plan {
  const { name, deletionTimestamp } = namespace.metadata;
  if (!deletionTimestamp || !(namespace.spec?.finalizers ?? []).includes("kubernetes")) return { actions: [] };
  const remaining = contents.map((resource) => ({ resource, objects: cache.inNamespace<KubeObject>(resource, name) })).filter(({ objects }) => objects.length > 0);
  const deletions = remaining.flatMap(({ resource, objects }) => objects.filter((object) => !object.metadata.deletionTimestamp).map((object): Action => ({ do: "delete", resource, object, options: { propagationPolicy: "Background" } })));
  const actions: Action[] = [{ do: "batch", actions: deletions }];
  const status = { ...namespace.status, phase: "Terminating", conditions: conditionsOf(namespace, remaining, nowMs) };
  if (stableJson(status) !== stableJson(namespace.status)) actions.push({ do: "status", resource: resources.namespaces, object: { ...namespace, status } });
  if (remaining.length > 0) return { actions, requeueAfterMs: lookAgainMs };
  const finalizers = namespace.spec!.finalizers!.filter((finalizer) => finalizer !== "kubernetes");
  // The cache may be a moment behind; nothing may be left behind in a namespace that is gone.
  const finalize: Action = { do: "update", subresource: "finalize", resource: resources.namespaces, object: { ...namespace, metadata: { ...namespace.metadata, resourceVersion: "" }, spec: { ...namespace.spec, finalizers } } };
  actions.push({ do: "ifAbsent", namespace: name, resources: contents, actions: [finalize] });
  return { actions };
}

function conditionsOf(namespace: Namespace, remaining: readonly { resource: GroupVersionResource; objects: readonly KubeObject[] }[], nowMs: number): Condition[] {
  const counts = remaining.map(({ resource, objects }) => `${qualifiedResource(resource.group, resource.resource)}. has ${objects.length} resource instances`).sort();
  const finalizers = new Map<string, number>();
  for (const { objects } of remaining) for (const { metadata } of objects) for (const finalizer of metadata.finalizers ?? []) finalizers.set(finalizer, (finalizers.get(finalizer) ?? 0) + 1);
  const held = [...finalizers].map(([finalizer, count]) => `${finalizer} in ${count} resource instances`).sort();
  const list: Omit<Condition, "lastTransitionTime">[] = [
    { type: "NamespaceDeletionDiscoveryFailure", status: "False", reason: "ResourcesDiscovered", message: "All resources successfully discovered" },
    { type: "NamespaceDeletionGroupVersionParsingFailure", status: "False", reason: "ParsedGroupVersions", message: "All legacy kube types successfully parsed" },
    { type: "NamespaceDeletionContentFailure", status: "False", reason: "ContentDeleted", message: "All content successfully deleted, may be waiting on finalization" },
    counts.length > 0
      ? { type: "NamespaceContentRemaining", status: "True", reason: "SomeResourcesRemain", message: `Some resources are remaining: ${counts.join(", ")}` }
      : { type: "NamespaceContentRemaining", status: "False", reason: "ContentRemoved", message: "All content successfully removed" },
    held.length > 0
      ? { type: "NamespaceFinalizersRemaining", status: "True", reason: "SomeFinalizersRemain", message: `Some content in the namespace has finalizers remaining: ${held.join(", ")}` }
      : { type: "NamespaceFinalizersRemaining", status: "False", reason: "ContentHasNoFinalizers", message: "All content-preserving finalizers finished" },
  ];
  let conditions = (namespace.status?.conditions ?? []) as Condition[];
  for (const condition of list) conditions = withCondition(conditions, condition as Condition, nowMs);
  return conditions;
}
