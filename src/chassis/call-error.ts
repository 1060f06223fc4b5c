/**
 * A call to another service that came to nothing. Thrown on by a handler, it becomes an answer of its own: 503, or 504 where time
 * ran out, so that the caller's client knows that trying again may help.
 */
export type CallErrorCode =
  /** No connection, or it broke before an answer. */
  | "unavailable"
  /** No answer in time. */
  | "timeout"
  /** Not sent: so many calls are under way already, or the retry budget is spent. */
  | "overloaded"
  /** Not sent: the service failed all calls of late. */
  | "circuit_open"
  /** Whoever asked gave up. */
  | "cancelled"
  /** It answered with an error. */
  | "status"
  /** It answered something that cannot be read. */
  | "invalid";

const statuses: Record<CallErrorCode, number> = { unavailable: 503, timeout: 504, overloaded: 503, circuit_open: 503, cancelled: 499, status: 502, invalid: 502 };

export class CallError extends Error {
  readonly code: CallErrorCode;
  /** What this service's own answer has, when nobody catches it. */
  readonly statusCode: number;
  /** Of the answer, where there was one. */
  readonly status: number | undefined;
  /** Its body, parsed where it is JSON. */
  readonly body: unknown;
  /** How often it was tried. */
  readonly tries: number;

  constructor(code: CallErrorCode, message: string, { status, body, tries = 0, cause }: { status?: number; body?: unknown; tries?: number; cause?: unknown } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "CallError";
    this.code = code;
    this.statusCode = statuses[code];
    this.status = status;
    this.body = body;
    this.tries = tries;
  }
}
