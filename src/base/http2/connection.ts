import type { Socket } from "node:net";
import { type Code, codes, defaultWindow, encodeFrame, encodeNumbers, encodeSettings, flags, frames, headBytes, payloadBytesMax, preface, settings, windowMax } from "./frames.ts";
import { readHead } from "./head.ts";
import { encodeField, HpackDecoder, HpackError } from "./hpack.ts";
import { type Carrier, Http2Request, Http2Response } from "./messages.ts";
import { Output, release } from "./output.ts";
import { Patience } from "./patience.ts";

export interface Http2Options {
  onRequest(request: Http2Request, response: Http2Response): void;
  /** Requests under way on one connection. More: refused, as not begun. */
  streamsMax: number;
  /** Bytes of one body that may come before somebody reads it. */
  streamWindow: number;
  /** And of all of a connection's. */
  connectionWindow: number;
  /** Of a request's headers. More: the connection ends. */
  headerBytesMax: number;
  /** Requests may be CONNECT with `:protocol`, for tunnels (RFC 8441): they have a `protocol`, and no end of their body. */
  takesTunnels?: boolean;
  /** The client's first words must have come by then. */
  prefaceMs: number;
}

/** What is handed to the socket at once, and how much may wait in it before answers wait instead. */
const flushBytes = 256 * 1024;
const socketBytesMax = 1024 * 1024;
const continuationsMax = 64;
/** Streams that we have ended and that the client may not know of yet. */
const resetsKept = 1000;

class ConnectionError extends Error {
  readonly code: Code;
  constructor(code: Code, message: string) {
    super(message);
    this.code = code;
  }
}

interface Stream {
  readonly request: Http2Request;
  readonly response: Http2Response;
  remoteEnded: boolean;
  /** What `content-length` promised and did not come yet. */
  expected: number | undefined;
}

/** Connections that have something to send, all flushed at the end of this turn of the loop. */
const unflushed = new Set<Connection>();

/** Serves HTTP/2 on a socket whose protocol was chosen by ALPN. Source: RFC 9113. */
export function serveHttp2(socket: Socket, options: Http2Options): Http2Served {
  const connection = new Connection(socket, options);
  connection.greet();
  return connection;
}
export interface Http2Served {
  /** Tells the client that what it sends from now on is not begun with, and may be sent elsewhere; what is running goes on. */
  sayFarewell(): void;
}

/**
 *   socket ─▶ frames ─▶ request ─▶ onRequest        answer ─▶ frames ─▶ out ─(once a turn)─▶ socket
 *
 * Node's own HTTP/2 passes each piece of each answer through its stream machinery and back; here a thousand watchers of one
 * change cost a frame's head each. What a client must not do ends its stream or the connection, as the specification has it.
 */
class Connection implements Carrier, Http2Served {
  readonly socket: Socket;
  readonly #options: Http2Options;
  readonly #streams = new Map<number, Stream>();
  readonly #decoder: HpackDecoder;
  /** Answers that wait for a window or for the socket, in turn. */
  readonly #waiting = new Set<Http2Response>();
  readonly #resets = new Set<number>();
  #rest: Buffer = Buffer.alloc(0);
  #hasPreface = false;
  #hasSettings = false;
  #lastId = 0;
  #block: { id: number; flag: number; parts: Buffer[]; bytes: number } | undefined;
  #sendWindow = defaultWindow;
  #initialWindow = defaultWindow;
  #receiveWindow: number;
  /** Taken of bodies, and not yet told to the client. */
  #untold = 0;
  readonly #out = new Output();
  #isBlocked = false;
  #ended = false;
  #isLeaving = false;
  readonly #patience: Patience;

  constructor(socket: Socket, options: Http2Options) {
    this.socket = socket;
    this.#options = options;
    this.#decoder = new HpackDecoder(options.headerBytesMax);
    this.#patience = new Patience(options.streamsMax);
    this.#receiveWindow = options.connectionWindow;
    const timer = setTimeout(() => this.#hasSettings || socket.destroy(), options.prefaceMs);
    timer.unref();
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("drain", () => {
      this.#isBlocked = false;
      this.#pump();
    });
    socket.on("error", () => socket.destroy()); // a client that breaks off is no news
    socket.on("end", () => socket.destroy());
    socket.on("close", () => {
      clearTimeout(timer);
      this.#ended = true;
      this.#out.take();
      for (const stream of this.#streams.values()) this.#over(stream);
    });
  }

  greet(): void {
    const options = this.#options;
    this.#send(
      encodeSettings([
        [settings.maxConcurrentStreams, options.streamsMax],
        [settings.initialWindowSize, options.streamWindow],
        [settings.maxHeaderListSize, options.headerBytesMax],
        ...(options.takesTunnels ? [[settings.enableConnectProtocol, 1] as const] : []),
      ]),
    );
    this.#send(encodeNumbers(frames.windowUpdate, 0, options.connectionWindow - defaultWindow));
  }

  sayFarewell(): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#send(encodeFrame(frames.goAway, 0, 0, numbers(this.#lastId, codes.none)));
    // The connection may be closed within this turn.
    this.flush();
  }

  // — from messages —

  taken(request: Http2Request, bytes: number): void {
    if (this.#ended || bytes === 0) return;
    this.#untell(bytes);
    const { streamWindow } = this.#options;
    if (request.complete || request.window > streamWindow / 2 || !this.#streams.has(request.id)) return;
    this.#send(encodeNumbers(frames.windowUpdate, request.id, streamWindow - request.window));
    request.window = streamWindow;
  }

  ready(response: Http2Response): void {
    if (this.#ended || response.destroyed || this.#waiting.has(response)) return;
    if (!this.#isBlocked) this.#fill(response);
    if (response.mayGoOn) this.#waiting.add(response);
  }

  reset(id: number, code: Code): void {
    const stream = this.#streams.get(id);
    if (!stream || this.#ended) return;
    this.#send(encodeNumbers(frames.reset, id, code));
    this.#resets.add(id);
    if (this.#resets.size > resetsKept) for (const oldest of this.#resets) if (this.#resets.delete(oldest)) break;
    this.#over(stream);
  }

  // — sending —

  #send(frame: Buffer): void {
    if (this.#ended) return;
    this.#out.bytes(frame);
    if (this.#out.size >= flushBytes) this.flush();
    else this.#flushSoon();
    // Who asks for answers and reads none.
    if (this.#out.size + this.socket.writableLength > 2 * socketBytesMax + flushBytes) this.socket.destroy();
  }

  #flushSoon(): void {
    if (unflushed.size === 0) setImmediate(flushAll);
    unflushed.add(this);
  }

  /** Puts what may go now of an answer on its way. */
  #fill(response: Http2Response): void {
    const before = this.#out.size;
    this.#sendWindow -= response.fill(this.#out, Math.min(this.#sendWindow, Math.max(flushBytes - before, 0)));
    if (this.#out.size > before) {
      this.#patience.moved(this.#out.size - before);
      this.#flushSoon();
    }
    if (response.writableFinished) this.#answered(response.id);
    if (this.#out.size >= flushBytes) this.flush();
  }

  flush(): void {
    if (this.#ended) return;
    const taken = this.#out.take();
    if (!taken) return;
    this.socket.write(taken.bytes, (error) => {
      // After a failure nobody knows who still looks at it.
      if (!error) release(taken.buffer);
    });
    this.#isBlocked = this.socket.writableLength > socketBytesMax;
  }

  /** Gives each answer that waits its turn, again and again, as long as there is room. */
  #pump(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const response of Array.from(this.#waiting)) {
        if (this.#isBlocked || this.#ended) return;
        this.#waiting.delete(response);
        if (response.destroyed) continue;
        const before = response.writableLength;
        this.#fill(response);
        moved ||= response.writableLength < before;
        if (response.mayGoOn) this.#waiting.add(response);
      }
    }
  }

  #answered(id: number): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    // Nobody will read what is yet to come of the body.
    if (!stream.remoteEnded) this.reset(id, codes.none);
    else process.nextTick(() => this.#over(stream));
  }

  #over(stream: Stream): void {
    if (!this.#streams.delete(stream.request.id)) return;
    this.#waiting.delete(stream.response);
    this.#untell(stream.request.discard());
    stream.request.closed();
    stream.response.closed();
  }

  #untell(bytes: number): void {
    this.#untold += bytes;
    if (this.#untold < this.#options.connectionWindow / 2) return;
    this.#send(encodeNumbers(frames.windowUpdate, 0, this.#untold));
    this.#receiveWindow += this.#untold;
    this.#untold = 0;
  }

  #fail(code: Code, message: string): void {
    if (this.#ended) return;
    this.#send(encodeFrame(frames.goAway, 0, 0, Buffer.concat([numbers(this.#lastId, code), Buffer.from(message)])));
    this.flush();
    this.#ended = true;
    this.socket.end();
    for (const stream of this.#streams.values()) this.#over(stream);
    // What was sent last should arrive; but who does not close is not waited for.
    setTimeout(() => this.socket.destroy(), 1_000).unref();
  }

  // — receiving —

  #read(chunk: Buffer): void {
    if (this.#ended) return;
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    try {
      if (!this.#hasPreface) {
        const known = Math.min(bytes.length, preface.length);
        if (bytes.compare(preface, 0, known, 0, known) !== 0) return void this.socket.destroy();
        if (known === preface.length) this.#hasPreface = true;
        if (!this.#hasPreface) return void (this.#rest = bytes);
        bytes = bytes.subarray(preface.length);
      }
      let at = 0;
      while (at + headBytes <= bytes.length && !this.#ended) {
        const length = bytes.readUIntBE(at, 3);
        if (length > payloadBytesMax) throw new ConnectionError(codes.frameSize, "a frame is too large");
        const end = at + headBytes + length;
        if (end > bytes.length) break;
        this.#receive(bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5) & windowMax, bytes.subarray(at + headBytes, end));
        at = end;
      }
      this.#rest = at < bytes.length ? bytes.subarray(at) : bytes.subarray(0, 0);
    } catch (error) {
      if (error instanceof ConnectionError) this.#fail(error.code, error.message);
      else if (error instanceof HpackError) this.#fail(codes.compression, error.message);
      else throw error;
    }
  }

  #receive(type: number, flag: number, id: number, payload: Buffer): void {
    if (!this.#hasSettings && (type !== frames.settings || flag & flags.ack)) throw new ConnectionError(codes.protocol, "settings come first");
    if (this.#block && (type !== frames.continuation || id !== this.#block.id)) throw new ConnectionError(codes.protocol, "a header block is not complete");
    switch (type) {
      case frames.data:
        return this.#data(flag, id, payload);
      case frames.headers:
        return this.#headers(flag, id, payload);
      case frames.continuation:
        return this.#continuation(flag, payload);
      case frames.priority:
        if (id === 0) throw new ConnectionError(codes.protocol, "a priority of no stream");
        if (payload.length !== 5) return this.#streamError(id, codes.frameSize);
        if ((payload.readUInt32BE(0) & windowMax) === id) return this.#streamError(id, codes.protocol);
        return this.#idle();
      case frames.reset: {
        if (id === 0 || id > this.#lastId) throw new ConnectionError(codes.protocol, "a reset of a stream that is not");
        if (payload.length !== 4) throw new ConnectionError(codes.frameSize, "a reset has 4 bytes");
        this.#idle();
        const stream = this.#streams.get(id);
        if (stream) this.#over(stream);
        return;
      }
      case frames.settings:
        return this.#settings(flag, id, payload);
      case frames.pushPromise:
        throw new ConnectionError(codes.protocol, "a client promises nothing");
      case frames.ping:
        if (id !== 0) throw new ConnectionError(codes.protocol, "a ping on a stream");
        if (payload.length !== 8) throw new ConnectionError(codes.frameSize, "a ping has 8 bytes");
        this.#control();
        if (!(flag & flags.ack)) this.#send(encodeFrame(frames.ping, flags.ack, 0, payload));
        return;
      case frames.goAway:
        if (id !== 0) throw new ConnectionError(codes.protocol, "a farewell on a stream");
        if (payload.length < 8) throw new ConnectionError(codes.frameSize, "a farewell is too short");
        return; // what was begun is answered; then the client closes
      case frames.windowUpdate:
        return this.#windowUpdate(id, payload);
    }
    // Frames that we do not know are no concern of ours.
  }

  #data(flag: number, id: number, payload: Buffer): void {
    if (id === 0 || id > this.#lastId) throw new ConnectionError(codes.protocol, "data of a stream that is not");
    this.#receiveWindow -= payload.length;
    if (this.#receiveWindow < 0) throw new ConnectionError(codes.flowControl, "more data than the window allows");
    const chunk = unpadded(flag, payload);
    const stream = this.#streams.get(id);
    if (!stream || stream.remoteEnded) {
      this.#untell(payload.length);
      if (this.#resets.has(id)) return;
      throw new ConnectionError(codes.streamClosed, "data of a stream that has ended");
    }
    const { request } = stream;
    request.window -= payload.length;
    if (request.window < 0) return this.#streamError(id, codes.flowControl);
    const isEnd = (flag & flags.endStream) !== 0;
    if (chunk.length === 0 && !isEnd) this.#idle();
    if (chunk.length > 0) this.#patience.moved(chunk.length);
    if (payload.length > chunk.length) this.taken(request, payload.length - chunk.length);
    if (stream.expected !== undefined) stream.expected -= chunk.length;
    if (stream.expected !== undefined && (stream.expected < 0 || (isEnd && stream.expected > 0))) return this.#streamError(id, codes.protocol);
    if (isEnd) request.complete = stream.remoteEnded = true;
    if (chunk.length > 0) request.receive(chunk);
    if (isEnd) request.finish();
  }

  #headers(flag: number, id: number, payload: Buffer): void {
    if (id === 0 || id % 2 === 0) throw new ConnectionError(codes.protocol, "a stream that a client cannot open");
    let block = unpadded(flag, payload);
    if (flag & flags.priority) {
      if (block.length < 5) throw new ConnectionError(codes.frameSize, "a priority is too short");
      if ((block.readUInt32BE(0) & windowMax) === id) throw new ConnectionError(codes.protocol, "a stream that waits for itself");
      block = block.subarray(5);
    }
    this.#block = { id, flag, parts: [block], bytes: block.length };
    if (flag & flags.endHeaders) this.#blockEnds();
    else this.#block.parts[0] = Buffer.from(block);
  }

  #continuation(flag: number, payload: Buffer): void {
    const block = this.#block;
    if (!block) throw new ConnectionError(codes.protocol, "a continuation of nothing");
    block.parts.push(Buffer.from(payload));
    block.bytes += payload.length;
    if (block.bytes > this.#options.headerBytesMax || block.parts.length > continuationsMax) throw new ConnectionError(codes.calm, "the headers are too large");
    if (flag & flags.endHeaders) this.#blockEnds();
  }

  #blockEnds(): void {
    const { id, flag, parts } = this.#block!;
    this.#block = undefined;
    const fields = this.#decoder.decode(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
    const isEnd = (flag & flags.endStream) !== 0;
    const open = this.#streams.get(id);
    if (open) {
      // Trailers, which end the body.
      if (open.remoteEnded) throw new ConnectionError(codes.streamClosed, "headers of a stream that has ended");
      if (!isEnd || fields.some(([name]) => name.startsWith(":") || /[A-Z]/.test(name))) return this.#streamError(id, codes.protocol);
      if (open.expected) return this.#streamError(id, codes.protocol);
      open.remoteEnded = true;
      open.request.trailers = fields;
      return open.request.finish();
    }
    if (id <= this.#lastId) {
      if (this.#resets.has(id)) return;
      throw new ConnectionError(codes.streamClosed, "a stream comes twice, or too late");
    }
    this.#lastId = id;
    const head = readHead(fields, this.#options.takesTunnels);
    const length = head?.headers["content-length"];
    if (!head || (length !== undefined && (!/^\d{1,15}$/.test(length) || (isEnd && length !== "0")))) return this.#refuse(id, codes.protocol);
    if (this.#isLeaving || this.#streams.size >= this.#options.streamsMax) return this.#refuse(id, codes.refused);
    const request = new Http2Request(this, id, this.#options.streamWindow, head);
    const response = new Http2Response(this, id, this.#initialWindow, head.method === "HEAD");
    this.#streams.set(id, { request, response, remoteEnded: isEnd, expected: length === undefined ? undefined : Number(length) });
    if (isEnd) request.finish();
    else if (head.headers["expect"]?.toLowerCase() === "100-continue") this.#send(encodeFrame(frames.headers, flags.endHeaders, id, Buffer.from(encodeField(":status", "100"), "latin1")));
    this.#options.onRequest(request, response);
  }

  #settings(flag: number, id: number, payload: Buffer): void {
    if (id !== 0) throw new ConnectionError(codes.protocol, "settings of a stream");
    if (payload.length % 6 !== 0 || (flag & flags.ack && payload.length > 0)) throw new ConnectionError(codes.frameSize, "settings have 6 bytes each");
    this.#control();
    if (flag & flags.ack) return;
    this.#hasSettings = true;
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      switch (payload.readUInt16BE(at)) {
        case settings.enablePush:
          if (value > 1) throw new ConnectionError(codes.protocol, "pushing is on or off");
          break;
        case settings.maxFrameSize:
          if (value < payloadBytesMax || value > 2 ** 24 - 1) throw new ConnectionError(codes.protocol, "a frame size that cannot be");
          break;
        case settings.initialWindowSize: {
          if (value > windowMax) throw new ConnectionError(codes.flowControl, "a window that is too large");
          const more = value - this.#initialWindow;
          this.#initialWindow = value;
          for (const { response } of this.#streams.values()) {
            response.window += more;
            if (response.window > windowMax) throw new ConnectionError(codes.flowControl, "a window that is too large");
            this.ready(response);
          }
        }
      }
    }
    this.#send(encodeFrame(frames.settings, flags.ack, 0));
    this.#pump();
  }

  #windowUpdate(id: number, payload: Buffer): void {
    if (payload.length !== 4) throw new ConnectionError(codes.frameSize, "a window update has 4 bytes");
    if (id > this.#lastId) throw new ConnectionError(codes.protocol, "a window of a stream that is not");
    this.#control();
    const more = payload.readUInt32BE(0) & windowMax;
    if (id === 0) {
      if (more === 0) throw new ConnectionError(codes.protocol, "a window grows by something");
      this.#sendWindow += more;
      if (this.#sendWindow > windowMax) throw new ConnectionError(codes.flowControl, "a window that is too large");
      return this.#pump();
    }
    const response = this.#streams.get(id)?.response;
    if (!response) return;
    if (more === 0) return this.#streamError(id, codes.protocol);
    response.window += more;
    if (response.window > windowMax) return this.#streamError(id, codes.flowControl);
    if (response.hasMore) this.ready(response);
  }

  #streamError(id: number, code: Code): void {
    if (!this.#streams.has(id)) return this.#refuse(id, code);
    // Whoever makes us reset does what he could have done himself (MadeYouReset).
    this.reset(id, code);
    this.#idle();
  }

  /** Of a stream that never was one of ours. */
  #refuse(id: number, code: Code): void {
    this.#resets.add(id);
    this.#idle();
    this.#send(encodeNumbers(frames.reset, id, code));
  }

  #control(): void {
    if (!this.#patience.control(performance.now())) throw new ConnectionError(codes.calm, "too many frames beside what is sent");
  }
  #idle(): void {
    if (!this.#patience.idle(performance.now())) throw new ConnectionError(codes.calm, "too many frames that lead to nothing");
  }
}

function flushAll(): void {
  const all = [...unflushed];
  unflushed.clear();
  for (const connection of all) connection.flush();
}

function unpadded(flag: number, payload: Buffer): Buffer {
  if (!(flag & flags.padded)) return payload;
  const padding = payload[0];
  if (padding === undefined) throw new ConnectionError(codes.frameSize, "padding without its length");
  if (padding >= payload.length) throw new ConnectionError(codes.protocol, "more padding than there is");
  return payload.subarray(1, payload.length - padding);
}

function numbers(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) buffer.writeUInt32BE(value, index * 4);
  return buffer;
}
