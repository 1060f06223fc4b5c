import type { Limiter, Rate } from "./exchange.ts";
import { localLimiter, TokenBuckets } from "./token-bucket.ts";

/**
 * One rate for several workers. One process owns the buckets; workers lease a few tokens of a key at a time and spend
 * them within a moment. Whatever the workers do, within any time t no more are let through than burst + 1 + rate × (t + the time
 * of a lease and its message): what is not spent is lost, never given twice.
 *
 *   request ─▶ lease has a token ───────────────────────────────▶ goes
 *           ─▶ was told to wait, and the time is not over ──────▶ refused, without a message
 *           ─▶ otherwise: waits for one message there and back ─▶ goes, or refused
 */
export interface LeaseRequest {
  id: string;
  rate: Rate;
  key: string;
  wanted: number;
}

export interface Lease {
  granted: number;
  /** Until one more may be granted; 0 when all that was wanted was granted. */
  waitMs: number;
}

/** How long a lease is good for; and how long its answer may take before a worker counts for itself, so that nobody waits for an owner that is gone. */
export const leaseMs = 50;
const answerMaxMs = 250;
/** Tokens of one lease; more than anybody can spend in its time. */
const tokensMax = 256;
/** Keys of one rate that a process knows at a time, and rates that the owner knows. */
const keysMax = 65_536;
const ratesMax = 4_096;

/** The buckets of all workers. */
export class RateOwner {
  /** Those asked for last stand last. */
  readonly #buckets = new Map<string, TokenBuckets>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  lease({ id, rate, key, wanted }: LeaseRequest): Lease {
    const now = this.#nowMs();
    // A worker is believed in what it wants, and not in how much that may be.
    const granted = this.#bucketsOf(id, rate).takeUpTo(key, Math.min(Math.max(1, Math.floor(wanted)), tokensMax), now);
    return { granted, waitMs: granted >= wanted ? 0 : this.#bucketsOf(id, rate).due(key, now) };
  }

  #bucketsOf(id: string, rate: Rate): TokenBuckets {
    // Workers that see a change of the configuration at different moments do not share a bucket meanwhile.
    const name = `${rate.requests}/${rate.periodMs}/${rate.burst} ${id}`;
    const known = this.#buckets.get(name);
    const buckets = known ?? new TokenBuckets(rate, keysMax);
    if (known) this.#buckets.delete(name);
    this.#buckets.set(name, buckets);
    if (this.#buckets.size > ratesMax) this.#buckets.delete(this.#buckets.keys().next().value!);
    return buckets;
  }
}

export interface LeaseTools {
  nowMs(): number;
  setTimer(delayMs: number, callback: () => void): { cancel(): void };
  /** Asks the owner; `reply` is called once, or never when it is gone. */
  ask(request: LeaseRequest, reply: (lease: Lease) => void): void;
}

/** What a worker gives its filters: `FilterTools.limiter`. */
export function leasedLimiter(id: string, rate: Rate, tools: LeaseTools): Limiter {
  return new LeasedLimiter(id, rate, tools);
}

interface Known {
  tokens: number;
  /** Of the tokens. */
  untilMs: number;
  /** Before that there is no use in asking. */
  refusedUntilMs: number;
  /** How many were of use last time. */
  wanted: number;
  waiting: ((waitMs: number) => void)[];
  isAsked: boolean;
}

class LeasedLimiter implements Limiter {
  readonly #id: string;
  readonly #rate: Rate;
  readonly #tools: LeaseTools;
  readonly #keys = new Map<string, Known>();
  #own: Limiter | undefined;

  constructor(id: string, rate: Rate, tools: LeaseTools) {
    this.#id = id;
    this.#rate = rate;
    this.#tools = tools;
  }

  take(key: string, then: (waitMs: number) => void): void {
    const now = this.#tools.nowMs();
    const known = this.#known(key);
    if (known.tokens > 0 && now < known.untilMs) {
      known.tokens--;
      return then(0);
    }
    if (now < known.refusedUntilMs) return then(known.refusedUntilMs - now);
    known.waiting.push(then);
    if (!known.isAsked) this.#ask(key, known, now);
  }

  #ask(key: string, known: Known, now: number): void {
    known.isAsked = true;
    // Spent before its time: twice as many. Not spent: half. Never more in advance than fall due in that time, so what may be
    // lost is little; of a slow rate nothing is, each of its requests asks.
    known.wanted = known.tokens === 0 && now < known.untilMs ? known.wanted * 2 : known.wanted / 2;
    known.wanted = Math.max(1, Math.min(known.wanted, tokensMax, (this.#rate.requests / this.#rate.periodMs) * leaseMs));
    const wanted = Math.min(tokensMax, Math.max(Math.floor(known.wanted), known.waiting.length));
    known.tokens = 0;
    let isOver = false;
    const timer = this.#tools.setTimer(answerMaxMs, () => {
      isOver = true;
      known.isAsked = false;
      this.#own ??= localLimiter(this.#rate, keysMax, () => this.#tools.nowMs());
      for (const then of known.waiting.splice(0)) this.#own.take(key, then);
    });
    this.#tools.ask({ id: this.#id, rate: this.#rate, key, wanted }, (lease) => {
      if (isOver) return;
      timer.cancel();
      known.isAsked = false;
      this.#answered(key, known, lease);
    });
  }

  #answered(key: string, known: Known, { granted, waitMs }: Lease): void {
    const now = this.#tools.nowMs();
    known.tokens = granted;
    known.untilMs = now + leaseMs;
    if (waitMs > 0) known.refusedUntilMs = now + waitMs;
    const waiting = known.waiting.splice(0);
    const going = waiting.splice(0, granted);
    known.tokens -= going.length;
    for (const then of going) then(0);
    // Those that the lease is too small for: refused, or more were waiting than was asked for.
    if (waitMs > 0) for (const then of waiting) then(waitMs);
    else for (const then of waiting) this.take(key, then);
  }

  /** Those seen last stand last; of the others, those that nothing is known of any more are forgotten. */
  #known(key: string): Known {
    let known = this.#keys.get(key);
    if (known) this.#keys.delete(key);
    else known = { tokens: 0, untilMs: 0, refusedUntilMs: 0, wanted: 1, waiting: [], isAsked: false };
    this.#keys.set(key, known);
    if (this.#keys.size > keysMax) {
      const [oldest, { isAsked }] = this.#keys.entries().next().value!;
      if (!isAsked) this.#keys.delete(oldest);
    }
    return known;
  }
}
