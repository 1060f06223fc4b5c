import { builtinSchema } from "../kinds/table.ts";
import type { Schema } from "../schema.ts";
import { DecodeError, walk } from "../walker.ts";
import { sameJson } from "./equal.ts";
import type { CustomSchema } from "./schema.ts";

/**
 * An object of a custom kind as its schema wants it: what the schema does not know is pruned and named, nulls that
 * may not be are dropped, defaults are filled in, and each metadata (the object's own and those of embedded
 * resources) is an ObjectMeta. Parts that stay as they are are shared with the input, which is never changed;
 * when nothing changes, the result is the input.
 *
 * One walk does what upstream does in five: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/{pruning/algorithm.go,
 * defaulting/{algorithm,prunenulls}.go,objectmeta/algorithm.go}.
 */
export interface Shaped {
  value: Record<string, unknown>;
  /** `unknown field "spec.x"`, sorted. */
  unknownFields: string[];
}

/** Throws DecodeError where metadata is none, or an embedded resource's kind no text. */
export function shapeObject(schema: CustomSchema, object: Record<string, unknown>, options: { partial?: boolean; lenient?: boolean; keepsNulls?: boolean } = {}): Shaped {
  const shaper = new Shaper(options.partial ?? false, options.lenient ?? false, options.keepsNulls ?? false);
  const value = shaper.root(schema, object);
  return { value, unknownFields: [...shaper.metadataFields, ...[...shaper.unknown].sort()].map((path) => `unknown field ${JSON.stringify(path)}`) };
}

const metaFields = new Set(["apiVersion", "kind", "metadata"]);
/** Deeper values are refused: nobody means them. */
const depthMax = 1000;

const sameOrder = (one: object, other: unknown): boolean => Object.keys(one).join("\n") === Object.keys(other as object).join("\n");

let metaSchema: Schema | undefined;
/** A schema with nothing but the metadata that every object has. */
const objectMeta = (): Schema => (metaSchema ??= { type: "object", properties: { metadata: builtinSchema("", "v1", "ConfigMap")!.properties!["metadata"]! } });

class Shaper {
  readonly unknown: string[] = [];
  readonly metadataFields: string[] = [];
  readonly #partial: boolean;
  readonly #lenient: boolean;
  readonly #keepsNulls: boolean;
  readonly #path: (string | number)[] = [];

  /**
   * `partial`: nothing is filled in. `lenient`: metadata that does not fit stays as it is, as it was stored once.
   * `keepsNulls`: of an object that was applied to, which upstream's decoder never sees.
   */
  constructor(partial: boolean, lenient: boolean, keepsNulls: boolean) {
    this.#partial = partial;
    this.#lenient = lenient;
    this.#keepsNulls = keepsNulls;
  }

  root(schema: CustomSchema, object: Record<string, unknown>): Record<string, unknown> {
    const { metadata } = object;
    // Its mistakes are told before those of resources inside it.
    const shaped = metadata === null || metadata === undefined ? undefined : this.#metadata(metadata);
    let result = this.#object(schema, object, schema.preserveUnknownFields, true);
    if (shaped !== metadata) {
      if (result === object) result = { ...object };
      if (shaped === undefined) delete result["metadata"];
      else result["metadata"] = shaped;
    }
    return result;
  }

  #value(schema: CustomSchema | undefined, value: unknown, preserved: boolean): unknown {
    if (typeof value !== "object" || value === null) return value;
    if (this.#path.length > depthMax) throw new DecodeError("exceeded max depth");
    const keeps = preserved || (schema?.preserveUnknownFields ?? false);
    return Array.isArray(value) ? this.#array(schema, value, keeps) : this.#object(schema, value as Record<string, unknown>, keeps, false);
  }

  #array(schema: CustomSchema | undefined, array: readonly unknown[], keeps: boolean): readonly unknown[] {
    const items = schema?.items;
    // Without a schema of its own, what is kept is kept whole.
    if (keeps && !items) return array;
    let result: unknown[] | undefined;
    for (let index = 0; index < array.length; index++) {
      const before = array[index];
      this.#path.push(index);
      const after = before === null && items && !items.nullable ? this.#value(items, this.#defaultOf(items) ?? null, keeps) : this.#value(items, before, keeps);
      this.#path.pop();
      if (after !== before) (result ??= [...array])[index] = after;
    }
    return result ?? array;
  }

  #object(schema: CustomSchema | undefined, object: Record<string, unknown>, keeps: boolean, isRoot: boolean): Record<string, unknown> {
    const isResource = isRoot || (schema?.embeddedResource ?? false);
    const additional = schema?.additionalProperties;
    let result = object;
    const set = (key: string, value: unknown) => {
      if (result === object) result = { ...object };
      // A key such as "__proto__" is a key like any other.
      Object.defineProperty(result, key, { value, writable: true, enumerable: true, configurable: true });
    };
    const remove = (key: string) => {
      if (result === object) result = { ...object };
      delete result[key];
    };
    for (const key of Object.keys(object)) {
      const before = object[key];
      if (isResource && metaFields.has(key)) {
        if (!isRoot) {
          const after = this.#embedded(key, before);
          if (after !== before) set(key, after);
        }
        continue;
      }
      const field = schema?.fields.get(key) ?? additional;
      if (!field) {
        if (keeps) continue;
        // Those at the root are the server's business.
        if (!metaFields.has(key) || this.#path.length > 0) this.unknown.push(this.#pathTo(key));
        remove(key);
        continue;
      }
      this.#path.push(key);
      let after = before;
      if (before === null && !field.nullable) after = this.#defaultOf(field) ?? (this.#keepsNulls ? null : undefined);
      after = this.#value(field, after, false);
      this.#path.pop();
      if (after === undefined) remove(key);
      else if (after !== before) set(key, after);
    }
    if (schema && !this.#partial) {
      for (const [name, field] of defaultedFields(schema)) {
        if (Object.hasOwn(object, name) || (isResource && metaFields.has(name))) continue;
        this.#path.push(name);
        set(name, this.#value(field, field.default, false));
        this.#path.pop();
      }
    }
    return result;
  }

  #defaultOf(schema: CustomSchema): unknown {
    return this.#partial ? undefined : schema.default;
  }

  #embedded(key: string, value: unknown): unknown {
    if (key === "metadata") {
      this.#path.push(key);
      const shaped = value === null ? undefined : this.#metadata(value);
      this.#path.pop();
      return shaped;
    }
    if (typeof value !== "string" && !this.#lenient) throw new DecodeError(`${this.#pathTo(key)}: Invalid value: ${JSON.stringify(value)}: must be a string`);
    return value;
  }

  #metadata(metadata: unknown): unknown {
    try {
      const { value, unknownFields } = walk(objectMeta(), { metadata }, { shared: true, partial: this.#partial });
      const prefix = this.#path.slice(0, -1).reduce<string>((text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`), "");
      for (const text of unknownFields) {
        const path = JSON.parse(text.slice("unknown field ".length)) as string;
        this.metadataFields.push(prefix === "" ? path : `${prefix}.${path}`);
      }
      const shaped = value["metadata"];
      return sameJson(shaped, metadata) ? metadata : shaped;
    } catch (error) {
      if (this.#lenient && error instanceof DecodeError) return metadata;
      // Upstream writes its map out and reads that: which of two mistakes comes first is up to the alphabet.
      const sorted = Object.fromEntries(Object.entries(metadata as object).sort(([one], [other]) => (one < other ? -1 : 1)));
      if (!sameOrder(sorted, metadata)) return this.#metadata(sorted);
      // Upstream reads metadata by itself.
      if (error instanceof DecodeError) throw new DecodeError(`${this.#path.length > 0 ? `${this.#pathTo("").slice(0, -1)}: Invalid value: ${JSON.stringify(metadata)}: ` : ""}` + error.message.replace("Go struct field ObjectMeta.metadata.", "Go struct field ObjectMeta.").replace("Go struct field .metadata of", "Go value of").replace(/(Go struct field \w+\.)metadata\./, "$1"));
      throw error;
    }
  }

  #pathTo(key: string): string {
    let text = "";
    for (const part of [...this.#path, key]) text += typeof part === "number" ? `[${part}]` : text === "" ? part : `.${part}`;
    return text;
  }
}

const defaulted = new WeakMap<CustomSchema, readonly [string, CustomSchema][]>();
function defaultedFields(schema: CustomSchema): readonly [string, CustomSchema][] {
  let fields = defaulted.get(schema);
  if (!fields) defaulted.set(schema, (fields = [...schema.fields].filter(([, field]) => field.default !== undefined && field.default !== null)));
  return fields;
}
