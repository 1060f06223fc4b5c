import type { TcpHandle } from "../../base/handles.ts";
import type { Endpoint } from "../../policy/upstream.ts";
import type { Asked, Asker, Trailers } from "./asker.ts";
import { ChunkReader } from "./chunks.ts";
import { composeRequest, framing, type Framing, type RequestLines } from "./compose.ts";
import { complete, Head, incomplete } from "./head.ts";
import { writeContent, writeLastChunk, type Output } from "./output.ts";
import type { Sweeper } from "./sweeper.ts";
import { HandleStream, type Bulk, type Stream, type StreamOwner } from "./stream.ts";

export interface UpstreamOwner {
  readonly sweeper: Sweeper;
  readonly output: Output;
  readonly headBytesMax: number;
  /** May be used again. */
  idle(connection: UpstreamConnection): void;
  closed(connection: UpstreamConnection): void;
}

/** Bodies longer than this are read into a large buffer of their own. */
export const bulkFrom = 48 * 1024;

/** Complete heads are used up within the callback, so that one parser serves all; a head that is split keeps its own. */
let spare: Head | undefined;

/** One connection to an endpoint: asked by one request at a time, kept for the next when nothing of the last is left over. */
export class UpstreamConnection implements StreamOwner, Asked {
  readonly endpoint: Endpoint;
  readonly stream: Stream;
  /** What it is kept by. */
  readonly key: string;
  readonly since: number;
  readonly #owner: UpstreamOwner;
  asker: Asker | undefined;
  served = 0;
  readonly mayRefuse = false;
  /** Milliseconds that the endpoint says it keeps it. */
  keepMs = Infinity;
  deadline = Infinity;
  /** The request's body is chunked. */
  #chunked = false;
  #head: Head | undefined;
  #framing: Framing = framing.none;
  #left = 0;
  #chunks: ChunkReader | undefined;
  #inBody = false;
  #reusable = true;
  #gone = false;

  constructor(handle: TcpHandle | Stream, endpoint: Endpoint, owner: UpstreamOwner, key = endpoint.key) {
    this.key = key;
    this.endpoint = endpoint;
    this.#owner = owner;
    this.since = owner.sweeper.now;
    if ("write" in handle) {
      this.stream = handle;
      handle.owner = this;
    } else {
      this.stream = new HandleStream(handle, this);
    }
    owner.sweeper.add(this);
    this.stream.resume();
  }

  ask(asker: Asker, head: Head, lines: RequestLines): void {
    this.asker = asker;
    this.#chunked = lines.framing === framing.chunked;
    const { output } = this.#owner;
    output.to(this.stream);
    composeRequest(output, head, lines);
  }
  askCopy(asker: Asker, copy: Buffer, bodyFraming: Framing): void {
    this.asker = asker;
    this.#chunked = bodyFraming === framing.chunked;
    const { output } = this.#owner;
    output.to(this.stream);
    output.copy(copy, 0, copy.length);
  }
  body(bytes: Buffer, from: number, to: number, bulk: Bulk | undefined): void {
    writeContent(this.#owner.output, this.stream, bytes, from, to, bulk, this.#chunked);
  }
  /** What has a length cannot have trailers: they end here. */
  bodyEnd(trailers: Trailers): void {
    if (this.#chunked) writeLastChunk(this.#owner.output, this.stream, trailers);
  }
  get isBlocked(): boolean {
    return this.stream.isBlocked;
  }
  pause(): void {
    this.stream.pause();
  }
  resume(): void {
    this.stream.resume();
  }

  /** The connection is kept past its request only if both sides are at a message's end. */
  forbidReuse(): void {
    this.#reusable = false;
  }
  finish(): void {
    this.forbidReuse();
    this.stream.finish();
  }

  onBytes(bytes: Buffer, from: number, to: number): void {
    if (!this.asker) return this.close();
    if (!this.#inBody) from = this.#readHead(bytes, from, to);
    const isEmpty = this.#framing === framing.none || (this.#framing === framing.length && this.#left === 0);
    if (this.#inBody && this.asker && (from < to || isEmpty)) this.#readBody(bytes, from, to);
    this.#owner.output.flush();
    this.asker?.flushed();
  }

  /** Returns where the body begins; `to` when there is more to come, or nobody to give it to. */
  #readHead(bytes: Buffer, from: number, to: number): number {
    while (from < to && this.asker && !this.#inBody) {
      let head = this.#head;
      if (head === undefined) {
        head = spare ?? new Head(false, this.#owner.headBytesMax);
        spare = undefined;
        head.reset();
      }
      const result = head.feed(bytes, from, to);
      if (result === incomplete) {
        this.#head = head;
        return to;
      }
      if (result !== complete) {
        this.#fail(head.error, true);
        return to;
      }
      this.#head = undefined;
      head.dropNominated();
      from = this.#begin(head, bytes, head.next, to);
      spare = head;
    }
    return from;
  }

  /** A whole head: what follows it, and who is told. */
  #begin(head: Head, bytes: Buffer, from: number, to: number): number {
    const asker = this.asker!;
    const { status } = head;
    if (status === 101) {
      if (!asker.isUpgrade || head.upgradeField < 0) this.#fail("it switched protocols without being asked to", true);
      else {
        this.asker = undefined;
        asker.switched(head, bytes, from, to);
      }
      return to;
    }
    if (status < 200) {
      asker.interim(head);
      return from;
    }
    const bare = asker.isHead || status === 204 || status === 304;
    if (head.chunked && head.minorVersion === 0) {
      this.#fail("a chunked answer in HTTP/1.0", true);
      return to;
    }
    this.#framing = bare ? framing.none : head.chunked ? framing.chunked : head.contentLength >= 0 ? framing.length : framing.close;
    this.#left = this.#framing === framing.length ? head.contentLength : 0;
    this.#chunks = this.#framing === framing.chunked ? new ChunkReader() : undefined;
    if (head.connectionClose || this.#framing === framing.close || (head.minorVersion === 0 && !head.connectionKeepAlive)) this.#reusable = false;
    this.#inBody = true;
    if (head.keepAliveField >= 0) {
      const seconds = /(?:^|[,\s])timeout=(\d{1,6})/i.exec(head.valueAt(head.keepAliveField));
      if (seconds) this.keepMs = Number(seconds[1]) * 1000;
    }
    if (this.#left > bulkFrom) this.stream.wantsBulk = true;
    asker.onAnswer(head, this.#framing, head.contentLength);
    return from;
  }

  #readBody(bytes: Buffer, from: number, to: number): void {
    const asker = this.asker!;
    const { bulk } = this.stream;
    switch (this.#framing) {
      case framing.length: {
        const length = Math.min(this.#left, to - from);
        this.#left -= length;
        if (this.#left === 0) this.stream.wantsBulk = false;
        if (length > 0) asker.content(bytes, from, from + length, bulk);
        if (this.#left === 0) this.#done([], from + length < to);
        return;
      }
      case framing.chunked: {
        const chunks = this.#chunks!;
        const used = chunks.read(bytes, from, to);
        if (chunks.error !== undefined) return this.#fail(chunks.error, true);
        if (chunks.dataEnd - chunks.dataStart > bulkFrom) this.stream.wantsBulk = true;
        if (chunks.done) this.stream.wantsBulk = false;
        // What is left over behind the end shares the buffer's tail: then the piece has no room behind it.
        if (chunks.dataEnd > chunks.dataStart) asker.content(bytes, chunks.dataStart, chunks.dataEnd, used === to ? bulk : undefined);
        if (chunks.done && this.asker) this.#done(chunks.trailers, used < to);
        return;
      }
      case framing.close:
        if (to - from > bulkFrom) this.stream.wantsBulk = true;
        return asker.content(bytes, from, to, bulk);
      case framing.none:
        return this.#done([], from < to);
    }
  }

  #done(trailers: readonly [string, string][], surplus: boolean): void {
    const asker = this.asker;
    if (!asker) return;
    this.asker = undefined;
    this.#inBody = false;
    this.served++;
    this.stream.wantsBulk = false;
    // What came too early cannot be an answer to a question that was not asked yet.
    if (surplus || !this.#reusable || this.stream.isBlocked) {
      this.close();
    } else {
      this.#chunks = undefined;
      this.stream.resume();
      this.#owner.idle(this);
    }
    asker.ended(trailers);
  }

  onEnd(): void {
    if (this.#inBody && this.#framing === framing.close && this.asker) {
      this.#done([], false);
      this.#owner.output.flush();
      return;
    }
    this.#fail(this.#inBody ? "it ended within its answer" : "it was closed before an answer", false);
  }
  onBroken(): void {
    this.#fail(this.#inBody ? "it broke within its answer" : "it broke before an answer", false);
  }
  onDrain(): void {
    this.asker?.upstreamDrained();
  }
  expire(): void {
    if (!this.asker) this.close();
  }

  #fail(reason: string, protocol: boolean): void {
    const { asker } = this;
    this.asker = undefined;
    this.close();
    asker?.failed(reason, protocol);
    this.#owner.output.flush();
  }

  /** Gives its stream away, for a tunnel. */
  leave(): Stream {
    this.#gone = true;
    this.#owner.sweeper.remove(this);
    this.#owner.closed(this);
    return this.stream;
  }

  /** With a request running it is told to nobody: the asker has given up. */
  close(): void {
    this.asker = undefined;
    if (this.#gone) return;
    this.#gone = true;
    this.#owner.sweeper.remove(this);
    this.stream.close();
    this.#owner.closed(this);
  }
}
