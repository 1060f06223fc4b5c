import { isObject } from "../../base/is-object.ts";
import { type Fields, noFields } from "./fields.ts";
import { fieldElement, type PathElement } from "./path-element.ts";
import { deduce, type ListShape, type MapShape, type Shape, untyped } from "./shape.ts";

/**
 * What became of an object's fields. A map or list that came or went counts itself and everything in it; the order
 * of an associative list does not count.
 * Source: sigs.k8s.io/structured-merge-diff/v6/typed/compare.go.
 */
export interface Comparison {
  readonly added: Fields;
  readonly modified: Fields;
  readonly removed: Fields;
}
type Side = "added" | "modified" | "removed";
const sides = ["added", "modified", "removed"] as const;
/** Of one node: the trees that stand for it. */
type Difference = Partial<Record<Side, Fields>>;
const modified: Difference = { modified: noFields };

/**
 * Throws ListElementError. Neither object is changed; parts that both share cost nothing. Both are taken as Go
 * structs, of which some fields are there though nobody set them, unless they are `plain`.
 */
export function compare(shape: Shape, old: unknown, next: unknown, { plain = false }: { plain?: boolean } = {}): Comparison {
  const difference = (plain ? plainly : asStructs).values(shape, old, next);
  return { added: difference?.added ?? noFields, modified: difference?.modified ?? noFields, removed: difference?.removed ?? noFields };
}

class Comparer {
  readonly #zerosOf: (shape: MapShape) => MapShape["zeros"];
  constructor(zerosOf: (shape: MapShape) => MapShape["zeros"]) {
    this.#zerosOf = zerosOf;
  }

  values(shape: Shape, old: unknown, next: unknown): Difference | undefined {
    if (old === next) return undefined;
    if (old === undefined) return { added: this.#everything(shape, next) };
    if (next === undefined) return { removed: this.#everything(shape, old) };
    const [before, after] = [deduce(shape, old), deduce(shape, next)];
    const difference = this.#as(after, old, next);
    // A value that became something else altogether is looked at as either.
    return before === after ? difference : merged(this.#as(before, old, next), difference);
  }

  #as(as: MapShape | ListShape | "scalar", old: unknown, next: unknown): Difference | undefined {
    if (as === "scalar") return equalValues(old, next) ? undefined : modified;
    if ("keys" in as) {
      const [left, right] = [Array.isArray(old) ? old : [], Array.isArray(next) ? next : []];
      if (as.atomic || (left.length === 0 && right.length === 0)) return equalValues(old, next) ? undefined : modified;
      return equalValues(left, right) ? undefined : this.#lists(as, left, right);
    }
    const [left, right] = [isObject(old) ? old : undefined, isObject(next) ? next : undefined];
    if (as.atomic || (this.#isEmpty(as, left) && this.#isEmpty(as, right))) return equalValues(old, next) ? undefined : modified;
    return this.#maps(as, left, right);
  }

  /** A struct of Go's is empty only if Go would write nothing of it. */
  #isEmpty(shape: MapShape, map: Record<string, unknown> | undefined): boolean {
    if (map === undefined) return true;
    for (const name in map) if (map[name] !== undefined) return false;
    return this.#zerosOf(shape).length === 0;
  }

  #maps(shape: MapShape, old: Record<string, unknown> | undefined, next: Record<string, unknown> | undefined): Difference | undefined {
    const zeros = this.#zerosOf(shape);
    let out: Difference | undefined;
    const compareAt = (name: string) => {
      const field = shape.fields.get(name);
      let before = own(old, name);
      let after = own(next, name);
      if (zeros.length > 0 && before === undefined && old) before = field?.zero;
      if (zeros.length > 0 && after === undefined && next) after = field?.zero;
      if (before === after) return;
      const difference = this.values(field?.shape ?? shape.element ?? untyped, before, after);
      if (difference) out = collect(out, fieldElement(name), difference);
    };
    for (const name in next) compareAt(name);
    for (const name in old) if (own(next, name) === undefined) compareAt(name);
    if (!old || !next) for (const [name] of zeros) if ((old ?? next)?.[name] === undefined) compareAt(name);
    return out;
  }

  #lists(shape: ListShape, old: readonly unknown[], next: readonly unknown[]): Difference | undefined {
    const left = grouped(shape, old);
    const right = grouped(shape, next);
    let out: Difference | undefined;
    for (const element of new Set([...left.keys(), ...right.keys()])) {
      const before = left.get(element) ?? [];
      const after = right.get(element) ?? [];
      const difference = before.length <= 1 && after.length <= 1 ? this.values(shape.items, before[0], after[0]) : this.#duplicates(shape.items, before, after);
      if (difference) out = collect(out, element, difference);
    }
    return out;
  }

  /** Elements with one key that come more than once are one field together. */
  #duplicates(items: Shape, before: readonly unknown[], after: readonly unknown[]): Difference | undefined {
    if (before.length >= 2 && after.length >= 2) return equalValues(before, after) ? undefined : modified;
    if (before.length >= 2) return { removed: noFields, ...(after.length > 0 && { added: this.#everything(items, after[0]) }) };
    return { added: noFields, ...(before.length > 0 && { removed: this.#everything(items, before[0]) }) };
  }

  /** The tree of a value that came or went as a whole. */
  #everything(shape: Shape, value: unknown): Fields {
    const as = deduce(shape, value);
    if (as === "scalar" || as.atomic || typeof value !== "object" || value === null) return noFields;
    // In the order in which sets are written, so that most need no sorting.
    const node: Record<PathElement, Fields> = { ".": noFields };
    let empty = true;
    if ("keys" in as) {
      for (const [element, values] of grouped(as, value as unknown[])) {
        node[element] = values.length > 1 ? noFields : this.#everything(as.items, values[0]);
        empty = false;
      }
      return empty ? noFields : node;
    }
    const map = value as Record<string, unknown>;
    const names = Object.keys(map);
    for (const [name] of this.#zerosOf(as)) if (map[name] === undefined && !Object.hasOwn(map, name)) names.push(name);
    for (const name of names.sort()) {
      const field = as.fields.get(name);
      const item = map[name] ?? (map[name] === undefined && this.#zerosOf(as).length > 0 ? field?.zero : null);
      if (item === undefined) continue;
      node[fieldElement(name)] = this.#everything(field?.shape ?? as.element ?? untyped, item);
      empty = false;
    }
    return empty ? noFields : node;
  }
}
const asStructs = new Comparer((shape) => shape.zeros);
const plainly = new Comparer(() => []);

/** The list's items by their elements, in order. */
export function grouped(shape: ListShape, list: readonly unknown[]): Map<PathElement, unknown[]> {
  const groups = new Map<PathElement, unknown[]>();
  for (const item of list) {
    const element = shape.elementOf(item);
    const group = groups.get(element);
    if (group) group.push(item);
    else groups.set(element, [item]);
  }
  return groups;
}

function collect(out: Difference | undefined, element: PathElement, difference: Difference): Difference {
  const target = (out ?? {}) as Partial<Record<Side, Record<PathElement, Fields>>>;
  for (const side of sides) if (difference[side] !== undefined) (target[side] ??= {})[element] = difference[side];
  return target;
}

function merged(a: Difference | undefined, b: Difference | undefined): Difference | undefined {
  if (!a || !b) return a ?? b;
  const out: Difference = { ...a };
  for (const side of sides) {
    const [left, right] = [a[side], b[side]];
    // Only one of the two has anything below itself; the other is the mark of a leaf.
    if (left && right) out[side] = Object.keys(right).length === 0 ? (Object.keys(left).length === 0 ? left : { ".": noFields, ...left }) : Object.keys(left).length === 0 ? { ".": noFields, ...right } : { ...left, ...right };
    else if (right) out[side] = right;
  }
  return out;
}

/** Deep equality of JSON values; a key that is undefined is no key. */
export function equalValues(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let index = 0; index < a.length; index++) if (!equalValues(a[index], b[index])) return false;
    return true;
  }
  if (Array.isArray(b)) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  for (const key in left) if (!equalValues(left[key], own(right, key))) return false;
  for (const key in right) if (right[key] !== undefined && own(left, key) === undefined) return false;
  return true;
}

/** A key of data may be called like something that every object inherits. */
const own = (map: Record<string, unknown> | undefined, name: string): unknown => (map !== undefined && Object.hasOwn(map, name) ? map[name] : undefined);
