import type { Log } from "../../base/log.ts";
import type { QuotaResult } from "../../policy/exchange.ts";
import { type QuotaAsk, type QuotaClock, type QuotaCount, QuotaCounters } from "../../policy/quotas/counters.ts";
import { quotaUnits } from "../../policy/quotas/windows.ts";
import { QuotaLog } from "./log.ts";

/** Of an id or a key. Workers bound what they make of a request; nobody is believed in it. */
const textMax = 1_024;
const numberMax = 2 ** 48;
const crowdedMs = 3_600_000;

/**
 * Counts for all workers, in `wherry`: a worker that is killed has counted nothing by itself, and what was answered to it is in the
 * log. See docs/decisions/017.
 */
export class QuotaOwner {
  readonly #counters: QuotaCounters;
  readonly #log: QuotaLog | undefined;
  #isOpen = false;

  /** `file`: where counts are kept; absent: nowhere. It is read when somebody first asks. */
  constructor({ file, clock, log }: { file?: string | undefined; clock: QuotaClock; log: Log }) {
    // Said once an hour of each: an attacker may bring a thousand new keys a second.
    const saidMs = new Map<string, number>();
    const crowded = (id: string): void => {
      const now = clock.monotonicMs();
      if (now < (saidMs.get(id) ?? -Infinity) + crowdedMs) return;
      saidMs.set(id, now);
      log.warn("a quota has more clients than are counted apart: newcomers share one count, \"(others)\", until windows end", { quota: id });
    };
    this.#counters = new QuotaCounters(clock, (counter) => this.#log?.note(counter), undefined, crowded);
    this.#log = file === undefined ? undefined : new QuotaLog(file, this.#counters, log);
  }

  /** In order, each with its answer; what they say is kept before they are given. */
  takeAll(asks: readonly QuotaAsk[]): QuotaResult[] {
    this.#open();
    const results = asks.map((ask) => (isSound(ask) ? this.#counters.take(ask) : { allowed: false, remaining: 0, resetMs: 0, isUnknown: true as const }));
    this.#log?.flush();
    return results;
  }

  /** Of ids that begin so. */
  counts(prefix: string): QuotaCount[] {
    this.#open();
    return [...this.#counters.counts(prefix)];
  }

  close(): void {
    this.#log?.close();
  }

  #open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#log?.open();
  }
}

function isSound({ id, unit, key, limit, cost }: QuotaAsk): boolean {
  const isText = (text: unknown): boolean => typeof text === "string" && text.length <= textMax;
  const isCount = (value: unknown): boolean => typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= numberMax;
  return isText(id) && isText(key) && quotaUnits.includes(unit) && isCount(limit) && isCount(cost);
}
