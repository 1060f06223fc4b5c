import { CostBudget, PER_REQUEST_LIMIT } from "../cel/program.ts";
import { type FieldError, invalid } from "../field.ts";
import { DecodeError } from "../walker.ts";
import { validateEmbedded } from "./embedded.ts";
import { sameJson } from "./equal.ts";
import type { JSONSchemaProps } from "./json-schema.ts";
import { validateRules } from "./rules.ts";
import { CustomSchema } from "./schema.ts";
import { shapeObject } from "./shape-object.ts";
import { validateValue } from "./validate-value.ts";

/**
 * A default must itself be a value that the schema allows.
 * Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting/validation.go.
 */
export function validateDefaults(schema: JSONSchemaProps, path: string): FieldError[] {
  const errors: FieldError[] = [];
  check(schema, path, errors);
  return errors;
}

function check(props: JSONSchemaProps, path: string, errors: FieldError[]): void {
  if (props.default !== undefined && props.default !== null) errors.push(...validateDefault(props, props.default, `${path}.default`));
  if (props.items) check(props.items as JSONSchemaProps, `${path}.items`, errors);
  for (const [name, property] of Object.entries(props.properties ?? {})) check(property, `${path}.properties[${name}]`, errors);
}

function validateDefault(props: JSONSchemaProps, value: unknown, path: string): FieldError[] {
  const schema = new CustomSchema(props);
  const at = (errors: readonly FieldError[]): FieldError[] => errors.map((error) => ({ ...error, field: error.field === "<nil>" ? path : `${path}${error.field.startsWith("[") ? "" : "."}${error.field}` }));
  const errors: FieldError[] = [];
  try {
    // Looked at as a field of an object, so that lists and texts are looked at as well.
    const { value: shaped, unknownFields } = shapeObject(new CustomSchema({ type: "object", properties: { value: props } }), { value }, { partial: true });
    if (unknownFields.length > 0 || !sameJson(shaped["value"], value)) errors.push(invalid(path, value, "must not have unknown fields"));
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return [invalid(path, value, error.message)];
  }
  const embedded = validateEmbedded(schema, value);
  if (embedded.length > 0) return [...errors, ...at(embedded)];
  const wrong = validateValue(schema, value);
  if (wrong.length > 0) return [...errors, ...at(wrong)];
  return [...errors, ...at(validateRules(schema, value, { budget: new CostBudget(PER_REQUEST_LIMIT), old: value }))];
}
