import { type FieldError, forbidden, invalid, required, tooLong } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { immutable, semanticEqual } from "../../validation/checks.ts";
import { configMapKey } from "../../validation/names.ts";
import { ageOf, countText, name, text } from "../columns.ts";
import { dataBytesMax, decodedBytes, immutableWhenSet } from "./config-map.ts";

function validate(object: KubeObject): FieldError[] {
  const data: Record<string, string> = object.data ?? {};
  const errors = Object.keys(data).flatMap((key) => configMapKey(key).map((text) => invalid(`data[${key}]`, key, text)));
  if (Object.values(data).reduce((size, value) => size + decodedBytes(value), 0) > dataBytesMax) errors.push(tooLong("data", dataBytesMax));
  return [...errors, ...validateType(object, data)];
}

/** Well-known types promise certain keys. */
function validateType(object: KubeObject, data: Record<string, string>): FieldError[] {
  const missing = (...keys: string[]): FieldError[] => keys.filter((key) => data[key] === undefined).map((key) => required(`data[${key}]`));
  const json = (key: string): FieldError[] => {
    if (data[key] === undefined) return missing(key);
    const wrong = jsonError(Buffer.from(data[key], "base64").toString());
    return wrong === undefined ? [] : [invalid(`data[${key}]`, "<secret contents redacted>", wrong)];
  };
  switch (object.type) {
    case "kubernetes.io/service-account-token": {
      const account = "kubernetes.io/service-account.name";
      return object.metadata.annotations?.[account] ? [] : [required(`metadata.annotations[${account}]`)];
    }
    case "kubernetes.io/dockercfg":
      return json(".dockercfg");
    case "kubernetes.io/dockerconfigjson":
      return json(".dockerconfigjson");
    case "kubernetes.io/basic-auth":
      return data.username === undefined && data.password === undefined ? missing("username", "password") : [];
    case "kubernetes.io/ssh-auth":
      return data["ssh-privatekey"] ? [] : [required("data[ssh-privatekey]")];
    case "kubernetes.io/tls":
      return missing("tls.crt", "tls.key");
    default:
      return [];
  }
}

/** Why a text is no JSON object, without showing more of it than Go's decoder does. */
function jsonError(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return undefined;
    const sort = Array.isArray(value) ? "array" : typeof value === "boolean" ? "bool" : typeof value;
    return value === null ? undefined : `json: cannot unmarshal ${sort} into Go value of type map[string]interface {}`;
  } catch {
    const first = text.trimStart()[0];
    if (first === undefined) return "unexpected end of JSON input";
    return /[{["\-0-9tfn]/.test(first) ? "invalid JSON" : `invalid character '${first}' looking for beginning of value`;
  }
}

/** Source: k8s.io/kubernetes/pkg/{apis/core/validation/validation.go,registry/core/secret/strategy.go}. */
export const secret: Strategy = {
  defaults(object) {
    object.type ||= "Opaque";
    // Plain text is for writing only: it becomes data, and is never read back.
    if (object.stringData) {
      object.data = { ...object.data, ...Object.fromEntries(Object.entries(object.stringData as Record<string, string>).map(([key, value]) => [key, Buffer.from(value).toString("base64")])) };
      delete object.stringData;
    }
  },
  validate,
  validateUpdate(object, old) {
    const errors = immutable("type", object.type, old.type);
    if (old.immutable === true) {
      if (object.immutable !== true) errors.push(forbidden("immutable", immutableWhenSet));
      if (!semanticEqual(object.data, old.data)) errors.push(forbidden("data", immutableWhenSet));
    }
    return errors;
  },
  columns: [name, text("Type", ({ type }) => type), countText("Data", ({ data }) => Object.keys(data ?? {}).length), ageOf],
  selectableFields: ({ type }) => ({ type: type ?? "" }),
};
