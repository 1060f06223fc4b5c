import { type FieldError, invalid, notSupported, required } from "../../field.ts";
import { parseQuantity } from "../../quantity.ts";
import { each, oneOfOptional, positiveText } from "../../validation/checks.ts";
import { nameIsDnsLabel, nameIsDnsSubdomain } from "../../validation/names.ts";
import { validateLabelSelector } from "../../validation/selector.ts";

/** The part of a PersistentVolumeClaim that pods' ephemeral volumes and StatefulSets' templates hold too. */
export function defaultClaimSpec(spec: any): void {
  spec.volumeMode ??= "Filesystem";
  spec.resources ??= {};
}

/**
 * The two fields that name what a claim is filled from say the same; another namespace only the newer can. What the older
 * cannot name is dropped, as ever. Source: k8s.io/kubernetes/pkg/api/persistentvolumeclaim/util.go.
 */
export function settleDataSources(spec: any, old?: any): void {
  const { dataSource } = spec;
  // Sources in other namespaces are a feature that is off.
  if (spec.dataSourceRef?.namespace && !old?.dataSourceRef) delete spec.dataSourceRef;
  const isPlain = (dataSource?.kind === "PersistentVolumeClaim" && !dataSource.apiGroup) || (dataSource?.kind === "VolumeSnapshot" && dataSource.apiGroup === "snapshot.storage.k8s.io");
  if (!isPlain && !old?.dataSource && !old?.dataSourceRef && !spec.dataSourceRef) delete spec.dataSource;
  if (spec.dataSource && !spec.dataSourceRef) spec.dataSourceRef = { ...spec.dataSource };
  else if (spec.dataSourceRef && !spec.dataSource && !spec.dataSourceRef.namespace) spec.dataSource = { ...spec.dataSourceRef };
}

export const accessModes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"] as const;

export function validateAccessModes(path: string, modes: string[] | undefined, requiredText: string): FieldError[] {
  if ((modes ?? []).length === 0) return [required(path, requiredText)];
  // Upstream names the list, not the entry.
  const errors = each(path, modes, (mode) => (accessModes.includes(mode as never) ? [] : [notSupported(path, mode, accessModes)]));
  if (modes!.length > 1 && modes!.includes("ReadWriteOncePod")) errors.push({ type: "FieldValueForbidden", field: path, body: "Forbidden: may not use ReadWriteOncePod with other access modes" });
  return errors;
}

/** Source: ValidatePersistentVolumeClaimSpec in k8s.io/kubernetes/pkg/apis/core/validation/validation.go. */
export function validateClaimSpec(path: string, spec: any): FieldError[] {
  const errors = validateAccessModes(`${path}.accessModes`, spec.accessModes, "at least 1 access mode is required");
  errors.push(...validateLabelSelector(spec.selector, `${path}.selector`));
  const storage = spec.resources?.requests?.storage;
  const storagePath = `${path}.resources[storage]`;
  if (storage === undefined) errors.push(required(storagePath));
  else if (parseQuantity(String(storage)).amount <= 0n) errors.push(invalid(storagePath, String(storage), positiveText));
  if (spec.storageClassName) errors.push(...nameIsDnsSubdomain(spec.storageClassName, false).map((text) => invalid(`${path}.storageClassName`, spec.storageClassName, text)));
  errors.push(...oneOfOptional(`${path}.volumeMode`, spec.volumeMode, ["Block", "Filesystem"]));
  if (spec.volumeAttributesClassName) errors.push(...nameIsDnsSubdomain(spec.volumeAttributesClassName, false).map((text) => invalid(`${path}.volumeAttributesClassName`, spec.volumeAttributesClassName, text)));
  for (const field of ["dataSource", "dataSourceRef"]) if (spec[field]) errors.push(...validateDataSource(`${path}.${field}`, spec[field]));
  return errors;
}

function validateDataSource(path: string, { apiGroup, kind, name, namespace }: any): FieldError[] {
  const errors = Object.entries({ name, kind }).flatMap(([field, value]) => (value ? [] : [required(`${path}.${field}`)]));
  if (!apiGroup && kind !== "PersistentVolumeClaim") errors.push(invalid(path, kind ?? "", "must be 'PersistentVolumeClaim' when referencing the default apiGroup"));
  if (apiGroup) errors.push(...nameIsDnsSubdomain(apiGroup, false).map((text) => invalid(`${path}.apiGroup`, apiGroup, text)));
  return namespace ? [...errors, ...nameIsDnsLabel(namespace, false).map((text) => invalid(`${path}.namespace`, namespace, text))] : errors;
}
