import { StatusError } from "../api/status.ts";
import { Backoff } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";

const writesAtOnceMax = 8;

/**
 * Writes the latest that is wanted for each object, a few at a time, and again after a failure unless something newer is
 * wanted by then: what is old never comes after what is new. `write` leaves alone what is so already.
 */
export class LatestWriter<T> {
  readonly #write: (id: string, value: T) => Promise<void>;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #wanted = new Map<string, T>();
  /** Failed, and tried again after a while. */
  readonly #again = new Map<string, T>();
  readonly #writing = new Set<string>();
  readonly #backoff = new Map<string, Backoff>();
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor({ clock, log, write }: { clock: Clock; log: Log; write: (id: string, value: T) => Promise<void> }) {
    this.#clock = clock;
    this.#log = log;
    this.#write = write;
  }

  want(id: string, value: T): void {
    if (this.#stopped) return;
    this.#again.delete(id);
    this.#wanted.set(id, value);
    this.#next();
  }

  /** Resolves when nothing is being written any more; what still waits is given up. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wanted.clear();
    this.#again.clear();
    if (this.#writing.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #next(): void {
    for (const [id, value] of this.#wanted) {
      if (this.#writing.size >= writesAtOnceMax) return;
      if (this.#writing.has(id)) continue;
      this.#wanted.delete(id);
      this.#writing.add(id);
      void this.#try(id, value).finally(() => {
        this.#writing.delete(id);
        if (this.#stopped && this.#writing.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
        else this.#next();
      });
    }
  }

  async #try(id: string, value: T): Promise<void> {
    try {
      await this.#write(id, value);
      this.#backoff.delete(id);
    } catch (error) {
      const code = error instanceof StatusError ? error.code : undefined;
      if (this.#stopped || this.#wanted.has(id)) return;
      // Gone: there is nothing to write to.
      if (code === 404) return void this.#backoff.delete(id);
      // A conflict is news that the watch brings in a moment; anything else is told.
      if (code !== 409) this.#log.warn("a status was not written", { object: id, error: (error as Error).message });
      const backoff = this.#backoff.get(id) ?? new Backoff(20, 5_000);
      this.#backoff.set(id, backoff);
      this.#again.set(id, value);
      this.#clock.setTimer(backoff.next(), () => {
        if (!this.#stopped && this.#again.get(id) === value) this.want(id, value);
      });
    }
  }
}
