import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSchedule } from "../../api/kinds/batch/schedule.ts";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { CronJob, Job } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import { SnapshotCache } from "../cache.ts";
import { dueAt } from "./due.ts";
import { planCronJob } from "./plan.ts";

const noon = Date.UTC(2026, 0, 1, 12);
const minuteOf = (ms: number): number => Math.floor(ms / 60_000);
const at = (time: string): string => `2026-01-01T${time}Z`;
const ms = (time: string): number => Date.parse(at(time));

test("which time is due", () => {
  const table: [why: string, schedule: string, last: string, now: string, deadlineSeconds: number | undefined, due: string | undefined, next: string, tooMany?: boolean][] = [
    ["not yet", "0 * * * *", "12:00:00", "12:59:59", undefined, undefined, "13:00:00"],
    ["just now", "0 * * * *", "12:00:00", "13:00:00", undefined, "13:00:00", "14:00:00"],
    ["of several the last", "0 * * * *", "08:00:00", "12:10:00", undefined, "12:00:00", "13:00:00"],
    ["uneven distances", "0,50 * * * *", "08:00:00", "12:55:00", undefined, "12:50:00", "13:00:00"],
    ["uneven distances, the far one first", "0 8,9,20 * * *", "07:00:00", "19:00:00", undefined, "09:00:00", "20:00:00"],
    ["too old to be looked for", "0 * * * *", "08:00:00", "12:10:00", 300, undefined, "13:00:00"],
    ["just not too old", "0 * * * *", "08:00:00", "12:04:00", 300, "12:00:00", "13:00:00"],
    ["a hundred missed", "* * * * *", "10:00:00", "11:40:30", undefined, "11:40:00", "11:41:00", false],
    ["more than a hundred missed: the last is run all the same", "* * * * *", "10:00:00", "11:41:30", undefined, "11:41:00", "11:42:00", true],
    ["a deadline makes them fewer", "* * * * *", "10:00:00", "11:41:30", 200, "11:41:00", "11:42:00", false],
    ["@every counts from the last", "@every 7m", "12:00:30", "12:07:30", undefined, "12:07:30", "12:14:30"],
  ];
  for (const [why, schedule, last, now, deadline, due, next, tooMany = false] of table) {
    const found = dueAt(parseSchedule(schedule), ms(last), ms(now), deadline && deadline * 1000);
    assert.deepEqual([found.atMs && timestamp(found.atMs), timestamp(found.nextMs!), found.tooMany], [due && at(due), at(next), tooMany], why);
  }
  assert.ok(dueAt(parseSchedule("0 0 30 2 *"), noon, noon).error);
});

const cronOf = (spec: object, status: object = {}): CronJob =>
  ({
    apiVersion: "batch/v1",
    kind: "CronJob",
    metadata: { name: "cron", namespace: "default", uid: "cron", resourceVersion: "1", creationTimestamp: at("11:59:30") },
    spec: { schedule: "* * * * *", concurrencyPolicy: "Allow", suspend: false, successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1, jobTemplate: { metadata: { labels: { a: "b" } }, spec: {} }, ...spec },
    status,
  }) as unknown as CronJob;
const active = (...names: string[]) => names.map((name) => ({ kind: "Job", name, uid: name }));

/** "a", "a Complete 11:58", "a foreign": a Job in one line, with the minute of its start. */
function jobOf(line: string): Job {
  const [name, ...words] = line.split(" ") as [string, ...string[]];
  const type = words.find((word) => word === "Complete" || word === "Failed");
  const time = words.find((word) => /^\d\d:\d\d$/.test(word)) ?? "11:00";
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace: "default", uid: name, resourceVersion: "1", creationTimestamp: at("11:00:00"), ...(!words.includes("foreign") && { ownerReferences: [{ kind: "CronJob", name: "cron", uid: "cron", controller: true }] }) },
    status: { startTime: at(`${time}:00`), ...(type && { conditions: [{ type, status: "True" }] }), ...(type === "Complete" && { completionTime: at(`${time}:20`) }) },
  } as unknown as Job;
}

function words({ actions, requeueAfterMs }: Plan): string[] {
  const said = (action: Action): string[] => {
    switch (action.do) {
      case "create":
        return [`create ${action.object.metadata.name}`, ...(action.after?.({ metadata: { name: "new", uid: "new" } } as never) ?? []).flatMap(said)];
      case "delete":
        return [`delete ${action.object.metadata.name}`];
      case "update": {
        const { active = [], lastScheduleTime, lastSuccessfulTime } = action.object.status as NonNullable<CronJob["status"]>;
        return [`status [${active.map(({ name }) => name).join()}]${lastScheduleTime ? ` last ${lastScheduleTime.slice(11, 19)}` : ""}${lastSuccessfulTime ? ` success ${lastSuccessfulTime.slice(11, 19)}` : ""}`, ...(action.after?.({} as never) ?? []).flatMap(said)];
      }
      case "event":
        return [`(${action.reason})`];
      default:
        return [action.do];
    }
  };
  return [...actions.flatMap(said), ...(requeueAfterMs === undefined ? [] : [`again in ${requeueAfterMs / 1000} s`])];
}

const nowName = `cron-${minuteOf(noon)}`;
const cases: [why: string, spec: object, status: object, jobs: string[], plan: string[]][] = [
  ["its time has come", {}, {}, [], [`create ${nowName}`, "(SuccessfulCreate)", "status [new] last 12:00:00", "again in 55 s"]],
  ["not yet", { schedule: "1 * * * *" }, {}, [], ["again in 55 s"]],
  ["far away: looked at every minute all the same", { schedule: "0 18 * * *" }, {}, [], ["again in 60 s"]],
  ["run already", {}, { lastScheduleTime: at("12:00:00") }, [], ["again in 55 s"]],
  ["suspended", { suspend: true }, {}, [], []],
  ["a zone where it is time", { schedule: "0 21 * * *", timeZone: "Asia/Tokyo" }, {}, [], [`create ${nowName}`, "(SuccessfulCreate)", "status [new] last 12:00:00", "again in 60 s"]],
  ["others run: one more", {}, { active: active("a") }, ["a"], [`create ${nowName}`, "(SuccessfulCreate)", "status [a,new] last 12:00:00", "again in 55 s"]],
  ["Forbid", { concurrencyPolicy: "Forbid" }, { active: active("a") }, ["a"], ["again in 55 s"]],
  ["Forbid, but the other has ended", { concurrencyPolicy: "Forbid" }, { active: active("a") }, ["a Complete 11:58"], [`create ${nowName}`, "(SuccessfulCreate)", "status [new] last 12:00:00 success 11:58:20", "(SawCompletedJob)", "again in 55 s"]],
  ["Replace", { concurrencyPolicy: "Replace" }, { active: active("a") }, ["a"], ["delete a", `create ${nowName}`, "(SuccessfulCreate)", "status [new] last 12:00:00", "again in 55 s"]],
  ["made before a crash: noted", {}, {}, [nowName], [`status [${nowName}] last 12:00:00`, "again in 0.001 s"]],
  ["made before a crash, and ended since", {}, {}, [`${nowName} Complete 12:00`], ["status [] last 12:00:00 success 12:00:20", "again in 0.001 s"]],
  ["somebody else has a Job of that name", {}, {}, [`${nowName} foreign`], ["again in 55 s"]],
  ["one that ran is gone", { schedule: "1 * * * *" }, { active: active("a") }, [], ["status []", "(MissingJob)", "again in 55 s"]],
  ["the latest success counts", { schedule: "1 * * * *" }, { active: active("b"), lastSuccessfulTime: at("11:30:20") }, ["a Complete 11:20", "b Complete 11:40", "c Failed 11:50"], ["status [] success 11:40:20", "(SawCompletedJob)", "again in 55 s"]],
  ["only so many are kept", { schedule: "1 * * * *", successfulJobsHistoryLimit: 1 }, { lastSuccessfulTime: at("11:52:20") }, ["a Complete 11:50", "b Complete 11:52", "c Complete 11:51", "d Failed 11:40", "e Failed 11:41", "f"], ["delete a", "delete c", "delete d", "again in 55 s"]],
  ["none is kept", { schedule: "1 * * * *", successfulJobsHistoryLimit: 0 }, { lastSuccessfulTime: at("11:50:20") }, ["a Complete 11:50"], ["delete a", "again in 55 s"]],
  ["a schedule that never comes", { schedule: "0 0 30 2 *" }, {}, [], ["(InvalidSchedule)"]],
  ["zones in the schedule", { schedule: "TZ=Asia/Tokyo 0 0 * * *" }, {}, [], ["(UnparseableSchedule)"]],
];
for (const [why, spec, status, jobs, plan] of cases) {
  test(`CronJob: ${why}`, () => {
    const cron = cronOf(spec, status);
    assert.deepEqual(words(planCronJob(cron, new SnapshotCache([[resources.jobs, jobs.map(jobOf)]]), noon + 5_000)), plan);
  });
}

test("what the Job carries", () => {
  const cron = cronOf({ schedule: "30 17 * * *", timeZone: "Asia/Kolkata", jobTemplate: { metadata: { labels: { a: "b" }, annotations: { mine: "1" } }, spec: { completions: 2 } } });
  const { object } = planCronJob(cron, new SnapshotCache([]), noon + 5_000).actions[0] as Extract<Action, { do: "create" }>;
  assert.deepEqual(object, {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: nowName,
      namespace: "default",
      labels: { a: "b" },
      annotations: { mine: "1", "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T17:30:00+05:30" },
      ownerReferences: [{ apiVersion: "batch/v1", kind: "CronJob", name: "cron", uid: "cron", controller: true, blockOwnerDeletion: true }],
    },
    spec: { completions: 2 },
  });
});
