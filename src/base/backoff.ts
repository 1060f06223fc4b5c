/** Exponential delays: `baseMs`, doubled at each failure, never above `maxMs`; `reset` after a success. */
export class Backoff {
  #failures = 0;
  readonly baseMs: number;
  readonly maxMs: number;

  constructor(baseMs: number, maxMs: number) {
    this.baseMs = baseMs;
    this.maxMs = maxMs;
  }
  /** The delay to wait now, in ms; the next call gives the doubled one. */
  next(): number {
    return Math.min(this.maxMs, this.baseMs * 2 ** Math.min(this.#failures++, 30));
  }
  reset(): void {
    this.#failures = 0;
  }
}
