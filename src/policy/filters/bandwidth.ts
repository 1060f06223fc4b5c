import type { BandwidthFilter } from "../../api/traffic-answers.ts";
import type { AnswerSink, Exchange, Filter, FilterTools, Limiter } from "../exchange.ts";
import { Passing } from "../passing.ts";
import { PolicyError } from "../policy-error.ts";
import { localLimiter } from "../token-bucket.ts";

/** Pieces in which bytes are let through: so many a second, and none so large that others wait long for theirs. */
const piecesPerSecond = 50;
const pieceBytesMax = 16 * 1024;

/**
 * Answers of an upstream, so many bytes a second of all of the rule's together, and a second's worth at once. What is too early waits, and
 * its upstream with it: little of it is held here. Heads, trailers and answers of our own go at once.
 */
export const bandwidth: Filter<BandwidthFilter> = ({ answerBytesPerSecond }, tools) => {
  if (!(answerBytesPerSecond > 0)) throw new PolicyError("answerBytesPerSecond", answerBytesPerSecond, "must be greater than 0");
  const pieceBytes = Math.min(pieceBytesMax, Math.max(1, Math.floor(answerBytesPerSecond / piecesPerSecond)));
  const requests = answerBytesPerSecond / pieceBytes;
  const rate = { requests, periodMs: 1000, burst: Math.max(0, Math.floor(requests) - 1) };
  const make = (): Limiter => (tools.limiter ? tools.limiter("bandwidth", rate) : localLimiter(rate, 1, tools.nowMs));
  const limiter = tools.keep ? tools.keep("bandwidth", make) : make();
  return (next) => (exchange, outcome) => {
    exchange.takeAnswer((response, sink, drained) => (response.isLocal ? undefined : new Paced(exchange, sink, drained, limiter, pieceBytes, tools.setTimer)));
    next(exchange, outcome);
  };
};

class Paced extends Passing {
  readonly #exchange: Exchange;
  readonly #drained: () => void;
  readonly #limiter: Limiter;
  readonly #pieceBytes: number;
  readonly #setTimer: FilterTools["setTimer"];
  /** What it may send now. */
  #credit = 0;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #heldBytes = 0;
  #trailers: Parameters<AnswerSink["end"]>[0];
  #hasEnded = false;
  #isOver = false;
  #isAsking = false;
  #timer: { cancel(): void } | undefined;

  constructor(exchange: Exchange, next: AnswerSink, drained: () => void, limiter: Limiter, pieceBytes: number, setTimer: FilterTools["setTimer"]) {
    super(next);
    this.#exchange = exchange;
    this.#drained = drained;
    this.#limiter = limiter;
    this.#pieceBytes = pieceBytes;
    this.#setTimer = setTimer;
    exchange.onEnd(() => {
      this.#isOver = true;
      this.#timer?.cancel();
    });
  }
  override get isBlocked(): boolean {
    return this.#waitingBytes > 0;
  }
  override content(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#isOver) return;
    const { length } = bytes;
    const more = this.#waitingBytes + length - this.#heldBytes;
    if (more > 0) {
      if (!this.#exchange.hold(more)) return this.fail("OM", "too many answers are held here");
      this.#heldBytes += more;
    }
    this.#waiting.push(Buffer.from(bytes));
    this.#waitingBytes += length;
    this.#goOn();
  }
  override end(trailers?: Parameters<AnswerSink["end"]>[0]): void {
    this.#trailers = trailers;
    this.#hasEnded = true;
    this.#goOn();
  }
  override fail(...reason: Parameters<AnswerSink["fail"]>): void {
    this.#isOver = true;
    this.next.fail(...reason);
  }

  #goOn(): void {
    while (!this.#isAsking && !this.#isOver && this.#waitingBytes > 0) {
      if (this.#credit > 0) this.#send();
      else this.#ask();
    }
    if (this.#isAsking || this.#isOver || !this.#hasEnded) return;
    this.#isOver = true;
    this.next.end(this.#trailers);
  }
  #ask(): void {
    this.#isAsking = true;
    // Mostly answered at once; where other workers must be asked, later.
    let isNow = true;
    this.#limiter.take("", (waitMs) => {
      const goOn = (): void => {
        this.#isAsking = false;
        this.#goOn();
      };
      if (waitMs > 0) return void this.#wait(waitMs, goOn);
      this.#credit += this.#pieceBytes;
      this.#isAsking = false;
      if (!isNow) this.#goOn();
    });
    isNow = false;
  }
  #wait(waitMs: number, then: () => void): void {
    this.#timer = this.#setTimer(waitMs, then);
  }
  #send(): void {
    const [first] = this.#waiting as [Buffer];
    const piece = first.subarray(0, this.#credit);
    if (piece.length === first.length) this.#waiting.shift();
    else this.#waiting[0] = first.subarray(piece.length);
    this.#credit -= piece.length;
    this.#waitingBytes -= piece.length;
    this.next.content(piece);
    if (this.#waitingBytes === 0 && !this.#hasEnded) this.#drained();
  }
}
