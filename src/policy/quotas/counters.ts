import type { Quota, QuotaLimit, QuotaResult, QuotaUnit } from "../exchange.ts";
import { type Window, windowOf } from "./windows.ts";

/** One request of a {@link Quota}, as it goes to whoever counts. */
export interface QuotaAsk {
  id: string;
  unit: QuotaUnit;
  key: string;
  limit: number;
  cost: number;
  /** Spent already: see {@link Quota.charge}. */
  isCharge?: true;
}

/** What has been counted of one key in its latest window. */
export interface QuotaCount {
  id: string;
  unit: QuotaUnit;
  key: string;
  /** Milliseconds since the epoch. */
  startMs: number;
  endMs: number;
  count: number;
}

/** One key's count. */
export interface Counter {
  readonly id: string;
  readonly unit: QuotaUnit;
  readonly key: string;
  startMs: number;
  endMs: number;
  count: number;
  /** Of the latest window that the clock has ever said; not the present one when it was set back. */
  latestMs: number;
  /** The window before, when the clock left it sooner than time itself did. */
  before: { startMs: number; count: number } | undefined;
  /** By the monotonic clock: not before that is the window over, whatever the calendar says. */
  overMs: number;
}

export interface QuotaClock {
  /** Milliseconds since the epoch; may be set back or on. */
  now(): number;
  monotonicMs(): number;
}

/** Keys of one id, and of all together: whoever comes beyond shares one count with everybody else who does. */
const keysMax = 65_536;
const countersMax = 131_072;
const othersKey = "(others)";
/** At a start. */
const clockErrorMs = 86_400_000;
/** How often, where all are in use, it is looked for some that are over. */
const sweepMs = 1_000;

/**
 * Counts by calendar windows, one by one. What is counted is never given twice:
 *
 * - A window begins anew when the clock enters a later one than was counted in. A clock that is set back stays in the window that
 *   it was in; one that is set back by more than a window's length, so that it was plainly wrong before, goes back to the window
 *   it says, and what was counted there and meanwhile counts in it. From there on a window that it may have been in before begins
 *   anew when a window's length has passed by the monotonic clock too.
 * - A key is forgotten when its window is over by the calendar and by the monotonic clock. When too many are known, new ones
 *   share one count: an attacker who makes up keys limits himself and other newcomers, and nobody gets a count anew.
 */
export class QuotaCounters {
  readonly #groups = new Map<string, Map<string, Counter>>();
  readonly #clock: QuotaClock;
  readonly #changed: (counter: Counter) => void;
  readonly #keysMax: number;
  readonly #crowded: (id: string) => void;
  #size = 0;
  /** Not before there are so many is it worth looking for windows that are over. */
  #sweepAt = 1_024;
  #sweptMs = -Infinity;
  readonly #windows = new Map<QuotaUnit, Window>();

  /** `crowded` hears of each request that shares a count, since more keys came than are counted apart. */
  constructor(clock: QuotaClock, changed: (counter: Counter) => void = () => {}, max = keysMax, crowded: (id: string) => void = () => {}) {
    this.#crowded = crowded;
    this.#clock = clock;
    this.#changed = changed;
    this.#keysMax = max;
  }

  get size(): number {
    return this.#size;
  }

  take({ id, unit, key, limit, cost, isCharge }: QuotaAsk): QuotaResult {
    const now = this.#clock.now();
    const counter = this.#counter(id, unit, key, now);
    this.#turn(counter, now);
    const allowed = isCharge === true || (cost === 0 ? counter.count < limit : counter.count + cost <= limit);
    if (allowed && cost > 0) {
      counter.count += cost;
      this.#changed(counter);
    }
    return { allowed, remaining: Math.max(0, limit - counter.count), resetMs: Math.max(0, counter.endMs - now) };
  }

  /** Counts whose id begins so, of windows that are not over. */
  *counts(prefix: string): Generator<QuotaCount> {
    const now = this.#clock.now();
    for (const { id, unit, key, startMs, endMs, count } of this.all()) if (id.startsWith(prefix) && endMs > now) yield { id, unit, key, startMs, endMs, count };
  }

  *all(): Generator<Counter> {
    for (const group of this.#groups.values()) yield* group.values();
  }

  /**
   * One that was counted by an earlier process. When its window is over cannot be known: it is kept for another one's length, unless it
   * has been over for longer than that already, and longer than a clock is likely to be wrong.
   */
  restore({ id, unit, key, startMs, count, latestMs, before }: Omit<Counter, "endMs" | "overMs">): void {
    const { endMs } = windowOf(unit, startMs);
    if (this.#clock.now() >= endMs + Math.max(endMs - startMs, clockErrorMs)) return;
    const group = this.#group(id, unit);
    if (!group.has(key)) this.#size++;
    group.set(key, { id, unit, key, startMs, endMs, count, latestMs, before, overMs: this.#clock.monotonicMs() + (endMs - startMs) });
  }

  /** Forgets what is over. */
  sweep(): void {
    const [now, monotonic] = [this.#clock.now(), this.#clock.monotonicMs()];
    for (const [name, group] of this.#groups) {
      for (const [key, { endMs, overMs }] of group) {
        if (endMs > now || overMs > monotonic) continue;
        group.delete(key);
        this.#size--;
      }
      if (group.size === 0) this.#groups.delete(name);
    }
    this.#sweepAt = Math.max(1_024, this.#size * 2);
    this.#sweptMs = monotonic;
  }

  /** The window that the counter is in now. */
  #turn(counter: Counter, now: number): void {
    const window = this.#window(counter.unit, now);
    if (window.startMs === counter.startMs) return;
    const monotonic = this.#clock.monotonicMs();
    const lengthMs = counter.endMs - counter.startMs;
    if (window.startMs < counter.startMs) {
      // Set back a little: the later window goes on.
      if (now >= counter.startMs - lengthMs) return;
      if (counter.before?.startMs === window.startMs) counter.count += counter.before.count;
      counter.before = undefined;
      counter.overMs = monotonic + lengthMs;
    } else if (window.startMs > counter.latestMs || monotonic >= counter.overMs) {
      counter.before = monotonic < counter.overMs ? { startMs: counter.startMs, count: counter.count } : undefined;
      counter.count = 0;
      counter.overMs = monotonic + (window.endMs - now);
    }
    counter.startMs = window.startMs;
    counter.endMs = window.endMs;
    counter.latestMs = Math.max(counter.latestMs, window.startMs);
  }

  #window(unit: QuotaUnit, now: number): Window {
    let window = this.#windows.get(unit);
    if (!window || now < window.startMs || now >= window.endMs) this.#windows.set(unit, (window = windowOf(unit, now)));
    return window;
  }

  #group(id: string, unit: QuotaUnit): Map<string, Counter> {
    const name = `${unit}/${id}`;
    let group = this.#groups.get(name);
    if (!group) this.#groups.set(name, (group = new Map()));
    return group;
  }

  #counter(id: string, unit: QuotaUnit, key: string, now: number): Counter {
    const known = this.#groups.get(`${unit}/${id}`)?.get(key);
    if (known) return known;
    const isFull = () => this.#group(id, unit).size >= this.#keysMax || this.#size >= countersMax;
    if (this.#size >= this.#sweepAt || (isFull() && this.#clock.monotonicMs() >= this.#sweptMs + sweepMs)) this.sweep();
    if (key !== othersKey && isFull()) {
      this.#crowded(id);
      return this.#counter(id, unit, othersKey, now);
    }
    const group = this.#group(id, unit);
    const { startMs, endMs } = this.#window(unit, now);
    const counter: Counter = { id, unit, key, startMs, endMs, count: 0, latestMs: startMs, before: undefined, overMs: this.#clock.monotonicMs() + (endMs - now) };
    group.set(key, counter);
    this.#size++;
    return counter;
  }
}

/** What this process counts by itself: {@link FilterTools.quota} where nobody counts for all. */
export function ownQuota(counters: QuotaCounters, id: string, { limit, unit }: QuotaLimit): Quota {
  return {
    take: (key, cost, then) => then(counters.take({ id, unit, key, limit, cost })),
    charge: (key, cost) => void counters.take({ id, unit, key, limit, cost, isCharge: true }),
  };
}
