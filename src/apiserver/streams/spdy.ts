import { Duplex } from "node:stream";
import { relayed } from "../../base/relayed.ts";
import { HeaderReader, type Headers, HeaderWriter } from "./spdy-headers.ts";

/**
 * The server's side of SPDY/3.1 as Kubernetes' clients speak it: streams that the client opens, over any byte
 * transport (a socket after `Upgrade: SPDY/3.1`, or WebSocket messages). Go's implementation has no flow-control
 * windows; what slows a sender down is the transport, which is read only while every stream has room.
 * Source of the frames: draft-mbelshe-httpbis-spdy-00; of what clients do: github.com/moby/spdystream.
 */
const types = { synStream: 1, synReply: 2, rstStream: 3, settings: 4, ping: 6, goAway: 7, headers: 8, windowUpdate: 9 } as const;
const fin = 1;
const statusCodes = { protocolError: 1, invalidStream: 2, refusedStream: 3, cancel: 5 } as const;

/** Control frames are small; data frames may be of any size and are passed on as they come. */
const controlBytesMax = 64 * 1024;
const streamsMax = 1024;
/** How much one stream may hold back before the transport waits for it. */
const bufferBytesMax = 1024 * 1024;
const frameBytes = 32 * 1024;

export class SpdyConnection {
  readonly #transport: Duplex;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #streams = new Map<number, SpdyStream>();
  readonly #headerReader = new HeaderReader();
  readonly #headerWriter = new HeaderWriter();
  #pending: Buffer = Buffer.alloc(0);
  /** The data frame that is being received: to whom, and how much is still to come. */
  #data: { id: number; left: number; fin: boolean } | undefined;
  #lastId = 0;
  #busy = false;
  /** Bytes came since the last look at what is pending. */
  #arrived = false;
  #closed = false;

  /** `onStream` is called for every stream, which is accepted already. */
  constructor(transport: Duplex, onStream: (stream: SpdyStream) => void, onClose: () => void = () => {}) {
    this.#transport = transport;
    this.#onStream = onStream;
    const over = () => {
      if (this.#closed) return;
      this.#closed = true;
      this.#headerReader.close();
      for (const stream of this.#streams.values()) stream.destroy();
      this.#streams.clear();
      onClose();
    };
    transport.on("data", (chunk: Buffer) => void this.#receive(chunk));
    transport.on("drain", () => {
      for (const stream of this.#streams.values()) stream.drained();
    });
    transport.on("end", () => this.close());
    transport.on("error", over);
    transport.on("close", over);
  }

  /** Ends the connection after what is written. */
  close(): void {
    if (!this.#closed && !this.#transport.writableEnded) this.#transport.end(control(types.goAway, 0, uint32s(this.#lastId, 0)));
  }
  destroy(): void {
    this.#transport.destroy();
  }

  async #receive(chunk: Buffer): Promise<void> {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    relayed(chunk.length);
    // Header blocks unpack asynchronously and in order: what arrives meanwhile waits.
    this.#arrived = true;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#arrived) {
        this.#arrived = false;
        while (!this.#closed && (await this.#step()));
      }
    } catch {
      this.#transport.destroy();
    } finally {
      this.#busy = false;
      this.flow();
    }
  }

  /** Takes one frame, or what is there of a data frame; false when more bytes are needed. */
  async #step(): Promise<boolean> {
    const bytes = this.#pending;
    if (this.#data) {
      const piece = bytes.subarray(0, this.#data.left);
      if (piece.length === 0 && this.#data.left > 0) return false;
      this.#pending = bytes.subarray(piece.length);
      this.#data.left -= piece.length;
      const stream = this.#streams.get(this.#data.id);
      if (piece.length > 0) stream?.received(piece);
      if (this.#data.left === 0) {
        if (this.#data.fin) stream?.receivedEnd();
        this.#data = undefined;
      }
      return true;
    }
    if (bytes.length < 8) return false;
    const first = bytes.readUInt32BE(0);
    const flags = bytes[4]!;
    const length = bytes.readUIntBE(5, 3);
    if (first < 0x8000_0000) {
      this.#pending = bytes.subarray(8);
      this.#data = { id: first, left: length, fin: (flags & fin) !== 0 };
      return true;
    }
    if (length > controlBytesMax) throw new Error(`SPDY control frame of ${length} bytes`);
    if (bytes.length < 8 + length) return false;
    this.#pending = bytes.subarray(8 + length);
    if ((first >>> 16) !== 0x8003) throw new Error("not SPDY version 3");
    await this.#control(first & 0xffff, flags, bytes.subarray(8, 8 + length));
    return true;
  }

  async #control(type: number, flags: number, body: Buffer): Promise<void> {
    switch (type) {
      case types.synStream: {
        const id = body.readUInt32BE(0) & 0x7fff_ffff;
        const headers = await this.#headerReader.read(body.subarray(10));
        if (this.#closed) return;
        if (id <= this.#lastId || id % 2 === 0) return this.#reset(id, statusCodes.protocolError);
        if (this.#streams.size >= streamsMax) return this.#reset(id, statusCodes.refusedStream);
        this.#lastId = id;
        const stream = new SpdyStream(this, id, headers);
        this.#streams.set(id, stream);
        this.write(control(types.synReply, 0, Buffer.concat([uint32s(id), this.#headerWriter.write()])));
        this.#onStream(stream);
        if (flags & fin) stream.receivedEnd();
        return;
      }
      case types.headers:
        // Nobody sends them, but they are part of the one compressed stream.
        await this.#headerReader.read(body.subarray(4));
        return;
      case types.rstStream:
        this.#streams.get(body.readUInt32BE(0) & 0x7fff_ffff)?.receivedReset();
        return;
      case types.ping:
        this.write(control(types.ping, 0, body.subarray(0, 4)));
        return;
      case types.goAway:
        this.close();
        return;
      default: // SETTINGS, WINDOW_UPDATE and unknown ones say nothing that we act on
    }
  }

  /** Reads on while every stream has room. */
  flow(): void {
    if (this.#closed) return;
    const full = [...this.#streams.values()].some((stream) => stream.readableLength > bufferBytesMax);
    if (full || this.#busy) this.#transport.pause();
    else this.#transport.resume();
  }
  /** False: the transport is full, and `drained` will be called. */
  write(frame: Buffer): boolean {
    return this.#closed || this.#transport.writableEnded || this.#transport.write(frame);
  }
  writeData(id: number, chunk: Uint8Array, end: boolean): boolean {
    const head = Buffer.alloc(8);
    head.writeUInt32BE(id, 0);
    head[4] = end ? fin : 0;
    head.writeUIntBE(chunk.length, 5, 3);
    relayed(chunk.length);
    return this.write(Buffer.concat([head, chunk]));
  }
  /** The stream is done on both sides, or broken. */
  forget(id: number, broken: boolean): void {
    if (!this.#streams.delete(id)) return;
    if (broken) this.#reset(id, statusCodes.cancel);
    this.flow();
  }
  #reset(id: number, code: number): void {
    this.write(control(types.rstStream, 0, uint32s(id, code)));
  }
}

/** A stream: what the client sends is read, what is written goes to it; ending one side leaves the other open. */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: Headers;
  readonly #connection: SpdyConnection;
  #waiting: (() => void) | undefined;
  #wasReset = false;

  constructor(connection: SpdyConnection, id: number, headers: Headers) {
    super({ allowHalfOpen: true });
    this.#connection = connection;
    this.id = id;
    this.headers = headers;
    this.on("error", () => {});
    this.once("close", () => connection.forget(id, !this.#wasReset && !(this.readableEnded && this.writableFinished)));
  }

  override _read(): void {
    this.#connection.flow();
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    let room = true;
    for (let at = 0; at < chunk.length; at += frameBytes) room = this.#connection.writeData(this.id, chunk.subarray(at, at + frameBytes), false);
    if (room) done();
    else this.#waiting = done;
  }
  override _final(done: () => void): void {
    this.#connection.writeData(this.id, Buffer.alloc(0), true);
    done();
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.drained();
    done(error);
  }

  received(chunk: Buffer): void {
    if (!this.destroyed && !this.readableEnded) this.push(chunk);
  }
  receivedEnd(): void {
    if (!this.destroyed) this.push(null);
  }
  receivedReset(): void {
    this.#wasReset = true;
    this.destroy();
  }
  drained(): void {
    const done = this.#waiting;
    this.#waiting = undefined;
    done?.();
  }
}

function control(type: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8003, 0);
  head.writeUInt16BE(type, 2);
  head[4] = flags;
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}

function uint32s(...numbers: number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length);
  for (const [index, number] of numbers.entries()) bytes.writeUInt32BE(number, index * 4);
  return bytes;
}
