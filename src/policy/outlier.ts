import type { Outlier } from "../api/traffic.ts";
import type { EndpointState } from "./endpoint-state.ts";
import type { TryResult } from "./upstream.ts";

const maxEjectionMs = 300_000;

/**
 * Leaves out endpoints that fail real requests, and takes them back after a while that grows with each time. Never the last
 * one, and never more than the share allowed. Source for the rules: Envoy, "Outlier detection".
 */
export class OutlierDetector {
  readonly config: Outlier;
  /** When the next one comes back; Infinity while none is out. */
  nextReturnMs = Infinity;
  /** When shares of failures are looked at next. */
  #nextLookMs = -Infinity;

  constructor(config: Outlier) {
    this.config = config;
  }

  /** Whether the endpoint was ejected by this result. */
  learn(state: EndpointState, result: TryResult, all: readonly EndpointState[], nowMs: number): boolean {
    if (result.type === "cancelled") return false;
    const isLocal = result.type !== "answered";
    const status = result.status ?? 0;
    const ejected = this.#countShare(state, isLocal, status, all, nowMs);
    return this.#countRow(state, isLocal, status, all, nowMs) || ejected;
  }

  /** Failures in a row. */
  #countRow(state: EndpointState, isLocal: boolean, status: number, all: readonly EndpointState[], nowMs: number): boolean {
    const { consecutive5xx, consecutiveGatewayErrors = 0, consecutiveLocalFailures } = this.config;
    if (isLocal && consecutiveLocalFailures !== undefined) {
      state.localFailures++;
      return reached(state.localFailures, consecutiveLocalFailures) && this.#eject(state, all, nowMs);
    }
    state.localFailures = 0;
    state.errors5xx = isLocal || status >= 500 ? state.errors5xx + 1 : 0;
    state.gatewayErrors = isLocal || (status >= 502 && status <= 504) ? state.gatewayErrors + 1 : 0;
    return (reached(state.errors5xx, consecutive5xx) || reached(state.gatewayErrors, consecutiveGatewayErrors)) && this.#eject(state, all, nowMs);
  }

  /** Whether somebody was ejected for the share of its failures, at the end of an interval that had enough to judge by. */
  #countShare(state: EndpointState, isLocal: boolean, status: number, all: readonly EndpointState[], nowMs: number): boolean {
    const { failurePercent, intervalMs, consecutiveLocalFailures } = this.config;
    if (!failurePercent) return false;
    let ejected = false;
    if (nowMs >= this.#nextLookMs) {
      const judged = all.filter(({ seen }) => seen >= failurePercent.minRequests);
      if (judged.length >= failurePercent.minEndpoints) for (const one of judged) if (one.failed * 100 >= failurePercent.threshold * one.seen && this.#eject(one, all, nowMs)) ejected = true;
      for (const one of all) one.seen = one.failed = 0;
      this.#nextLookMs = nowMs + intervalMs;
    }
    // What has failed here is looked at apart, where that was asked for.
    if (isLocal && consecutiveLocalFailures !== undefined) return ejected;
    state.seen++;
    if (isLocal || status >= 500) state.failed++;
    return ejected;
  }

  #eject(state: EndpointState, all: readonly EndpointState[], nowMs: number): boolean {
    // A result of a try from before it was ejected, or from an endpoint that is no longer there.
    if (state.ejectedUntilMs > 0 || !all.includes(state)) return false;
    const out = all.filter(({ ejectedUntilMs }) => ejectedUntilMs > 0).length;
    const share = Math.min(Math.floor((all.length * this.config.maxEjectionPercent) / 100), all.length - 1);
    const allowed = this.config.ejectsOne ? Math.max(1, share) : share;
    if (out + 1 > allowed) return false;
    const { intervalMs, baseEjectionMs } = this.config;
    const stayed = intervalMs > 0 ? Math.floor((nowMs - state.returnedAtMs) / intervalMs) : 0;
    state.ejections = Math.max(0, state.ejections - stayed) + 1;
    state.ejectedUntilMs = nowMs + Math.min(baseEjectionMs * state.ejections, Math.max(baseEjectionMs, this.config.maxEjectionMs ?? maxEjectionMs));
    this.nextReturnMs = Math.min(this.nextReturnMs, state.ejectedUntilMs);
    return true;
  }

  /** Takes back those whose time is over. */
  takeBack(all: readonly EndpointState[], nowMs: number): void {
    this.nextReturnMs = Infinity;
    for (const state of all) {
      if (state.ejectedUntilMs === 0) continue;
      if (state.ejectedUntilMs > nowMs) this.nextReturnMs = Math.min(this.nextReturnMs, state.ejectedUntilMs);
      else giveBack(state, nowMs);
    }
  }
}

/** It begins anew, but how often it was ejected is remembered. */
export function giveBack(state: EndpointState, nowMs: number): void {
  state.ejectedUntilMs = 0;
  state.returnedAtMs = nowMs;
  state.errors5xx = state.gatewayErrors = state.localFailures = 0;
}

const reached = (count: number, bound: number): boolean => bound > 0 && count >= bound;
