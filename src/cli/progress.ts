import type { Writable } from "node:stream";
import type { Client } from "../api/client.ts";
import type { GroupVersionResource } from "../api/meta.ts";
import { resources } from "../api/resources.ts";
import { StatusError } from "../api/status.ts";
import type { ConfigMap, Pod, Service } from "../api/types.ts";
import { type Surroundings, waitingLine } from "./waiting.ts";

/** Something worth waiting for. */
export interface Workload {
  resource: GroupVersionResource;
  namespace: string;
  name: string;
  kind: string;
}

export interface WorkloadState {
  ready: number;
  wanted: number;
  /** What keeps it, in a few words: "ContainerCreating", "ImagePullBackOff: …"; empty when nothing does. */
  why: string;
}

export interface FollowOptions {
  patienceMs?: number;
  /**
   * When the stack started (ms since 1970). What it found in its store, by an earlier run or out of a backup, says of its
   * programs what was true then: only those that started since count.
   */
  sinceMs?: number;
}

/** One line a workload, rewritten in place on a terminal, appended when it changes elsewhere. */
export async function followUntilReady(client: Client, workloads: readonly Workload[], out: Pick<Writable, "write"> & { isTTY?: boolean; bytesWritten?: number }, { patienceMs = 10 * 60_000, sinceMs = 0 }: FollowOptions = {}): Promise<boolean> {
  if (workloads.length === 0) return true;
  const width = Math.max(...workloads.map(({ name }) => name.length)) + 2;
  const began = performance.now();
  const shown = new Map<string, string>();
  const done = new Map<string, string>();
  /** What a workload has waited for, and the back-off of the crash that it met that way: a later crash is its own. */
  const waited = new Map<string, { names: string; backOff?: string }>();
  let painted = 0;
  let written: number | undefined;
  for (;;) {
    const states = await statesOf(client, workloads, sinceMs);
    const lines: string[] = [];
    for (const [index, workload] of workloads.entries()) {
      const key = `${workload.namespace}/${workload.name}`;
      const state = states[index]!;
      const isReady = state.ready >= state.wanted;
      if (isReady && !done.has(key)) done.set(key, `${((performance.now() - began) / 1000).toFixed(1)} s`);
      if (!isReady) done.delete(key);
      const names = /^waiting for (.*?)( \(|$)/.exec(state.why)?.[1];
      if (names !== undefined) waited.set(key, { names });
      const backOff = /^CrashLoopBackOff: back-off (\S+)/.exec(state.why)?.[1];
      const past = waited.get(key);
      if (past && backOff !== undefined) past.backOff ??= backOff;
      const why = past && backOff !== undefined && past.backOff === backOff ? `${past.names} is there now; tried again within ${backOff}` : state.why;
      const line = `  ${isReady ? "✓" : "…"} ${workload.name.padEnd(width)}${state.ready}/${state.wanted}  ${isReady ? `Ready  ${done.get(key)}` : why}`.trimEnd();
      lines.push(line);
      if (!out.isTTY && shown.get(key) !== line) out.write(`${line}\n`);
      shown.set(key, line);
    }
    if (out.isTTY) {
      // Somebody else has written below: what stands there is not painted over.
      if (out.bytesWritten !== written) painted = 0;
      out.write(`${painted > 0 ? `\x1b[${painted}A` : ""}${lines.map((line) => `\x1b[2K${line.slice(0, (out as unknown as { columns?: number }).columns || 120)}\n`).join("")}`);
      painted = lines.length;
      written = out.bytesWritten;
    }
    if (done.size === workloads.length) return true;
    if (performance.now() - began > patienceMs) {
      out.write(`still not Ready after ${patienceMs / 60_000} minutes; \`wherry status\` says what is wrong\n`);
      return false;
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** The API may be restarting: then it is asked again, for a while. */
async function statesOf(client: Client, workloads: readonly Workload[], sinceMs: number): Promise<WorkloadState[]> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    try {
      const around = await surroundingsOf(client, workloads);
      return await Promise.all(workloads.map((workload) => stateOf(client, workload, around, sinceMs)));
    } catch (error) {
      if (error instanceof StatusError || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function surroundingsOf(client: Client, workloads: readonly Workload[]): Promise<Surroundings> {
  const namespaces = [...new Set(workloads.map(({ namespace }) => namespace))];
  const all = async <T>(resource: GroupVersionResource) => (await Promise.all(namespaces.map((namespace) => client.list<T>(resource, { namespace })))).flatMap(({ items }) => items);
  const [pods, services] = await Promise.all([all<Pod>(resources.pods), all<Service>(resources.services)]);
  const fromMaps = pods.some(({ spec }) => [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])].some(({ env, envFrom }) => envFrom?.length || env?.some(({ valueFrom }) => valueFrom?.configMapKeyRef)));
  return { pods, services, ...(fromMaps && { configMaps: await all<ConfigMap>(resources.configMaps) }) };
}

async function stateOf(client: Client, workload: Workload, around: Surroundings, sinceMs: number): Promise<WorkloadState> {
  const object = await client.get(workload.resource, workload.namespace, workload.name);
  const status = (object["status"] ?? {}) as Record<string, number | undefined>;
  const fresh = (status["observedGeneration"] ?? 0) >= (object.metadata.generation ?? 0);
  const wanted = workload.kind === "DaemonSet" ? (status["desiredNumberScheduled"] ?? 0) : ((object["spec"] as { replicas?: number }).replicas ?? 1);
  const said = (workload.kind === "DaemonSet" ? status["numberReady"] : status["readyReplicas"]) ?? 0;
  const selector = ((object["spec"] as { selector?: { matchLabels?: Record<string, string> } }).selector?.matchLabels ?? {}) as Record<string, string>;
  const mine = around.pods.filter((pod) => pod.metadata.namespace === workload.namespace && Object.entries(selector).every(([key, value]) => pod.metadata.labels?.[key] === value));
  const old = mine.filter((pod) => isFromBefore(pod, sinceMs));
  const ready = fresh ? Math.min(said, wanted, old.length > 0 ? mine.length - old.length : wanted) : 0;
  return { ready, wanted, why: mine.filter((pod) => !old.includes(pod)).map((pod) => whyNotReady(pod, around)).find((why) => why !== "") ?? (old.length > 0 ? "starting again" : mine.length < wanted ? "waiting for pods" : "") };
}

/** Its status is of programs that ended with an earlier run. Times of Kubernetes are whole seconds. */
const isFromBefore = (pod: Pod, sinceMs: number): boolean => (pod.status?.containerStatuses ?? []).some(({ state }) => state?.running?.startedAt !== undefined && Date.parse(state.running.startedAt) < Math.floor(sinceMs / 1000) * 1000);

/** What keeps a pod from being Ready, with the message where one helps; "" when it is Ready. What it waits for comes before how it waits. */
export function whyNotReady(pod: Pod, around: Surroundings): string {
  if (pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True")) return "";
  const unschedulable = pod.status?.conditions?.find(({ type, status }) => type === "PodScheduled" && status === "False");
  if (unschedulable) return `Pending: ${unschedulable.message ?? unschedulable.reason}`;
  const waiting = waitingLine(pod, around);
  if (waiting !== "") return waiting;
  for (const status of [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]) {
    const waiting = status.state?.waiting;
    const ended = status.state?.terminated;
    if (waiting && waiting.reason !== "PodInitializing") return waiting.message ? `${waiting.reason}: ${waiting.message}` : (waiting.reason ?? "Waiting");
    if (ended && ended.exitCode !== 0) return `${ended.reason ?? "Error"} (exit code ${ended.exitCode})`;
  }
  if (pod.status?.containerStatuses?.some(({ state }) => state?.waiting?.reason === "PodInitializing")) return "starting";
  return pod.status?.phase === "Running" ? "started, not Ready yet" : (pod.status?.phase ?? "Pending");
}
