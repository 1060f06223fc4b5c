import { type FieldError, invalid, notSupported, required, tooLong, tooMany, typeInvalid } from "../field.ts";
import type { Correlation } from "./correlation.ts";
import { sameJson } from "./equal.ts";
import { hasFormat, isKnownFormat } from "./formats.ts";
import { compilePattern, PatternError } from "./pattern.ts";
import type { CustomSchema } from "./schema.ts";
import type { JSONSchemaProps } from "./json-schema.ts";

/**
 * What is wrong with a value by the OpenAPI part of its schema, with upstream's texts. With a correlation, what was
 * wrong before and has not changed is let through.
 * Source: k8s.io/kube-openapi/pkg/validation/validate, k8s.io/apiextensions-apiserver/pkg/apiserver/validation.
 */
export function validateValue(schema: CustomSchema, value: unknown, correlation?: Correlation, path = ""): FieldError[] {
  const result = new Result();
  validateNode(schema.props, value, path, correlation, result);
  return result.errors;
}

class Result {
  readonly errors: FieldError[] = [];
  /** How much of a schema fitted: of several alternatives, the errors of the best are told. */
  matches = 0;
  readonly #seen = new Set<string>();

  add(error: FieldError): void {
    // The same thing told by two branches is told once.
    const text = `${error.field}\0${error.body}`;
    if (this.#seen.has(text)) return;
    this.#seen.add(text);
    this.errors.push(error);
  }
  merge(other: Result): void {
    for (const error of other.errors) this.add(error);
    this.matches += other.matches;
  }
  get isValid(): boolean {
    return this.errors.length === 0;
  }
}

/** A field, or an element, that may have stood there before. */
function validateNode(schema: JSONSchemaProps, value: unknown, path: string, correlation: Correlation | undefined, into: Result): void {
  const result = new Result();
  validateSchema(schema, value, path, correlation, result);
  if (!result.isValid && correlation?.unchanged) into.matches += result.matches;
  else into.merge(result);
}

function validateSchema(schema: JSONSchemaProps, value: unknown, path: string, correlation: Correlation | undefined, result: Result): void {
  if (value === null) {
    if (checkNull(schema, path, result)) result.matches++;
    checkEnum(schema, value, path, result);
    return;
  }
  if (schema.type || schema["x-kubernetes-int-or-string"] || formatOf(schema)) {
    if (checkType(schema, value, path, result)) result.matches++;
    result.matches++;
  }
  checkJunctors(schema, value, path, correlation, result);
  result.matches += 2;
  if (typeof value === "string") {
    checkText(schema, value, path, result);
    result.matches++;
    const format = formatOf(schema);
    if (format && !hasFormat(format, value)) result.add(wrongType(path, format, value));
    if (format) result.matches++;
  } else if (typeof value === "number") {
    checkNumber(schema, value, path, result);
    result.matches += 2;
  } else if (Array.isArray(value)) {
    checkList(schema, value, path, correlation, result);
    result.matches += 2;
  }
  checkEnum(schema, value, path, result);
  result.matches++;
  if (typeof value === "object" && !Array.isArray(value)) {
    checkObject(schema, value as Record<string, unknown>, path, correlation, result);
    result.matches++;
  }
  result.matches++;
}

const named = (path: string): string => (path.startsWith(".") ? path.slice(1) : path);
/** Of what concerns the whole object, the field has no name, and Go prints that so. */
const nowhere = "<nil>";
const fieldOf = (path: string): string => named(path) || nowhere;

const typesOf = (schema: JSONSchemaProps): readonly string[] => (schema["x-kubernetes-int-or-string"] ? ["integer", "string"] : schema.type ? [schema.type] : []);
/** Unknown formats are words that mean nothing. */
const formatOf = ({ format }: JSONSchemaProps): string | undefined => (format && isKnownFormat(format) ? format : undefined);

function wrongType(path: string, wanted: string, found: string): FieldError {
  return typeInvalid(fieldOf(path), found, `${path} in body must be of type ${wanted}: ${JSON.stringify(found)}`);
}

function checkNull(schema: JSONSchemaProps, path: string, result: Result): boolean {
  const types = typesOf(schema);
  if (types.length === 0 || schema.nullable) return true;
  result.add(wrongType(path, types.join(","), "null"));
  return false;
}

/** Type and format of a Go value. */
function goTypeOf(value: unknown): [type: string, format: string] {
  switch (typeof value) {
    case "boolean":
      return ["boolean", ""];
    case "string":
      return ["string", ""];
    case "number":
      return Number.isInteger(value) ? ["integer", "int64"] : ["number", "float64"];
    default:
      return [Array.isArray(value) ? "array" : "object", ""];
  }
}

function checkType(schema: JSONSchemaProps, value: unknown, path: string, result: Result): boolean {
  const types = typesOf(schema);
  const format = formatOf(schema) ?? "";
  const [type, itsFormat] = goTypeOf(value);
  const fits = types.includes(type) || (type === "integer" && types.includes("number"));
  const isText = typeof value === "string" || Array.isArray(value);
  if (!isText && format !== "" && !fits && itsFormat !== format) {
    result.add(wrongType(path, format, itsFormat));
    return false;
  }
  if (isText && format !== "" && !types.includes("number") && !types.includes("integer")) return true;
  if (fits) return true;
  result.add(wrongType(path, types.join(","), type));
  return false;
}

function checkEnum({ enum: allowed }: JSONSchemaProps, value: unknown, path: string, result: Result): void {
  if (!allowed || allowed.length === 0 || (value !== null && allowed.some((item) => sameJson(item, value)))) return;
  result.add(notSupported(fieldOf(path), value, allowed.map((item) => (typeof item === "string" ? item : JSON.stringify(item)))));
}

function checkText({ maxLength, minLength, pattern }: JSONSchemaProps, text: string, path: string, result: Result): void {
  // Go counts runes; a text of so few units has no more of them.
  const length = (limit: number) => (text.length < limit ? text.length : [...text].length);
  if (maxLength !== undefined && text.length > maxLength && length(maxLength) > maxLength) return result.add(tooLong(fieldOf(path), maxLength));
  if (minLength !== undefined && length(minLength) < minLength) return result.add(invalid(fieldOf(path), text, `${path} in body should be at least ${minLength} chars long`));
  if (!pattern) return;
  try {
    if (!compilePattern(pattern).test(text)) result.add(invalid(fieldOf(path), text, `${path} in body should match '${pattern}'`));
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    result.add(invalid(fieldOf(path), text, `${path} in body should match '${pattern}, but pattern is invalid: ${error.message}'`));
  }
}

function checkNumber({ multipleOf, maximum, exclusiveMaximum, minimum, exclusiveMinimum }: JSONSchemaProps, value: number, path: string, result: Result): void {
  const wrong = (text: string) => result.add(invalid(fieldOf(path), value, `${path} in body should be ${text}`));
  if (multipleOf !== undefined) {
    const ratio = multipleOf < 1 ? (1 / multipleOf) * value : value / multipleOf;
    if (!isWhole(ratio)) wrong(`a multiple of ${goNumber(multipleOf)}`);
  }
  if (minimum !== undefined && (exclusiveMinimum ? value <= minimum : value < minimum)) wrong(`greater than ${exclusiveMinimum ? "" : "or equal to "}${goNumber(minimum)}`);
  if (maximum !== undefined && (exclusiveMaximum ? value >= maximum : value > maximum)) wrong(`less than ${exclusiveMaximum ? "" : "or equal to "}${goNumber(maximum)}`);
}

/** Whole up to the error of a division. */
function isWhole(value: number): boolean {
  const rounded = Math.round(value);
  return Math.abs(value - rounded) <= 1e-9 * Math.max(1, Math.abs(value));
}

/** As Go's %v prints a float64: with an exponent from 1e+21 on. */
export const goNumber = (value: number): string => (Number.isInteger(value) && Math.abs(value) >= 1e21 ? value.toExponential().replace(/e\+(\d)$/, "e+0$1") : String(value));

function checkList({ items, minItems, maxItems, uniqueItems }: JSONSchemaProps, list: readonly unknown[], path: string, correlation: Correlation | undefined, result: Result): void {
  if (items && !Array.isArray(items)) for (const [index, item] of list.entries()) validateNode(items as JSONSchemaProps, item, `${path}[${index}]`, correlation?.item(index), result);
  if (minItems !== undefined && list.length < minItems) result.add(invalid(fieldOf(path), list.length, `${path} in body should have at least ${minItems} items`));
  if (maxItems !== undefined && list.length > maxItems) result.add(tooMany(fieldOf(path), list.length, maxItems));
  if (uniqueItems && list.some((item, index) => list.slice(0, index).some((other) => sameJson(item, other)))) result.add(invalid(fieldOf(path), "", `${path} in body shouldn't contain duplicates`));
}

function checkObject(schema: JSONSchemaProps, object: Record<string, unknown>, path: string, correlation: Correlation | undefined, result: Result): void {
  const { minProperties, maxProperties, properties, additionalProperties, required: needed } = schema;
  const keys = Object.keys(object);
  if (minProperties !== undefined && keys.length < minProperties) result.add(invalid(fieldOf(path), keys.length, `${path} in body should have at least ${minProperties} properties`));
  if (maxProperties !== undefined && keys.length > maxProperties) result.add(tooMany(fieldOf(path), keys.length, maxProperties));
  const declared = (key: string) => properties !== undefined && Object.hasOwn(properties, key);
  if (additionalProperties === false) {
    for (const key of keys) if (!declared(key)) result.add(invalid(fieldOf(path), key, `${path}.${key} in body is a forbidden property`));
  } else if (typeof additionalProperties === "object") {
    for (const key of keys) if (!declared(key)) validateNode(additionalProperties, object[key], `${path}.${key}`, correlatedField(correlation, path, key), result);
  }
  for (const [name, property] of Object.entries(properties ?? {})) {
    if (!Object.hasOwn(object, name)) continue;
    validateNode(property, object[name], path === "" ? name : `${path}.${name}`, correlatedField(correlation, path, name), result);
  }
  for (const name of needed ?? []) if (!Object.hasOwn(object, name)) result.add(required(named(`${path}.${name}`)));
}

/** Kind and apiVersion of the object itself are never let through: they follow the request. */
const correlatedField = (correlation: Correlation | undefined, path: string, name: string): Correlation | undefined => (path === "" && (name === "kind" || name === "apiVersion") ? undefined : correlation?.field(name));

function checkJunctors(schema: JSONSchemaProps, value: unknown, path: string, correlation: Correlation | undefined, result: Result): void {
  const validated = (branch: JSONSchemaProps): Result => {
    const own = new Result();
    validateSchema(branch, value, path, correlation, own);
    return own;
  };
  const wrong = (text: string) => result.add(invalid(nowhere, "", `${JSON.stringify(path)} ${text}`));
  if (schema.anyOf && schema.anyOf.length > 0) {
    const { best, valid } = alternatives(schema.anyOf, validated, true);
    if (valid === 0) wrong("must validate at least one schema (anyOf)");
    result.merge(best);
  }
  if (schema.oneOf && schema.oneOf.length > 0) {
    const { best, valid } = alternatives(schema.oneOf, validated, false);
    if (valid !== 1) wrong(`must validate one and only one schema (oneOf). ${valid === 0 ? "Found none valid" : `Found ${valid} valid alternatives`}`);
    if (valid < 2) result.merge(best);
  }
  if (schema.allOf && schema.allOf.length > 0) {
    let valid = 0;
    for (const branch of schema.allOf) {
      const own = validated(branch);
      if (own.isValid) valid++;
      result.merge(own);
    }
    if (valid !== schema.allOf.length) wrong(`must validate all the schemas (allOf)${valid === 0 ? ". None validated" : ""}`);
  }
  if (schema.not && validated(schema.not).isValid) wrong("must not validate the schema (not)");
}

/** How many alternatives fit, and what the best of them says. */
function alternatives(branches: readonly JSONSchemaProps[], validated: (branch: JSONSchemaProps) => Result, first: boolean): { best: Result; valid: number } {
  let success: Result | undefined;
  let failure: Result | undefined;
  let valid = 0;
  for (const branch of branches) {
    const result = validated(branch);
    if (result.isValid) {
      valid++;
      success ??= result;
      if (first) break;
    } else if (!failure || result.matches > failure.matches) failure = result;
  }
  return { best: success ?? failure ?? new Result(), valid };
}
