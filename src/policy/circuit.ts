import type { Breaker } from "../api/traffic.ts";

type Config = NonNullable<Breaker["circuit"]>;

/**
 * Leaves an upstream alone that fails every time. Closed means that requests flow, as in a wire.
 *
 *   closed    → open        so many failures in a row
 *   open      → halfOpen    after a while: a few trials go through, everybody else is refused as before
 *   halfOpen  → closed      all trials succeeded
 *   halfOpen  → open        one failed
 */
export class Circuit {
  readonly config: Config;
  #state: "closed" | "open" | "halfOpen" = "closed";
  #failures = 0;
  #openUntilMs = 0;
  /** While half open: trials that have not ended, and those that succeeded. */
  #running = 0;
  #succeeded = 0;
  /** Trials of an earlier time that end now teach nothing. */
  #era = 0;

  constructor(config: Config) {
    this.config = config;
  }
  get state(): "closed" | "open" | "halfOpen" {
    return this.#state;
  }

  /** `no`: it is refused. A number: it goes, and is to be given to {@link ended}. */
  admit(nowMs: number): number | "no" {
    if (this.#state === "closed") return this.#era;
    if (this.#state === "open") {
      if (nowMs < this.#openUntilMs) return "no";
      this.#state = "halfOpen";
      this.#running = this.#succeeded = 0;
      this.#era++;
    }
    if (this.#running + this.#succeeded >= (this.config.trials ?? 1)) return "no";
    this.#running++;
    return this.#era;
  }

  /** `undefined`: it was given up by the client, which says nothing. */
  ended(era: number, succeeded: boolean | undefined, nowMs: number): void {
    if (era !== this.#era) return;
    if (this.#state === "halfOpen") this.#trialEnded(succeeded, nowMs);
    else if (this.#state === "closed" && succeeded !== undefined) {
      this.#failures = succeeded ? 0 : this.#failures + 1;
      if (this.#failures >= this.config.consecutiveFailures) this.#open(nowMs);
    }
  }

  #trialEnded(succeeded: boolean | undefined, nowMs: number): void {
    this.#running--;
    if (succeeded === false) return this.#open(nowMs);
    if (succeeded && ++this.#succeeded >= (this.config.trials ?? 1)) {
      this.#state = "closed";
      this.#failures = 0;
      this.#era++;
    }
  }

  #open(nowMs: number): void {
    this.#state = "open";
    this.#openUntilMs = nowMs + this.config.openMs;
    this.#failures = 0;
    this.#era++;
  }
}
