import type { Clock } from "../../base/clock.ts";
import { usageOf } from "./processes.ts";

/** How often anonymous memory is read where the kernel cannot limit it. A fast allocator overshoots by what it touches in between. */
const periodMs = 100;

export interface Watched {
  pids(): number[];
  kill(overMemory: boolean): void;
}

/** Ends containers whose anonymous memory passes their limit: the stand-in for a memory cgroup. */
export class MemoryWatchdog {
  readonly #clock: Clock;
  readonly #watched = new Map<Watched, number>();
  #looking = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }
  /** Returns how to stop watching. */
  watch(container: Watched, limitBytes: number): () => void {
    this.#watched.set(container, limitBytes);
    this.#lookLater();
    return () => void this.#watched.delete(container);
  }
  #look(): void {
    this.#looking = false;
    for (const [container, limitBytes] of this.#watched) {
      if (usageOf(container.pids()).memoryBytes <= limitBytes) continue;
      this.#watched.delete(container);
      container.kill(true);
    }
    this.#lookLater();
  }
  #lookLater(): void {
    if (this.#looking || this.#watched.size === 0) return;
    this.#looking = true;
    this.#clock.setTimer(periodMs, () => this.#look());
  }
}
