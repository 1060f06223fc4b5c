import { type FieldError, forbidden, invalid, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import { type KubeObject, timestamp } from "../../meta.ts";
import { parseQuantity, type Quantity } from "../../quantity.ts";
import { immutable, oneOfOptional, positiveText, semanticEqual } from "../../validation/checks.ts";
import { differences } from "../../validation/differences.ts";
import { nameIsDnsSubdomain } from "../../validation/names.ts";
import { accessModesText, ageOf, name, text, wide } from "../columns.ts";
import { validateAccessModes } from "./claim-spec.ts";
import { phaseOf, storageClassOf } from "./persistent-volume-claim.ts";
import { defaultVolumeSource } from "./pod/defaults.ts";
import { validateNodeSelector } from "./pod/scheduling.ts";
import { persistentSourceChecks } from "./pod/volumes.ts";
import { deprecatedVolumes, nodeTermWarnings } from "./pod/warnings.ts";

const sources = [...Object.keys(persistentSourceChecks), "fc", "photonPersistentDisk"];
const sourceOf = (spec: any): Record<string, unknown> => Object.fromEntries(sources.filter((field) => spec[field]).map((field) => [field, spec[field]]));

const deprecatedAnnotations: Readonly<Record<string, string>> = {
  "volume.beta.kubernetes.io/storage-class": 'deprecated since v1.8; use "storageClassName" attribute instead',
  "volume.beta.kubernetes.io/mount-options": 'deprecated since v1.31; use "mountOptions" attribute instead',
};

/** As Go gives a quantity as a whole number. */
const wholeOf = ({ amount, exponent }: Quantity): number => Math.floor(Number(amount) * 10 ** exponent);

function validate({ spec }: KubeObject): FieldError[] {
  const errors = validateAccessModes("spec.accessModes", spec.accessModes, "");
  const capacity = spec.capacity ?? {};
  if (Object.keys(capacity).length === 0) errors.push(required("spec.capacity"));
  if (capacity.storage === undefined || Object.keys(capacity).length > 1) errors.push({ type: "FieldValueNotSupported", field: "spec.capacity", body: `Unsupported value: ${JSON.stringify(capacity)}: supported values: "storage"` });
  else if (parseQuantity(String(capacity.storage)).amount < 0n) errors.push(invalid("spec.capacity[storage]", wholeOf(parseQuantity(String(capacity.storage))), "must be a valid resource quantity"));
  if (capacity.storage !== undefined && Object.keys(capacity).length === 1 && parseQuantity(String(capacity.storage)).amount <= 0n) errors.push(invalid("spec.capacity[storage]", String(capacity.storage), positiveText));
  errors.push(...oneOfOptional("spec.persistentVolumeReclaimPolicy", spec.persistentVolumeReclaimPolicy, ["Delete", "Recycle", "Retain"]));
  if (spec.nodeAffinity?.required) errors.push(...validateNodeSelector("spec.nodeAffinity.required", spec.nodeAffinity.required));
  else if (spec.nodeAffinity) errors.push(required("spec.nodeAffinity.required", "must specify required node constraints"));
  const [first, ...rest] = Object.keys(sourceOf(spec));
  if (first === undefined) errors.push(required("spec", "must specify a volume type"));
  else errors.push(...(persistentSourceChecks[first]?.(`spec.${first}`, spec[first]) ?? []), ...(first === "local" && !spec.nodeAffinity ? [required("spec.nodeAffinity", "Local volume requires node affinity")] : []), ...rest.flatMap((field) => (field === "flexVolume" ? persistentSourceChecks[field]!("spec.flexVolume", spec[field]) : [forbidden(`spec.${field === "cephfs" ? "cephFS" : field}`, "may not specify more than 1 volume type")])));
  if (spec.hostPath?.path === "/" && spec.persistentVolumeReclaimPolicy === "Recycle") errors.push(forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'"));
  if (spec.storageClassName) errors.push(...nameIsDnsSubdomain(spec.storageClassName, false).map((text) => invalid("spec.storageClassName", spec.storageClassName, text)));
  const attributes = spec.volumeAttributesClassName;
  if (attributes === "") errors.push(required("spec.volumeAttributesClassName", "an empty string is disallowed"));
  else if (attributes !== undefined) errors.push(...nameIsDnsSubdomain(attributes, false).map((text) => invalid("spec.volumeAttributesClassName", attributes, text)));
  if (attributes !== undefined && !spec.csi) errors.push(required("spec.csi", "has to be specified when using volumeAttributesClassName"));
  return [...errors, ...oneOfOptional("spec.volumeMode", spec.volumeMode, ["Block", "Filesystem"])];
}

/** Source: k8s.io/kubernetes/pkg/apis/core/{v1/defaults.go,validation/validation.go}. */
export const persistentVolume: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.persistentVolumeReclaimPolicy ||= "Retain";
    spec.volumeMode ??= "Filesystem";
    defaultVolumeSource(spec);
    if (object.status) object.status.phase ||= "Pending";
  },
  prepareForCreate(object) {
    object.status = { phase: "Pending", ...(object.metadata.creationTimestamp && { lastPhaseTransitionTime: object.metadata.creationTimestamp }) };
  },
  prepareForStatusUpdate({ status }, old, nowMs) {
    const same = status.phase === old.status?.phase;
    const before = old.status?.lastPhaseTransitionTime;
    if (same && status.lastPhaseTransitionTime === undefined && before !== undefined) status.lastPhaseTransitionTime = before;
    if (!same && (status.lastPhaseTransitionTime === undefined || status.lastPhaseTransitionTime === before)) status.lastPhaseTransitionTime = timestamp(nowMs);
  },
  validate,
  warnings({ metadata, spec }) {
    const warnings = Object.entries(deprecatedAnnotations).filter(([key]) => metadata.annotations?.[key] !== undefined).map(([key, text]) => `metadata.annotations[${key}]: ${text}`);
    if (spec.persistentVolumeReclaimPolicy === "Recycle") warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.");
    for (const [index, term] of (spec.nodeAffinity?.required?.nodeSelectorTerms ?? []).entries()) warnings.push(...nodeTermWarnings(`spec.nodeAffinity.required.nodeSelectorTerms[${index}]`, term));
    const plugins = ["cephfs", "photonPersistentDisk", "scaleIO", "storageos", "glusterfs", "rbd"].filter((plugin) => spec[plugin]);
    return [...warnings, ...plugins.map((plugin) => `spec.${plugin === "storageos" ? "storageOS" : plugin}: ${deprecatedVolumes[plugin]}`)];
  },
  validateUpdate(object, old) {
    const errors: FieldError[] = [];
    if (old.spec.volumeAttributesClassName !== undefined && object.spec.volumeAttributesClassName === undefined) errors.push(forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden"));
    const [source, oldSource] = [sourceOf(object.spec), sourceOf(old.spec)];
    if (!semanticEqual(source, oldSource)) errors.push(forbidden("spec.persistentvolumesource", `spec.persistentvolumesource is immutable after creation\n${differences(oldSource, source)}`));
    errors.push(...immutable("volumeMode", object.spec.volumeMode, old.spec.volumeMode));
    if (old.spec.nodeAffinity !== undefined) errors.push(...immutable("nodeAffinity", object.spec.nodeAffinity, old.spec.nodeAffinity));
    return errors;
  },
  columns: [
    name,
    text("Capacity", ({ spec }) => String(spec?.capacity?.storage ?? "0")),
    text("Access Modes", ({ spec }) => accessModesText(spec?.accessModes)),
    text("Reclaim Policy", ({ spec }) => spec?.persistentVolumeReclaimPolicy),
    text("Status", phaseOf),
    text("Claim", ({ spec }) => (spec?.claimRef ? `${spec.claimRef.namespace ?? ""}/${spec.claimRef.name ?? ""}` : "")),
    text("StorageClass", storageClassOf),
    text("VolumeAttributesClass", ({ spec }) => spec?.volumeAttributesClassName, "<unset>"),
    text("Reason", ({ status }) => status?.reason),
    ageOf,
    wide(text("VolumeMode", ({ spec }) => spec?.volumeMode, "<unset>")),
  ],
};
