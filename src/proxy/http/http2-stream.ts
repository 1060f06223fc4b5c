import type { Http2Request, Http2Response } from "../../base/http2/messages.ts";
import type { Bulk, Releasable, Stream, StreamOwner } from "./stream.ts";

/** {@link Stream} over a request of HTTP/2 and its answer, whose bodies are the two directions of a tunnel (RFC 8441). */
export class Http2Stream implements Stream {
  owner: StreamOwner = nobody;
  isClosed = false;
  isBlocked = false;
  wantsBulk = false;
  readonly bulk: Bulk | undefined = undefined;
  readonly #request: Http2Request;
  readonly #response: Http2Response;

  constructor(request: Http2Request, response: Http2Response) {
    this.#request = request;
    this.#response = response;
    request.on("data", (bytes: Buffer) => this.isClosed || this.owner.onBytes(bytes, 0, bytes.length));
    request.pause();
    request.on("end", () => this.isClosed || this.owner.onEnd());
    request.on("close", () => {
      if (this.isClosed) return;
      this.isClosed = true;
      process.nextTick(() => this.owner.onBroken(-104));
    });
    response.on("drain", () => {
      this.isBlocked = false;
      if (!this.isClosed) this.owner.onDrain();
    });
  }
  write(bytes: Buffer, from: number, to: number, _release: Releasable): boolean {
    // Held until it is framed: what was read lies in a buffer that is used again.
    if (!this.isClosed && !this.#response.writableEnded && !this.#response.write(Buffer.from(bytes.subarray(from, to)))) this.isBlocked = true;
    return true;
  }
  pause(): void {
    this.#request.pause();
  }
  resume(): void {
    if (!this.isClosed) this.#request.resume();
  }
  finish(): void {
    if (!this.isClosed) this.#response.end();
  }
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#response.end();
  }
  reset(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#response.destroy();
  }
  detach(): undefined {
    return undefined;
  }
}

const nobody: StreamOwner = { onBytes() {}, onEnd() {}, onBroken() {}, onDrain() {} };
