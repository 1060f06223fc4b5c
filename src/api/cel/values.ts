import { CelEvaluationError } from "./errors.ts";

/**
 * Values while an expression runs: null, boolean, bigint (int), number (double), string and arrays as they are;
 * the rest in these classes. Source of what equals what: CEL's language definition, sections "Values" and "Equality".
 */
export class Uint {
  readonly value: bigint;
  constructor(value: bigint) {
    this.value = value;
  }
}
/** Nanoseconds since 1970. */
export class Timestamp {
  readonly nanos: bigint;
  constructor(nanos: bigint) {
    this.nanos = nanos;
  }
}
export class Duration {
  readonly nanos: bigint;
  constructor(nanos: bigint) {
    this.nanos = nanos;
  }
}
/** What `type(x)` is. */
export class TypeValue {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}
export class Optional {
  static readonly none = new Optional(undefined);
  readonly value: unknown;
  constructor(value: unknown) {
    this.value = value;
  }
}
/** A value of a library's own type: a quantity, an address … */
export abstract class Opaque {
  /** "kubernetes.Quantity" */
  abstract readonly typeName: string;
  equals(other: unknown): boolean {
    return this === other;
  }
  /** What `actualSize` is to the cost: addresses have one. */
  get size(): number {
    return 1;
  }
}

/** Maps, and objects with fields: they differ in what is absent, and in what their keys may be. */
export abstract class CelMap {
  abstract readonly size: number;
  abstract keys(): Iterable<unknown>;
  /** undefined when there is none. */
  abstract get(key: unknown): unknown;
  /** Of objects: "object", or the name that a literal gave. */
  readonly typeName: string | undefined = undefined;
  has(key: unknown): boolean {
    return this.get(key) !== undefined;
  }
}

/** 1, 1u and 1.0 are the same key; "1" is another. */
const keyOf = (key: unknown): unknown => {
  if (typeof key === "bigint") return key;
  if (key instanceof Uint) return key.value;
  if (typeof key === "number") return Number.isInteger(key) ? BigInt(key) : key;
  return key;
};

/** What a literal or a macro makes. */
export class EntryMap extends CelMap {
  readonly #entries = new Map<unknown, { key: unknown; value: unknown }>();
  override readonly typeName: string | undefined;

  constructor(typeName?: string) {
    super();
    this.typeName = typeName;
  }
  get size(): number {
    return this.#entries.size;
  }
  *keys(): Iterable<unknown> {
    for (const { key } of this.#entries.values()) yield key;
  }
  get(key: unknown): unknown {
    return this.#entries.get(keyOf(key))?.value;
  }
  set(key: unknown, value: unknown): void {
    this.#entries.set(keyOf(key), { key, value });
  }
}

/** How lists are compared that a schema calls a set or a map. */
export interface ListSemantics {
  readonly listType: "set" | "map";
  readonly keys: readonly string[];
}
const semantics = new WeakMap<readonly unknown[], ListSemantics>();
export const markList = (list: readonly unknown[], how: ListSemantics): void => void semantics.set(list, how);
export const semanticsOf = (list: readonly unknown[]): ListSemantics | undefined => semantics.get(list);

export function typeNameOf(value: unknown): string {
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "bigint":
      return "int";
    case "number":
      return "double";
    case "string":
      return "string";
    default:
      if (value === null) return "null_type";
      if (value instanceof Uint) return "uint";
      if (Array.isArray(value)) return "list";
      if (value instanceof CelMap) return value.typeName ?? "map";
      if (value instanceof Timestamp) return "google.protobuf.Timestamp";
      if (value instanceof Duration) return "google.protobuf.Duration";
      if (value instanceof Uint8Array) return "bytes";
      if (value instanceof TypeValue) return "type";
      if (value instanceof Optional) return "optional_type";
      if (value instanceof Opaque) return value.typeName;
      throw new CelEvaluationError("unsupported value");
  }
}

export const isNumber = (value: unknown): value is number | bigint | Uint => typeof value === "number" || typeof value === "bigint" || value instanceof Uint;
export const plainNumber = (value: number | bigint | Uint): number | bigint => (value instanceof Uint ? value.value : value);

/** Numbers of different types by what they count; values of different types are not equal, and no error. */
export function equal(a: unknown, b: unknown): boolean {
  // eslint-disable-next-line eqeqeq -- a bigint and a number are compared exactly by it
  if (isNumber(a) && isNumber(b)) return plainNumber(a) == plainNumber(b);
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  if (Array.isArray(a)) return Array.isArray(b) && equalLists(a, b);
  if (a instanceof CelMap) return b instanceof CelMap && equalMaps(a, b);
  if (a instanceof Timestamp) return b instanceof Timestamp && a.nanos === b.nanos;
  if (a instanceof Duration) return b instanceof Duration && a.nanos === b.nanos;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (a instanceof TypeValue) return b instanceof TypeValue && a.name === b.name;
  if (a instanceof Optional) return b instanceof Optional && (a.value === undefined || b.value === undefined ? a.value === b.value : equal(a.value, b.value));
  return a instanceof Opaque && b instanceof Opaque && a.typeName === b.typeName && a.equals(b);
}

function equalMaps(a: CelMap, b: CelMap): boolean {
  if (a.size !== b.size) return false;
  for (const key of a.keys()) {
    const other = b.get(key);
    if (other === undefined || !equal(a.get(key), other)) return false;
  }
  return true;
}

/** The text under which set elements and map keys that are equal meet. */
export function identity(value: unknown): string {
  if (isNumber(value)) return `n${plainNumber(value)}`;
  if (Array.isArray(value)) return `[${value.map(identity).join(",")}]`;
  if (value instanceof CelMap) return `{${[...value.keys()].map((key) => `${identity(key)}:${identity(value.get(key))}`).toSorted().join(",")}}`;
  if (value instanceof Timestamp || value instanceof Duration) return `t${value.nanos}`;
  if (value instanceof Uint8Array) return `x${Buffer.from(value).toString("base64")}`;
  return JSON.stringify(value) ?? typeNameOf(value);
}
/** Of an element of a map list: its keys. */
export const keyText = (element: unknown, keys: readonly string[]): string => (element instanceof CelMap ? keys.map((key) => identity(element.get(key) ?? null)).join("\n") : identity(element));

function equalLists(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  const how = semantics.get(a) ?? semantics.get(b);
  if (!how) return a.every((element, index) => equal(element, b[index]));
  const text = (element: unknown): string => (how.listType === "set" ? identity(element) : keyText(element, how.keys));
  const others = new Map(b.map((element) => [text(element), element]));
  return a.every((element) => {
    const other = others.get(text(element));
    return other !== undefined && equal(element, other);
  });
}

/** Negative, 0, positive; undefined for values that have no order between them. */
export function compare(a: unknown, b: unknown): number | undefined {
  if (isNumber(a) && isNumber(b)) {
    const [left, right] = [plainNumber(a), plainNumber(b)];
    return left < right ? -1 : left > right ? 1 : left == right ? 0 : undefined; // eslint-disable-line eqeqeq
  }
  if (typeof a === "string" && typeof b === "string") return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b));
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  if ((a instanceof Timestamp && b instanceof Timestamp) || (a instanceof Duration && b instanceof Duration)) return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b);
  return undefined;
}

/** Elements, entries, bytes or code points: what traversing it costs. */
export function sizeOf(value: unknown): number {
  if (typeof value === "string") return codePoints(value);
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length;
  if (value instanceof CelMap || value instanceof Opaque) return value.size;
  if (value instanceof Optional && value.value !== undefined) return sizeOf(value.value);
  return 1;
}

export function codePoints(text: string): number {
  let count = text.length;
  for (let at = 0; at < text.length - 1; at++) {
    if ((text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00) {
      count--;
      at++;
    }
  }
  return count;
}
