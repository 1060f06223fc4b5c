import type { FieldError } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import { immutable, notNegative } from "../../validation/checks.ts";
import { ageOf, containers, integer, name, selector } from "../columns.ts";
import { defaultPodTemplate } from "../core/pod/defaults.ts";
import { ownerWarnings, replicasScale, validateReplicaCounts, validateSelectorAndTemplate } from "../workload.ts";

const validateSpec = (spec: any): FieldError[] => [
  ...notNegative("spec.replicas", spec.replicas),
  ...notNegative("spec.minReadySeconds", spec.minReadySeconds),
  ...validateSelectorAndTemplate(spec, "empty selector is invalid for deployment", "ReplicaSet"),
];

/** Desired, current and ready: as ReplicationControllers show them too. */
export const replicaColumns = [
  name,
  integer("Desired", ({ spec }) => spec?.replicas),
  integer("Current", ({ status }) => status?.replicas),
  integer("Ready", ({ status }) => status?.readyReplicas),
  ageOf,
  ...containers(),
];
export const replicaCounts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

/** Source: k8s.io/kubernetes/pkg/apis/apps/{v1/defaults.go,validation/validation.go}. */
export const replicaSet: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.replicas ??= 1;
    defaultPodTemplate((spec.template ??= {}));
  },
  prepareForCreate(object) {
    // Go writes this one even when it is zero.
    object.status = { replicas: 0 };
  },
  validate: (object) => validateSpec(object.spec),
  validateUpdate: (object, old) => immutable("spec.selector", object.spec.selector, old.spec.selector),
  validateStatusUpdate: (object) => validateReplicaCounts(object.status, replicaCounts, ["observedGeneration", "terminatingReplicas"]),
  warnings: ownerWarnings,
  scale: replicasScale,
  columns: [...replicaColumns, selector()],
};
