import { hash } from "node:crypto";
import type { Quota, QuotaLimit, QuotaResult } from "../../policy/exchange.ts";
import type { QuotaAsk } from "../../policy/quotas/counters.ts";

/** Nobody waits longer: whoever counts is ending, or busy beyond use. */
const answerMaxMs = 5_000;
/** A key that has nothing left is not asked for again for so long: a flood of refused requests costs a message a second. */
const refusedMs = 1_000;
const refusedMax = 4_096;
/** A client must not decide how much memory its count takes: a longer key is known by its hash. */
const keyLengthMax = 200;
/** Asks of one message. */
const batchMax = 1_000;

export interface QuotaAskerTools {
  /** Asks the owner; `reply` is called once, with nothing when it is gone. */
  ask(asks: QuotaAsk[], reply: (results: readonly QuotaResult[]) => void): void;
  /** Monotonic. */
  nowMs(): number;
  setTimer(delayMs: number, callback: () => void): { cancel(): void };
  /** Runs it when what is to be done now is done: what requests of one turn ask goes in one message. */
  soon(callback: () => void): void;
}

/** A worker's side of quotas: each request is asked for, and none in advance. */
export class QuotaAsker {
  readonly #tools: QuotaAskerTools;
  #waiting: Waiting[] = [];

  constructor(tools: QuotaAskerTools) {
    this.#tools = tools;
  }

  quota(id: string, { limit, unit, hidesKeys }: QuotaLimit): Quota {
    const short = (key: string): string => (hidesKeys || key.length > keyLengthMax ? `sha256:${hash("sha256", key, "base64url")}` : key);
    /** Keys without anything left, until when, and when their window ends. */
    const refused = new Map<string, { untilMs: number; endsMs: number }>();
    return {
      take: (value, cost, then) => {
        const key = short(value);
        const known = refused.get(key);
        if (known) {
          const now = this.#tools.nowMs();
          if (now < known.untilMs) return then({ allowed: false, remaining: 0, resetMs: known.endsMs - now });
          refused.delete(key);
        }
        this.#ask({ id, unit, key, limit, cost }, (result) => {
          if (!result.allowed && result.remaining === 0 && !result.isUnknown) {
            const now = this.#tools.nowMs();
            if (refused.size >= refusedMax) refused.clear();
            refused.set(key, { untilMs: now + Math.min(refusedMs, result.resetMs), endsMs: now + result.resetMs });
          }
          then(result);
        });
      },
      charge: (key, cost) => this.#ask({ id, unit, key: short(key), limit, cost, isCharge: true }, () => {}),
    };
  }

  #ask(ask: QuotaAsk, then: (result: QuotaResult) => void): void {
    this.#waiting.push({ ask, reply: then });
    if (this.#waiting.length === 1) this.#tools.soon(() => this.#send());
  }

  #send(): void {
    const all = this.#waiting;
    this.#waiting = [];
    for (let at = 0; at < all.length; at += batchMax) this.#sendBatch(all.slice(at, at + batchMax));
  }

  #sendBatch(batch: readonly Waiting[]): void {
    let isOver = false;
    const finish = (results: readonly QuotaResult[]) => {
      if (isOver) return;
      isOver = true;
      timer.cancel();
      for (const [i, { reply }] of batch.entries()) reply(results[i] ?? unknown);
    };
    const timer = this.#tools.setTimer(answerMaxMs, () => finish([]));
    this.#tools.ask(
      batch.map(({ ask }) => ask),
      finish,
    );
  }
}

interface Waiting {
  ask: QuotaAsk;
  reply: (result: QuotaResult) => void;
}

const unknown: QuotaResult = { allowed: false, remaining: 0, resetMs: 0, isUnknown: true };
