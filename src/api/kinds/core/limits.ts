import { randomUUID } from "node:crypto";
import { duplicate, type FieldError, invalid, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { compareQuantity, parseQuantity, quantityMilliValue } from "../../quantity.ts";
import { checked, each, immutableText, semanticEqual } from "../../validation/checks.ts";
import { qualifiedName } from "../../validation/names.ts";
import { ageOf, createdAt, name, text } from "../columns.ts";
import { validateQuantityOf } from "./pod/resources.ts";
import { cannotOvercommit, limitNameErrors, quotaNameErrors, scopeErrors } from "./resourcequota-names.ts";

/** ResourceQuota and LimitRange: what a namespace may use. */

function validateQuota({ spec }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  for (const [resource, quantity] of Object.entries((spec?.hard ?? {}) as Record<string, string>)) errors.push(...quotaNameErrors(`spec.hard[${resource}]`, resource), ...validateQuantityOf(`spec.hard[${resource}]`, resource, quantity));
  return [...errors, ...scopeErrors(spec ?? {})];
}

function validateQuotaStatus({ status }: KubeObject): FieldError[] {
  return ["hard", "used"].flatMap((field) => Object.entries((status?.[field] ?? {}) as Record<string, string>).flatMap(([resource, quantity]) => [...quotaNameErrors(`status.${field}[${resource}]`, resource), ...validateQuantityOf(`status.${field}[${resource}]`, resource, quantity)]));
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
  validateStatusUpdate: validateQuotaStatus,
  validateUpdate(object, old) {
    const sorted = ({ spec }: KubeObject): string[] => [...(spec?.scopes ?? [])].sort();
    return semanticEqual(sorted(object), sorted(old)) ? [] : [invalid("spec.scopes", object.spec?.scopes ?? [], immutableText)];
  },
  columns: [name, text("Request", quotaText(false)), text("Limit", quotaText(true)), ageOf],
};

function validateRange({ spec }: KubeObject): FieldError[] {
  const types = new Set<string>();
  return each("spec.limits", spec?.limits, (limit, at) => {
    const errors: FieldError[] = checked(`${at}.type`, limit.type ?? "", qualifiedName);
    if (errors.length === 0 && !limit.type.includes("/") && !limitTypes.includes(limit.type)) errors.push(invalid(`${at}.type`, limit.type, "must be a standard limit type or fully qualified"));
    if (types.has(limit.type)) errors.push(duplicate(`${at}.type`, limit.type));
    types.add(limit.type);
    for (const field of ["max", "min"]) errors.push(...namesIn(limit, at, field));
    if (limit.type === "Pod") {
      for (const field of ["default", "defaultRequest"]) if (Object.keys(limit[field] ?? {}).length > 0) errors.push({ type: "FieldValueForbidden", field: `${at}.${field}`, body: "Forbidden: may not be specified when `type` is 'Pod'" });
    } else for (const field of ["default", "defaultRequest"]) errors.push(...namesIn(limit, at, field));
    if (limit.type === "PersistentVolumeClaim" && limit.min?.storage === undefined && limit.max?.storage === undefined) errors.push(required(`${at}.limits`, "either minimum or maximum storage value is required, but neither was provided"));
    errors.push(...namesIn(limit, at, "maxLimitRequestRatio"));
    const value = (field: string, resource: string) => (limit[field]?.[resource] === undefined ? undefined : parseQuantity(String(limit[field][resource])));
    const resources = new Set(["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"].flatMap((field) => Object.keys(limit[field] ?? {})));
    for (const resource of resources) {
      for (const [low, high, at2, lowName, highName, shown] of orders) {
        const [small, large] = [value(low, resource), value(high, resource)];
        if (small && large && compareQuantity(small, large) > 0) errors.push(invalid(`${at}.${at2}[${resource}]`, limit[shown][resource], `${lowName} value ${limit[low][resource]} is greater than ${highName} value ${limit[high][resource]}`));
      }
      const ratio = value("maxLimitRequestRatio", resource);
      if (ratio && compareQuantity(ratio, parseQuantity("1")) < 0) errors.push(invalid(`${at}.maxLimitRequestRatio[${resource}]`, limit.maxLimitRequestRatio[resource], `ratio ${limit.maxLimitRequestRatio[resource]} is less than 1`));
      const [min, max] = [value("min", resource), value("max", resource)];
      if (ratio && min && max) {
        const most = quantityMilliValue(max) / quantityMilliValue(min);
        if (quantityMilliValue(ratio) / 1000 > most) errors.push(invalid(`${at}.maxLimitRequestRatio[${resource}]`, limit.maxLimitRequestRatio[resource], `ratio ${limit.maxLimitRequestRatio[resource]} is greater than max/min = ${most.toFixed(6)}`));
      }
      const [most, asked] = [value("default", resource), value("defaultRequest", resource)];
      if (cannotOvercommit(resource) && most && asked && compareQuantity(most, asked) !== 0) errors.push(invalid(`${at}.defaultRequest[${resource}]`, limit.defaultRequest[resource], `default value ${limit.default[resource]} must equal to defaultRequest value ${limit.defaultRequest[resource]} in ${resource}`));
    }
    return errors;
  });
}
const limitTypes = ["Pod", "Container", "PersistentVolumeClaim"];
const namesIn = (limit: any, at: string, field: string): FieldError[] => Object.keys(limit[field] ?? {}).flatMap((name) => limitNameErrors(`${at}.${field}[${name}]`, limit.type, name));

/** Which must not exceed which; the field that is blamed; what upstream calls both; whose value it prints. */
const orders = [
  ["min", "max", "min", "min", "max", "min"],
  ["min", "defaultRequest", "defaultRequest", "min", "default request", "defaultRequest"],
  ["defaultRequest", "max", "defaultRequest", "default request", "max", "defaultRequest"],
  ["defaultRequest", "default", "defaultRequest", "default request", "default limit", "defaultRequest"],
  ["min", "default", "default", "min", "default", "min"],
  ["default", "max", "default", "default", "max", "max"],
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
