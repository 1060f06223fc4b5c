import type { QuotaUnit } from "../exchange.ts";

/** Milliseconds since the epoch; `endMs` is the next one's beginning. */
export interface Window {
  readonly startMs: number;
  readonly endMs: number;
}

const second = 1_000;
const day = 86_400_000;
const lengths = { second, minute: 60 * second, hour: 3_600 * second, day, week: 7 * day } as const;
/** The epoch was a Thursday. */
const firstMonday = 4 * day;

export const quotaUnits: readonly QuotaUnit[] = ["second", "minute", "hour", "day", "week", "month", "year"];

/**
 * The calendar's window around a time, in UTC: weeks begin on Monday, months on the first. (Envoy's rate limit service reckons weeks
 * from a Thursday, months as thirty days and years as 365; see docs/decisions/017.)
 */
export function windowOf(unit: QuotaUnit, atMs: number): Window {
  if (unit === "month" || unit === "year") {
    const date = new Date(atMs);
    const [year, month] = [date.getUTCFullYear(), unit === "year" ? 0 : date.getUTCMonth()];
    return { startMs: Date.UTC(year, month), endMs: unit === "year" ? Date.UTC(year + 1, 0) : Date.UTC(year, month + 1) };
  }
  const length = lengths[unit];
  const offset = unit === "week" ? firstMonday : 0;
  const startMs = Math.floor((atMs - offset) / length) * length + offset;
  return { startMs, endMs: startMs + length };
}

/** As the `w` of X-RateLimit-Limit says it, where a month has thirty days. Source: Envoy's rate limit headers, draft 03. */
export function nominalSeconds(unit: QuotaUnit): number {
  return unit === "month" ? 30 * 86_400 : unit === "year" ? 365 * 86_400 : lengths[unit] / second;
}
