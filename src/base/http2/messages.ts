import { EventEmitter } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "node:net";
import { type Code, codes, frames, flags, payloadBytesMax } from "./frames.ts";
import { encodeField } from "./hpack.ts";
import type { Output } from "./output.ts";

/** What a request and its answer need of their connection. */
export interface Carrier {
  readonly socket: Socket;
  /** Bytes of a body were taken: the client may send as many more. */
  taken(request: Http2Request, bytes: number): void;
  /** The answer has something to send. */
  ready(response: Http2Response): void;
  /** The stream ends here and now. */
  reset(id: number, code: Code): void;
}

/**
 * A request over HTTP/2, with what the server uses of Node's: events `data`, `end` and `close`, `pause`, `resume`, `pipe`.
 * The body waits, as far as the stream's window lets it come, until somebody listens.
 */
export class Http2Request extends EventEmitter {
  readonly httpVersion = "2.0";
  readonly httpVersionMajor = 2;
  readonly id: number;
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: string[];
  /** It asks for a tunnel of this kind: its body is what is said in it. */
  readonly protocol: string | undefined;
  readonly #carrier: Carrier;
  /** Gone before its end was read. */
  destroyed = false;
  /** How many more bytes the client may send. For the connection only. */
  window: number;
  /** The body is whole. */
  complete = false;
  /** What came behind it. */
  trailers: readonly (readonly [name: string, value: string])[] = [];
  #chunks: Buffer[] = [];
  #flowing = false;
  #ended = false;

  constructor(carrier: Carrier, id: number, window: number, head: { method: string; url: string; headers: IncomingHttpHeaders; rawHeaders: string[]; protocol?: string }) {
    super();
    this.#carrier = carrier;
    this.id = id;
    this.window = window;
    this.method = head.method;
    this.url = head.url;
    this.headers = head.headers;
    this.rawHeaders = head.rawHeaders;
    this.protocol = head.protocol;
  }

  get socket(): Socket {
    return this.#carrier.socket;
  }

  /** The whole body, if it is here and nobody has begun to read it. */
  takeWhole(): Buffer | undefined {
    if (!this.complete || this.#flowing || this.#ended) return undefined;
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#ended = this.#flowing = true;
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    this.#carrier.taken(this, body.length);
    return body;
  }

  override on(event: string, listener: (...values: any[]) => void): this {
    super.on(event, listener);
    if (event === "data") this.resume();
    return this;
  }
  pause(): this {
    this.#flowing = false;
    return this;
  }
  resume(): this {
    if (this.#flowing) return this;
    this.#flowing = true;
    process.nextTick(() => this.#drain());
    return this;
  }
  pipe(target: NodeJS.WritableStream): NodeJS.WritableStream {
    target.on("drain", () => this.resume());
    this.on("data", (chunk: Buffer) => {
      if (!target.write(chunk)) this.pause();
    });
    this.once("end", () => target.end());
    return target;
  }

  /** From the connection: a piece of the body, which it leaves to us. */
  receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    if (this.#flowing) this.#drain();
  }
  /** From the connection: there is no more. */
  finish(): void {
    this.complete = true;
    if (this.#flowing) this.#drain();
  }
  /** From the connection: nobody will read what is here. Gives how much that was. */
  discard(): number {
    const bytes = this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    this.#chunks = [];
    return bytes;
  }
  /** From the connection: the stream is over. */
  closed(): void {
    if (!this.#ended) this.destroyed = true;
    this.emit("close");
  }

  #drain(): void {
    while (this.#flowing && this.#chunks.length > 0) {
      const chunk = this.#chunks.shift()!;
      this.#carrier.taken(this, chunk.length);
      this.emit("data", chunk);
    }
    if (!this.#flowing || !this.complete || this.#ended || this.destroyed) return;
    this.#ended = true;
    this.emit("end");
  }
}

type HeaderValue = string | number | readonly string[];
/** So much may wait in one answer before `write` says that it is enough. */
const waitingMax = 64 * 1024;

/**
 * The answer, with what the server uses of Node's. Pieces are held as they are given, not copied, until they are put into
 * frames: what is written must not be changed.
 */
export class Http2Response extends EventEmitter {
  readonly id: number;
  readonly #carrier: Carrier;
  readonly #bodiless: boolean;
  statusCode = 200;
  headersSent = false;
  destroyed = false;
  writableEnded = false;
  writableFinished = false;
  /** How many bytes the client takes. For the connection only. */
  window: number;
  #headers: [name: string, value: HeaderValue][] = [];
  /** The header block that is yet to be sent. */
  #head: string | undefined;
  /** Those of 1xx, which go before it. */
  #early: string[] | undefined;
  /** The one behind the body. */
  #trailers: string | undefined;
  #pieces: Buffer[] = [];
  /** The first piece that is not sent, and how much of it is. */
  #first = 0;
  #offset = 0;
  #waiting = 0;
  /** Where the rest comes from, if it is not here yet. */
  #source: Iterator<Buffer> | undefined;
  #isFull = false;

  constructor(carrier: Carrier, id: number, window: number, bodiless: boolean) {
    super();
    this.#carrier = carrier;
    this.id = id;
    this.window = window;
    this.#bodiless = bodiless;
  }

  get writable(): boolean {
    return !this.writableEnded && !this.destroyed;
  }
  get writableLength(): number {
    return this.#waiting;
  }

  setHeader(name: string, value: HeaderValue): this {
    this.removeHeader(name);
    this.#headers.push([name.toLowerCase(), value]);
    return this;
  }
  getHeader(name: string): HeaderValue | undefined {
    return this.#headers.find(([known]) => known === name.toLowerCase())?.[1];
  }
  hasHeader(name: string): boolean {
    return this.getHeader(name) !== undefined;
  }
  removeHeader(name: string): void {
    if (this.#headers.length > 0) this.#headers = this.#headers.filter(([known]) => known !== name.toLowerCase());
  }

  writeHead(code: number, headers?: Readonly<Record<string, HeaderValue | undefined>>): this {
    if (this.headersSent) throw new Error("the header is sent already");
    this.statusCode = code;
    for (const name in headers) if (headers[name] !== undefined) this.setHeader(name, headers[name]);
    let block = encodeField(":status", String(code));
    for (const [name, value] of this.#headers) {
      if (typeof value === "object") for (const one of value) block += encodeField(name, checked(name, one));
      else block += encodeField(name, checked(name, String(value)));
    }
    this.#head = this.hasHeader("date") ? block : block + encodeField("date", dateText());
    this.headersSent = true;
    return this;
  }
  /** 1xx, before the head. */
  writeInformational(code: number, fields: readonly (readonly [name: string, value: string])[]): void {
    if (this.headersSent || this.destroyed) return;
    let block = encodeField(":status", String(code));
    for (const [name, value] of fields) block += encodeField(name.toLowerCase(), checked(name, value));
    (this.#early ??= []).push(block);
    this.#carrier.ready(this);
  }
  /** Before the end. */
  addTrailers(trailers: readonly (readonly [name: string, value: string])[]): void {
    let block = "";
    for (const [name, value] of trailers) block += encodeField(name.toLowerCase(), checked(name, value));
    if (block !== "") this.#trailers = block;
  }
  flushHeaders(): void {
    if (!this.headersSent) this.writeHead(this.statusCode);
    this.#carrier.ready(this);
  }

  write(chunk: Buffer | string, ...rest: unknown[]): boolean {
    const done = rest.at(-1);
    if (typeof done === "function") process.nextTick(done as () => void);
    if (this.destroyed || this.writableEnded) return false;
    this.#add(toBytes(chunk));
    this.#carrier.ready(this);
    this.#isFull = this.#waiting > waitingMax;
    return !this.#isFull;
  }
  /** The rest, and the end: pieces that are asked for when there is room for them. */
  endFrom(pieces: Iterable<Buffer>): this {
    if (this.destroyed || this.writableEnded) return this;
    this.#source = pieces[Symbol.iterator]();
    return this.end();
  }
  end(chunk?: Buffer | string): this {
    if (this.destroyed || this.writableEnded) return this;
    if (chunk !== undefined) this.#add(toBytes(chunk));
    else if (!this.headersSent) this.writeHead(this.statusCode);
    this.writableEnded = true;
    this.#carrier.ready(this);
    return this;
  }
  /** Without an end: the client sees that the answer was cut off. */
  destroy(_error?: Error): this {
    if (!this.destroyed && !this.writableFinished) this.#carrier.reset(this.id, codes.internal);
    return this;
  }

  #add(piece: Buffer): void {
    if (!this.headersSent) this.writeHead(this.statusCode);
    if (this.#bodiless || piece.length === 0) return;
    this.#pieces.push(piece);
    this.#waiting += piece.length;
  }

  // — for the connection —

  get hasMore(): boolean {
    return this.#head !== undefined || this.#early !== undefined || this.#waiting > 0 || (this.writableEnded && !this.writableFinished);
  }
  /** Has more, and does not wait for its client to open the window. */
  get mayGoOn(): boolean {
    return this.hasMore && (this.window > 0 || this.#head !== undefined || this.#early !== undefined || (this.#waiting === 0 && !this.#source));
  }

  /**
   * Puts the next frames into `out`, of data at most `room` bytes and what the stream's window allows, and gives how many that
   * were. `writableFinished` says that the last one ended the stream.
   */
  fill(out: Output, room: number): number {
    this.#draw();
    if (this.#early !== undefined) {
      for (const block of this.#early) pushBlock(out, block, this.id, false);
      this.#early = undefined;
    }
    if (this.#head !== undefined) {
      const isAll = this.writableEnded && this.#waiting === 0 && this.#trailers === undefined;
      pushBlock(out, this.#head, this.id, isAll);
      this.#head = undefined;
      if (isAll) this.writableFinished = true;
    }
    let sent = 0;
    while (this.#waiting > 0) {
      const length = Math.min(room - sent, this.window, payloadBytesMax, this.#waiting);
      if (length <= 0) break;
      const isLast = this.writableEnded && this.#waiting === length && !this.#source && this.#trailers === undefined;
      out.head(length, frames.data, isLast ? flags.endStream : 0, this.id);
      this.#take(out, length);
      this.window -= length;
      sent += length;
      if (isLast) this.writableFinished = true;
      else this.#draw();
    }
    if (this.writableEnded && !this.writableFinished && this.#waiting === 0) {
      if (this.#trailers === undefined) out.head(0, frames.data, flags.endStream, this.id);
      else pushBlock(out, this.#trailers, this.id, true);
      this.writableFinished = true;
    }
    if (this.#isFull && this.#waiting === 0 && !this.writableEnded) {
      this.#isFull = false;
      process.nextTick(() => void (this.destroyed || this.emit("drain")));
    }
    return sent;
  }

  /** Fetches what is needed next: enough for a frame, or all. */
  #draw(): void {
    while (this.#source && this.#waiting <= payloadBytesMax) {
      const { done, value } = this.#source.next();
      if (done) this.#source = undefined;
      else this.#add(value);
    }
  }

  /** Small pieces share a frame. */
  #take(out: Output, length: number): void {
    this.#waiting -= length;
    for (let left = length; left > 0; ) {
      const piece = this.#pieces[this.#first]!;
      const part = Math.min(left, piece.length - this.#offset);
      out.bytes(piece, this.#offset, part);
      left -= part;
      this.#offset += part;
      if (this.#offset < piece.length) return;
      this.#offset = 0;
      this.#first++;
    }
    if (this.#first < this.#pieces.length) return;
    this.#pieces = [];
    this.#first = 0;
  }

  /** The stream is over. */
  closed(): void {
    this.destroyed = true;
    this.#source?.return?.();
    this.#source = undefined;
    this.#pieces = [];
    this.#first = this.#offset = this.#waiting = 0;
    this.#head = undefined;
    this.#early = undefined;
    if (this.writableFinished) this.emit("finish");
    this.emit("close");
  }
}

/** HEADERS, and CONTINUATION for what does not fit. */
function pushBlock(out: Output, block: string, id: number, endsStream: boolean): void {
  for (let at = 0; at === 0 || at < block.length; at += payloadBytesMax) {
    const length = Math.min(payloadBytesMax, block.length - at);
    const flag = (at + length >= block.length ? flags.endHeaders : 0) | (at === 0 && endsStream ? flags.endStream : 0);
    out.head(length, at === 0 ? frames.headers : frames.continuation, flag, id);
    out.text(block, at, length);
  }
}

const toBytes = (chunk: Buffer | string): Buffer => (typeof chunk === "string" ? Buffer.from(chunk) : chunk);

/** What would be another header, or a character that is no byte, is a mistake of ours. */
function checked(name: string, value: string): string {
  // oxlint-disable-next-line no-control-regex
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw new TypeError(`the header ${name} has a character that it cannot have`);
  return value;
}

let dateSecond = Number.NaN;
let date = "";
function dateText(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) [dateSecond, date] = [second, new Date(second * 1000).toUTCString()];
  return date;
}
