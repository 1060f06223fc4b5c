const crashWindowMs = 10_000;
const crashesBeforePause = 3;
const pauseMs = { base: 250, max: 5_000 };
/** Whoever served for so long did not die of its start, nor of what waited for it. */
const servedWellMs = 1_000;

/**
 * How long to wait before a process that ended is started again: not at all, unless it ends again and again before it has
 * served. A process that is killed once a second by its machine's memory still costs its clients nothing but what it had.
 */
export class RestartPause {
  #crashes: number[] = [];

  /** `servedMs`: since it said that it was there; 0 when it never did. Milliseconds to wait. */
  after(servedMs: number, now: number): number {
    if (servedMs >= servedWellMs) {
      this.#crashes = [];
      return 0;
    }
    this.#crashes = [...this.#crashes.filter((at) => now - at < crashWindowMs), now];
    const over = this.#crashes.length - crashesBeforePause;
    return over <= 0 ? 0 : Math.min(pauseMs.max, pauseMs.base * 2 ** (over - 1));
  }
}
