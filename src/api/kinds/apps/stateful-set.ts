import { type FieldError, forbidden, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import { checked, each, notNegative, semanticEqual } from "../../validation/checks.ts";
import { dns1123Label, nameIsDnsLabel } from "../../validation/names.ts";
import { validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, containers, name, text } from "../columns.ts";
import { defaultClaimSpec, validateClaimSpec } from "../core/claim-spec.ts";
import { defaultPodTemplate } from "../core/pod/defaults.ts";
import { validatePodTemplate } from "../core/pod/spec.ts";
import { replicasScale, templateWarnings, validateAtMostHundred, validateCollisionCount, validateIntOrPercent, validateMatch, validateReplicaCounts, validateSelector } from "../workload.ts";

function validateSpec(spec: any, isNew: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (!["OrderedReady", "Parallel"].includes(spec.podManagementPolicy)) errors.push(invalid("spec.podManagementPolicy", spec.podManagementPolicy, "must be 'OrderedReady' or 'Parallel'"));
  errors.push(...validateUpdateStrategy("spec.updateStrategy", spec.updateStrategy));
  for (const field of ["whenDeleted", "whenScaled"]) {
    const policy = spec.persistentVolumeClaimRetentionPolicy?.[field];
    if (policy !== undefined && !["Retain", "Delete"].includes(policy)) errors.push(notSupported(`spec.persistentVolumeClaimRetentionPolicy.${field}`, policy, ["Retain", "Delete"]));
  }
  if (isNew) errors.push(...each("spec.volumeClaimTemplates", spec.volumeClaimTemplates, (claim, at) => validateClaimSpec(`${at}.spec`, claim.spec ?? {})));
  errors.push(...notNegative("spec.replicas", spec.replicas), ...notNegative("spec.minReadySeconds", spec.minReadySeconds));
  errors.push(...notNegative("spec.ordinals.start", spec.ordinals?.start));
  // It cannot be changed: what is stored may stay.
  if (isNew && spec.serviceName) errors.push(...checked("spec.serviceName", spec.serviceName, dns1123Label));
  errors.push(...validateSelector("spec.selector", spec, "empty selector is invalid for statefulset"));
  if (validateLabelSelector(spec.selector, "").length > 0) errors.push(invalid("spec.selector", spec.selector, ""));
  else errors.push(...validateTemplate("spec.template", spec));
  const restartPolicy = spec.template?.spec?.restartPolicy;
  if (restartPolicy !== "Always") errors.push(notSupported("spec.template.spec.restartPolicy", restartPolicy, ["Always"]));
  const deadline = spec.template?.spec?.activeDeadlineSeconds;
  if (deadline !== undefined) errors.push(forbidden("spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in StatefulSet is not Supported"));
  return errors;
}

/** Volumes that the claim templates will bring are there for mounts; a template's own volume of that name gives way. */
function validateTemplate(path: string, spec: any): FieldError[] {
  const template = spec.template;
  const claims: any[] = spec.volumeClaimTemplates ?? [];
  const own: any[] = (template.spec?.volumes ?? []).filter((volume: any) => !claims.some((claim) => claim.metadata?.name === volume.name));
  const volumes = [...[...new Set(claims.map((claim) => claim.metadata?.name))].map((name) => ({ name, persistentVolumeClaim: { claimName: name } })), ...own];
  // The controller gives its pods their host names.
  const { hostname: _, subdomain: __, ...rest } = template.spec ?? {};
  return [...validateMatch(path, spec.selector, template), ...validatePodTemplate(path, { ...template, spec: { ...rest, volumes } })];
}

function validateUpdateStrategy(path: string, strategy: any): FieldError[] {
  const { type, rollingUpdate } = strategy;
  if (!type) return [required(path)];
  if (type === "OnDelete") return rollingUpdate === undefined ? [] : [invalid(`${path}.rollingUpdate`, rollingUpdate, "only allowed for updateStrategy 'RollingUpdate'")];
  if (type !== "RollingUpdate") return [invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")];
  if (!rollingUpdate) return [];
  const at = `${path}.rollingUpdate`;
  const errors = notNegative(`${at}.partition`, rollingUpdate.partition);
  const { maxUnavailable } = rollingUpdate;
  if (maxUnavailable !== undefined) {
    errors.push(...validateIntOrPercent(`${at}.maxUnavailable`, maxUnavailable));
    if (maxUnavailable === 0 || maxUnavailable === "0%") errors.push(invalid(`${at}.maxUnavailable`, maxUnavailable, "cannot be 0"));
    errors.push(...validateAtMostHundred(`${at}.maxUnavailable`, maxUnavailable));
  }
  return errors;
}

const updatable = ["replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"];

/** Source: k8s.io/kubernetes/pkg/apis/apps/{v1/defaults.go,validation/validation.go}. */
export const statefulSet: Strategy = {
  hasStatus: true,
  // Its name becomes part of its pods' host names.
  validateName: nameIsDnsLabel,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.podManagementPolicy ||= "OrderedReady";
    const strategy = (spec.updateStrategy ??= {});
    if (!strategy.type) {
      strategy.type = "RollingUpdate";
      strategy.rollingUpdate ??= {};
    }
    if (strategy.type === "RollingUpdate" && strategy.rollingUpdate) {
      strategy.rollingUpdate.partition ??= 0;
      // Its feature is on by default since 1.35.
      strategy.rollingUpdate.maxUnavailable ??= 1;
    }
    const retention = (spec.persistentVolumeClaimRetentionPolicy ??= {});
    retention.whenDeleted ||= "Retain";
    retention.whenScaled ||= "Retain";
    spec.replicas ??= 1;
    spec.revisionHistoryLimit ??= 10;
    defaultPodTemplate((spec.template ??= {}));
    for (const claim of spec.volumeClaimTemplates ?? []) {
      // Whatever it says it is.
      claim.apiVersion = "v1";
      claim.kind = "PersistentVolumeClaim";
      claim.metadata ??= {};
      defaultClaimSpec((claim.spec ??= {}));
      claim.status ??= {};
      claim.status.phase ||= "Pending";
    }
  },
  prepareForCreate(object) {
    // Go writes these even when they are zero.
    object.status = { replicas: 0, availableReplicas: 0 };
  },
  validate: (object) => validateSpec(object.spec, !object.metadata.resourceVersion),
  validateUpdate(object, old) {
    const rest = { ...object.spec };
    for (const field of updatable) rest[field] = old.spec[field];
    if (semanticEqual(rest, old.spec)) return [];
    const list = updatable.map((field) => `'${field}'`);
    return [forbidden("spec", `updates to statefulset spec for fields other than ${list.slice(0, -1).join(", ")} and ${list.at(-1)} are forbidden`)];
  },
  validateStatusUpdate: (object, old) => [...validateReplicaCounts(object.status, ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"], ["observedGeneration", "collisionCount"], "status.readyReplicas"), ...validateCollisionCount(object.status, old.status)],
  warnings(object, old) {
    const warnings = templateWarnings(object, old);
    if ((object.spec.revisionHistoryLimit ?? 0) < 0) warnings.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended");
    return warnings;
  },
  scale: replicasScale,
  columns: [name, text("Ready", ({ spec, status }) => `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 0}`), ageOf, ...containers()],
};
