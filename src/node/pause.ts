import { StatusError } from "../api/status.ts";
import { type Clock, delay } from "../base/clock.ts";
import { freeze } from "./freeze.ts";

/** Programs that stand still until `release`. */
export interface Held {
  readonly processes: number;
  release(): void;
  /** Resolves, with the reason, when they were let go before that. */
  readonly lost: Promise<string>;
}

/** A program that is being started is stopped once it runs. */
const startingMs = 10_000;

/**
 * While programs stand still for a copy of their files, no other one is started, and nobody holds against them that they
 * do not answer: a probe that a pause fell into has no result.
 */
export class Pause {
  readonly #clock: Clock;
  readonly #starting = new Set<Promise<unknown>>();
  #current: { over: Promise<void>; end(why?: string): void } | undefined;
  #endedMs = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Starts something once nothing stands still. */
  async starting<T>(work: () => Promise<T>): Promise<T> {
    while (this.#current) await this.#current.over;
    const running = work();
    const settled = running.then(() => {}, () => {});
    this.#starting.add(settled);
    try {
      return await running;
    } finally {
      this.#starting.delete(settled);
    }
  }

  /** Asks a program something. Throws when it may not have been able to answer. */
  async asking<T>(work: () => Promise<T>): Promise<T> {
    const beganMs = this.#clock.monotonicMs();
    const answer = await work();
    if (this.#current || this.#endedMs >= beganMs) throw new Error("the program stood still for a backup");
    return answer;
  }

  /** Stops the processes of containers with these inits. Throws StatusError 409 while it is held by somebody else. */
  async begin(inits: () => readonly number[], maxMs: number): Promise<Held> {
    if (this.#current) throw new StatusError(409, "Conflict", "another backup is under way");
    const over = deferred<void>();
    const lost = deferred<string>();
    let thaw = () => {};
    const current = {
      over: over.promise,
      end: (why?: string) => {
        if (this.#current !== current) return;
        thaw();
        this.#endedMs = this.#clock.monotonicMs();
        this.#current = undefined;
        over.resolve();
        if (why !== undefined) lost.resolve(why);
      },
    };
    this.#current = current;
    try {
      const deadline = this.#clock.monotonicMs() + startingMs;
      while (this.#starting.size > 0) {
        if (this.#clock.monotonicMs() > deadline) throw new Error(`a program that is being started takes longer than ${startingMs / 1000} s`);
        await Promise.race([Promise.all(this.#starting), delay(this.#clock, 100)]);
      }
      const frozen = await freeze(inits(), this.#clock);
      thaw = frozen.thaw;
      // Ended meanwhile, by who stops the whole.
      if (this.#current !== current) thaw();
      const timer = this.#clock.setTimer(maxMs, () => current.end(`programs stand still for ${maxMs / 1000} s at most`));
      return { processes: frozen.processes, lost: lost.promise, release: () => (timer.cancel(), current.end()) };
    } catch (error) {
      current.end();
      throw error;
    }
  }

  /** Lets go whatever stands still. */
  end(why: string): void {
    this.#current?.end(why);
  }
}

function deferred<T>(): { promise: Promise<T>; resolve(value: T): void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => (resolve = done));
  return { promise, resolve };
}
