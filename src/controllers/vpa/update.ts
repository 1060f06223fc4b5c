import type { Condition } from "../../api/meta.ts";
import type { Pod } from "../../api/types.ts";
import { type Bounds, currentSizes, fit, type Fitted } from "../../api/vpa/fit.ts";
import { type EvictionRequirement, modeOf, policyOf, type ResourceName, resourceNames, type VerticalPodAutoscaler } from "../../api/vpa/types.ts";

/** Upstream's flags at their defaults: updater/main.go, updater/priority. */
const minReplicas = 2;
const evictionTolerance = 0.5;
const leastDifference = 0.1;
const settledMs = 12 * 3600_000;
const quickOomMs = 10 * 60_000;
/** How long a resize may wait, or be under way, before its pod is replaced. */
const deferredMs = 5 * 60_000;
const inProgressMs = 3600_000;

/** Pods of one creator (a ReplicaSet, a Job, …), and how many there should be; undefined: as many as there are. */
export interface Group {
  pods: readonly Pod[];
  replicas: number | undefined;
}

export interface UpdateInput {
  vpa: VerticalPodAutoscaler;
  groups: readonly Group[];
  bounds: Bounds;
  nowMs: number;
  /** When each pod's resize was first seen to wait or be under way; kept by the caller. */
  resizeSinceMs(pod: Pod): number;
  /** Whether some node has room for another such pod of the recommended size, once this one has gone. */
  hasRoom(pod: Pod): boolean;
}

export interface Updates {
  /** To be resized where they run; where that is refused, to be replaced. */
  resize: Pod[];
  evict: Pod[];
  /** Pods that should be updated, and are too few for one to go. */
  tooFew: { wanted: number; live: number; required: number } | undefined;
  /** To be replaced, if only there were room for who comes after them. */
  noRoom: Pod[];
}

/**
 * Which pods get their recommendation now: those outside of the recommended range, those killed early for their memory,
 * and old ones that differ much; as many as may be missing at once. Nobody is evicted for a successor that could not
 * run, which upstream leaves to a cluster's other nodes. Pure.
 * Source: k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater.
 */
export function planUpdates({ vpa, groups, bounds, nowMs, resizeSinceMs, hasRoom }: UpdateInput): Updates {
  const updates: Updates = { resize: [], evict: [], tooFew: undefined, noRoom: [] };
  const mode = modeOf(vpa);
  if (mode === "Off" || mode === "Initial") return updates;
  const required = vpa.spec.updatePolicy?.minReplicas ?? minReplicas;
  for (const { pods, replicas } of groups) {
    const wanted = inOrder(vpa, pods, bounds, nowMs);
    if (wanted.length === 0) continue;
    if (pods.length < required) {
      updates.tooFew = { wanted: wanted.length, live: pods.length, required };
      continue;
    }
    const configured = replicas ?? pods.length;
    const running = pods.filter(({ status }) => status?.phase !== "Pending").length;
    const tolerance = Math.trunc(configured * evictionTolerance);
    let taken = 0;
    const mayGo = () => running - taken > configured - tolerance || (configured === running && tolerance === 0 && taken === 0);
    const evict = (pod: Pod) => {
      if (!hasRoom(pod)) return void updates.noRoom.push(pod);
      if (pod.status?.phase !== "Pending") taken++;
      updates.evict.push(pod);
    };
    for (const pod of wanted) {
      const waits = resizeConditions(pod);
      if (pod.status?.phase === "Pending") {
        // It serves nobody yet: replaced, it gets what it needs at once. In place nothing can be done with it.
        if (mode !== "InPlaceOrRecreate") evict(pod);
      } else if (waits.length > 0) {
        if (mayGo() && hasFailed(waits, nowMs - resizeSinceMs(pod))) evict(pod);
      } else if (mayGo() && mode !== "InPlaceOrRecreate") evict(pod);
      else if (mayGo()) {
        taken++;
        updates.resize.push(pod);
      }
    }
  }
  return updates;
}

export const resizeConditions = (pod: Pod): Condition[] => ((pod.status?.conditions ?? []) as Condition[]).filter(({ type, status }) => (type === "PodResizePending" || type === "PodResizeInProgress") && status === "True");

function hasFailed(conditions: readonly Condition[], sinceMs: number): boolean {
  const pending = conditions.find(({ type }) => type === "PodResizePending");
  if (pending) return pending.reason === "Deferred" ? sinceMs > deferredMs : true;
  const { reason, message } = conditions[0]!;
  return reason || message ? true : sinceMs > inProgressMs;
}

/** Pods that should change, those first that should change most. */
function inOrder(vpa: VerticalPodAutoscaler, pods: readonly Pod[], bounds: Bounds, nowMs: number): Pod[] {
  const found: { pod: Pod; priority: Priority }[] = [];
  for (const pod of pods) {
    const fitted = fit(vpa, pod, bounds);
    const priority = priorityOf(pod, fitted);
    const quickOom = wasQuicklyKilled(vpa, pod);
    if (!priority.isOutside && !quickOom) {
      const startMs = Date.parse(pod.status?.startTime ?? "");
      if (Number.isNaN(startMs) || nowMs < startMs + settledMs || priority.difference < leastDifference) continue;
    }
    if (quickOom && priority.difference === 0) continue;
    if (meets(pod, fitted, vpa.spec.updatePolicy?.evictionRequirements)) found.push({ pod, priority });
  }
  found.sort((a, b) => Number(b.priority.grows) - Number(a.priority.grows) || b.priority.difference - a.priority.difference);
  return found.map(({ pod }) => pod);
}

interface Priority {
  /** Some container asks for less or more than its bounds. */
  isOutside: boolean;
  grows: boolean;
  /** Relative, of all containers together, over all resources. */
  difference: number;
}

function priorityOf(pod: Pod, fitted: ReadonlyMap<string, Fitted>): Priority {
  const sums = new Map<ResourceName, { requested: number; recommended: number }>();
  const observed = observedContainers(pod);
  let [isOutside, grows] = [false, false];
  for (const { name: container } of pod.spec!.containers) {
    const recommendation = fitted.get(container);
    if (!recommendation || (observed && !observed.has(container))) continue;
    const { requests } = currentSizes(pod, container);
    for (const name of resourceNames) {
      const recommended = recommendation.target[name];
      if (recommended === undefined) continue;
      const sum = sums.get(name) ?? { requested: 0, recommended: 0 };
      sums.set(name, { requested: sum.requested + (requests[name] ?? 0), recommended: sum.recommended + recommended });
      const request = requests[name];
      if (request === undefined || recommended > request) grows = true;
      if (request === undefined || request < (recommendation.lowerBound[name] ?? 0) || request > (recommendation.upperBound[name] ?? Infinity)) isOutside = true;
    }
  }
  const difference = [...sums].reduce((total, [name, { requested, recommended }]) => {
    // In upstream's thousandths, also of bytes; nothing requested counts as one.
    const unit = name === "cpu" ? 1 : 1000;
    const base = Math.max(requested * unit, 1);
    return total + Math.abs(base - recommended * unit) / base;
  }, 0);
  return { isOutside, grows, difference };
}

export const observedAnnotation = "vpaObservedContainers";

/** Containers that admission knew; those added later by others' webhooks are not judged. */
function observedContainers(pod: Pod): ReadonlySet<string> | undefined {
  const text = pod.metadata.annotations?.[observedAnnotation];
  return text === undefined ? undefined : new Set(text.split(", "));
}

function wasQuicklyKilled(vpa: VerticalPodAutoscaler, pod: Pod): boolean {
  const observed = observedContainers(pod);
  return (pod.status?.containerStatuses ?? []).some(({ name, lastState }) => {
    const end = lastState?.terminated;
    if ((observed && !observed.has(name)) || policyOf(vpa, name)?.mode === "Off") return false;
    return end?.reason === "OOMKilled" && Date.parse(end.finishedAt ?? "") - Date.parse(end.startedAt ?? "") < quickOomMs;
  });
}

/** One container for which all requirements hold is enough, as is one that asks for nothing. */
function meets(pod: Pod, fitted: ReadonlyMap<string, Fitted>, requirements: readonly EvictionRequirement[] | undefined): boolean {
  if (!requirements) return true;
  return pod.spec!.containers.some(({ name: container }) => {
    const recommendation = fitted.get(container);
    if (!recommendation) return false;
    const { requests } = currentSizes(pod, container);
    if (requests.cpu === undefined || requests.memory === undefined) return true;
    return requirements.every(({ resources, changeRequirement }) =>
      (resources as ResourceName[]).some((name) => {
        const change = (recommendation.target[name] ?? 0) - (requests[name] ?? 0);
        return changeRequirement === "TargetHigherThanRequests" ? change > 0 : changeRequirement === "TargetLowerThanRequests" && change < 0;
      }),
    );
  });
}
