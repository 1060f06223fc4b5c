import type { Clock, Timer } from "../../base/clock.ts";
import type { Probe } from "../../api/types.ts";

export type ProbeKind = "startup" | "readiness" | "liveness";
export interface ProbeOutcome {
  success: boolean;
  output: string;
}

// While a fresh program does not listen yet, it is asked again and again between the askings that count, so that a pod is
// Ready when it is and not up to a period later: many that start at once need seconds. Such answers count for nothing and
// make no Event; who has not listened for ten seconds, or a longer period, is asked once a period.
const eagerMs = { first: 20, factor: 1.4, max: 250, atLeast: 10_000 } as const;

/**
 * One probe of one container, from its start until {@link stop}. Thresholds as kubelet counts them: the result
 * changes after that many equal answers in a row. Source: k8s.io/kubernetes/pkg/kubelet/prober/worker.go.
 */
export class ProbeLoop {
  readonly kind: ProbeKind;
  readonly #probe: Probe;
  readonly #clock: Clock;
  readonly #ask: () => Promise<ProbeOutcome>;
  readonly #on: { change(success: boolean): void; failure(output: string): void };
  #result: boolean | undefined;
  #last: boolean | undefined;
  #inARow = 0;
  #timer: Timer | undefined;
  #stopped = false;
  #eagerDelayMs: number = eagerMs.first;
  #eagerUntilMs = 0;
  #atOnce = false;
  /** The first period's refusals count for nothing. */
  #countsFromMs = 0;

  constructor(kind: ProbeKind, probe: Probe, clock: Clock, ask: () => Promise<ProbeOutcome>, on: { change(success: boolean): void; failure(output: string): void }) {
    this.kind = kind;
    this.#probe = probe;
    this.#clock = clock;
    this.#ask = ask;
    this.#on = on;
  }

  get #periodMs(): number {
    return Math.max(1, this.#probe.periodSeconds ?? 10) * 1000;
  }

  /**
   * Begins `initialDelaySeconds` after the container's start. `atOnce`: after a reload, which somebody waits for; it is asked
   * from the beginning, again and again whatever it answers, and failures count when they would have otherwise.
   */
  start(containerStartedMs: number, atOnce = false): void {
    const dueMs = containerStartedMs + (this.#probe.initialDelaySeconds ?? 0) * 1000;
    const firstAskMs = Math.max(dueMs, this.#clock.now());
    this.#atOnce = atOnce && this.kind !== "liveness";
    this.#eagerUntilMs = firstAskMs + Math.max(this.#periodMs, eagerMs.atLeast);
    this.#countsFromMs = firstAskMs + this.#periodMs;
    this.#schedule(this.#atOnce ? 0 : Math.max(0, dueMs - this.#clock.now()));
  }
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(delayMs: number): void {
    if (!this.#stopped) this.#timer = this.#clock.setTimer(delayMs, () => void this.#tick());
  }

  async #tick(): Promise<void> {
    const askedMs = this.#clock.now();
    const outcome = await this.#ask().catch(() => undefined);
    if (this.#stopped) return;
    if (outcome && this.#isEager(outcome)) {
      const counts = askedMs >= this.#countsFromMs;
      if (counts) this.#countsFromMs = askedMs + this.#periodMs;
      this.#schedule(Math.max(0, Math.min(this.#eagerDelayMs, this.#countsFromMs - this.#clock.now())));
      this.#eagerDelayMs = Math.min(eagerMs.max, this.#eagerDelayMs * eagerMs.factor);
      if (counts) this.#count(outcome);
      return;
    }
    // The next one is due a period after this one was asked, however long it took. An answer that could not be
    // had at all (the prober itself failed) is thrown away.
    this.#schedule(Math.max(0, askedMs + this.#periodMs - this.#clock.now()));
    if (outcome) this.#count(outcome);
  }

  #isEager(outcome: ProbeOutcome): boolean {
    if (outcome.success || this.kind === "liveness" || this.#result === true || this.#clock.now() >= this.#eagerUntilMs) return false;
    return this.#atOnce || (!this.#probe.exec && /connection refused/.test(outcome.output));
  }

  #count(outcome: ProbeOutcome): void {
    this.#inARow = this.#last === outcome.success ? this.#inARow + 1 : 1;
    this.#last = outcome.success;
    if (!outcome.success) this.#on.failure(outcome.output);
    if (this.#stopped) return;
    const threshold = outcome.success ? (this.#probe.successThreshold ?? 1) : (this.#probe.failureThreshold ?? 3);
    if (this.#inARow < threshold || this.#result === outcome.success) return;
    this.#result = outcome.success;
    this.#on.change(outcome.success);
  }
}
