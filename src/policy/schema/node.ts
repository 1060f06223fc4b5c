import type { Pattern } from "../pattern.ts";
import { PolicyError } from "../policy-error.ts";
import type { Rules } from "./dialects.ts";
import type { Check } from "./run.ts";

export type Schema = boolean | { readonly [keyword: string]: unknown };

/** A schema that has been read. */
export interface Node {
  readonly schema: Schema;
  check: Check;
  /** Those that look at the same value: one that leads back to itself would never end. */
  readonly inPlace: Node[];
  /** Of `patternProperties`. */
  readonly patterns: { pattern: Pattern; node: Node }[];
  readonly place: string;
}

/** What keywords are read with: one schema, and a way to read those within it. */
export interface Reading {
  readonly schema: { readonly [keyword: string]: unknown };
  /** For errors: "schema.properties.name". */
  readonly place: string;
  readonly rules: Rules;
  readonly node: Node;
  /** A schema at another value. */
  within(schema: unknown, ...place: (string | number)[]): Node;
  /** A schema of the same value. */
  beside(schema: unknown, ...place: (string | number)[]): Node;
  /** What `$ref` names. */
  resolve(reference: unknown): Node;
  /** Of a schema that was read. */
  nodeOf(schema: unknown): Node;
  /** Whether a request need not have this member: only answers have it. */
  isReadOnly(schema: unknown): boolean;
}

/** Reads keywords of one kind. */
export type Keywords = (reading: Reading) => Check[];

export const joined = (place: string, path: readonly (string | number)[]): string => place + path.map((part) => (typeof part === "number" ? `[${part}]` : /^[\w$-]+$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`)).join("");

/** A keyword's value, which must be of this shape. @throws PolicyError */
export function wanted<T>({ schema, place }: Reading, keyword: string, is: (value: unknown) => value is T, what: string): T | undefined {
  const value = Object.hasOwn(schema, keyword) ? schema[keyword] : undefined;
  if (value === undefined) return undefined;
  if (!is(value)) throw new PolicyError(joined(place, [keyword]), value, `must be ${what}`);
  return value;
}
export const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
export const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
export const isText = (value: unknown): value is string => typeof value === "string";
export const isFlag = (value: unknown): value is boolean => typeof value === "boolean";
export const isList = (value: unknown): value is unknown[] => Array.isArray(value);
export const isNames = (value: unknown): value is string[] => Array.isArray(value) && value.every((name) => typeof name === "string");
export const aCount = "an integer that is not negative";

/** Members that every object seems to have. */
const inherited = new Set(Object.getOwnPropertyNames(Object.prototype));
/** A member of a JSON object, and nothing that it inherits; `undefined` when it is not there. */
export function memberReader(name: string): (value: Record<string, unknown>) => unknown {
  return inherited.has(name) ? (value) => (Object.hasOwn(value, name) ? value[name] : undefined) : (value) => value[name];
}

/** All of them, the first failure being enough unless all are wanted. */
export function every(checks: readonly Check[]): Check | undefined {
  if (checks.length <= 1) return checks[0];
  if (checks.length === 2) {
    const [first, second] = checks as [Check, Check];
    return (value, run) => {
      if (first(value, run)) return second(value, run);
      if (run.isCollecting) second(value, run);
      return false;
    };
  }
  return (value, run) => {
    let isRight = true;
    for (let i = 0; i < checks.length; i++) {
      if (checks[i]!(value, run)) continue;
      if (!run.isCollecting) return false;
      isRight = false;
    }
    return isRight;
  };
}
