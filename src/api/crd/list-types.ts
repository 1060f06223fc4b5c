import { duplicate, type FieldError, invalid } from "../field.ts";
import { canonicalJson } from "./equal.ts";
import type { CustomSchema } from "./schema.ts";

/**
 * Sets hold nothing twice, and elements of a list with keys differ in them.
 * Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype.
 */
export function validateListTypes(schema: CustomSchema, value: unknown, path = ""): FieldError[] {
  const errors: FieldError[] = [];
  check(schema, value, path, errors);
  return errors;
}

function check(schema: CustomSchema, value: unknown, path: string, errors: FieldError[]): void {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    if (schema.listType === "set") errors.push(...repeated(value).map((index) => duplicate(`${path}[${index}]`, value[index])));
    else if (schema.listType === "map") errors.push(...checkKeys(schema.listMapKeys ?? [], value, path));
    if (schema.items) for (const [index, item] of value.entries()) check(schema.items, item, `${path}[${index}]`, errors);
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    const field = schema.fields.get(key);
    if (field) check(field, item, path === "" ? key : `${path}.${key}`, errors);
    else if (schema.additionalProperties) check(schema.additionalProperties, item, `${path}[${key}]`, errors);
  }
}

/** Where a value comes the second time; later times are told with it. */
function repeated(items: readonly unknown[]): number[] {
  const times = new Map<string, number>();
  return items.flatMap((item, index) => {
    const text = canonicalJson(item) ?? "undefined";
    const before = times.get(text) ?? 0;
    times.set(text, before + 1);
    return before === 1 ? [index] : [];
  });
}

function checkKeys(keys: readonly string[], items: readonly unknown[], path: string): FieldError[] {
  const wrong = items.findIndex((item) => item !== null && (typeof item !== "object" || Array.isArray(item)));
  if (wrong >= 0) return [invalid(`${path}[${wrong}]`, items[wrong], "must be an object for an array of list-type map")];
  const keyed = items.map((item) => Object.fromEntries(keys.flatMap((key) => (item !== null && Object.hasOwn(item as object, key) ? [[key, (item as Record<string, unknown>)[key]]] : []))));
  return repeated(keyed).map((index) => duplicate(`${path}[${index}]`, keyed[index]));
}
