import type { Condition } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { ControllerRevision, Pod, StatefulSet } from "../../api/types.ts";
import { isEmptySelector } from "../../api/validation/selector.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { claimChildren } from "../claim.ts";
import { scaledValue } from "../deployment/replicas.ts";
import { controllerReference } from "../pod-template.ts";
import { isAvailable, isFinished, isReady, isTerminating, nextAvailableInMs } from "../pods.ts";
import { compact, sameStatus } from "../replicaset.ts";
import { controller } from "../runner.ts";
import { createPod, deletePod, ordinalOf, podOf, syncClaimOwners } from "./pod.ts";
import { type Revisions, revisionLabel, revisionsOf, truncateHistory } from "../revision.ts";

/**
 * Pods with names that stay: made from 0 upwards, taken away and replaced from the highest downwards, one at a
 * time unless `podManagementPolicy` is Parallel.
 * Source: k8s.io/kubernetes/pkg/controller/statefulset/{stateful_set,stateful_set_control}.go.
 */
export const statefulSetController = controller<StatefulSet>({
  name: "statefulset-controller",
  for: resources.statefulSets,
  owns: { kind: "StatefulSet", resources: [resources.pods, resources.controllerRevisions] },
  reads: [resources.persistentVolumeClaims],
  plan: ({ object, cache, nowMs }) => planStatefulSet(object, cache, nowMs),
});

type Status = NonNullable<StatefulSet["status"]>;

export function planStatefulSet(set: StatefulSet, cache: Cache, nowMs: number): Plan {
  if (isEmptySelector(set.spec?.selector)) return { actions: [] };
  const reference = controllerReference(set, "apps/v1", "StatefulSet");
  // One that goes makes nothing anew: revisions that the garbage collector has just orphaned must not come back.
  if (set.metadata.deletionTimestamp) return { actions: [] };
  const { claimed: pods, actions: podClaims } = claimChildren<Pod>(cache, resources.pods, resources.statefulSets, set, reference, { adoptable: (pod) => ordinalOf(set, pod) >= 0 });
  // After a deletion that orphaned, a set of the same name goes on with the history that it finds.
  const { claimed: known, actions: revisionClaims } = claimChildren<ControllerRevision>(cache, resources.controllerRevisions, resources.statefulSets, set, reference);
  if (podClaims.length + revisionClaims.length > 0) return { actions: [...podClaims, ...revisionClaims] };
  const revisions = revisionsOf(set, known, (name) => cache.get(resources.controllerRevisions, name) !== undefined);
  if (revisions.actions.length > 0) return { actions: revisions.actions };

  const { actions, waitsForAvailability } = nextSteps(set, pods, revisions, cache, nowMs);
  const status = statusOf(set, pods, revisions, nowMs);
  const live = new Set([revisions.current.name, revisions.update.name, ...pods.map(revisionOf)]);
  const all: Action[] = [...actions, ...(sameStatus(status, set.status) ? [] : [{ do: "status" as const, resource: resources.statefulSets, object: { ...set, status } }]), ...truncateHistory(set, known, live)];
  const next = nextAvailableInMs(pods, set.spec?.minReadySeconds ?? 0, nowMs);
  return { actions: all, ...((waitsForAvailability || next !== undefined) && { requeueAfterMs: next ?? 1_000 }) };
}

const revisionOf = (pod: Pod): string => pod.metadata.labels?.[revisionLabel] ?? "";
const startOf = (set: StatefulSet): number => set.spec?.ordinals?.start ?? 0;
const updateFrom = (set: StatefulSet): number => startOf(set) + (set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0);

/** Of which revision a missing pod is made: below the partition it comes back as it was, else it need not be replaced a second time. */
function revisionFor(set: StatefulSet, { current, update }: Revisions, ordinal: number): Revisions["update"] {
  if (set.spec?.updateStrategy?.type === "OnDelete" || current.name === update.name) return update;
  const { rollingUpdate } = set.spec?.updateStrategy ?? {};
  const isCurrent = rollingUpdate ? ordinal < updateFrom(set) : ordinal < startOf(set) + (set.status?.currentReplicas ?? 0);
  return isCurrent ? current : update;
}

function nextSteps(set: StatefulSet, pods: readonly Pod[], revisions: Revisions, cache: Cache, nowMs: number): { actions: Action[]; waitsForAvailability: boolean } {
  const minReadySeconds = set.spec?.minReadySeconds ?? 0;
  const oneByOne = set.spec?.podManagementPolicy !== "Parallel";
  const start = startOf(set);
  const end = start + (set.spec?.replicas ?? 1);
  const byOrdinal = new Map(pods.map((pod) => [ordinalOf(set, pod), pod]));
  const condemned = pods.filter((pod) => ordinalOf(set, pod) < start || ordinalOf(set, pod) >= end).sort((a, b) => ordinalOf(set, b) - ordinalOf(set, a));
  const healthy = (pod: Pod): boolean => isReady(pod) && pod.status?.phase === "Running" && !isTerminating(pod);
  const available = (pod: Pod): boolean => healthy(pod) && isAvailable(pod, minReadySeconds, nowMs);
  // Before any pod goes: its claims must know whether they go with it.
  const actions: Action[] = pods.flatMap((pod) => syncClaimOwners(set, pod, condemned.includes(pod), cache));
  const stop = (waitsForAvailability = false) => ({ actions, waitsForAvailability });

  for (let ordinal = start; ordinal < end; ordinal++) {
    const pod = byOrdinal.get(ordinal);
    if (!pod) {
      actions.push(...createPod(set, podOf(set, revisionFor(set, revisions, ordinal), ordinal), ordinal, cache));
      if (oneByOne) return stop();
      continue;
    }
    if (isFinished(pod) && !isTerminating(pod)) {
      const verb = pod.status?.phase === "Failed" ? { type: "Warning" as const, reason: "RecreatingFailedPod", word: "failed" } : { type: "Normal" as const, reason: "RecreatingTerminatedPod", word: "terminated" };
      actions.push({ do: "event", about: set, type: verb.type, reason: verb.reason, message: `StatefulSet ${set.metadata.namespace}/${set.metadata.name} is recreating ${verb.word} Pod ${pod.metadata.name}` }, deletePod(set, pod));
      if (oneByOne) return stop();
      continue;
    }
    if (oneByOne && !available(pod)) return stop(healthy(pod));
  }

  const firstUnhealthy = [...pods].sort((a, b) => ordinalOf(set, a) - ordinalOf(set, b)).find((pod) => !healthy(pod));
  for (const pod of condemned) {
    if (isTerminating(pod)) {
      if (oneByOne) return stop();
      continue;
    }
    // A pod that works is taken away only when none before it is broken, unless it is the broken one itself.
    if (oneByOne && !available(pod) && pod !== firstUnhealthy) return stop(healthy(pod));
    actions.push(deletePod(set, pod));
    if (oneByOne) return stop();
  }
  if (set.spec?.updateStrategy?.type === "OnDelete") return stop();

  // One that is only being made is as little available as one that starts.
  const replicas = Array.from({ length: end - start }, (_, index): [number, Pod | undefined] => [end - 1 - index, byOrdinal.get(end - 1 - index)]);
  // Shares are rounded down here, whatever the field's description says; one may always be missing.
  const wanted = Math.max(1, scaledValue((set.spec?.updateStrategy?.rollingUpdate as { maxUnavailable?: number | string } | undefined)?.maxUnavailable ?? 1, set.spec?.replicas ?? 1, false));
  let missing = replicas.filter(([, pod]) => !pod || !available(pod)).length;
  let ended = 0;
  for (const [ordinal, pod] of replicas) {
    if (ordinal < updateFrom(set)) break;
    if (!pod || isTerminating(pod) || revisionOf(pod) === revisions.update.name) continue;
    // An old pod that does not work makes way whatever else is missing, or a broken roll-out could never be mended.
    if (ended >= wanted || (available(pod) && missing >= wanted)) continue;
    if (available(pod)) missing++;
    ended++;
    actions.push(deletePod(set, pod));
  }
  return stop();
}

function statusOf(set: StatefulSet, pods: readonly Pod[], { current, update, collisionCount }: Revisions, nowMs: number): Status {
  const minReadySeconds = set.spec?.minReadySeconds ?? 0;
  const count = (fits: (pod: Pod) => boolean): number => pods.filter(fits).length;
  const running = (pod: Pod): boolean => pod.status?.phase === "Running";
  const status = {
    observedGeneration: set.metadata.generation ?? 0,
    replicas: pods.length,
    readyReplicas: count((pod) => running(pod) && isReady(pod)),
    availableReplicas: count((pod) => running(pod) && isAvailable(pod, minReadySeconds, nowMs)),
    currentReplicas: count((pod) => !isTerminating(pod) && revisionOf(pod) === current.name),
    updatedReplicas: count((pod) => !isTerminating(pod) && revisionOf(pod) === update.name),
    currentRevision: current.name,
    updateRevision: update.name,
    collisionCount: collisionCount ?? 0,
    conditions: (set.status?.conditions ?? []) as Condition[],
  };
  // The roll-out is through: what was the update is the current revision from now on.
  const rolling = set.spec?.updateStrategy?.type !== "OnDelete";
  if (rolling && status.updatedReplicas === status.replicas && status.readyReplicas === status.replicas && status.replicas === (set.spec?.replicas ?? 1)) {
    status.currentReplicas = status.updatedReplicas;
    status.currentRevision = status.updateRevision;
  }
  const written = compact(status) as Status;
  // Required by the kind's schema, and what `kubectl get` and `rollout status` divide by.
  return { ...written, availableReplicas: status.availableReplicas, collisionCount: status.collisionCount };
}
