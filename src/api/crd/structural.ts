import { type FieldError, forbidden, invalid, renderFieldError, required } from "../field.ts";
import { sameJson } from "./equal.ts";
import type { JSONSchemaProps } from "./json-schema.ts";
import { compilePattern, PatternError } from "./pattern.ts";

/**
 * A schema is structural when each value has one type that can be read off it without looking at the value, so that
 * pruning and defaults mean something.
 * Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/{validation,complete}.go.
 */
export function validateStructural(path: string, schema: JSONSchemaProps): FieldError[] {
  const errors: FieldError[] = [];
  checkNode(schema, "root", path, errors);
  checkComplete(schema, schema, path, path, errors);
  return errors.sort((a, b) => (renderFieldError(a) < renderFieldError(b) ? -1 : 1));
}

/** What no structural schema can say. Each has an error of its own, so nothing more is asked of a schema that says it. */
export function hasUnsupported(schema: JSONSchemaProps): boolean {
  const { id, $schema, $ref, patternProperties, dependencies, additionalItems, definitions, items } = schema;
  if (id || $schema || $ref || someKeys(patternProperties) || someKeys(dependencies) || additionalItems !== undefined || someKeys(definitions) || Array.isArray(items) || schema["x-kubernetes-preserve-unknown-fields"] === false) return true;
  return childrenOf(schema).some(hasUnsupported);
}
const someKeys = (map: object | undefined): boolean => map !== undefined && Object.keys(map).length > 0;

/** Every schema directly inside another. */
export function childrenOf(schema: JSONSchemaProps): JSONSchemaProps[] {
  const { items, additionalProperties, properties, allOf, anyOf, oneOf, not } = schema;
  return [...(items ? [items].flat() : []), ...(typeof additionalProperties === "object" ? [additionalProperties] : []), ...Object.values(properties ?? {}), ...(allOf ?? []), ...(anyOf ?? []), ...(oneOf ?? []), ...(not ? [not] : [])] as JSONSchemaProps[];
}

type Level = "root" | "item" | "field";
const emptyTypeTexts: Record<Level, string> = { root: "must not be empty at the root", item: "must not be empty for specified array items", field: "must not be empty for specified object fields" };

function checkNode(schema: JSONSchemaProps, level: Level, path: string, errors: FieldError[]): void {
  const { type = "", properties = {}, additionalProperties } = schema;
  const items = schema.items as JSONSchemaProps | undefined;
  const isResource = schema["x-kubernetes-embedded-resource"] === true;
  const isIntOrString = schema["x-kubernetes-int-or-string"] === true;
  const preserves = schema["x-kubernetes-preserve-unknown-fields"] === true;
  if (type === "array" && !items) errors.push(required(`${path}.items`, "must be specified"));
  if (items) checkNode(items, "item", `${path}.items`, errors);
  for (const [name, property] of Object.entries(properties)) checkNode(property, "field", `${path}.properties[${name}]`, errors);
  if (additionalProperties !== undefined) {
    if (level === "root") errors.push(forbidden(`${path}.additionalProperties`, "must not be used at the root"));
    if (typeof additionalProperties === "object") checkNode(additionalProperties, "field", `${path}.additionalProperties`, errors);
  }
  if (isIntOrString && preserves) errors.push(invalid(`${path}.x-kubernetes-preserve-unknown-fields`, true, "must be false if x-kubernetes-int-or-string is true"));
  if (isIntOrString && isResource) errors.push(invalid(`${path}.x-kubernetes-embedded-resource`, true, "must be false if x-kubernetes-int-or-string is true"));
  checkValues(schema, isIntOrStringPattern(schema.anyOf), isIntOrStringPattern(schema.allOf?.[0]?.anyOf), path, errors);

  if (isResource && type !== "object") errors.push(type === "" ? required(`${path}.type`, "must be object if x-kubernetes-embedded-resource is true") : invalid(`${path}.type`, type, "must be object if x-kubernetes-embedded-resource is true"));
  else if (type === "" && !isIntOrString && !preserves) errors.push(required(`${path}.type`, emptyTypeTexts[level]));
  if (isResource && additionalProperties !== undefined) errors.push(forbidden(`${path}.additionalProperties`, "must not be used if x-kubernetes-embedded-resource is set"));
  if (level === "root" && type !== "" && type !== "object") errors.push(invalid(`${path}.type`, type, "must be object at the root"));

  const hasMetadata = level === "root" || isResource;
  for (const name of ["kind", "apiVersion"]) {
    const property = own(properties, name);
    if (property && hasMetadata && property.type !== "string") errors.push(invalid(`${path}.properties[${name}].type`, property.type ?? "", "must be string"));
  }
  const metadata = own(properties, "metadata");
  if (metadata) checkMetadata(metadata, hasMetadata, level, `${path}.properties[metadata]`, errors);
  if (isResource && !preserves && Object.keys(properties).length === 0) errors.push(required(`${path}.properties`, "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"));
}

const own = <T>(map: Readonly<Record<string, T>> | undefined, key: string): T | undefined => (map && Object.hasOwn(map, key) ? map[key] : undefined);

function checkMetadata(metadata: JSONSchemaProps, hasMetadata: boolean, level: Level, path: string, errors: FieldError[]): void {
  if (hasMetadata && metadata.type !== "object") errors.push(invalid(`${path}.type`, metadata.type ?? "", "must be object"));
  if (level !== "root") return;
  const { type: _, default: __, properties, ...rest } = metadata;
  const onlyNames = Object.keys(properties ?? {}).every((name) => name === "name" || name === "generateName");
  if (!onlyNames || Object.values(rest).some((value) => value !== undefined && value !== false && value !== "" && !(Array.isArray(value) && value.length === 0))) errors.push(forbidden(path, "must not specify anything other than name and generateName, but metadata is implicitly specified"));
}

const isIntOrStringPattern = (anyOf: readonly JSONSchemaProps[] | undefined): boolean => sameJson(anyOf, [{ type: "integer" }, { type: "string" }]);

/** The constraints on values: what lies below allOf, anyOf, oneOf and not may constrain, and nothing else. */
function checkValues(schema: JSONSchemaProps, skipAnyOf: boolean, skipFirstAllOf: boolean, path: string, errors: FieldError[]): void {
  if (!skipAnyOf) for (const [index, branch] of (schema.anyOf ?? []).entries()) checkNested(branch, false, `${path}.anyOf[${index}]`, errors);
  for (const [index, branch] of (schema.allOf ?? []).entries()) checkNested(branch, skipFirstAllOf && index === 0, `${path}.allOf[${index}]`, errors);
  for (const [index, branch] of (schema.oneOf ?? []).entries()) checkNested(branch, false, `${path}.oneOf[${index}]`, errors);
  if (schema.not) checkNested(schema.not, false, `${path}.not`, errors);
  if (!schema.pattern) return;
  try {
    compilePattern(schema.pattern);
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    errors.push(invalid(`${path}.pattern`, schema.pattern, `must be a valid regular expression, but isn't: ${error.message}`));
  }
}

function checkNested(schema: JSONSchemaProps, skipAnyOf: boolean, path: string, errors: FieldError[]): void {
  checkValues(schema, skipAnyOf, false, path, errors);
  if (schema.items) checkNested(schema.items as JSONSchemaProps, false, `${path}.items`, errors);
  for (const [name, property] of Object.entries(schema.properties ?? {})) checkNested(property, false, `${path}.properties[${name}]`, errors);
  const forbid = (field: string, detail: string) => errors.push(forbidden(`${path}.${field}`, `must be ${detail} to be structural`));
  if (schema.type) forbid("type", "empty");
  if (schema.additionalProperties) forbid("additionalProperties", "undefined");
  if (schema.default !== undefined && schema.default !== null) forbid("default", "undefined");
  if (schema.title) forbid("title", "empty");
  if (schema.description) forbid("description", "empty");
  if (schema.nullable) forbid("nullable", "false");
  for (const extension of ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"] as const) if (schema[extension]) forbid(extension, "false");
  if (schema["x-kubernetes-list-map-keys"]?.length) forbid("x-kubernetes-list-map-keys", "empty");
  if (schema["x-kubernetes-list-type"] !== undefined) forbid("x-kubernetes-list-type", "undefined");
  if (schema["x-kubernetes-map-type"] !== undefined) forbid("x-kubernetes-map-type", "undefined");
  if (schema["x-kubernetes-validations"]?.length) forbid("x-kubernetes-validations", "empty");
  if (own(schema.properties, "metadata")) errors.push(forbidden(`${path}.properties[metadata]`, "must not be specified in a nested context"));
}

/** What a constraint speaks of must have a type outside of it. */
function checkComplete(values: JSONSchemaProps, schema: JSONSchemaProps | undefined, schemaPath: string, path: string, errors: FieldError[]): void {
  if (!schema) return void errors.push(required(schemaPath, `because it is defined in ${path}`));
  const nested = (branch: JSONSchemaProps, at: string) => checkNestedComplete(branch, schema, schemaPath, at, errors);
  if (values.not) nested(values.not, `${path}.not`);
  for (const junctor of ["allOf", "anyOf", "oneOf"] as const) for (const [index, branch] of (values[junctor] ?? []).entries()) nested(branch, `${path}.${junctor}[${index}]`);
  if (values !== schema) return;
  // The schema itself, field by field.
  if (schema.items) checkComplete(schema.items as JSONSchemaProps, schema.items as JSONSchemaProps, `${schemaPath}.items`, `${path}.items`, errors);
  for (const [name, property] of Object.entries(schema.properties ?? {})) checkComplete(property, property, `${schemaPath}.properties[${name}]`, `${path}.properties[${name}]`, errors);
  if (typeof schema.additionalProperties === "object") checkComplete(schema.additionalProperties, schema.additionalProperties, `${schemaPath}.additionalProperties`, `${path}.additionalProperties`, errors);
}

function checkNestedComplete(values: JSONSchemaProps, schema: JSONSchemaProps | undefined, schemaPath: string, path: string, errors: FieldError[]): void {
  if (!schema) return void errors.push(required(schemaPath, `because it is defined in ${path}`));
  const branches = { ...values };
  checkComplete(branches, schema, schemaPath, path, errors);
  if (values.items) checkNestedComplete(values.items as JSONSchemaProps, schema.items as JSONSchemaProps | undefined, `${schemaPath}.items`, `${path}.items`, errors);
  for (const [name, property] of Object.entries(values.properties ?? {})) {
    const known = own(schema.properties, name);
    if (!known) errors.push(required(`${schemaPath}.properties[${name}]`, `because it is defined in ${path}.properties[${name}]`));
    else checkNestedComplete(property, known, `${schemaPath}.properties[${name}]`, `${path}.properties[${name}]`, errors);
  }
}
