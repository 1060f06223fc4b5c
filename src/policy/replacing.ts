import type { AnswerHead, AnswerSink } from "./exchange.ts";
import { Passing } from "./passing.ts";

/** An answer under another head, and with another body where there is one. */
export class Replacing extends Passing {
  readonly #head: (given: AnswerHead) => AnswerHead;
  readonly #body: Uint8Array | undefined;

  /** `body`: undefined leaves it as it comes. */
  constructor(next: AnswerSink, head: (given: AnswerHead) => AnswerHead, body?: Uint8Array) {
    super(next);
    this.#head = head;
    this.#body = body;
  }
  override begin(head: AnswerHead): void {
    super.begin(this.#head(head));
    if (this.#body && this.#body.length > 0) super.content(this.#body);
  }
  // What is replaced is nobody's; it is read to its end, so that its connection may be used again.
  override content(bytes: Uint8Array): void {
    if (!this.#body) super.content(bytes);
  }
  override end(trailers?: Parameters<AnswerSink["end"]>[0]): void {
    super.end(this.#body ? undefined : trailers);
  }
}
