import { type FieldError, forbidden, invalid, notSupported, required } from "../../field.ts";
import type { Column, Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { parseQuantity } from "../../quantity.ts";
import { checked, each, notNegative, positive } from "../../validation/checks.ts";
import { dns1123Label, nameIsDnsSubdomain, nameIsPathSegment } from "../../validation/names.ts";
import { validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, countText, name, text } from "../columns.ts";
import { validateContainerResourceName } from "../core/pod/resources.ts";
import { hpaToStored, keepStatusAnnotations } from "./conversion.ts";

type Draft = any;

/** Where each sort of metric keeps its fields. */
const sourceField: Record<string, string> = { Resource: "resource", Pods: "pods", Object: "object", External: "external", ContainerResource: "containerResource" };

/** `coreToo`: what has no group may be meant. Undefined: not to be checked. */
function validateReference(path: string, reference: Draft, coreToo?: boolean): FieldError[] {
  const errors = ["kind", "name"].flatMap((field) => (reference?.[field] ? nameIsPathSegment(reference[field], false).map((text) => invalid(`${path}.${field}`, reference[field], text)) : [required(`${path}.${field}`)]));
  const version: string = reference?.apiVersion ?? "";
  if (coreToo === undefined) return errors;
  if (version.split("/").length > 2) errors.push(invalid(`${path}.apiVersion`, version, `unexpected GroupVersion string: ${version}`));
  else if (!coreToo && (!version.includes("/") || version.startsWith("/"))) errors.push(invalid(`${path}.apiVersion`, version, "apiVersion must specify API group"));
  return errors;
}

function validateTarget(path: string, target: Draft): FieldError[] {
  const errors: FieldError[] = [];
  if (!target?.type) errors.push(required(`${path}.type`, "must specify a metric target type"));
  if (!["Utilization", "Value", "AverageValue"].includes(target?.type)) errors.push(invalid(`${path}.type`, target?.type ?? "", "must be either Utilization, Value, or AverageValue"));
  for (const field of ["value", "averageValue"]) if (target?.[field] !== undefined && parseQuantity(String(target[field])).amount <= 0n) errors.push(invalid(`${path}.${field}`, String(target[field]), "must be positive"));
  if (target?.averageUtilization !== undefined && target.averageUtilization < 1) errors.push(invalid(`${path}.averageUtilization`, target.averageUtilization, "must be greater than 0"));
  return errors;
}

function validateMetric(path: string, metric: Draft): FieldError[] {
  const expected = sourceField[metric.type];
  const errors: FieldError[] = [];
  // Upstream says it twice.
  const unknownType = expected === undefined ? [notSupported(`${path}.type`, metric.type ?? "", Object.keys(sourceField).sort())] : [];
  if (!metric.type) errors.push(required(`${path}.type`, "must specify a metric source type"));
  errors.push(...unknownType);
  const given = ["object", "external", "pods", "resource", "containerResource"].filter((field) => metric[field]);
  if (given.length > 0) errors.push(...validateSource(path, given[0]!, metric[given[0]!]));
  errors.push(...unknownType);
  if (expected !== undefined && !metric[expected]) errors.push(required(`${path}.${expected}`, "must populate information for the given metric source"));
  return given.length === 1 ? errors : [...errors, ...given.filter((field) => field !== expected).map((field) => forbidden(`${path}.${field}`, "must populate the given metric source only"))];
}

function validateSource(path: string, field: string, source: Draft): FieldError[] {
  const at = `${path}.${field}`;
  const target = source.target ?? {};
  const errors: FieldError[] = [];
  if (field === "resource" || field === "containerResource") {
    if (!source.name) errors.push(required(`${at}.name`, "must specify a resource name"));
    else if (field === "containerResource") errors.push(...validateContainerResourceName(`${at}.name`, source.name));
    if (field === "containerResource") errors.push(...(source.container ? checked(`${at}.container`, source.container, dns1123Label) : [required(`${at}.container`, "must specify a container")]));
    errors.push(...validateTarget(`${at}.target`, target));
    if (target.averageUtilization === undefined && target.averageValue === undefined) errors.push(required(`${at}.target.averageUtilization`, "must set either a target raw value or a target utilization"));
    if (target.averageUtilization !== undefined && target.averageValue !== undefined) errors.push(forbidden(`${at}.target.averageValue`, "may not set both a target raw value and a target utilization"));
    return errors;
  }
  if (field === "object") errors.push(...validateReference(`${at}.describedObject`, source.describedObject, true));
  errors.push(...(source.metric?.name ? nameIsPathSegment(source.metric.name, false).map((text) => invalid(`${at}.metric.name`, source.metric.name, text)) : [required(`${at}.metric.name`, "must specify a metric name")]));
  errors.push(...validateLabelSelector(source.metric?.selector, `${at}.metric.selector`), ...validateTarget(`${at}.target`, target));
  const missing = field === "pods" ? "must specify a positive target averageValue" : field === "object" ? "must set either a target value or averageValue" : "must set either a target value for metric or a per-pod target";
  if (target.averageValue === undefined && (field === "pods" || target.value === undefined)) errors.push(required(`${at}.target.averageValue`, missing));
  if (field === "external" && target.value !== undefined && target.averageValue !== undefined) errors.push(forbidden(`${at}.target.value`, "may not set both a target value for metric and a per-pod target"));
  return errors;
}

function validateScalingRules(path: string, rules: Draft): FieldError[] {
  if (!rules) return [];
  const errors: FieldError[] = [];
  const seconds = rules.stabilizationWindowSeconds;
  if (seconds !== undefined && (seconds < 0 || seconds > 3600)) errors.push(invalid(`${path}.stabilizationWindowSeconds`, seconds, seconds < 0 ? "must be greater than or equal to zero" : "must be less than or equal to 3600"));
  if (rules.selectPolicy !== undefined && !["Max", "Min", "Disabled"].includes(rules.selectPolicy)) errors.push(notSupported(`${path}.selectPolicy`, rules.selectPolicy, ["Disabled", "Max", "Min"]));
  if ((rules.policies ?? []).length === 0) errors.push(required(`${path}.policies`, "must specify at least one Policy"));
  return [
    ...errors,
    ...each(`${path}.policies`, rules.policies, (policy, at) => [
      ...(["Pods", "Percent"].includes(policy.type) ? [] : [notSupported(`${at}.type`, policy.type ?? "", ["Percent", "Pods"])]),
      ...positive(`${at}.value`, policy.value ?? 0),
      ...positive(`${at}.periodSeconds`, policy.periodSeconds ?? 0),
      ...(policy.periodSeconds > 1800 ? [invalid(`${at}.periodSeconds`, policy.periodSeconds, "must be less than or equal to 1800")] : []),
    ]),
  ];
}

function validateV2({ spec }: KubeObject, old?: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const { minReplicas, maxReplicas = 0 } = spec;
  if (minReplicas !== undefined && minReplicas < 1) errors.push(invalid("spec.minReplicas", minReplicas, "must be greater than or equal to 1"));
  if (maxReplicas < 1) errors.push(invalid("spec.maxReplicas", maxReplicas, "must be greater than 0"));
  if (minReplicas !== undefined && maxReplicas < minReplicas) errors.push(invalid("spec.maxReplicas", maxReplicas, "must be greater than or equal to `minReplicas`"));
  const target = spec.scaleTargetRef;
  const isOld = old !== undefined && old.spec.scaleTargetRef?.apiVersion === target?.apiVersion && old.spec.scaleTargetRef?.kind === target?.kind;
  errors.push(...validateReference("spec.scaleTargetRef", target, isOld ? undefined : target?.kind === "ReplicationController"));
  errors.push(...each("spec.metrics", spec.metrics, (metric, at) => validateMetric(at, metric)));
  if (minReplicas === 0 && !(spec.metrics ?? []).some(({ type }: Draft) => type === "Object" || type === "External")) errors.push(forbidden("spec.metrics", "must specify at least one Object or External metric to support scaling to zero replicas"));
  return [...errors, ...validateScalingRules("spec.behavior.scaleUp", spec.behavior?.scaleUp), ...validateScalingRules("spec.behavior.scaleDown", spec.behavior?.scaleDown)];
}

const unknown = "<unknown>";

/** "cpu: 10%/50%", "500m/1k (avg)": what is measured, and what is aimed at. */
function targetText(metric: Draft, current: Draft): string {
  const field = sourceField[metric.type];
  const source = field === undefined ? undefined : metric[field];
  if (!source) return unknown;
  const now = current?.[field!]?.current ?? {};
  const { target } = source;
  const named = field === "resource" || field === "containerResource" ? `${source.name}: ` : "";
  if (target?.averageUtilization !== undefined) return `${named}${now.averageUtilization === undefined ? unknown : `${now.averageUtilization}%`}/${target.averageUtilization}%`;
  if (target?.averageValue !== undefined) return `${named}${now.averageValue ?? unknown}/${target.averageValue}${field === "object" || field === "external" ? " (avg)" : ""}`;
  return `${now.value ?? unknown}/${target?.value ?? "<auto>"}`;
}

function targets({ spec, status }: KubeObject): string {
  const metrics: Draft[] = spec?.metrics ?? [];
  const shown = metrics.slice(0, 2).map((metric, index) => targetText(metric, status?.currentMetrics?.[index]));
  return metrics.length > 2 ? `${shown.join(", ")} + ${metrics.length - 2} more...` : shown.join(", ");
}

const columns: Column[] = [
  name,
  text("Reference", ({ spec }) => `${spec?.scaleTargetRef?.kind ?? ""}/${spec?.scaleTargetRef?.name ?? ""}`),
  text("Targets", targets, "<none>"),
  { name: "MinPods", type: "string", cell: ({ spec }) => (spec?.minReplicas === undefined ? "<unset>" : String(spec.minReplicas)) },
  countText("MaxPods", ({ spec }) => spec?.maxReplicas),
  countText("Replicas", ({ status }) => status?.currentReplicas),
  ageOf,
];

const anyScaleUp = () => ({ stabilizationWindowSeconds: 0, selectPolicy: "Max", policies: [{ type: "Pods", value: 4, periodSeconds: 15 }, { type: "Percent", value: 100, periodSeconds: 15 }] });
const anyScaleDown = () => ({ selectPolicy: "Max", policies: [{ type: "Percent", value: 100, periodSeconds: 15 }] });

/** Absent fields of `rules` filled in; nothing is taken from `rules` away. */
const withDefaults = (rules: Draft, defaults: Draft): Draft => ({ ...defaults, ...rules, policies: (rules?.policies ?? []).length > 0 ? rules.policies : defaults.policies });

const validateName = nameIsDnsSubdomain;

/** Source: k8s.io/kubernetes/pkg/apis/autoscaling/{v2/defaults.go,validation/validation.go}. */
export const horizontalPodAutoscaler: Strategy = {
  hasStatus: true,
  validateName,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.minReplicas ??= 1;
    if ((spec.metrics ?? []).length === 0) spec.metrics = [{ type: "Resource", resource: { name: "cpu", target: { type: "Utilization", averageUtilization: 80 } } }];
    if (spec.behavior) {
      spec.behavior.scaleUp = withDefaults(spec.behavior.scaleUp, anyScaleUp());
      spec.behavior.scaleDown = withDefaults(spec.behavior.scaleDown, anyScaleDown());
    }
  },
  prepareForCreate(object) {
    // Go writes these two even when they are nothing.
    object.status = { desiredReplicas: 0, currentMetrics: null };
  },
  validateStatusUpdate: ({ status }) => ["currentReplicas", "desiredReplicas"].flatMap((field) => notNegative(`status.${field}`, status?.[field])),
  validate: (object, old) => validateV2(object, old),
  columns,
};

/** The older view: one CPU target; everything else travels in annotations. */
export const horizontalPodAutoscalerV1: Strategy = {
  hasStatus: true,
  validateName,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.minReplicas ??= 1;
    // Without any metric it means this much CPU.
    const metrics = hpaToStored(object).spec.metrics as { type: string; resource?: { name?: string; target?: { averageUtilization?: number } } }[];
    if (spec.targetCPUUtilizationPercentage === undefined && metrics.length === 1 && metrics[0]!.resource?.name === "cpu") spec.targetCPUUtilizationPercentage = metrics[0]!.resource.target?.averageUtilization;
    if (spec.targetCPUUtilizationPercentage === undefined) delete spec.targetCPUUtilizationPercentage;
  },
  prepareForCreate(object) {
    object.status = { currentReplicas: 0, desiredReplicas: 0 };
    keepStatusAnnotations(object);
  },
  prepareForUpdate: keepStatusAnnotations,
  validateStatusUpdate: ({ status }) => ["currentReplicas", "desiredReplicas"].flatMap((field) => notNegative(`status.${field}`, status?.[field])),
  validate: (object, old) => validateV2(hpaToStored(object), old && hpaToStored(old)),
  columns: columns.map((column) => ({ ...column, cell: (object, nowMs) => column.cell(object.apiVersion === "autoscaling/v1" ? hpaToStored(object) : object, nowMs) })),
};
