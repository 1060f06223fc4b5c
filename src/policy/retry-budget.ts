import type { Upstream } from "../api/traffic.ts";
import { TokenBuckets } from "./token-bucket.ts";

const slices = 20;

/**
 * Further tries may be a share of all tries of the last while, and a few a second in any case, so that a Service with
 * little traffic can be tried again at all. When everything fails, load grows by that share, and not by the number of attempts.
 */
export class RetryBudget {
  readonly config: NonNullable<Upstream["retryBudget"]>;
  /** A ring of slices of the interval. */
  readonly #tries = new Float64Array(slices);
  readonly #retries = new Float64Array(slices);
  readonly #sliceMs: number;
  readonly #minimum: TokenBuckets | undefined;
  #slice = 0;
  #allTries = 0;
  #allRetries = 0;

  constructor(config: NonNullable<Upstream["retryBudget"]>) {
    this.config = config;
    this.#sliceMs = (config.intervalMs ?? 10_000) / slices;
    if (config.minPerSecond > 0) this.#minimum = new TokenBuckets({ requests: config.minPerSecond, periodMs: 1000, burst: Math.max(0, config.minPerSecond - 1) }, 1);
  }

  /** A first try. */
  tried(nowMs: number): void {
    this.#forget(nowMs);
    this.#count(this.#tries);
    this.#allTries++;
  }

  /** Whether a further try may be made now; nothing is counted. */
  allows(nowMs: number): boolean {
    this.#forget(nowMs);
    return this.#hasShare() || (this.#minimum !== undefined && this.#minimum.due("", nowMs) === 0);
  }

  /** The same, and counts it. */
  take(nowMs: number): boolean {
    this.#forget(nowMs);
    if (!this.#hasShare() && !(this.#minimum !== undefined && this.#minimum.take("", nowMs) === 0)) return false;
    this.#count(this.#tries);
    this.#count(this.#retries);
    this.#allTries++;
    this.#allRetries++;
    return true;
  }

  /** With this one counted among both. */
  #hasShare(): boolean {
    return this.#allRetries + 1 <= (this.config.percent / 100) * (this.#allTries + 1);
  }

  #count(ring: Float64Array): void {
    ring[this.#slice % slices]!++;
  }

  /** Slices that are older than the interval. */
  #forget(nowMs: number): void {
    const slice = Math.floor(nowMs / this.#sliceMs);
    const steps = Math.min(slices, slice - this.#slice);
    for (let i = 1; i <= steps; i++) {
      const at = (slice - steps + i) % slices;
      this.#allTries -= this.#tries[at]!;
      this.#allRetries -= this.#retries[at]!;
      this.#tries[at] = this.#retries[at] = 0;
    }
    if (steps > 0) this.#slice = slice;
  }
}
