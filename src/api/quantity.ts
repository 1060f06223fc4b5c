/**
 * Quantities: exact decimal numbers with a suffix ("100m", "1.5Gi", "1e3"), as requests, limits and capacities
 * write them. A value is held as `amount × 10^exponent` with a BigInt, so nothing is ever rounded by a float.
 * Source: k8s.io/apimachinery/pkg/api/resource/quantity.go.
 */
export type QuantityFormat = "BinarySI" | "DecimalSI" | "DecimalExponent";

export interface Quantity {
  /** The number is `amount × 10^exponent`; exponent is between -9 and 0 for anything parsed. */
  readonly amount: bigint;
  readonly exponent: number;
  /** The family of suffixes in which it was written, and is printed. */
  readonly format: QuantityFormat;
}

export class QuantityError extends Error {}

const formText = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const numericText = "unable to parse numeric part of quantity";
const suffixText = "unable to parse quantity's suffix";

const binarySuffixes: Record<string, bigint> = { Ki: 1n << 10n, Mi: 1n << 20n, Gi: 1n << 30n, Ti: 1n << 40n, Pi: 1n << 50n, Ei: 1n << 60n };
const decimalSuffixes: Record<string, number> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const decimalByExponent: Record<number, string> = Object.fromEntries(Object.entries(decimalSuffixes).map(([suffix, exponent]) => [exponent, suffix]));
const binaryOrder = Object.entries(binarySuffixes).toReversed();
const amountMax = (1n << 63n) - 1n;
const exponentMin = -9;
const digitsMax = 512;

/** Throws QuantityError with upstream's text. Less than 1n is rounded up to it; binary ones are capped at 2^63-1. */
export function parseQuantity(text: string): Quantity {
  if (text === "0") return { amount: 0n, exponent: 0, format: "DecimalSI" };
  const match = /^([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*(?:[-+]?\d*))$/.exec(text);
  if (!match || text === "" || text.length > digitsMax) throw new QuantityError(formText);
  const [, sign, whole = "", fraction = "", suffix = ""] = match;
  let exponent = 0;
  let factor = 1n;
  let format: QuantityFormat = "DecimalSI";
  if (Object.hasOwn(decimalSuffixes, suffix)) {
    exponent = decimalSuffixes[suffix]!;
  } else if (Object.hasOwn(binarySuffixes, suffix)) {
    factor = binarySuffixes[suffix]!;
    format = "BinarySI";
  } else if (/^[eE][-+]?\d+$/.test(suffix)) {
    exponent = Number(suffix.slice(1));
    format = "DecimalExponent";
  } else {
    throw new QuantityError(suffixText);
  }
  // Bounded before any power is taken: "1e999999999" must not fill the memory.
  if (whole + fraction === "" || exponent > digitsMax) throw new QuantityError(numericText);
  let amount = BigInt(whole + fraction) * factor;
  exponent -= fraction.length;
  if (exponent > 0) {
    amount *= 10n ** BigInt(exponent);
    exponent = 0;
  } else if (exponent < exponentMin) {
    const dropped = exponentMin - exponent;
    amount = dropped > 2 * digitsMax ? (amount === 0n ? 0n : 1n) : ceilDivide(amount, 10n ** BigInt(dropped));
    exponent = exponentMin;
  }
  if (format === "BinarySI") {
    const one = 10n ** BigInt(-exponent);
    if (amount > amountMax * one) [amount, exponent] = [amountMax, 0];
    // A part of a byte has no binary form.
    else if (amount < one) format = "DecimalSI";
  }
  return { amount: sign === "-" ? -amount : amount, exponent, format };
}

/** Canonical text: no fraction, no lost digit, the largest suffix that allows both. */
export function formatQuantity(quantity: Quantity): string {
  let { amount, exponent } = quantity;
  if (amount === 0n) return "0";
  const sign = amount < 0n ? "-" : "";
  if (amount < 0n) amount = -amount;
  while (amount % 10n === 0n) {
    amount /= 10n;
    exponent++;
  }
  // Binary suffixes are for whole numbers from 1024 on.
  const bytes = quantity.format === "BinarySI" && exponent >= 0 ? amount * 10n ** BigInt(exponent) : 0n;
  if (bytes >= 1024n) {
    amount = bytes;
    for (const [suffix, factor] of binaryOrder) if (amount % factor === 0n) return `${sign}${amount / factor}${suffix}`;
    return `${sign}${amount}`;
  }
  const target = Math.min(18, Math.floor(exponent / 3) * 3);
  amount *= 10n ** BigInt(exponent - target);
  if (quantity.format === "DecimalExponent") return `${sign}${amount}${target === 0 ? "" : `e${target}`}`;
  return `${sign}${amount}${decimalByExponent[target]}`;
}

const remembered = [new Map<string, string>(), new Map<string, string>()] as const;
const rememberedMax = 4096;

/**
 * The canonical text, remembered: manifests repeat a handful of quantities. With `milli`, rounded up to
 * thousandths, as upstream does with every ResourceList.
 */
export function canonicalQuantity(text: string, milli = false): string {
  const memory = remembered[milli ? 1 : 0];
  let result = memory.get(text);
  if (result === undefined) {
    const quantity = parseQuantity(text.trim());
    result = formatQuantity(milli ? roundUpQuantity(quantity, -3) : quantity);
    if (memory.size >= rememberedMax) memory.clear();
    memory.set(text, result);
  }
  return result;
}

function aligned(a: Quantity, b: Quantity): [bigint, bigint, number] {
  const exponent = Math.min(a.exponent, b.exponent);
  return [a.amount * 10n ** BigInt(a.exponent - exponent), b.amount * 10n ** BigInt(b.exponent - exponent), exponent];
}

/** Negative, zero or positive, as for sort. */
export function compareQuantity(a: Quantity, b: Quantity): number {
  const [left, right] = aligned(a, b);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The sum, in the format of the first that is not zero. */
export function addQuantity(a: Quantity, b: Quantity): Quantity {
  const [left, right, exponent] = aligned(a, b);
  return { amount: left + right, exponent, format: a.amount === 0n ? b.format : a.format };
}

export function subtractQuantity(a: Quantity, b: Quantity): Quantity {
  const [left, right, exponent] = aligned(a, b);
  return { amount: left - right, exponent, format: a.amount === 0n ? b.format : a.format };
}

function ceilDivide(amount: bigint, divisor: bigint): bigint {
  const quotient = amount / divisor;
  return amount % divisor > 0n ? quotient + 1n : quotient;
}

/** The value rounded up to a whole number: bytes, pods. */
export function quantityValue(quantity: Quantity | string): number {
  const { amount, exponent } = typeof quantity === "string" ? parseQuantity(quantity) : quantity;
  return Number(exponent >= 0 ? amount * 10n ** BigInt(exponent) : ceilDivide(amount, 10n ** BigInt(-exponent)));
}

/** Rounded up to a multiple of `10^exponent`. */
export function roundUpQuantity(quantity: Quantity, exponent: number): Quantity {
  if (quantity.exponent >= exponent) return quantity;
  return { ...quantity, amount: ceilDivide(quantity.amount, 10n ** BigInt(exponent - quantity.exponent)), exponent };
}

/** Thousandths rounded up: "250m" CPU is 250. */
export function quantityMilliValue(quantity: Quantity | string): number {
  const { amount, exponent } = typeof quantity === "string" ? parseQuantity(quantity) : quantity;
  return quantityValue({ amount: amount * 1000n, exponent, format: "DecimalSI" });
}
