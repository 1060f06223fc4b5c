import { type FieldError, forbidden, invalid, notSupported, required } from "../field.ts";
import type { KubeObject } from "../meta.ts";
import { notNegative } from "../validation/checks.ts";
import { dns1123Label, percent } from "../validation/names.ts";
import { formatSelector, isEmptySelector, type LabelSelector, selectorMatches, validateLabelSelector } from "../validation/selector.ts";
import { podWarnings } from "./core/pod/warnings.ts";
import { validatePodTemplate } from "./core/pod/spec.ts";

/** What Deployments, ReplicaSets, StatefulSets, DaemonSets and their like have in common. */

/** `spec.selector` by itself. `emptyText` is what upstream says of a selector without terms. */
export function validateSelector(path: string, spec: any, emptyText: string): FieldError[] {
  if (!spec.selector) return [required(path)];
  const errors = validateLabelSelector(spec.selector, path);
  if (isEmptySelector(spec.selector)) errors.push(invalid(path, spec.selector, emptyText));
  return errors;
}

/** Whether a selector fits the labels of the template that it should find. None at all fits nothing, an empty one everything. */
export function validateMatch(path: string, selector: LabelSelector | undefined, template: any): FieldError[] {
  const labels = template?.metadata?.labels;
  return selectorMatches(selector, labels) ? [] : [invalid(`${path}.metadata.labels`, labels ?? null, "`selector` does not match template `labels`")];
}

/**
 * Selector and template of something that keeps its pods running for ever. `owner` is named in one of the texts.
 * With a selector that cannot be read, upstream looks no further.
 */
export function validateSelectorAndTemplate(spec: any, emptyText: string, owner: string): FieldError[] {
  const errors = validateSelector("spec.selector", spec, emptyText);
  if (validateLabelSelector(spec.selector, "").length > 0) return [...errors, invalid("spec.selector", spec.selector, "invalid label selector")];
  return [...errors, ...validateRunningTemplate("spec.template", spec.template, spec.selector, owner)];
}

export function validateRunningTemplate(path: string, template: any, selector: LabelSelector | undefined, owner: string): FieldError[] {
  return template ? [...validateMatch(path, selector, template), ...validateAlwaysTemplate(path, template, owner)] : [required(path)];
}

/** A template whose pods run for ever, without its selector. */
export function validateAlwaysTemplate(path: string, template: any, owner: string): FieldError[] {
  const errors = validatePodTemplate(path, template);
  const policy = template.spec?.restartPolicy;
  if (policy !== "Always") errors.push(notSupported(`${path}.spec.restartPolicy`, policy, ["Always"]));
  if (template.spec?.activeDeadlineSeconds !== undefined) errors.push(forbidden(`${path}.spec.activeDeadlineSeconds`, `activeDeadlineSeconds in ${owner} is not Supported`));
  return errors;
}

type IntOrPercent = number | string | undefined;

/** A whole number of pods that is not negative, or a share of them. */
export function validateIntOrPercent(path: string, value: IntOrPercent): FieldError[] {
  if (typeof value === "string") return percent(value).map((text) => invalid(path, value, text));
  return notNegative(path, value);
}
export const validateAtMostHundred = (path: string, value: IntOrPercent): FieldError[] => (typeof value === "string" && /^\d+%$/.test(value) && Number.parseInt(value, 10) > 100 ? [invalid(path, value, "must not be greater than 100%")] : []);
/** What is neither a share nor a number counts as nothing. */
export const isZero = (value: IntOrPercent): boolean => (typeof value === "string" ? !/^[+-]?\d+%?$/.test(value) || Number.parseInt(value, 10) === 0 : (value ?? 0) === 0);

/** Counts of a status must not contradict each other. Each of `parts` may be at most `status.replicas`; `others` count something else. */
export function validateReplicaCounts(status: any, parts: readonly string[], others: readonly string[], readyText = "readyReplicas"): FieldError[] {
  const errors = ["replicas", ...parts, ...others].flatMap((field) => notNegative(`status.${field}`, status?.[field]));
  for (const field of parts) if ((status?.[field] ?? 0) > (status?.replicas ?? 0)) errors.push(invalid(`status.${field}`, status[field] ?? 0, "cannot be greater than status.replicas"));
  if (parts.includes("readyReplicas") && (status?.availableReplicas ?? 0) > (status?.readyReplicas ?? 0)) errors.push(invalid("status.availableReplicas", status.availableReplicas ?? 0, `cannot be greater than ${readyText}`));
  return errors;
}

export function validateCollisionCount(status: any, old: any): FieldError[] {
  const isDecremented = old?.collisionCount !== undefined && (status?.collisionCount ?? -Infinity) < old.collisionCount;
  return isDecremented ? [invalid("status.collisionCount", status?.collisionCount ?? 0, "cannot be decremented")] : [];
}

/** An update of nothing but metadata has none. */
export const templateWarnings = (object: KubeObject, old?: KubeObject): string[] => (old && old.metadata.generation === object.metadata.generation ? [] : podWarnings("spec.template", object.spec.template ?? {}));

/** Of kinds whose name becomes that of their pods. */
export const nameWarnings = (object: KubeObject, old?: KubeObject): string[] => {
  const wrong = old ? [] : dns1123Label(object.metadata.name ?? "");
  return wrong.length === 0 ? [] : [`metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [${wrong.join(" ")}]`];
};
export const ownerWarnings = (object: KubeObject, old?: KubeObject): string[] => [...nameWarnings(object, old), ...templateWarnings(object, old)];

/** Where /scale reads and writes, for kinds with a label selector. */
export const replicasScale = {
  specReplicasPath: ".spec.replicas",
  statusReplicasPath: ".status.replicas",
  labelSelector: (object: KubeObject): string => formatSelector(object.spec.selector),
};

/** Clears what only the server says. */
export const clearStatus = (object: KubeObject): void => {
  object.status = {};
};
