import { CostBudget, PER_REQUEST_LIMIT } from "../cel/program.ts";
import { type FieldError, invalid } from "../field.ts";
import type { KubeObject } from "../meta.ts";
import { Correlation } from "./correlation.ts";
import { goText } from "../patch/go-text.ts";
import type { ScalePaths } from "./definition.ts";
import { validateEmbedded } from "./embedded.ts";
import { validateListTypes } from "./list-types.ts";
import { hasRules, validateRules } from "./rules.ts";
import type { CustomSchema } from "./schema.ts";
import { validateValue } from "./validate-value.ts";

/**
 * What is wrong with a custom resource; metadata was looked at before, and `ofMetadata` is what was found there. With `old`, what was wrong already and has not
 * changed passes.
 * Source of the order: k8s.io/apiextensions-apiserver/pkg/registry/customresource/{strategy,validator}.go.
 */
export function validateObject(schema: CustomSchema, scale: ScalePaths | undefined, object: KubeObject, old?: KubeObject, ofMetadata: readonly FieldError[] = []): FieldError[] {
  const correlation = old && new Correlation(schema, object, old);
  const errors = [...validateValue(schema, object, correlation), ...(scale ? validateScale(object, scale) : []), ...validateEmbedded(schema, object)];
  // Who has two of a kind already may keep them.
  if (!old || validateListTypes(schema, old).length === 0) errors.push(...validateListTypes(schema, object));
  errors.push(...judgedByRules(schema, [...ofMetadata, ...errors], object, old));
  return errors;
}

/** The same for a write of the status alone. */
export function validateStatus(schema: CustomSchema, scale: ScalePaths | undefined, object: KubeObject, old: KubeObject, ofMetadata: readonly FieldError[] = []): FieldError[] {
  const errors: FieldError[] = [];
  const status = schema.fields.get("status");
  if (status && Object.hasOwn(object, "status")) {
    const before = old["status"] as unknown;
    const found = validateValue(status, object["status"], before === undefined ? undefined : new Correlation(status, object["status"], before));
    errors.push(...found.map((error) => ({ ...error, field: error.field === "<nil>" ? "status" : `status.${error.field}` })));
  }
  if (scale) errors.push(...validateScaleStatus(object, scale));
  if (validateListTypes(schema, old).length === 0) errors.push(...validateListTypes(schema, object));
  errors.push(...judgedByRules(schema, [...ofMetadata, ...errors], object, old));
  return errors;
}

const blocking = new Set(["FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid"]);

/** A rule may count on the schema; where the schema is broken, no rule is asked. */
function judgedByRules(schema: CustomSchema, errors: readonly FieldError[], object: KubeObject, old: KubeObject | undefined): FieldError[] {
  if (hasRules(schema.props) && errors.some(({ type }) => blocking.has(type))) return [invalid("<nil>", null, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")];
  return validateRules(schema, object, { budget: new CostBudget(PER_REQUEST_LIMIT), ...(old && { old }) });
}

const int32Max = 2 ** 31 - 1;

function validateScale(object: KubeObject, paths: ScalePaths): FieldError[] {
  return [...validateReplicas(object, paths.specReplicasPath), ...validateScaleStatus(object, paths)];
}

function validateScaleStatus(object: KubeObject, { statusReplicasPath, labelSelectorPath }: ScalePaths): FieldError[] {
  const errors = validateReplicas(object, statusReplicasPath);
  if (!labelSelectorPath) return errors;
  const { value, text } = at(object, labelSelectorPath);
  if (text === undefined && value !== undefined && typeof value !== "string") errors.push(invalid(labelSelectorPath, "", mistyped(labelSelectorPath, value, "string")));
  else if (text !== undefined) errors.push(invalid(labelSelectorPath, "", text));
  return errors;
}

function validateReplicas(object: KubeObject, path: string): FieldError[] {
  const { value, text } = at(object, path);
  if (text !== undefined) return [invalid(path, 0, text)];
  if (value === undefined) return [];
  if (typeof value !== "number" || !Number.isInteger(value)) return [invalid(path, 0, mistyped(path, value, "int64"))];
  if (value < 0) return [invalid(path, value, "should be a non-negative integer")];
  return value > int32Max ? [invalid(path, value, `should be less than or equal to ${int32Max}`)] : [];
}

/** Source: k8s.io/apimachinery/pkg/apis/meta/v1/unstructured/helpers.go. */
const mistyped = (path: string, value: unknown, wanted: string): string => `${path} accessor error: ${goText(value)} is of the type ${goType(value)}, expected ${wanted}`;

/** What lies at a path; `text` says so where something on the way is no map. */
function at(object: KubeObject, path: string): { value?: unknown; text?: string } {
  let value: unknown = object;
  const names = path.replace(/^\./, "").split(".");
  for (const [index, name] of names.entries()) {
    if (value === null || value === undefined) return {};
    if (typeof value !== "object" || Array.isArray(value)) return { text: mistyped(`.${names.slice(0, index + 1).join(".")}`, value, "map[string]interface{}") };
    if (!Object.hasOwn(value, name)) return {};
    value = (value as Record<string, unknown>)[name];
  }
  return { value };
}

function goType(value: unknown): string {
  if (value === null) return "<nil>";
  if (Array.isArray(value)) return "[]interface {}";
  if (typeof value === "object") return "map[string]interface {}";
  return typeof value === "number" ? (Number.isInteger(value) ? "int64" : "float64") : typeof value === "boolean" ? "bool" : "string";
}
