import type { AnswerHead, AnswerSink } from "./exchange.ts";

/** An answer that goes on as it comes. A filter that takes part in answers overrides what it does otherwise. */
export class Passing implements AnswerSink {
  protected readonly next: AnswerSink;

  constructor(next: AnswerSink) {
    this.next = next;
  }
  get isBlocked(): boolean {
    return this.next.isBlocked;
  }
  begin(head: AnswerHead): void {
    this.next.begin(head);
  }
  content(bytes: Uint8Array): void {
    this.next.content(bytes);
  }
  end(trailers?: Parameters<AnswerSink["end"]>[0]): void {
    this.next.end(trailers);
  }
  fail(...told: Parameters<AnswerSink["fail"]>): void {
    this.next.fail(...told);
  }
}
