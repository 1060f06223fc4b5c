import { isObject } from "../../base/is-object.ts";
import { canonicalJson, sameJson } from "./equal.ts";
import type { CustomSchema } from "./schema.ts";

/**
 * A place of an object and what stood there before, as far as the schema says which was which: fields by name,
 * elements of a list by its keys. What has not changed may go on being wrong.
 * Source: k8s.io/apiserver/pkg/cel/common/equality.go.
 */
export class Correlation {
  readonly value: unknown;
  readonly old: unknown;
  readonly #schema: CustomSchema | undefined;
  #same: boolean | undefined;
  #byKey: Map<string, unknown> | undefined;

  constructor(schema: CustomSchema | undefined, value: unknown, old: unknown) {
    this.#schema = schema;
    this.value = value;
    this.old = old;
  }

  get unchanged(): boolean {
    return (this.#same ??= sameJson(this.value, this.old));
  }

  /** Undefined where there was no such field. */
  field(name: string): Correlation | undefined {
    if (!isObject(this.value) || !isObject(this.old) || !Object.hasOwn(this.value, name) || !Object.hasOwn(this.old, name)) return undefined;
    const schema = this.#schema?.fields.get(name) ?? this.#schema?.additionalProperties;
    return schema && new Correlation(schema, this.value[name], this.old[name]);
  }

  /** Undefined where nobody can tell which element it was. */
  item(index: number): Correlation | undefined {
    const schema = this.#schema;
    if (!Array.isArray(this.value) || !Array.isArray(this.old) || schema?.listType !== "map" || !schema.items) return undefined;
    const keys = schema.listMapKeys ?? [];
    this.#byKey ??= new Map((this.old as unknown[]).map((item) => [keyOf(item, keys), item]));
    const item = (this.value as unknown[])[index];
    const key = keyOf(item, keys);
    return this.#byKey.has(key) ? new Correlation(schema.items, item, this.#byKey.get(key)) : undefined;
  }
}

const keyOf = (item: unknown, keys: readonly string[]): string => canonicalJson(isObject(item) ? keys.map((key) => item[key] ?? null) : item);
