import { builtinSchema } from "../kinds/table.ts";
import type { Schema } from "../schema.ts";
import { keyElement, type PathElement, valueElement } from "./path-element.ts";

/**
 * How apply sees a node of a schema: what is one field, and what has fields of its own. A node may be several
 * things, of which the value chooses one: a node without a type is whatever its value is.
 * Source: k8s.io/kube-openapi/pkg/schemaconv, sigs.k8s.io/structured-merge-diff/v6/{schema,typed/helpers.go}.
 */
export interface Shape {
  /** The type a scalar must have; "any" for one of several. */
  readonly scalar: "string" | "number" | "boolean" | "any" | undefined;
  readonly list: ListShape | undefined;
  readonly map: MapShape | undefined;
}

export class ListShape {
  readonly atomic: boolean;
  /** Of an associative list: the fields that tell its elements apart; none for a set of scalars. */
  readonly keys: readonly string[];
  readonly #items: () => Shape;
  constructor(atomic: boolean, keys: readonly string[], items: () => Shape) {
    this.atomic = atomic;
    this.keys = keys;
    this.#items = items;
  }
  get items(): Shape {
    return this.#items();
  }

  /** Throws ListElementError when the element cannot be told from others. */
  elementOf(item: unknown): PathElement {
    if (this.keys.length === 0) {
      if (item === null || item === undefined) throw new ListElementError("associative list without keys has an element that's an explicit null");
      if (Array.isArray(item)) throw new ListElementError("not supported: associative list with lists as elements");
      if (typeof item === "object") throw new ListElementError("associative list without keys has an element that's a map type");
      return valueElement(item);
    }
    if (item === null || item === undefined) throw new ListElementError("associative list with keys may not have a null element");
    if (typeof item !== "object" || Array.isArray(item)) throw new ListElementError("associative list with keys may not have non-map elements");
    const fields: [string, unknown][] = [];
    for (const key of this.keys) {
      const given = (item as Record<string, unknown>)[key];
      // What Go always writes is in upstream's documents as a default.
      const field = given === undefined ? this.items.map?.fields.get(key) : undefined;
      const value = given ?? field?.default ?? field?.zero;
      if (value !== undefined) fields.push([key, value]);
    }
    if (fields.length === 0) throw new ListElementError(`associative list with keys has an element that omits all key fields [${this.keys.map((key) => JSON.stringify(key)).join(" ")}] (and doesn't have default values for any key fields)`);
    return keyElement(fields);
  }
}
export class ListElementError extends Error {}

export class MapShape {
  readonly atomic: boolean;
  readonly #schema: Schema | undefined;
  readonly #element: (() => Shape) | undefined;
  readonly #open: boolean;
  #fields: ReadonlyMap<string, FieldShape> | undefined;
  #zeros: readonly [name: string, zero: unknown][] | undefined;
  constructor(atomic: boolean, schema: Schema | undefined, element: (() => Shape) | undefined, open = false) {
    this.atomic = atomic;
    this.#schema = schema;
    this.#element = element;
    this.#open = open;
  }
  /** Of keys that are no named fields; undefined where the schema allows no such keys. */
  get element(): Shape | undefined {
    return this.#element?.();
  }
  get fields(): ReadonlyMap<string, FieldShape> {
    return (this.#fields ??= new Map(Object.entries(propertiesOf(this.#schema)).map(([name, property]) => [name, new FieldShape(property, this.#zeroOf(name, property), this.#open)])));
  }
  /** The shape of what lies at a key, declared or not. */
  at(name: string): Shape | undefined {
    return this.fields.get(name)?.shape ?? this.element;
  }
  /**
   * The fields that a Go struct writes also when nobody set them. Whoever compares objects as upstream does must
   * take them as there: who sets `resources.limits` has not added `resources`.
   */
  get zeros(): readonly [name: string, zero: unknown][] {
    return (this.#zeros ??= [...this.fields].filter(([, field]) => field.zero !== undefined).map(([name, field]) => [name, field.zero]));
  }

  #zeroOf(name: string, property: Schema): unknown {
    const facts = this.#schema?.protobuf?.[name];
    // Upstream's one field with `omitzero`.
    if (facts?.pointer) return facts.always ? null : undefined;
    if (!facts || property.omitZero || (name === "creationTimestamp" && this.#schema?.name === "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")) return undefined;
    switch (property.format) {
      case "quantity":
        return "0";
      case "int-or-string":
        return 0;
      case "date-time":
      case "micro-time":
      case "byte":
        return null;
      // Go has pointers behind these, which the tables do not say.
      case "json":
      case "schema-or-array":
      case "schema-or-bool":
      case "schema-or-strings":
        return undefined;
    }
    if (property.preserveUnknownFields) return null;
    switch (property.type) {
      case "object":
        return property.additionalProperties ? null : emptyStruct;
      case "string":
        return "";
      case "integer":
      case "number":
        return 0;
      case "boolean":
        return false;
      default:
        return null;
    }
  }
}
export const emptyStruct = Object.freeze({});

export class FieldShape {
  readonly default: unknown;
  /** What Go writes when nobody set it; undefined when it writes nothing. */
  readonly zero: unknown;
  readonly #schema: Schema;
  readonly #open: boolean;
  constructor(schema: Schema, zero: unknown, open: boolean) {
    this.#schema = schema;
    this.#open = open;
    this.default = schema.default ?? (schema.statesZero && schema.type === "string" ? "" : undefined);
    this.zero = zero;
  }
  get shape(): Shape {
    return shapeOf(this.#schema, this.#open);
  }
}

const text: Schema = { type: "string" };

/** Every object has an ObjectMeta, whatever a custom resource's schema says of it. */
export function objectProperties(schema: Schema): Readonly<Record<string, Schema>> {
  return { ...schema.properties, apiVersion: text, kind: text, metadata: builtinSchema("", "v1", "ConfigMap")!.properties!["metadata"]! };
}

const propertiesOf = (schema: Schema | undefined): Readonly<Record<string, Schema>> => (schema?.embeddedResource ? objectProperties(schema) : (schema?.properties ?? {}));

/** Of a value about which nothing is known: maps are granular, lists are atomic. */
export const deduced: Shape = { scalar: "any", list: new ListShape(true, [], () => untyped), map: new MapShape(false, undefined, () => deduced) };
/** Of what lies in an atomic list or map of which nothing is known. */
export const untyped: Shape = { scalar: "any", list: new ListShape(true, [], () => untyped), map: new MapShape(true, undefined, () => untyped) };

const shapes = new WeakMap<Schema, Shape>();
const openShapes = new WeakMap<Schema, Shape>();

/** `open`: a schema around this one lets unknown fields pass, and so do all those in it. */
export function shapeOf(schema: Schema, open = false): Shape {
  const known = open && schema.name === undefined ? openShapes : shapes;
  let shape = known.get(schema);
  if (!shape) known.set(schema, (shape = madeOf(schema, known === openShapes)));
  return shape;
}

function madeOf(schema: Schema, open: boolean): Shape {
  const scalar = (kind: Shape["scalar"]): Shape => ({ scalar: kind, list: undefined, map: undefined });
  switch (schema.format) {
    case "quantity":
      return scalar("any");
    case "int-or-string":
      return deduced; // published without a type
    case "raw":
      return untyped;
  }
  switch (schema.type) {
    case "integer":
    case "number":
      return scalar("number");
    case "boolean":
      return scalar("boolean");
    case "string":
      return scalar(schema.format === undefined || schema.format === "byte" ? "string" : "any");
    case "array":
      return { scalar: undefined, list: listOf(schema, open), map: undefined };
    case "object":
      return { scalar: undefined, list: undefined, map: mapOf(schema, open) };
    default:
      return { scalar: "any", list: listOf(schema, open), map: mapOf(schema, open) };
  }
}

function listOf(schema: Schema, open: boolean): ListShape {
  const items = () => (schema.items ? shapeOf(schema.items, open) : untyped);
  if (schema.listType) return new ListShape(schema.listType === "atomic", schema.listType === "map" ? (schema.listMapKeys ?? []) : [], items);
  // Older types say it by their patch strategy only.
  if (schema.patchStrategy === "merge" || schema.patchStrategy === "merge,retainKeys") return new ListShape(false, schema.patchMergeKey === undefined ? [] : [schema.patchMergeKey], items);
  return new ListShape(true, [], items);
}

function mapOf(schema: Schema, around: boolean): MapShape {
  const { additionalProperties } = schema;
  const open = around || schema.preserveUnknownFields === true;
  const isFree = open || Object.keys(propertiesOf(schema)).length === 0;
  return new MapShape(schema.mapType === "atomic", schema, additionalProperties ? () => shapeOf(additionalProperties, open) : isFree ? () => deduced : undefined, open);
}


/** Which of the things that a node may be this value makes it. Null and a value of a wrong type leave it open: a map, else a scalar, else a list. */
export function deduce(shape: Shape, value: unknown): MapShape | ListShape | "scalar" {
  if (value !== null && value !== undefined) {
    if (Array.isArray(value)) {
      if (shape.list) return shape.list;
    } else if (typeof value === "object") {
      if (shape.map) return shape.map;
    } else if (shape.scalar) return "scalar";
  }
  return shape.map ?? (shape.scalar ? "scalar" : shape.list!);
}
