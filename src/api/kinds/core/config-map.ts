import { type FieldError, forbidden, invalid, tooLong } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { semanticEqual } from "../../validation/checks.ts";
import { configMapKey } from "../../validation/names.ts";
import { ageOf, countText, name } from "../columns.ts";

/** ConfigMaps and Secrets hold at most this much, so that a node's memory and the store's pages stay safe. */
export const dataBytesMax = 1024 * 1024;
export const immutableWhenSet = "field is immutable when `immutable` is set";

/** Bytes behind base64 text. */
export const decodedBytes = (base64: string): number => Buffer.byteLength(base64, "base64");

function validate({ data = {}, binaryData = {} }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  let size = 0;
  for (const [key, value] of Object.entries(data as Record<string, string>)) {
    errors.push(...configMapKey(key).map((text) => invalid(`data[${key}]`, key, text)));
    if (Object.hasOwn(binaryData, key)) errors.push(invalid(`data[${key}]`, key, "duplicate of key present in binaryData"));
    size += Buffer.byteLength(value);
  }
  for (const [key, value] of Object.entries(binaryData as Record<string, string>)) {
    errors.push(...configMapKey(key).map((text) => invalid(`binaryData[${key}]`, key, text)));
    size += decodedBytes(value);
  }
  if (size > dataBytesMax) errors.push(tooLong("[]", dataBytesMax));
  return errors;
}

/** Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go. */
export const configMap: Strategy = {
  validate,
  validateUpdate(object, old) {
    if (old.immutable !== true) return [];
    const errors: FieldError[] = object.immutable === true ? [] : [forbidden("immutable", immutableWhenSet)];
    for (const field of ["data", "binaryData"]) if (!semanticEqual(object[field], old[field])) errors.push(forbidden(field, immutableWhenSet));
    return errors;
  },
  columns: [name, countText("Data", ({ data, binaryData }) => Object.keys(data ?? {}).length + Object.keys(binaryData ?? {}).length), ageOf],
};
