import assert from "node:assert/strict";
import { test } from "node:test";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Job, Pod } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import { SnapshotCache } from "../cache.ts";
import { planOrphan } from "./orphans.ts";
import { planJob } from "./plan.ts";
import { trackingFinalizer } from "./pod.ts";
import { planFinishedJob } from "./ttl.ts";

const nowMs = Date.UTC(2026, 0, 1, 12);
const ago = (seconds: number): string => timestamp(nowMs - seconds * 1000);
const jobOf = (spec: object, status: object = {}, metadata: object = {}): Job =>
  ({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: "job", namespace: "default", uid: "job", resourceVersion: "1", ...metadata },
    spec: { parallelism: 1, backoffLimit: 6, completionMode: "NonIndexed", suspend: false, podReplacementPolicy: "TerminatingOrFailed", selector: { matchLabels: { job: "job" } }, template: { metadata: { labels: { job: "job" } }, spec: { restartPolicy: "Never", containers: [{ name: "main", image: "x" }] } }, ...spec },
    status,
  }) as unknown as Job;

/**
 * "a Failed exit=3 ended=5 index=2 failures=1 untracked terminating free": a pod in one line; it ended so many
 * seconds ago.
 */
function podOf(line: string): Pod {
  const [name, phase, ...words] = line.split(" ") as [string, string, ...string[]];
  const value = (word: string): string | undefined => words.find((one) => one.startsWith(`${word}=`))?.slice(word.length + 1);
  const annotations: Record<string, string> = {};
  if (value("index")) annotations["batch.kubernetes.io/job-completion-index"] = value("index")!;
  if (value("failures")) annotations["batch.kubernetes.io/job-index-failure-count"] = value("failures")!;
  const ended = phase === "Failed" || phase === "Succeeded";
  const exitCode = Number(value("exit") ?? (phase === "Failed" ? 1 : 0));
  const conditions = [{ type: "Ready", status: phase === "Running" ? "True" : "False" }, ...(value("condition") ? [{ type: value("condition")!, status: "True" }] : [])];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: "default",
      uid: name,
      resourceVersion: "1",
      creationTimestamp: ago(3600),
      labels: { job: "job" },
      annotations,
      ...(!words.includes("untracked") && { finalizers: [trackingFinalizer] }),
      ...(words.includes("terminating") && { deletionTimestamp: ago(0) }),
      ...(!words.includes("free") && { ownerReferences: [{ apiVersion: "batch/v1", kind: "Job", name: "job", uid: value("owner") ?? "job", controller: true }] }),
    },
    spec: { containers: [{ name: "main" }] },
    status: { phase, conditions, containerStatuses: [{ name: "main", restartCount: Number(value("restarts") ?? 0), state: ended ? { terminated: { exitCode, finishedAt: ago(Number(value("ended") ?? 1)) } } : { running: {} } }] },
  } as unknown as Pod;
}

/** A plan in words, in its order; follow-ups of writes are left out but for Events. */
function words({ actions, requeueAfterMs }: Plan): string[] {
  const said = (action: Action): string[] => {
    switch (action.do) {
      case "batch":
        return action.actions.flatMap(said);
      case "create": {
        const { annotations } = action.object.metadata as { annotations: Record<string, string> };
        const index = annotations["batch.kubernetes.io/job-completion-index"];
        const failures = annotations["batch.kubernetes.io/job-index-failure-count"];
        return [`create${index === undefined ? "" : ` ${index}`}${failures === undefined || failures === "0" ? "" : ` failures=${failures}`}`];
      }
      case "delete":
        return [`delete ${action.object.metadata.name}`];
      case "patch": {
        const { metadata } = action.patch as { metadata: Record<string, unknown> };
        if (metadata["ownerReferences"] !== undefined) return [`${metadata["ownerReferences"] === null ? "let go" : "adopt"} ${action.object.metadata.name} ${JSON.stringify(metadata["finalizers"] ?? null)}`];
        return [`release ${action.object.metadata.name}`, ...(action.after ? ["then", ...action.after({} as never).flatMap(said)] : [])];
      }
      case "ifPresent":
        return action.actions.flatMap(said);
      case "update":
      case "status": {
        const { conditions = [], uncountedTerminatedPods = {}, startTime: _, completionTime, ...status } = action.object.status as NonNullable<Job["status"]>;
        const conditionsText = conditions.map(({ type, status: is, reason }) => `${is === "True" ? "" : "not "}${type}:${reason}`);
        const numbers = Object.entries(status).filter(([key, value]) => value !== 0 || !["ready", "terminating"].includes(key)).map(([key, value]) => `${key}=${value}`);
        const open = Object.entries(uncountedTerminatedPods).map(([key, uids]) => `${key}:[${(uids as string[]).join()}]`);
        const events = action.do === "update" ? (action.after?.({} as never) ?? []).flatMap(said) : [];
        return [[action.do === "update" ? "flush" : "count", ...numbers.sort(), ...open, ...conditionsText, ...(completionTime ? ["done"] : [])].join(" "), ...events];
      }
      case "event":
        return [`(${action.reason}: ${action.message})`];
      default:
        return [action.do];
    }
  };
  return [...actions.flatMap(said), ...(requeueAfterMs === undefined ? [] : [`again in ${requeueAfterMs / 1000} s`])];
}

interface Case {
  why: string;
  spec?: object;
  status?: object;
  metadata?: object;
  pods?: string[];
  plan: string[];
}
const condition = (type: string, reason = "", message = "") => ({ type, status: "True", reason, message, lastTransitionTime: ago(5), lastProbeTime: ago(5) });
const running = { startTime: ago(60), uncountedTerminatedPods: {}, ready: 0, terminating: 0 };
const indexed = (completions: number, parallelism: number, more: object = {}) => ({ completionMode: "Indexed", completions, parallelism, ...more });
const exitRule = (action: string, ...values: number[]) => ({ action, onExitCodes: { operator: "In", values } });

const cases: Case[] = [
  // How many run
  { why: "as many as are parallel", spec: { completions: 5, parallelism: 3 }, plan: ["create", "create", "create"] },
  { why: "never more than are still wanted", spec: { completions: 5, parallelism: 3 }, status: { ...running, succeeded: 4 }, plan: ["create"] },
  { why: "the numbers follow when the cache shows the pods", spec: { completions: 5, parallelism: 2 }, pods: ["a Pending", "b Running"], plan: ["count active=2 ready=1"] },
  { why: "nothing to say, nothing written", spec: { completions: 5 }, status: { ...running, active: 1, ready: 1 }, pods: ["a Running"], plan: [] },
  { why: "fewer are wanted: the least useful goes, uncounted", spec: { completions: 5, parallelism: 1 }, status: { ...running, active: 2, ready: 1 }, pods: ["a Running", "b Pending"], plan: ["release b", "then", "delete b", "count active=1 ready=1 terminating=1"] },
  { why: "parallelism 0 is a pause", spec: { completions: 2, parallelism: 0 }, plan: ["count"] },
  { why: "managed by others: nothing", spec: { managedBy: "example.com/other" }, plan: [] },
  { why: "finished: nothing", status: { ...running, conditions: [condition("Complete")] }, plan: [] },
  { why: "being deleted: no new pods, and all may go", metadata: { deletionTimestamp: ago(1) }, spec: { completions: 2 }, pods: ["a Running"], status: { ...running, active: 1, ready: 1 }, plan: ["release a"] },
  { why: "orphans that it selects are adopted, with the finalizer", spec: { completions: 1 }, pods: ["a Running free untracked"], plan: [`adopt a ["${trackingFinalizer}"]`] },
  // Counting
  { why: "one ended: noted first, then released", spec: { completions: 2 }, status: { ...running, active: 1 }, pods: ["a Succeeded"], plan: ["flush succeeded:[a]", "release a", "create"] },
  { why: "noted, still with finalizer (the patch was lost): released again, not noted twice", spec: { completions: 2 }, status: { ...running, uncountedTerminatedPods: { succeeded: ["a"] } }, pods: ["a Succeeded"], plan: ["release a", "create"] },
  { why: "noted and without finalizer: counted", spec: { completions: 2 }, status: { ...running, uncountedTerminatedPods: { succeeded: ["a"] } }, pods: ["a Succeeded untracked"], plan: ["flush succeeded=1", "create"] },
  { why: "noted and gone altogether: counted", spec: { completions: 2 }, status: { ...running, uncountedTerminatedPods: { succeeded: ["a"] } }, plan: ["flush succeeded=1", "create"] },
  { why: "counted before: not again", spec: { completions: 2 }, status: { ...running, succeeded: 1, active: 1, ready: 1 }, pods: ["a Succeeded untracked", "b Running"], plan: [] },
  { why: "a pod that is being deleted has failed", spec: { completions: 2 }, status: { ...running, active: 1 }, pods: ["a Running terminating"], plan: ["flush terminating=1 failed:[a]", "release a", "again in 10 s"] },
  { why: "unless it is replaced only when it has ended", spec: { completions: 2, podReplacementPolicy: "Failed" }, status: { ...running, active: 1 }, pods: ["a Running terminating"], plan: ["count terminating=1"] },
  // The end
  { why: "the last one: the end is said, all is counted", spec: { completions: 1 }, status: { ...running, active: 1 }, pods: ["a Succeeded"], plan: ["flush succeeded:[a] SuccessCriteriaMet:CompletionsReached", "release a"] },
  { why: "all counted: complete", spec: { completions: 1 }, status: { ...running, conditions: [condition("SuccessCriteriaMet", "CompletionsReached")], uncountedTerminatedPods: { succeeded: ["a"] } }, pods: ["a Succeeded untracked"], plan: ["flush succeeded=1 SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached done", "(Completed: Job completed)"] },
  { why: "not before the last one has ended", spec: { completions: 1 }, status: { ...running, succeeded: 1, conditions: [condition("SuccessCriteriaMet", "CompletionsReached")] }, pods: ["b Running terminating untracked"], plan: ["count succeeded=1 terminating=1 SuccessCriteriaMet:CompletionsReached"] },
  { why: "without completions any success is enough, when the others have ended", spec: { parallelism: 2 }, status: { ...running, succeeded: 1, active: 1, ready: 1 }, pods: ["a Running"], plan: [] },
  { why: "without completions: all ended", spec: { parallelism: 2 }, status: { ...running, succeeded: 1 }, plan: ["flush succeeded=1 SuccessCriteriaMet:CompletionsReached"] },
  { why: "no completions wanted at all", spec: { completions: 0 }, plan: ["flush SuccessCriteriaMet:CompletionsReached"] },
  // Failures
  { why: "after a failure the next waits 10 s", spec: { completions: 1 }, status: { ...running, active: 1 }, pods: ["a Failed ended=4"], plan: ["flush failed:[a]", "release a", "again in 6 s"] },
  { why: "after three in a row 40 s", spec: { completions: 1 }, status: { ...running, failed: 3 }, pods: ["a Failed untracked ended=90", "b Failed untracked ended=60", "c Failed untracked ended=1"], plan: ["again in 39 s"] },
  { why: "never more than ten minutes", spec: { completions: 1, backoffLimit: 99 }, status: { ...running, failed: 12 }, pods: Array.from({ length: 12 }, (_, n) => `p${n} Failed untracked ended=${20 + n}`), plan: ["again in 580 s"] },
  { why: "a success in between forgives", spec: { completions: 5 }, status: { ...running, failed: 2, succeeded: 1 }, pods: ["a Failed untracked ended=9", "b Failed untracked ended=8", "c Succeeded untracked ended=7"], plan: ["create"] },
  { why: "one failure too many", spec: { completions: 1, backoffLimit: 1 }, status: { ...running, failed: 1 }, pods: ["a Failed ended=1"], plan: ["flush failed=1 failed:[a] FailureTarget:BackoffLimitExceeded", "release a"] },
  { why: "those that still run are ended, and count as failed", spec: { completions: 4, parallelism: 2, backoffLimit: 0 }, status: { ...running, active: 2, ready: 1 }, pods: ["a Failed", "b Running"], plan: ["delete b", "flush terminating=1 failed:[a,b] FailureTarget:BackoffLimitExceeded", "release a", "release b"] },
  { why: "failed for good", spec: { completions: 1, backoffLimit: 0 }, status: { ...running, failed: 1, conditions: [condition("FailureTarget", "BackoffLimitExceeded", "too many")] }, plan: ["flush failed=1 FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded", "(BackoffLimitExceeded: too many)"] },
  { why: "restarts in place are limited too", spec: { completions: 1, backoffLimit: 2, template: { metadata: { labels: { job: "job" } }, spec: { restartPolicy: "OnFailure", containers: [{ name: "main" }] } } }, status: { ...running, active: 1, ready: 1 }, pods: ["a Running restarts=2"], plan: ["delete a", "flush terminating=1 failed:[a] FailureTarget:BackoffLimitExceeded", "release a"] },
  { why: "the deadline is kept in mind", spec: { completions: 1, activeDeadlineSeconds: 100 }, status: { ...running, active: 1, ready: 1 }, pods: ["a Running"], plan: ["again in 40 s"] },
  { why: "and kept", spec: { completions: 1, activeDeadlineSeconds: 60 }, status: { ...running, active: 1, ready: 1 }, pods: ["a Running"], plan: ["delete a", "flush terminating=1 failed:[a] FailureTarget:DeadlineExceeded", "release a"] },
  // Suspension
  { why: "created suspended", spec: { completions: 1, suspend: true }, plan: ["flush Suspended:JobSuspended", "(Suspended: Job suspended)"] },
  { why: "suspended while it runs: its pods go uncounted", spec: { completions: 2, suspend: true }, status: { ...running, active: 1, ready: 1 }, pods: ["a Running"], plan: ["release a", "then", "delete a", "flush terminating=1 Suspended:JobSuspended", "(Suspended: Job suspended)"] },
  { why: "a deadline does not pass meanwhile", spec: { completions: 1, suspend: true, activeDeadlineSeconds: 1 }, status: { ...running, conditions: [condition("Suspended", "JobSuspended")] }, plan: [] },
  { why: "resumed, with the deadline starting anew", spec: { completions: 1, activeDeadlineSeconds: 30 }, status: { uncountedTerminatedPods: {}, ready: 0, terminating: 0, conditions: [condition("Suspended", "JobSuspended")] }, plan: ["flush not Suspended:JobResumed", "(Resumed: Job resumed)", "create", "again in 30 s"] },
  // Indexes
  { why: "the lowest free indexes", spec: indexed(5, 3), status: { ...running, completedIndexes: "0,2", succeeded: 2, active: 1, ready: 1 }, pods: ["a Running index=1"], plan: ["create 3", "create 4"] },
  { why: "an index that is done is not counted again", spec: indexed(3, 3), status: { ...running, completedIndexes: "0", succeeded: 1, active: 2, ready: 2 }, pods: ["a Succeeded index=0", "b Running index=1", "c Running index=2"], plan: ["release a"] },
  { why: "two pods of one index: one goes", spec: indexed(3, 3), status: { ...running, active: 3, ready: 2 }, pods: ["a Running index=1", "b Pending index=1", "c Running index=2"], plan: ["release b", "then", "delete b", "count active=2 ready=2 terminating=1"] },
  { why: "no index, or one out of range: goes", spec: indexed(2, 2), status: { ...running, active: 2, ready: 2 }, pods: ["a Running", "b Running index=7"], plan: ["release a", "then", "delete a", "release b", "then", "delete b", "count terminating=2"] },
  { why: "all indexes done", spec: indexed(3, 3), status: { ...running, completedIndexes: "0,1", succeeded: 2, active: 1 }, pods: ["c Succeeded index=2"], plan: ["flush completedIndexes=0-2 succeeded=3 SuccessCriteriaMet:CompletionsReached", "release c"] },
  { why: "a terminating pod keeps its index with podReplacementPolicy Failed", spec: indexed(3, 3, { podReplacementPolicy: "Failed" }), status: { ...running, terminating: 1 }, pods: ["a Running index=0 terminating"], plan: ["create 1", "create 2"] },
  // A limit for each index
  { why: "a failed index waits alone, the finalizer of its pod too", spec: indexed(3, 3, { backoffLimitPerIndex: 2 }), status: { ...running, failedIndexes: "" }, pods: ["a Failed index=1 failures=0 ended=4"], plan: ["create 0", "create 2", "again in 6 s"] },
  { why: "its successor takes over the count", spec: indexed(1, 1, { backoffLimitPerIndex: 2 }), status: { ...running, failedIndexes: "" }, pods: ["a Failed index=0 failures=1 ended=30"], plan: ["create 0 failures=2"] },
  { why: "with the successor there, the failed one is counted", spec: indexed(1, 1, { backoffLimitPerIndex: 2 }), status: { ...running, failedIndexes: "", active: 1 }, pods: ["a Failed index=0 failures=1 ended=30", "b Pending index=0 failures=2"], plan: ["flush active=1 failedIndexes= failed:[a]", "release a"] },
  { why: "too often: the index fails, the others go on", spec: indexed(2, 1, { backoffLimitPerIndex: 1 }), status: { ...running, failedIndexes: "" }, pods: ["a Failed index=0 failures=1 ended=30"], plan: ["flush failedIndexes=0 failed:[a]", "release a", "create 1"] },
  { why: "some failed, the rest is done", spec: indexed(2, 1, { backoffLimitPerIndex: 0 }), status: { ...running, failedIndexes: "0", failed: 1, completedIndexes: "1", succeeded: 1 }, plan: ["flush completedIndexes=1 failed=1 failedIndexes=0 succeeded=1 FailureTarget:FailedIndexes"] },
  { why: "too many indexes failed", spec: indexed(5, 1, { backoffLimitPerIndex: 0, maxFailedIndexes: 1 }), status: { ...running, failedIndexes: "0", failed: 1 }, pods: ["a Failed index=1"], plan: ["flush failed=1 failedIndexes=0,1 failed:[a] FailureTarget:MaxFailedIndexesExceeded", "release a"] },
  // Rules for failures
  { why: "one exit code fails the Job", spec: { completions: 2, podReplacementPolicy: "Failed", podFailurePolicy: { rules: [exitRule("FailJob", 42)] } }, status: { ...running, active: 1 }, pods: ["a Failed exit=42"], plan: ["flush failed:[a] FailureTarget:PodFailurePolicy", "release a"] },
  { why: "another is ignored, but waited after", spec: { completions: 2, backoffLimit: 0, podFailurePolicy: { rules: [exitRule("Ignore", 7)] } }, status: { ...running }, pods: ["a Failed exit=7 ended=3"], plan: ["release a", "again in 7 s"] },
  { why: "the first rule that fits decides", spec: { completions: 2, backoffLimit: 0, podFailurePolicy: { rules: [{ action: "Ignore", onPodConditions: [{ type: "DisruptionTarget" }] }, exitRule("FailJob", 1)] } }, status: { ...running }, pods: ["a Failed exit=1 condition=DisruptionTarget ended=30"], plan: ["release a", "create"] },
  { why: "success never fits NotIn", spec: { completions: 2, podFailurePolicy: { rules: [{ action: "FailJob", onExitCodes: { operator: "NotIn", values: [3] } }] } }, status: { ...running }, pods: ["a Failed exit=3 ended=30"], plan: ["flush failed:[a]", "release a", "create"] },
  { why: "one exit code fails the index at once", spec: indexed(2, 2, { backoffLimitPerIndex: 9, podFailurePolicy: { rules: [exitRule("FailIndex", 5)] } }), status: { ...running, failedIndexes: "" }, pods: ["a Failed exit=5 index=0"], plan: ["flush failedIndexes=0 failed:[a]", "release a", "create 1"] },
  // Rules for success
  { why: "enough of the leaders: the others are ended, and did not fail", spec: indexed(4, 4, { successPolicy: { rules: [{ succeededIndexes: "0-1", succeededCount: 1 }] } }), status: { ...running, active: 2, ready: 1 }, pods: ["a Succeeded index=1", "b Running index=2"], plan: ["delete b", "flush completedIndexes=1 succeeded=1 terminating=1 SuccessCriteriaMet:SuccessPolicy", "release a", "release b"] },
  { why: "the wrong ones", spec: indexed(4, 2, { successPolicy: { rules: [{ succeededIndexes: "2-3" }] } }), status: { ...running, completedIndexes: "0-2", succeeded: 3, active: 1, ready: 1 }, pods: ["d Running index=3"], plan: [] },
];

for (const { why, spec = {}, status = {}, metadata = {}, pods = [], plan } of cases) {
  test(`Job: ${why}`, () => {
    const job = jobOf(spec, status, metadata);
    const cache = new SnapshotCache([[resources.pods, pods.map(podOf)], [resources.jobs, [job as never]]]);
    assert.deepEqual(words(planJob(job, cache, nowMs)), plan);
  });
}

test("the pod of an index", () => {
  const spec = indexed(3, 1, { template: { metadata: { labels: { job: "job" }, annotations: { mine: "1" } }, spec: { restartPolicy: "Never", initContainers: [{ name: "init", env: [{ name: "JOB_COMPLETION_INDEX", value: "mine" }] }], containers: [{ name: "main" }] } } });
  const job = jobOf(spec, { ...running, completedIndexes: "0,1", succeeded: 2 }, { name: "j".repeat(60) });
  const plan = planJob(job, new SnapshotCache([]), nowMs);
  const create = (plan.actions.at(-1) as Extract<Action, { do: "batch" }>).actions[0] as Extract<Action, { do: "create" }>;
  const { metadata, spec: podSpec } = create.object as unknown as { metadata: Pod["metadata"]; spec: NonNullable<Pod["spec"]> };
  const key = "batch.kubernetes.io/job-completion-index";
  assert.equal(metadata.generateName, `${"j".repeat(55)}-2-`);
  assert.deepEqual([metadata.labels, metadata.annotations, metadata.finalizers], [{ job: "job", [key]: "2" }, { mine: "1", [key]: "2" }, [trackingFinalizer]]);
  assert.equal(podSpec.hostname, `${"j".repeat(60)}-2`);
  assert.deepEqual(podSpec.containers[0]!.env, [{ name: "JOB_COMPLETION_INDEX", valueFrom: { fieldRef: { fieldPath: `metadata.labels['${key}']` } } }]);
  assert.deepEqual(podSpec.initContainers![0]!.env, [{ name: "JOB_COMPLETION_INDEX", value: "mine" }]);
});

test("pods that no Job will count lose their finalizer", () => {
  const finished = { ...running, conditions: [condition("Complete")] };
  const table: [why: string, pod: string, job: Job | undefined, released: boolean][] = [
    ["the Job is gone", "a Running", undefined, true],
    ["the Job is another of that name", "a Running owner=before", jobOf({}), true],
    ["the Job is there", "a Running", jobOf({}), false],
    ["the Job is finished", "a Succeeded", jobOf({}, finished), true],
    ["the Job is not ours", "a Succeeded", jobOf({ managedBy: "example.com/other" }, finished), false],
    ["nobody owns it", "a Running free", jobOf({}), true],
    ["no finalizer", "a Running untracked", undefined, false],
  ];
  for (const [why, pod, job, released] of table) {
    const cache = new SnapshotCache([[resources.pods, [podOf(pod)]], [resources.jobs, job ? [job as never] : []]]);
    assert.deepEqual(words(planOrphan("default/a", cache)), released ? ["release a"] : [], why);
  }
});

test("finished Jobs go when their time is over", () => {
  const table: [why: string, spec: object, status: object, plan: string[]][] = [
    ["it still runs", { ttlSecondsAfterFinished: 0 }, {}, []],
    ["it stays for ever", {}, { conditions: [condition("Complete")] }, []],
    ["not yet", { ttlSecondsAfterFinished: 30 }, { conditions: [condition("Failed")] }, ["again in 25 s"]],
    ["now", { ttlSecondsAfterFinished: 5 }, { conditions: [condition("Complete")] }, ["delete job"]],
    ["at once", { ttlSecondsAfterFinished: 0 }, { conditions: [condition("Complete")] }, ["delete job"]],
  ];
  for (const [why, spec, status, plan] of table) assert.deepEqual(words(planFinishedJob(jobOf(spec, status), nowMs)), plan, why);
});
