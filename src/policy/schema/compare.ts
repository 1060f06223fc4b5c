import { depthMax } from "./run.ts";

/**
 * A text that two JSON values have in common exactly when they are equal: members in the order of their names, 1.0 as 1. So many can be
 * compared with each other by a set. Undefined: nested too deeply to be looked at.
 */
export function canonical(value: unknown, depth = depthMax): string | undefined {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "0" : String(value);
  if (depth === 0) return undefined;
  const parts: string[] = [];
  const isArray = Array.isArray(value);
  for (const key of isArray ? value.keys() : Object.keys(value).toSorted()) {
    const text = canonical((value as Record<string | number, unknown>)[key], depth - 1);
    if (text === undefined) return undefined;
    parts.push(isArray ? text : `${JSON.stringify(key)}:${text}`);
  }
  return isArray ? `[${parts.join()}]` : `{${parts.join()}}`;
}

/** A finite number as digits and a power of ten: 0.0075 is 75 and -4. */
function decimalOf(value: number): { digits: bigint; exponent: number } {
  const [mantissa, exponent = "0"] = String(value).split("e");
  const [whole, fraction = ""] = mantissa!.split(".");
  return { digits: BigInt(whole! + fraction), exponent: Number(exponent) - fraction.length };
}

/** As decimals, not as what binary makes of them: 0.3 is a multiple of 0.1. */
export function isMultiple(value: number, of: number): boolean {
  if (Number.isSafeInteger(value) && Number.isSafeInteger(of)) return value % of === 0;
  const [a, b] = [decimalOf(value), decimalOf(of)];
  const exponent = Math.min(a.exponent, b.exponent);
  return (a.digits * 10n ** BigInt(a.exponent - exponent)) % (b.digits * 10n ** BigInt(b.exponent - exponent)) === 0n;
}

/** Characters, not halves of them. */
export function isLongerThan(text: string, max: number): boolean {
  return text.length > max && (text.length > max * 2 || characters(text) > max);
}
export function isShorterThan(text: string, min: number): boolean {
  return text.length < min || (text.length < min * 2 && characters(text) < min);
}
function characters(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    if ((text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      count--;
      i++;
    }
  }
  return count;
}
