import { parseSchedule, scheduleError } from "../../api/kinds/batch/schedule.ts";
import { isTimeZone, timeZone } from "../../api/kinds/batch/time-zone.ts";
import { controllerOf, timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { CronJob, Job } from "../../api/types.ts";
import type { Action, Draft, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { conditionOf, isJobFinished } from "../job/plan.ts";
import { controllerReference, stableJson } from "../pod-template.ts";
import { controller } from "../runner.ts";
import { dueAt } from "./due.ts";

/**
 * Makes a Job whenever its time has come. The Job's name holds the minute, so that no time is run twice, whatever
 * crashes when; a Job that was made but not noted in the status is found by its name.
 * Source: k8s.io/kubernetes/pkg/controller/cronjob/{cronjob_controllerv2,utils}.go.
 */
export const cronJobController = controller<CronJob>({
  name: "cronjob-controller",
  for: resources.cronJobs,
  owns: { kind: "CronJob", resources: [resources.jobs] },
  plan: ({ object, cache, nowMs }) => planCronJob(object, cache, nowMs),
});

/** Upstream reads schedules without a zone in its own process's; in clusters that is UTC, so it is here, wherever the machine stands. */
const defaultZone = "UTC";
/** A machine that slept, or whose clock was set, notices within this time. */
const lookAgainMs = 60_000;
const freshMs = 1_000;

type Status = NonNullable<CronJob["status"]>;

export function planCronJob(cron: CronJob, cache: Cache, nowMs: number): Plan {
  const jobs = cache.ownedBy<Job>(resources.jobs, cron.metadata.uid);
  const { status, events } = statusOf(cron, jobs);
  const actions: Action[] = oldJobs(cron, jobs).map((job) => deleteJob(cron, job));
  const write = (next: Status, said: Action[]): Action[] => (stableJson(next) === stableJson(cron.status ?? {}) ? said : [{ do: "update", resource: resources.cronJobs, subresource: "status", object: { ...cron, status: next }, after: () => said }]);
  const later = (nextMs?: number): Plan => ({ actions: [...actions, ...write(status, events)], ...(nextMs !== undefined && { requeueAfterMs: Math.max(1, Math.min(lookAgainMs, nextMs - nowMs)) }) });
  const warn = (reason: string, message: string): Plan => {
    events.push({ do: "event", about: cron, type: "Warning", reason, message });
    return later();
  };
  if (cron.metadata.deletionTimestamp) return later();
  const { schedule: text, timeZone: zone = defaultZone, startingDeadlineSeconds, concurrencyPolicy = "Allow" } = cron.spec!;
  if (!isTimeZone(zone)) return warn("UnknownTimeZone", `invalid timeZone: ${JSON.stringify(zone)}: unknown time zone ${zone}`);
  if (cron.spec!.suspend) return later();
  const wrong = scheduleError(text) ?? (text.includes("TZ=") ? "cannot use TZ or CRON_TZ in schedule, use timeZone field instead" : undefined);
  if (wrong !== undefined) return warn("UnparseableSchedule", `unparseable schedule: ${JSON.stringify(text)} : ${wrong}`);

  const schedule = parseSchedule(text, zone);
  const lastMs = Date.parse(cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp);
  const { atMs, nextMs, tooMany, error } = dueAt(schedule, lastMs, nowMs, startingDeadlineSeconds === undefined ? undefined : startingDeadlineSeconds * 1000);
  if (error !== undefined) return warn("InvalidSchedule", `invalid schedule: ${text} : ${error}`);
  if (atMs === undefined) return later(nextMs);
  if (tooMany) events.push({ do: "event", about: cron, type: "Warning", reason: "TooManyMissedTimes", message: "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew" });

  const name = `${cron.metadata.name}-${Math.floor(atMs / 60_000)}`;
  const active = status.active ?? [];
  const done = (job: Job): Status => ({ ...status, active: [...active, referenceOf(job)], lastScheduleTime: timestamp(atMs) });
  if (active.some((one) => one.name === name) || cron.status?.lastScheduleTime === timestamp(atMs)) return later(nextMs);
  const made = cache.get<Job>(resources.jobs, `${cron.metadata.namespace}/${name}`);
  // Made before a crash: what remains is to note it. Somebody else's Job of that name takes this time's place.
  if (made) return controllerOf(made)?.uid !== cron.metadata.uid ? later(nextMs) : { actions: [...actions, ...write(isJobFinished(made) ? { ...status, lastScheduleTime: timestamp(atMs) } : done(made), events)], requeueAfterMs: 1 };
  if (concurrencyPolicy === "Forbid" && active.length > 0) {
    // Said once for each time, however often it is looked at.
    if (nowMs - atMs < freshMs) events.push({ do: "event", about: cron, type: "Normal", reason: "JobAlreadyActive", message: "Not starting job because prior execution is running and concurrency policy is Forbid" });
    return later(nextMs);
  }
  const replaced = concurrencyPolicy === "Replace" ? jobs.filter(({ metadata }) => active.some(({ uid }) => uid === metadata.uid)) : [];
  actions.push(...replaced.map((job) => deleteJob(cron, job)));
  if (replaced.length > 0) status.active = [];
  actions.push({
    do: "create",
    resource: resources.jobs,
    object: jobOf(cron, name, atMs, zone),
    after: (created) => [
      { do: "event", about: cron, type: "Normal", reason: "SuccessfulCreate", message: `Created job ${name}` },
      ...write({ ...status, active: [...(status.active ?? []), referenceOf(created as Job)], lastScheduleTime: timestamp(atMs) }, events),
    ],
    orElse: (failure) => [{ do: "event", about: cron, type: "Warning", reason: "FailedCreate", message: `Error creating job: ${failure.message}` }],
  });
  return { actions, ...(nextMs !== undefined && { requeueAfterMs: Math.max(1, Math.min(lookAgainMs, nextMs - nowMs)) }) };
}

/** Which of its Jobs run, and when one last succeeded. */
function statusOf(cron: CronJob, jobs: readonly Job[]): { status: Status; events: Action[] } {
  const events: Action[] = [];
  const event = (type: "Normal" | "Warning", reason: string, message: string): void => void events.push({ do: "event", about: cron, type, reason, message });
  const byUid = new Map(jobs.map((job) => [job.metadata.uid, job]));
  const known = cron.status?.active ?? [];
  const active = known.filter(({ uid, name }) => {
    const job = byUid.get(uid!);
    if (!job) event("Normal", "MissingJob", `Active job went missing: ${name}`);
    else if (isJobFinished(job)) event("Normal", "SawCompletedJob", `Saw completed job: ${name}, condition: ${conditionOf(job, "Complete", "Failed")!.type}`);
    return job !== undefined && !isJobFinished(job);
  });
  let lastSuccessfulTime = cron.status?.lastSuccessfulTime;
  for (const job of jobs) {
    const { completionTime } = job.status ?? {};
    if (completionTime && conditionOf(job, "Complete") && (lastSuccessfulTime === undefined || Date.parse(completionTime) > Date.parse(lastSuccessfulTime))) lastSuccessfulTime = completionTime;
  }
  const { active: _, lastSuccessfulTime: __, ...rest } = cron.status ?? {};
  return { status: { ...(active.length > 0 && { active }), ...rest, ...(lastSuccessfulTime !== undefined && { lastSuccessfulTime }) }, events };
}

/** Finished Jobs beyond what is kept, the oldest first. */
function oldJobs(cron: CronJob, jobs: readonly Job[]): Job[] {
  const { successfulJobsHistoryLimit, failedJobsHistoryLimit } = cron.spec!;
  const startedMs = (job: Job): number => (job.status?.startTime ? Date.parse(job.status.startTime) : Infinity);
  const beyond = (type: string, limit: number | undefined): Job[] => {
    const finished = jobs.filter((job) => conditionOf(job, type) && !job.metadata.deletionTimestamp).sort((a, b) => startedMs(a) - startedMs(b) || (a.metadata.name < b.metadata.name ? -1 : 1));
    return limit === undefined ? [] : finished.slice(0, Math.max(0, finished.length - limit));
  };
  return [...beyond("Complete", successfulJobsHistoryLimit), ...beyond("Failed", failedJobsHistoryLimit)];
}

const deleteJob = (cron: CronJob, job: Job): Action => ({
  do: "delete",
  resource: resources.jobs,
  object: job,
  options: { propagationPolicy: "Background" },
  after: () => [{ do: "event", about: cron, type: "Normal", reason: "SuccessfulDelete", message: `Deleted job ${job.metadata.name}` }],
  orElse: (error) => [{ do: "event", about: cron, type: "Warning", reason: "FailedDelete", message: `Deleted job: ${error.message}` }],
});

const referenceOf = (job: Job): NonNullable<Status["active"]>[number] => ({ apiVersion: "batch/v1", kind: "Job", namespace: job.metadata.namespace!, name: job.metadata.name, uid: job.metadata.uid, resourceVersion: job.metadata.resourceVersion });

function jobOf(cron: CronJob, name: string, atMs: number, zone: string): Draft {
  const { metadata, spec } = cron.spec!.jobTemplate;
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name,
      namespace: cron.metadata.namespace!,
      ...(metadata?.labels && { labels: metadata.labels }),
      annotations: { ...metadata?.annotations, "batch.kubernetes.io/cronjob-scheduled-timestamp": wallTime(atMs, zone) },
      ownerReferences: [controllerReference(cron, "batch/v1", "CronJob")],
    },
    spec,
  };
}

/** RFC 3339 with the zone's offset. */
function wallTime(atMs: number, zone: string): string {
  const minutes = timeZone(zone).offsetMs(atMs) / 60_000;
  const wall = timestamp(atMs + minutes * 60_000).slice(0, -1);
  const two = (value: number): string => String(value).padStart(2, "0");
  return minutes === 0 ? `${wall}Z` : `${wall}${minutes < 0 ? "-" : "+"}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
}
