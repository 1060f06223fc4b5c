import { type FieldError, invalid } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { notNegative } from "../../validation/checks.ts";
import { ageOf, name, text } from "../columns.ts";

function validate({ spec }: KubeObject): FieldError[] {
  const seconds = spec?.leaseDurationSeconds;
  return [...(seconds !== undefined && seconds <= 0 ? [invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")] : []), ...notNegative("spec.leaseTransitions", spec?.leaseTransitions)];
}

/** Fields of the coordinated election, a feature that is off by default upstream and is not here. */
function withoutElection({ spec }: KubeObject, old?: KubeObject): void {
  for (const field of ["strategy", "preferredHolder"]) if (old?.spec?.[field] === undefined) delete spec[field];
}

/** Source: k8s.io/kubernetes/pkg/{apis/coordination/validation/validation.go,registry/coordination/lease/strategy.go}. */
export const lease: Strategy = {
  conditionalUpdate: true,
  createOnUpdate: true,
  defaults(object) {
    object.spec ??= {};
  },
  prepareForCreate: (object) => withoutElection(object),
  prepareForUpdate: withoutElection,
  validate,
  columns: [name, text("Holder", ({ spec }) => spec?.holderIdentity), ageOf],
};
