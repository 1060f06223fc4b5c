import { type Condition, timestamp, withCondition } from "../../api/meta.ts";
import type { Container, ContainerStatus, Pod, PodStatus } from "../../api/types.ts";
import { isOver, policyOf } from "./plan.ts";
import { type ContainerRecord, isRunning, type Termination } from "./record.ts";
import { qosClass } from "./qos.ts";
import { resizeConditions } from "./resize.ts";

export interface StatusInput {
  /** With the resources that the node gave it. */
  pod: Pod;
  records: readonly ContainerRecord[];
  nowMs: number;
  sandbox: { ready: boolean; ip: string | undefined };
  hostIP: string;
  /** When the node took the pod; kept from an earlier status if there is one. */
  startTime: string;
  /** Set when the pod ends for a reason of its own: DeadlineExceeded, Evicted, … */
  failure?: { reason: string; message: string };
  /** Conditions of a resize that is under way. */
  resize?: readonly Condition[];
  /** Of a pod that wants to dial by itself, or that is not meshed. */
  mesh?: Condition | undefined;
  /** Conditions for what this machine does not enforce. */
  unenforced?: readonly Condition[];
  /** The pod's containers are all dead and it is being deleted: its phase is final. */
  terminal: boolean;
}

/** The pod's whole status. Pure. Source of the rules: k8s.io/kubernetes/pkg/kubelet/{kubelet_pods,status/generate}.go. */
export function podStatus(input: StatusInput): PodStatus {
  const { pod, records, nowMs, sandbox } = input;
  const old: PodStatus = pod.status ?? {};
  const hasInit = records.some((record) => record.role === "init" || record.role === "sidecar");
  const phase = podPhase(input);
  const over = phase === "Succeeded" || phase === "Failed";
  const statuses = (list: readonly ContainerRecord[]) => list.map((record) => containerStatus(record, pod, hasInit));
  const inits = records.filter((record) => record.role === "init" || record.role === "sidecar");
  const ephemeral = records.filter((record) => record.role === "ephemeral");
  const mains = records.filter((record) => record.role === "main");
  const ip = sandbox.ip ?? (over ? old.podIP : undefined);

  const condition = (type: string, bad: { reason: string; message?: string } | undefined, good?: { reason: string }): Condition => ({
    type,
    status: bad ? "False" : "True",
    ...(bad ?? good),
    ...(pod.metadata.generation !== undefined && { observedGeneration: pod.metadata.generation }),
  });
  let conditions = old.conditions as Condition[] | undefined;
  const set = (next: Condition) => void (conditions = withCondition(conditions, next, nowMs));
  const completed = phase === "Succeeded" ? { reason: "PodCompleted" } : phase === "Failed" ? { reason: "PodFailed" } : undefined;

  set({ ...condition("PodReadyToStartContainers", undefined), status: sandbox.ready ? "True" : "False" });
  const uninitialized = inits.filter((record) => (record.role === "sidecar" ? !(isRunning(record) && record.started) : record.terminated?.exitCode !== 0));
  set(
    phase === "Succeeded"
      ? condition("Initialized", undefined, { reason: "PodCompleted" })
      : condition("Initialized", uninitialized.length > 0 && !anyStarted(mains) ? { reason: "ContainersNotInitialized", message: `containers with incomplete status: [${uninitialized.map(({ name }) => name).join(" ")}]` } : undefined),
  );
  const unready = records.filter((record) => isServing(record) && !isReady(record));
  const notReady = completed ?? (unready.length > 0 ? { reason: "ContainersNotReady", message: `containers with unready status: [${unready.map(({ name }) => name).join(" ")}]` } : undefined);
  // Readiness gates are conditions that others write; the pod is Ready only when each of them is True.
  const gates = (pod.spec!.readinessGates ?? []).flatMap(({ conditionType }) => {
    const gate = conditions?.find(({ type }) => type === conditionType);
    if (!gate) return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    return gate.status === "True" ? [] : [`the status of pod readiness gate "${conditionType}" is not "True", but ${gate.status}`];
  });
  set(condition("Ready", notReady ?? (gates.length > 0 ? { reason: "ReadinessGatesNotReady", message: gates.join(", ") } : undefined)));
  set(condition("ContainersReady", notReady));
  set(condition("PodScheduled", undefined));
  conditions = conditions?.filter(({ type }) => !resizeConditions.has(type) || input.resize?.some((condition) => condition.type === type));
  for (const next of input.resize ?? []) set(next);
  if (input.mesh) set(input.mesh);
  for (const { type, reason, message } of input.unenforced ?? []) set({ ...condition(type, { reason: reason!, message: message! }) });

  if (input.failure?.reason === "Evicted") set({ ...condition("DisruptionTarget", undefined), reason: "TerminationByKubelet", message: input.failure.message });

  const status: PodStatus = {
    ...(pod.metadata.generation !== undefined && { observedGeneration: pod.metadata.generation }),
    phase,
    conditions: conditions as PodStatus["conditions"],
    hostIP: input.hostIP,
    hostIPs: [{ ip: input.hostIP }],
    ...(ip !== undefined && { podIP: ip, podIPs: [{ ip }] }),
    startTime: old.startTime ?? input.startTime,
    ...(inits.length > 0 && { initContainerStatuses: statuses(inits) }),
    containerStatuses: statuses(mains),
    ...(ephemeral.length > 0 && { ephemeralContainerStatuses: statuses(ephemeral) }),
    qosClass: old.qosClass ?? qosClass(pod.spec!),
    ...(input.failure && { reason: input.failure.reason, message: input.failure.message }),
  };
  return status;
}

const anyStarted = (records: readonly ContainerRecord[]) => records.some((record) => record.activity !== "idle" || record.terminated !== undefined || record.last !== undefined);

/** Containers whose readiness is the pod's. */
const isServing = (record: ContainerRecord) => record.role === "main" || record.role === "sidecar";

export function isReady(record: ContainerRecord): boolean {
  return isRunning(record) && !record.hookPending && record.started && record.ready;
}

/** Whether traffic may go to the pod: what the data plane is told ahead of the status. */
export function isPodReady(pod: Pod, records: readonly ContainerRecord[]): boolean {
  const conditions = pod.status?.conditions ?? [];
  return (
    records.every((record) => !isServing(record) || isReady(record)) &&
    (pod.spec!.readinessGates ?? []).every(({ conditionType }) => conditions.some(({ type, status }) => type === conditionType && status === "True"))
  );
}

function podPhase({ pod, records, failure, terminal }: StatusInput): NonNullable<PodStatus["phase"]> {
  const before = pod.status?.phase;
  if (before === "Failed" || before === "Succeeded") return before;
  if (failure) return "Failed";
  const mains = records.filter((record) => record.role === "main");
  const over = terminal || (isOver(pod, records) && records.every((record) => record.activity === "idle"));
  if (over) {
    const failedInit = records.some((record) => record.role === "init" && record.terminated?.exitCode !== 0 && record.terminated !== undefined && policyOf(pod, record) === "Never");
    return !failedInit && mains.every((record) => record.terminated?.exitCode === 0) ? "Succeeded" : "Failed";
  }
  if (mains.some((record) => isShownRunning(record) || record.reloading)) return mains.some((record) => !isShownRunning(record) && !record.reloading && !record.terminated && !record.last) ? "Pending" : "Running";
  return mains.every((record) => record.terminated ?? record.last) ? "Running" : "Pending";
}

const isShownRunning = (record: ContainerRecord) => isRunning(record) && !record.hookPending;

export function containerStatus(record: ContainerRecord, pod: Pod, hasInit: boolean): ContainerStatus {
  const spec = [...(pod.spec!.initContainers ?? []), ...pod.spec!.containers].find((container) => container.name === record.name);
  const running = isShownRunning(record);
  const fallback = { reason: hasInit ? "PodInitializing" : "ContainerCreating" };
  // The API lets a completed init container of such a pod never be seen running again, though a new sandbox (after
  // a restart of Wherry) has it run again.
  const done = record.role === "init" && (pod.spec!.restartPolicy ?? "Always") !== "Always" && !record.terminated && record.last?.exitCode === 0 ? record.last : undefined;
  const state: ContainerStatus["state"] = done
    ? { terminated: terminatedState(done) }
    : running
      ? { running: { startedAt: timestamp(record.startedAtMs!) } }
      : record.waiting
        ? { waiting: record.waiting }
        : record.terminated
          ? { terminated: terminatedState(record.terminated) }
          : { waiting: fallback };
  const last = done ? undefined : record.waiting && !running ? (record.terminated ?? record.last) : record.last;
  return {
    name: record.name,
    state,
    lastState: last ? { terminated: terminatedState(last) } : {},
    ready: record.role === "init" ? done !== undefined || (!running && !record.waiting && record.terminated?.exitCode === 0) : isServing(record) && isReady(record),
    restartCount: record.restartCount,
    image: record.image,
    imageID: record.imageID,
    ...(record.containerID !== "" && { containerID: record.containerID }),
    ...(record.role !== "ephemeral" && { started: record.role !== "init" && running && record.started }),
    ...(spec && record.containerID !== "" && { resources: sizeOf(isRunning(record) ? record.resources : spec.resources), ...(spec.resources?.requests && { allocatedResources: spec.resources.requests }) }),
  };
}

const sizeOf = (resources: Container["resources"]) => ({ ...(resources?.limits && { limits: resources.limits }), ...(resources?.requests && { requests: resources.requests }) });

function terminatedState(end: Termination) {
  return {
    exitCode: end.exitCode,
    ...(end.signal !== undefined && { signal: end.signal }),
    reason: end.reason,
    ...(end.message !== undefined && end.message !== "" && { message: end.message }),
    ...(end.startedAtMs !== undefined && { startedAt: timestamp(end.startedAtMs) }),
    ...(end.finishedAtMs !== undefined && { finishedAt: timestamp(end.finishedAtMs) }),
    ...(end.containerID !== "" && { containerID: end.containerID }),
  };
}
