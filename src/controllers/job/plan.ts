import { type Condition, timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Job, Pod } from "../../api/types.ts";
import { selectorMatches } from "../../api/validation/selector.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { claimChildren } from "../claim.ts";
import { createPod, deletePod } from "../pod-actions.ts";
import { controllerReference, stableJson } from "../pod-template.ts";
import { compareForDeletion, isReady } from "../pods.ts";
import { controller } from "../runner.ts";
import { backoffMs, finishedAtMs, remainingMs } from "./backoff.ts";
import { judgeFailure } from "./failure-policy.ts";
import { firstFree, formatIndexes, hasIndex, totalOf, union, withIndexes } from "./indexes.ts";
import { allIndexFailures, hasFailed, indexOf, isIndexed, isTracked, onlyReplacesFailed, podOf, trackingFinalizer } from "./pod.ts";
import { completionsOf, successMessage, type Tally, tallyOf } from "./tally.ts";

/**
 * Runs pods to their end. No pod is counted twice or lost, whatever crashes when:
 *
 *   pod ends ──▶ its uid (or index) is in the status ──▶ its finalizer goes ──▶ seen gone: uid becomes a count
 *
 * Each arrow is one write, made from what the caches show; the status is written with its revision, so a plan that
 * did not see the last one fails and is made again. A Job that has reached its end says so by an interim condition
 * first, and is finished when all its pods are counted and ended.
 * Source: k8s.io/kubernetes/pkg/controller/job/job_controller.go.
 */
export const jobController = controller<Job>({
  name: "job-controller",
  for: resources.jobs,
  owns: { kind: "Job", resources: [resources.pods] },
  watches: [{ resource: resources.pods, keys: selectingJobs }],
  // Pods end in swarms: what ends within this time is one status write, which halves the work of a large Job.
  restMs: 20,
  plan: ({ object, cache, nowMs }) => planJob(object, cache, nowMs),
});

/** Creations and deletions of one plan, and pods that one status may name. */
const burst = 500;
const ownName = "kubernetes.io/job-controller";

export const isManagedElsewhere = (job: Job): boolean => (job.spec?.managedBy ?? ownName) !== ownName;
export const conditionOf = (job: Job, ...types: string[]): Condition | undefined => (job.status?.conditions as Condition[] | undefined)?.find(({ type, status }) => types.includes(type) && status === "True");
export const isJobFinished = (job: Job): boolean => conditionOf(job, "Complete", "Failed") !== undefined;
const isSuspended = (job: Job): boolean => job.spec?.suspend === true;

export function planJob(job: Job, cache: Cache, nowMs: number): Plan {
  if (isManagedElsewhere(job) || isJobFinished(job)) return { actions: [] };
  const { claimed, actions: claims } = claimChildren<Pod>(cache, resources.pods, resources.jobs, job, controllerReference(job, "batch/v1", "Job"), { finalizer: trackingFinalizer });
  if (claims.length > 0) return { actions: claims };
  const tally = tallyOf(job, claimed);
  const started = !isSuspended(job) && job.status?.startTime === undefined ? timestamp(nowMs) : job.status?.startTime;
  const waits: number[] = [];
  const deadlineMs = job.spec?.activeDeadlineSeconds !== undefined && started && !isSuspended(job) ? Date.parse(started) + job.spec.activeDeadlineSeconds * 1000 - nowMs : undefined;

  let ending = conditionOf(job, "SuccessCriteriaMet") ?? conditionOf(job, "FailureTarget") ?? failure(job, tally, deadlineMs, nowMs) ?? policySuccess(job, tally, nowMs);
  const conditions = [...((job.status?.conditions ?? []) as Condition[])];
  const events: Action[] = [];
  const steps: Steps = ending ? { removed: tally.active, actions: tally.active.map((pod) => deletePod(job, pod)), creations: [] } : job.metadata.deletionTimestamp ? nothing : nextSteps(job, tally, nowMs);
  if (steps.waitMs) waits.push(steps.waitMs);
  let startTime = started;
  if (!ending) {
    const active = tally.active.length - steps.removed.length + steps.creations.length;
    const completed = active === 0 && (job.spec?.completions === undefined ? tally.succeeded > 0 : tally.succeeded >= job.spec.completions);
    if (completed) ending = condition("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods", nowMs);
    else if (!job.metadata.deletionTimestamp) {
      const changed = suspension(job, conditions, nowMs);
      if (changed) events.push({ do: "event", about: job, type: "Normal", reason: changed, message: `Job ${changed.toLowerCase()}` });
      // The deadline counts from here on, as for a Job that was created suspended.
      if (changed === "Resumed") startTime = timestamp(nowMs);
    }
    if (!ending && deadlineMs !== undefined) waits.push(deadlineMs);
  }
  if (ending && !conditions.includes(ending)) conditions.push(ending);

  const { status, release, finished } = settle(job, tally, ending, steps.removed, conditions, nowMs);
  status.startTime = startTime;
  const next = { ...job, status: clean(status) } as Job;
  if (finished) events.push(...finishEvents(next, finished));
  const flush: Action = { do: "update", resource: resources.jobs, subresource: "status", object: next, after: () => events };
  const mustFlush = release.length > 0 || lasting(next.status) !== lasting(job.status);
  const differs = stableJson(next.status) !== stableJson(job.status ?? {});
  const counts: Action[] = differs ? [{ do: "status", resource: resources.jobs, object: next }] : [];
  const actions: Action[] = [];
  if (steps.actions.length > 0) actions.push({ do: "batch", actions: steps.actions });
  if (mustFlush && differs) actions.push(flush);
  if (release.length > 0) actions.push({ do: "batch", actions: release.map(releasePatch) });
  if (steps.creations.length > 0) actions.push({ do: "batch", slowStart: true, actions: steps.creations, orElse: () => (mustFlush ? [] : counts) });
  // Numbers that only tell how many run wait for what this plan creates: one write, not two.
  else if (!mustFlush) actions.push(...counts);
  return { actions, ...(waits.length > 0 && { requeueAfterMs: Math.max(1, Math.min(...waits)) }) };
}

type Status = NonNullable<Job["status"]>;

function condition(type: string, reason: string, message: string, nowMs: number, status: Condition["status"] = "True"): Condition {
  const now = timestamp(nowMs);
  return { type, status, lastProbeTime: now, lastTransitionTime: now, reason, message };
}

/** Why the Job fails now, if it does. */
function failure(job: Job, tally: Tally, deadlineMs: number | undefined, nowMs: number): Condition | undefined {
  const failed = (reason: string, message: string): Condition => condition("FailureTarget", reason, message, nowMs);
  const { spec } = job;
  if (spec?.podFailurePolicy) {
    for (const pod of tally.pods) {
      const { message } = hasFailed(job, pod) ? judgeFailure(job, pod) : {};
      if (message !== undefined) return failed("PodFailurePolicy", message);
    }
  }
  const limit = spec?.backoffLimit ?? 6;
  if (tally.failed > limit || restartsExceed(job, tally.pods, limit)) return failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
  if (deadlineMs !== undefined && deadlineMs <= 0) return failed("DeadlineExceeded", "Job was active longer than specified deadline");
  const failedIndexes = totalOf(tally.failedIndexes ?? []);
  if (spec?.maxFailedIndexes !== undefined && failedIndexes > spec.maxFailedIndexes) return failed("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
  if (failedIndexes > 0 && failedIndexes + totalOf(tally.completed) >= completionsOf(job)) return failed("FailedIndexes", "Job has failed indexes");
  return undefined;
}

/** With restartPolicy OnFailure the agent restarts in place, and its restarts are what is limited. */
function restartsExceed(job: Job, pods: readonly Pod[], limit: number): boolean {
  if (job.spec?.template?.spec?.restartPolicy !== "OnFailure") return false;
  const running = pods.filter(({ status }) => status?.phase === "Running" || status?.phase === "Pending");
  const restarts = running.flatMap(({ status }) => [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]).reduce((sum, { restartCount }) => sum + restartCount, 0);
  return limit === 0 ? restarts > 0 : restarts >= limit;
}

function policySuccess(job: Job, { completed }: Tally, nowMs: number): Condition | undefined {
  const message = isIndexed(job) ? successMessage(job, completed) : undefined;
  return message === undefined ? undefined : condition("SuccessCriteriaMet", "SuccessPolicy", message, nowMs);
}

/** Puts the condition `Suspended` into `conditions`; gives the Event's reason when it changed. */
function suspension(job: Job, conditions: Condition[], nowMs: number): "Suspended" | "Resumed" | undefined {
  const at = conditions.findIndex(({ type }) => type === "Suspended");
  const wanted = isSuspended(job);
  if (at < 0 ? !wanted : (conditions[at]!.status === "True") === wanted) return undefined;
  const next = wanted ? condition("Suspended", "JobSuspended", "Job suspended", nowMs) : condition("Suspended", "JobResumed", "Job resumed", nowMs, "False");
  conditions.splice(at < 0 ? conditions.length : at, 1, next);
  return wanted ? "Suspended" : "Resumed";
}

interface Steps {
  removed: readonly Pod[];
  actions: Action[];
  creations: Action[];
  waitMs?: number;
}
const nothing: Steps = { removed: [], actions: [], creations: [] };

/** Which active pods go, or which come: never both at once. */
function nextSteps(job: Job, tally: Tally, nowMs: number): Steps {
  const { active, succeeded } = tally;
  const parallelism = job.spec?.parallelism ?? 1;
  const completions = job.spec?.completions;
  const wanted = isSuspended(job) ? 0 : completions === undefined ? (succeeded > 0 ? active.length : parallelism) : Math.max(0, Math.min(parallelism, completions - succeeded));
  const removed = isSuspended(job) ? active : surplus(job, active, Math.max(0, active.length - wanted), nowMs).slice(0, burst);
  // Those that nobody wants any more are not failures: they lose their finalizer uncounted.
  if (removed.length > 0) return { removed, creations: [], actions: removed.map((pod): Action => (isTracked(pod) ? { ...releasePatch(pod), after: () => [deletePod(job, pod)] } : deletePod(job, pod))) };
  const missing = Math.min(wanted - active.length - (onlyReplacesFailed(job) ? tally.terminating.length : 0), burst);
  if (missing <= 0) return nothing;
  if (!isIndexed(job)) {
    const waitMs = globalBackoffMs(job, tally, nowMs);
    return waitMs > 0 ? { ...nothing, waitMs } : { ...nothing, creations: Array.from({ length: missing }, () => createPod(job, podOf(job, undefined, undefined))) };
  }
  const running = withIndexes(tally.completed, indexesOf(onlyReplacesFailed(job) ? [...active, ...tally.terminating] : active));
  const indexes = firstFree(union(running, tally.failedIndexes ?? []), missing, completions!);
  const perIndex = tally.failedIndexes !== undefined;
  const waitsMs = indexes.map((index) => {
    if (!perIndex) return 0;
    const before = tally.awaitingSuccessor.get(index);
    return before ? remainingMs(allIndexFailures(before) + 1, finishedAtMs(before), nowMs) : 0;
  });
  const globalMs = perIndex ? 0 : globalBackoffMs(job, tally, nowMs);
  if (globalMs > 0) return { ...nothing, waitMs: globalMs };
  const waitMs = Math.min(...waitsMs.filter((ms) => ms > 0));
  return {
    ...nothing,
    creations: indexes.filter((_, at) => waitsMs[at] === 0).map((index) => createPod(job, podOf(job, index, tally.awaitingSuccessor.get(index)))),
    ...(Number.isFinite(waitMs) && { waitMs }),
  };
}

const indexesOf = (pods: readonly Pod[]): number[] => pods.map(indexOf).filter((index) => index !== undefined);
const globalBackoffMs = (job: Job, { pods }: Tally, nowMs: number): number => backoffMs(pods.filter(({ status }) => status?.phase === "Succeeded"), pods.filter((pod) => hasFailed(job, pod)), nowMs);

/** At least `count` pods to give up; in an Indexed Job also those whose index is taken, out of range or missing. */
function surplus(job: Job, active: readonly Pod[], count: number, nowMs: number): Pod[] {
  const byWorth = [...active].sort(compareForDeletion(nowMs));
  if (!isIndexed(job)) return byWorth.slice(0, count);
  const kept = new Map<number, Pod>();
  for (const pod of byWorth) {
    const index = indexOf(pod);
    if (index !== undefined && index < completionsOf(job)) kept.set(index, pod);
  }
  const keeps = new Set(kept.values());
  const wrong = byWorth.filter((pod) => !keeps.has(pod));
  return [...wrong, ...byWorth.filter((pod) => keeps.has(pod)).slice(0, Math.max(0, count - wrong.length))];
}

/** The next status, the pods that may lose their finalizer once it is written, and the last condition if it is in it. */
function settle(job: Job, tally: Tally, ending: Condition | undefined, removed: readonly Pod[], conditions: Condition[], nowMs: number): { status: Status; release: Pod[]; finished: Condition | undefined } {
  const succeeded = [...tally.uncounted.succeeded];
  const failed = [...tally.uncounted.failed];
  const release: Pod[] = [];
  const indexed = isIndexed(job);
  let noted = 0;
  const byIndex = indexed ? [...tally.pods].sort((a, b) => (indexOf(a) ?? -1) - (indexOf(b) ?? -1)) : tally.pods;
  for (const pod of byIndex) {
    if (!isTracked(pod) || !mayRelease(job, tally, ending, pod)) continue;
    release.push(pod);
    const { uid } = pod.metadata;
    const index = indexOf(pod);
    const valid = !indexed || (index !== undefined && index < completionsOf(job));
    if (pod.status?.phase === "Succeeded" && !failed.includes(uid)) {
      if (indexed) noted += Number(valid && !hasIndex(tally.completedBefore, index!));
      else if (!succeeded.includes(uid)) succeeded.push(uid);
    } else if (valid && !failed.includes(uid) && (hasFailed(job, pod) || ending?.type === "FailureTarget") && judgeFailure(job, pod).counts) failed.push(uid);
    if (noted + succeeded.length + failed.length >= burst) break;
  }
  const terminating = tally.terminating.length + removed.length;
  const status: Status = {
    ...job.status,
    active: tally.active.length - removed.length,
    ready: tally.ready - removed.filter(isReady).length,
    terminating,
    succeeded: indexed ? totalOf(tally.completed) : tally.counted.succeeded,
    failed: tally.counted.failed,
    uncountedTerminatedPods: { ...(succeeded.length > 0 && { succeeded }), ...(failed.length > 0 && { failed }) },
    ...(indexed && { completedIndexes: formatIndexes(tally.completed) }),
    ...(tally.failedIndexes && { failedIndexes: formatIndexes(tally.failedIndexes) }),
  };
  const settled = ending !== undefined && conditionOf(job, ending.type) !== undefined && release.length + succeeded.length + failed.length + terminating === 0;
  const finished = settled ? condition(ending.type === "SuccessCriteriaMet" ? "Complete" : "Failed", ending.reason ?? "", ending.message ?? "", nowMs) : undefined;
  if (finished?.type === "Complete") status.completionTime = finished.lastTransitionTime;
  status.conditions = (finished ? [...conditions, finished] : conditions) as Status["conditions"];
  return { status, release, finished };
}

function mayRelease(job: Job, tally: Tally, ending: Condition | undefined, pod: Pod): boolean {
  if (job.metadata.deletionTimestamp || ending || pod.status?.phase === "Succeeded") return true;
  if (!hasFailed(job, pod)) return false;
  const index = indexOf(pod);
  return index === undefined || tally.awaitingSuccessor.get(index)?.metadata.uid !== pod.metadata.uid;
}

export const releasePatch = (pod: Pod): Extract<Action, { do: "patch" }> => ({
  do: "patch",
  resource: resources.pods,
  object: pod,
  type: "strategic",
  patch: { metadata: { uid: pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [trackingFinalizer] } },
});

function finishEvents(job: Job, finished: Condition): Action[] {
  if (finished.type === "Failed") return [{ do: "event", about: job, type: "Warning", reason: finished.reason!, message: finished.message! }];
  const tooMany = job.spec?.completions !== undefined && (job.status?.succeeded ?? 0) > job.spec.completions;
  return [
    ...(tooMany ? [{ do: "event" as const, about: job, type: "Warning" as const, reason: "TooManySucceededPods", message: "Too many succeeded pods running after completion count reached" }] : []),
    { do: "event", about: job, type: "Normal", reason: "Completed", message: "Job completed" },
  ];
}

/** As Go writes it: zeros are left out, but for the numbers that are pointers there. */
function clean(status: Status): Status {
  const { active, succeeded, failed, completedIndexes, conditions, startTime, ...rest } = status;
  return {
    ...((conditions ?? []).length > 0 && { conditions }),
    ...(startTime && { startTime }),
    ...(active && { active }),
    ...(succeeded && { succeeded }),
    ...(failed && { failed }),
    ...(completedIndexes && { completedIndexes }),
    ...rest,
  } as Status;
}

/** The part of a status that later plans go by. */
function lasting(status: Status | undefined): string {
  const { active: _, ready: __, terminating: ___, startTime: ____, uncountedTerminatedPods = {}, ...rest } = status ?? {};
  return stableJson({ ...rest, uncountedTerminatedPods });
}

/** An orphan wakes those who may want to adopt it. */
function selectingJobs(pod: Pod, cache: Cache): string[] {
  if (pod.metadata.ownerReferences?.some((owner) => owner.controller)) return [];
  return cache
    .inNamespace<Job>(resources.jobs, pod.metadata.namespace!)
    .filter((job) => selectorMatches(job.spec?.selector, pod.metadata.labels))
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
}
