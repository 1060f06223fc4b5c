import { PolicyError } from "../policy-error.ts";
import { canonical, isLongerThan, isMultiple, isShorterThan } from "./compare.ts";
import { formats } from "./formats.ts";
import { aCount, isCount, isFlag, isList, isNames, isNumber, isText, joined, type Keywords, type Reading, wanted } from "./node.ts";
import { compileRegular } from "./regular.ts";
import type { Check } from "./run.ts";

// One bit a type.
const bits: Record<string, number> = { null: 1, boolean: 2, integer: 4, number: 12, string: 16, array: 32, object: 64 };
const fraction = 8;
const whatTypes: [bit: number, what: string][] = [[16, "a string"], [12, "a number"], [4, "an integer"], [2, "a boolean"], [64, "an object"], [32, "an array"], [1, "null"]];

export function bitOf(value: unknown): number {
  switch (typeof value) {
    case "string":
      return 16;
    case "number":
      return Number.isInteger(value) ? 4 : fraction;
    case "boolean":
      return 2;
    default:
      return value === null ? 1 : Array.isArray(value) ? 32 : 64;
  }
}

/** What `type` allows, as bits; undefined: anything. */
export function typesOf(reading: Reading): number | undefined {
  const { schema, place, rules } = reading;
  if (!Object.hasOwn(schema, "type")) {
    if (rules.nullable && schema["nullable"] !== undefined && !isFlag(schema["nullable"])) throw new PolicyError(`${place}.nullable`, schema["nullable"], "must be a boolean");
    return undefined;
  }
  const { type } = schema as { type: unknown };
  const names = typeof type === "string" ? [type] : type;
  if (!isNames(names) || names.length === 0) throw new PolicyError(`${place}.type`, type, "must be the name of a type, or several");
  let mask = 0;
  for (const name of names) {
    if (!Object.hasOwn(bits, name)) throw new PolicyError(`${place}.type`, name, `supported values: ${Object.keys(bits).join(", ")}`);
    mask |= bits[name]!;
  }
  if (rules.nullable && wanted(reading, "nullable", isFlag, "a boolean")) mask |= bits["null"]!;
  return mask;
}
export function typeCheck(mask: number): Check {
  const what: string[] = [];
  let left = mask;
  for (const [bit, name] of whatTypes) {
    if ((left & bit) !== bit) continue;
    what.push(name);
    left &= ~bit;
  }
  const why = `must be ${what.length > 1 ? `${what.slice(0, -1).join(", ")} or ${what.at(-1)}` : what[0]}`;
  return (value, run) => (mask & bitOf(value)) !== 0 || run.fail("type", value, why);
}

const listed = (values: readonly unknown[]): string => {
  const text = values.slice(0, 12).map((value) => JSON.stringify(value)).join(", ");
  return values.length > 12 ? `${text} or ${values.length - 12} others` : text;
};

/** Of any type. */
export const anyKeywords: Keywords = (reading) => {
  const { schema, place } = reading;
  const checks: Check[] = [];
  const among = (keyword: string, values: readonly unknown[], why: string): void => {
    // Strings and the like as they are; what has members by a text that equal ones share.
    const simple = new Set(values.filter((value) => typeof value !== "object" || value === null));
    const others = new Set(values.filter((value) => typeof value === "object" && value !== null).map((value) => canonical(value)));
    if (others.has(undefined)) throw new PolicyError(joined(place, [keyword]), "…", "is nested too deeply");
    checks.push((value, run) => {
      if (typeof value !== "object" || value === null) return simple.has(value) || run.fail(keyword, value, why);
      if (others.size === 0) return run.fail(keyword, value, why);
      const text = canonical(value);
      if (text !== undefined && !run.step(text.length >> 6)) return false;
      return (text !== undefined && others.has(text)) || run.fail(keyword, value, why);
    });
  };
  if (Object.hasOwn(schema, "const")) among("const", [schema["const"]], `must be ${listed([schema["const"]])}`);
  const allowed = wanted(reading, "enum", isList, "a list of values");
  if (allowed) {
    if (allowed.length === 0) throw new PolicyError(`${place}.enum`, allowed, "must have at least one value");
    // OpenAPI 3.0.3, "nullable": null is allowed beside what `enum` names only where that names it too.
    among("enum", allowed, `must be one of ${listed(allowed)}`);
  }
  return checks;
};

export const stringKeywords: Keywords = (reading) => {
  const { schema, place } = reading;
  const checks: Check[] = [];
  const min = wanted(reading, "minLength", isCount, aCount);
  const max = wanted(reading, "maxLength", isCount, aCount);
  if (min !== undefined && min > 0) checks.push((value, run) => !isShorterThan(value as string, min) || run.fail("minLength", value, `must have at least ${counted(min, "character")}`));
  if (max !== undefined) checks.push((value, run) => !isLongerThan(value as string, max) || run.fail("maxLength", value, `must have at most ${counted(max, "character")}`));
  const source = wanted(reading, "pattern", isText, "a regular expression");
  if (source !== undefined) {
    const pattern = compileRegular(source, `${place}.pattern`);
    checks.push((value, run) => pattern.test(value as string) || run.fail("pattern", value, `must match ${source}`));
  }
  const format = formatOf(reading);
  if (format?.text) {
    const { text, what } = format;
    checks.push((value, run) => text(value as string) || run.fail("format", value, `must be ${what}`));
  }
  if (schema["format"] === "regex" && reading.rules.formats !== "ignored") checks.push((value, run) => isRegular(value as string) || run.fail("format", value, "must be a regular expression"));
  return checks;
};
/** It is read and never run: as JavaScript has it, whatever RE2 does. */
function isRegular(text: string): boolean {
  try {
    return new RegExp(text, "u").source !== undefined;
  } catch {
    return false;
  }
}
function formatOf(reading: Reading): ReturnType<typeof formats.get> {
  const name = wanted(reading, "format", isText, "the name of a format");
  if (name === undefined || name === "regex" || reading.rules.formats === "ignored") return undefined;
  const format = formats.get(name);
  if (!format) {
    if (reading.rules.formats === "known") return undefined;
    throw new PolicyError(`${reading.place}.format`, name, `is not known here; supported values: ${[...formats.keys(), "regex"].join(", ")}`);
  }
  return format;
}

export const numberKeywords: Keywords = (reading) => {
  const checks: Check[] = [];
  const { rules } = reading;
  const add = (keyword: string, isRight: (value: number) => boolean, why: string): void => void checks.push((value, run) => isRight(value as number) || run.fail(keyword, value, why));
  const of = wanted(reading, "multipleOf", isNumber, "a number");
  if (of !== undefined) {
    if (!(of > 0)) throw new PolicyError(`${reading.place}.multipleOf`, of, "must be greater than 0");
    add("multipleOf", (value) => isMultiple(value, of), `must be a multiple of ${of}`);
  }
  const bound = (keyword: string, exclusive: string, isWithin: (value: number, bound: number) => boolean, words: [string, string]): void => {
    const limit = wanted(reading, keyword, isNumber, "a number");
    const isExclusive = rules.booleanBounds && wanted(reading, exclusive, isFlag, "a boolean in this dialect");
    if (limit !== undefined) {
      if (isExclusive) add(exclusive, (value) => isWithin(value, limit) && value !== limit, `must be ${words[1]} ${limit}`);
      else add(keyword, (value) => isWithin(value, limit), `must be ${words[0]} ${limit}`);
    }
    if (rules.booleanBounds) return;
    const beyond = wanted(reading, exclusive, isNumber, "a number in this dialect");
    if (beyond !== undefined) add(exclusive, (value) => isWithin(value, beyond) && value !== beyond, `must be ${words[1]} ${beyond}`);
  };
  bound("minimum", "exclusiveMinimum", (value, limit) => value >= limit, ["at least", "greater than"]);
  bound("maximum", "exclusiveMaximum", (value, limit) => value <= limit, ["at most", "less than"]);
  const format = formatOf(reading);
  if (format?.number) add("format", format.number, `must be ${format.what}`);
  return checks;
};

export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
