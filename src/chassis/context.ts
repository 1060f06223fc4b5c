import { AsyncLocalStorage } from "node:async_hooks";
import type { TraceContext } from "./trace-context.ts";

/**
 * What travels with a piece of work, through every await, without being handed from function to function: whose trace it
 * belongs to, and until when somebody waits for it. Clients of this chassis send both on; log lines carry the ids.
 */
export interface WorkContext {
  readonly trace: TraceContext;
  /** Monotonic milliseconds (performance.now()); undefined: nobody said. */
  readonly deadlineMs?: number | undefined;
  /** Fires when nobody waits any more. */
  readonly signal?: AbortSignal | undefined;
}

const storage = new AsyncLocalStorage<WorkContext>();

/** The context of the work under way; undefined outside any. */
export function currentContext(): WorkContext | undefined {
  return storage.getStore();
}

export function runInContext<T>(context: WorkContext, run: () => T): T {
  return storage.run(context, run);
}

/** What of the deadline is left, in ms, never below 0; undefined without one. */
export function remainingMs(context = currentContext()): number | undefined {
  const deadline = context?.deadlineMs;
  return deadline === undefined ? undefined : Math.max(0, deadline - performance.now());
}

/** Runs `work` so that clients it calls give up after `timeoutMs`, or sooner where less was left before. */
export function withTimeout<T>(timeoutMs: number, work: () => T, trace: TraceContext): T {
  const outer = currentContext();
  const mine = performance.now() + timeoutMs;
  return storage.run({ trace: outer?.trace ?? trace, deadlineMs: Math.min(outer?.deadlineMs ?? Infinity, mine), signal: outer?.signal }, work);
}

/**
 * The header a deadline travels in over HTTP: how many milliseconds the caller still waits. A span of time, because clocks of
 * two machines differ. It is Envoy's, who sets it on every request that it routes with a timeout: so deadlines of gateways
 * and meshes are kept as well. gRPC has `grpc-timeout` of its own.
 * Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter
 */
export const timeoutHeader = "x-envoy-expected-rq-timeout-ms";
/** More than a day is nonsense, and does not fit a timer at some point. */
const timeoutMsMax = 86_400_000;

/** Undefined where it says nothing usable. */
export function parseTimeout(text: string | string[] | undefined): number | undefined {
  if (typeof text !== "string" || !/^\d{1,10}$/.test(text)) return undefined;
  const ms = Number(text);
  return ms > 0 && ms <= timeoutMsMax ? ms : undefined;
}
