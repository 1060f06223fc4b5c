import type { Socket } from "node:net";
import { limits } from "../../base/limits.ts";
import { serveHttp2, type Http2Served } from "../../base/http2/connection.ts";
import type { Http2Request, Http2Response } from "../../base/http2/messages.ts";
import type { AnswerHead, LocalAnswer } from "../../policy/exchange.ts";
import type { Trailers } from "./asker.ts";
import type { Client } from "./client.ts";
import { tokens, values } from "./bytes.ts";
import { addField, asBuffer, every, framing, responseFields, type Framing } from "./compose.ts";
import type { Connected, Engine } from "./engine.ts";
import { HttpExchange } from "./exchange.ts";
import { complete, Head } from "./head.ts";
import type { Gauge, Listener } from "./routing.ts";
import { Http2Stream } from "./http2-stream.ts";
import { StreamSocket } from "./stream-socket.ts";
import { portAt, type Bulk, type Stream } from "./stream.ts";
import { Tunnel } from "./tunnel.ts";
import { acceptOf, handshakeNames, newKey } from "./websocket.ts";

const streamWindow = 256 * 1024;
const connectionWindow = 1024 * 1024;

/**
 * A client's connection that speaks HTTP/2. Each of its requests is written down as a head of HTTP/1.1 and read by the one
 * parser that all others meet: what could be smuggled by way of the other protocol (line ends in values, two hosts, lengths
 * that are none) is refused there, and path and host have the same normal form. Floods are bounded in `base/http2`.
 */
export class Http2Connection implements Connected {
  readonly engine: Engine;
  readonly listener: Listener;
  readonly address: string;
  readonly gauge: Gauge | undefined;
  readonly #socket: Socket;
  readonly #since = performance.now();
  #requests = 0;
  readonly #running = new Set<Http2Client>();
  deadline = Infinity;
  #isGone = false;
  #isLeaving = false;
  #served: Http2Served | undefined;

  constructor(engine: Engine, socket: Socket, listener: Listener, address: string, gauge: Gauge | undefined) {
    this.gauge = gauge;
    this.engine = engine;
    this.listener = listener;
    this.address = address;
    this.#socket = socket;
  }

  get port(): number {
    return this.#socket instanceof StreamSocket ? portAt(this.#socket, this.address) : 0;
  }
  start(): void {
    this.engine.sweeper.add(this);
    this.deadline = this.engine.sweeper.now + this.listener.bounds.headersMs;
    this.#socket.on("close", () => this.#gone());
    const { bounds } = this.listener;
    this.#served = serveHttp2(this.#socket, {
      onRequest: (request, response) => {
        this.deadline = Infinity;
        const client = new Http2Client(this, request, response);
        this.#running.add(client);
        client.start();
        // With what was just begun, it has done what it may.
        const { requestsMax = Infinity, connectionMs = 0 } = bounds;
        if (++this.#requests >= requestsMax || (connectionMs > 0 && performance.now() - this.#since >= connectionMs)) this.drain();
      },
      takesTunnels: true,
      streamsMax: bounds.streamsMax ?? limits.gatewayStreamsMax,
      streamWindow: bounds.streamWindow ?? streamWindow,
      connectionWindow: bounds.connectionWindow ?? connectionWindow,
      headerBytesMax: this.listener.bounds.headBytesMax,
      prefaceMs: this.listener.bounds.headersMs,
    });
    this.#socket.resume();
    if (this.#socket.destroyed) this.#gone();
  }
  over(client: Http2Client): void {
    this.#running.delete(client);
    if (this.#running.size > 0) return;
    // Its last frames leave at the end of this turn.
    if (this.engine.draining || this.#isLeaving) setImmediate(() => this.drain());
    this.deadline = this.engine.sweeper.now + this.listener.bounds.idleMs;
  }
  /** Between requests for too long. */
  expire(): void {
    this.drain();
  }
  drain(): void {
    this.#isLeaving = true;
    this.deadline = Infinity;
    this.#served?.sayFarewell();
    if (this.#running.size === 0) this.#socket.end(() => this.#socket.destroy());
  }
  abort(): void {
    this.#socket.destroy();
    this.#gone();
  }
  #gone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.engine.sweeper.remove(this);
    for (const client of this.#running) client.gone();
    this.engine.left(this);
  }
}

/** One request of such a connection. */
class Http2Client implements Client {
  readonly protocol = "HTTP/2";
  readonly #connection: Http2Connection;
  readonly #engine: Engine;
  readonly #request: Http2Request;
  readonly #response: Http2Response;
  #exchange: HttpExchange | undefined;
  isBlocked = false;
  deadline = Infinity;
  #isPaused = false;
  /** Of a WebSocket that HTTP/1.1 is asked for. */
  #key = "";
  #tunnel: Tunnel | undefined;
  /** The last word is said: what becomes of the stream now is no news. */
  #isDone = false;

  constructor(connection: Http2Connection, request: Http2Request, response: Http2Response) {
    this.#connection = connection;
    this.#engine = connection.engine;
    this.#request = request;
    this.#response = response;
  }
  get listener(): Listener {
    return this.#connection.listener;
  }
  get address(): string {
    return this.#connection.address;
  }
  get port(): number {
    return this.#connection.port;
  }

  start(): void {
    const request = this.#request;
    this.#engine.sweeper.add(this);
    this.#response.on("close", () => {
      this.#engine.sweeper.remove(this);
      this.#connection.over(this);
    });
    const { bounds } = this.listener;
    if (request.protocol !== undefined) this.#key = newKey();
    const bytes = Buffer.from(asText(request, this.#key), "latin1");
    const head = new Head(true, bounds.headBytesMax, bounds.lineBytesMax);
    const result = head.feed(bytes, 0, bytes.length);
    const isUnknown = request.protocol !== undefined && request.protocol !== "websocket";
    if (result !== complete || head.next !== bytes.length || hostsDiffer(request) || isUnknown) {
      const [status, reason] = result !== complete ? [head.errorStatus, head.error] : isUnknown ? [501, "a tunnel for another protocol than WebSocket"] : [400, "the head is not one of HTTP"];
      this.#engine.refused(this, status, "DPE", reason);
      this.#response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
      this.#response.end(`${reason}\n`);
      return;
    }
    head.keep();
    // base/http2 has said 100 already.
    head.expectContinue = false;
    const bodyFraming: Framing = head.contentLength >= 0 ? framing.length : head.chunked ? framing.chunked : framing.none;
    const exchange = new HttpExchange(this.#engine, this, head, bodyFraming);
    this.#exchange = exchange;
    this.#engine.began();
    this.touch();
    request.on("close", () => this.gone());
    this.#response.on("drain", () => {
      if (this.#tunnel) return;
      this.isBlocked = false;
      this.touch();
      this.#exchange?.clientDrained();
    });
    exchange.start();
    // Its rule is known now, and may say how long an upstream may be silent.
    if (this.#exchange === exchange && exchange.silenceMs !== undefined) this.touch();
    this.#engine.output.flush();
    if (this.#exchange !== exchange || exchange.bodyComplete) return;
    request.on("data", (chunk: Buffer) => {
      if (this.#exchange !== exchange) return;
      exchange.bodyContent(chunk, 0, chunk.length, undefined);
      this.#engine.output.flush();
      this.touch();
      if (this.#exchange === exchange && exchange.upstreamBlocked) this.pauseBody();
    });
    request.on("end", () => {
      if (this.#exchange !== exchange) return;
      exchange.bodyEnd(trailersOf(request));
      this.#engine.output.flush();
      this.touch();
    });
  }

  gone(): void {
    if (this.#tunnel) return this.#tunnel.close(true);
    if (this.#isDone) return;
    this.#exchange?.cancel("DC", "the client reset its stream, or closed its connection");
  }
  expire(): void {
    if (this.#tunnel) return;
    const exchange = this.#exchange;
    if (!exchange) return void this.#response.destroy();
    if (this.isBlocked) exchange.refuse(408, "SI", "the client does not take the answer");
    else if (!exchange.bodyComplete && !this.#isPaused) exchange.refuse(408, "SI", "the request's body came too slowly");
    else exchange.refuse(504, "UT", `nothing came from the upstream for ${exchange.silenceMs ?? this.listener.bounds.answerMs} ms`);
    this.#engine.output.flush();
  }
  touch(): void {
    const { bounds } = this.listener;
    const waitsForClient = this.isBlocked || (this.#exchange?.bodyComplete === false && !this.#isPaused);
    // Both may speak as they like once the answer has begun: a stream of gRPC may be silent for long, as a WebSocket may.
    const ms = this.#exchange?.answered && !this.isBlocked && !this.#exchange.bodyComplete ? (this.#exchange.silenceMs ?? bounds.tunnelIdleMs) : waitsForClient ? bounds.bodyIdleMs : (this.#exchange?.silenceMs ?? bounds.answerMs);
    this.deadline = ms > 0 ? this.#engine.sweeper.now + ms : Infinity;
  }
  wantBody(): void {
    this.#isPaused = false;
    this.#request.resume();
    this.touch();
  }
  pauseBody(): void {
    this.#isPaused = true;
    this.#request.pause();
    this.touch();
  }
  interim(head: Head): void {
    this.#response.writeInformational(head.status, responseFields(head, undefined));
  }
  answer(head: Head, bodyFraming: Framing, length: number): void {
    const exchange = this.#exchange!;
    const fields = responseFields(head, exchange.responseHeaders);
    if (exchange.setCookie !== undefined) fields.push(["set-cookie", exchange.setCookie]);
    if (head.contentLength >= 0 && head.status !== 204 && (bodyFraming === framing.length || bodyFraming === framing.none)) fields.push(["content-length", String(length)]);
    this.#response.writeHead(head.status, grouped(fields));
    // An answer without a body ends with its head, in one frame: gRPC's "Trailers-Only" is not one otherwise.
    if (bodyFraming !== framing.none && !(bodyFraming === framing.length && length === 0)) this.#response.flushHeaders();
    this.touch();
  }
  begin({ status, headers, length }: AnswerHead): void {
    const exchange = this.#exchange!;
    const { responseHeaders: edits, setCookie } = exchange;
    const gone = new Set(edits ? [...edits.remove, ...edits.set.map(([name]) => name)].map((name) => name.toLowerCase()) : []);
    const fields: [string, string][] = [];
    for (const [name, value] of headers) if (!gone.has(name.toLowerCase())) addField(fields, name, value);
    if (edits) for (const [name, value] of [...edits.set, ...edits.add]) addField(fields, name, value);
    if (setCookie !== undefined) fields.push(["set-cookie", setCookie]);
    if (length !== undefined && status !== 204) fields.push(["content-length", String(length)]);
    this.#response.writeHead(status, grouped(fields));
    if (!exchange.isHead && status !== 204 && status !== 304 && length !== 0) this.#response.flushHeaders();
    this.touch();
  }
  content(bytes: Buffer, from: number, to: number, _bulk: Bulk | undefined): void {
    // Held until it is framed: what was read lies in a buffer that is used again.
    if (!this.#response.write(Buffer.from(bytes.subarray(from, to)))) this.isBlocked = true;
    this.touch();
  }
  end(trailers: Trailers): void {
    this.#isDone = true;
    this.#response.addTrailers(trailers);
    this.#response.end();
  }
  local(answer: LocalAnswer): void {
    this.#isDone = true;
    const edits = this.#exchange!.responseHeaders;
    const gone = new Set(edits ? [...edits.remove, ...edits.set.map(([name]) => name)].map((name) => name.toLowerCase()) : []);
    const fields: [string, string][] = [];
    for (const [name, value] of answer.headers) if (!gone.has(name.toLowerCase())) addField(fields, name, value);
    if (edits) for (const [name, value] of [...edits.set, ...edits.add]) addField(fields, name, value);
    this.#response.writeHead(answer.status, grouped(fields));
    this.#response.end(answer.bytes ? asBuffer(answer.bytes) : answer.body);
  }
  breakOff(): void {
    this.#isDone = true;
    this.#response.destroy();
  }
  /** What asks for a tunnel gets one, or hears why not: 2xx of another kind would be taken for one. */
  refuses(head: Head): string | undefined {
    if (this.#request.protocol === undefined) return undefined;
    if (head.status === 101) return head.find("sec-websocket-accept") === acceptOf(this.#key) ? undefined : "it switched protocols without the right Sec-WebSocket-Accept";
    return head.status >= 200 && head.status < 300 ? `it answered ${head.status} and did not switch protocols` : undefined;
  }
  tunnel(head: Head, upstream: Stream, bytes: Buffer, from: number, to: number): void {
    const exchange = this.#exchange!;
    const { output, sweeper } = this.#engine;
    const fields = responseFields(head, exchange.responseHeaders).filter(([name]) => !handshakeNames.has(name));
    if (exchange.setCookie !== undefined) fields.push(["set-cookie", exchange.setCookie]);
    this.#response.writeHead(200, grouped(fields));
    this.#response.flushHeaders();
    this.deadline = Infinity;
    const client = new Http2Stream(this.#request, this.#response);
    this.#tunnel = new Tunnel({ output, sweeper, client, upstream, idleMs: exchange.silenceMs ?? this.listener.bounds.tunnelIdleMs }, (sent) => {
      exchange.sentBytes = sent;
      exchange.closed();
    });
    this.#tunnel.start(undefined, bytes, from, to);
  }
  finished(): void {
    this.#exchange = undefined;
    // What waits for the client's window may wait so long; then the stream is over.
    this.deadline = this.#engine.sweeper.now + this.listener.bounds.bodyIdleMs;
  }
}

/** No name may be a trailer's that is not its own: the rest of the head was judged without it. */
function trailersOf({ trailers }: Http2Request): Trailers {
  return trailers.filter(([name, value]) => name !== "" && every(name, tokens) && every(value, values));
}

function grouped(fields: readonly [name: string, value: string][]): Record<string, string[]> {
  const groups = Object.create(null) as Record<string, string[]>;
  for (const [name, value] of fields) (groups[name] ??= []).push(value);
  return groups;
}

/** The head as HTTP/1.1 would have it. Its values are looked at by the parser, which is the point. */
function asText(request: Http2Request, key: string): string {
  const { method, url, headers, rawHeaders, protocol } = request;
  // As a WebSocket would ask over HTTP/1.1: rules and programs see one kind.
  let text = `${protocol === undefined ? method : "GET"} ${url} HTTP/1.1\r\n`;
  if (protocol !== undefined) text += `connection: upgrade\r\nupgrade: ${protocol}\r\nsec-websocket-key: ${key}\r\n`;
  if (headers.host !== undefined) text += `host: ${headers.host}\r\n`;
  const cookies: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    // Browsers send one field for each cookie (RFC 9113 §8.2.3).
    if (name === "cookie") cookies.push(rawHeaders[i + 1]!);
    else if (name !== "host" && !(protocol !== undefined && handshakeNames.has(name))) text += `${name}: ${rawHeaders[i + 1]!}\r\n`;
  }
  if (cookies.length > 0) text += `cookie: ${cookies.join("; ")}\r\n`;
  if (protocol === undefined && !request.complete && headers["content-length"] === undefined) text += "transfer-encoding: chunked\r\n";
  return `${text}\r\n`;
}

/** `:authority` has the last word in HTTP/2; a Host beside it that says another is an attempt. */
function hostsDiffer({ headers, rawHeaders }: Http2Request): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i] === "host" && rawHeaders[i + 1]!.toLowerCase() !== headers.host?.toLowerCase()) return true;
  return false;
}
