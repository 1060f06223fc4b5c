import { quantityMilliValue } from "../../api/quantity.ts";
import type { Pod } from "../../api/types.ts";
import type { Said } from "./behavior.ts";
import type { MetricsSource } from "./metrics.ts";
import { averageReplicas, MetricError, type Proposal, sharedReplicas, type Tolerances, utilizationReplicas, valueReplicas } from "./replicas.ts";
import type { HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget } from "./types.ts";

/** What is being scaled, at one moment. */
export interface Target {
  namespace: string;
  /** As text; what the /scale names. */
  selector: string;
  pods: readonly Pod[];
  /** Wanted, and there. */
  specReplicas: number;
  statusReplicas: number;
  nowMs: number;
}
export interface Evaluation {
  /** The most that any metric asks for; undefined when nothing may be done. */
  replicas: number | undefined;
  /** The metric that asks for it, in words. */
  metric: string;
  statuses: MetricStatus[];
  scalingActive: Said;
  /** For Warning Events: one a metric that failed. */
  failures: { reason: string; message: string }[];
  error?: string;
}

/** Upstream's --horizontal-pod-autoscaler-tolerance. */
const defaultTolerance = 0.1;
const milli = (value: number): string => (value % 1000 === 0 ? String(value / 1000) : `${value}m`);

/** Source: k8s.io/kubernetes/pkg/controller/podautoscaler/horizontal.go, computeReplicasForMetrics. */
export async function evaluate({ spec }: HorizontalPodAutoscaler, source: MetricsSource, target: Target, resourceOf: (apiVersion: string, kind: string) => string | undefined): Promise<Evaluation> {
  const tolerances: Tolerances = { up: toleranceOf(spec.behavior?.scaleUp?.tolerance), down: toleranceOf(spec.behavior?.scaleDown?.tolerance) };
  const metrics = spec.metrics ?? [];
  const results = await Promise.all(metrics.map((metric) => evaluateOne(metric, source, target, tolerances, resourceOf).catch((error: unknown) => ({ metric, error: error as Error }))));
  const evaluation: Evaluation = { replicas: undefined, metric: "", statuses: [], scalingActive: { status: "True", reason: "ValidMetricFound", message: "" }, failures: [] };
  let first: { reason: string; said: string; wrapped: string } | undefined;
  for (const result of results) {
    if ("error" in result) {
      const { reason, wrapped } = failureOf(result.metric);
      const { message } = result.error;
      evaluation.failures.push({ reason, message });
      first ??= { reason, said: `the HPA was unable to compute the replica count: ${message}`, wrapped: `${wrapped}: ${message}` };
      // The place of a metric without a value stays, so that columns show which one lacks it.
      evaluation.statuses.push({ type: result.metric.type });
      continue;
    }
    evaluation.statuses.push(result.status);
    if (evaluation.replicas === undefined || result.replicas > evaluation.replicas) Object.assign(evaluation, { replicas: result.replicas, metric: result.name });
  }
  // With a metric missing, going down could be wrong; going up cannot.
  if (first && (evaluation.failures.length === metrics.length || evaluation.replicas! < target.specReplicas)) {
    const error = `invalid metrics (${evaluation.failures.length} invalid out of ${metrics.length}), first error is: ${first.wrapped}`;
    return { ...evaluation, replicas: undefined, scalingActive: { status: "False", reason: first.reason, message: first.said }, error };
  }
  evaluation.scalingActive.message = `the HPA was able to successfully calculate a replica count from ${evaluation.metric}`;
  return evaluation;
}

const toleranceOf = (given: string | number | undefined): number => (given === undefined ? defaultTolerance : quantityMilliValue(String(given)) / 1000);

function failureOf(metric: MetricSpec): { reason: string; wrapped: string } {
  switch (metric.type) {
    case "Resource":
      return { reason: "FailedGetResourceMetric", wrapped: `failed to get ${metric.resource!.name} resource metric value` };
    case "ContainerResource":
      return { reason: "FailedGetContainerResourceMetric", wrapped: `failed to get ${metric.containerResource!.name} container metric value` };
    case "Pods":
      return { reason: "FailedGetPodsMetric", wrapped: "failed to get pods metric value" };
    case "Object":
      return { reason: "FailedGetObjectMetric", wrapped: "failed to get object metric value" };
    case "External":
      return { reason: "FailedGetExternalMetric", wrapped: `failed to get ${metric.external!.metric.name} external metric value` };
  }
}

interface Result {
  replicas: number;
  name: string;
  status: MetricStatus;
}

async function evaluateOne(metric: MetricSpec, source: MetricsSource, target: Target, tolerances: Tolerances, resourceOf: (apiVersion: string, kind: string) => string | undefined): Promise<Result> {
  const { namespace, selector, pods, specReplicas, statusReplicas, nowMs } = target;
  switch (metric.type) {
    case "Resource":
      return await ofResource(metric.resource!, undefined);
    case "ContainerResource":
      return await ofResource(metric.containerResource!, metric.containerResource!.container);
    case "Pods": {
      const { metric: named, target: wanted } = metric.pods!;
      const values = await explained("unable to get metric", named.name, source.pods(namespace, selector, named));
      const proposal = averageReplicas(specReplicas, quantityMilliValue(wanted.averageValue!), "", pods, values, tolerances, nowMs);
      return { replicas: proposal.replicas, name: `pods metric ${named.name}`, status: { type: "Pods", pods: { metric: named, current: { averageValue: milli(proposal.usage) } } } };
    }
    case "Object": {
      const { metric: named, target: wanted, describedObject } = metric.object!;
      const resource = resourceOf(describedObject.apiVersion ?? "v1", describedObject.kind);
      if (resource === undefined) throw new MetricError(`unable to get metric ${named.name}: no matches for kind "${describedObject.kind}" in version "${describedObject.apiVersion ?? "v1"}"`);
      const value = await explained("unable to get metric", named.name, source.object(namespace, resource, describedObject.kind, describedObject.name, named));
      const { proposal, current } = ofValue(wanted, value);
      return { replicas: proposal.replicas, name: wanted.value !== undefined ? `${describedObject.kind} metric ${named.name}` : `external metric ${named.name}(${selectorWords(named.selector)})`, status: { type: "Object", object: { metric: named, describedObject, current } } };
    }
    case "External": {
      const { metric: named, target: wanted } = metric.external!;
      const value = await explained("unable to get external metric", `${namespace}/${named.name}/${selectorWords(named.selector)}`, source.external(namespace, named));
      const { proposal, current } = ofValue(wanted, value);
      return { replicas: proposal.replicas, name: `external metric ${named.name}(${selectorWords(named.selector)})`, status: { type: "External", external: { metric: named, current } } };
    }
  }

  async function ofResource({ name, target: wanted }: { name: string; target: MetricTarget }, container: string | undefined): Promise<Result> {
    const field = container === undefined ? "resource" : "containerResource";
    const type = container === undefined ? "Resource" : "ContainerResource";
    const words = container === undefined ? `${name} resource` : `${name} container resource`;
    const utilization = wanted.averageValue === undefined;
    try {
      const values = await explained("unable to get metrics for resource", name, source.resource(namespace, selector, name, container));
      const proposal = utilization
        ? utilizationReplicas(specReplicas, wanted.averageUtilization!, name, container, pods, values, tolerances, nowMs)
        : averageReplicas(specReplicas, quantityMilliValue(wanted.averageValue!), name, pods, values, tolerances, nowMs);
      const current = { ...(proposal.utilization !== undefined && { averageUtilization: proposal.utilization }), averageValue: milli(proposal.usage) };
      return { replicas: proposal.replicas, name: utilization ? `${words} utilization (percentage of request)` : words, status: { type, [field]: { name, ...(container !== undefined && { container }), current } } };
    } catch (error) {
      throw new MetricError(`failed to get ${name} ${utilization ? "utilization" : "usage"}: ${(error as Error).message}`);
    }
  }

  function ofValue(wanted: MetricTarget, value: number): { proposal: Proposal; current: object } {
    if (wanted.value !== undefined) {
      const proposal = valueReplicas(specReplicas, value, quantityMilliValue(wanted.value), pods, tolerances);
      return { proposal, current: { value: milli(proposal.usage) } };
    }
    const proposal = sharedReplicas(statusReplicas, value, quantityMilliValue(wanted.averageValue!), tolerances);
    return { proposal, current: { averageValue: milli(proposal.usage) } };
  }
}

async function explained<T>(what: string, name: string, asking: Promise<T>): Promise<T> {
  try {
    return await asking;
  } catch (error) {
    throw new MetricError(`${what} ${name}: ${(error as Error).message}`);
  }
}

/** As Go prints a *LabelSelector. */
function selectorWords(selector: { matchLabels?: Record<string, string>; matchExpressions?: { key: string; operator: string; values?: string[] }[] } | undefined): string {
  if (!selector) return "nil";
  const labels = Object.entries(selector.matchLabels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => `${key}: ${value},`).join("");
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values }) => `LabelSelectorRequirement{Key:${key},Operator:${operator},Values:[${(values ?? []).join(" ")}],},`).join("");
  return `&LabelSelector{MatchLabels:map[string]string{${labels}},MatchExpressions:[]LabelSelectorRequirement{${expressions}},}`;
}
