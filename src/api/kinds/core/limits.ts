import { randomUUID } from "node:crypto";
import { type FieldError, invalid, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { compareQuantity, parseQuantity } from "../../quantity.ts";
import { checked, each, immutableText, semanticEqual } from "../../validation/checks.ts";
import { qualifiedName } from "../../validation/names.ts";
import { ageOf, createdAt, name, text } from "../columns.ts";
import { validateQuantityOf } from "./pod/resources.ts";

/** ResourceQuota and LimitRange: what a namespace may use. */

const scopes = ["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass"];
const conflicting = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] as const;

function validateQuota({ spec }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const [resource, quantity] of Object.entries((spec?.hard ?? {}) as Record<string, string>)) errors.push(...checked(`spec.hard[${resource}]`, resource, qualifiedName), ...validateQuantityOf(`spec.hard[${resource}]`, resource, quantity));
  const given: string[] = spec?.scopes ?? [];
  for (const scope of given) if (!scopes.includes(scope)) errors.push(invalid("spec.scopes", given, "unsupported scope"));
  for (const [one, other] of conflicting) if (given.includes(one) && given.includes(other)) errors.push(invalid("spec.scopes", given, "conflicting scopes"));
  return errors;
}

/** "cpu: 1/2, pods: 3/10"; limits have a column of their own. */
const quotaText =
  (limits: boolean) =>
  ({ status }: KubeObject): string =>
    Object.keys(status?.hard ?? {})
      .filter((resource) => resource.startsWith("limits.") === limits)
      .sort()
      .map((resource) => `${resource}: ${status.used?.[resource] ?? "0"}/${status.hard[resource]}`)
      .join(", ");

/** Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go. */
export const resourceQuota: Strategy = {
  hasStatus: true,
  defaults(object) {
    object.spec ??= {};
  },
  prepareForCreate(object) {
    object.status = {};
  },
  validate: validateQuota,
  validateUpdate(object, old) {
    const sorted = ({ spec }: KubeObject): string[] => [...(spec?.scopes ?? [])].sort();
    return semanticEqual(sorted(object), sorted(old)) ? [] : [invalid("spec.scopes", object.spec?.scopes ?? [], immutableText)];
  },
  columns: [name, text("Request", quotaText(false)), text("Limit", quotaText(true)), ageOf],
};

function validateRange({ spec }: KubeObject): FieldError[] {
  return each("spec.limits", spec?.limits, (limit, at) => {
    const errors: FieldError[] = checked(`${at}.type`, limit.type ?? "", qualifiedName);
    if (limit.type === "Pod") for (const field of ["default", "defaultRequest"]) if (Object.keys(limit[field] ?? {}).length > 0) errors.push({ type: "FieldValueForbidden", field: `${at}.${field}`, body: "Forbidden: may not be specified when `type` is 'Pod'" });
    if (limit.type === "PersistentVolumeClaim" && limit.min?.storage === undefined && limit.max?.storage === undefined) errors.push(required(`${at}.limits`, "either minimum or maximum storage value is required, but neither was provided"));
    const value = (field: string, resource: string) => (limit[field]?.[resource] === undefined ? undefined : parseQuantity(String(limit[field][resource])));
    const resources = new Set(["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"].flatMap((field) => Object.keys(limit[field] ?? {})));
    for (const resource of resources) {
      for (const [low, high, at2, lowName, highName] of orders) {
        const [small, large] = [value(low, resource), value(high, resource)];
        if (small && large && compareQuantity(small, large) > 0) errors.push(invalid(`${at}.${at2}[${resource}]`, limit[at2][resource], `${lowName} value ${limit[low][resource]} is greater than ${highName} value ${limit[high][resource]}`));
      }
      const ratio = value("maxLimitRequestRatio", resource);
      if (ratio && compareQuantity(ratio, parseQuantity("1")) < 0) errors.push(invalid(`${at}.maxLimitRequestRatio[${resource}]`, limit.maxLimitRequestRatio[resource], `ratio ${limit.maxLimitRequestRatio[resource]} is less than 1`));
    }
    return errors;
  });
}
/** Which must not exceed which; the field that is blamed; what upstream calls both. */
const orders = [
  ["min", "max", "min", "min", "max"],
  ["min", "defaultRequest", "defaultRequest", "min", "default request"],
  ["defaultRequest", "max", "defaultRequest", "default request", "max"],
  ["defaultRequest", "default", "defaultRequest", "default request", "default limit"],
  ["min", "default", "default", "min", "default"],
  ["default", "max", "default", "default", "max"],
] as const;

/** Source: k8s.io/kubernetes/pkg/apis/core/{v1/defaults.go,validation/validation.go}. */
export const limitRange: Strategy = {
  createOnUpdate: true,
  // The one kind that names itself.
  prepareForCreate(object) {
    object.metadata.name ||= randomUUID();
  },
  defaults(object) {
    object.spec ??= {};
    for (const limit of object.spec.limits ?? []) {
      if (limit.type !== "Container") continue;
      limit.default = { ...limit.max, ...limit.default };
      limit.defaultRequest = { ...limit.min, ...limit.default, ...limit.defaultRequest };
      for (const field of ["default", "defaultRequest"]) if (Object.keys(limit[field]).length === 0) delete limit[field];
    }
  },
  validate: validateRange,
  columns: [name, createdAt],
};
