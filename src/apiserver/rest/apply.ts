import { fieldSetOf } from "../../api/apply/field-set.ts";
import { compare } from "../../api/apply/compare.ts";
import { difference, type Fields, isEmpty, noFields } from "../../api/apply/fields.ts";
import { encodeOwners, type Owner, ownerOf, type Owners } from "../../api/apply/managers.ts";
import { printPath } from "../../api/apply/path-element.ts";
import { ListElementError } from "../../api/apply/shape.ts";
import { type Applied, applyConfig, type Conflict, ConflictsError, conflictsWithout, type Versions } from "../../api/apply/updater.ts";
import { validateConfig } from "../../api/apply/validate.ts";
import { withoutZeros, withZeros } from "../../api/apply/zeros.ts";
import type { Kind } from "../../api/kind.ts";
import { apiVersionOf, type KubeObject, timestamp } from "../../api/meta.ts";
import { badRequestError, StatusError } from "../../api/status.ts";
import type { RestDependencies } from "./context.ts";
import { converterText } from "./converter-text.ts";
import { entryOf, neverOwned, ownersOf, setManagedFields, shapeOfKind, versionsOf, withUpdate } from "./managed-fields.ts";

/**
 * A configuration applied to the live object (undefined: there is none yet): what the object shall be, with the
 * managedFields that say so; its types are not checked yet, its values not canonical. Throws StatusErrors.
 * Source: k8s.io/apimachinery/pkg/util/managedfields/internal/{fieldmanager,structuredmerge,skipnonapplied}.go.
 */
export function appliedTo(dependencies: Pick<RestDependencies, "registry" | "clock">, kind: Kind, live: KubeObject | undefined, config: unknown, manager: string, force: boolean, subresource: string | undefined): KubeObject {
  const given = checkedConfig(kind, config);
  const versions = versionsOf(dependencies.registry, kind, subresource);
  const time = timestamp(dependencies.clock.now());
  const empty = { apiVersion: apiVersionOf(kind.group, kind.version), kind: kind.kind } as KubeObject;
  const old = live ?? empty;
  let owners = ownersOf(live?.metadata.managedFields);
  const as = ownerOf(entryOf(kind, manager, "Apply", subresource), noFields);
  let merged: Applied;
  try {
    // Nobody kept records until now: whatever is there was there before.
    if (owners.size === 0 && live) owners = withUpdate(owners, entryOf(kind, beforeFirstApply, "Update", subresource), empty, live, versions, time);
    checkTypes(kind, given);
    merged = applyAs(kind, withZeros(shapeOfKind(kind), old) as KubeObject, given, as, owners, versions, force, manager);
  } catch (error) {
    if (error instanceof ListElementError) {
      const where = validateConfig(shapeOfKind(kind), old)[0] ?? error.message;
      throw unforeseen(owners.size === 0 ? `failed to create manager for existing fields: failed to convert new object (${objectText(kind, old)}) to smd typed: ${where}` : `failed to create typed live object (${objectText(kind, old)}): ${where}`);
    }
    throw error;
  }
  const object = (merged.object === undefined ? old : withoutZeros(merged.object)) as KubeObject;
  const result: KubeObject = { ...object, metadata: { ...object.metadata } };
  setManagedFields(result, encodeOwners(withOwn(merged, as.id, merged.object === undefined ? undefined : time)));
  if (manager === "kubectl") updateLastApplied(result, given);
  return result;
}

const beforeFirstApply = "before-first-apply";
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/** The applier's own entry without what nobody owns; its time moves only when the object does. */
function withOwn({ owners }: Applied, id: string, time: string | undefined): Owners {
  const own = owners.get(id);
  if (!own) return owners;
  const fields = difference(own.fields, neverOwned);
  const result = new Map(owners);
  if (isEmpty(fields)) result.delete(id);
  else result.set(id, { ...own, fields, time: time ?? own.time });
  return result;
}

const gvkText = (group: string, version: string, kind: string): string => `${group}/${version}, Kind=${kind}`;

function objectText(kind: Kind, object: KubeObject): string {
  const { namespace, name } = (object.metadata ?? {}) as { namespace?: unknown; name?: unknown };
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  return `${text(namespace)}/${text(name)}; ${gvkText(kind.group, kind.version, kind.kind)}`;
}

/** A value that its schema let pass and its type does not: a quantity, a time, base64. */
export const unconvertible = (kind: Kind, config: unknown, why: string): StatusError =>
  unforeseen(`failed to convert new object (${objectText(kind, config as KubeObject)}) to proper version: unable to convert unstructured object to ${gvkText(kind.group, kind.version, kind.kind)}: ${converterText(why)}`);

function checkedConfig(kind: Kind, config: unknown): KubeObject {
  if (config === null) return checkedConfig(kind, {});
  if (typeof config !== "object" || Array.isArray(config)) throw badRequestError(`error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal ${Array.isArray(config) ? "array" : typeof config} into Go value of type map[string]interface {}`);
  const object = config as KubeObject;
  const [version, group = ""] = String(object.apiVersion ?? "").split("/").toReversed();
  if (group !== kind.group || version !== kind.version || object.kind !== kind.kind) throw badRequestError(`invalid object type: ${gvkText(group, version ?? "", String(object.kind ?? ""))}`);
  if (Array.isArray((object.metadata as KubeObject["metadata"] | undefined)?.managedFields)) throw badRequestError("metadata.managedFields must be nil");
  return object;
}

function checkTypes(kind: Kind, object: KubeObject): void {
  const errors = validateConfig(shapeOfKind(kind), object);
  if (errors.length > 0) throw unforeseen(`failed to create typed patch object (${objectText(kind, object)}): ${errors.length === 1 ? errors[0] : `errors:\n${errors.map((error) => `  ${error}`).join("\n")}`}`);
}

/** What upstream answers to mistakes that it did not foresee a status for. */
const unforeseen = (message: string): StatusError => new StatusError(500, "", message);

function applyAs(kind: Kind, live: KubeObject, config: KubeObject, as: Owner, owners: Owners, versions: Versions, force: boolean, manager: string): Applied {
  try {
    return applyConfig(live, config, as, owners, versions, force);
  } catch (error) {
    if (!(error instanceof ConflictsError)) throw error;
    // What kubectl applied from the client's side, and nobody changed since, is kubectl's own.
    const allowed = manager === "kubectl" ? lastAppliedFields(kind, live) : undefined;
    const conflicts = allowed ? conflictsWithout(error.conflicts, allowed) : error.conflicts;
    if (conflicts.length > 0) throw applyConflictError(conflicts);
    return applyConfig(live, config, as, owners, versions, true);
  }
}

/** The fields that the annotation of client-side apply states and the object has as stated. Undefined: no annotation that could be read. */
function lastAppliedFields(kind: Kind, live: KubeObject): Fields | undefined {
  const text = live.metadata?.annotations?.[lastApplied];
  if (!text) return undefined;
  try {
    const config = JSON.parse(text) as KubeObject;
    const shape = shapeOfKind(kind);
    if (config.apiVersion !== live.apiVersion || validateConfig(shape, config).length > 0) return undefined;
    const { added, modified, removed } = compare(shape, config, live);
    return [modified, added, removed].reduce(difference, fieldSetOf(shape, config));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof ListElementError) return undefined;
    throw error;
  }
}

const annotationsBytesMax = 256 * 1024;

/** Keeps the annotation of client-side apply true, so that a kubectl which applies from its side again sees no change. */
function updateLastApplied(object: KubeObject, config: KubeObject): void {
  const { annotations } = object.metadata;
  if (!annotations?.[lastApplied]) return;
  const stated = { ...(config.metadata as Partial<KubeObject["metadata"]> | undefined) };
  if (stated.annotations) {
    const { [lastApplied]: _, ...rest } = stated.annotations;
    stated.annotations = rest;
  }
  const next: Record<string, string> = { ...annotations, [lastApplied]: `${JSON.stringify(sortedKeys({ ...config, metadata: stated }))}\n` };
  const bytes = Object.entries(next).reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);
  if (bytes > annotationsBytesMax) delete next[lastApplied];
  object.metadata.annotations = next;
}

function sortedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, sortedKeys(item)]));
}

/** Source of the texts: k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go. */
export function applyConflictError(conflicts: readonly Conflict[]): StatusError {
  const sorted = [...conflicts].sort((a, b) => (a.owner.id === b.owner.id ? 0 : a.owner.id < b.owner.id ? -1 : 1));
  const causes = sorted.map(({ owner, path }) => ({ reason: "FieldManagerConflict", message: `conflict with ${ownerText(owner)}`, field: printPath(path) }));
  if (sorted.length === 1) return new StatusError(409, "Conflict", `Apply failed with 1 conflict: ${causes[0]!.message}: ${causes[0]!.field}`, { causes });
  let text = `Apply failed with ${sorted.length} conflicts: `;
  for (const [index, { owner, path }] of sorted.entries()) {
    if (index === 0 || sorted[index - 1]!.owner.id !== owner.id) text += `${index === 0 ? "" : "\n"}conflicts with ${ownerText(owner)}:`;
    text += `\n- ${printPath(path)}`;
  }
  return new StatusError(409, "Conflict", text, { causes });
}

function ownerText({ entry, applied }: Owner): string {
  const subresource = entry.subresource ? ` with subresource ${JSON.stringify(entry.subresource)}` : "";
  return `${JSON.stringify(entry.manager ?? "")}${subresource}${applied ? "" : ` using ${entry.apiVersion}`}`;
}
