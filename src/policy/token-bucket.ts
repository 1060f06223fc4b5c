import type { Limiter, Rate } from "./exchange.ts";

/**
 * Requests that are due at a steady rate, with room for a burst: within any time t never more than burst + 1 + t × rate of one
 * key are let through. Kept as one number a key, the time at which its bucket would be full again (the "generic cell rate
 * algorithm", which is the token bucket without a timer).
 *
 * When `max` keys are known, the one that was seen longest ago is forgotten, and its bucket with it: whoever commands
 * more addresses than that is not stopped by this.
 */
export class TokenBuckets {
  readonly #fullAtMs = new Map<string, number>();
  readonly #intervalMs: number;
  readonly #toleranceMs: number;
  readonly #max: number;

  constructor({ requests, periodMs, burst }: Rate, max: number) {
    this.#intervalMs = periodMs / requests;
    this.#toleranceMs = burst * this.#intervalMs;
    this.#max = max;
  }

  get size(): number {
    return this.#fullAtMs.size;
  }

  /** Milliseconds until a request of this key may go; 0 for now. */
  due(key: string, nowMs: number): number {
    const waitMs = (this.#fullAtMs.get(key) ?? nowMs) - this.#toleranceMs - nowMs;
    // A sum of fractions may lie beside the true value by a hair.
    return waitMs > 1e-6 ? waitMs : 0;
  }

  /** The same, and when it may go it is counted. */
  take(key: string, nowMs: number): number {
    const waitMs = this.due(key, nowMs);
    if (waitMs > 0) return waitMs;
    const fullAtMs = Math.max(this.#fullAtMs.get(key) ?? nowMs, nowMs);
    // Those seen last stand last.
    this.#fullAtMs.delete(key);
    this.#fullAtMs.set(key, fullAtMs + this.#intervalMs);
    this.#forget(nowMs);
    return 0;
  }

  /** As many as may go at once, at most `wanted`; these are counted. */
  takeUpTo(key: string, wanted: number, nowMs: number): number {
    let taken = 0;
    while (taken < wanted && this.take(key, nowMs) === 0) taken++;
    return taken;
  }

  /** Full buckets need not be known. A few of the oldest are looked at each time, so that nobody has to sweep. */
  #forget(nowMs: number): void {
    let looked = 0;
    for (const [key, fullAtMs] of this.#fullAtMs) {
      if (this.#fullAtMs.size <= this.#max && (fullAtMs > nowMs || ++looked > 2)) return;
      this.#fullAtMs.delete(key);
    }
  }
}

/** Buckets of this process alone. */
export function localLimiter(rate: Rate, max: number, nowMs: () => number): Limiter {
  const buckets = new TokenBuckets(rate, max);
  return { take: (key, then) => then(buckets.take(key, nowMs())) };
}
