import type { LocalAnswer, RequestView } from "./exchange.ts";
import { type Flag, flags } from "./flags.ts";

/**
 * What gRPC clients make of an HTTP status. Source: grpc/grpc doc/http-grpc-status-mapping.md. 429, 502, 503 and 504 all
 * are UNAVAILABLE: another try may do. What has run out of time (UT) is DEADLINE_EXCEEDED, as Envoy says it of its own bounds: its caller's
 * time is over as well.
 */
const grpcStatuses: Record<number, number> = { 400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14 };
const unknown = 2;
export const grpcStatusOf = (status: number): number => grpcStatuses[status] ?? unknown;
const deadlineExceeded = 4;

export interface AnswerDetails {
  status?: number;
  headers?: [name: string, value: string][];
  /** For a gRPC client instead of the one that goes with the status. */
  grpcStatus?: number;
  body?: string;
}

/**
 * An answer of ours, in the shape its client understands: a gRPC call gets 200 with its status in the headers (gRPC's
 * "Trailers-Only"), since that is where its client looks; everybody else a line of text.
 */
export function localAnswer(request: RequestView, flag: Flag, reason: string, details: AnswerDetails = {}): LocalAnswer {
  const status = details.status ?? flags[flag].status;
  const headers = details.headers ? [...details.headers] : [];
  if (isGrpc(request) && (status >= 400 || details.grpcStatus !== undefined)) {
    const grpcStatus = details.grpcStatus ?? (flag === "UT" ? deadlineExceeded : grpcStatusOf(status));
    headers.push(["content-type", "application/grpc"], ["grpc-status", String(grpcStatus)], ["grpc-message", encodeURIComponent(reason).replaceAll("%20", " ")]);
    return { status: 200, headers, body: "", flag, reason };
  }
  const body = details.body ?? (status < 400 ? "" : `${reason}\n`);
  if (body !== "" && !headers.some(([name]) => name === "content-type")) headers.push(["content-type", "text/plain; charset=utf-8"]);
  return { status, headers, body, flag, reason };
}

/** By its content type: `application/grpc`, also `application/grpc+proto`, not `application/grpc-web`. */
export function isGrpc(request: RequestView): boolean {
  const type = request.header("content-type");
  return type !== undefined && /^application\/grpc(?:$|[+; ])/i.test(type);
}
