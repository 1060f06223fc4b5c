import { type Comparison, compare, equalValues } from "./compare.ts";
import { type Fields, difference, has, intersection, isEmpty, noFields, paths, recursiveDifference, union } from "./fields.ts";
import { fieldSetOf, withNamedFields } from "./field-set.ts";
import { type Owner, type Owners, withoutEmpty } from "./managers.ts";
import { mergeValues } from "./merge.ts";
import type { Path } from "./path-element.ts";
import { reconciled } from "./reconcile.ts";
import { removeFields } from "./remove.ts";
import type { Shape } from "./shape.ts";

/** An object's type in one API version, and the way there. */
export interface Version {
  readonly shape: Shape;
  /** From any version of the type into this one; gives the same object when it is in it. */
  convert(object: unknown): unknown;
  /** Fields that a write of this kind never changes, whatever it says (status, or all but status): nobody comes to own them. */
  readonly reset?: Fields;
  /** The type may have changed since somebody came to own something. */
  readonly custom?: boolean;
}
/** Undefined: nobody serves that version any more, and what was owned in it is owned no longer. */
export type Versions = (apiVersion: string) => Version | undefined;

export interface Conflict {
  readonly owner: Owner;
  readonly path: Path;
}
export class ConflictsError extends Error {
  readonly conflicts: readonly Conflict[];
  constructor(conflicts: readonly Conflict[]) {
    super(`${conflicts.length} conflicts`);
    this.conflicts = conflicts;
  }
}

const filtered = (set: Fields, version: Version | undefined): Fields => (version?.reset ? recursiveDifference(set, version.reset) : set);

function reconciledOwners(owners: Owners, versions: Versions): Owners {
  let result: Map<string, Owner> | undefined;
  for (const [id, owner] of owners) {
    const version = versions(owner.apiVersion);
    if (!version) (result ??= new Map(owners)).delete(id);
    else if (version.custom) {
      const fields = reconciled(owner.fields, version.shape);
      if (fields !== owner.fields) (result ??= new Map(owners)).set(id, { ...owner, fields });
    }
  }
  return result ?? owners;
}

/** Who owns what after somebody wrote `next` over `live`, and what the writer changed (in his version), added and removed. */
export function recordUpdate(live: unknown, next: unknown, apiVersion: string, owners: Owners, versions: Versions): { owners: Owners; changed: Fields } {
  const { remaining, comparison } = settle(live, next, apiVersion, reconciledOwners(owners, versions), versions, undefined, true);
  return { owners: remaining, changed: filtered(union(comparison.modified, comparison.added), versions(apiVersion)) };
}

export interface Applied {
  /** Undefined when the configuration changes nothing of the object. */
  object: unknown;
  owners: Owners;
}

/**
 * The live object with a configuration applied: merged, without what the same manager stated last time and now no
 * longer does, unless somebody else owns that. Throws ConflictsError, unless `force`.
 * Source: sigs.k8s.io/structured-merge-diff/v6/merge/update.go.
 */
export function applyConfig(live: unknown, config: unknown, as: Owner, owners: Owners, versions: Versions, force: boolean): Applied {
  const version = versions(as.apiVersion)!;
  const before = reconciledOwners(owners, versions);
  const last = before.get(as.id);
  const applied = new Map(before).set(as.id, { ...as, fields: filtered(fieldSetOf(version.shape, config), version), time: last?.time });
  const merged = mergeValues(version.shape, live, config);
  const next = last && !isEmpty(last.fields) ? prune(merged, last, as.apiVersion, applied, versions) : merged;
  const { remaining } = settle(live, next, as.apiVersion, applied, versions, as.id, force);
  return { object: equalValues(live, next) ? undefined : next, owners: remaining };
}

/**
 * Takes from the other owners what a change from `live` to `next` took from them. What is applied (by `except`) is
 * compared as the client stated it.
 */
function settle(live: unknown, next: unknown, apiVersion: string, owners: Owners, versions: Versions, except: string | undefined, force: boolean): { remaining: Owners; comparison: Comparison } {
  const comparisons = new Map<string, Comparison | undefined>();
  const comparisonAt = (at: string): Comparison | undefined => {
    if (comparisons.has(at)) return comparisons.get(at);
    const version = versions(at);
    let comparison: Comparison | undefined;
    if (version) {
      const whole = at === apiVersion ? compare(version.shape, live, next, { plain: except !== undefined }) : compare(version.shape, version.convert(live), version.convert(next));
      comparison = { added: filtered(whole.added, version), modified: filtered(whole.modified, version), removed: filtered(whole.removed, version) };
    }
    comparisons.set(at, comparison);
    return comparison;
  };
  const own = comparisonAt(apiVersion)!;
  const conflicts: Conflict[] = [];
  let remaining: Map<string, Owner> | undefined;
  for (const [id, owner] of owners) {
    if (id === except) continue;
    const comparison = comparisonAt(owner.apiVersion);
    if (!comparison) {
      (remaining ??= new Map(owners)).delete(id);
      continue;
    }
    const lost = intersection(owner.fields, union(comparison.modified, comparison.added));
    if (!isEmpty(lost) && !force) for (const path of paths(lost)) conflicts.push({ owner, path });
    const fields = difference(difference(owner.fields, lost), comparison.removed);
    if (fields !== owner.fields) (remaining ??= new Map(owners)).set(id, { ...owner, fields });
  }
  if (conflicts.length > 0) throw new ConflictsError(conflicts);
  return { remaining: withoutEmpty(remaining ?? owners), comparison: own };
}

function prune(merged: unknown, last: Owner, apiVersion: string, owners: Owners, versions: Versions): unknown {
  const version = versions(last.apiVersion);
  if (!version) return merged;
  const converted = version.convert(merged);
  const named = withNamedFields(last.fields, version.shape);
  const pruned = addBackOwned(converted, removeFields(version.shape, converted, named), last.apiVersion, owners, versions);
  return versions(apiVersion)!.convert(addBackDangling(converted, version.convert(pruned), named, version.shape));
}

/** Nothing goes that somebody owns, in whatever version. */
function addBackOwned(merged: unknown, pruned: unknown, prunedVersion: string, owners: Owners, versions: Versions): unknown {
  const owned = new Map<string, Fields>();
  owned.set(prunedVersion, noFields); // this version first: another might not come about without what is owned in it
  for (const { apiVersion, fields } of owners.values()) owned.set(apiVersion, union(owned.get(apiVersion) ?? noFields, fields));
  for (const [apiVersion, fields] of owned) {
    const version = versions(apiVersion);
    if (!version || (apiVersion === prunedVersion && isEmpty(fields))) continue;
    const [all, left] = [version.convert(merged), version.convert(pruned)];
    const named = (set: Fields) => withNamedFields(set, version.shape);
    const unowned = difference(named(fieldSetOf(version.shape, all)), union(named(fieldSetOf(version.shape, left)), named(fields)));
    merged = all;
    pruned = removeFields(version.shape, all, unowned);
  }
  return pruned;
}

/** Nothing goes but what the manager stated last time: what he never stated may hang on to what he did. */
function addBackDangling(merged: unknown, pruned: unknown, last: Fields, shape: Shape): unknown {
  const left = withNamedFields(fieldSetOf(shape, pruned), shape);
  const all = withNamedFields(fieldSetOf(shape, merged), shape);
  return removeFields(shape, merged, intersection(difference(all, left), last));
}

/** Those conflicts that are about none of these fields. */
export const conflictsWithout = (conflicts: readonly Conflict[], set: Fields): Conflict[] => conflicts.filter(({ path }) => !has(set, path));
