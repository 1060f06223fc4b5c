import type { Container, Pod, PodSpec } from "../../api/types.ts";

/**
 * What the node knows of one container of a pod, without the process behind it: plain data that the planner and
 * the status read and that the runner changes.
 *
 *   idle ──start──▶ starting ──▶ running ──stop──▶ stopping ──exit──▶ idle (terminated set)
 *     ▲                └─ cannot ─▶ idle (waiting set)                  │
 *     └────────────────────────── restart ─────────────────────────────┘
 */
export interface ContainerRecord {
  readonly name: string;
  readonly role: Role;
  activity: "idle" | "starting" | "running" | "stopping";
  /** Why it does not run, as the status says it. Undefined: the default of the pod's stage. */
  waiting: { reason: string; message?: string } | undefined;
  startedAtMs: number | undefined;
  /** The end of the latest process; kept until the next one starts, when it becomes `last`. */
  terminated: Termination | undefined;
  last: Termination | undefined;
  restartCount: number;
  /** The postStart hook has not returned: the status does not say running yet, as kubelet's does not. */
  hookPending: boolean;
  /** The startup probe succeeded, or there is none. */
  started: boolean;
  /** The last word of the readiness probe; without a probe, whether it runs. */
  ready: boolean;
  image: string;
  imageID: string;
  containerID: string;
  backoff: { delayMs: number; setAtMs: number } | undefined;
  /** After a failed start (image, configuration): not before this time. */
  retryAtMs: number | undefined;
  retries: number;
  /** Of the program that runs: what it was started with or resized to since. */
  resources: Container["resources"];
  /** It was ended to be started anew, whatever the pod's policy says of an end. */
  again: boolean;
  /** The program is being restarted in place for new code: the pod goes on, whatever its containers show meanwhile. */
  reloading: boolean;
  /** From the reload until the new program is Ready, has failed, or has taken too long: connections wait for it. */
  held: boolean;
}

/** "ephemeral": added to a running pod by `kubectl debug`; runs once and counts for nothing. */
export type Role = "init" | "sidecar" | "main" | "ephemeral";

export interface Termination {
  exitCode: number;
  signal?: number;
  /** "Completed", "Error", "OOMKilled", "ContainerStatusUnknown", "StartError", … */
  reason: string;
  message?: string;
  startedAtMs: number | undefined;
  finishedAtMs: number | undefined;
  containerID: string;
}

export function newRecord(name: string, role: Role, image: string): ContainerRecord {
  return {
    name,
    role,
    activity: "idle",
    waiting: undefined,
    startedAtMs: undefined,
    terminated: undefined,
    last: undefined,
    restartCount: 0,
    hookPending: false,
    started: false,
    ready: false,
    image,
    imageID: "",
    containerID: "",
    backoff: undefined,
    retryAtMs: undefined,
    retries: 0,
    resources: undefined,
    again: false,
    reloading: false,
    held: false,
  };
}

export function isRunning(record: ContainerRecord): boolean {
  return record.activity === "running" || record.activity === "stopping";
}

/** All containers of a pod in the order in which they start: init and sidecar containers, the main ones, what was added later. */
export function containersOf(spec: PodSpec): { container: Container; role: Role }[] {
  return [
    ...(spec.initContainers ?? []).map((container) => ({ container, role: (container.restartPolicy === "Always" ? "sidecar" : "init") as Role })),
    ...spec.containers.map((container) => ({ container, role: "main" as Role })),
    ...(spec.ephemeralContainers ?? []).map((container) => ({ container: container as Container, role: "ephemeral" as Role })),
  ];
}

/**
 * Records of a pod as this process finds it. A pod that ran under an earlier process of ours has lost its
 * programs with it: its containers ended in a way nobody saw, which kubelet, too, writes after a reboot as exit
 * code 255, reason Unknown.
 */
export function recordsOf(pod: Pod, nowMs: number): ContainerRecord[] {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? []), ...(pod.status?.ephemeralContainerStatuses ?? [])];
  return containersOf(pod.spec!).map(({ container, role }) => {
    const record = newRecord(container.name, role, container.image ?? "");
    const status = statuses.find((candidate) => candidate.name === container.name);
    if (!status) return record;
    record.restartCount = status.restartCount;
    record.imageID = status.imageID;
    record.containerID = status.containerID ?? "";
    record.last = terminationOf(status.lastState?.terminated);
    const { running, terminated } = status.state ?? {};
    if (terminated) record.terminated = terminationOf(terminated);
    else if (running) {
      record.terminated = {
        exitCode: 255,
        reason: "Unknown",
        startedAtMs: Date.parse(running.startedAt ?? "") || undefined,
        finishedAtMs: nowMs,
        containerID: record.containerID,
      };
    } else if (record.last) {
      // Waiting for a restart: the end is in lastState; it is the latest one all the same.
      record.terminated = record.last;
      record.last = undefined;
    }
    return record;
  });
}

type TerminatedState = NonNullable<NonNullable<NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number]["state"]>["terminated"]>;
function terminationOf(state: TerminatedState | undefined): Termination | undefined {
  if (!state) return undefined;
  return {
    exitCode: state.exitCode,
    ...(state.signal && { signal: state.signal }),
    reason: state.reason ?? (state.exitCode === 0 ? "Completed" : "Error"),
    ...(state.message && { message: state.message }),
    startedAtMs: Date.parse(state.startedAt ?? "") || undefined,
    finishedAtMs: Date.parse(state.finishedAt ?? "") || undefined,
    containerID: state.containerID ?? "",
  };
}
