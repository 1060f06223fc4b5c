import type { TcpHandle } from "../../base/handles.ts";
import type { AnswerHead, LocalAnswer } from "../../policy/exchange.ts";
import { preface } from "../../base/http2/frames.ts";
import { peerAddress } from "../tcp-service.ts";
import type { Trailers } from "./asker.ts";
import { ChunkReader } from "./chunks.ts";
import type { Client } from "./client.ts";
import { asBuffer, composeBegin, composeKept, composeLocal, composeResponse, framing, type Framing } from "./compose.ts";
import type { Engine } from "./engine.ts";
import { HttpExchange } from "./exchange.ts";
import { complete, Head, incomplete } from "./head.ts";
import { writeContent, writeLastChunk } from "./output.ts";
import type { Gauge, Listener } from "./routing.ts";
import { StreamSocket } from "./stream-socket.ts";
import { HandleStream, portAt, readBytesMax, type Bulk, type Stream, type StreamOwner } from "./stream.ts";
import { Tunnel } from "./tunnel.ts";
import { bulkFrom } from "./upstream-connection.ts";

/** A client that is told to leave may still be sending: its bytes are read for so long, that it reads our answer first. */
const lingerMs = 1_500;
const lingerBytesMax = 1024 * 1024;
const freeHeads: Head[] = [];
const freeHeadsMax = 256;

/**
 * One connection of a client: requests one after another, answers in their order, at most one running.
 *
 *   idle ──bytes──▶ head ──whole──▶ exchange ──answered, body read──▶ idle
 *                     │ refused          │ answered, body not read; Connection: close; draining
 *                     └──────────────────┴─▶ lingering ──▶ closed
 */
export class ClientConnection implements StreamOwner, Client {
  readonly listener: Listener;
  readonly address: string;
  readonly protocol = "HTTP/1.1";
  readonly stream: Stream;
  readonly #engine: Engine;
  readonly gauge: Gauge | undefined;
  readonly #since = performance.now();
  #requestsBegun = 0;
  /** When it ends, in use or not. */
  #endsAt = Infinity;
  deadline = Infinity;
  #head: Head | undefined;
  #exchange: HttpExchange | undefined;
  // The running request.
  #bodyLeft = 0;
  #chunks: ChunkReader | undefined;
  #bodySince = 0;
  #bodyBytes = 0;
  #isBodyPaused = false;
  /** The answer is chunked. */
  #chunked = false;
  #keepAlive = true;
  #isOld = false;
  #wantsTrailers = false;
  /** Came while a request was running. */
  #stash: Buffer | undefined;
  /** It ends with the request that runs. */
  #leaving = false;
  #lingering = false;
  #lingered = 0;
  #working = false;
  #isGone = false;
  #tunnel: Tunnel | undefined;
  hasEnded = false;
  /** How much of HTTP/2's preface has come; -1: it is not what its client speaks. */
  #prefaced = 0;

  constructor(engine: Engine, handle: TcpHandle | Stream, listener: Listener, address?: string) {
    this.#engine = engine;
    this.listener = listener;
    this.gauge = listener.bounds.gauge;
    if ("write" in handle) {
      this.stream = handle;
      handle.owner = this;
      this.address = address ?? "";
    } else {
      this.address = address ?? peerAddress(handle);
      this.stream = new HandleStream(handle, this);
    }
  }

  start(): void {
    this.#engine.sweeper.add(this);
    const { headersMs, endsAtOnce, connectionMs = 0 } = this.listener.bounds;
    if (endsAtOnce && connectionMs > 0) this.#endsAt = this.#since + connectionMs;
    this.deadline = Math.min(this.#engine.sweeper.now + headersMs, this.#endsAt);
    this.stream.resume();
  }
  get port(): number {
    return portAt(this.stream, this.address);
  }
  get isBlocked(): boolean {
    return this.stream.isBlocked;
  }
  // No private getter: those are called by way of V8's runtime.
  #isToLeave(): boolean {
    return this.#leaving || this.#engine.draining;
  }
  get isRunning(): boolean {
    return this.#exchange !== undefined;
  }

  // StreamOwner.
  onBytes(bytes: Buffer, from: number, to: number): void {
    if (this.#lingering) {
      if ((this.#lingered += to - from) > lingerBytesMax) this.#close();
      return;
    }
    const { output } = this.#engine;
    const exchange = this.#exchange;
    if (exchange) {
      if (!exchange.bodyComplete) from = this.#readBody(exchange, bytes, from, to);
      if (from < to && this.#exchange) this.#keepForLater(bytes, from, to);
      else if (from < to) this.#requests(bytes, from, to);
      output.flush();
      if (this.#exchange === exchange && !exchange.bodyComplete && exchange.upstreamBlocked) this.pauseBody();
      return;
    }
    if (this.#prefaced >= 0 && this.#isPreface(bytes, from, to)) return;
    if (this.#stash) this.#keepForLater(bytes, from, to);
    else this.#requests(bytes, from, to);
    output.flush();
  }
  /** The first bytes say whether the client knows beforehand that HTTP/2 is spoken here ("h2c", RFC 9113 §3.3). True: they are used. */
  #isPreface(bytes: Buffer, from: number, to: number): boolean {
    const known = this.#prefaced;
    const more = Math.min(to - from, preface.length - known);
    if (bytes.compare(preface, known, known + more, from, from + more) !== 0) {
      this.#prefaced = -1;
      if (known > 0) this.#requests(preface, 0, known);
      return false;
    }
    this.#prefaced += more;
    if (this.#prefaced < preface.length) return true;
    this.#isGone = true;
    this.#engine.sweeper.remove(this);
    this.#engine.speaksHttp2(this, new StreamSocket(this.stream, Buffer.concat([preface, bytes.subarray(from + more, to)])));
    return true;
  }
  onEnd(): void {
    const exchange = this.#exchange;
    // Between pods it is for the program to say whether who has said all has left: as it was when nobody stood between.
    if (exchange?.bodyComplete && this.listener.isTransparent) {
      this.#keepAlive = false;
      this.hasEnded = true;
      return exchange.clientEnded();
    }
    this.#close();
    exchange?.cancel("DC", "the client closed its connection");
  }
  onBroken(): void {
    const exchange = this.#exchange;
    this.#close();
    exchange?.cancel("DC", "the client's connection broke");
  }
  onDrain(): void {
    const exchange = this.#exchange;
    if (exchange) {
      this.touch();
      exchange.clientDrained();
    } else if (this.#stash && !this.#lingering) {
      this.#goOn();
      this.#engine.output.flush();
    }
  }
  /** The deadline has passed. */
  expire(): void {
    const exchange = this.#exchange;
    if (exchange) {
      const answerMs = exchange.silenceMs ?? this.listener.bounds.answerMs;
      if (this.isBlocked) {
        this.#close(true);
        return exchange.cancel("SI", "the client does not take the answer");
      }
      if (!exchange.bodyComplete && !this.#isBodyPaused) {
        this.#keepAlive = false;
        exchange.refuse(408, "SI", "the request's body came too slowly");
      } else if (answerMs > 0) {
        exchange.refuse(504, "UT", `nothing came from the upstream for ${answerMs} ms`);
      }
      this.#engine.output.flush();
    } else if (this.#head && !this.#head.isFresh && !this.#lingering) {
      this.#refuse(408, "the request's head came too slowly", "SI");
      this.#engine.output.flush();
    } else {
      this.#close();
    }
  }

  // Requests.
  #requests(bytes: Buffer, from: number, to: number): void {
    this.#working = true;
    while (from < to && !this.#exchange && !this.#lingering && !this.#isGone) {
      if (this.isBlocked) break;
      from = this.#next(bytes, from, to);
    }
    this.#working = false;
    if (from < to && !this.#lingering && !this.#isGone) this.#keepForLater(bytes, from, to);
  }

  /** Reads one head, and starts its request. Returns the index behind what it used. */
  #next(bytes: Buffer, from: number, to: number): number {
    const { bounds } = this.listener;
    let head = this.#head;
    if (head === undefined) {
      head = freeHeads.pop() ?? new Head(true, bounds.headBytesMax);
      head.reset();
      head.bytesMax = bounds.headBytesMax;
      head.lineMax = bounds.lineBytesMax;
      this.#head = head;
      this.deadline = this.#engine.sweeper.now + bounds.headersMs;
    }
    const result = head.feed(bytes, from, to);
    if (result === incomplete) return to;
    if (result !== complete) {
      this.#refuse(head.errorStatus, head.error);
      return to;
    }
    from = head.next;
    this.#head = undefined;
    head.keep();
    head.dropNominated();
    return this.#begin(head, bytes, from, to);
  }

  #begin(head: Head, bytes: Buffer, from: number, to: number): number {
    const engine = this.#engine;
    const { requestsMax = Infinity, connectionMs = 0 } = this.listener.bounds;
    if (++this.#requestsBegun >= requestsMax || (connectionMs > 0 && performance.now() - this.#since >= connectionMs)) this.#leaving = true;
    this.#isOld = head.minorVersion === 0;
    this.#keepAlive = (this.#isOld ? head.connectionKeepAlive && !head.connectionClose : !head.connectionClose) && !this.#isToLeave();
    this.#wantsTrailers = head.hasTrailers;
    const bodyFraming: Framing = head.chunked ? framing.chunked : head.contentLength > 0 ? framing.length : head.contentLength === 0 ? framing.length : framing.none;
    const exchange = new HttpExchange(engine, this, head, bodyFraming);
    this.#exchange = exchange;
    engine.began();
    if (!exchange.bodyComplete) {
      this.#chunks = head.chunked ? new ChunkReader() : undefined;
      this.#bodyLeft = head.chunked ? 0 : head.contentLength;
      this.#bodyBytes = 0;
      this.#bodySince = engine.sweeper.now;
      if (this.#bodyLeft > bulkFrom) this.stream.wantsBulk = true;
      if (from < to) from = this.#readBody(exchange, bytes, from, to);
      if (this.#exchange !== exchange) return from;
    }
    this.touch();
    exchange.start();
    // Its rule is known now, and may say how long an upstream may be silent.
    if (this.#exchange === exchange && exchange.silenceMs !== undefined) this.touch();
    if (this.#exchange === exchange && !exchange.bodyComplete && exchange.upstreamBlocked) this.pauseBody();
    return from;
  }

  /** A piece of the running request's body. Returns the index behind it. */
  #readBody(exchange: HttpExchange, bytes: Buffer, from: number, to: number): number {
    const chunks = this.#chunks;
    this.#bodyBytes += to - from;
    if (!chunks) {
      const length = Math.min(this.#bodyLeft, to - from);
      this.#bodyLeft -= length;
      if (this.#bodyLeft === 0) this.stream.wantsBulk = false;
      exchange.bodyContent(bytes, from, from + length, this.stream.bulk);
      if (this.#bodyLeft === 0) exchange.bodyEnd();
      from += length;
    } else {
      const used = chunks.read(bytes, from, to);
      if (chunks.error !== undefined) {
        this.#keepAlive = false;
        exchange.refuse(400, "DPE", chunks.error);
        return to;
      }
      if (chunks.dataEnd - chunks.dataStart > bulkFrom) this.stream.wantsBulk = true;
      if (chunks.done) this.stream.wantsBulk = false;
      if (chunks.dataEnd > chunks.dataStart) exchange.bodyContent(bytes, chunks.dataStart, chunks.dataEnd, used === to ? this.stream.bulk : undefined);
      if (chunks.done) exchange.bodyEnd(chunks.trailers);
      from = used;
    }
    this.touch();
    return from;
  }

  /** Bytes that belong to a later request wait; more of them than fit into one buffer are left to the kernel. */
  #keepForLater(bytes: Buffer, from: number, to: number): void {
    const piece = Buffer.from(bytes.subarray(from, to));
    this.#stash = this.#stash ? Buffer.concat([this.#stash, piece]) : piece;
    if (this.#stash.length > readBytesMax / 4) this.stream.pause();
  }

  /** Something has moved: how long may it stand still now? */
  touch(): void {
    const { bounds } = this.listener;
    const { now } = this.#engine.sweeper;
    const exchange = this.#exchange;
    if (this.isBlocked) this.deadline = now + bounds.bodyIdleMs;
    else if (exchange && !exchange.bodyComplete && !this.#isBodyPaused) this.deadline = Math.min(now + bounds.bodyIdleMs, this.#bodySince + bounds.bodyIdleMs + (this.#bodyBytes * 1000) / bounds.bodyBytesPerSecond);
    else {
      const answerMs = exchange?.silenceMs ?? bounds.answerMs;
      this.deadline = answerMs > 0 ? now + answerMs : Infinity;
    }
  }

  // Client: what the exchange says.
  wantBody(): void {
    if (this.#exchange?.head.expectContinue && this.#bodyBytes === 0 && !this.#isOld) {
      this.#exchange.head.expectContinue = false;
      this.#engine.output.to(this.stream);
      this.#engine.output.text("HTTP/1.1 100 Continue\r\n\r\n");
      this.#engine.output.flush();
    }
    if (!this.#isBodyPaused) return;
    this.#isBodyPaused = false;
    this.#bodySince = this.#engine.sweeper.now;
    this.#bodyBytes = 0;
    this.touch();
    this.stream.resume();
  }
  pauseBody(): void {
    if (this.#isBodyPaused) return;
    this.#isBodyPaused = true;
    this.touch();
    this.stream.pause();
  }
  interim(head: Head): void {
    if (this.#isOld) return;
    this.#engine.output.to(this.stream);
    composeResponse(this.#engine.output, head, { edits: undefined, setCookie: undefined, framing: framing.none, length: -1, trailers: false, lengthSaid: false, connection: "" });
  }
  answer(head: Head, bodyFraming: Framing, length: number): void {
    const exchange = this.#exchange!;
    const { output } = this.#engine;
    let shape = bodyFraming;
    if (shape === framing.close || shape === framing.chunked) {
      shape = this.#isOld ? framing.close : framing.chunked;
      if (this.#isOld) this.#keepAlive = false;
    }
    this.#chunked = shape === framing.chunked;
    this.#settleKeepAlive(exchange);
    output.to(this.stream);
    composeResponse(output, head, {
      edits: exchange.responseHeaders,
      setCookie: exchange.setCookie,
      framing: shape,
      length,
      trailers: this.#wantsTrailers,
      lengthSaid: shape === framing.none && length >= 0 && head.status !== 204,
      connection: this.#connectionOption(),
    });
    this.touch();
  }
  begin({ status, headers, length }: AnswerHead): void {
    const exchange = this.#exchange!;
    const { output } = this.#engine;
    const isEmpty = exchange.isHead || status === 204 || status === 304;
    this.#chunked = !isEmpty && length === undefined && !this.#isOld;
    if (!isEmpty && length === undefined && this.#isOld) this.#keepAlive = false;
    this.#settleKeepAlive(exchange);
    output.to(this.stream);
    composeBegin(output, status, headers, { chunked: this.#chunked, length: status === 204 ? undefined : length, edits: exchange.responseHeaders, setCookie: exchange.setCookie, connection: this.#connectionOption() });
    this.touch();
  }
  /** What has not been read of the request cannot be told from the next one. */
  #settleKeepAlive(exchange: HttpExchange): void {
    if (!exchange.bodyComplete || this.#isToLeave() || (this.#endsAt !== Infinity && this.#endsAt <= performance.now())) this.#keepAlive = false;
  }
  #connectionOption(): string {
    return this.#keepAlive ? (this.#isOld ? "keep-alive" : "") : "close";
  }
  content(bytes: Buffer, from: number, to: number, bulk: Bulk | undefined): void {
    writeContent(this.#engine.output, this.stream, bytes, from, to, bulk, this.#chunked);
    this.touch();
  }
  end(trailers: Trailers): void {
    if (this.#chunked) writeLastChunk(this.#engine.output, this.stream, this.#wantsTrailers ? trailers : []);
  }
  local(answer: LocalAnswer): void {
    const exchange = this.#exchange!;
    this.#settleKeepAlive(exchange);
    this.#engine.output.to(this.stream);
    if (answer.kept && !exchange.responseHeaders) return composeKept(this.#engine.output, answer.status, answer.kept, asBuffer(answer.bytes!), { connection: this.#connectionOption(), isHead: exchange.isHead });
    composeLocal(this.#engine.output, answer.status, answer.headers, answer.body, { connection: this.#connectionOption(), isHead: exchange.isHead, edits: exchange.responseHeaders, bytes: answer.bytes });
  }
  breakOff(): void {
    if (this.#tunnel) this.#tunnel.close(true);
    else this.#close(true);
  }
  tunnel(head: Head, upstream: Stream, bytes: Buffer, from: number, to: number): void {
    const exchange = this.#exchange!;
    const { output, sweeper } = this.#engine;
    output.to(this.stream);
    composeResponse(output, head, { edits: exchange.responseHeaders, setCookie: exchange.setCookie, framing: framing.none, length: -1, trailers: false, lengthSaid: false, connection: "upgrade" });
    sweeper.remove(this);
    const stash = this.#stash;
    this.#stash = undefined;
    this.stream.resume();
    this.#tunnel = new Tunnel({ output, sweeper, client: this.stream, upstream, idleMs: exchange.silenceMs ?? this.listener.bounds.tunnelIdleMs }, (sent) => {
      exchange.sentBytes = sent;
      this.#tunnel = undefined;
      exchange.closed();
      this.#close();
    });
    this.#tunnel.start(stash, bytes, from, to);
  }
  finished(): void {
    const { head, bodyComplete } = this.#exchange!;
    this.#exchange = undefined;
    this.#chunks = undefined;
    this.stream.wantsBulk = false;
    if (freeHeads.length < freeHeadsMax) freeHeads.push(head);
    if (this.#isGone) return;
    // An answer that began before it was told to leave has not said so; it ends here all the same.
    if (!this.#keepAlive || this.#isToLeave()) {
      this.#engine.output.flush();
      // All is read and all is written: nothing can break the answer on its way.
      return bodyComplete && !this.#stash && !this.isBlocked ? this.#close() : this.#linger();
    }
    this.deadline = Math.min(this.#engine.sweeper.now + this.listener.bounds.idleMs, this.#endsAt);
    if (this.#isBodyPaused) {
      this.#isBodyPaused = false;
      this.stream.resume();
    }
    if (this.#stash && !this.#working) this.#goOn();
  }
  #goOn(): void {
    if (this.isBlocked) return;
    const stash = this.#stash!;
    this.#stash = undefined;
    this.stream.resume();
    this.#requests(stash, 0, stash.length);
  }

  // Ends.
  /** An answer to what is not a request. */
  #refuse(status: number, reason: string, flag = "DPE"): void {
    const { output } = this.#engine;
    this.#keepAlive = false;
    output.to(this.stream);
    composeLocal(output, status, [["Content-Type", "text/plain; charset=utf-8"]], `${reason}\n`, { connection: "close", isHead: false, edits: undefined });
    this.#engine.refused(this, status, flag, reason);
    this.#linger();
  }
  /** Our last word is said; closing at once would break it on its way, as long as the client is sending. */
  #linger(): void {
    this.#engine.output.flush();
    this.#lingering = true;
    this.#stash = undefined;
    this.deadline = this.#engine.sweeper.now + lingerMs;
    this.stream.finish();
    this.stream.resume();
  }
  /** Ends when its request has; at once without one. */
  drain(): void {
    if (this.#tunnel || this.#lingering) return;
    this.#leaving = true;
    if (!this.#exchange && (!this.#head || this.#head.isFresh)) this.#close();
  }
  /** Now, whatever is running. */
  abort(): void {
    this.#tunnel?.close();
    const exchange = this.#exchange;
    this.#close(exchange !== undefined);
    exchange?.cancel("DC", "the gateway stops");
  }
  #close(reset = false): void {
    if (this.#isGone) return;
    this.#isGone = true;
    if (this.#head && freeHeads.length < freeHeadsMax) freeHeads.push(this.#head);
    this.#head = undefined;
    this.#stash = undefined;
    this.#engine.sweeper.remove(this);
    if (!this.#tunnel) {
      if (reset) {
        this.#engine.output.flush();
        this.stream.reset();
      } else {
        this.stream.close();
      }
    }
    this.#engine.left(this);
  }
}
