import { Backoff } from "../base/backoff.ts";
import { type Clock, delay, systemClock } from "../base/clock.ts";

/**
 * Work that comes round again as long as the service runs: never two rounds at a time, a pause after each, longer pauses while
 * it fails. It ends with the service: `signal` fires, and the round under way is waited for.
 */
export interface LoopOptions {
  /** From the end of a round to the beginning of the next. */
  everyMs: number;
  /** After failures the pause doubles up to this; ten times `everyMs` unless said, and never less than a second. */
  maxMs?: number;
  /** Pauses before the first round as well. */
  isLate?: boolean;
  clock?: Clock;
  /** Of each failed round; it goes on all the same. */
  onError?: (error: unknown, failures: number) => void;
}

export class Loop {
  readonly name: string;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #failures = 0;

  /** Begins at once. */
  constructor(name: string, round: (signal: AbortSignal) => unknown, options: LoopOptions) {
    this.name = name;
    this.#done = this.#run(round, options);
  }

  /** In a row; 0 when the last round succeeded. */
  get failures(): number {
    return this.#failures;
  }

  /** Resolves when the round under way has ended. May be called twice. */
  stop(): Promise<void> {
    this.#stop.abort(new Error(`the loop ${this.name} was stopped`));
    return this.#done;
  }

  async #run(round: (signal: AbortSignal) => unknown, { everyMs, maxMs = Math.max(1_000, everyMs * 10), isLate = false, clock = systemClock, onError }: LoopOptions): Promise<void> {
    const { signal } = this.#stop;
    const backoff = new Backoff(Math.max(everyMs, 100), Math.max(maxMs, everyMs));
    let pauseMs = isLate ? everyMs : 0;
    // Whoever made the loop goes on first.
    await Promise.resolve();
    while (!signal.aborted) {
      if (pauseMs > 0) await delay(clock, pauseMs, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        await round(signal);
        this.#failures = 0;
        backoff.reset();
        pauseMs = everyMs;
      } catch (error) {
        if (signal.aborted) return;
        this.#failures++;
        pauseMs = Math.max(everyMs, backoff.next());
        onError?.(error, this.#failures);
      }
      // Without a pause others must get their turn all the same.
      if (pauseMs === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }
}
