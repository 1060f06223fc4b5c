import { type ContainerStatus, type Pod } from "../api/types.ts";

/** What several controllers ask about a pod. Source: k8s.io/kubernetes/pkg/api/v1/pod/util.go. */

export const isTerminating = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;
export const isFinished = (pod: Pod): boolean => pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
/** Neither finished nor going: counts as a replica. */
export const isActive = (pod: Pod): boolean => !isTerminating(pod) && !isFinished(pod);

const readyCondition = (pod: Pod) => pod.status?.conditions?.find((condition) => condition.type === "Ready");
export const isReady = (pod: Pod): boolean => readyCondition(pod)?.status === "True";
/** When it last became ready, in milliseconds; undefined while it is not. */
export function readySinceMs(pod: Pod): number | undefined {
  const condition = readyCondition(pod);
  return condition?.status === "True" && condition.lastTransitionTime ? Date.parse(condition.lastTransitionTime) : undefined;
}

/** In how many milliseconds a ready pod becomes available: 0 when it is, undefined when it is not ready. */
export function availableInMs(pod: Pod, minReadySeconds: number, nowMs: number): number | undefined {
  if (!isReady(pod)) return undefined;
  if (minReadySeconds === 0) return 0;
  const since = readySinceMs(pod);
  return since === undefined ? undefined : Math.max(0, since + minReadySeconds * 1000 - nowMs);
}
export const isAvailable = (pod: Pod, minReadySeconds: number, nowMs: number): boolean => availableInMs(pod, minReadySeconds, nowMs) === 0;

/** The first moment at which one more of these pods becomes available, in milliseconds from now. */
export function nextAvailableInMs(pods: readonly Pod[], minReadySeconds: number, nowMs: number): number | undefined {
  const waits = pods.map((pod) => availableInMs(pod, minReadySeconds, nowMs)).filter((ms) => ms !== undefined && ms > 0) as number[];
  return waits.length > 0 ? Math.min(...waits) : undefined;
}

const deletionCost = (pod: Pod): number => Number(pod.metadata.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? 0) || 0;
const restarts = (pod: Pod): number => Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status: ContainerStatus) => status.restartCount));
const phaseRanks: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };
const phaseRank = (pod: Pod): number => phaseRanks[pod.status?.phase ?? "Pending"] ?? 0;
/** Ages are compared in powers of two: among pods of about the same age the random part of the name decides, so that the choice is spread. */
const ageRank = (sinceMs: number | undefined, nowMs: number): number => (sinceMs === undefined || sinceMs >= nowMs ? -1 : Math.floor(Math.log2((nowMs - sinceMs) * 1e6)));

/**
 * Which pods to give up first: unassigned, pending, not ready, cheap, ready only lately, often restarted, young.
 * Source: k8s.io/kubernetes/pkg/controller/controller_utils.go, ActivePodsWithRanks (its rank by node means
 * nothing with one node).
 */
export function compareForDeletion(nowMs: number): (a: Pod, b: Pod) => number {
  return (a, b) => {
    const byAge = (left: number | undefined, right: number | undefined): number => ageRank(left, nowMs) - ageRank(right, nowMs) || (a.metadata.name < b.metadata.name ? -1 : 1);
    const assigned = Number(Boolean(a.spec?.nodeName)) - Number(Boolean(b.spec?.nodeName));
    if (assigned !== 0) return assigned;
    const phase = phaseRank(a) - phaseRank(b);
    if (phase !== 0) return phase;
    const ready = Number(isReady(a)) - Number(isReady(b));
    if (ready !== 0) return ready;
    const cost = deletionCost(a) - deletionCost(b);
    if (cost !== 0) return cost;
    if (isReady(a) && readySinceMs(a) !== readySinceMs(b)) return byAge(readySinceMs(a), readySinceMs(b));
    const restarted = restarts(b) - restarts(a);
    if (restarted !== 0) return restarted;
    return byAge(Date.parse(a.metadata.creationTimestamp), Date.parse(b.metadata.creationTimestamp));
  };
}
