import { quantityMilliValue } from "../../api/quantity.ts";
import type { Pod } from "../../api/types.ts";

/**
 * How many replicas a metric asks for. Pure; amounts are in thousandths.
 * Source of the rules: k8s.io/kubernetes/pkg/controller/podautoscaler/replica_calculator.go, metrics/utilization.go.
 */
export interface PodMetric {
  value: number;
  atMs: number;
  windowMs: number;
}
export type PodMetrics = ReadonlyMap<string, PodMetric>;

/** How far usage may be from its target before anything moves: 0.1 is a tenth of the target. */
export interface Tolerances {
  up: number;
  down: number;
}
export interface Proposal {
  replicas: number;
  /** Percent of what is requested; only of utilization targets. */
  utilization?: number;
  /** The mean of a pod, or the metric's own value. */
  usage: number;
}

/** CPU that a program needs to start says nothing about its load. */
const cpuInitializationMs = 5 * 60_000;
/** A pod that was not ready from its start on for about this long has not begun to serve. */
const initialReadinessDelayMs = 30_000;

/** The metric cannot be had or says nothing; the text is for people. */
export class MetricError extends Error {}

export const withinTolerance = (ratio: number, { up, down }: Tolerances): boolean => ratio >= 1 - down && ratio <= 1 + up;

export interface GroupedPods {
  ready: number;
  unready: Set<string>;
  missing: Set<string>;
  ignored: Set<string>;
}

export function groupPods(pods: readonly Pod[], metrics: PodMetrics, resource: string, nowMs: number): GroupedPods {
  const groups: GroupedPods = { ready: 0, unready: new Set(), missing: new Set(), ignored: new Set() };
  for (const pod of pods) {
    const { name } = pod.metadata;
    const metric = metrics.get(name);
    if (pod.metadata.deletionTimestamp !== undefined || pod.status?.phase === "Failed") groups.ignored.add(name);
    else if (pod.status?.phase === "Pending") groups.unready.add(name);
    else if (!metric) groups.missing.add(name);
    else if (resource === "cpu" && isUnready(pod, metric, nowMs)) groups.unready.add(name);
    else groups.ready++;
  }
  return groups;
}

function isUnready(pod: Pod, metric: PodMetric, nowMs: number): boolean {
  const condition = pod.status?.conditions?.find(({ type }) => type === "Ready");
  const startTime = pod.status?.startTime;
  if (!condition || startTime === undefined) return true;
  const startedMs = Date.parse(String(startTime));
  const changedMs = Date.parse(String(condition.lastTransitionTime));
  // While it starts, only what was measured wholly after it became ready counts.
  if (startedMs + cpuInitializationMs > nowMs) return condition.status === "False" || metric.atMs < changedMs + metric.windowMs;
  return condition.status === "False" && startedMs + initialReadinessDelayMs > changedMs;
}

interface Measure {
  ratio: number;
  utilization?: number;
  usage: number;
}

/** `targetUtilization` is percent of the pods' requests for `resource`, of all containers or of `container`. */
export function utilizationReplicas(current: number, targetUtilization: number, resource: string, container: string | undefined, pods: readonly Pod[], metrics: PodMetrics, tolerances: Tolerances, nowMs: number): Proposal {
  if (pods.length === 0) throw new MetricError("no pods returned by selector while calculating replica count");
  const groups = groupPods(pods, metrics, resource, nowMs);
  const counted = without(metrics, groups);
  if (counted.size === 0) throw new MetricError("did not receive metrics for targeted pods (pods might be unready)");
  const requests = requestsOf(pods, resource, container);
  const measure = (values: ReadonlyMap<string, number>): Measure => {
    let [used, requested, count] = [0, 0, 0];
    for (const [name, value] of values) {
      const request = requests.get(name);
      if (request === undefined) continue;
      used += value;
      requested += request;
      count++;
    }
    if (requested === 0) throw new MetricError("no metrics returned matched known pods");
    const utilization = Math.trunc((used * 100) / requested);
    return { ratio: utilization / targetUtilization, utilization, usage: Math.trunc(used / count) };
  };
  // A pod of which nothing is known is thought to use what it requests when others are below their target, or the target if that is higher.
  const fallback = (name: string) => Math.trunc(((requests.get(name) ?? 0) * Math.max(100, targetUtilization)) / 100);
  return decide(current, counted, groups, measure, fallback, tolerances);
}

/** `target` is the mean of a pod, in thousandths. `resource` is "" for metrics that are none. */
export function averageReplicas(current: number, target: number, resource: string, pods: readonly Pod[], metrics: PodMetrics, tolerances: Tolerances, nowMs: number): Proposal {
  if (pods.length === 0) throw new MetricError("no pods returned by selector while calculating replica count");
  const groups = groupPods(pods, metrics, resource, nowMs);
  const counted = without(metrics, groups);
  if (counted.size === 0) throw new MetricError("did not receive metrics for targeted pods (pods might be unready)");
  const measure = (values: ReadonlyMap<string, number>): Measure => {
    const usage = Math.trunc([...values.values()].reduce((sum, value) => sum + value, 0) / values.size);
    return { ratio: usage / target, usage };
  };
  return decide(current, counted, groups, measure, () => target, tolerances);
}

/** One value for all: of an object, or of the world outside. `target` is aimed at as a whole. */
export function valueReplicas(current: number, value: number, target: number, pods: readonly Pod[], tolerances: Tolerances): Proposal {
  const ratio = value / target;
  if (current === 0) return { replicas: Math.ceil(ratio), usage: value };
  if (withinTolerance(ratio, tolerances)) return { replicas: current, usage: value };
  if (pods.length === 0) throw new MetricError("unable to calculate ready pods: no pods returned by selector while calculating replica count");
  const ready = pods.filter((pod) => pod.status?.phase === "Running" && pod.status.conditions?.some(({ type, status }) => type === "Ready" && status === "True")).length;
  return { replicas: Math.ceil(ratio * ready), usage: value };
}

/** One value, of which each replica should bear `target`. */
export function sharedReplicas(statusReplicas: number, value: number, target: number, tolerances: Tolerances): Proposal {
  const ratio = value / (target * statusReplicas);
  const replicas = withinTolerance(ratio, tolerances) ? statusReplicas : Math.ceil(value / target);
  return { replicas, usage: statusReplicas === 0 ? 0 : Math.ceil(value / statusReplicas) };
}

function decide(current: number, counted: ReadonlyMap<string, number>, groups: GroupedPods, measure: (values: ReadonlyMap<string, number>) => Measure, fallback: (name: string) => number, tolerances: Tolerances): Proposal {
  const seen = measure(counted);
  const said = { ...(seen.utilization !== undefined && { utilization: seen.utilization }), usage: seen.usage };
  const withUnready = groups.unready.size > 0 && seen.ratio > 1;
  if (!withUnready && groups.missing.size === 0) {
    return { replicas: withinTolerance(seen.ratio, tolerances) ? current : Math.ceil(seen.ratio * groups.ready), ...said };
  }
  // What is not known is assumed to speak against the change: it may dampen it, and never turn it round.
  const assumed = new Map(counted);
  if (groups.missing.size > 0 && seen.ratio !== 1) for (const name of groups.missing) assumed.set(name, seen.ratio < 1 ? fallback(name) : 0);
  if (withUnready) for (const name of groups.unready) assumed.set(name, 0);
  const { ratio } = measure(assumed);
  if (withinTolerance(ratio, tolerances) || (seen.ratio < 1 && ratio > 1) || (seen.ratio > 1 && ratio < 1)) return { replicas: current, ...said };
  const replicas = Math.ceil(ratio * assumed.size);
  if ((ratio < 1 && replicas > current) || (ratio > 1 && replicas < current)) return { replicas: current, ...said };
  return { replicas, ...said };
}

function without(metrics: PodMetrics, { ignored, unready }: GroupedPods): Map<string, number> {
  return new Map([...metrics].filter(([name]) => !ignored.has(name) && !unready.has(name)).map(([name, { value }]) => [name, value]));
}

function requestsOf(pods: readonly Pod[], resource: string, only: string | undefined): Map<string, number> {
  return new Map(
    pods.map((pod) => {
      const sidecars = (pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === "Always");
      let sum = 0;
      for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
        if (only !== undefined && container.name !== only) continue;
        const request = (container.resources?.requests as Record<string, string | number> | undefined)?.[resource];
        if (request === undefined) throw new MetricError(`missing request for ${resource} in container ${container.name} of Pod ${pod.metadata.name}`);
        sum += quantityMilliValue(String(request));
      }
      return [pod.metadata.name, sum];
    }),
  );
}
