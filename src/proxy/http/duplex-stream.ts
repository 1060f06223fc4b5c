import type { Duplex } from "node:stream";
import type { Bulk, Releasable, Stream, StreamOwner } from "./stream.ts";

/** What was written before a close may take so long to leave. */
const closeMs = 5_000;
/** Larger pieces are not copied: they are written from where they lie, which is in use until then. */
const copiedMax = 16 * 1024;

/** {@link Stream} over a Node stream: what is decrypted on its way, or comes from another protocol. */
export class DuplexStream implements Stream {
  owner: StreamOwner = nobody;
  readonly #duplex: Duplex;
  isClosed = false;
  wantsBulk = false;
  readonly bulk: Bulk | undefined = undefined;
  #ended = false;
  #broken = false;

  constructor(duplex: Duplex) {
    this.#duplex = duplex;
    duplex.pause();
    for (const [event, listener] of Object.entries(this.#listeners)) duplex.on(event, listener);
  }
  readonly #listeners = {
    data: (bytes: Buffer) => {
      if (!this.isClosed) this.owner.onBytes(bytes, 0, bytes.length);
    },
    end: () => {
      this.#ended = true;
      if (!this.isClosed) this.owner.onEnd();
    },
    drain: () => {
      if (!this.isClosed) this.owner.onDrain();
    },
    error: () => this.#break(),
    close: () => this.#break(),
  };

  /** The stream below, which is paused; this one is of no use any more. */
  take(): Duplex {
    this.isClosed = true;
    for (const [event, listener] of Object.entries(this.#listeners)) this.#duplex.off(event, listener);
    return this.#duplex;
  }

  get isBlocked(): boolean {
    return this.#duplex.writableNeedDrain;
  }
  #break(): void {
    if (this.isClosed || this.#broken) return;
    this.#broken = true;
    this.isClosed = true;
    this.#duplex.destroy();
    process.nextTick(() => (this.#ended ? this.owner.onEnd() : this.owner.onBroken(-104)));
  }
  write(bytes: Buffer, from: number, to: number, release: Releasable): boolean {
    if (this.isClosed || this.#duplex.writableEnded) return true;
    const piece = bytes.subarray(from, to);
    if (to - from <= copiedMax) {
      this.#duplex.write(Buffer.from(piece));
      return true;
    }
    this.#duplex.write(piece, () => release.release());
    return false;
  }
  pause(): void {
    this.#duplex.pause();
  }
  resume(): void {
    if (!this.isClosed) this.#duplex.resume();
  }
  finish(): void {
    if (!this.isClosed) this.#duplex.end();
  }
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    const duplex = this.#duplex;
    if (duplex.writableLength === 0 && duplex.writableFinished) return void duplex.destroy();
    // TLS says that it ends: without that word, a peer must take what it has for a part.
    const timer = setTimeout(() => duplex.destroy(), closeMs).unref();
    duplex.once("close", () => clearTimeout(timer));
    duplex.end(() => duplex.destroy());
  }
  reset(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#duplex.destroy();
  }
  detach(): undefined {
    return undefined;
  }
}

const nobody: StreamOwner = { onBytes() {}, onEnd() {}, onBroken() {}, onDrain() {} };
