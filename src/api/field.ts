/**
 * Validation errors of single fields, with upstream's texts.
 * Source: k8s.io/apimachinery/pkg/util/validation/field/errors.go.
 */
export type FieldErrorType =
  | "FieldValueNotFound"
  | "FieldValueRequired"
  | "FieldValueDuplicate"
  | "FieldValueInvalid"
  | "FieldValueNotSupported"
  | "FieldValueForbidden"
  | "FieldValueTooLong"
  | "FieldValueTooMany"
  | "InternalError"
  | "FieldValueTypeInvalid";

export interface FieldError {
  readonly type: FieldErrorType;
  /** "spec.containers[0].image" */
  readonly field: string;
  /** `Invalid value: -1: must be greater than or equal to 0`, without the field's name. */
  readonly body: string;
}

const typeText: Record<FieldErrorType, string> = {
  FieldValueNotFound: "Not found",
  FieldValueRequired: "Required value",
  FieldValueDuplicate: "Duplicate value",
  FieldValueInvalid: "Invalid value",
  FieldValueNotSupported: "Unsupported value",
  FieldValueForbidden: "Forbidden",
  FieldValueTooLong: "Too long",
  FieldValueTooMany: "Too many",
  InternalError: "Internal error",
  FieldValueTypeInvalid: "Invalid value",
};

/** A value as Go's field.Error prints it: strings quoted, numbers bare, objects as JSON, absent as null. */
export function printValue(value: unknown): string {
  if (value === undefined) return "null";
  return JSON.stringify(value);
}

function fieldError(type: FieldErrorType, field: string, value: string | undefined, detail: string): FieldError {
  let body = typeText[type];
  if (value !== undefined) body += `: ${value}`;
  if (detail !== "") body += `: ${detail}`;
  return { type, field, body };
}

export const required = (field: string, detail = ""): FieldError => fieldError("FieldValueRequired", field, undefined, detail);
export const invalid = (field: string, value: unknown, detail: string): FieldError => fieldError("FieldValueInvalid", field, printValue(value), detail);
/** Of something that as a whole makes no sense: no value is printed (`field.OmitValueType`). */
export const senseless = (field: string, detail: string): FieldError => fieldError("FieldValueInvalid", field, undefined, detail);
/** Of a wrong type: looks like {@link invalid} and is told apart by its reason. */
export const typeInvalid = (field: string, value: unknown, detail: string): FieldError => fieldError("FieldValueTypeInvalid", field, printValue(value), detail);
export const duplicate = (field: string, value: unknown): FieldError => fieldError("FieldValueDuplicate", field, printValue(value), "");
export const notFound = (field: string, value: unknown): FieldError => fieldError("FieldValueNotFound", field, printValue(value), "");
export const forbidden = (field: string, detail: string): FieldError => fieldError("FieldValueForbidden", field, undefined, detail);
/** In the order that upstream prints: sorted where its code has a set, as declared where it has a list. */
export const notSupported = (field: string, value: unknown, supported: readonly string[]): FieldError =>
  fieldError("FieldValueNotSupported", field, printValue(value), supported.length === 0 ? "" : `supported values: ${supported.map((text) => JSON.stringify(text)).join(", ")}`);
/** Since 1.33 the value itself is not printed. */
export const tooLong = (field: string, max: number): FieldError => fieldError("FieldValueTooLong", field, undefined, `may not be more than ${max} bytes`);
export const tooMany = (field: string, actual: number, max: number): FieldError => fieldError("FieldValueTooMany", field, String(actual), `must have at most ${max} items`);

/** `spec.replicas: Invalid value: -1: must be …` */
export function renderFieldError(error: FieldError): string {
  return error.field === "" ? error.body : `${error.field}: ${error.body}`;
}
