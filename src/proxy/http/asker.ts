import type { Endpoint } from "../../policy/upstream.ts";
import type { Framing, RequestLines } from "./compose.ts";
import type { Head } from "./head.ts";
import type { Bulk, Stream } from "./stream.ts";

export type Trailers = readonly (readonly [name: string, value: string])[];

/** Who asked, and is told what comes back. */
export interface Asker {
  /** Whether the request is HEAD: its answer has a length and no body. */
  readonly isHead: boolean;
  readonly isUpgrade: boolean;
  /** 1xx other than 101. */
  interim(head: Head): void;
  onAnswer(head: Head, framing: Framing, length: number): void;
  /** The answer's body, in pieces; `bulk` holds the bytes when they are in a buffer of their own. */
  content(bytes: Buffer, from: number, to: number, bulk: Bulk | undefined): void;
  ended(trailers: Trailers): void;
  /** 101: the connection is the asker's now; bytes[from, to) came behind the head. */
  switched(head: Head, bytes: Buffer, from: number, to: number): void;
  /**
   * It broke, or what came is not HTTP. `protocol`: the latter. `refused`: the endpoint has said that it did not begin with the
   * request, so that whatever it is may be sent again.
   */
  failed(reason: string, protocol: boolean, refused?: boolean): void;
  /** What has come so far is on its way to the client. */
  flushed(): void;
  /** All that was written has left. */
  upstreamDrained(): void;
}

/** Who is asked: a connection of HTTP/1.1, or a stream of HTTP/2. It is one request's until its answer has ended. */
export interface Asked {
  readonly endpoint: Endpoint;
  /** Answers that its connection has given. */
  readonly served: number;
  /** It may yet refuse what was sent to it, for somebody else to serve: the body's beginning is worth keeping. */
  readonly mayRefuse: boolean;
  /** What was written waits to leave; `upstreamDrained` will follow. */
  readonly isBlocked: boolean;
  /** Sends a head; body and end follow. */
  ask(asker: Asker, head: Head, lines: RequestLines): void;
  /** The same with a head that was written before, by {@link copyRequest}. */
  askCopy(asker: Asker, copy: Buffer, framing: Framing): void;
  body(bytes: Buffer, from: number, to: number, bulk: Bulk | undefined): void;
  bodyEnd(trailers: Trailers): void;
  /** The answer must wait for its client. */
  pause(): void;
  resume(): void;
  /** Its connection is not kept for another request. */
  forbidReuse(): void;
  /** Its client has said all, and may have left: the endpoint is told so where its protocol can, as by a client that is connected to it. */
  finish(): void;
  /** The asker has given up: it is told nothing more. */
  close(): void;
  /** Gives its byte stream away, for a tunnel. */
  leave(): Stream;
}
