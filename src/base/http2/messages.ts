import { EventEmitter } from "node:events";
import type { IncomingHttpHeaders } from "node:http";
import type { Socket } from "node:net";
import { type Code, codes, frames, flags, headBytes, payloadBytesMax, writeHead } from "./frames.ts";
import { encodeField } from "./hpack.ts";

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
  readonly #carrier: Carrier;
  /** Gone before its end was read. */
  destroyed = false;
  /** How many more bytes the client may send. For the connection only. */
  window: number;
  /** The body is whole. */
  complete = false;
  #chunks: Buffer[] = [];
  #flowing = false;
  #ended = false;

  constructor(carrier: Carrier, id: number, window: number, head: { method: string; url: string; headers: IncomingHttpHeaders; rawHeaders: string[] }) {
    super();
    this.#carrier = carrier;
    this.id = id;
    this.window = window;
    this.method = head.method;
    this.url = head.url;
    this.headers = head.headers;
    this.rawHeaders = head.rawHeaders;
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
  #pieces: Buffer[] = [];
  /** The first piece that is not sent. */
  #first = 0;
  #waiting = 0;
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
    this.#head = block + encodeField("date", dateText());
    this.headersSent = true;
    return this;
  }
  flushHeaders(): void {
    if (!this.headersSent) this.writeHead(this.statusCode);
    this.#carrier.ready(this);
  }

  write(chunk: Buffer | string, ...rest: unknown[]): boolean {
    const done = rest.at(-1);
    if (typeof done === "function") process.nextTick(done as () => void);
    if (this.destroyed || this.writableEnded) return false;
    this.#add(chunk);
    this.#carrier.ready(this);
    this.#isFull = this.#waiting > waitingMax;
    return !this.#isFull;
  }
  /** Many pieces, of which each is only looked at when its turn has come, and the end. */
  endWith(pieces: readonly Buffer[]): this {
    if (this.destroyed || this.writableEnded) return this;
    for (const piece of pieces) this.#add(piece);
    return this.end();
  }
  end(chunk?: Buffer | string): this {
    if (this.destroyed || this.writableEnded) return this;
    if (chunk !== undefined) this.#add(chunk);
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

  #add(chunk: Buffer | string): void {
    if (!this.headersSent) this.writeHead(this.statusCode);
    if (this.#bodiless || chunk.length === 0) return;
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    this.#pieces.push(bytes);
    this.#waiting += bytes.length;
  }

  // — for the connection —

  get hasMore(): boolean {
    return this.#head !== undefined || this.#waiting > 0 || (this.writableEnded && !this.writableFinished);
  }
  /** Has more, and does not wait for its client to open the window. */
  get mayGoOn(): boolean {
    return this.hasMore && (this.window > 0 || this.#head !== undefined || this.#waiting === 0);
  }

  /**
   * Puts the next frames into `out`, of data at most `room` bytes and what the stream's window allows, and gives how many that
   * were. `writableFinished` says that the last one ended the stream.
   */
  fill(out: Buffer[], room: number): number {
    if (this.#head !== undefined) {
      const block = this.#head;
      this.#head = undefined;
      const isAll = this.writableEnded && this.#waiting === 0;
      const only = this.#pieces[this.#first];
      // Most answers are small: header and body become one buffer.
      if (this.writableEnded && only?.length === this.#waiting && this.#waiting > 0 && only.length <= Math.min(room, this.window, payloadBytesMax) && block.length <= payloadBytesMax) {
        const both = Buffer.allocUnsafe(headBytes + block.length + headBytes + only.length);
        writeHead(both, 0, block.length, frames.headers, flags.endHeaders, this.id);
        both.write(block, headBytes, "latin1");
        writeHead(both, headBytes + block.length, only.length, frames.data, flags.endStream, this.id);
        both.set(only, headBytes + block.length + headBytes);
        out.push(both);
        this.#pieces = [];
        this.#first = this.#waiting = 0;
        this.window -= only.length;
        this.writableFinished = true;
        return only.length;
      }
      pushBlock(out, block, this.id, isAll);
      if (isAll) this.writableFinished = true;
    }
    let sent = 0;
    while (this.#waiting > 0) {
      const length = Math.min(room - sent, this.window, payloadBytesMax, this.#waiting);
      if (length <= 0) break;
      const isLast = this.writableEnded && this.#waiting === length;
      const head = Buffer.allocUnsafe(headBytes);
      writeHead(head, 0, length, frames.data, isLast ? flags.endStream : 0, this.id);
      out.push(head);
      this.#take(out, length);
      this.window -= length;
      sent += length;
      if (isLast) this.writableFinished = true;
    }
    if (this.writableEnded && !this.writableFinished && this.#waiting === 0) {
      const head = Buffer.allocUnsafe(headBytes);
      writeHead(head, 0, 0, frames.data, flags.endStream, this.id);
      out.push(head);
      this.writableFinished = true;
    }
    if (this.#isFull && this.#waiting === 0 && !this.writableEnded) {
      this.#isFull = false;
      process.nextTick(() => void (this.destroyed || this.emit("drain")));
    }
    return sent;
  }

  /** Small pieces share a frame. */
  #take(out: Buffer[], length: number): void {
    this.#waiting -= length;
    for (let left = length; left > 0; ) {
      const piece = this.#pieces[this.#first]!;
      if (piece.length > left) {
        out.push(piece.subarray(0, left));
        this.#pieces[this.#first] = piece.subarray(left);
        return;
      }
      out.push(piece);
      left -= piece.length;
      this.#first++;
    }
    if (this.#first < this.#pieces.length) return;
    this.#pieces = [];
    this.#first = 0;
  }

  /** The stream is over. */
  closed(): void {
    this.destroyed = true;
    this.#first = 0;
    this.#pieces = [];
    this.#waiting = 0;
    this.#head = undefined;
    if (this.writableFinished) this.emit("finish");
    this.emit("close");
  }
}

/** HEADERS, and CONTINUATION for what does not fit. */
function pushBlock(out: Buffer[], block: string, id: number, endsStream: boolean): void {
  for (let at = 0; at === 0 || at < block.length; at += payloadBytesMax) {
    const part = block.length <= payloadBytesMax ? block : block.slice(at, at + payloadBytesMax);
    const frame = Buffer.allocUnsafe(headBytes + part.length);
    const flag = (at + payloadBytesMax >= block.length ? flags.endHeaders : 0) | (at === 0 && endsStream ? flags.endStream : 0);
    writeHead(frame, 0, part.length, at === 0 ? frames.headers : frames.continuation, flag, id);
    frame.write(part, headBytes, "latin1");
    out.push(frame);
  }
}

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
