import { limits } from "../../base/limits.ts";
import type { Picked } from "../../policy/upstream.ts";
import type { Asked, Asker, Trailers } from "./asker.ts";
import { framing, type Framing } from "./compose.ts";
import type { Counters } from "./counters.ts";
import type { Engine } from "./engine.ts";
import type { HttpExchange } from "./exchange.ts";
import type { Head } from "./head.ts";
import { KeptBody } from "./kept-body.ts";
import type { Output } from "./output.ts";
import { copyRequest } from "./request-copy.ts";
import { requestLines } from "./request-lines.ts";
import type { Pool } from "./upstream-pool.ts";

/** An answer that nobody waits for may take so long, from the request's end. */
const answerMs = 15_000;

/**
 * A copy of a request on its way to another upstream, whose answer is heard and forgotten. The body follows as the client brings it,
 * never slower for the copy's sake: what the other upstream has not taken yet waits here, and when too much does, the copy is
 * broken off and counted. So it is when the client's own body breaks off: no half of a body is taken for the whole.
 */
export class Mirror implements Asker {
  readonly isHead: boolean;
  readonly isUpgrade = false;
  readonly #output: Output;
  readonly #counters: Counters;
  readonly #picked: Picked;
  readonly #framing: Framing;
  readonly #since = performance.now();
  #connection: Asked | undefined;
  #giveUp: (() => void) | undefined;
  #waiting = new KeptBody();
  #trailers: Trailers | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** All of the request. */
  #isSent = false;
  #status = 0;
  #isOver = false;

  private constructor(output: Output, counters: Counters, picked: Picked, exchange: HttpExchange) {
    this.#output = output;
    this.#counters = counters;
    this.#picked = picked;
    this.#framing = exchange.framing;
    this.isHead = exchange.isHead;
  }

  /** The head goes as it is now: the exchange may be over before the other connection is there. Undefined: nobody is there to ask. */
  static start(output: Output, counters: Counters, pool: Pool, exchange: HttpExchange, judge: Engine["judge"]): Mirror | undefined {
    const picked = pool.policy.pick(exchange.request);
    if (picked.endpoint === undefined) return undefined;
    const { requestHeaders, target, judged } = exchange;
    const isDenied = judge?.(exchange, picked.endpoint) !== undefined;
    const copy = copyRequest(exchange.head, requestLines(exchange, false));
    // What guards the copy's endpoint has no say in the request itself.
    Object.assign(exchange, { requestHeaders, target, judged });
    if (isDenied) {
      picked.done({ type: "cancelled", latencyMs: 0 });
      return undefined;
    }
    const mirror = new Mirror(output, counters, picked, exchange);
    const kept = pool.take(picked.endpoint, exchange.client);
    if (kept) mirror.#send(kept, copy);
    else {
      mirror.#giveUp = pool.connect(picked.endpoint, (connection) => {
        mirror.#giveUp = undefined;
        if (connection) mirror.#send(connection, copy);
        else mirror.#drop("local");
      }, exchange.client);
    }
    return mirror;
  }

  // What the client brings.
  body(bytes: Buffer, from: number, to: number): void {
    if (this.#isOver) return;
    const connection = this.#connection;
    if (connection && this.#waiting.length === 0 && !connection.isBlocked) return connection.body(bytes, from, to, undefined);
    if (this.#waiting.length + to - from > limits.gatewayMirrorBytesMax) return this.#drop("cancelled");
    this.#waiting.add(bytes, from, to);
  }
  bodyEnd(trailers: Trailers): void {
    if (this.#isOver || this.#trailers) return;
    this.#trailers = trailers;
    this.#timer = setTimeout(() => this.#drop("timeout"), answerMs).unref();
    if (this.#waiting.length === 0) this.#endBody();
  }
  /** The client's body ends before its end. */
  breakOff(): void {
    if (!this.#trailers) this.#drop("cancelled");
  }

  #send(connection: Asked, copy: Buffer): void {
    this.#connection = connection;
    connection.askCopy(this, copy, this.#framing);
    this.upstreamDrained();
  }
  #endBody(): void {
    if (!this.#trailers || !this.#connection || this.#isSent) return;
    this.#isSent = true;
    if (this.#framing !== framing.none) this.#connection.bodyEnd(this.#trailers);
  }
  upstreamDrained(): void {
    const connection = this.#connection;
    if (!connection || this.#isOver) return;
    const { bytes, length } = this.#waiting;
    if (length > 0) {
      this.#waiting = new KeptBody();
      connection.body(bytes, 0, length, undefined);
    }
    this.#endBody();
    this.#output.flush();
  }

  // What comes back.
  interim(): void {}
  onAnswer(head: Head): void {
    this.#status = head.status;
    // Who answers before the end will not hear the rest.
    if (!this.#isSent) this.#connection?.forbidReuse();
  }
  content(): void {}
  ended(): void {
    this.#done("answered");
  }
  switched(): void {
    this.#drop("local");
  }
  failed(): void {
    this.#connection = undefined;
    this.#drop("local");
  }
  flushed(): void {}

  #drop(type: "local" | "timeout" | "cancelled"): void {
    if (this.#isOver) return;
    this.#counters.mirrorsDropped++;
    this.#giveUp?.();
    this.#connection?.close();
    this.#done(type);
  }
  #done(type: "answered" | "local" | "timeout" | "cancelled"): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#waiting = new KeptBody();
    const latencyMs = performance.now() - this.#since;
    this.#picked.done(type === "answered" ? { type, status: this.#status, latencyMs } : { type, latencyMs });
  }
}
