import type { Bulk, Releasable, Stream } from "./stream.ts";

/**
 * What is to be written in one turn, put together in one buffer: head and body leave in one system call. The engine has
 * one; it is filled and flushed within a callback, for one stream at a time.
 */
const outputBytes = 128 * 1024;
const buffersKept = 8;
const free: OutputBuffer[] = [];

/** Messages are often of the same length: a view of it is made once. */
const viewsMax = 2048;

class OutputBuffer implements Releasable {
  readonly bytes = Buffer.allocUnsafeSlow(outputBytes);
  readonly #views = Array.from<Buffer | undefined>({ length: viewsMax });
  view(from: number, to: number): Buffer {
    if (from !== 0 || to >= viewsMax) return this.bytes.subarray(from, to);
    return (this.#views[to] ??= this.bytes.subarray(0, to));
  }
  release(): void {
    if (free.length < buffersKept) free.push(this);
  }
}

/** Where output goes. */
export type Sink = Pick<Stream, "write">;

export class Output {
  #buffer = new OutputBuffer();
  bytes: Buffer = this.#buffer.bytes;
  /** Where the next byte goes. */
  at = 0;
  #stream: Sink | undefined;

  /** From now on for this stream; what was there for another one is sent first. */
  to(stream: Sink): void {
    if (this.#stream === stream) return;
    this.flush();
    this.#stream = stream;
  }
  get free(): number {
    return outputBytes - this.at;
  }

  flush(): void {
    const length = this.at;
    if (length === 0) return;
    this.at = 0;
    const buffer = this.#buffer;
    if (this.#stream!.write(buffer.bytes, 0, length, buffer)) return;
    this.#buffer = free.pop() ?? new OutputBuffer();
    this.bytes = this.#buffer.bytes;
  }

  /** Makes room for as much; more than a quarter of the buffer must be cut by the caller. */
  need(length: number): void {
    if (this.free < length) this.flush();
  }

  text(text: string): void {
    const { length } = text;
    this.need(length);
    if (length > 64) {
      this.bytes.latin1Write(text, this.at, length);
    } else {
      const { bytes, at } = this;
      for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i);
    }
    this.at += length;
  }

  /** Sends bytes that never change from where they lie, after what was written before. */
  direct(bytes: Buffer): void {
    this.flush();
    this.#stream!.write(bytes, 0, bytes.length, { view: (from, to) => (from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to)), release() {} });
  }

  copy(source: Buffer, from: number, to: number): void {
    while (from < to) {
      if (this.free === 0) this.flush();
      const length = Math.min(to - from, this.free);
      if (length < 48) {
        const { bytes, at } = this;
        for (let i = 0; i < length; i++) bytes[at + i] = source[from + i]!;
      } else {
        source.copy(this.bytes, this.at, from, from + length);
      }
      this.at += length;
      from += length;
    }
  }
}

/** Pieces at least this long are written from where they lie, when that is a buffer of their own. */
const directFrom = 16 * 1024;

/** A piece of a body, framed, for this stream. */
export function writeContent(out: Output, stream: Sink, bytes: Buffer, from: number, to: number, bulk: Bulk | undefined, chunked: boolean): void {
  out.to(stream);
  if (bulk === undefined || bulk.bytes !== bytes || to - from < directFrom) {
    if (chunked) out.text(`${(to - from).toString(16)}\r\n`);
    out.copy(bytes, from, to);
    if (chunked) out.text("\r\n");
    return;
  }
  out.flush();
  if (chunked) {
    const size = `${(to - from).toString(16)}\r\n`;
    from -= size.length;
    bytes.latin1Write(size, from, size.length);
    bytes[to++] = 13;
    bytes[to++] = 10;
  }
  bulk.uses++;
  if (stream.write(bytes, from, to, bulk)) bulk.uses--;
}

/** The end of a chunked body. */
export function writeLastChunk(out: Output, stream: Sink, trailers: readonly (readonly [name: string, value: string])[]): void {
  out.to(stream);
  if (trailers.length === 0) return out.text("0\r\n\r\n");
  out.text("0\r\n");
  for (const [name, value] of trailers) out.text(`${name}: ${value}\r\n`);
  out.text("\r\n");
}
