import type { Random } from "../base/random.ts";
import { PolicyError } from "./policy-error.ts";

/** A share as the configuration has it, in millionths. @throws PolicyError */
export function perMillion(value: number, field: string): number {
  if (!Number.isInteger(value) || value < 0 || value > 1_000_000) throw new PolicyError(field, value, "must be between 0 and 1000000");
  return value;
}

/** Never at 0, always at a million, and no number is drawn for either. */
export function happens(random: Random, share: number): boolean {
  return share > 0 && (share >= 1_000_000 || random.next() * 1_000_000 < share);
}
