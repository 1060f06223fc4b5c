import type { Member } from "./balancers/balancer.ts";
import { decayMs } from "./balancers/peak-ewma.ts";
import type { Endpoint, Picked, TryResult } from "./upstream.ts";

/** What a try that failed is taken for at least: one that fails fast must not look like one that is fast. */
const failureLatencyMs = 1_000;

/** To whom an endpoint reports. */
export interface Pool {
  /** `era` of the circuit, 0 where there is none. */
  tryEnded(state: EndpointState, result: TryResult, era: number): void;
}

/**
 * What one upstream knows of one endpoint. It is also what a choice returns when nothing belongs to the single try, so that
 * an ordinary request makes no object.
 */
export class EndpointState implements Member, Picked {
  endpoint: Endpoint;
  /** As far as it is warm: see slow-start.ts. */
  weight: number;
  /** When it came to others, in milliseconds; -Infinity for those that were there first. */
  cameAtMs = -Infinity;
  usable = true;
  /** What checks have found; undefined before the first. */
  isWell: boolean | undefined;
  /** It came to others that are checked: nothing goes there before it was. */
  awaitsCheck = false;
  active = 0;
  latencyMs = 0;
  latencyAtMs = 0;
  /** Failures in a row. */
  errors5xx = 0;
  gatewayErrors = 0;
  localFailures = 0;
  /** In milliseconds; 0 when it is not ejected. */
  ejectedUntilMs = 0;
  /** How often it was, less one for each interval it has stayed since. */
  ejections = 0;
  returnedAtMs = 0;
  /** Of the interval that runs. */
  seen = 0;
  failed = 0;
  /** As a session has it; made when first needed. */
  session: string | undefined;
  readonly #pool: Pool;

  constructor(endpoint: Endpoint, pool: Pool) {
    this.endpoint = endpoint;
    this.weight = endpoint.weight ?? 1;
    this.#pool = pool;
  }
  get key(): string {
    return this.endpoint.key;
  }

  done(result: TryResult): void {
    this.#pool.tryEnded(this, result, 0);
  }

  /** Jumps up at once, and comes down with time. Source: twitter/finagle, PeakEwma. */
  learnLatency(result: TryResult, nowMs: number): void {
    if (result.type === "cancelled") return;
    const failed = result.type !== "answered" || (result.status ?? 0) >= 500;
    // 0 means unknown.
    const seen = Math.max(failed ? Math.max(result.latencyMs, failureLatencyMs) : result.latencyMs, 0.001);
    const kept = Math.exp((this.latencyAtMs - nowMs) / decayMs);
    this.latencyMs = this.latencyMs === 0 || seen > this.latencyMs ? seen : this.latencyMs * kept + seen * (1 - kept);
    this.latencyAtMs = nowMs;
  }
}
