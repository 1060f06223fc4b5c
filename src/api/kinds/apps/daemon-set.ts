import { type FieldError, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import { immutable, notNegative, semanticEqual } from "../../validation/checks.ts";
import { isEmptySelector, validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, containers, integer, labelsText, name, selector, text } from "../columns.ts";
import { defaultPodTemplate } from "../core/pod/defaults.ts";
import { isZero, templateWarnings, validateAlwaysTemplate, validateAtMostHundred, validateCollisionCount, validateIntOrPercent, validateMatch } from "../workload.ts";

function validateSpec(spec: any): FieldError[] {
  const errors = validateLabelSelector(spec.selector, "spec.selector");
  if (errors.length === 0) errors.push(...validateMatch("spec.template", spec.selector, spec.template));
  if (spec.selector && isEmptySelector(spec.selector)) errors.push(invalid("spec.selector", spec.selector, "empty selector is invalid for daemonset"));
  errors.push(...validateAlwaysTemplate("spec.template", spec.template, "DaemonSet"));
  errors.push(...notNegative("spec.minReadySeconds", spec.minReadySeconds), ...notNegative("spec.revisionHistoryLimit", spec.revisionHistoryLimit));
  const { type, rollingUpdate } = spec.updateStrategy;
  const path = "spec.updateStrategy";
  if (type === "OnDelete") return errors;
  if (type !== "RollingUpdate") return [...errors, notSupported(path, spec.updateStrategy, ["RollingUpdate", "OnDelete"])];
  if (!rollingUpdate) return [...errors, required(`${path}.rollingUpdate`)];
  const at = `${path}.rollingUpdate`;
  const { maxUnavailable, maxSurge } = rollingUpdate;
  for (const [field, value] of Object.entries({ maxUnavailable, maxSurge })) errors.push(...validateIntOrPercent(`${at}.${field}`, value), ...validateAtMostHundred(`${at}.${field}`, value));
  if (!isZero(maxUnavailable) && !isZero(maxSurge)) errors.push(invalid(`${at}.maxSurge`, maxSurge, "may not be set when maxUnavailable is non-zero"));
  if (isZero(maxUnavailable) && isZero(maxSurge)) errors.push(required(`${at}.maxUnavailable`, "cannot be 0 when maxSurge is 0"));
  return errors;
}

/** Counts changes of the template; kubectl and old controllers still look for it. */
const templateGeneration = "deprecated.daemonset.template.generation";
const setTemplateGeneration = (object: any, count: number): void => {
  object.metadata.annotations = { ...object.metadata.annotations, [templateGeneration]: String(count) };
};

/** Source: k8s.io/kubernetes/pkg/apis/apps/{v1/defaults.go,validation/validation.go}. */
export const daemonSet: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    const strategy = (spec.updateStrategy ??= {});
    strategy.type ||= "RollingUpdate";
    if (strategy.type === "RollingUpdate") strategy.rollingUpdate ??= {};
    if (strategy.rollingUpdate) {
      // Upstream's conversion states both for whatever type, its defaults only for this one.
      strategy.rollingUpdate.maxUnavailable ??= strategy.type === "RollingUpdate" ? 1 : 0;
      strategy.rollingUpdate.maxSurge ??= 0;
    }
    spec.revisionHistoryLimit ??= 10;
    defaultPodTemplate((spec.template ??= {}));
    // A field of Go's inside, an annotation outside: there from the first, and so the writer's.
    setTemplateGeneration(object, Number(object.metadata.annotations?.[templateGeneration]) || 0);
  },
  prepareForCreate(object) {
    // Go writes these even when they are zero.
    object.status = { currentNumberScheduled: 0, desiredNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0 };
    setTemplateGeneration(object, 1);
  },
  prepareForUpdate(object, old) {
    const before = Number(old.metadata.annotations?.[templateGeneration] ?? 0);
    setTemplateGeneration(object, semanticEqual(object.spec.template, old.spec.template) ? before : before + 1);
  },
  prepareForStatusUpdate: (object, old) => setTemplateGeneration(object, Number(old.metadata.annotations?.[templateGeneration]) || 0),
  validate: (object) => validateSpec(object.spec),
  validateUpdate: (object, old) => immutable("spec.selector", object.spec.selector, old.spec.selector),
  validateStatusUpdate: ({ status }, old) => [
    ...["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount"].flatMap((field) => notNegative(`status.${field}`, status?.[field])),
    ...validateCollisionCount(status, old.status),
  ],
  warnings: templateWarnings,
  columns: [
    name,
    integer("Desired", ({ status }) => status?.desiredNumberScheduled),
    integer("Current", ({ status }) => status?.currentNumberScheduled),
    integer("Ready", ({ status }) => status?.numberReady),
    integer("Up-to-date", ({ status }) => status?.updatedNumberScheduled),
    integer("Available", ({ status }) => status?.numberAvailable),
    text("Node Selector", ({ spec }) => labelsText(spec?.template?.spec?.nodeSelector)),
    ageOf,
    ...containers(),
    selector(),
  ],
};
