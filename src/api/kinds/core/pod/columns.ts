import { age } from "../../../duration.ts";
import type { Column } from "../../../kind.ts";
import type { KubeObject } from "../../../meta.ts";
import { ageOf, name, text, wide } from "../../columns.ts";

/**
 * The READY, STATUS and RESTARTS of a pod, as upstream tells its story in one word: the first init container
 * that is not done, else the first container (from the front) that waits or has ended, else the phase.
 */
export interface PodSummary {
  ready: number;
  total: number;
  status: string;
  restarts: number;
  /** RFC 3339 of the youngest end that led to a restart. */
  lastRestart?: string;
}

interface ContainerStatus {
  name: string;
  restartCount?: number;
  ready?: boolean;
  started?: boolean;
  state?: State;
  lastState?: State;
}
interface State {
  waiting?: { reason?: string };
  running?: object;
  terminated?: { reason?: string; exitCode?: number; signal?: number; finishedAt?: string };
}

/** Source: printPod in k8s.io/kubernetes/pkg/printers/internalversion/printers.go. */
export function summarizePod(pod: KubeObject): PodSummary {
  const status = pod.status ?? {};
  const initSpecs: { name: string; restartPolicy?: string }[] = pod.spec?.initContainers ?? [];
  const isSidecar = (name: string): boolean => initSpecs.some((container) => container.name === name && container.restartPolicy === "Always");
  const total = (pod.spec?.containers ?? []).length + initSpecs.filter((container) => container.restartPolicy === "Always").length;

  let word: string = status.reason || status.phase || "";
  if (conditionOf(pod, "PodScheduled")?.reason === "SchedulingGated") word = "SchedulingGated";

  let ready = 0;
  const all = new Restarts();
  const sidecars = new Restarts();
  let initializing = false;
  for (const [index, container] of ((status.initContainerStatuses ?? []) as ContainerStatus[]).entries()) {
    all.add(container);
    if (isSidecar(container.name)) sidecars.add(container);
    const { terminated, waiting } = container.state ?? {};
    if (terminated && (terminated.exitCode ?? 0) === 0) continue;
    if (isSidecar(container.name) && container.started) {
      if (container.ready) ready++;
      continue;
    }
    if (terminated) word = `Init:${endOf(terminated)}`;
    else if (waiting?.reason && waiting.reason !== "PodInitializing") word = `Init:${waiting.reason}`;
    else word = `Init:${index}/${initSpecs.length}`;
    initializing = true;
    break;
  }

  let restarts = all;
  if (!initializing || conditionOf(pod, "Initialized")?.status === "True") {
    // Init containers that are done count no more.
    restarts = sidecars;
    let running = false;
    for (const container of ((status.containerStatuses ?? []) as ContainerStatus[]).toReversed()) {
      restarts.add(container);
      const { terminated, waiting } = container.state ?? {};
      if (waiting?.reason) word = waiting.reason;
      else if (terminated) word = endOf(terminated);
      else if (container.ready && container.state?.running) {
        running = true;
        ready++;
      }
    }
    if (word === "Completed" && running) word = conditionOf(pod, "Ready")?.status === "True" ? "Running" : "NotReady";
  }

  if (pod.metadata.deletionTimestamp) {
    if (status.reason === "NodeLost") word = "Unknown";
    else if (status.phase !== "Succeeded" && status.phase !== "Failed") word = "Terminating";
  }
  return { ready, total, status: word, restarts: restarts.count, ...(restarts.last !== undefined && { lastRestart: restarts.last }) };
}

class Restarts {
  count = 0;
  last: string | undefined;
  add(container: ContainerStatus): void {
    this.count += container.restartCount ?? 0;
    const end = container.lastState?.terminated?.finishedAt;
    if (end && (this.last === undefined || Date.parse(end) > Date.parse(this.last))) this.last = end;
  }
}

const conditionOf = (pod: KubeObject, type: string): { status: string; reason?: string } | undefined =>
  (pod.status?.conditions ?? []).find((condition: { type: string }) => condition.type === type);

const endOf = ({ reason, signal, exitCode }: NonNullable<State["terminated"]>): string => reason || (signal ? `Signal:${signal}` : `ExitCode:${exitCode ?? 0}`);

function readinessGates(pod: KubeObject): string {
  const gates: { conditionType: string }[] = pod.spec?.readinessGates ?? [];
  if (gates.length === 0) return "";
  return `${gates.filter((gate) => conditionOf(pod, gate.conditionType)?.status === "True").length}/${gates.length}`;
}

export const podColumns: readonly Column[] = [
  name,
  text("Ready", (pod) => {
    const { ready, total } = summarizePod(pod);
    return `${ready}/${total}`;
  }),
  text("Status", (pod) => summarizePod(pod).status),
  text("Restarts", (pod, nowMs) => {
    const { restarts, lastRestart } = summarizePod(pod);
    return restarts > 0 && lastRestart ? `${restarts} (${age(lastRestart, nowMs)} ago)` : String(restarts);
  }),
  ageOf,
  wide(text("IP", (pod) => pod.status?.podIPs?.[0]?.ip ?? pod.status?.podIP, "<none>")),
  wide(text("Node", (pod) => pod.spec?.nodeName, "<none>")),
  wide(text("Nominated Node", (pod) => pod.status?.nominatedNodeName, "<none>")),
  wide(text("Readiness Gates", readinessGates, "<none>")),
];

/** Marks rows of pods that will never run again; `kubectl get` greys or hides them. */
export function podRowConditions(pod: KubeObject): { type: string; status: string; reason: string; message: string }[] | undefined {
  if (pod.status?.phase === "Succeeded") return [{ type: "Completed", status: "True", reason: "Succeeded", message: "The pod has completed successfully." }];
  if (pod.status?.phase === "Failed") return [{ type: "Completed", status: "True", reason: "Failed", message: "The pod failed." }];
  return undefined;
}
