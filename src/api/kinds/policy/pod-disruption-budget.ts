import { type FieldError, invalid, notSupported } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { notNegative } from "../../validation/checks.ts";
import { validateConditions } from "../../validation/conditions.ts";
import { validateLabelSelector } from "../../validation/selector.ts";
import { nameIsPathSegment } from "../../validation/names.ts";
import { ageOf, integer, name, text } from "../columns.ts";
import { validateAtMostHundred, validateIntOrPercent } from "../workload.ts";

function validate({ spec }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  if (spec.minAvailable !== undefined && spec.maxUnavailable !== undefined) errors.push(invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"));
  for (const field of ["minAvailable", "maxUnavailable"]) if (spec[field] !== undefined) errors.push(...validateIntOrPercent(`spec.${field}`, spec[field]), ...validateAtMostHundred(`spec.${field}`, spec[field]));
  errors.push(...validateLabelSelector(spec.selector, "spec.selector"));
  const policies = ["AlwaysAllow", "IfHealthyBudget"];
  if (spec.unhealthyPodEvictionPolicy !== undefined && !policies.includes(spec.unhealthyPodEvictionPolicy)) errors.push(notSupported("spec.unhealthyPodEvictionPolicy", spec.unhealthyPodEvictionPolicy, policies));
  return errors;
}

/** Source: k8s.io/kubernetes/pkg/apis/policy/validation/validation.go. */
export const podDisruptionBudget: Strategy = {
  conditionalUpdate: true,
  validatesBeforeMetadata: true,
  validateName: nameIsPathSegment,
  hasStatus: true,
  defaults(object) {
    object.spec ??= {};
  },
  prepareForCreate(object) {
    // Go writes these even when they are zero.
    object.status = { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };
  },
  validate,
  validateStatusUpdate: ({ status }) => [
    ...validateConditions("status.conditions", status?.conditions),
    ...["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"].flatMap((field) => notNegative(`status.${field}`, status?.[field])),
  ],
  columns: [
    name,
    text("Min Available", ({ spec }) => (spec?.minAvailable === undefined ? "" : String(spec.minAvailable)), "N/A"),
    text("Max Unavailable", ({ spec }) => (spec?.maxUnavailable === undefined ? "" : String(spec.maxUnavailable)), "N/A"),
    integer("Allowed Disruptions", ({ status }) => status?.disruptionsAllowed),
    ageOf,
  ],
};
