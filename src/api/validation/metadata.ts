import { type FieldError, forbidden, invalid, required, tooLong } from "../field.ts";
import type { ObjectMeta, OwnerReference } from "../meta.ts";
import { checked, each, immutable, notNegative } from "./checks.ts";
import { labelValue, type NameCheck, nameIsDnsLabel, nameIsDnsSubdomain, nameIsPathSegment, qualifiedName } from "./names.ts";

/**
 * What is wrong with an object's metadata. Every kind is checked so before its own validation.
 * Source: k8s.io/apimachinery/pkg/api/validation/objectmeta.go.
 */
export function validateObjectMeta(meta: ObjectMeta, options: { namespaced: boolean; validateName?: NameCheck; standardFinalizers?: boolean }, path = "metadata"): FieldError[] {
  const validateName = options.validateName ?? nameIsDnsSubdomain;
  const errors: FieldError[] = [];
  if (meta.generateName) errors.push(...validateName(meta.generateName, true).map((text) => invalid(`${path}.generateName`, meta.generateName, text)));
  if (!meta.name) errors.push(required(`${path}.name`, "name or generateName is required"));
  else errors.push(...validateName(meta.name, false).map((text) => invalid(`${path}.name`, meta.name, text)));
  if (options.namespaced) {
    if (!meta.namespace) errors.push(required(`${path}.namespace`));
    else errors.push(...nameIsDnsLabel(meta.namespace, false).map((text) => invalid(`${path}.namespace`, meta.namespace, text)));
  } else if (meta.namespace) errors.push(forbidden(`${path}.namespace`, "not allowed on this type"));
  errors.push(...notNegative(`${path}.generation`, meta.generation), ...validateLabels(meta.labels, `${path}.labels`), ...validateAnnotations(meta.annotations, `${path}.annotations`));
  errors.push(...validateOwnerReferences(meta.ownerReferences, `${path}.ownerReferences`), ...validateFinalizers(meta.finalizers, `${path}.finalizers`));
  if (options.standardFinalizers) errors.push(...validateStandardFinalizers(meta.finalizers, `${path}.finalizers`));
  return errors;
}

/** What an update may not do to metadata. `old` is the stored object's. */
export function validateObjectMetaUpdate(meta: ObjectMeta, old: ObjectMeta, options: { standardFinalizers?: boolean; validateName?: NameCheck } = {}, path = "metadata"): FieldError[] {
  // What must hold of every object comes first, then what an update may not change.
  const errors: FieldError[] = meta.generateName ? nameIsPathSegment(meta.generateName, true).map((text) => invalid(`${path}.generateName`, meta.generateName, text)) : [];
  errors.push(...notNegative(`${path}.generation`, meta.generation), ...validateLabels(meta.labels, `${path}.labels`), ...validateAnnotations(meta.annotations, `${path}.annotations`));
  errors.push(...validateOwnerReferences(meta.ownerReferences, `${path}.ownerReferences`), ...validateFinalizers(meta.finalizers, `${path}.finalizers`));
  if (old.deletionTimestamp) errors.push(...validateNoNewFinalizers(meta.finalizers, old.finalizers, `${path}.finalizers`));
  if (!meta.resourceVersion) errors.push(invalid(`${path}.resourceVersion`, "", "must be specified for an update"));
  if ((meta.generation ?? 0) < (old.generation ?? 0)) errors.push(invalid(`${path}.generation`, meta.generation ?? 0, "must not be decremented"));
  for (const field of ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] as const) {
    errors.push(...immutable(`${path}.${field}`, meta[field], old[field]));
  }
  if (options.standardFinalizers) errors.push(...validateStandardFinalizers(meta.finalizers, `${path}.finalizers`));
  if (options.validateName && meta.generateName) errors.push(...options.validateName(meta.generateName, true).map((text) => invalid(`${path}.generateName`, meta.generateName, text)));
  return errors;
}

export function validateLabels(labels: Record<string, string> | null | undefined, path: string): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) => [...checked(path, key, qualifiedName), ...checked(path, value, labelValue)]);
}

const annotationBytesMax = 256 * 1024;

export function validateAnnotations(annotations: Record<string, string> | null | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const [key, value] of Object.entries(annotations ?? {})) {
    // Case does not matter here, unlike in labels.
    errors.push(...qualifiedName(key.toLowerCase()).map((text) => invalid(path, key, text)));
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size > annotationBytesMax) errors.push(tooLong(path, annotationBytesMax));
  return errors;
}

function validateOwnerReferences(owners: OwnerReference[] | undefined, path: string): FieldError[] {
  let controller: string | undefined;
  return each(path, owners, (owner, at) => {
    const errors: FieldError[] = [];
    if (!owner.apiVersion) errors.push(invalid(`${path}.apiVersion`, "", "version must not be empty"));
    else if (!/^([^/]*\/)?[^/]+$/.test(owner.apiVersion)) errors.push(invalid(`${path}.apiVersion`, owner.apiVersion, "version must not be empty"));
    for (const field of ["kind", "name", "uid"] as const) if (!owner[field]) errors.push(invalid(`${path}.${field}`, "", "must not be empty"));
    if (owner.apiVersion === "v1" && owner.kind === "Event") errors.push(invalid(at, owner, "/v1, Kind=Event is disallowed from being an owner"));
    if (owner.controller === true) {
      const name = `${owner.kind}/${owner.name}`;
      if (controller !== undefined) errors.push(invalid(path, owners, `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${name}`));
      else controller = name;
    }
    return errors;
  });
}

function validateFinalizers(finalizers: string[] | undefined, path: string): FieldError[] {
  const errors = (finalizers ?? []).flatMap((finalizer) => checked(path, finalizer, qualifiedName));
  if (finalizers?.includes("orphan") && finalizers.includes("foregroundDeletion")) errors.push(invalid(path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set"));
  return errors;
}

/** What Kubernetes asks of its own kinds beyond that: a domain before the name. Source: pkg/apis/core/validation.ValidateFinalizerName. */
function validateStandardFinalizers(finalizers: string[] | undefined, path: string): FieldError[] {
  return each(path, finalizers, (finalizer, at) => (finalizer.includes("/") || ["kubernetes", "orphan", "foregroundDeletion"].includes(finalizer) ? [] : [invalid(at, finalizer, "name is neither a standard finalizer name nor is it fully qualified")]));
}

function validateNoNewFinalizers(finalizers: string[] | undefined, old: string[] | undefined, path: string): FieldError[] {
  const extra = [...new Set(finalizers ?? [])].filter((finalizer) => !old?.includes(finalizer)).sort();
  if (extra.length === 0) return [];
  // Go prints the list as its own literal.
  const list = extra.map((finalizer) => JSON.stringify(finalizer)).join(", ");
  return [forbidden(path, `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`)];
}
