import { formatQuantity, parseQuantity, quantityMilliValue, quantityValue } from "../quantity.ts";
import { type Amounts, type ResourceName, resourceNames } from "./types.ts";

/** Thousandths of a core and bytes, in whole numbers. */
export type Sizes = Partial<Record<ResourceName, number>>;

/** More than any machine has; where nothing is known, nothing is too much. Source: recommender/model/types.go. */
export const most = 1e14;

export function sizesOf(amounts: Record<string, unknown> | undefined): Sizes {
  const { cpu, memory } = amounts ?? {};
  return { ...(cpu !== undefined && { cpu: quantityMilliValue(String(cpu)) }), ...(memory !== undefined && { memory: quantityValue(String(memory)) }) };
}

/** "587m", "262144k" or "250Mi": CPU in decimal suffixes, memory in binary ones where they divide it. */
export function amountsOf(sizes: Sizes): Amounts {
  return Object.fromEntries(resourceNames.filter((name) => sizes[name] !== undefined).map((name) => [name, amountOf(name, sizes[name]!)]));
}
const amountOf = (name: ResourceName, size: number): string =>
  formatQuantity(name === "cpu" ? { amount: BigInt(Math.round(size)), exponent: -3, format: "DecimalSI" } : { ...parseQuantity(String(BigInt(Math.round(size)))), format: "BinarySI" });
