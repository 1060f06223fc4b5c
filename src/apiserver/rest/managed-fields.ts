import { equalValues } from "../../api/apply/compare.ts";
import { difference, type Fields, isEmpty, setOf, union } from "../../api/apply/fields.ts";
import { capUpdateManagers, decodeOwners, encodeOwners, ManagedFieldsError, ownerOf, type Owners } from "../../api/apply/managers.ts";
import { fieldElement, PathElementError } from "../../api/apply/path-element.ts";
import { ListElementError, objectProperties, type Shape, shapeOf } from "../../api/apply/shape.ts";
import { withoutZeros, withZeros } from "../../api/apply/zeros.ts";
import { recordUpdate, type Version, type Versions } from "../../api/apply/updater.ts";
import type { Kind } from "../../api/kind.ts";
import { apiVersionOf, type KubeObject, type ManagedFieldsEntry, timestamp } from "../../api/meta.ts";
import type { KindRegistry } from "../../api/registry.ts";
import type { Schema } from "../../api/schema.ts";
import { cloneJson } from "../../base/clone.ts";
import type { RestDependencies } from "./context.ts";

/**
 * Who wrote what: each write records the fields it changed for its manager, and takes them from the others.
 * Source: k8s.io/apimachinery/pkg/util/managedfields/internal/*.go.
 */
const pathOf = (...names: string[]) => names.map(fieldElement);

/** What nobody owns: it is the server's, or names the object. */
export const neverOwned: Fields = setOf(
  ...["apiVersion", "kind", "metadata"].map((name) => pathOf(name)),
  ...["name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion"].map((name) => pathOf("metadata", name)),
);
const status = setOf(pathOf("status"));
const spec = setOf(pathOf("spec"));
const metadata = setOf(pathOf("metadata"));
const certificate = setOf(pathOf("status", "certificate"));
const decisions = setOf(pathOf("status", "conditions"));
const ofDeployment = setOf(pathOf("metadata", "labels"));
const ofPod = setOf(pathOf("metadata", "deletionTimestamp"), pathOf("metadata", "ownerReferences"));

/** Whose writes to /status leave the metadata as it was. */
const ownStatus: ReadonlySet<string> = new Set(["apiservices", "volumeattachments", "validatingadmissionpolicies", "resourceclaims", "flowschemas", "prioritylevelconfigurations"]);

export const keepsMetadata = (kind: Kind): boolean => kind.custom !== undefined || ownStatus.has(kind.resource);

/**
 * What a write leaves as it was, whatever it says: the status, or of a write to /status most of the rest.
 * Source: GetResetFields of the strategies.
 */
function resetOf(kind: Kind, subresource: string | undefined): Fields | undefined {
  if (kind.resource === "certificatesigningrequests") return subresource === undefined ? union(spec, status) : union(spec, subresource === "approval" ? certificate : decisions);
  if (subresource !== "status") return kind.hasStatus ? status : undefined;
  if (keepsMetadata(kind)) return union(spec, metadata);
  if (kind.resource === "deployments") return union(spec, ofDeployment);
  return kind.resource === "pods" ? union(spec, ofPod) : spec;
}

/** The object's type in every version it is served in, as writes to the subresource see it. */
export function versionsOf(registry: KindRegistry, kind: Kind, subresource: string | undefined): Versions {
  const known = new Map<string, Version | undefined>();
  const reset = resetOf(kind, subresource);
  return (apiVersion) => {
    if (known.has(apiVersion)) return known.get(apiVersion);
    const target = apiVersion === apiVersionOf(kind.group, kind.version) ? kind : kindAt(registry, apiVersion, kind.kind);
    const version = target && { shape: shapeOfKind(target), convert: (object: unknown) => converted(registry, object as KubeObject, target), custom: target.schema.name === undefined, ...(reset && { reset }) };
    known.set(apiVersion, version);
    return version;
  };
}

export function kindAt(registry: KindRegistry, apiVersion: string, kind: string): Kind | undefined {
  const [version, group = ""] = apiVersion.split("/").toReversed();
  return registry.byKind(group, version!, kind);
}

function converted(registry: KindRegistry, object: KubeObject, target: Kind): KubeObject {
  const apiVersion = apiVersionOf(target.group, target.version);
  if (object.apiVersion === apiVersion) return object;
  const source = kindAt(registry, object.apiVersion, object.kind);
  const bareObject = withoutZeros(object, { nulls: source?.custom !== undefined }) as KubeObject;
  // Of what is pruned to the fields of a manager even this may be gone.
  bareObject.metadata ??= {} as KubeObject["metadata"];
  // Who owns which field does not wait for a webhook.
  if (target.custom) return withZeros(shapeOfKind(target), target.custom.renamed(bareObject)) as KubeObject;
  const stored = source?.storedAs?.toStored(bareObject) ?? bareObject;
  return withZeros(shapeOfKind(target), { ...(target.storedAs?.fromStored(stored) ?? stored), apiVersion, kind: target.kind }, true) as KubeObject;
}

const roots = new WeakMap<Schema, Shape>();

export function shapeOfKind({ schema }: Pick<Kind, "schema">): Shape {
  if (schema.name !== undefined) return shapeOf(schema);
  let shape = roots.get(schema);
  if (!shape) roots.set(schema, (shape = shapeOf({ type: "object", preserveUnknownFields: schema.preserveUnknownFields ?? false, properties: objectProperties(schema) })));
  return shape;
}

/** Who asks, as an entry names him. */
export const entryOf = (kind: Kind, manager: string, operation: "Apply" | "Update", subresource: string | undefined): ManagedFieldsEntry => ({ manager: manager || "unknown", operation, apiVersion: apiVersionOf(kind.group, kind.version), ...(subresource !== undefined && { subresource }) });

/** The object without its managedFields, which are nobody's field and would only have to be compared. */
const bare = (object: KubeObject): KubeObject => ({ ...object, metadata: { ...object.metadata, managedFields: undefined } as unknown as KubeObject["metadata"] });

/**
 * The managedFields of `next`, which `manager` writes over `live` (undefined: creates). What the client sent as
 * managedFields counts as the present state, unless it is nothing or nonsense: a client that does not know of them
 * must not lose them. `[]` and `[{}]` clear them, and an object without any goes on without until it is applied to.
 * Undefined: none.
 */
export function recordWrite({ registry, clock }: Pick<RestDependencies, "registry" | "clock">, kind: Kind, live: KubeObject | undefined, next: KubeObject, manager: string, subresource: string | undefined): ManagedFieldsEntry[] | undefined {
  const before = ownersBefore(live?.metadata.managedFields, next.metadata.managedFields, subresource !== undefined);
  if (before.size === 0 && live) return undefined;
  const entry = entryOf(kind, manager, "Update", subresource);
  // What another version keeps in an annotation is the writer's as well.
  if (kind.storedAs) next = kind.storedAs.fromStored(kind.storedAs.toStored(next));
  let owners: Owners;
  try {
    owners = withUpdate(before, entry, live ?? ({ apiVersion: next.apiVersion, kind: next.kind } as KubeObject), next, versionsOf(registry, kind, subresource), timestamp(clock.now()));
  } catch (error) {
    // An element without its key: the object is refused by validation, or nothing can be said of who owns it.
    if (error instanceof ListElementError) return undefined;
    throw error;
  }
  const capped = capUpdateManagers(owners);
  // Of two entries that name one owner, as a write to a scale may leave them, the later counts.
  return capped === before && before === ownersOf(live?.metadata.managedFields) && live && before.size === (live.metadata.managedFields?.length ?? 0) ? live.metadata.managedFields : encodeOwners(capped);
}

export function withUpdate(owners: Owners, entry: ManagedFieldsEntry, live: KubeObject, next: KubeObject, versions: Versions, time: string): Owners {
  const { owners: remaining, changed } = recordUpdate(live.metadata ? bare(live) : live, bare(next), entry.apiVersion!, owners, versions);
  const own = difference(changed, neverOwned);
  if (isEmpty(own)) return remaining;
  const owner = ownerOf(entry, own);
  const before = remaining.get(owner.id);
  return new Map(remaining).set(owner.id, { ...(before ?? owner), fields: before ? union(before.fields, own) : own, time });
}

function ownersBefore(live: ManagedFieldsEntry[] | undefined, sent: ManagedFieldsEntry[] | undefined, isSubresource: boolean): Owners {
  if (isSubresource || sent === undefined || sent === live) return ownersOf(live);
  if (sent.length === 0 || (sent.length === 1 && Object.keys(sent[0]!).length === 0)) return noOwners;
  if (equalValues(sent, live)) return ownersOf(live);
  try {
    const owners = decodeOwners(sent, false);
    return owners.size > 0 ? owners : ownersOf(live);
  } catch (error) {
    if (error instanceof ManagedFieldsError || error instanceof PathElementError) return ownersOf(live);
    throw error;
  }
}

const noOwners: Owners = new Map();
const stored = new WeakMap<readonly ManagedFieldsEntry[], Owners>();

/** The owners that a stored object lists: the very same as long as its list is. */
export function ownersOf(entries: readonly ManagedFieldsEntry[] | undefined): Owners {
  if (entries === undefined || entries.length === 0) return noOwners;
  let owners = stored.get(entries);
  if (!owners) stored.set(entries, (owners = decodeOwners(entries, true)));
  return owners;
}

/** Whether two lists name the same owners of the same fields; when they last changed does not matter. */
export function sameOwnership(a: readonly ManagedFieldsEntry[] | undefined, b: readonly ManagedFieldsEntry[] | undefined): boolean {
  if (a === b) return true;
  if (a?.length !== b?.length) return false;
  return a!.every((left, index) => {
    const right = b![index]!;
    return left === right || (left.manager === right.manager && left.operation === right.operation && left.apiVersion === right.apiVersion && left.subresource === right.subresource && equalValues(left.fieldsV1, right.fieldsV1));
  });
}

/** A copy that may be changed, but for its managedFields, which are only ever replaced. */
export function draftOf(object: KubeObject): KubeObject {
  const { managedFields, ...metadata } = object.metadata;
  const draft = cloneJson({ ...object, metadata }) as KubeObject;
  setManagedFields(draft, managedFields);
  return draft;
}

/** Puts the list in place; none leaves no trace. */
export function setManagedFields(object: KubeObject, entries: ManagedFieldsEntry[] | undefined): void {
  if (entries) object.metadata.managedFields = entries;
  else delete object.metadata.managedFields;
}
