import { builtinSchema } from "./kinds/table.ts";
import { canonicalQuantity, QuantityError } from "./quantity.ts";
import { canonicalBase64, canonicalMicroTime, canonicalTime, ScalarError } from "./scalars.ts";
import type { Schema } from "./schema.ts";
import { badRequestError, type StatusError } from "./status.ts";

/**
 * One pass over a decoded JSON value with its schema, as Go's decoder makes one over the bytes: unknown fields are
 * named and dropped, wrong types refused with Go's text, nulls and zero values that Go would not write dropped,
 * quantities and times brought to canonical form, and the few defaults set that upstream's markers declare.
 * Source of texts and rules: sigs.k8s.io/json (a fork of encoding/json), k8s.io/apimachinery/pkg/runtime.
 */
export interface WalkOptions {
  /** Parts of the value belong to somebody else: copy what the walk touches. Otherwise it is changed in place. */
  shared?: boolean;
  /**
   * Fields in the order in which Go declares them, and the first mistake of any sort ends the walk: as upstream's converter
   * goes through a patched object, which its decoder never sees.
   */
  declared?: boolean;
  /** Leave defaults unset and zero values in place: for applied configurations and patches. */
  partial?: boolean;
}
export interface Walked {
  value: Record<string, unknown>;
  /** `unknown field "spec.foo"`, in document order: for Strict and Warn. */
  unknownFields: string[];
}

/** The value does not fit the Go type; the message is Go's. */
export class DecodeError extends Error {
  /** The 400 that a request with such a body gets. */
  toStatusError(version: string, kind: string): StatusError {
    return cannotBeHandled(version, kind, this.message);
  }
}

export function cannotBeHandled(version: string, kind: string, why: string): StatusError {
  return badRequestError(`${kind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}: ${why}`);
}

/** The 400 of `fieldValidation=Strict`: unknown and duplicate fields, as named by the walk and the scanner. */
export const strictDecodingText = (problems: readonly string[]): string => `strict decoding error: ${problems.join(", ")}`;

/** Throws DecodeError. */
export function walk(schema: Schema, value: Record<string, unknown>, options: WalkOptions = {}): Walked {
  const walker = new Walker(options.shared ?? false, options.partial ?? false, options.declared ?? false);
  try {
    const walked = { value: walker.object(planOf(schema), value), unknownFields: walker.unknownFields };
    if (walker.mismatch) throw walker.mismatch;
    return walked;
  } catch (error) {
    throw error instanceof ScalarError || error instanceof QuantityError ? new DecodeError(error.message) : error;
  }
}

/** Upstream stops counting there. */
const unknownFieldsMax = 100;
/** Deeper values are refused: only a JSONSchemaProps can be this deep, and only on purpose. */
const depthMax = 1000;

const mapKeyMark = "\0";

type Shape = "string" | "int32" | "int64" | "boolean" | "number" | "bytes" | "date-time" | "micro-time" | "quantity" | "int-or-string" | "schema-or-array" | "schema-or-bool" | "any" | "array" | "map" | "object";

/** What the walk needs of a schema node, computed once per node. */
class Plan {
  readonly schema: Schema;
  readonly shape: Shape;
  readonly omitZero: boolean;
  /** Round quantities below up to thousandths. */
  readonly milli: boolean;
  #fields: Map<string, Plan> | undefined;
  #defaults: [name: string, value: unknown][] | undefined;
  #items: Plan | undefined;
  #order: Map<string, number> | undefined;

  constructor(schema: Schema) {
    this.schema = schema;
    this.shape = shapeOf(schema);
    this.omitZero = schema.omitZero ?? false;
    this.milli = schema.goType === "v1.ResourceList" && !(schema.isExact ?? false);
  }
  get fields(): Map<string, Plan> {
    return (this.#fields ??= new Map(Object.entries(this.schema.properties ?? {}).map(([name, property]) => [name, planOf(property)])));
  }
  /**
   * What an absent field gets: the default of a marker, or the zero that Go writes where it has no `omitempty`, and of
   * structs and times in any case. Clients in typed languages refuse a status without its required `replicas: 0`.
   * A struct stands there as its plan: each gets one of its own.
   */
  get defaults(): [name: string, value: unknown][] {
    return (this.#defaults ??= [...this.fields].flatMap(([name, field]): [string, unknown][] => {
      if (field.schema.default !== undefined) return [[name, field.schema.default]];
      const facts = this.schema.protobuf?.[name];
      if (facts?.pointer !== false) return facts?.always ? [[name, null]] : [];
      // Upstream's one field with `omitzero`.
      if (field.omitZero || (name === "creationTimestamp" && this.schema.name?.endsWith(".ObjectMeta"))) return [];
      // Go has pointers behind these, which the tables do not say.
      if ((field.shape === "any" && field.schema.format !== "raw") || field.shape === "schema-or-array" || field.shape === "schema-or-bool") return [];
      return [[name, field.shape === "object" ? field : unsetOf(field)]];
    }));
  }
  /** The object's keys as Go declares the fields, which their protobuf numbers say; then those it does not know. */
  inOrder(object: object): string[] {
    const order = (this.#order ??= new Map([...this.fields.keys()].map((name): [string, readonly number[]] => [name, this.schema.protobuf?.[name]?.path ?? []]).sort(([, a], [, b]) => comparePaths(a, b)).map(([name], index) => [name, index])));
    return Object.keys(object).sort((a, b) => (order.get(a) ?? order.size) - (order.get(b) ?? order.size));
  }
  get items(): Plan {
    return (this.#items ??= planOf(this.schema.items ?? this.schema.additionalProperties ?? {}));
  }
}

function comparePaths(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < a.length && index < b.length; index++) if (a[index] !== b[index]) return a[index]! - b[index]!;
  return a.length - b.length;
}

/** What Go writes for a list or map that nobody made is null; made of a null element it would be empty. */
const unsetOf = (plan: Plan): unknown => (plan.shape === "array" || plan.shape === "map" || plan.shape === "bytes" ? null : zeroOf(plan));

const plans = new WeakMap<Schema, Plan>();

function planOf(schema: Schema): Plan {
  let plan = plans.get(schema);
  if (!plan) plans.set(schema, (plan = new Plan(schema)));
  return plan;
}

function shapeOf(schema: Schema): Shape {
  switch (schema.format) {
    case "quantity":
    case "int-or-string":
    case "date-time":
    case "micro-time":
    case "schema-or-array":
    case "schema-or-bool":
      return schema.format;
    case "byte":
      return "bytes";
  }
  if (schema.preserveUnknownFields) return "any";
  switch (schema.type) {
    case "string":
    case "boolean":
    case "number":
    case "array":
      return schema.type;
    case "integer":
      return schema.format === "int64" ? "int64" : "int32";
    case "object":
      return schema.additionalProperties ? "map" : "object";
    default:
      return "any";
  }
}

let schemas: Plan | undefined;
/** JSONSchemaProps, in which schemas lie inside schemas. */
const planOfSchemas = (): Plan =>
  (schemas ??= planOf(builtinSchema("apiextensions.k8s.io", "v1", "CustomResourceDefinition")!.properties!["spec"]!.properties!["versions"]!.items!.properties!["schema"]!.properties!["openAPIV3Schema"]!));

class Walker {
  readonly unknownFields: string[] = [];
  /** The first value of a wrong type. Go notes it and goes on: a time or quantity that does not parse is told instead. */
  mismatch: DecodeError | undefined;
  readonly #shared: boolean;
  readonly #partial: boolean;
  readonly #declared: boolean;
  /** Where the walk is: names, numbers of list elements, and keys of maps behind a mark, since Go's texts leave them out. */
  readonly #path: (string | number)[] = [];
  readonly #structs: Plan[] = [];

  constructor(shared: boolean, partial: boolean, declared: boolean) {
    this.#shared = shared;
    this.#partial = partial;
    this.#declared = declared;
  }

  object(plan: Plan, input: Record<string, unknown>): Record<string, unknown> {
    if (this.#path.length > depthMax) throw new DecodeError("exceeded max depth");
    const object = this.#shared ? { ...input } : input;
    const fields = plan.fields;
    this.#structs.push(plan);
    for (const key of this.#declared ? plan.inOrder(object) : Object.keys(object)) {
      const field = fields.get(key);
      if (field === undefined) {
        this.#unknown(key);
        delete object[key];
        continue;
      }
      const before = object[key];
      this.#path.push(key);
      const after = before === null ? undefined : this.value(field, before);
      this.#path.pop();
      if (after === undefined) delete object[key];
      else if (after !== before) object[key] = after;
    }
    this.#structs.pop();
    if (!this.#partial) for (const [name, value] of plan.defaults) if (object[name] === undefined) object[name] = value instanceof Plan ? this.object(value, {}) : value;
    return object;
  }

  /** The value in its canonical form; undefined when Go would not write it. Never called with null. */
  value(plan: Plan, value: unknown): unknown {
    const dropZero = plan.omitZero && !this.#partial;
    switch (plan.shape) {
      case "string":
        if (typeof value !== "string") return this.#mismatch(plan, value);
        return dropZero && value === "" ? undefined : value;
      case "int32":
      case "int64":
        if (typeof value !== "number") return this.#mismatch(plan, value);
        if (plan.shape === "int32" ? (value | 0) !== value : !Number.isInteger(value) || Math.abs(value) >= 2 ** 63) return this.#mismatch(plan, value, ` ${value}`);
        return dropZero && value === 0 ? undefined : value;
      case "boolean":
        if (typeof value !== "boolean") return this.#mismatch(plan, value);
        return dropZero && !value ? undefined : value;
      case "number":
        if (typeof value !== "number") return this.#mismatch(plan, value);
        return dropZero && value === 0 ? undefined : value;
      case "object":
        if (typeof value !== "object" || Array.isArray(value)) return this.#mismatch(plan, value);
        return this.object(plan, value as Record<string, unknown>);
      case "array":
        if (!Array.isArray(value)) return this.#mismatch(plan, value);
        // What is stored as protobuf does not tell an empty list from none.
        if (value.length === 0 && !this.#partial) return plan.omitZero ? undefined : null;
        return this.#array(plan, value);
      case "map":
        if (typeof value !== "object" || Array.isArray(value)) return this.#mismatch(plan, value);
        return this.#map(plan, value as Record<string, unknown>, dropZero);
      case "quantity":
        return this.#quantity(value, false);
      case "int-or-string":
        if (typeof value === "string" || (typeof value === "number" && (value | 0) === value)) return value;
        throw this.#mismatchOfDecoder(value, "int32", typeof value === "number" ? ` ${value}` : "");
      case "date-time":
        if (typeof value !== "string") throw this.#mismatchOfDecoder(value, "string");
        return canonicalTime(value);
      case "micro-time":
        if (typeof value !== "string") throw this.#mismatchOfDecoder(value, "string");
        return canonicalMicroTime(value);
      case "bytes":
        // Go reads a list as the bytes it lists.
        if (Array.isArray(value)) return dropZero && value.length === 0 ? undefined : this.#listedBytes(value);
        if (typeof value !== "string") return this.#mismatch(plan, value);
        return dropZero && value === "" ? undefined : this.#bytes(value);
      case "schema-or-bool":
        if (typeof value === "boolean") return value;
        if (typeof value !== "object" || Array.isArray(value)) throw new DecodeError("boolean or JSON schema expected");
        return this.object(planOfSchemas(), value as Record<string, unknown>);
      case "schema-or-array":
        if (Array.isArray(value)) return value.map((item: unknown) => this.value(planOfSchemas(), item ?? {}));
        // Go takes what is neither for an empty schema.
        return this.object(planOfSchemas(), typeof value === "object" ? (value as Record<string, unknown>) : {});
      case "any":
        return value;
    }
  }

  #zero = (plan: Plan): unknown => (plan.shape === "object" ? this.object(plan, {}) : zeroOf(plan));

  #array(plan: Plan, input: unknown[]): unknown[] {
    const array = this.#shared ? input.slice() : input;
    const items = plan.items;
    for (let index = 0; index < array.length; index++) {
      const before = array[index];
      this.#path.push(index);
      // Go decodes null into the zero value of the element's type.
      const after = before === null ? this.#zero(items) : this.value(items, before);
      this.#path.pop();
      if (after !== before) array[index] = after;
    }
    return array;
  }

  #map(plan: Plan, input: Record<string, unknown>, dropZero: boolean): Record<string, unknown> | undefined {
    const map = this.#shared ? { ...input } : input;
    const items = plan.items;
    let empty = true;
    for (const key in map) {
      empty = false;
      const before = map[key];
      let after: unknown;
      if (before === null) after = this.#zero(items);
      else if (items.shape === "string" && typeof before === "string") continue;
      else {
        this.#path.push(mapKeyMark + key);
        after = items.shape === "quantity" ? this.#quantity(before, plan.milli) : this.value(items, before);
        this.#path.pop();
      }
      if (after !== before) map[key] = after;
    }
    return empty && dropZero ? undefined : map;
  }

  #quantity(value: unknown, milli: boolean): string {
    // Anything but a number is parsed as text, and what is not a quantity fails there.
    return canonicalQuantity(typeof value === "string" ? value : JSON.stringify(value), milli);
  }

  #listedBytes(list: readonly unknown[]): string {
    for (const item of list) {
      if (item === null || (typeof item === "number" && (item & 0xff) === item)) continue;
      if (this.#declared && !Number.isInteger(item)) throw new DecodeError(converterText("uint8", "uint8", item));
      this.mismatch ??= this.#mismatchInside(item, "uint8", typeof item === "number" ? ` ${item}` : "");
    }
    return Buffer.from(list as number[]).toString("base64");
  }

  /** A wrong character is noted like a wrong type. */
  #bytes(text: string): string | undefined {
    try {
      return canonicalBase64(text);
    } catch (error) {
      this.mismatch ??= new DecodeError((error as Error).message);
      return undefined;
    }
  }

  #unknown(key: string): void {
    if (this.unknownFields.length >= unknownFieldsMax) return;
    let text = "";
    for (const part of this.#path) text += typeof part === "number" ? `[${part}]` : `${text === "" ? "" : "."}${part.startsWith(mapKeyMark) ? part.slice(1) : part}`;
    this.unknownFields.push(`unknown field ${JSON.stringify(text === "" ? key : `${text}.${key}`)}`);
  }

  #mismatch(plan: Plan, value: unknown, literal = ""): undefined {
    // Upstream's converter lets a whole number that is too large wrap around: it is refused, as in a body.
    if (this.#declared && !(isIntegral(plan) && Number.isInteger(value))) throw new DecodeError(converterText(plan.shape, goTypeOf(plan.schema), value));
    this.mismatch ??= this.#mismatchInside(value, goTypeOf(plan.schema), literal);
    if (this.#declared) throw this.mismatch;
  }

  /** What a type with a decoder of its own says; that ends the walk. The converter calls it outside of any struct. */
  #mismatchOfDecoder(value: unknown, type: string, literal = ""): DecodeError {
    return this.#declared ? new DecodeError(`json: cannot unmarshal ${jsonKind(value)}${literal} into Go value of type ${type}`) : this.#mismatchInside(value, type, literal);
  }

  #mismatchInside(value: unknown, type: string, literal = ""): DecodeError {
    const struct = this.#structs.at(-1)?.schema.name?.split(".").at(-1) ?? "";
    return new DecodeError(`json: cannot unmarshal ${jsonKind(value)}${literal} into Go struct field ${struct}.${this.#goPath()} of type ${type}`);
  }

  /** The fields on the way, embedded structs by their names; without keys of maps and indices. */
  #goPath(): string {
    const parts: string[] = [];
    let depth = 0;
    for (const part of this.#path) {
      if (typeof part === "number" || part.startsWith(mapKeyMark)) continue;
      // The n-th field on the path was found in the n-th struct.
      const embedded = this.#structs[depth++]?.schema.protobuf?.[part]?.embedded;
      if (embedded !== undefined) parts.push(embedded);
      parts.push(part);
    }
    return parts.join(".");
  }
}

const isIntegral = ({ shape }: Plan): boolean => shape === "int32" || shape === "int64";

/**
 * What upstream's converter says of a value of a wrong type; `type` is the Go type.
 * Source: k8s.io/apimachinery/pkg/runtime/converter.go.
 */
function converterText(shape: Shape | "uint8", type: string, value: unknown): string {
  const given = Array.isArray(value) ? "slice" : typeof value === "object" ? "map" : typeof value === "number" ? (Number.isInteger(value) ? "int64" : "float64") : typeof value === "boolean" ? "bool" : "string";
  if (shape === "array" || shape === "bytes") return `cannot restore slice from ${given}`;
  if (shape === "map") return `cannot restore map from ${given}`;
  if (shape === "object") return `cannot restore struct from: ${given}`;
  // What Go converts between, but the converter does not; anything else it does not even know.
  const isConvertible = (given === "int64" && shape === "string") || (given === "float64" && /^u?int/.test(shape));
  return isConvertible ? `cannot convert ${given} to ${type}` : `unrecognized type: ${shape === "boolean" ? "bool" : shape === "number" ? "float64" : shape}`;
}

function zeroOf(plan: Plan): unknown {
  switch (plan.shape) {
    case "string":
    case "bytes":
      return "";
    case "int32":
    case "int64":
    case "number":
    case "int-or-string":
      return 0;
    case "boolean":
      return false;
    case "array":
      return [];
    case "quantity":
      return "0";
    case "map":
      return {};
    default:
      return null;
  }
}

function jsonKind(value: unknown): string {
  if (typeof value === "boolean") return "bool";
  return Array.isArray(value) ? "array" : typeof value;
}

/** "int32", "[]v1.Container", "map[string]string", "v1.PullPolicy". */
function goTypeOf(schema: Schema): string {
  if (schema.goType !== undefined) return schema.goType;
  switch (schema.format) {
    case "quantity":
      return "resource.Quantity";
    case "int-or-string":
      return "intstr.IntOrString";
    case "date-time":
      return "v1.Time";
    case "micro-time":
      return "v1.MicroTime";
    case "byte":
      return "[]uint8";
    case "raw":
      return "runtime.RawExtension";
  }
  if (schema.items) return `[]${goTypeOf(schema.items)}`;
  if (schema.additionalProperties) return `map[string]${goTypeOf(schema.additionalProperties)}`;
  if (schema.name !== undefined) return schema.name.split(".").slice(-2).join(".");
  if (schema.type === "integer") return schema.format ?? "int64";
  return schema.type === "boolean" ? "bool" : schema.type === "number" ? "float64" : (schema.type ?? "interface {}");
}
