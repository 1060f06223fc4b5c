import type { Picked } from "../../policy/upstream.ts";
import { composeRequest, framing } from "./compose.ts";
import type { HttpExchange } from "./exchange.ts";
import type { Head } from "./head.ts";
import { Output, writeContent, writeLastChunk, type Sink } from "./output.ts";
import type { Asker, UpstreamConnection } from "./upstream-connection.ts";
import type { UpstreamPool } from "./upstream-pool.ts";

/** An answer that nobody waits for may take so long. */
const answerMs = 15_000;

/**
 * Sends a copy of a request whose body is known, and forgets the answer. The copy is made of the head as it is now: the
 * exchange may be over before the mirror's connection is there.
 */
export function sendMirror(output: Output, pool: UpstreamPool, exchange: HttpExchange, body: Buffer | undefined): void {
  const picked = pool.policy.pick(exchange.request);
  if (picked.endpoint === undefined) return;
  const copy = copyOf(exchange, body);
  const send = (connection: UpstreamConnection): void => {
    connection.asker = new Nobody(picked, exchange.isHead, connection);
    output.to(connection.stream);
    output.copy(copy, 0, copy.length);
    output.flush();
  };
  const kept = pool.take(picked.endpoint);
  if (kept) return send(kept);
  pool.connect(picked.endpoint, (connection) => (connection ? send(connection) : picked.done({ type: "local", latencyMs: 0 })));
}

let copier: Output | undefined;

function copyOf(exchange: HttpExchange, body: Buffer | undefined): Buffer {
  const pieces: Buffer[] = [];
  const sink: Sink = { write: (bytes, from, to) => pieces.push(Buffer.from(bytes.subarray(from, to))) > 0 };
  const output = (copier ??= new Output());
  const chunked = exchange.framing === framing.chunked;
  output.to(sink);
  composeRequest(output, exchange.head, exchange.lines(false));
  if (body) writeContent(output, sink, body, 0, body.length, undefined, chunked);
  if (chunked) writeLastChunk(output, sink, []);
  output.flush();
  return Buffer.concat(pieces);
}

/** Hears the answer and forgets it, so that the connection can be used again. */
class Nobody implements Asker {
  readonly isHead: boolean;
  readonly isUpgrade = false;
  readonly #picked: Picked;
  readonly #timer: NodeJS.Timeout;
  readonly #since = performance.now();
  #status = 0;

  constructor(picked: Picked, isHead: boolean, connection: UpstreamConnection) {
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
