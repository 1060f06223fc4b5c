import { Duplex } from "node:stream";
import type { Peer, Releasable, Stream, StreamOwner } from "./stream.ts";

/** {@link Stream} as a Node stream, for who speaks another protocol on it: the opposite of `DuplexStream`. */
export class StreamSocket extends Duplex implements StreamOwner {
  readonly #stream: Stream;
  /** Of the piece that the kernel has not taken yet. */
  #written: ((error?: Error | null) => void) | undefined;

  constructor(stream: Stream, first: Buffer) {
    super({ allowHalfOpen: true, readableHighWaterMark: 64 * 1024 });
    this.#stream = stream;
    stream.owner = this;
    stream.pause();
    this.push(first);
  }
  /** As a socket has it; the engine has done so. */
  setNoDelay(): this {
    return this;
  }

  peer(): Peer {
    return this.#stream.peer?.() ?? {};
  }
  onBytes(bytes: Buffer, from: number, to: number): void {
    // What was read lies in a buffer that is used again.
    if (!this.push(Buffer.from(bytes.subarray(from, to)))) this.#stream.pause();
  }
  onEnd(): void {
    this.push(null);
  }
  onBroken(): void {
    this.destroy();
  }
  onDrain(): void {
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }

  override _read(): void {
    this.#stream.resume();
  }
  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const stream = this.#stream;
    if (stream.isClosed) return done(new Error("the connection is closed"));
    if (stream.write(chunk, 0, chunk.length, new Written(chunk))) done();
    else this.#written = done;
  }
  override _final(done: () => void): void {
    this.#stream.finish();
    done();
  }
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (error) this.#stream.reset();
    else this.#stream.close();
    const written = this.#written;
    this.#written = undefined;
    written?.(error ?? new Error("the connection is closed"));
    done(error);
  }
}

/** Bytes that nobody uses again. */
class Written implements Releasable {
  readonly #bytes: Buffer;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  view(from: number, to: number): Buffer {
    return this.#bytes.subarray(from, to);
  }
  release(): void {}
}
