import type { Pod } from "../../api/types.ts";

const baseMs = 10_000;
const maxMs = 10 * 60 * 1000;

/**
 * When a pod ended, in milliseconds: its last container, or as near as can be told.
 * Source: k8s.io/kubernetes/pkg/controller/job/backoff_utils.go.
 */
export function finishedAtMs(pod: Pod): number {
  const sidecars = new Set((pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always").map(({ name }) => name));
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? []).filter(({ name }) => sidecars.has(name))];
  const ends = statuses.map(({ state }) => (state?.terminated?.finishedAt ? Date.parse(state.terminated.finishedAt) : undefined));
  if (ends.length > 0 && ends.every((end) => end !== undefined)) return Math.max(...(ends as number[]));
  const ready = pod.status?.conditions?.find(({ type }) => type === "Ready");
  if (ready?.status === "False" && ready.lastTransitionTime) return Date.parse(ready.lastTransitionTime);
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, creationTimestamp } = pod.metadata;
  return deletionTimestamp ? Date.parse(deletionTimestamp) - deletionGracePeriodSeconds * 1000 : Date.parse(creationTimestamp);
}

/** 10 s, 20 s, … up to 10 minutes after the last of so many failures in a row; 0 when that time is over. */
export function remainingMs(failures: number, lastFailureMs: number, nowMs: number): number {
  if (failures === 0) return 0;
  return Math.max(0, lastFailureMs + Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 30)) - nowMs);
}

/**
 * How long the next pod must wait. Upstream remembers failures in memory and forgets them with the process; here
 * they are read from the pods themselves, which stay when they have failed.
 */
export function backoffMs(succeeded: readonly Pod[], failed: readonly Pod[], nowMs: number): number {
  const lastSuccessMs = Math.max(-Infinity, ...succeeded.map(finishedAtMs));
  const failures = failed.map(finishedAtMs).filter((atMs) => atMs > lastSuccessMs);
  return remainingMs(failures.length, Math.max(...failures), nowMs);
}
