import type { Picked } from "../../policy/upstream.ts";
import type { Asked, Asker } from "./asker.ts";
import { framing } from "./compose.ts";
import type { HttpExchange } from "./exchange.ts";
import type { Head } from "./head.ts";
import type { Output } from "./output.ts";
import { copyRequest } from "./request-copy.ts";
import type { Pool } from "./upstream-pool.ts";

/** An answer that nobody waits for may take so long. */
const answerMs = 15_000;

/**
 * Sends a copy of a request whose body is known, and forgets the answer. The copy is made of the head as it is now: the
 * exchange may be over before the mirror's connection is there.
 */
export function sendMirror(output: Output, pool: Pool, exchange: HttpExchange, body: Buffer | undefined): void {
  const picked = pool.policy.pick(exchange.request);
  if (picked.endpoint === undefined) return;
  const copy = copyRequest(exchange.head, exchange.lines(false));
  const bodyFraming = exchange.framing;
  const { isHead } = exchange;
  const send = (connection: Asked): void => {
    connection.askCopy(new Nobody(picked, isHead, connection), copy, bodyFraming);
    if (body) connection.body(body, 0, body.length, undefined);
    if (bodyFraming !== framing.none) connection.bodyEnd([]);
    output.flush();
  };
  const kept = pool.take(picked.endpoint);
  if (kept) return send(kept);
  pool.connect(picked.endpoint, (connection) => (connection ? send(connection) : picked.done({ type: "local", latencyMs: 0 })));
}

/** Hears the answer and forgets it, so that the connection can be used again. */
class Nobody implements Asker {
  readonly isHead: boolean;
  readonly isUpgrade = false;
  readonly #picked: Picked;
  readonly #timer: NodeJS.Timeout;
  readonly #since = performance.now();
  #status = 0;

  constructor(picked: Picked, isHead: boolean, connection: Asked) {
    this.#picked = picked;
    this.isHead = isHead;
    this.#timer = setTimeout(() => {
      connection.close();
      this.#done("timeout");
    }, answerMs).unref();
  }
  #done(type: "answered" | "local" | "timeout"): void {
    clearTimeout(this.#timer);
    const latencyMs = performance.now() - this.#since;
    this.#picked.done(type === "answered" ? { type, status: this.#status, latencyMs } : { type, latencyMs });
  }
  interim(): void {}
  onAnswer(head: Head): void {
    this.#status = head.status;
  }
  content(): void {}
  ended(): void {
    this.#done("answered");
  }
  switched(): void {}
  failed(): void {
    this.#done("local");
  }
  flushed(): void {}
  upstreamDrained(): void {}
}
