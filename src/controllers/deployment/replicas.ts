import type { Deployment, ReplicaSet } from "../../api/types.ts";

/**
 * The arithmetic of roll-outs: how many pods there may be above, and how many may be missing below, what was asked.
 * Source: k8s.io/kubernetes/pkg/controller/deployment/util/deployment_util.go.
 */
export const desiredAnnotation = "deployment.kubernetes.io/desired-replicas";
export const maxAnnotation = "deployment.kubernetes.io/max-replicas";

export const wantedReplicas = (object: { spec?: { replicas?: number | undefined } | undefined }): number => object.spec?.replicas ?? 1;
export const isRollingUpdate = (deployment: Deployment): boolean => (deployment.spec?.strategy?.type ?? "RollingUpdate") === "RollingUpdate";

/** "25%" of `total`, or the number itself. */
export function scaledValue(value: number | string | undefined, total: number, roundUp: boolean): number {
  if (typeof value === "number" || value === undefined) return value ?? 0;
  const exact = (Number.parseInt(value, 10) * total) / 100;
  return roundUp ? Math.ceil(exact) : Math.floor(exact);
}

/** Both as numbers: the surge rounded up, the missing down; never both 0, or nothing could move. */
export function fenceposts(deployment: Deployment): { maxSurge: number; maxUnavailable: number } {
  const wanted = wantedReplicas(deployment);
  if (!isRollingUpdate(deployment)) return { maxSurge: 0, maxUnavailable: 0 };
  const { maxSurge, maxUnavailable } = deployment.spec?.strategy?.rollingUpdate ?? {};
  const surge = scaledValue(maxSurge as number | string | undefined, wanted, true);
  const unavailable = scaledValue(maxUnavailable as number | string | undefined, wanted, false);
  return { maxSurge: surge, maxUnavailable: surge === 0 && unavailable === 0 ? 1 : unavailable };
}
export const maxSurge = (deployment: Deployment): number => fenceposts(deployment).maxSurge;
export const maxUnavailable = (deployment: Deployment): number => (wantedReplicas(deployment) === 0 ? 0 : Math.min(fenceposts(deployment).maxUnavailable, wantedReplicas(deployment)));

export const totalWanted = (sets: readonly ReplicaSet[]): number => sets.reduce((sum, set) => sum + wantedReplicas(set), 0);
export const totalOf = (sets: readonly ReplicaSet[], field: "replicas" | "readyReplicas" | "availableReplicas" | "terminatingReplicas"): number => sets.reduce((sum, set) => sum + (set.status?.[field] ?? 0), 0);
export const withReplicas = (sets: readonly ReplicaSet[]): ReplicaSet[] => sets.filter((set) => wantedReplicas(set) > 0);

/** How large the new ReplicaSet may be now. */
export function newSetReplicas(deployment: Deployment, all: readonly ReplicaSet[], newSetSize: number): number {
  const wanted = wantedReplicas(deployment);
  if (!isRollingUpdate(deployment)) return wanted;
  const room = wanted + maxSurge(deployment) - totalWanted(all);
  return room <= 0 ? newSetSize : newSetSize + Math.min(room, wanted - newSetSize);
}

/** Everything runs in the new set and is available: old ones may go. */
export function isSaturated(deployment: Deployment, newSet: ReplicaSet | undefined): boolean {
  const wanted = wantedReplicas(deployment);
  return newSet !== undefined && wantedReplicas(newSet) === wanted && newSet.metadata.annotations?.[desiredAnnotation] === String(wanted) && (newSet.status?.availableReplicas ?? 0) === wanted;
}

/**
 * Sizes when a Deployment is scaled in the middle of a roll-out: each set gets its share, the largest what is left
 * over, so that the ratio of old to new stays as it is.
 */
export function proportionalSizes(deployment: Deployment, active: readonly ReplicaSet[]): Map<ReplicaSet, number> {
  const wanted = wantedReplicas(deployment);
  const allowed = wanted > 0 ? wanted + maxSurge(deployment) : 0;
  const toAdd = allowed - totalWanted(active);
  const created = (set: ReplicaSet): number => Date.parse(set.metadata.creationTimestamp);
  // More: the newer of equals first. Fewer: the older of equals first.
  const sets = [...active].sort((a, b) => wantedReplicas(b) - wantedReplicas(a) || (toAdd > 0 ? created(b) - created(a) : created(a) - created(b)));
  const sizes = new Map<ReplicaSet, number>();
  let added = 0;
  for (const set of sets) {
    const share = toAdd === 0 ? 0 : shareOf(set, deployment, toAdd, added);
    sizes.set(set, wantedReplicas(set) + share);
    added += share;
  }
  const largest = sets[0];
  if (largest && toAdd !== 0) sizes.set(largest, Math.max(0, sizes.get(largest)! + toAdd - added));
  return sizes;
}

function shareOf(set: ReplicaSet, deployment: Deployment, toAdd: number, added: number): number {
  const size = wantedReplicas(set);
  if (size === 0 || toAdd === added) return 0;
  const wanted = wantedReplicas(deployment);
  const rest = toAdd - added;
  if (wanted === 0) return toAdd > 0 ? Math.min(-size, rest) : Math.max(-size, rest);
  const before = Number(set.metadata.annotations?.[maxAnnotation] ?? deployment.status?.replicas ?? 0);
  const grown = before > 0 ? Math.sign(size) * Math.round((size * (wanted + maxSurge(deployment))) / before) : 0;
  const share = grown - size;
  return toAdd > 0 ? Math.min(share, rest) : Math.max(share, rest);
}
