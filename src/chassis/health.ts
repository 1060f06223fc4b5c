import { type Clock, systemClock, type Timer } from "../base/clock.ts";

/**
 * What has to be so for a service to do its work: its database answers, a queue is not full. Each check runs when somebody asks
 * (a probe, mostly), at most once in its interval however many ask, and never twice at a time: a check that hangs counts as
 * failed after its timeout, and is not begun anew before it has ended.
 */
export interface CheckOptions {
  /** Without it the service cannot answer: unhealthy, and not ready. Otherwise it is told as "degraded". Default true. */
  critical?: boolean;
  /** Ask only this process, and a restart will mend it: part of /health/live as well. Default false. */
  live?: boolean;
  /** 2 s unless said. */
  timeoutMs?: number;
  /** For how long a result is believed; 5 s unless said, 0 for not at all. A failure is believed a second at most. */
  intervalMs?: number;
}

/** Succeeds by returning. `signal` fires at the timeout. */
export type Check = (signal: AbortSignal) => unknown;

export interface CheckResult {
  status: "ok" | "failed";
  critical: boolean;
  error?: string;
  durationMs: number;
  /** RFC 3339. */
  checkedAt: string;
}

export interface HealthReport {
  /** `degraded`: something fails that is not critical. */
  status: "healthy" | "degraded" | "unhealthy";
  /** The first critical check that failed, and how. */
  error?: string;
  checks: Record<string, CheckResult>;
}

const failureMsMax = 1_000;

export class Health {
  readonly #checks = new Map<string, RunningCheck>();
  readonly #clock: Clock;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** A second one of the same name takes the place of the first. Returns what removes it. */
  addCheck(name: string, check: Check, options: CheckOptions = {}): () => void {
    const running = new RunningCheck(check, options, this.#clock);
    this.#checks.set(name, running);
    return () => void (this.#checks.get(name) === running && this.#checks.delete(name));
  }

  /** `live`: only those checks that a restart would mend. Never rejects. */
  async report({ live = false } = {}): Promise<HealthReport> {
    const asked = [...this.#checks].filter(([, check]) => !live || check.options.live === true);
    const checks: Record<string, CheckResult> = {};
    const results = await Promise.all(asked.map(([, check]) => check.result()));
    let status: HealthReport["status"] = "healthy";
    let error: string | undefined;
    for (const [index, [name]] of asked.entries()) {
      const result = (checks[name] = results[index]!);
      if (result.status === "ok") continue;
      if (result.critical) error ??= `health check '${name}' failed: ${result.error}`;
      else if (status === "healthy") status = "degraded";
    }
    return error === undefined ? { status, checks } : { status: "unhealthy", error, checks };
  }
}

class RunningCheck {
  readonly options: CheckOptions;
  readonly #check: Check;
  readonly #clock: Clock;
  #last: { result: CheckResult; atMs: number } | undefined;
  #asked: Promise<CheckResult> | undefined;
  /** The check itself, which may take longer than anybody waits. */
  #isRunning = false;

  constructor(check: Check, options: CheckOptions, clock: Clock) {
    this.#check = check;
    this.options = options;
    this.#clock = clock;
  }

  result(): Promise<CheckResult> {
    const { intervalMs = 5_000 } = this.options;
    if (this.#last) {
      const age = this.#clock.monotonicMs() - this.#last.atMs;
      const believed = this.#last.result.status === "ok" ? intervalMs : Math.min(intervalMs, failureMsMax);
      if (age < believed || (this.#isRunning && !this.#asked)) return Promise.resolve(this.#last.result);
    }
    return (this.#asked ??= this.#run().finally(() => (this.#asked = undefined)));
  }

  async #run(): Promise<CheckResult> {
    const { critical = true, timeoutMs = 2_000 } = this.options;
    const began = this.#clock.monotonicMs();
    const abort = new AbortController();
    let timer: Timer | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = this.#clock.setTimer(timeoutMs, () => {
        const error = new Error(`no answer within ${timeoutMs} ms`);
        abort.abort(error);
        reject(error);
      });
    });
    const ended = (error?: unknown): CheckResult => {
      const now = this.#clock.monotonicMs();
      const result: CheckResult = { status: error === undefined ? "ok" : "failed", critical, ...(error !== undefined && { error: messageOf(error) }), durationMs: Math.round(now - began), checkedAt: new Date(this.#clock.now()).toISOString() };
      this.#last = { result, atMs: now };
      return result;
    };
    this.#isRunning = true;
    const work = (async () => await this.#check(abort.signal))().finally(() => (this.#isRunning = false));
    try {
      await Promise.race([work, timeout]);
      return ended();
    } catch (error) {
      work.catch(() => {}); // it may fail later still
      return ended(error ?? new Error("failed"));
    } finally {
      timer?.cancel();
    }
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // A connection refused at several addresses says so only inside.
  return error.message || (error as AggregateError).errors?.map(messageOf).join("; ") || error.name;
}
