import { type FieldError, invalid, notSupported, required } from "../field.ts";
import { type Check, dns1123Subdomain, formError } from "./names.ts";

/** Small checks of single fields, and how to put them together. A path is text: "spec.containers[0].image". */

export const immutableText = "field is immutable";
export const notNegativeText = "must be greater than or equal to 0";
export const positiveText = "must be greater than zero";

/** `value` must have the form; every complaint becomes an error of the field. */
export const checked = (path: string, value: string, check: Check): FieldError[] => check(value).map((text) => invalid(path, value, text));

export const notNegative = (path: string, value: number | null | undefined): FieldError[] => (typeof value === "number" && value < 0 ? [invalid(path, value, notNegativeText)] : []);

export const positive = (path: string, value: number | null | undefined): FieldError[] => (typeof value === "number" && value <= 0 ? [invalid(path, value, positiveText)] : []);

/** `value` must be there and be one of `supported`. */
export function oneOf(path: string, value: unknown, supported: readonly string[], requiredText = ""): FieldError[] {
  if (value === undefined || value === null || value === "") return [required(path, requiredText)];
  return supported.includes(value as string) ? [] : [notSupported(path, value, supported)];
}

/** As {@link oneOf}, but the field may be left out. */
export const oneOfOptional = (path: string, value: unknown, supported: readonly string[]): FieldError[] => (value === undefined || value === null ? [] : supported.includes(value as string) ? [] : [notSupported(path, value, supported)]);

export const immutable = (path: string, value: unknown, old: unknown): FieldError[] => (semanticEqual(value, old) ? [] : [invalid(path, value, immutableText)]);

/** `check(item, path, index)` of each item of a list that may be absent. */
export function each<T = any>(path: string, items: readonly T[] | null | undefined, check: (item: T, path: string, index: number) => FieldError[]): FieldError[] {
  return (items ?? []).flatMap((item, index) => check(item, `${path}[${index}]`, index));
}

/** "acme.io/foo". Source: k8s.io/apimachinery/pkg/util/validation, IsDomainPrefixedPath. */
export function domainPrefixedPath(path: string, value: string): FieldError[] {
  if (value === "") return [required(path)];
  const slash = value.indexOf("/");
  const [host, rest] = [value.slice(0, Math.max(slash, 0)), value.slice(slash + 1)];
  if (host === "" || rest === "") return [invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')];
  const errors = checked(path, host, dns1123Subdomain);
  return /^[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/.test(rest) ? errors : [...errors, invalid(path, rest, formError("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+"))];
}

/**
 * Equal as upstream compares objects: nothing and an empty list are the same. An empty map is not the same as
 * none: the walk has dropped those that Go would not write, so what is left means something (a peer's
 * `namespaceSelector: {}` is every namespace).
 */
export function semanticEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (isEmpty(a) || isEmpty(b)) return isEmpty(a) && isEmpty(b);
  if (typeof a !== "object" || typeof b !== "object" || Array.isArray(a) !== Array.isArray(b)) return false;
  if (Array.isArray(a)) return a.length === (b as unknown[]).length && a.every((item, index) => semanticEqual(item, (b as unknown[])[index]));
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((key) => semanticEqual(left[key], right[key]));
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}
