import type { Job, Pod } from "../../api/types.ts";
import { isActive, isFinished, isReady, isTerminating } from "../pods.ts";
import { finishedAtMs } from "./backoff.ts";
import { judgeFailure } from "./failure-policy.ts";
import { hasIndex, type Indexes, overlapOf, parseIndexes, totalOf, withIndexes } from "./indexes.ts";
import { allIndexFailures, hasFailed, indexFailures, indexOf, isIndexed, isTracked } from "./pod.ts";

/** What a Job's status and its pods say together. Pods that are not yet in the status still have their finalizer. */
export interface Tally {
  pods: readonly Pod[];
  active: Pod[];
  ready: number;
  terminating: Pod[];
  /** Ended, with finalizer and not noted in the status. */
  newSucceeded: Pod[];
  newFailed: Pod[];
  succeeded: number;
  failed: number;
  /** UIDs in the status whose pods still have their finalizer; the rest is counted in `counted`. */
  uncounted: { succeeded: string[]; failed: string[] };
  counted: { succeeded: number; failed: number };
  /** Indexed only. `completed` has those of the status and of `newSucceeded`. */
  completedBefore: Indexes;
  completed: Indexes;
  /** With `backoffLimitPerIndex` only. */
  failedIndexes: Indexes | undefined;
  /** The failed pod of an index that waits for its successor, who takes over its count of failures. */
  awaitingSuccessor: Map<number, Pod>;
}

export const completionsOf = (job: Job): number => job.spec?.completions ?? 0;
const isValidIndex = (job: Job, index: number | undefined): index is number => index !== undefined && index < completionsOf(job);

export function tallyOf(job: Job, pods: readonly Pod[]): Tally {
  const { status = {} } = job;
  const noted = { succeeded: status.uncountedTerminatedPods?.succeeded ?? [], failed: status.uncountedTerminatedPods?.failed ?? [] };
  const indexed = isIndexed(job);
  const counts = (pod: Pod): boolean => isTracked(pod) && (!indexed || isValidIndex(job, indexOf(pod)));
  const newSucceeded = pods.filter((pod) => counts(pod) && pod.status?.phase === "Succeeded" && !noted.succeeded.includes(pod.metadata.uid));
  const newFailed = pods.filter((pod) => counts(pod) && hasFailed(job, pod) && !noted.failed.includes(pod.metadata.uid));
  const tracked = new Set(pods.filter(isTracked).map(({ metadata }) => metadata.uid));
  const uncounted = { succeeded: noted.succeeded.filter((uid) => tracked.has(uid)), failed: noted.failed.filter((uid) => tracked.has(uid)) };
  const active = pods.filter(isActive);
  const completedBefore = indexed ? parseIndexes(status.completedIndexes, completionsOf(job)) : [];
  const completed = withIndexes(completedBefore, indexed ? newSucceeded.map((pod) => indexOf(pod)!) : []);
  const failedIndexes = failedIndexesOf(job, pods.filter(counts));
  return {
    pods,
    active,
    ready: active.filter(isReady).length,
    terminating: pods.filter((pod) => isTerminating(pod) && !isFinished(pod)),
    newSucceeded,
    newFailed,
    succeeded: indexed ? totalOf(completed) : (status.succeeded ?? 0) + newSucceeded.length + noted.succeeded.length,
    failed: (status.failed ?? 0) + newFailed.filter((pod) => judgeFailure(job, pod).counts).length + noted.failed.length,
    uncounted,
    counted: { succeeded: (status.succeeded ?? 0) + noted.succeeded.length - uncounted.succeeded.length, failed: (status.failed ?? 0) + noted.failed.length - uncounted.failed.length },
    completedBefore,
    completed,
    failedIndexes,
    awaitingSuccessor: failedIndexes ? awaitingSuccessor(job, pods.filter(counts), active, completed, failedIndexes) : new Map(),
  };
}

function failedIndexesOf(job: Job, counted: readonly Pod[]): Indexes | undefined {
  const limit = job.spec?.backoffLimitPerIndex;
  if (limit === undefined || !isIndexed(job)) return undefined;
  const failed = counted.filter((pod) => {
    if (!hasFailed(job, pod)) return false;
    const { action, counts } = judgeFailure(job, pod);
    return action === "FailIndex" || (counts && indexFailures(pod) >= limit);
  });
  return withIndexes(parseIndexes(job.status?.failedIndexes, completionsOf(job)), failed.map((pod) => indexOf(pod)!));
}

function awaitingSuccessor(job: Job, counted: readonly Pod[], active: readonly Pod[], completed: Indexes, failed: Indexes): Map<number, Pod> {
  const running = new Set(active.map(indexOf));
  const waiting = new Map<number, Pod>();
  for (const pod of counted) {
    const index = indexOf(pod)!;
    if (!hasFailed(job, pod) || hasIndex(completed, index) || hasIndex(failed, index) || running.has(index)) continue;
    const other = waiting.get(index);
    if (!other || (allIndexFailures(other) <= allIndexFailures(pod) && finishedAtMs(other) <= finishedAtMs(pod))) waiting.set(index, pod);
  }
  return waiting;
}

/**
 * Which rule of `successPolicy` the completed indexes fulfil, as a message; undefined when none.
 * Source: k8s.io/kubernetes/pkg/controller/job/success_policy.go.
 */
export function successMessage(job: Job, completed: Indexes): string | undefined {
  const rules = job.spec?.successPolicy?.rules;
  if (!rules || completed.length === 0) return undefined;
  const found = rules.findIndex(({ succeededIndexes, succeededCount = Infinity }) => {
    if (succeededIndexes === undefined) return totalOf(completed) >= succeededCount;
    const wanted = parseIndexes(succeededIndexes, completionsOf(job));
    const reached = overlapOf(wanted, completed);
    return wanted.length > 0 && (reached === totalOf(wanted) || reached >= succeededCount);
  });
  return found < 0 ? undefined : `Matched rules at index ${found}`;
}

