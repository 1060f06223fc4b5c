import { type FieldError, invalid, required } from "../field.ts";
import type { ObjectMeta } from "../meta.ts";
import { dns1035Label } from "../validation/names.ts";
import { validateObjectMeta } from "../validation/metadata.ts";
import type { CustomSchema } from "./schema.ts";

/**
 * What is wrong with the apiVersion, kind and metadata of resources inside a resource.
 * Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta/validation.go.
 */
export function validateEmbedded(schema: CustomSchema, value: unknown, path = ""): FieldError[] {
  const errors: FieldError[] = [];
  check(schema, value, path, errors);
  return errors;
}

function check(schema: CustomSchema | undefined, value: unknown, path: string, errors: FieldError[]): void {
  if (!schema || typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) check(schema.items, item, `${path}[${index}]`, errors);
    return;
  }
  if (schema.embeddedResource) checkResource(value as Record<string, unknown>, path === "" ? "" : `${path}.`, errors);
  for (const [key, item] of Object.entries(value)) {
    const field = schema.fields.get(key);
    if (field) check(field, item, path === "" ? key : `${path}.${key}`, errors);
    else check(schema.additionalProperties, item, `${path}[${key}]`, errors);
  }
}

/** A segment of a URL path: all that is asked of a name whose kind nobody knows. */
const pathSegment = (name: string): string[] => [
  ...(name === "." || name === ".." ? [`may not be '${name}'`] : []),
  ...["/", "%"].filter((character) => name.includes(character)).map((character) => `may not contain '${character}'`),
];

function checkResource(object: Record<string, unknown>, prefix: string, errors: FieldError[]): void {
  for (const field of ["apiVersion", "kind"]) {
    const value = object[field];
    const at = `${prefix}${field}`;
    if (!Object.hasOwn(object, field)) errors.push(required(at));
    else if (typeof value !== "string") errors.push(invalid(at, value, "must be a string"));
    else if (value === "") errors.push(invalid(at, value, "must not be empty"));
    else if (field === "apiVersion" && value.split("/").length > 2) errors.push(invalid(at, value, `unexpected GroupVersion string: ${value}`));
    else if (field === "kind") {
      const wrong = dns1035Label(value.toLowerCase());
      if (wrong.length > 0) errors.push(invalid(at, value, `may have mixed case, but should otherwise match: ${wrong.join(",")}`));
    }
  }
  const metadata = object["metadata"] as ObjectMeta | undefined;
  if (metadata) errors.push(...validateObjectMeta({ ...metadata, name: metadata.name || "fakename" }, { namespaced: Boolean(metadata.namespace), validateName: pathSegment }, `${prefix}metadata`));
}
