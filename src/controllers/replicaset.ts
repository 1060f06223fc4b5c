import { type Condition, type GroupVersionResource, type OwnerReference, timestamp } from "../api/meta.ts";
import { resources } from "../api/resources.ts";
import type { Pod, ReplicaSet } from "../api/types.ts";
import { selectorMatches } from "../api/validation/selector.ts";
import type { Action, Draft, Plan } from "./action.ts";
import type { Cache } from "./cache.ts";
import { claimChildren } from "./claim.ts";
import { createPod, deletePod } from "./pod-actions.ts";
import { controllerReference, podFromTemplate, stableJson } from "./pod-template.ts";
import { compareForDeletion, isActive, isAvailable, isFinished, isReady, isTerminating, nextAvailableInMs } from "./pods.ts";
import { controller } from "./runner.ts";

/** Creations and deletions of one plan; the rest comes with the next. */
const burstReplicas = 500;

/**
 * Keeps the wanted number of pods of one template.
 * Source: k8s.io/kubernetes/pkg/controller/replicaset/{replica_set,replica_set_utils}.go.
 */
export const replicaSetController = controller<ReplicaSet>({
  name: "replicaset-controller",
  for: resources.replicaSets,
  owns: { kind: "ReplicaSet", resources: [resources.pods] },
  watches: [{ resource: resources.pods, keys: selectingReplicaSets }],
  plan: ({ object, cache, nowMs }) => planReplicaSet(object, cache, nowMs),
});

/** A ReplicationController is a ReplicaSet by another name, whose selector is written otherwise. */
export interface ReplicaKind {
  resource: GroupVersionResource;
  apiVersion: string;
  kind: string;
}
const replicaSets: ReplicaKind = { resource: resources.replicaSets, apiVersion: "apps/v1", kind: "ReplicaSet" };

export function planReplicaSet(replicaSet: ReplicaSet, cache: Cache, nowMs: number, { resource, apiVersion, kind }: ReplicaKind = replicaSets): Plan {
  const reference = controllerReference(replicaSet, apiVersion, kind);
  const { claimed, actions } = claimChildren<Pod>(cache, resources.pods, resource, replicaSet, reference, { adoptable: (pod) => !isFinished(pod) || pod.metadata.ownerReferences?.some(({ uid }) => uid === replicaSet.metadata.uid) === true });
  // Adopted and released ones change who counts; count when the cache shows them.
  if (actions.length > 0) return { actions };
  const active = claimed.filter(isActive);
  const wanted = replicaSet.spec?.replicas ?? 1;
  const difference = active.length - wanted;
  const status = (failure?: { reason: "FailedCreate" | "FailedDelete"; error: Error }): Action[] => statusActions(resource, replicaSet, active, claimed.filter(isTerminating).length, nowMs, failure);
  if (!replicaSet.metadata.deletionTimestamp && difference !== 0) {
    const failed = (reason: "FailedCreate" | "FailedDelete") => (error: Error) => status({ reason, error });
    actions.push(
      difference < 0
        ? { do: "batch", slowStart: true, actions: Array.from({ length: Math.min(-difference, burstReplicas) }, () => createPod(replicaSet, podOf(replicaSet, reference))), orElse: failed("FailedCreate") }
        : { do: "batch", actions: podsToDelete(active, Math.min(difference, burstReplicas), nowMs).map((pod) => deletePod(replicaSet, pod)), orElse: failed("FailedDelete") },
    );
  }
  actions.push(...status());
  const next = nextAvailableInMs(active, replicaSet.spec?.minReadySeconds ?? 0, nowMs);
  return { actions, ...(next !== undefined && { requeueAfterMs: next }) };
}

const podsToDelete = (active: readonly Pod[], count: number, nowMs: number): Pod[] => (count < active.length ? [...active].sort(compareForDeletion(nowMs)).slice(0, count) : [...active]);

function podOf(replicaSet: ReplicaSet, reference: OwnerReference): Draft {
  const pod = podFromTemplate(replicaSet.spec!.template!, replicaSet.metadata.namespace!, reference);
  return { ...pod, metadata: { ...pod.metadata, generateName: `${replicaSet.metadata.name}-` } };
}

function statusActions(resource: GroupVersionResource, replicaSet: ReplicaSet, active: readonly Pod[], terminating: number, nowMs: number, failure?: { reason: string; error: Error }): Action[] {
  const minReadySeconds = replicaSet.spec?.minReadySeconds ?? 0;
  const templateLabels = replicaSet.spec?.template?.metadata?.labels ?? {};
  const conditions = ((replicaSet.status?.conditions ?? []) as Condition[]).filter((condition) => condition.type !== "ReplicaFailure");
  if (failure) {
    const old = (replicaSet.status?.conditions as Condition[] | undefined)?.find((condition) => condition.type === "ReplicaFailure");
    conditions.push(old ?? { type: "ReplicaFailure", status: "True", reason: failure.reason, message: failure.error.message, lastTransitionTime: timestamp(nowMs) });
  }
  const count = (fits: (pod: Pod) => boolean): number => active.filter(fits).length;
  const status = compact({
    replicas: active.length,
    fullyLabeledReplicas: count((pod) => selectorMatches({ matchLabels: templateLabels }, pod.metadata.labels)),
    readyReplicas: count(isReady),
    availableReplicas: count((pod) => isAvailable(pod, minReadySeconds, nowMs)),
    terminatingReplicas: terminating,
    observedGeneration: replicaSet.metadata.generation ?? 0,
    conditions,
  });
  if (sameStatus(status, replicaSet.status)) return [];
  return [{ do: "status", resource, object: { ...replicaSet, status } as ReplicaSet }];
}

/** As Go writes a status: zero counts and empty lists are left out, but for `replicas` and `terminatingReplicas`. */
export function compact<T extends object>(status: T): T {
  const kept = Object.entries(status).filter(([key, value]) => key === "replicas" || key === "terminatingReplicas" || (value !== 0 && value !== undefined && value !== "" && !(Array.isArray(value) && value.length === 0)));
  return Object.fromEntries(kept) as T;
}
export const sameStatus = (next: object, old: object | undefined): boolean => stableJson(compact(next)) === stableJson(compact(old ?? {}));

/** An orphan wakes those who may want to adopt it. */
function selectingReplicaSets(pod: Pod, cache: Cache): string[] {
  if (pod.metadata.ownerReferences?.some((owner) => owner.controller)) return [];
  return cache
    .inNamespace<ReplicaSet>(resources.replicaSets, pod.metadata.namespace!)
    .filter((replicaSet) => selectorMatches(replicaSet.spec?.selector, pod.metadata.labels))
    .map((replicaSet) => `${replicaSet.metadata.namespace}/${replicaSet.metadata.name}`);
}
