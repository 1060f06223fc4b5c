import { type Condition, timestamp } from "../../api/meta.ts";
import type { Deployment, ReplicaSet } from "../../api/types.ts";
import { compact } from "../replicaset.ts";
import { maxUnavailable, totalOf, wantedReplicas } from "./replicas.ts";

/**
 * What `kubectl rollout status`, Helm and Argo CD read.
 * Source: k8s.io/kubernetes/pkg/controller/deployment/{sync,progress}.go.
 */
export type DeploymentStatus = NonNullable<Deployment["status"]>;

const noDeadline = 2 ** 31 - 1;
export const deadlineSeconds = (deployment: Deployment): number | undefined => {
  const seconds = deployment.spec?.progressDeadlineSeconds;
  return seconds === undefined || seconds === noDeadline ? undefined : seconds;
};
export const findCondition = (conditions: readonly Condition[], type: string): Condition | undefined => conditions.find((condition) => condition.type === type);

export function newCondition(type: string, status: Condition["status"], reason: string, message: string, nowMs: number): Condition {
  return { type, status, lastUpdateTime: timestamp(nowMs), lastTransitionTime: timestamp(nowMs), reason, message };
}

/** Puts a condition in place; one of equal status and reason stays as it is. */
export function setCondition(conditions: readonly Condition[], next: Condition): Condition[] {
  const old = findCondition(conditions, next.type);
  if (old && old.status === next.status && old.reason === next.reason) return conditions as Condition[];
  const kept = old && old.status === next.status && old.lastTransitionTime ? { ...next, lastTransitionTime: old.lastTransitionTime } : next;
  return [...conditions.filter((condition) => condition.type !== next.type), kept];
}

/** Counts and the Available condition; the Progressing condition is taken over from `conditions`. */
export function countStatus(deployment: Deployment, all: readonly ReplicaSet[], newSet: ReplicaSet | undefined, conditions: readonly Condition[], nowMs: number): DeploymentStatus {
  const replicas = totalOf(all, "replicas");
  const available = totalOf(all, "availableReplicas");
  const enough = available >= wantedReplicas(deployment) - maxUnavailable(deployment);
  return compact({
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas,
    updatedReplicas: newSet ? totalOf([newSet], "replicas") : 0,
    readyReplicas: totalOf(all, "readyReplicas"),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, replicas - available),
    terminatingReplicas: totalOf(all, "terminatingReplicas"),
    collisionCount: deployment.status?.collisionCount,
    conditions: setCondition(
      conditions,
      enough
        ? newCondition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", nowMs)
        : newCondition("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", nowMs),
    ),
  }) as DeploymentStatus;
}

export function isComplete(deployment: Deployment, status: DeploymentStatus | undefined): boolean {
  const wanted = wantedReplicas(deployment);
  return (status?.updatedReplicas ?? 0) === wanted && (status?.replicas ?? 0) === wanted && (status?.availableReplicas ?? 0) === wanted && (status?.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0);
}

function isProgressing(old: DeploymentStatus | undefined, next: DeploymentStatus): boolean {
  const of = (status: DeploymentStatus | undefined, field: "updatedReplicas" | "replicas" | "readyReplicas" | "availableReplicas"): number => status?.[field] ?? 0;
  return (
    of(next, "updatedReplicas") > of(old, "updatedReplicas") ||
    of(next, "replicas") - of(next, "updatedReplicas") < of(old, "replicas") - of(old, "updatedReplicas") ||
    of(next, "readyReplicas") > of(old, "readyReplicas") ||
    of(next, "availableReplicas") > of(old, "availableReplicas")
  );
}

function isOverdue(deployment: Deployment, condition: Condition | undefined, nowMs: number): boolean {
  const seconds = deadlineSeconds(deployment);
  if (seconds === undefined || !condition || condition.reason === "NewReplicaSetAvailable") return false;
  if (condition.reason === "ProgressDeadlineExceeded") return true;
  return Date.parse(condition["lastUpdateTime"] as string) + seconds * 1000 < nowMs;
}

/** The whole status of a Deployment that rolls, and when the deadline must be looked at. */
export function rolloutStatus(deployment: Deployment, all: readonly ReplicaSet[], newSet: ReplicaSet | undefined, conditions: readonly Condition[], nowMs: number): { status: DeploymentStatus; requeueAfterMs?: number } {
  const status = countStatus(deployment, all, newSet, conditions, nowMs);
  let list = status.conditions as Condition[];
  const current = findCondition(list, "Progressing");
  const about = newSet ? `ReplicaSet "${newSet.metadata.name}"` : `Deployment "${deployment.metadata.name}"`;
  const deadline = deadlineSeconds(deployment);
  if (deadline === undefined) {
    list = list.filter((condition) => condition.type !== "Progressing");
  } else if (!(status.replicas === status.updatedReplicas && current?.reason === "NewReplicaSetAvailable")) {
    if (isComplete(deployment, status)) {
      list = setCondition(list, newCondition("Progressing", "True", "NewReplicaSetAvailable", `${about} has successfully progressed.`, nowMs));
    } else if (isProgressing(deployment.status, status)) {
      // Each step forward restarts the deadline, so the time of the last update moves even if nothing else does.
      const next = newCondition("Progressing", "True", "ReplicaSetUpdated", `${about} is progressing.`, nowMs);
      const kept = current?.status === "True" && current.lastTransitionTime ? { ...next, lastTransitionTime: current.lastTransitionTime } : next;
      list = [...list.filter((condition) => condition.type !== "Progressing"), kept];
    } else if (isOverdue(deployment, current, nowMs)) {
      list = setCondition(list, newCondition("Progressing", "False", "ProgressDeadlineExceeded", `${about} has timed out progressing.`, nowMs));
    }
  }
  const failure = findCondition((newSet?.status?.conditions ?? []) as Condition[], "ReplicaFailure") ?? all.map((set) => findCondition((set.status?.conditions ?? []) as Condition[], "ReplicaFailure")).find((condition) => condition !== undefined);
  list = failure ? setCondition(list, newCondition("ReplicaFailure", failure.status, failure.reason!, failure.message!, nowMs)) : list.filter((condition) => condition.type !== "ReplicaFailure");

  const progressing = findCondition(list, "Progressing");
  const result = { ...status, conditions: list as NonNullable<DeploymentStatus["conditions"]> };
  if (!progressing || deadline === undefined || isComplete(deployment, result) || progressing.reason === "ProgressDeadlineExceeded" || progressing.reason === "NewReplicaSetAvailable") return { status: result };
  return { status: result, requeueAfterMs: Math.max(0, Date.parse(progressing["lastUpdateTime"] as string) + deadline * 1000 - nowMs) + 1000 };
}
