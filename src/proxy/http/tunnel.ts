import type { Output } from "./output.ts";
import { writeContent } from "./output.ts";
import type { Stream, StreamOwner } from "./stream.ts";
import type { Sweeper } from "./sweeper.ts";

export interface TunnelParts {
  output: Output;
  sweeper: Sweeper;
  client: Stream;
  upstream: Stream;
  /** Without a byte in either direction; 0 for none. */
  idleMs: number;
}

/** Above this a side reads into a large buffer of its own, below again into the shared one. */
const bulkFrom = 48 * 1024;
const smallReadsMax = 32;

/**
 * Bytes both ways, each direction closed on its own: what an upgraded connection is. It has no buffers while it is silent,
 * so that ten thousand idle WebSockets cost little.
 */
export class Tunnel {
  readonly #parts: TunnelParts;
  readonly #ended: (sentBytes: number) => void;
  readonly #client: Side;
  readonly #upstream: Side;
  deadline = Infinity;
  #isOver = false;

  /** `ended` gets the bytes that went to the client. */
  constructor(parts: TunnelParts, ended: (sentBytes: number) => void) {
    this.#parts = parts;
    this.#ended = ended;
    this.#client = new Side(this, parts.client, parts.output);
    this.#upstream = new Side(this, parts.upstream, parts.output);
    this.#client.other = this.#upstream;
    this.#upstream.other = this.#client;
  }

  /** First what has come already: of the client, and bytes[from, to) of the upstream. */
  start(stash: Buffer | undefined, bytes: Buffer, from: number, to: number): void {
    const { output, upstream, client, sweeper } = this.#parts;
    sweeper.add(this);
    this.touch();
    if (from < to) this.#upstream.onBytes(bytes, from, to);
    output.flush();
    if (stash) this.#client.onBytes(stash, 0, stash.length);
    client.resume();
    if (!client.isBlocked) upstream.resume();
  }
  touch(): void {
    if (this.#parts.idleMs > 0) this.deadline = this.#parts.sweeper.now + this.#parts.idleMs;
  }
  expire(): void {
    this.close();
  }
  sideEnded(): void {
    if (this.#client.ended && this.#upstream.ended) this.close();
  }
  close(reset = false): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#parts.sweeper.remove(this);
    for (const stream of [this.#parts.client, this.#parts.upstream]) {
      if (reset) stream.reset();
      else stream.close();
    }
    this.#ended(this.#upstream.bytes);
  }
}

class Side implements StreamOwner {
  readonly #tunnel: Tunnel;
  readonly #stream: Stream;
  readonly #output: Output;
  other!: Side;
  ended = false;
  bytes = 0;
  #smallReads = 0;

  constructor(tunnel: Tunnel, stream: Stream, output: Output) {
    this.#tunnel = tunnel;
    this.#stream = stream;
    this.#output = output;
    stream.owner = this;
  }
  onBytes(bytes: Buffer, from: number, to: number): void {
    const length = to - from;
    this.bytes += length;
    this.#tunnel.touch();
    writeContent(this.#output, this.other.#stream, bytes, from, to, this.#stream.bulk, false);
    this.#output.flush();
    if (this.other.#stream.isBlocked) this.#stream.pause();
    if (length > bulkFrom) {
      this.#smallReads = 0;
      this.#stream.wantsBulk = true;
    } else if (this.#stream.wantsBulk && ++this.#smallReads > smallReadsMax) {
      this.#stream.wantsBulk = false;
    }
  }
  onEnd(): void {
    this.ended = true;
    this.#stream.wantsBulk = false;
    this.other.#stream.finish();
    this.#tunnel.sideEnded();
  }
  onBroken(): void {
    this.#tunnel.close(true);
  }
  onDrain(): void {
    this.other.#stream.resume();
  }
}
