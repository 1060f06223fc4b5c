import type { AnswerHead, LocalAnswer } from "../../policy/exchange.ts";
import type { Trailers } from "./asker.ts";
import type { Framing } from "./compose.ts";
import type { Head } from "./head.ts";
import type { Listener } from "./routing.ts";
import type { Bulk, Stream } from "./stream.ts";

/** The side that asked: a connection of HTTP/1.1, or a stream of HTTP/2. */
export interface Client {
  readonly listener: Listener;
  readonly address: string;
  /** From which it has dialled; 0: it is not known. */
  readonly port: number;
  readonly protocol: string;
  /** It has said all, and may still listen. */
  readonly hasEnded?: boolean;
  /** It does not take more of the answer for the moment; `HttpExchange.clientDrained` will follow. */
  readonly isBlocked: boolean;
  /** Something has moved, or stands still from now on: its deadline is another. */
  touch(): void;
  /** More of the request's body may come, or must not for the moment. */
  wantBody(): void;
  pauseBody(): void;
  /** Why this answer cannot be passed on; absent: any can. */
  refuses?(head: Head): string | undefined;
  /** 1xx. */
  interim(head: Head): void;
  answer(head: Head, framing: Framing, length: number): void;
  /** The same of one that was made or changed here; content and end follow. */
  begin(head: AnswerHead): void;
  content(bytes: Buffer, from: number, to: number, bulk: Bulk | undefined): void;
  end(trailers: Trailers): void;
  local(answer: LocalAnswer): void;
  /** The answer has begun and cannot be ended. */
  breakOff(): void;
  /** The answer is 101: bytes both ways from now on. */
  tunnel(head: Head, upstream: Stream, bytes: Buffer, from: number, to: number): void;
  /** Nothing more will be said about this exchange. */
  finished(): void;
}
