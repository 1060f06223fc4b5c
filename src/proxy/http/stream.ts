import { peerOf } from "../tcp-service.ts";
import { endOfFile, lastReadResult, lastWriteIsPending, ShutdownWrap, WriteWrap, type TcpHandle, type WriteRequest } from "../../base/handles.ts";

/**
 * A connected byte stream as the engine uses it, over a raw handle or over TLS, with buffers that cost a connection
 * nothing while it is silent.
 *
 * All reads go into one shared buffer, which is used up inside the callback. What is written goes through a buffer of the
 * engine's ({@link Output}), which is free again at once unless the kernel did not take everything. Only a long body gets a
 * large buffer of its own ({@link Bulk}), and is written straight from it.
 */
export interface Stream {
  owner: StreamOwner;
  readonly isClosed: boolean;
  /** A write waits for the kernel: do not read more for it; `onDrain` will follow. */
  readonly isBlocked: boolean;
  /** Reads should go into a large buffer of its own; takes effect with the next read. */
  wantsBulk: boolean;
  /** The buffer of the present read, when it is a large one. */
  readonly bulk: Bulk | undefined;
  /** Sends bytes[from, to), which are the releasable's. False: the buffer is in use until `release` is called. */
  write(bytes: Buffer, from: number, to: number, release: Releasable): boolean;
  pause(): void;
  resume(): void;
  /** Nothing more will be written; what was, still arrives. */
  finish(): void;
  close(): void;
  /** The peer sees a break, not an end. */
  reset(): void;
  /** Who is at its other end; absent: nobody knows. */
  peer?(): Peer;
  /** Gives up the raw handle, unread and open; undefined when there is none. */
  detach(): TcpHandle | undefined;
}

export interface Peer {
  address?: string;
  port?: number;
}
/** Of a client with this address; 0 where somebody else than its connection has said who it is. */
export function portAt(stream: Pick<Stream, "peer">, address: string): number {
  const peer = stream.peer?.();
  return peer?.address === address ? (peer.port ?? 0) : 0;
}

export interface StreamOwner {
  /** bytes[from, to) are valid during the call only, and may be changed. `room` bytes before and behind are free to use. */
  onBytes(bytes: Buffer, from: number, to: number): void;
  onEnd(): void;
  /** Never called from within a call to the stream. */
  onBroken(code: number): void;
  onDrain(): void;
}

/** Of a stream that is given away, or not yet. */
export const nobody: StreamOwner = { onBytes() {}, onEnd() {}, onBroken() {}, onDrain() {} };

export interface Releasable {
  /** A part of its bytes. */
  view(from: number, to: number): Buffer;
  release(): void;
}

/** Free bytes before and behind what was read, for the frame of a chunk. */
export const room = 16;
const sharedBytes = 64 * 1024;
const bulkBytes = 256 * 1024;
const bulksMax = 64;
const bulksKept = 8;

export const shared = Buffer.allocUnsafeSlow(room + sharedBytes + room);
export const sharedRead = shared.subarray(room, room + sharedBytes);
export const readBytesMax = bulkBytes;

const freeBulks: Bulk[] = [];
let bulksInUse = 0;

/** A large buffer, in use as long as it is read into or written from. */
export class Bulk implements Releasable {
  readonly bytes = Buffer.allocUnsafeSlow(room + bulkBytes + room);
  readonly forRead = this.bytes.subarray(room, room + bulkBytes);
  uses = 0;

  view(from: number, to: number): Buffer {
    return this.bytes.subarray(from, to);
  }
  static take(): Bulk | undefined {
    if (bulksInUse >= bulksMax) return undefined;
    bulksInUse++;
    const bulk = freeBulks.pop() ?? new Bulk();
    bulk.uses = 1;
    return bulk;
  }
  release(): void {
    if (--this.uses > 0) return;
    bulksInUse--;
    if (freeBulks.length < bulksKept) freeBulks.push(this);
  }
}

interface Write extends WriteRequest {
  stream: HandleStream | undefined;
  release: Releasable | undefined;
}
function newWrite(): Write {
  const write = new WriteWrap() as Write;
  write.stream = undefined;
  write.release = undefined;
  write.oncomplete = onWritten;
  return write;
}
function onWritten(this: unknown, status: number): void {
  const write = this as Write;
  write.release!.release();
  write.stream!.written(status);
}
/** Of the writes that are done at once, which is nearly all: one request serves every stream. */
let idleWrite = newWrite();

export class HandleStream implements Stream {
  owner: StreamOwner;
  readonly #handle: TcpHandle;
  isClosed = false;
  wantsBulk = false;
  bulk: Bulk | undefined;
  #pendingWrites = 0;
  #paused = true;
  #broken = false;
  #writes = 0;

  constructor(handle: TcpHandle, owner: StreamOwner) {
    this.#handle = handle;
    this.owner = owner;
    handle.useUserBuffer(sharedRead);
    handle.onread = () => this.#read();
  }

  get isBlocked(): boolean {
    return this.#pendingWrites > 0;
  }

  peer(): Peer {
    return peerOf(this.#handle);
  }
  #read(): Buffer | undefined {
    if (this.isClosed) return undefined;
    const result = lastReadResult();
    if (result > 0) this.owner.onBytes(this.bulk === undefined ? shared : this.bulk.bytes, room, room + result);
    else if (result === endOfFile) this.owner.onEnd();
    else if (result < 0) this.#break(result);
    if (this.wantsBulk === (this.bulk !== undefined) || this.isClosed) return undefined;
    if (this.wantsBulk) {
      this.bulk = Bulk.take();
      return this.bulk?.forRead;
    }
    this.bulk!.release();
    this.bulk = undefined;
    return sharedRead;
  }

  write(_bytes: Buffer, from: number, to: number, release: Releasable): boolean {
    if (this.isClosed || this.#broken) return true;
    // The first write never waits for an acknowledgement; short connections, the most of all, have no second.
    if (++this.#writes === 2) this.#handle.setNoDelay(true);
    const write = idleWrite;
    const piece = release.view(from, to);
    const status = this.#handle.writeBuffer(write, piece);
    if (status !== 0) {
      this.#broken = true;
      process.nextTick(() => this.#break(status));
      return true;
    }
    if (!lastWriteIsPending()) return true;
    // The kernel keeps pointing into the buffer and the request until it is done.
    idleWrite = newWrite();
    write.stream = this;
    write.handle = this.#handle;
    write.buffer = piece;
    write.release = release;
    this.#pendingWrites++;
    return false;
  }

  written(status: number): void {
    this.#pendingWrites--;
    if (this.isClosed) return;
    if (status !== 0) this.#break(status);
    else if (this.#pendingWrites === 0) this.owner.onDrain();
  }

  #break(code: number): void {
    if (this.isClosed) return;
    this.close();
    this.owner.onBroken(code);
  }

  pause(): void {
    if (this.#paused || this.isClosed) return;
    this.#paused = true;
    this.#handle.readStop();
  }
  resume(): void {
    if (!this.#paused || this.isClosed) return;
    this.#paused = false;
    this.#handle.readStart();
  }
  finish(): void {
    if (this.isClosed) return;
    const request = new ShutdownWrap();
    request.oncomplete = () => {};
    this.#handle.shutdown(request);
  }
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#handle.close();
    this.#releaseBulk();
  }
  reset(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.#handle.reset() !== 0) this.#handle.close();
    this.#releaseBulk();
  }
  /** The kernel may still read into it until the handle is closed, a turn later. */
  #releaseBulk(): void {
    const { bulk } = this;
    this.bulk = undefined;
    if (bulk) setImmediate(() => bulk.release());
  }
  detach(): TcpHandle | undefined {
    if (this.isClosed || this.isBlocked) return undefined;
    this.pause();
    this.isClosed = true;
    this.#releaseBulk();
    return this.#handle;
  }
}
