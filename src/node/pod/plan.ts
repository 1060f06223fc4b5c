import type { Pod } from "../../api/types.ts";
import { type ContainerRecord, isRunning } from "./record.ts";

/** kubelet's crash back-off: the first restart is free, then 10 s doubling to 5 min; forgotten after 10 quiet minutes. */
export const crashBackoff = { baseMs: 10_000, maxMs: 300_000, resetMs: 600_000 } as const;

export interface PodPlan {
  /** Containers to start now. */
  start: string[];
  /** Containers to stop now, because the pod ends. */
  stop: string[];
  /** Containers that wait for their back-off, with its whole length. */
  backoff: { name: string; delayMs: number }[];
  /** When to look again, if nothing else happens before. */
  wakeAtMs: number | undefined;
  /** Nothing runs and nothing will: the sandbox can go. */
  finished: boolean;
}

/**
 * What has to happen next in a pod, from what its containers do now. Pure; called after every change.
 * `ending`: the pod is being deleted, passed its deadline or was otherwise told to end; `initialized`: main
 * containers have been started in this sandbox, so that init containers are history.
 */
export function planPod(input: { pod: Pod; records: readonly ContainerRecord[]; nowMs: number; ending: boolean; initialized: boolean }): PodPlan {
  const { pod, records, nowMs } = input;
  const plan: PodPlan = { start: [], stop: [], backoff: [], wakeAtMs: undefined, finished: false };
  const policy = (record: ContainerRecord) => policyOf(pod, record);
  const mains = records.filter((record) => record.role === "main");
  const sidecars = records.filter((record) => record.role === "sidecar");

  if (input.ending || isOver(pod, records)) {
    const first = records.filter((record) => record.role !== "sidecar" && record.activity !== "idle");
    if (first.length > 0) {
      plan.stop = first.filter((record) => record.activity === "running").map((record) => record.name);
      return plan;
    }
    // Sidecars outlive what they serve, and end in the reverse of their starting order, one after the other.
    const last = sidecars.findLast((record) => record.activity !== "idle");
    if (!last) plan.finished = true;
    else if (last.activity === "running") plan.stop = [last.name];
    return plan;
  }

  const consider = (record: ContainerRecord): void => {
    if (record.activity !== "idle") return;
    const dueMs = Math.max(record.retryAtMs ?? 0, restartDueMs(record));
    if (dueMs <= nowMs) return void plan.start.push(record.name);
    plan.wakeAtMs = Math.min(plan.wakeAtMs ?? Infinity, dueMs);
    if (record.terminated && restartDueMs(record) > nowMs) plan.backoff.push({ name: record.name, delayMs: record.backoff!.delayMs });
  };

  if (!input.initialized) {
    for (const record of records) {
      if (record.role === "main") break;
      if (record.role === "sidecar") {
        consider(record);
        if (!(isRunning(record) && record.started && !record.hookPending)) return plan;
      } else {
        if (record.activity === "idle" && record.terminated?.exitCode === 0) continue;
        consider(record);
        return plan;
      }
    }
  } else for (const record of sidecars) consider(record);
  for (const record of mains) if (!record.terminated || record.again || restarts(policy(record), record.terminated.exitCode)) consider(record);
  for (const record of records) if (record.role === "ephemeral" && !record.terminated) consider(record);
  return plan;
}

/** True when nothing of the pod will run again: main containers ended for good, or an init container failed for good. */
export function isOver(pod: Pod, records: readonly ContainerRecord[]): boolean {
  const ended = (record: ContainerRecord) => record.activity === "idle" && record.terminated !== undefined && !record.again && !restarts(policyOf(pod, record), record.terminated.exitCode);
  if (records.some((record) => record.role === "init" && ended(record) && record.terminated!.exitCode !== 0)) return true;
  const mains = records.filter((record) => record.role === "main");
  return mains.length > 0 && mains.every(ended);
}

export type RestartPolicy = "Always" | "OnFailure" | "Never";

/** Init containers of an Always pod are retried until they succeed, and not again. */
export function policyOf(pod: Pod, record: Pick<ContainerRecord, "role" | "name">): RestartPolicy {
  if (record.role === "sidecar") return "Always";
  if (record.role === "ephemeral") return "Never";
  const policy = (pod.spec!.restartPolicy ?? "Always") as RestartPolicy;
  if (record.role === "init") return policy === "Never" ? "Never" : "OnFailure";
  const own = pod.spec!.containers.find((container) => container.name === record.name)?.restartPolicy as RestartPolicy | undefined;
  return own ?? policy;
}

export function restarts(policy: RestartPolicy, exitCode: number): boolean {
  return policy === "Always" || (policy === "OnFailure" && exitCode !== 0);
}

/** When a terminated container may start again. */
function restartDueMs(record: ContainerRecord): number {
  const finishedAtMs = record.terminated?.finishedAtMs;
  if (finishedAtMs === undefined || !record.backoff) return 0;
  if (finishedAtMs - record.backoff.setAtMs > crashBackoff.resetMs) return 0;
  return finishedAtMs + record.backoff.delayMs;
}

/** The back-off after a restart at `nowMs`: what the next crash will have to wait. */
export function nextBackoff(record: ContainerRecord, nowMs: number): NonNullable<ContainerRecord["backoff"]> {
  const old = record.backoff;
  const expired = !old || (record.terminated?.finishedAtMs ?? nowMs) - old.setAtMs > crashBackoff.resetMs;
  return { delayMs: expired ? crashBackoff.baseMs : Math.min(crashBackoff.maxMs, old.delayMs * 2), setAtMs: nowMs };
}

/** A duration as Go prints it: "10s", "1m20s", "5m0s". */
export function goDuration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return `${hours > 0 ? `${hours}h` : ""}${seconds >= 60 ? `${minutes}m` : ""}${seconds % 60}s`;
}
