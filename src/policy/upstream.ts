import type { Persistence, Upstream } from "../api/traffic.ts";
import type { RequestView } from "./exchange.ts";

/** One address of a Service port. */
export interface Endpoint {
  ip: string;
  port: number;
  /** "ip:port". */
  key: string;
  /** Its share beside the others; 1 unless said. */
  weight?: number;
}

/**
 * The policy of one upstream in one worker: which endpoint a try goes to, and what its result teaches. One per Service
 * port, never per route: a route that is rarely used must not learn anew what its neighbours know.
 */
export interface UpstreamPolicy {
  /** Its configuration changed: what is still right is kept. */
  configure(upstream: Upstream): void;
  /** The endpoints that may be used now; what is known of those that stay is kept. */
  update(endpoints: readonly Endpoint[]): void;
  /**
   * An endpoint for one try, counted until its `done`; or why there is none. `tried` are the keys of earlier tries of the
   * same request: another is taken if there is one. `isRetry`: counted against the budget. `persistence` is the rule's.
   * The result is valid until its `done`, which is called exactly once.
   */
  pick(request: RequestView | undefined, tried?: readonly string[], isRetry?: boolean, persistence?: Persistence): Picked | Refused;
  /**
   * Whether a further try would be let go now: to be asked before an answer is thrown away for it. Nothing is counted; when
   * others were faster, the `pick` that follows is refused all the same.
   */
  mayRetry(): boolean;
  /** What is known of each endpoint: for metrics and `wherry route explain`. */
  endpoints(): readonly { key: string; active: number; /** 0: it is not ejected. */ ejectedForMs: number; latencyMs: number }[];
  /** For the pool: whether one more connection may be opened; if so it is counted until {@link connectionClosed}. */
  connectionOpened(): boolean;
  connectionClosed(): void;
  /** For the pool: whether one more request may wait for a connection; if so it is counted until {@link pendingEnded}. */
  pendingStarted(): boolean;
  pendingEnded(): void;
}

/** One whose endpoints may be checked. */
export interface CheckedUpstream extends UpstreamPolicy {
  /** What checks have found of an endpoint, known already or not; undefined: nothing any more. Each good one takes back who was ejected. */
  learnHealth(key: string, isWell: boolean | undefined): void;
}

export interface Picked {
  readonly endpoint: Endpoint;
  /** What the answer must add as Set-Cookie, so that the client comes back to the same endpoint. */
  readonly setCookie?: string | undefined;
  /** The same with a header, which the answer must set. */
  readonly setHeader?: { name: string; value: string } | undefined;
  done(result: TryResult): void;
}

export interface Refused {
  endpoint?: undefined;
  status: number;
  flag: string;
  reason: string;
}

export interface TryResult {
  /** `local`: no connection, or it broke before an answer; `timeout`: no head in time; `cancelled`: the client went away, which says nothing. */
  type: "answered" | "local" | "timeout" | "cancelled";
  status?: number;
  /** To the head of the answer. */
  latencyMs: number;
}
