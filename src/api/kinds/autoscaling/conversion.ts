import { isObject } from "../../../base/is-object.ts";
import type { KubeObject } from "../../meta.ts";

/**
 * `autoscaling/v1` knows one CPU target; metrics, behavior, conditions and current metrics of `v2` are carried
 * in annotations of the v1 form, so that a client of either version loses nothing.
 * Source: k8s.io/kubernetes/pkg/apis/autoscaling/v1/conversion.go.
 */
const annotations = {
  metrics: "autoscaling.alpha.kubernetes.io/metrics",
  behavior: "autoscaling.alpha.kubernetes.io/behavior",
  conditions: "autoscaling.alpha.kubernetes.io/conditions",
  currentMetrics: "autoscaling.alpha.kubernetes.io/current-metrics",
} as const;

const isCpuUtilization = (metric: any): boolean => metric.type === "Resource" && metric.resource?.name === "cpu" && metric.resource.target?.averageUtilization !== undefined;

/** Inside the annotations, v1's own older spelling of a metric is used. */
function metricToV1(metric: any): any {
  const source = { ...metric };
  for (const field of ["resource", "containerResource"]) {
    if (!metric[field]) continue;
    const { target, current, ...rest } = metric[field];
    source[field] = target
      ? { ...rest, ...(target.averageUtilization !== undefined && { targetAverageUtilization: target.averageUtilization }), ...(target.averageValue !== undefined && { targetAverageValue: target.averageValue }) }
      : { ...rest, ...(current?.averageUtilization !== undefined && { currentAverageUtilization: current.averageUtilization }), currentAverageValue: current?.averageValue ?? "0" };
  }
  if (metric.pods) {
    const { metric: of, target, current } = metric.pods;
    source.pods = { metricName: of.name, ...(of.selector && { selector: of.selector }), ...(target ? { targetAverageValue: target.averageValue } : { currentAverageValue: current?.averageValue }) };
  }
  if (metric.object) {
    const { metric: of, describedObject, target, current } = metric.object;
    source.object = { target: describedObject, metricName: of.name, ...(of.selector && { selector: of.selector }), ...(target ? { targetValue: target.value, ...(target.averageValue !== undefined && { averageValue: target.averageValue }) } : { currentValue: current?.value, averageValue: current?.averageValue }) };
  }
  if (metric.external) {
    const { metric: of, target, current } = metric.external;
    source.external = { metricName: of.name, ...(of.selector && { metricSelector: of.selector }), ...(target ? { ...(target.value !== undefined && { targetValue: target.value }), ...(target.averageValue !== undefined && { targetAverageValue: target.averageValue }) } : { currentValue: current?.value, currentAverageValue: current?.averageValue }) };
  }
  return source;
}

const valueTarget = (value: unknown, average: unknown): any => (average !== undefined ? { type: "AverageValue", averageValue: average } : { type: "Value", value });

function metricFromV1(metric: any): any {
  const source = { ...metric };
  for (const field of ["resource", "containerResource"]) {
    if (!metric[field]) continue;
    const { targetAverageUtilization, targetAverageValue, ...rest } = metric[field];
    source[field] = { ...rest, target: targetAverageUtilization !== undefined ? { type: "Utilization", averageUtilization: targetAverageUtilization } : { type: "AverageValue", averageValue: targetAverageValue } };
  }
  if (metric.pods) source.pods = { metric: { name: metric.pods.metricName, ...(metric.pods.selector && { selector: metric.pods.selector }) }, target: { type: "AverageValue", averageValue: metric.pods.targetAverageValue } };
  if (metric.object) {
    const { metricName, selector, target, targetValue, averageValue } = metric.object;
    source.object = { metric: { name: metricName, ...(selector && { selector }) }, describedObject: target, target: valueTarget(targetValue, averageValue) };
  }
  if (metric.external) {
    const { metricName, metricSelector, targetValue, targetAverageValue } = metric.external;
    source.external = { metric: { name: metricName, ...(metricSelector && { selector: metricSelector }) }, target: valueTarget(targetValue, targetAverageValue) };
  }
  return source;
}

/** A metric as it stands, which v2 keeps in its status. */
function currentFromV1(metric: any): any {
  const source = { ...metric };
  for (const field of ["resource", "containerResource"]) {
    if (!metric[field]) continue;
    const { currentAverageUtilization, currentAverageValue, ...rest } = metric[field];
    source[field] = { ...rest, current: { ...(currentAverageUtilization !== undefined && { averageUtilization: currentAverageUtilization }), averageValue: currentAverageValue } };
  }
  const { pods, object, external } = metric;
  if (pods) source.pods = { metric: { name: pods.metricName, ...(pods.selector && { selector: pods.selector }) }, current: { averageValue: pods.currentAverageValue } };
  if (object) source.object = { metric: { name: object.metricName, ...(object.selector && { selector: object.selector }) }, describedObject: object.target, current: { value: object.currentValue, ...(object.averageValue !== undefined && { averageValue: object.averageValue }) } };
  if (external) source.external = { metric: { name: external.metricName, ...(external.metricSelector && { selector: external.metricSelector }) }, current: { value: external.currentValue, ...(external.currentAverageValue !== undefined && { averageValue: external.currentAverageValue }) } };
  return source;
}

/** Go writes the time even when there is none. */
const conditionFromV1 = ({ type, status, lastTransitionTime, ...rest }: any): any => ({ type, status, lastTransitionTime: lastTransitionTime ?? null, ...rest });

/** A broken annotation is as good as none. */
function parsed(text: string | undefined): any {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
const parsedObject = (text: string | undefined): any => {
  const value = parsed(text);
  return isObject(value) ? value : undefined;
};
const parsedObjects = (text: string | undefined): any[] => {
  const value = parsed(text);
  return Array.isArray(value) && value.every(isObject) ? value : [];
};

/** Of a v1 object: what its annotations say of the status is that of `old`, or nothing. */
export function keepStatusAnnotations(object: KubeObject, old?: KubeObject): void {
  const { [annotations.conditions]: _, [annotations.currentMetrics]: __, ...all } = object.metadata.annotations ?? {};
  for (const name of [annotations.conditions, annotations.currentMetrics]) {
    const kept = old?.metadata.annotations?.[name];
    if (kept !== undefined) all[name] = kept;
  }
  if (Object.keys(all).length > 0) object.metadata.annotations = all;
  else delete object.metadata.annotations;
}

/** v1 as clients write it → v2 as it is stored. */
export function hpaToStored(object: KubeObject): KubeObject {
  const { targetCPUUtilizationPercentage, ...spec } = object.spec ?? {};
  const { currentCPUUtilizationPercentage, ...status } = object.status ?? {};
  const { [annotations.metrics]: metrics, [annotations.behavior]: behavior, [annotations.conditions]: conditions, [annotations.currentMetrics]: current, ...others } = object.metadata.annotations ?? {};
  const list = [
    ...(targetCPUUtilizationPercentage === undefined ? [] : [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: targetCPUUtilizationPercentage } } }]),
    ...parsedObjects(metrics).map(metricFromV1),
  ];
  // Without any metric, v1 too means 80 % CPU, which only here can be told.
  if (list.length === 0) list.push({ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } });
  const parsedBehavior = parsedObject(behavior);
  // What the annotation says counts more than the one number that v1 knows.
  const told = parsedObjects(current);
  const currentMetrics = told.length > 0 ? told.map(currentFromV1) : currentCPUUtilizationPercentage === undefined ? undefined : [{ type: "Resource", resource: { name: "cpu", current: { averageUtilization: currentCPUUtilizationPercentage, averageValue: "0" } } }];
  const { annotations: _annotations, ...metadata } = object.metadata;
  return {
    ...object,
    apiVersion: "autoscaling/v2",
    metadata: { ...metadata, ...(Object.keys(others).length > 0 && { annotations: others }) },
    spec: { ...spec, metrics: list, ...(parsedBehavior && { behavior: parsedBehavior }) },
    ...((object.status || told.length > 0) && { status: { ...status, ...(currentMetrics && { currentMetrics }), ...(parsedObjects(conditions).length > 0 && { conditions: parsedObjects(conditions).map(conditionFromV1) }) } }),
  };
}

/** v2 as it is stored → v1 as clients of it read it. */
export function hpaFromStored(object: KubeObject): KubeObject {
  const { metrics = [], behavior, ...spec } = object.spec ?? {};
  const { currentMetrics: current, conditions, ...status } = object.status ?? {};
  const currentMetrics = current ?? []; // null is what Go writes for none
  const cpu = metrics.find(isCpuUtilization);
  const others = metrics.filter((metric: any) => metric !== cpu).map(metricToV1);
  const currentCpu = currentMetrics.find((metric: any) => metric.type === "Resource" && metric.resource?.name === "cpu" && metric.resource.current?.averageUtilization !== undefined);
  const carried: Record<string, string> = {
    ...(others.length > 0 && { [annotations.metrics]: JSON.stringify(others) }),
    ...(behavior && { [annotations.behavior]: JSON.stringify(behavior) }),
    ...((conditions ?? []).length > 0 && { [annotations.conditions]: JSON.stringify(conditions) }),
    ...(currentMetrics.length > 0 && { [annotations.currentMetrics]: JSON.stringify(currentMetrics.map(metricToV1)) }),
  };
  const all = { ...object.metadata.annotations, ...carried };
  return {
    ...object,
    apiVersion: "autoscaling/v1",
    metadata: { ...object.metadata, ...(Object.keys(all).length > 0 && { annotations: all }) },
    spec: { ...spec, ...(cpu && { targetCPUUtilizationPercentage: cpu.resource.target.averageUtilization }) },
    ...(object.status && { status: { currentReplicas: 0, desiredReplicas: 0, ...status, ...(currentCpu && { currentCPUUtilizationPercentage: currentCpu.resource.current.averageUtilization }) } }),
  };
}
