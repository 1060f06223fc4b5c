import { difference, has, isEmpty, setOf } from "../../api/apply/fields.ts";
import { encodeOwners, type Owner, ownerOf } from "../../api/apply/managers.ts";
import { fieldElement, type Path } from "../../api/apply/path-element.ts";
import type { Kind } from "../../api/kind.ts";
import { apiVersionOf, type ManagedFieldsEntry } from "../../api/meta.ts";
import type { KindRegistry } from "../../api/registry.ts";
import { kindAt, ownersOf } from "./managed-fields.ts";

/**
 * An object's replicas are also its Scale's: who owns them in the one owns them in the other.
 * Source: k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go.
 */
const scaleVersion = "autoscaling/v1";
const replicasOfScale = ["spec", "replicas"].map(fieldElement);

/** Where this version has its replicas; null when it has no Scale, undefined when nobody serves it. */
function replicasPath(registry: KindRegistry, kind: Kind, apiVersion: string): Path | null | undefined {
  const served = apiVersion === apiVersionOf(kind.group, kind.version) ? kind : kindAt(registry, apiVersion, kind.kind);
  if (!served) return undefined;
  return served.scale ? served.scale.specReplicasPath.replace(/^\./, "").split(".").map(fieldElement) : null;
}

/** The managedFields of the Scale of an object with these. */
export function toScale(registry: KindRegistry, kind: Kind, entries: readonly ManagedFieldsEntry[] | undefined): ManagedFieldsEntry[] | undefined {
  const owners = new Map<string, Owner>();
  for (const owner of ownersOf(entries).values()) {
    const path = replicasPath(registry, kind, owner.apiVersion);
    if (!path || !has(owner.fields, path)) continue;
    const { fieldsV1: _, ...entry } = owner.entry;
    const inScale = ownerOf({ ...entry, apiVersion: scaleVersion }, setOf(replicasOfScale));
    owners.set(inScale.id, inScale);
  }
  return encodeOwners(owners);
}

/**
 * The managedFields of the object, once its Scale has these. Who applies is the same in both. Who updates is told apart by
 * version, and the Scale's is another one: there upstream takes the replicas from him and gives them to a new owner of his
 * name, also when nothing changed.
 */
export function toParent(registry: KindRegistry, kind: Kind, entries: readonly ManagedFieldsEntry[] | undefined, scaleEntries: readonly ManagedFieldsEntry[] | undefined): ManagedFieldsEntry[] | undefined {
  const ofScale = new Map(ownersOf(scaleEntries));
  const owners = new Map<string, Owner>();
  for (const owner of ownersOf(entries).values()) {
    const path = replicasPath(registry, kind, owner.apiVersion);
    if (path === undefined) continue;
    if (path === null || !has(owner.fields, path) || ofScale.delete(owner.id)) {
      owners.set(owner.id, owner);
      continue;
    }
    const fields = difference(owner.fields, setOf(path));
    if (!isEmpty(fields)) owners.set(owner.id, { ...owner, fields });
  }
  const apiVersion = apiVersionOf(kind.group, kind.version);
  const path = replicasPath(registry, kind, apiVersion);
  for (const { id, entry, fields } of ofScale.values()) {
    if (!path || !has(fields, replicasOfScale)) continue;
    // Upstream's new owner has no time either.
    const { time: _, fieldsV1: __, ...rest } = entry;
    owners.set(id, ownerOf({ ...rest, apiVersion }, setOf(path)));
  }
  return encodeOwners(owners);
}
