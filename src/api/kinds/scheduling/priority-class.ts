import { type FieldError, forbidden, invalid } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { oneOf } from "../../validation/checks.ts";
import { ageOf, flag, integer, name, text } from "../columns.ts";

/** Values above this are for the system's own classes. */
const userValueMax = 1_000_000_000;
const systemClasses = ["system-node-critical", "system-cluster-critical"];

function validate(object: KubeObject): FieldError[] {
  // What exists cannot be changed in these.
  if (object.metadata.resourceVersion) return [];
  const errors: FieldError[] = [];
  if (object.metadata.name?.startsWith("system-") && !systemClasses.includes(object.metadata.name)) {
    errors.push(forbidden("metadata.name", `priority class names with 'system-' prefix are reserved for system use only. error: ${object.metadata.name} is not a known system priority class`));
  } else if (!systemClasses.includes(object.metadata.name) && (object.value ?? 0) > userValueMax) errors.push(forbidden("value", `maximum allowed value of a user defined priority is ${userValueMax}`));
  return [...errors, ...oneOf("preemptionPolicy", object.preemptionPolicy, ["PreemptLowerPriority", "Never"])];
}

/** Source: k8s.io/kubernetes/pkg/apis/scheduling/{v1/defaults.go,validation/validation.go}. */
export const priorityClass: Strategy = {
  defaults(object) {
    object.value ??= 0;
    object.preemptionPolicy ??= "PreemptLowerPriority";
  },
  validate,
  validateUpdate: (object, old) => [
    ...(object.value === old.value ? [] : [forbidden("value", "may not be changed in an update.")]),
    ...(object.preemptionPolicy === old.preemptionPolicy ? [] : [invalid("preemptionPolicy", object.preemptionPolicy, "field is immutable")]),
  ],
  columns: [name, integer("Value", ({ value }) => value), flag("Global-Default", ({ globalDefault }) => globalDefault), ageOf, text("PreemptionPolicy", ({ preemptionPolicy }) => preemptionPolicy)],
};
