import type { LocalAnswer, RequestView } from "./exchange.ts";
import type { Flag } from "./flags.ts";
import { isGrpc, localAnswer } from "./local-answer.ts";

/** One thing that is wrong with a request. */
export interface ProblemError {
  in: "body" | "query" | "path" | "header" | "cookie";
  /** Of a body: RFC 6901, as a URI's fragment. */
  pointer?: string;
  /** Of a parameter. */
  name?: string;
  /** What is there, shortened. */
  value?: unknown;
  detail: string;
}

const titles: Record<number, string> = { 400: "Bad Request", 403: "Forbidden", 413: "Content Too Large", 415: "Unsupported Media Type" };
const valueMax = 100;

/** An answer that programs can read: RFC 9457, with `errors` as in its example. */
export function problemAnswer(request: RequestView, flag: Flag, status: number, detail: string, errors: readonly ProblemError[]): LocalAnswer {
  const first = errors[0];
  const reason = first ? `${first.in} ${first.name ?? first.pointer}: ${first.detail}` : detail;
  if (isGrpc(request)) return localAnswer(request, flag, reason, { status });
  const problem = { type: "about:blank", title: titles[status] ?? "Error", status, detail, ...(errors.length > 0 && { errors: errors.map(({ value, ...error }) => ({ ...error, ...(value !== undefined && { value: shortened(value) }) })) }) };
  return localAnswer(request, flag, reason, { status, headers: [["content-type", "application/problem+json"]], body: `${JSON.stringify(problem)}\n` });
}

/** Enough of it to be recognised. */
function shortened(value: unknown): unknown {
  if (typeof value === "string") return value.length > valueMax ? `${value.slice(0, valueMax)}…` : value;
  if (typeof value !== "object" || value === null) return value;
  // Large ones are not written out to be cut.
  return Array.isArray(value) ? `[${value.length} items]` : `{${Object.keys(value).slice(0, 5).map((name) => JSON.stringify(name.slice(0, 20))).join(", ")}…}`;
}
