import type { Schema } from "../schema.ts";
import { CelEvaluationError } from "./errors.ts";
import { escapeName, unescapeName } from "./names.ts";
import { parseDuration, parseTimestamp } from "./time.ts";
import { CelMap, Duration, markList, Opaque, Optional, Timestamp, TypeValue, Uint } from "./values.ts";

/** Numbers that no schema describes: whole ones are ints. */
const numberOf = (value: number): unknown => (Number.isInteger(value) && Math.abs(value) <= 2 ** 63 ? BigInt(value) : value);

/** A JSON object, its entries made values when they are read: most rules look at few of many. */
class JsonMap extends CelMap {
  readonly #raw: Readonly<Record<string, unknown>>;
  readonly #schema: Schema | undefined;
  readonly #read = new Map<string, unknown>();
  #names: string[] | undefined;

  constructor(raw: Readonly<Record<string, unknown>>, schema: Schema | undefined) {
    super();
    this.#raw = raw;
    this.#schema = schema;
  }
  get size(): number {
    return (this.#names ??= Object.keys(this.#raw)).length;
  }
  keys(): Iterable<unknown> {
    return (this.#names ??= Object.keys(this.#raw));
  }
  get(key: unknown): unknown {
    if (typeof key !== "string" || !Object.hasOwn(this.#raw, key)) return undefined;
    let value = this.#read.get(key);
    if (value === undefined) this.#read.set(key, (value = fromJson(this.#raw[key], this.#schema)));
    return value;
  }
}

/** A JSON object whose fields a schema names: fields have escaped names, and those it does not name are not there. */
class JsonObject extends CelMap {
  readonly #raw: Readonly<Record<string, unknown>>;
  readonly #schema: Schema;
  readonly #root: boolean;
  readonly #read = new Map<string, unknown>();
  override readonly typeName = "object";

  constructor(raw: Readonly<Record<string, unknown>>, schema: Schema, root: boolean) {
    super();
    this.#raw = raw;
    this.#schema = schema;
    this.#root = root;
  }
  #schemaOf(name: string): Schema | undefined {
    const { properties } = this.#schema;
    return properties && Object.hasOwn(properties, name) ? properties[name] : this.#root || this.#schema.embeddedResource ? rootFields[name] : undefined;
  }
  #names(): string[] {
    return Object.keys(this.#raw).filter((name) => this.#schemaOf(name) !== undefined || this.#schema.preserveUnknownFields);
  }
  get size(): number {
    return this.#names().length;
  }
  keys(): Iterable<unknown> {
    return this.#names().map(escapeName);
  }
  get(key: unknown): unknown {
    if (typeof key !== "string") return undefined;
    let value = this.#read.get(key);
    if (value !== undefined) return value;
    const name = unescapeName(key);
    // A null says of a field no more than its absence.
    if (!Object.hasOwn(this.#raw, name) || this.#raw[name] === null) return undefined;
    const schema = this.#schemaOf(name);
    if (!schema && !this.#schema.preserveUnknownFields) return undefined;
    value = fromJson(this.#raw[name], schema);
    this.#read.set(key, value);
    return value;
  }
}

const stringSchema: Schema = { type: "string" };
/** What rules of a whole resource may always see. */
export const rootFields: Readonly<Record<string, Schema>> = { apiVersion: stringSchema, kind: stringSchema, metadata: { type: "object", properties: { name: stringSchema, generateName: stringSchema } } };

/**
 * @param root whether it is a whole resource, whose kind and name rules may see whatever the schema says
 * @throws CelEvaluationError for a value that is not of the schema
 */
export function fromJson(value: unknown, schema?: Schema, root = false): unknown {
  if (value === undefined || value === null) {
    if (schema && schema.nullable === false) throw new CelEvaluationError("invalid data, got null for schema with nullable=false");
    return null;
  }
  const typed = schema && schema.format !== "int-or-string" ? schema : undefined;
  switch (typeof value) {
    case "boolean":
      return value;
    case "bigint":
      return value;
    case "number":
      if (typed?.type === "number") return value;
      if (typed?.type === "integer" && !Number.isInteger(value)) throw new CelEvaluationError(`invalid data, expected int, got ${value}`);
      return numberOf(value);
    case "string":
      return typed?.type === "string" ? stringOf(value, typed.format) : value;
    default:
  }
  if (typed?.type === "string" && !isCelValue(value)) throw new CelEvaluationError(`invalid data, expected string, got ${Array.isArray(value) ? "[]interface {}" : "map[string]interface {}"}`);
  if (Array.isArray(value)) {
    const list = value.map((element) => fromJson(element, typed?.items));
    if (typed?.listType === "set" || typed?.listType === "map") markList(list, { listType: typed.listType, keys: (typed.listMapKeys ?? []).map(escapeName) });
    return list;
  }
  if (isCelValue(value)) return value;
  if (typeof value !== "object") throw new CelEvaluationError("unsupported value");
  if (typed?.type === "object" && (typed.properties || root || typed.embeddedResource) && !typed.additionalProperties) return new JsonObject(value as Record<string, unknown>, typed, root);
  return new JsonMap(value as Record<string, unknown>, typed?.additionalProperties);
}

const isCelValue = (value: unknown): boolean => value instanceof CelMap || value instanceof Opaque || value instanceof Timestamp || value instanceof Duration || value instanceof Uint || value instanceof Uint8Array || value instanceof Optional || value instanceof TypeValue;

function stringOf(value: string, format: string | undefined): unknown {
  switch (format) {
    case "byte":
      return Uint8Array.from(Buffer.from(value, "base64"));
    case "duration":
      return parseDuration(value);
    case "date":
      return parseTimestamp(`${value}T00:00:00Z`);
    case "date-time":
      return parseTimestamp(value);
    default:
      return value;
  }
}
