import { limits } from "../../base/limits.ts";
import type { HeaderEdits } from "../../policy/exchange.ts";
import type { Asked, Trailers } from "./asker.ts";
import { KeptBody } from "./kept-body.ts";
import type { Mirror } from "./mirror.ts";
import type { Bulk } from "./stream.ts";
import { trailersToPass } from "./trailers.ts";

/** How much of it waits for its upstream; and may be sent again, where the rule does not say how much. */
export const keptMax = limits.gatewayRetryBodyBytes;

/** A request's body on its way: to its upstream, to mirrors, and as far as it may have to be sent again, here. */
export class RequestBody {
  received = 0;
  isComplete: boolean;
  /** Some of it went to an upstream without being kept. */
  isStreamed = false;
  #trailers: Trailers = [];
  #kept: KeptBody | undefined;
  /** Came with the head, and lies where it was read until the request has begun: most small bodies go at once, and are copied nowhere. */
  #lent: { bytes: Buffer; from: number; to: number } | undefined;
  #hasBegun = false;
  #copies: Mirror[] | undefined;
  #wanted: { bytesMax: number; give: (body: Buffer) => void } | undefined;

  constructor(isComplete: boolean) {
    this.isComplete = isComplete;
  }

  /** A piece. `keep`: bytes of the whole that are worth keeping. False: enough waits for an upstream. */
  content(bytes: Buffer, from: number, to: number, bulk: Bulk | undefined, asked: Asked | undefined, keep: number): boolean {
    this.received += to - from;
    if (!this.#hasBegun && !this.#lent) {
      this.#lent = { bytes, from, to };
      return true;
    }
    if (this.#copies) for (const copy of this.#copies) copy.body(bytes, from, to);
    if (!asked) return this.#keep(bytes, from, to) < (this.#wanted ? Infinity : keptMax);
    if (this.isStreamed || this.received > keep) {
      this.isStreamed = true;
      this.#kept = undefined;
    } else {
      this.#keep(bytes, from, to);
    }
    asked.body(bytes, from, to, bulk);
    return true;
  }
  #keep(bytes: Buffer, from: number, to: number): number {
    this.#take();
    const kept = (this.#kept ??= new KeptBody());
    kept.add(bytes, from, to);
    return kept.length;
  }
  /** The request has begun, and what was lent is used again: it is copied, unless that is `worthless`. */
  settle(isWorthless: boolean): void {
    this.#hasBegun = true;
    if (this.#lent && isWorthless) {
      this.#lent = undefined;
      this.isStreamed = true;
    }
    this.#take();
  }
  #take(): void {
    const lent = this.#lent;
    if (!lent) return;
    this.#lent = undefined;
    this.#keep(lent.bytes, lent.from, lent.to);
  }
  /** Somebody must see all of it before it goes on; `then` is called at its end. */
  want(bytesMax: number, then: (body: Buffer) => void): void {
    if (this.isComplete) return then(this.#whole());
    this.#wanted = { bytesMax, give: then };
  }
  get isWanted(): boolean {
    return this.#wanted !== undefined;
  }
  /** What is wanted may not be longer. */
  get wantedMax(): number {
    return this.#wanted?.bytesMax ?? Infinity;
  }
  #whole(): Buffer {
    this.#take();
    return this.#kept ? this.#kept.bytes.subarray(0, this.#kept.length) : Buffer.alloc(0);
  }
  replace(bytes: Buffer): void {
    this.#lent = undefined;
    this.#kept = new KeptBody();
    this.#kept.bytes = bytes;
    this.#kept.length = bytes.length;
  }
  end(trailers: Trailers, edits: HeaderEdits | undefined, asked: Asked | undefined): void {
    this.isComplete = true;
    this.#trailers = trailers;
    const wanted = this.#wanted;
    this.#wanted = undefined;
    if (wanted) return wanted.give(this.#whole());
    if (!asked && !this.#copies) return;
    const passed = trailersToPass(trailers, edits);
    if (this.#copies) for (const copy of this.#copies) copy.bodyEnd(passed);
    asked?.bodyEnd(passed);
  }
  /** What has come so far. */
  sendTo(asked: Asked, hasFraming: boolean, edits: HeaderEdits | undefined): void {
    if (this.#lent) asked.body(this.#lent.bytes, this.#lent.from, this.#lent.to, undefined);
    else if (this.#kept) asked.body(this.#kept.bytes, 0, this.#kept.length, undefined);
    if (this.isComplete && hasFraming) asked.bodyEnd(trailersToPass(this.#trailers, edits));
  }
  /** The same to a mirror; what is yet to come follows. */
  copyTo(copy: Mirror, edits: HeaderEdits | undefined): void {
    this.#take();
    if (this.#kept) copy.body(this.#kept.bytes, 0, this.#kept.length);
    if (this.isComplete) copy.bodyEnd(trailersToPass(this.#trailers, edits));
    else (this.#copies ??= []).push(copy);
  }
  /** Nothing more will come. */
  over(): void {
    if (!this.isComplete && this.#copies) for (const copy of this.#copies) copy.breakOff();
    this.#copies = undefined;
  }
}
