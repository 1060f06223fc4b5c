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

  constructor(requests: number, periodMs: number, burst: number, max: number) {
    this.#intervalMs = periodMs / requests;
    this.#toleranceMs = burst * this.#intervalMs;
    this.#max = max;
  }

  get size(): number {
    return this.#fullAtMs.size;
  }

  /** 0: the request may go, and is counted. Else milliseconds until one may. */
  take(key: string, nowMs: number): number {
    const known = this.#fullAtMs.get(key);
    const fullAtMs = Math.max(known ?? nowMs, nowMs);
    const waitMs = fullAtMs - this.#toleranceMs - nowMs;
    // A sum of fractions may lie beside the true value by a hair.
    if (waitMs > 1e-6) return waitMs;
    if (known !== undefined) this.#fullAtMs.delete(key);
    this.#fullAtMs.set(key, fullAtMs + this.#intervalMs);
    this.#forget(nowMs);
    return 0;
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
