import type { ManagedFieldsEntry } from "../meta.ts";
import { type Fields, isEmpty, noFields, parseFields, sorted, union } from "./fields.ts";

/** Who owns which fields, as managedFields lists it: one owner for each manager, operation, version and subresource. */
export interface Owner {
  /** Names the owner among those of an object. Of one who applies, it does not change with the version. */
  readonly id: string;
  readonly entry: Readonly<ManagedFieldsEntry>;
  readonly apiVersion: string;
  readonly applied: boolean;
  readonly fields: Fields;
  /** RFC 3339. */
  readonly time: string | undefined;
}
export type Owners = ReadonlyMap<string, Owner>;

export class ManagedFieldsError extends Error {}

/** Source: k8s.io/apimachinery/pkg/util/managedfields/internal/managedfields.go, BuildManagerIdentifier. */
export function ownerId({ manager, operation, apiVersion, subresource }: ManagedFieldsEntry): string {
  return JSON.stringify({ ...(manager && { manager }), ...(operation && { operation }), ...(apiVersion && operation !== "Apply" && { apiVersion }), ...(subresource && { subresource }) });
}

export function ownerOf(entry: ManagedFieldsEntry, fields: Fields): Owner {
  return { id: ownerId(entry), entry, apiVersion: entry.apiVersion ?? "", applied: entry.operation === "Apply", fields, time: entry.time };
}

/** Of entries in stored objects, which many writes read. */
const known = new WeakMap<ManagedFieldsEntry, Owner>();

/**
 * `trusted` entries were written by {@link encodeOwners}: their sets are taken as they are.
 * Throws ManagedFieldsError or PathElementError for what a client made up.
 */
export function decodeOwners(entries: readonly ManagedFieldsEntry[] | undefined, trusted: boolean): Owners {
  const owners = new Map<string, Owner>();
  for (const [index, entry] of (entries ?? []).entries()) {
    if (entry.operation !== "Apply" && entry.operation !== "Update") throw new ManagedFieldsError("operation must be `Apply` or `Update`");
    if (!entry.apiVersion) throw new ManagedFieldsError("apiVersion must not be empty");
    if (!entry.fieldsType) throw new ManagedFieldsError(`missing fieldsType in managed fields entry ${index}`);
    if (entry.fieldsType !== "FieldsV1") throw new ManagedFieldsError(`invalid fieldsType ${JSON.stringify(entry.fieldsType)} in managed fields entry ${index}`);
    let owner = trusted ? known.get(entry) : undefined;
    if (!owner) {
      owner = ownerOf(entry, trusted ? ((entry.fieldsV1 ?? noFields) as Fields) : parseFields(entry.fieldsV1));
      if (trusted) known.set(entry, owner);
    }
    owners.set(owner.id, owner);
  }
  return owners;
}

/** Undefined for none: then there is no managedFields at all. */
export function encodeOwners(owners: Owners): ManagedFieldsEntry[] | undefined {
  if (owners.size === 0) return undefined;
  return [...owners.values()].map(encodeOwner).sort(compareEntries);
}

function encodeOwner({ entry, apiVersion, fields, time }: Owner): ManagedFieldsEntry {
  if (entry.fieldsV1 === fields && entry.time === time && entry.apiVersion === apiVersion) return entry;
  const { manager, operation, subresource } = entry;
  return { ...(manager && { manager }), operation: operation!, apiVersion, ...(time !== undefined && { time }), fieldsType: "FieldsV1", fieldsV1: fields === entry.fieldsV1 ? fields : sorted(fields), ...(subresource && { subresource }) };
}

function compareEntries(a: ManagedFieldsEntry, b: ManagedFieldsEntry): number {
  return compareText(a.operation, b.operation) || compareText(a.time, b.time) || compareText(a.manager, b.manager) || compareText(a.apiVersion, b.apiVersion) || compareText(a.subresource, b.subresource);
}
const compareText = (a = "", b = ""): number => (a === b ? 0 : a < b ? -1 : 1);

/** Of managers that update, so many are told apart; the oldest are put together, one owner for each version. */
const updateManagersMax = 10;
const ancientChanges = "ancient-changes";

/** Source: k8s.io/apimachinery/pkg/util/managedfields/internal/capmanagers.go. */
export function capUpdateManagers(owners: Owners): Owners {
  const updaters = [...owners.values()].filter((owner) => !owner.applied);
  if (updaters.length <= updateManagersMax) return owners;
  updaters.sort((a, b) => compareText(a.time, b.time) || compareText(a.id, b.id));
  const capped = new Map(owners);
  const firstOf = new Map<string, Owner>();
  let count = updaters.length;
  for (const owner of updaters) {
    if (count <= updateManagersMax) break;
    const { apiVersion, time } = owner;
    const first = firstOf.get(apiVersion);
    if (!first) {
      firstOf.set(apiVersion, owner);
      continue;
    }
    const bucket = ownerOf({ manager: ancientChanges, operation: "Update", apiVersion }, noFields);
    const before = capped.get(bucket.id) ?? first;
    if (before === first) capped.delete(first.id);
    capped.delete(owner.id);
    capped.set(bucket.id, { ...bucket, fields: union(owner.fields, before.fields), time });
    count--;
  }
  return capped;
}

export const withoutEmpty = (owners: Owners): Owners => ([...owners.values()].some(({ fields }) => isEmpty(fields)) ? new Map([...owners].filter(([, { fields }]) => !isEmpty(fields))) : owners);
