import type { HttpRule, Retry } from "../api/traffic.ts";
import type { Random } from "../base/random.ts";
import type { Flag } from "./flags.ts";

/**
 * When a request is tried again, and how long anything may take: decisions on numbers, without a timer or a socket.
 *
 * Two kinds of further tries are safe and need no configuration, as with nginx's `proxy_next_upstream error`: what never left
 * the socket, and what was lost on a kept connection that the upstream closed at that moment, if its method is idempotent
 * (RFC 9110 §9.2.2). All others are the rule's decision, and requests that are not idempotent need its `unsafe` as well.
 */
export interface Failure {
  /** `connect`: no connection; `reset`: it broke before an answer; `timeout`: no answer within the try's time; `status`: an answer. */
  type: "connect" | "reset" | "timeout" | "status";
  status?: number;
  /** Whether any byte of the request was written, in this try or an earlier one; what was not can be tried anywhere. */
  sent: boolean;
  /** It broke on a connection that had served before. */
  reused?: boolean;
}

export interface RetryInput {
  rule: Pick<HttpRule, "retry" | "timeouts">;
  method: string;
  failure: Failure;
  /** Those that have ended, this one among them. */
  tries: number;
  /** Whether the body is still at hand, or there is none. */
  canRepeat: boolean;
  /** Since the request's head came. */
  elapsedMs: number;
  random: Random;
}

export type RetryDecision = { retry: true; delayMs: number } | { retry: false; flag: Flag; reason: string };

/** What is safe in any case is tried so often again, at once. */
const harmlessAttempts = 2;
const idempotent = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);
/** RFC 9110 §9.2.2. */
export const isIdempotent = (method: string): boolean => idempotent.has(method);
const flagOf: Record<Failure["type"], Flag> = { connect: "UF", reset: "UC", timeout: "UT", status: "URX" };

/** Where it is not tried again because it may not be, `flag` is that of the failure; where attempts are spent, URX. An answer (`status`) is then passed on. */
export function decideRetry({ rule, method, failure, tries, canRepeat, elapsedMs, random }: RetryInput): RetryDecision {
  const { retry } = rule;
  const stop = (reason: string, flag = flagOf[failure.type]): RetryDecision => ({ retry: false, flag, reason });
  const mayRepeat = isIdempotent(method);
  const isWanted = retry !== undefined && (retry.on === undefined || retry.on.includes(failure.type)) && (failure.type !== "status" || retry.statuses.includes(failure.status!));
  // Needs nobody's leave: it was not begun, or was lost with its connection.
  const isHarmless = (failure.type === "connect" && !failure.sent) || (failure.type === "reset" && failure.reused === true && mayRepeat);
  if (!isWanted && !isHarmless) return stop("nothing says that it be tried again");
  if (failure.sent && !retry?.unsafe && !mayRepeat) return stop(`${method} is not idempotent, and a part of it was sent`);
  if (failure.sent && !canRepeat) return stop("its body is no longer at hand");
  const attempts = Math.max(isWanted ? retry.attempts : 0, isHarmless ? harmlessAttempts : 0);
  if (tries > attempts) return stop(`${attempts} further tries were made`, isWanted && retry.attempts > 0 ? "URX" : undefined);
  const delayMs = isWanted && tries <= retry.attempts ? backoffMs(retry, tries, random) : 0;
  const { requestMs = 0 } = rule.timeouts ?? {};
  if (requestMs > 0 && elapsedMs + delayMs >= requestMs) return stop("no time is left for another try");
  return { retry: true, delayMs };
}

/** Never less than configured, doubled with each try up to the most; up to half more, so that those who failed together part. */
export function backoffMs({ backoffMs: base, backoffMaxMs = base * 10 }: Retry, tries: number, random: Random): number {
  const delay = Math.min(base * 2 ** Math.min(tries - 1, 30), Math.max(base, backoffMaxMs));
  return delay + (random.next() * delay) / 2;
}

/** How long a try that starts now may take to its answer's head, and what it means when it does not; undefined: as long as it likes. */
export function tryTimeout({ timeouts }: Pick<HttpRule, "timeouts">, elapsedMs: number): { ms: number; ends: "try" | "request" } | undefined {
  const { requestMs = 0, backendMs = 0 } = timeouts ?? {};
  const left = requestMs > 0 ? Math.max(0, requestMs - elapsedMs) : Infinity;
  if (backendMs > 0 && backendMs < left) return { ms: backendMs, ends: "try" };
  return left === Infinity ? undefined : { ms: left, ends: "request" };
}
