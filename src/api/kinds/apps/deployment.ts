import { type FieldError, forbidden, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import { immutable, notNegative } from "../../validation/checks.ts";
import { ageOf, containers, countText, name, selector, text } from "../columns.ts";
import { defaultPodTemplate } from "../core/pod/defaults.ts";
import { clearStatus, isZero, ownerWarnings, replicasScale, validateAtMostHundred, validateCollisionCount, validateIntOrPercent, validateReplicaCounts, validateSelectorAndTemplate } from "../workload.ts";

function validateSpec(spec: any): FieldError[] {
  const errors = [...notNegative("spec.replicas", spec.replicas), ...validateSelectorAndTemplate(spec, "empty selector is invalid for deployment", "ReplicaSet")];
  errors.push(...validateStrategy("spec.strategy", spec.strategy));
  errors.push(...notNegative("spec.minReadySeconds", spec.minReadySeconds), ...notNegative("spec.revisionHistoryLimit", spec.revisionHistoryLimit));
  const deadline = spec.progressDeadlineSeconds;
  if (deadline !== undefined) {
    errors.push(...notNegative("spec.progressDeadlineSeconds", deadline));
    if (deadline <= (spec.minReadySeconds ?? 0)) errors.push(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"));
  }
  return errors;
}

function validateStrategy(path: string, strategy: any): FieldError[] {
  const { type, rollingUpdate } = strategy;
  if (type === "Recreate") return rollingUpdate === undefined ? [] : [forbidden(`${path}.rollingUpdate`, "may not be specified when strategy `type` is 'Recreate'")];
  if (type !== "RollingUpdate") return [notSupported(path, strategy, ["Recreate", "RollingUpdate"])];
  if (!rollingUpdate) return [required(`${path}.rollingUpdate`, "this should be defaulted and never be nil")];
  const { maxUnavailable, maxSurge } = rollingUpdate;
  const at = `${path}.rollingUpdate`;
  const errors = [...validateIntOrPercent(`${at}.maxUnavailable`, maxUnavailable), ...validateIntOrPercent(`${at}.maxSurge`, maxSurge)];
  if (isZero(maxUnavailable) && isZero(maxSurge)) errors.push(invalid(`${at}.maxUnavailable`, maxUnavailable, "may not be 0 when `maxSurge` is 0"));
  return [...errors, ...validateAtMostHundred(`${at}.maxUnavailable`, maxUnavailable)];
}

/** Source: k8s.io/kubernetes/pkg/apis/apps/{v1/defaults.go,validation/validation.go}. */
export const deployment: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.replicas ??= 1;
    const strategy = (spec.strategy ??= {});
    strategy.type ||= "RollingUpdate";
    if (strategy.type === "RollingUpdate") {
      strategy.rollingUpdate ??= {};
      strategy.rollingUpdate.maxUnavailable ??= "25%";
      strategy.rollingUpdate.maxSurge ??= "25%";
    }
    spec.revisionHistoryLimit ??= 10;
    spec.progressDeadlineSeconds ??= 600;
    defaultPodTemplate((spec.template ??= {}));
  },
  prepareForCreate: clearStatus,
  validate: (object) => validateSpec(object.spec),
  validateUpdate: (object, old) => immutable("spec.selector", object.spec.selector, old.spec.selector),
  validateStatusUpdate: (object, old) => [
    ...notNegative("status.observedGeneration", object.status?.observedGeneration),
    ...validateReplicaCounts(object.status, ["updatedReplicas", "readyReplicas", "availableReplicas"], ["unavailableReplicas", "terminatingReplicas", "collisionCount"]),
    ...validateCollisionCount(object.status, old.status),
  ],
  warnings: ownerWarnings,
  scale: replicasScale,
  columns: [
    name,
    text("Ready", ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`),
    countText("Up-to-date", ({ status }) => status?.updatedReplicas),
    countText("Available", ({ status }) => status?.availableReplicas),
    ageOf,
    ...containers(),
    selector(),
  ],
};
