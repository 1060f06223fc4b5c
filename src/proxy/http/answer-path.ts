import type { AnswerFilter, AnswerHead, AnswerSink, LocalAnswer, ResponseView } from "../../policy/exchange.ts";
import type { Flag } from "../../policy/flags.ts";
import type { Trailers } from "./asker.ts";
import type { Client } from "./client.ts";
import { asBuffer } from "./compose.ts";
import type { Output } from "./output.ts";

/** Whose answer it is. */
export interface PathOwner {
  readonly client: Client;
  readonly isHead: boolean;
  /** What the client got. */
  status: number;
  sentBytes: number;
  /** All of it has gone to the client. */
  closed(): void;
  /** It will not: an answer of ours if none has begun. */
  broken(flag: Flag, reason: string, hasBegun: boolean, answer?: LocalAnswer): void;
  /** What was blocked is not any more. */
  clientDrained(): void;
}

/**
 * An answer that filters take part in, from its upstream to its client. Without such filters there is none, and the bytes of the
 * head are copied as they lie.
 *
 *   upstream ─▶ the filter that asked last ─▶ … ─▶ the one that asked first ─▶ client
 */
export class AnswerPath {
  readonly #owner: PathOwner;
  readonly #output: Output;
  readonly #sinks: AnswerSink[] = [];
  readonly #first: AnswerSink;
  /** Calls from the upstream's turn, whose end sends what was written. */
  #turns = 0;
  #hasBegun = false;
  #isOver = false;
  #isEmpty = false;

  private constructor(owner: PathOwner, output: Output, filters: readonly AnswerFilter[], response: ResponseView) {
    this.#owner = owner;
    this.#output = output;
    let sink: AnswerSink = {
      begin: (head) => this.#begin(head),
      content: (bytes) => this.#content(bytes),
      end: (trailers) => this.#end(trailers ?? []),
      fail: (flag, reason, answer) => this.#fail(flag, reason, answer),
      get isBlocked() {
        return owner.client.isBlocked;
      },
    };
    for (const filter of filters) {
      const taken = filter(response, sink, () => owner.clientDrained());
      if (!taken) continue;
      this.#sinks.push(taken);
      sink = taken;
    }
    this.#first = sink;
  }
  /** Undefined: none of them takes part in this answer. */
  static of(owner: PathOwner, output: Output, filters: readonly AnswerFilter[], response: ResponseView): AnswerPath | undefined {
    const path = new AnswerPath(owner, output, filters, response);
    return path.#sinks.length === 0 ? undefined : path;
  }

  get isBlocked(): boolean {
    return this.#owner.client.isBlocked || this.#sinks.some(({ isBlocked }) => isBlocked);
  }
  begin(head: AnswerHead): void {
    this.#inTurn(() => this.#first.begin(head));
  }
  content(bytes: Buffer, from: number, to: number): void {
    this.#inTurn(() => this.#first.content(bytes.subarray(from, to)));
    // Held back or not, its upstream is not silent.
    this.#owner.client.touch();
  }
  end(trailers: Trailers = []): void {
    this.#inTurn(() => this.#first.end(trailers));
  }
  fail(flag: Flag, reason: string): void {
    this.#inTurn(() => this.#first.fail(flag, reason));
  }
  #inTurn(call: () => void): void {
    if (this.#isOver) return;
    this.#turns++;
    try {
      call();
    } finally {
      this.#turns--;
    }
  }
  /** The whole of an answer that was made here. */
  give({ status, headers, body, bytes }: LocalAnswer): void {
    const content = bytes ? asBuffer(bytes) : Buffer.from(body);
    this.begin({ status, headers: headers.map(([name, value]) => [name.toLowerCase(), value]), length: content.length });
    this.content(content, 0, content.length);
    this.end();
  }
  /** Nobody is told anything more: the client is gone. */
  close(): void {
    this.#isOver = true;
  }

  // The client's end.
  #begin(head: AnswerHead): void {
    if (this.#isOver || this.#hasBegun) return;
    this.#hasBegun = true;
    this.#isEmpty = this.#owner.isHead || head.status === 204 || head.status === 304;
    this.#owner.status = head.status;
    this.#owner.client.begin(head);
    this.#sent();
  }
  #content(bytes: Uint8Array): void {
    if (this.#isOver || this.#isEmpty || bytes.length === 0) return;
    const buffer = asBuffer(bytes);
    this.#owner.sentBytes += buffer.length;
    this.#owner.client.content(buffer, 0, buffer.length, undefined);
    this.#sent();
  }
  #end(trailers: Trailers): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#owner.client.end(trailers);
    this.#owner.closed();
    this.#sent();
  }
  #fail(flag: Flag, reason: string, answer: LocalAnswer | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#owner.broken(flag, reason, this.#hasBegun, answer);
    this.#sent();
  }
  #sent(): void {
    if (this.#turns === 0) this.#output.flush();
  }
}
