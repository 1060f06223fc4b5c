import { endOfFile, lastReadResult, lastWriteIsPending, ShutdownWrap, WriteWrap, type TcpHandle, type WriteRequest } from "../base/handles.ts";

/**
 * Joins two connected handles: bytes both ways, each direction closed on its own, one write per read.
 *
 *   client ──read into its buffer──▶ write ──▶ endpoint        a write that the kernel does not take at once
 *          ◀── write ◀──read into its buffer──                  stops the reading until it is done: back-pressure
 *
 * It works on raw handles: net.Socket spends half as much again per connection (see `bench/pump.ts`). Each
 * direction has a buffer of its own, because a pending write keeps pointing into it; it starts small, grows
 * when reads fill it, shrinks when they no longer do.
 */
const smallBytes = 8 * 1024;
const largeBytes = 256 * 1024;
/** Reads below a quarter of the small buffer in a row after which a large one goes back. */
const shrinkAfterReads = 32;

class BufferPool {
  readonly #free: Buffer[] = [];
  readonly #bytes: number;
  readonly #keepMax: number;
  #inUse = 0;
  readonly #inUseMax: number;

  constructor(bytes: number, keepMax: number, inUseMax: number) {
    this.#bytes = bytes;
    this.#keepMax = keepMax;
    this.#inUseMax = inUseMax;
  }
  take(): Buffer | undefined {
    if (this.#inUse >= this.#inUseMax) return undefined;
    this.#inUse++;
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#bytes);
  }
  give(buffer: Buffer): void {
    this.#inUse--;
    if (this.#free.length < this.#keepMax) this.#free.push(buffer);
  }
}
const small = new BufferPool(smallBytes, 1024, Infinity);
/** 16 MB of large buffers at most; further busy connections stay with small ones, which is slower and as correct. */
const large = new BufferPool(largeBytes, 8, 64);

class Side {
  readonly handle: TcpHandle;
  readonly pump: Pump;
  other!: Side;
  buffer: Buffer;
  request: WriteRequest | undefined;
  /** This side has sent its FIN. */
  ended = false;
  /** Our FIN to this side is on its way or done. */
  finished = false;
  /** A write to this side waits for the kernel. */
  writing = false;
  smallReads = 0;

  constructor(pump: Pump, handle: TcpHandle) {
    this.pump = pump;
    this.handle = handle;
    this.buffer = small.take()!;
    handle.useUserBuffer(this.buffer);
    handle.onread = () => this.onread();
  }

  /** What it returns is the buffer for the next read; undefined keeps the present one. */
  onread(): Buffer | undefined {
    if (this.pump.closed) return undefined;
    const bytes = lastReadResult();
    if (bytes > 0) {
      this.other.write(bytes === this.buffer.length ? this.buffer : this.buffer.subarray(0, bytes));
      return this.pump.closed || this.other.writing ? undefined : this.#resize(bytes);
    }
    if (bytes === endOfFile) {
      this.ended = true;
      if (!this.other.writing) this.other.finish();
    } else if (bytes < 0) {
      this.pump.close(true);
    }
    return undefined;
  }

  write(bytes: Buffer): void {
    const request = (this.request ??= this.#newRequest());
    request.buffer = bytes;
    const status = this.handle.writeBuffer(request, bytes);
    if (status !== 0) return this.pump.close(true);
    if (!lastWriteIsPending()) return;
    // The kernel keeps pointing into the buffer and into the request: neither is used again until it is done.
    this.writing = true;
    this.request = undefined;
    this.other.handle.readStop();
  }

  #newRequest(): WriteRequest {
    const request = new WriteWrap();
    request.handle = this.handle;
    request.oncomplete = (status) => {
      this.writing = false;
      if (this.pump.closed) return;
      if (status !== 0) return this.pump.close(true);
      if (this.other.ended) this.finish();
      else this.other.handle.readStart();
    };
    return request;
  }

  /** Everything for this side is written: pass the end on. */
  finish(): void {
    if (this.finished) return;
    this.finished = true;
    // The second end closes both handles, which sends the FIN as well: one system call and one turn less.
    if (this.ended && !this.other.writing) return this.pump.close(false);
    const request = new ShutdownWrap();
    request.oncomplete = () => this.pump.closeIfDone();
    if (this.handle.shutdown(request) !== 0) this.pump.closeIfDone();
  }

  #resize(bytes: number): Buffer | undefined {
    const isSmall = this.buffer.length === smallBytes;
    if (isSmall) {
      if (bytes < smallBytes) return undefined;
    } else if (bytes >= smallBytes / 4) {
      this.smallReads = 0;
      return undefined;
    } else if (++this.smallReads < shrinkAfterReads) {
      return undefined;
    }
    const next = isSmall ? large.take() : small.take();
    if (!next) return undefined;
    this.release();
    this.smallReads = 0;
    this.buffer = next;
    return next;
  }

  release(): void {
    (this.buffer.length === smallBytes ? small : large).give(this.buffer);
  }
}

export class Pump {
  readonly #client: Side;
  readonly #endpoint: Side;
  readonly #ended: () => void;
  closed = false;
  #keepsAlive = false;

  /** Takes over both handles; `ended` is called when both are closed. */
  constructor(client: TcpHandle, endpoint: TcpHandle, ended: () => void) {
    this.#client = new Side(this, client);
    this.#endpoint = new Side(this, endpoint);
    this.#client.other = this.#endpoint;
    this.#endpoint.other = this.#client;
    this.#ended = ended;
  }

  start(): void {
    if (this.#client.handle.readStart() !== 0 || this.#endpoint.handle.readStart() !== 0) this.close(true);
  }

  closeIfDone(): void {
    if (this.#client.ended && this.#endpoint.ended && this.#client.finished && this.#endpoint.finished) this.close(false);
  }

  /** With reset, both peers see RST, so that neither takes a broken stream for a whole one. */
  close(reset: boolean): void {
    if (this.closed) return;
    this.closed = true;
    for (const side of [this.#client, this.#endpoint]) {
      if (!reset || side.handle.reset() !== 0) side.handle.close();
      side.release();
    }
    this.#ended();
  }

  /** Finds peers that vanished without a word. For connections that have lasted; costs four system calls a side. */
  keepAlive(seconds: number): void {
    if (this.#keepsAlive) return;
    this.#keepsAlive = true;
    this.#client.handle.setKeepAlive(true, seconds);
    this.#endpoint.handle.setKeepAlive(true, seconds);
  }
}

/** Refuses what cannot be served: the peer sees RST at once instead of an empty answer. */
export function resetHandle(handle: TcpHandle): void {
  if (handle.reset() !== 0) handle.close();
}
