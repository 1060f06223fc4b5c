import type { HttpRule } from "../api/traffic.ts";
import type { RequestView } from "./exchange.ts";
import { isGrpc } from "./local-answer.ts";

const unitMs: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };
/** The longest that a timer can wait; whoever waits longer is not timed. */
const timerMsMax = 2 ** 31 - 1;

/**
 * Milliseconds that a gRPC client waits, by its `grpc-timeout`: up to eight digits and a unit; undefined where it says nothing that
 * can be told from waiting for ever. Never 0, which is no bound. Source: grpc/grpc doc/PROTOCOL-HTTP2.md.
 */
export function grpcTimeoutMs(value: string | undefined): number | undefined {
  const match = value === undefined ? null : /^(\d{1,8})([HMSmun])$/.exec(value);
  if (!match) return undefined;
  const ms = Math.max(1, Math.ceil(Number(match[1]) * unitMs[match[2]!]!));
  return ms > timerMsMax ? undefined : ms;
}

/** The rule's bounds, or the client's own where that is the shorter one. */
export function withGrpcDeadline(timeouts: HttpRule["timeouts"], request: RequestView): HttpRule["timeouts"] {
  const requestMs = isGrpc(request) ? grpcTimeoutMs(request.header("grpc-timeout")) : undefined;
  return requestMs !== undefined && requestMs < (timeouts?.requestMs || Infinity) ? { ...timeouts, requestMs } : timeouts;
}
