import { isObject } from "../../base/is-object.ts";
import type { Schema } from "../schema.ts";
import { StatusError } from "../status.ts";
import { malformedPatch } from "./error.ts";
import { getOwn, type JsonObject, setOwn } from "./object.ts";

/**
 * Applies a strategic merge patch: maps merge, lists merge by their key where the schema says so, and directives
 * ($patch, $retainKeys, $deleteFromPrimitiveList, $setElementOrder) say the rest. `original` may be frozen and is
 * not changed; the result shares with it whatever the patch did not touch.
 * Source of the rules: k8s.io/apimachinery/pkg/util/strategicpatch/patch.go.
 */
export function applyStrategicMergePatch(original: JsonObject, patch: unknown, schema: Schema): JsonObject {
  if (!isObject(patch)) throw malformedPatch("invalid JSON document");
  return mergeMap(original, patch, schema);
}

const directive = "$patch";
const retainKeys = "$retainKeys";
const deletePrefix = "$deleteFromPrimitiveList/";
const orderPrefix = "$setElementOrder/";

const badRetainKeys = () => malformedPatch("invalid patch format of retainKeys");
const badElementOrder = () => malformedPatch("invalid patch format of setElementOrder list");
/** What upstream answers to mistakes that it did not foresee a status for. */
const unforeseen = (message: string) => new StatusError(500, "", message);
const badPatchType = (type: unknown, map: JsonObject) => unforeseen(`unknown patch type: ${String(type)} in map: ${goMap(map)}`);
const noMergeKey = (map: JsonObject, key: string) => unforeseen(`map: ${goMap(map)} does not contain declared merge key: ${key}`);

function mergeMap(original: unknown, patch: JsonObject, schema: Schema | undefined): JsonObject {
  if (Object.hasOwn(patch, directive)) {
    const { [directive]: type, ...rest } = patch;
    if (type === "replace") return cleaned(rest) as JsonObject;
    if (type === "delete") return {};
    throw badPatchType(type, patch);
  }
  const result = retained(isObject(original) ? { ...original } : {}, patch);
  const ordered = new Set<string>();
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(orderPrefix)) continue;
    const field = key.slice(orderPrefix.length);
    ordered.add(field);
    mergeOrdered(result, patch, field, patch[key], schema);
  }
  for (const key of Object.keys(patch)) {
    if (key === retainKeys || key.startsWith(orderPrefix) || ordered.has(key)) continue;
    if (key.startsWith(deletePrefix)) {
      const field = key.slice(deletePrefix.length);
      const list = getOwn(result, field);
      const unwanted = patch[key];
      if (Array.isArray(list) && Array.isArray(unwanted)) setOwn(result, field, list.filter((item) => !unwanted.includes(item)));
      continue;
    }
    const value = patch[key];
    const before = getOwn(result, key);
    if (value === null) delete result[key];
    else if (before === undefined || kindOf(before) !== kindOf(value)) {
      const added = cleaned(value);
      if (added === undefined) delete result[key];
      else setOwn(result, key, added);
    } else setOwn(result, key, mergeValue(before, value, propertyOf(schema, key)));
  }
  return result;
}

function mergeValue(before: unknown, value: unknown, schema: Schema | undefined): unknown {
  if (isObject(value)) return strategyOf(schema) === "replace" ? cleaned(value) : mergeMap(before, value, schema);
  if (Array.isArray(value)) return strategyOf(schema) === "merge" ? mergeList(before as unknown[], value, schema!) : value;
  return value;
}

/** `$retainKeys`: what is not listed goes; what the patch sets must be listed. */
function retained(object: JsonObject, patch: JsonObject): JsonObject {
  if (!Object.hasOwn(patch, retainKeys)) return object;
  const keys = patch[retainKeys];
  if (!Array.isArray(keys)) throw badRetainKeys();
  for (const [key, value] of Object.entries(patch)) {
    if (key === retainKeys || value === null || key.startsWith(deletePrefix) || key.startsWith(orderPrefix)) continue;
    if (!keys.includes(key)) throw badRetainKeys();
  }
  for (const key of Object.keys(object)) if (!keys.includes(key)) delete object[key];
  return object;
}

/** `$setElementOrder/<field>`: merges the field's list, then puts it in the order that the patch gives. */
function mergeOrdered(result: JsonObject, patch: JsonObject, field: string, order: unknown, schema: Schema | undefined): void {
  if (!Array.isArray(order)) throw badElementOrder();
  const property = propertyOf(schema, field);
  if (property === undefined && schema?.name !== undefined && Array.isArray(getOwn(patch, field))) throw new StatusError(500, "", `unable to find api field in struct ${schema.name.split(".").at(-1)!} for the json field ${JSON.stringify(field)}`);
  const key = property?.patchMergeKey;
  const before = getOwn(result, field);
  const change = getOwn(patch, field);
  if (before !== undefined && !Array.isArray(before)) throw badElementOrder();
  if (change === null) {
    delete result[field];
    return;
  }
  if (change !== undefined && !Array.isArray(change)) throw badElementOrder();
  checkOrder(change ?? [], order, key);
  let merged: unknown[];
  if (change === undefined) {
    if (before === undefined) return;
    merged = before;
  } else if (before === undefined) merged = cleaned(change) as unknown[];
  else merged = mergeValue(before, change, property) as unknown[];
  if (strategyOf(property) === "merge") merged = inOrder(merged, order, serverOrderOf(before ?? [], change ?? [], key), key);
  setOwn(result, field, merged);
}

/**
 * The order of the server's elements, as upstream ends up with it: it merges in place, so that new elements stand
 * where deleted ones left room. kubectl's users see the result as the order of containers.
 */
function serverOrderOf(before: readonly unknown[], change: readonly unknown[], key: string | undefined): readonly unknown[] {
  const marks = change.filter((item) => isObject(item) && Object.hasOwn(item, directive)) as JsonObject[];
  if (key === undefined || marks.length === 0 || marks.some((item) => item[directive] === "replace")) return before;
  const deleted = placesOf(marks, key);
  const remaining = before.filter((item) => !deleted.has(identityOf(item, key)));
  const known = placesOf(remaining, key);
  const added = change.filter((item) => !marks.includes(item as JsonObject) && !known.has(identityOf(item, key)));
  return [...remaining, ...added].slice(0, before.length);
}

/** The patch's elements must come in the order of `$setElementOrder`, and be in it. */
function checkOrder(list: readonly unknown[], order: readonly unknown[], key: string | undefined): void {
  if (list.length === 0 || order.length === 0) return;
  const kept = list.filter((item) => !(isObject(item) && Object.hasOwn(item, directive)));
  let at = 0;
  for (const wanted of order) if (at < kept.length && sameElement(kept[at], wanted, key)) at++;
  if (at < kept.length) throw unforeseen(`The order in patch list:\n${goList(list)}\n doesn't match ${orderPrefix.slice(0, -1)} list:\n${goList(order)}\n`);
}

function mergeList(original: readonly unknown[], patch: readonly unknown[], schema: Schema): unknown[] {
  const key = schema.patchMergeKey;
  if (original.length === 0 && patch.length === 0) return [];
  const kinds = new Set([...original, ...patch].map(kindOf));
  if (kinds.has("array")) throw new StatusError(422, "Invalid", "lists of lists are not supported");
  if (kinds.size > 1) throw unforeseen("list element types are not identical");
  if (!kinds.has("object")) return inOrder([...new Set([...original, ...patch])], patch, original, undefined);
  if (key === undefined) throw unforeseen(`cannot merge lists without merge key for ${schema.items?.name?.split(".").at(-1) ?? ""}`);

  // Elements that carry a directive first: they say what remains to be merged into.
  let base: readonly unknown[] = original;
  const changes: JsonObject[] = [];
  let replace = false;
  for (const element of patch as JsonObject[]) {
    if (!Object.hasOwn(element, directive)) {
      changes.push(element);
      continue;
    }
    const type = element[directive];
    if (type === "delete") {
      if (!Object.hasOwn(element, key)) throw noMergeKey(element, key);
      base = base.filter((item) => !sameElement(item, element, key));
    } else if (type === "replace") replace = true;
    else if (type === "merge") throw unforeseen("merging lists cannot yet be specified in the patch");
    else throw badPatchType(type, element);
  }
  if (replace) return changes.map(cleaned);

  const merged = base.slice();
  for (const item of [...base, ...changes] as JsonObject[]) if (changes.length > 0 && !Object.hasOwn(item, key)) throw noMergeKey(item, key);
  const places = placesOf(base, key);
  for (const element of changes) {
    const at = places.get(element[key]);
    if (at !== undefined) merged[at] = mergeMap(merged[at], element, schema.items);
    else places.set(element[key], merged.push(cleaned(element)) - 1);
  }
  return inOrder(merged, changes, base, key);
}

/**
 * Elements named by the patch stand in the patch's order, the others in the server's; where the two meet, the
 * server's order decides, and what the server did not have comes first.
 */
function inOrder(merged: readonly unknown[], patchOrder: readonly unknown[], serverOrder: readonly unknown[], key: string | undefined): unknown[] {
  const [patchPlaces, serverPlaces] = [placesOf(patchOrder, key), placesOf(serverOrder, key)];
  const patchPlace = (item: unknown) => patchPlaces.get(identityOf(item, key)) ?? -1;
  const serverPlace = (item: unknown) => serverPlaces.get(identityOf(item, key)) ?? -1;
  const named = merged.filter((item) => patchPlace(item) >= 0).sort((a, b) => patchPlace(a) - patchPlace(b));
  const others = merged.filter((item) => patchPlace(item) < 0).sort((a, b) => serverPlace(a) - serverPlace(b));
  const result: unknown[] = [];
  let at = 0;
  for (const item of named) {
    const place = serverPlace(item);
    while (at < others.length && serverPlace(others[at]) >= 0 && serverPlace(others[at]) < place) result.push(others[at++]);
    result.push(item);
  }
  return [...result, ...others.slice(at)];
}

/** What tells elements of a merged list apart: the value of the merge key, or a primitive itself. */
function identityOf(item: unknown, key: string | undefined): unknown {
  return key === undefined ? item : isObject(item) ? getOwn(item, key) : undefined;
}

/** Identity → index of the first element that has it. */
function placesOf(list: readonly unknown[], key: string | undefined): Map<unknown, number> {
  const places = new Map<unknown, number>();
  for (const [index, item] of list.entries()) {
    const identity = identityOf(item, key);
    if (!places.has(identity)) places.set(identity, index);
  }
  return places;
}

function sameElement(a: unknown, b: unknown, key: string | undefined): boolean {
  const identity = identityOf(a, key);
  return identity !== undefined && identity === identityOf(b, key);
}

/** A value that the original did not have: without nulls and directives. Undefined when it is itself a directive. */
function cleaned(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(cleaned).filter((item) => item !== undefined);
  if (!isObject(value)) return value;
  if (Object.hasOwn(value, directive)) return undefined;
  const result: JsonObject = {};
  for (const key of Object.keys(value)) {
    if (value[key] === null || key === retainKeys || key.startsWith(orderPrefix) || key.startsWith(deletePrefix)) continue;
    const inner = cleaned(value[key]);
    if (inner !== undefined) setOwn(result, key, inner);
  }
  return result;
}

function propertyOf(schema: Schema | undefined, key: string): Schema | undefined {
  if (schema?.properties && Object.hasOwn(schema.properties, key)) return schema.properties[key];
  return schema?.additionalProperties;
}

/** "merge,retainKeys" → "merge": retainKeys only tells clients to send the directive. */
function strategyOf(schema: Schema | undefined): string | undefined {
  return schema?.patchStrategy?.split(",").find((strategy) => strategy.trim() !== "retainKeys")?.trim();
}

function kindOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

/** As Go's %v prints: map[a:1 b:x]. */
function goMap(map: JsonObject): string {
  return `map[${Object.keys(map).sort().map((key) => `${key}:${goValue(map[key])}`).join(" ")}]`;
}
function goList(list: readonly unknown[]): string {
  return `[${list.map(goValue).join(" ")}]`;
}
function goValue(value: unknown): string {
  return Array.isArray(value) ? goList(value) : isObject(value) ? goMap(value) : value === null ? "<nil>" : String(value);
}
