import { isObject } from "../../base/is-object.ts";
import { deduce, emptyStruct, type Shape, untyped } from "./shape.ts";

/**
 * The value as a Go server holds it: structs and lists that Go always writes are there, empty or null, also when
 * nobody set them. In values that are compared as a whole (an atomic list of endpoints) that makes a difference to
 * what a client states. A scalar that is zero is added only inside such a struct: outside it could not be told from
 * one that somebody set. Shares with the value whatever it can; {@link withoutZeros} takes away again what was added.
 */
export function withZeros(shape: Shape, value: unknown, scalarsToo = false): unknown {
  const as = deduce(shape, value);
  if (as === "scalar" || typeof value !== "object" || value === null) return value;
  if ("keys" in as) {
    if (!Array.isArray(value)) return value;
    const items = value.map((item) => withZeros(as.items, item, scalarsToo));
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  if (!isObject(value)) return value;
  let result: Record<string, unknown> | undefined;
  for (const name of Object.keys(value)) {
    const before = value[name];
    const after = withZeros(as.at(name) ?? untyped, before, scalarsToo);
    if (after !== before) (result ??= { ...value })[name] = after;
  }
  for (const [name, zero] of as.zeros) {
    if (value[name] !== undefined) continue;
    if (zero === emptyStruct) (result ??= { ...value })[name] = structOf(as.at(name)!);
    else if (scalarsToo || zero === null) (result ??= { ...value })[name] = zero;
  }
  return result ?? value;
}

const structs = new WeakMap<Shape, object>();
const added = new WeakSet<object>();

/** An empty struct, with those in it that Go writes: one object for each type, by which it is known again. */
function structOf(shape: Shape): object {
  let struct = structs.get(shape);
  if (!struct) {
    const inner = withZeros(shape, emptyStruct, true) as object;
    structs.set(shape, (struct = inner === emptyStruct ? Object.freeze({}) : inner));
    added.add(struct);
  }
  return struct;
}

/** Nulls stay, unless it is asked otherwise: of a built-in kind decoding drops them. */
export function withoutZeros(value: unknown, { nulls = true }: { nulls?: boolean } = {}): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => withoutZeros(item, { nulls }));
    return items.every((item, index) => item === value[index]) ? value : items;
  }
  if (!isObject(value)) return value;
  let result: Record<string, unknown> | undefined;
  for (const name of Object.keys(value)) {
    const before = value[name];
    if ((isObject(before) && added.has(before)) || (before === null && !nulls)) {
      delete (result ??= { ...value })[name];
      continue;
    }
    const after = withoutZeros(before, { nulls });
    if (after !== before) (result ??= { ...value })[name] = after;
  }
  return result ?? value;
}
