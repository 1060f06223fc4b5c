import { endOfFile, lastReadResult, ShutdownWrap, WriteWrap, type TcpHandle, type TlsHandle, type WriteRequest } from "../../base/handles.ts";
import { peerOf } from "../tcp-service.ts";
import { nobody, type Peer, type Releasable, room, shared, sharedRead, type Stream, type StreamOwner } from "./stream.ts";
import { Sweeper } from "./sweeper.ts";

/** What was written before a close may take so long to leave. */
const closeMs = 5_000;
/** Larger pieces are not copied while they wait: they stay where they lie, which is in use until then. */
const copiedMax = 16 * 1024;
/** More than this on its way: do not read more for it. */
const blockedFrom = 128 * 1024;
/** Small pieces that wait leave in one record. */
const recordMax = 16 * 1024;

/** Deadlines of handshakes and of closes: not an engine's, since neither belongs to a request. */
export const tlsSweeper = new Sweeper();

interface Waiting {
  bytes: Buffer;
  release: Releasable | undefined;
}
interface Write extends WriteRequest {
  stream: TlsStream;
}
function onWritten(this: unknown, status: number): void {
  (this as Write).stream.written(status);
}

const noBytes = Buffer.alloc(0);

/**
 * What OpenSSL tried in vain stays in a queue of errors, and the next read reports it as its own: a client's certificate that names
 * an authority which has not signed it is no error of a connection that may go on without one. Such an error is not OpenSSL's
 * protocol's; what fails a second time is broken. `broken` hears of all others.
 */
export function onTlsError(tls: TlsHandle, broken: (error: Error) => void, isGone: () => boolean): void {
  let mayBeLeftover = true;
  tls.onerror = (error) => {
    // Before a cipher is chosen OpenSSL must not be asked what it makes of a certificate: it crashes.
    if (!mayBeLeftover || !("library" in error) || error.library === "SSL routines" || !tls.hasPeerCertificate() || !tls.verifyError()) return broken(error);
    mayBeLeftover = false;
    // What came with it has not been read.
    process.nextTick(() => isGone() || tls.receive(noBytes));
  };
}

/**
 * {@link Stream} over OpenSSL's own handle, without Node's sockets and streams between: what is decrypted comes into the buffer that
 * all connections share, and what is written is encrypted from where it lies.
 */
export class TlsStream implements Stream {
  owner: StreamOwner = nobody;
  /** Its client has chosen HTTP/2. */
  readonly isHttp2: boolean;
  readonly #tls: TlsHandle;
  readonly #tcp: TcpHandle;
  isClosed = false;
  wantsBulk = false;
  readonly bulk = undefined;
  /** OpenSSL takes one write at a time; the rest waits here. */
  #isWriting = false;
  readonly #queue: Waiting[] = [];
  #unsentBytes = 0;
  #wasBlocked = false;
  #finishing = false;
  #ended = false;
  #broken = false;
  #isOver = false;
  /** Of a close that has to wait. */
  deadline = Infinity;

  constructor(tls: TlsHandle, tcp: TcpHandle, isHttp2: boolean) {
    this.#tls = tls;
    this.#tcp = tcp;
    this.isHttp2 = isHttp2;
    tls.useUserBuffer(sharedRead);
    tls.onread = () => this.#read();
    onTlsError(tls, () => process.nextTick(() => this.#break(-71)), () => this.#isOver);
  }

  peer(): Peer {
    return peerOf(this.#tcp);
  }
  #read(): undefined {
    const result = lastReadResult();
    if (this.isClosed || this.#ended) return;
    if (result > 0) this.owner.onBytes(shared, room, room + result);
    else if (result === endOfFile) {
      this.#ended = true;
      this.owner.onEnd();
    } else if (result < 0) this.#break(result);
  }

  get isBlocked(): boolean {
    return this.#wasBlocked;
  }
  write(_bytes: Buffer, from: number, to: number, release: Releasable): boolean {
    if (this.isClosed || this.#broken || this.#finishing) return true;
    this.#unsentBytes += to - from;
    if (this.#unsentBytes >= blockedFrom) this.#wasBlocked = true;
    const piece = release.view(from, to);
    if (!this.#isWriting) {
      this.#send(piece);
      return true;
    }
    const isCopied = to - from <= copiedMax;
    this.#queue.push({ bytes: isCopied ? Buffer.from(piece) : piece, release: isCopied ? undefined : release });
    return isCopied;
  }
  #send(piece: Buffer): void {
    const request = new WriteWrap() as Write;
    request.stream = this;
    request.oncomplete = onWritten;
    this.#isWriting = true;
    const status = this.#tls.writeBuffer(request, piece);
    if (status === 0) return;
    this.#isWriting = false;
    this.#broken = true;
    process.nextTick(() => this.#break(status));
  }
  /** The one write is done. */
  written(status: number): void {
    this.#isWriting = false;
    if (this.#isOver) return;
    if (status !== 0) return this.#break(status);
    const next = this.#next();
    if (next) {
      this.#send(next.bytes);
      next.release?.release();
      return;
    }
    this.#unsentBytes = 0;
    if (this.isClosed) return this.#leave();
    if (this.#finishing) this.#shutdown();
    if (!this.#wasBlocked) return;
    this.#wasBlocked = false;
    this.owner.onDrain();
  }
  #next(): Waiting | undefined {
    const queue = this.#queue;
    if (queue.length < 2) return queue.shift();
    let count = 0;
    let length = 0;
    while (count < queue.length && queue[count]!.release === undefined && length + queue[count]!.bytes.length <= recordMax) length += queue[count++]!.bytes.length;
    if (count < 2) return queue.shift();
    return { bytes: Buffer.concat(queue.splice(0, count).map(({ bytes }) => bytes), length), release: undefined };
  }

  pause(): void {
    if (!this.isClosed) this.#tls.readStop();
  }
  resume(): void {
    if (!this.isClosed) this.#tls.readStart();
  }
  finish(): void {
    if (this.isClosed || this.#finishing) return;
    this.#finishing = true;
    if (!this.#isWriting) this.#shutdown();
  }
  #shutdown(): void {
    const request = new ShutdownWrap();
    request.oncomplete = () => {};
    this.#tls.shutdown(request);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (!this.#isWriting) return this.#leave();
    tlsSweeper.add(this);
    this.deadline = tlsSweeper.now + closeMs;
  }
  /** All is written. TLS says that it ends: without that word, a peer must take what it has for a part. */
  #leave(): void {
    if (!this.#finishing) this.#shutdown();
    this.#over(false);
  }
  /** The peer takes nothing. */
  expire(): void {
    this.#over(true);
  }
  reset(): void {
    this.isClosed = true;
    this.#over(true);
  }
  #break(code: number): void {
    if (this.isClosed) return this.#over(true);
    this.isClosed = true;
    this.#over(true);
    this.owner.onBroken(code);
  }
  #over(reset: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    tlsSweeper.remove(this);
    for (const { release } of this.#queue.splice(0)) release?.release();
    endTls(this.#tls, this.#tcp, reset);
  }
  detach(): undefined {
    return undefined;
  }
}

/** Closes the handle, and then what OpenSSL has of it: never on its own stack. */
export function endTls(tls: TlsHandle, tcp: TcpHandle, reset: boolean): void {
  const done = () => tls.destroySSL();
  if (!reset || tcp.reset(done) !== 0) tcp.close(done);
}
