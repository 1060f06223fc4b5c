import { type FieldError, invalid, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { nameIsPathSegment } from "../../validation/names.ts";
import { ageOf, name, text } from "../columns.ts";

function validate({ metadata, spec }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const expected = `${spec?.version ?? ""}.${spec?.group ?? ""}`;
  if (metadata.name !== expected) errors.push(invalid("metadata.name", metadata.name, `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(expected)}`));
  if (!(spec?.groupPriorityMinimum > 0) || spec.groupPriorityMinimum > 20_000) errors.push(invalid("spec.groupPriorityMinimum", spec?.groupPriorityMinimum ?? 0, "must be positive and less than 20000"));
  if (!(spec?.versionPriority > 0) || spec.versionPriority > 1000) errors.push(invalid("spec.versionPriority", spec?.versionPriority ?? 0, "must be positive and less than 1000"));
  if (spec?.service) for (const field of ["namespace", "name"]) if (!spec.service[field]) errors.push(required(`spec.service.${field}`));
  return errors;
}

function available({ status }: KubeObject): string {
  const condition = (status?.conditions ?? []).find((entry: { type: string }) => entry.type === "Available");
  if (!condition) return "Unknown";
  return condition.status === "True" ? "True" : `${condition.status} (${condition.reason ?? ""})`;
}

/** Source: k8s.io/kube-aggregator/pkg/apis/apiregistration. */
export const apiService: Strategy = {
  hasStatus: true,
  // "v1." is the core group's.
  validateName: nameIsPathSegment,
  defaults(object) {
    if (object.spec?.service) object.spec.service.port ??= 443;
  },
  prepareForCreate(object) {
    object.status = {};
  },
  validate,
  columns: [name, text("Service", ({ spec }) => (spec?.service ? `${spec.service.namespace}/${spec.service.name}` : ""), "Local"), text("Available", available), ageOf],
};
