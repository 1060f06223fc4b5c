import type { Clock, Timer } from "../base/clock.ts";

/**
 * Keys to look at. A key waits at most once and is never handed out twice at a time: added while it is being
 * processed, it comes again afterwards. Order is first come, first served.
 *
 *   add ──▶ waiting ──take──▶ processing ──done──▶ gone
 *               ▲                 │ add meanwhile
 *               └──────done───────┘
 *
 * Source of the semantics: k8s.io/client-go/util/workqueue.
 */
export class Workqueue {
  readonly #clock: Clock;
  readonly #ready: () => void;
  readonly #waiting = new Set<string>();
  readonly #processing = new Set<string>();
  readonly #again = new Set<string>();
  readonly #later = new Map<string, { dueMs: number; timer: Timer }>();
  readonly #rests = new Set<Timer>();
  #cleared = false;
  readonly #failures = new Map<string, number>();
  /** Retries share a bucket, so that a thousand failing keys do not hammer the API. */
  #retryTokens = retryBurst;
  #retryTokensAtMs: number;

  /** `ready` is called when a key may be taken; it must not take one before it returns. */
  constructor(clock: Clock, ready: () => void) {
    this.#clock = clock;
    this.#ready = ready;
    this.#retryTokensAtMs = clock.monotonicMs();
  }

  get length(): number {
    return this.#waiting.size;
  }
  get isIdle(): boolean {
    return this.#waiting.size + this.#processing.size === 0;
  }

  add(key: string): void {
    if (this.#processing.has(key)) this.#again.add(key);
    else if (!this.#waiting.has(key)) {
      this.#waiting.add(key);
      this.#ready();
    }
  }

  /** Adds after `delayMs`; the earliest of several wishes counts. */
  addAfter(key: string, delayMs: number): void {
    if (delayMs <= 0) return this.add(key);
    const dueMs = this.#clock.monotonicMs() + delayMs;
    const planned = this.#later.get(key);
    if (planned && planned.dueMs <= dueMs) return;
    planned?.timer.cancel();
    const timer = this.#clock.setTimer(delayMs, () => {
      this.#later.delete(key);
      this.add(key);
    });
    this.#later.set(key, { dueMs, timer });
  }

  /** Adds after this key's backoff, doubled with each call until {@link forget}. */
  retry(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.addAfter(key, Math.max(Math.min(retryMaxMs, retryBaseMs * 2 ** Math.min(failures, 30)), this.#spreadMs()));
  }
  /** The key succeeded. */
  forget(key: string): void {
    this.#failures.delete(key);
  }
  failuresOf(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  take(): string | undefined {
    const key = this.#waiting.values().next().value;
    if (key === undefined) return undefined;
    this.#waiting.delete(key);
    this.#processing.add(key);
    return key;
  }
  /** The key was processed; with `restMs` it stays taken that much longer. */
  done(key: string, restMs = 0): void {
    if (restMs > 0 && !this.#cleared) {
      const timer = this.#clock.setTimer(restMs, () => {
        this.#rests.delete(timer);
        this.done(key);
      });
      this.#rests.add(timer);
      return;
    }
    this.#processing.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  /** Forgets everything; timers never fire again. */
  clear(): void {
    this.#cleared = true;
    for (const timer of this.#rests) timer.cancel();
    for (const { timer } of this.#later.values()) timer.cancel();
    this.#later.clear();
    this.#waiting.clear();
    this.#again.clear();
  }

  #spreadMs(): number {
    const nowMs = this.#clock.monotonicMs();
    this.#retryTokens = Math.min(retryBurst, this.#retryTokens + ((nowMs - this.#retryTokensAtMs) * retriesPerSecond) / 1000) - 1;
    this.#retryTokensAtMs = nowMs;
    return this.#retryTokens >= 0 ? 0 : (-this.#retryTokens * 1000) / retriesPerSecond;
  }
}

const retryBaseMs = 5;
/** Upstream waits up to 1,000 s; nobody at a terminal does. */
const retryMaxMs = 60_000;
const retryBurst = 100;
const retriesPerSecond = 50;
