import { headBytes, writeHead } from "./frames.ts";

/** A turn's answers mostly fit in the small one; what a large one holds goes out at once. */
const sizes = [16 * 1024, 352 * 1024] as const;
const keptMax = 16;
/** By size: buffers that have been sent, for all connections. */
const kept: Buffer[][] = sizes.map(() => []);

function acquire(bytes: number): Buffer {
  const which = sizes.findIndex((size) => size >= bytes);
  // Twice as much as is needed, so that what grows piece by piece is not copied at each of them.
  if (which < 0) return Buffer.allocUnsafeSlow(bytes * 2);
  return kept[which]!.pop() ?? Buffer.allocUnsafeSlow(sizes[which]!);
}

/** To be called when nobody looks at it any more. */
export function release(buffer: Buffer): void {
  const which = sizes.indexOf(buffer.length as (typeof sizes)[number]);
  if (which >= 0 && kept[which]!.length < keptMax) kept[which]!.push(buffer);
}

/** What a connection is about to send, in one piece of memory that is used again and again: frames make no garbage. */
export class Output {
  #buffer: Buffer | undefined;
  #at = 0;

  get size(): number {
    return this.#at;
  }

  head(length: number, type: number, flag: number, stream: number): void {
    writeHead(this.#room(headBytes), this.#at, length, type, flag, stream);
    this.#at += headBytes;
  }
  /** `length` of these from `start` on. */
  bytes(bytes: Uint8Array, start = 0, length = bytes.length): void {
    this.#room(length).set(start === 0 && length === bytes.length ? bytes : bytes.subarray(start, start + length), this.#at);
    this.#at += length;
  }
  /** One character a byte. */
  text(text: string, start = 0, length = text.length): void {
    this.#room(length).write(length === text.length ? text : text.slice(start, start + length), this.#at, "latin1");
    this.#at += length;
  }

  /** All of it, and the buffer in which it lies. */
  take(): { bytes: Buffer; buffer: Buffer } | undefined {
    if (!this.#buffer || this.#at === 0) return undefined;
    const taken = { bytes: this.#buffer.subarray(0, this.#at), buffer: this.#buffer };
    this.#buffer = undefined;
    this.#at = 0;
    return taken;
  }

  #room(length: number): Buffer {
    const wanted = this.#at + length;
    if (this.#buffer && wanted <= this.#buffer.length) return this.#buffer;
    const larger = acquire(wanted);
    if (this.#buffer) {
      larger.set(this.#buffer.subarray(0, this.#at));
      release(this.#buffer);
    }
    return (this.#buffer = larger);
  }
}
