import type { Schema } from "../schema.ts";
import { rootFields } from "./from-json.ts";
import { isEscapable, unescapeName } from "./names.ts";
import { listOf, mapOf, type Type, types } from "./types.ts";

/** Bytes of the largest request: what has no limit of its own is bounded by it. Source: k8s.io/apiserver/pkg/cel/limits.go. */
const requestMax = 3 * 1024 * 1024;
/** The least that a value takes in JSON. */
const least = { string: 2, boolean: 4, number: 1, object: 2, list: 2, map: 2, duration: 3, date: 12, dateTime: 22, intOrString: 1 };
const codePointBytes = 4;

const cache = new WeakMap<Schema, Type | null>();
const rootCache = new WeakMap<Schema, Type | null>();

/**
 * What rules see of a schema; undefined where it describes nothing that rules may look at.
 * Source: k8s.io/apiserver/pkg/cel/common/schemas.go.
 */
export function typeOfSchema(schema: Schema, root = false): Type | undefined {
  const known = root ? rootCache : cache;
  let type = known.get(schema);
  if (type === undefined) {
    type = build(schema, root) ?? null;
    known.set(schema, type);
  }
  return type ?? undefined;
}

function build(schema: Schema, root: boolean): Type | undefined {
  if (schema.format === "int-or-string") return { ...types.dyn, maxElements: requestMax - 2, minSize: least.intOrString };
  // Our names of what Go writes by hand: nothing is known of them before there is a value.
  if (schema.type === undefined && schema.format !== undefined) return { ...types.dyn, maxElements: requestMax - 2, minSize: least.intOrString };
  switch (schema.type) {
    case "array": {
      const element = schema.items && typeOfSchema(schema.items, schema.items.embeddedResource === true);
      if (!element) return undefined;
      return { ...listOf(element), maxElements: schema.maxItems ?? fits(element.minSize ?? 1), minSize: least.list };
    }
    case "object": {
      if (schema.additionalProperties) {
        const value = typeOfSchema(schema.additionalProperties, schema.additionalProperties.embeddedResource === true);
        // A key of two quotes, a colon, a value and a comma. What a key costs, upstream does not count.
        return value && { ...mapOf({ ...types.string, maxElements: 0 }, value), maxElements: (schema as { maxProperties?: number }).maxProperties ?? fits((value.minSize ?? 1) + 3), minSize: least.map };
      }
      return objectOf(schema, root || schema.embeddedResource === true);
    }
    case "string":
      return stringOf(schema);
    case "boolean":
      return { ...types.bool, minSize: least.boolean };
    case "number":
      return { ...types.double, minSize: least.number };
    case "integer":
      return { ...types.int, minSize: least.number };
    default:
      return undefined;
  }
}

const fits = (elementSize: number): number => Math.floor((requestMax - 2) / (elementSize + 1));

function objectOf(schema: Schema, root: boolean): Type {
  const schemaOf = (name: string): Schema | undefined => (schema.properties && Object.hasOwn(schema.properties, name) ? schema.properties[name] : root && Object.hasOwn(rootFields, name) ? rootFields[name] : undefined);
  const field = (escaped: string): Type | undefined => {
    const name = unescapeName(escaped);
    const inner = schemaOf(name);
    return inner && isEscapable(name) ? typeOfSchema(inner, inner.embeddedResource === true) : undefined;
  };
  let minSize = least.object;
  for (const name of schema.required ?? []) {
    const inner = schemaOf(name);
    if (inner && inner.default === undefined) minSize += name.length + (field(name)?.minSize ?? 0) + 4;
  }
  // Each object is a type of its own: two of them are compared only when they are the same.
  return { kind: "object", name: `object`, field, minSize };
}

function stringOf(schema: Schema): Type {
  const requested = requestMax - 2;
  switch (schema.format) {
    case "byte":
      return { ...types.bytes, maxElements: schema.maxLength ?? requested, minSize: least.string };
    case "duration":
      return { ...types.duration, maxElements: requested, minSize: least.duration };
    case "date":
      return { ...types.timestamp, maxElements: 10, minSize: least.date };
    case "date-time":
      return { ...types.timestamp, maxElements: 20, minSize: least.dateTime };
    default: {
      const longest = schema.enum?.length ? Math.max(...schema.enum.map((value) => (typeof value === "string" ? value.length : 0))) : requested;
      return { ...types.string, maxElements: schema.maxLength === undefined ? longest : schema.maxLength * codePointBytes, minSize: least.string };
    }
  }
}
