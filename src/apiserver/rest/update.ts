import type { Kind } from "../../api/kind.ts";
import { type FieldError, invalid } from "../../api/field.ts";
import type { KubeObject } from "../../api/meta.ts";
import { badRequestError, conflictError, invalidError, notFoundError, type StatusError } from "../../api/status.ts";
import { semanticEqual } from "../../api/validation/checks.ts";
import { nameIsDnsSubdomain } from "../../api/validation/names.ts";
import { validateObjectMeta, validateObjectMetaUpdate } from "../../api/validation/metadata.ts";
import { walk } from "../../api/walker.ts";
import { type Entry, KeyConflictError } from "../../store/store.ts";
import type { AdmissionRequest, RestDependencies, WriteContext } from "./context.ts";
import { createOnce, dryEntry, encoder, hasStandardFinalizers, judgedAs, placeIn } from "./create.ts";
import { decode } from "./decode.ts";
import { holdsContent } from "./delete.ts";
import { countsGenerations, metadataDiffers, specDiffers } from "./generation.ts";
import { keyOf, objectOf } from "./keys.ts";
import { dedupOwners } from "./owner-references.ts";
import { draftOf, keepsMetadata, recordWrite, sameOwnership, setManagedFields } from "./managed-fields.ts";

/** Whether a write is recorded in managedFields here, or its object comes with the list as it shall be. */
export type Ownership = "recorded" | "given";

/** "status" writes only the status; undefined everything but. Others (binding, scale) are shaped by their own verbs. */
export type UpdateTarget = "status" | undefined;

/** Kinds that upstream validates on an update as it does on a creation: with the prefix that made the name. */
const judgedAnew = new Set(["configmaps", "secrets", "serviceaccounts", "endpoints", "persistentvolumes", "persistentvolumeclaims", "limitranges", "namespaces", "nodes", "ingresses", "ingressclasses", "networkpolicies", "endpointslices", "controllerrevisions", "pods", "jobs", "storageclasses", "validatingadmissionpolicies", "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "runtimeclasses", "csinodes", "volumeattachments"]);

// A patch without resourceVersion is tried again on the newest object this often. Source: handlers/patch.go.
export const conflictRetries = 5;

/** Replaces. Source of the order: k8s.io/apiserver/pkg/registry/rest/update.go. */
export async function update(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, body: unknown, context: WriteContext, target?: UpdateTarget, shared = false): Promise<KubeObject> {
  const wanted = decode(kind, body, context, shared);
  placeIn(kind, wanted, namespace);
  if (wanted.metadata.name && wanted.metadata.name !== name) throw badRequestError(`the name of the object (${wanted.metadata.name}) does not match the name on the URL (${name})`);
  if (!wanted.metadata.name) throw badRequestError(`the name of the object (${name} based on URL) was undeterminable: name must be provided`);
  if (kind.createOnUpdate && target === undefined && !dependencies.store.get(keyOf(kind, namespace, name))) return createInstead(dependencies, kind, wanted, context);
  if (kind.createOnUpdate && target !== undefined && !dependencies.store.get(keyOf(kind, namespace, name))) throw missingWhole(kind, wanted);
  const existing = (kind.conditionalUpdate || kind.custom) && !wanted.metadata.resourceVersion ? dependencies.store.get(keyOf(kind, namespace, name)) : undefined;
  if (existing) requireSame(kind, name, wanted.metadata.uid, objectOf(kind, existing).metadata.uid);
  if (existing) throw invalidError({ group: kind.group, kind: kind.resource }, name, [invalid("metadata.resourceVersion", 0, "must be specified for an update")]);
  return change(dependencies, kind, namespace, name, context, target, (old) => {
    requireSame(kind, name, wanted.metadata.uid, old.metadata.uid);
    const draft = draftOf(wanted);
    dedupOwners(draft, context.warnings, false);
    return draft;
  });
}

/**
 * A part of nothing cannot be made. Of kinds that a PUT may create, upstream first tells what is wrong with the whole, and
 * then makes it, though nothing is allocated for it.
 */
export function missingWhole(kind: Kind, given: KubeObject): StatusError {
  const draft = draftOf(given);
  kind.defaults?.(draft);
  const errors = [...validateObjectMeta(draft.metadata, { namespaced: kind.scope === "Namespaced", standardFinalizers: hasStandardFinalizers(kind), ...(kind.validateName && { validateName: kind.validateName }) }), ...(kind.validate?.(draft) ?? [])];
  return errors.length > 0 ? invalidError(judgedAs(kind), draft.metadata.name, errors) : notFoundError(kind, draft.metadata.name);
}

function requireSame(kind: Kind, name: string, wanted: string | undefined, uid: string): void {
  if (wanted && wanted !== uid) throw conflictError(kind, name, `Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${uid}`);
}

async function createInstead(dependencies: RestDependencies, kind: Kind, wanted: KubeObject, context: WriteContext): Promise<KubeObject> {
  const { name, uid } = wanted.metadata;
  if (uid) throw conflictError(kind, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: `);
  context.authorizeCreate?.();
  const { resourceVersion } = wanted.metadata;
  if (resourceVersion && !/^\d+$/.test(resourceVersion)) throw badRequestError(`strconv.ParseUint: parsing ${JSON.stringify(resourceVersion)}: invalid syntax`);
  const draft = draftOf(wanted);
  delete (draft.metadata as Partial<KubeObject["metadata"]>).resourceVersion;
  const entry = (context.entry = await createOnce(dependencies, kind, draft, context));
  context.created = true;
  return objectOf(kind, entry);
}

/**
 * Reads, lets `next` make the new object of the old one, and writes under the condition that nobody was faster;
 * otherwise again, unless the new object names the resourceVersion it was made from. `next` gives a private draft.
 */
export async function change(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, context: WriteContext, target: UpdateTarget, next: (old: KubeObject) => KubeObject, ownership: Ownership = "recorded"): Promise<KubeObject> {
  const { store } = dependencies;
  const key = keyOf(kind, namespace, name);
  for (let attempt = 0; ; attempt++) {
    const entry = store.get(key);
    if (!entry) throw notFoundError(kind, name);
    const old = objectOf(kind, entry);
    const object = next(old);
    const named = object.metadata.resourceVersion === "0" ? "" : object.metadata.resourceVersion; // zero is any
    if (named && named !== old.metadata.resourceVersion) throw conflictError(kind, name);
    try {
      return objectOf(kind, (context.entry = await changeOnce(dependencies, kind, key, entry, old, object, context, target, ownership)));
    } catch (error) {
      if (!(error instanceof KeyConflictError)) throw error;
      if (named || attempt >= conflictRetries) throw conflictError(kind, name);
      await store.flush(); // the faster write becomes visible
    }
  }
}

async function changeOnce(dependencies: RestDependencies, kind: Kind, key: string, entry: Entry, old: KubeObject, object: KubeObject, context: WriteContext, target: UpdateTarget, ownership: Ownership): Promise<Entry> {
  const { store, admission } = dependencies;
  const { metadata } = object;
  const { managedFields } = metadata;
  const fields = metadata as unknown as Record<string, unknown>;
  const before = old.metadata as unknown as Record<string, unknown>;
  for (const field of ["creationTimestamp", "deletionTimestamp", "generation"]) if (before[field] !== undefined) fields[field] = before[field];
  // What the client does not say stays; what it says otherwise, validation refuses.
  for (const field of ["namespace", "uid", "deletionGracePeriodSeconds"]) if (fields[field] === undefined || fields[field] === "") setOrDelete(fields, field, before[field]);
  if (before["generation"] === undefined) delete fields["generation"];
  if (!context.dryRun) delete fields["selfLink"]; // never stored
  metadata.resourceVersion = old.metadata.resourceVersion;
  const sentStatus = object["status"] as unknown;
  if (target === "status") {
    kind.defaults?.(object);
    keepStatusOnly(kind, object, old);
  } else if (kind.hasStatus) {
    if (old["status"] === undefined) delete object["status"];
    else object["status"] = old["status"] as unknown;
  }
  const request: AdmissionRequest = { operation: "UPDATE", kind, subresource: target ?? kind.part, namespace: metadata.namespace, name: metadata.name, user: context.user, dryRun: context.dryRun, warnings: context.warnings, fieldManager: context.fieldManager, ...(context.annotations && { annotations: context.annotations }), object, old };
  // What another version keeps in annotations is of the status that was sent, whatever becomes of it.
  const ofWriter = (): KubeObject => (kind.storedAs && target === undefined ? ({ ...object, status: sentStatus } as KubeObject) : object);
  const record = () => setManagedFields(object, ownership === "given" ? managedFields : recordWrite(dependencies, kind, old, ofWriter(), context.fieldManager, target ?? kind.part));
  if (target === undefined) {
    kind.defaults?.(object);
    record();
    await admission.mutate(request);
    dedupOwners(object, context.warnings, true);
    kind.defaults?.(object);
    kind.prepareForUpdate?.(object, old);
    if (countsGenerations(kind) && (specDiffers(object, old, !kind.hasStatus) || metadataDiffers(kind, object, old))) object.metadata.generation = (old.metadata.generation ?? 0) + 1;
  } else {
    record();
    await admission.mutate(request);
    keepStatusOnly(kind, object, old);
    if (target === "status") kind.prepareForStatusUpdate?.(object, old, dependencies.clock.now());
  }
  const ofMetadata = validateObjectMetaUpdate(object.metadata, old.metadata, { standardFinalizers: hasStandardFinalizers(kind) && !(target === "status" && kind.resource === "cronjobs"), ...(target === undefined && judgedAnew.has(kind.resource) && { validateName: kind.validateName ?? nameIsDnsSubdomain }) });
  const own = target === "status" ? kind.validateStatusUpdate?.(object, old, ofMetadata, dependencies.clock.now()) : judgedWhole(kind, object, old, ofMetadata);
  const errors = [...ofMetadata, ...(own ?? [])];
  if (errors.length > 0) throw invalidError(judgedAs(kind), object.metadata.name, errors);
  context.warnings.push(...(target === undefined ? (kind.warnings?.(object, old) ?? []) : []));
  await admission.validate(request);

  // A write that changes nothing is no write: the revision stays, nobody is woken.
  if (isSame(object, old) && (context.dryRun || !store.isStale(key))) return entry;
  if (context.dryRun) return dryEntry(key, object);
  try {
    await kind.custom?.beforeStore?.(object);
    // The last finalizer gone from an object that is being deleted: it goes now.
    if (old.metadata.deletionTimestamp && !object.metadata.finalizers?.length && !(object.metadata.deletionGracePeriodSeconds ?? 0) && !holdsContent(kind, object)) {
      // Whoever watches is told of it as it was; the writer reads what he wrote.
      await store.delete(key, entry.revision, encoder(kind, old));
      return dryEntry(key, object);
    }
    return await store.put(key, entry.revision, encoder(kind, object));
  } catch (error) {
    admission.release(request);
    throw error;
  }
}

function judgedWhole(kind: Kind, object: KubeObject, old: KubeObject, ofMetadata: readonly FieldError[]): FieldError[] {
  const [whole, change] = [kind.validate?.(object, old, ofMetadata) ?? [], kind.validateUpdate?.(object, old, ofMetadata) ?? []];
  return kind.judgesChangeFirst ? [...change, ...whole] : [...whole, ...change];
}

function setOrDelete(holder: Record<string, unknown>, field: string, value: unknown): void {
  if (value === undefined) delete holder[field];
  else holder[field] = value;
}

/**
 * Of what was sent to /status, or made of it by admission, the status counts. Metadata counts as well with built-in kinds,
 * as most of their strategies upstream only keep the spec (a Deployment's its labels too); a custom resource's stays but for
 * the record of this write.
 */
function keepStatusOnly(kind: Kind, object: KubeObject, old: KubeObject): void {
  const status = object["status"] as unknown;
  const { metadata } = object;
  for (const field of Object.keys(object)) delete object[field];
  if (keepsMetadata(kind)) Object.assign(object, old, { metadata: { ...old.metadata, ...(metadata.managedFields && { managedFields: metadata.managedFields }) } });
  else Object.assign(object, old, { metadata });
  if (kind.group === "apps" && kind.resource === "deployments") {
    if (old.metadata.labels) metadata.labels = old.metadata.labels;
    else delete metadata.labels;
  }
  // A status is a struct in Go: what it must have is there even when nothing was sent.
  const nothing = kind.custom || !kind.schema.properties?.["status"] ? undefined : walk(kind.schema.properties["status"], {}).value;
  if (status !== undefined) object["status"] = status;
  else if (nothing) object["status"] = nothing;
  else delete object["status"];
}

/** Whether nothing differs but the times at which somebody came to own what he owned before. */
function isSame(object: KubeObject, old: KubeObject): boolean {
  const { metadata, ...content } = object;
  const { metadata: oldMetadata, ...oldContent } = old;
  const { managedFields } = oldMetadata;
  return semanticEqual(content, oldContent) && semanticEqual({ ...metadata, managedFields }, oldMetadata) && sameOwnership(metadata.managedFields, managedFields);
}

/**
 * A write of the server's own (binding, finalize): no admission and no validation, `next` knows what it does.
 * Tried again until nobody was faster. `next` gives a private draft, which may share parts with the old object.
 */
export async function rewrite(dependencies: RestDependencies, kind: Kind, namespace: string | undefined, name: string, dryRun: boolean, next: (old: KubeObject) => KubeObject): Promise<KubeObject> {
  const { store } = dependencies;
  const key = keyOf(kind, namespace, name);
  for (;;) {
    const entry = store.get(key);
    if (!entry) throw notFoundError(kind, name);
    const object = next(objectOf(kind, entry));
    if (dryRun) return object;
    await kind.custom?.beforeStore?.(object);
    const gone = object.metadata.deletionTimestamp && !object.metadata.finalizers?.length && !(object.metadata.deletionGracePeriodSeconds ?? 0) && !holdsContent(kind, object);
    try {
      return objectOf(kind, gone ? await store.delete(key, entry.revision, encoder(kind, object)) : await store.put(key, entry.revision, encoder(kind, object)));
    } catch (error) {
      if (!(error instanceof KeyConflictError)) throw error;
      await store.flush();
    }
  }
}
