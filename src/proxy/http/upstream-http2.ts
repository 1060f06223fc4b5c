import { STATUS_CODES } from "node:http";
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream, type ClientSessionOptions, type OutgoingHttpHeaders, type Settings } from "node:http2";
import { Socket } from "node:net";
import type { TcpHandle } from "../../base/handles.ts";
import type { Endpoint } from "../../policy/upstream.ts";
import type { Asked, Asker, Trailers } from "./asker.ts";
import { lateNames } from "./chunks.ts";
import { framing, type Framing, type RequestLines } from "./compose.ts";
import { DuplexStream } from "./duplex-stream.ts";
import { complete, Head } from "./head.ts";
import type { Output } from "./output.ts";
import { copyRequest } from "./request-copy.ts";
import type { Stream } from "./stream.ts";
import type { Swept, Sweeper } from "./sweeper.ts";
import { streamsAssumed } from "./upstream-sessions.ts";
import { acceptOf, handshakeNames } from "./websocket.ts";

const noBytes = Buffer.alloc(0);

/** Of one answer, and of all of a connection's: so much may come before it is read. */
const streamWindow = 256 * 1024;
const connectionWindow = 4 * 1024 * 1024;
/** Megabytes, of Node's own accounts. Back-pressure is by windows; this only says when something is badly wrong. */
const sessionMegabytesMax = 512;
const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_FLAG_END_STREAM } = constants;

export interface SessionOwner {
  readonly sweeper: Sweeper;
  readonly output: Output;
  readonly headBytesMax: number;
  idleMs(): number;
  /** One more request may be sent. */
  freed(): void;
  closed(): void;
}

/** One connection of HTTP/2 to an endpoint, shared by many requests. Source: RFC 9113. */
export class Http2Upstream implements Swept {
  readonly endpoint: Endpoint;
  readonly owner: SessionOwner;
  readonly session: ClientHttp2Session;
  readonly scheme: "http" | "https";
  readonly since: number;
  deadline: number;
  /** Requests on their way. */
  streams = 0;
  served = 0;
  /** Requests that it ever had. */
  asked = 0;
  /** Why it broke, in Node's words. */
  error: Error | undefined;
  /** What the server has said of itself; undefined until it has. */
  settings: Settings | undefined;
  #streamsMax = streamsAssumed;
  #isRetired = false;
  #isGone = false;

  constructor(handle: TcpHandle | Stream, endpoint: Endpoint, owner: SessionOwner) {
    this.endpoint = endpoint;
    this.owner = owner;
    this.since = owner.sweeper.now;
    this.scheme = handle instanceof DuplexStream ? "https" : "http";
    const socket = socketOf(handle);
    const options: ClientSessionOptions & { strictSingleValueFields: boolean } = {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: streamWindow, maxHeaderListSize: owner.headBytesMax },
      maxSessionMemory: sessionMegabytesMax,
      // What a client has said twice is the server's to judge, as it is with HTTP/1.1.
      strictSingleValueFields: false,
    };
    this.session = connect(`${this.scheme}://${endpoint.key}`, options);
    const { session } = this;
    session.setLocalWindowSize(connectionWindow);
    session.on("remoteSettings", (settings) => {
      const { maxConcurrentStreams } = settings;
      this.settings = settings;
      this.#streamsMax = maxConcurrentStreams ?? Infinity;
      if (this.hasRoom) owner.freed();
    });
    session.on("error", (error: Error) => (this.error = error));
    session.on("close", () => this.#gone());
    this.deadline = owner.sweeper.now + owner.idleMs();
    owner.sweeper.add(this);
  }

  /** When the server has spoken, or the connection has ended. */
  whenSettled(then: () => void): void {
    const once = (): void => {
      this.session.off("remoteSettings", once).off("close", once);
      this.settings ??= {};
      then();
    };
    this.session.on("remoteSettings", once).on("close", once);
  }
  get hasRoom(): boolean {
    return !this.#isRetired && !this.session.closed && !this.session.destroyed && this.streams < this.#streamsMax;
  }
  open(): Asked {
    this.streams++;
    this.asked++;
    this.deadline = Infinity;
    return new Http2Asked(this);
  }
  over(hasAnswered: boolean): void {
    this.streams--;
    if (hasAnswered) this.served++;
    if (this.streams === 0) {
      if (this.#isRetired || this.#isGone) return this.close();
      this.deadline = this.owner.sweeper.now + this.owner.idleMs();
    }
    this.owner.freed();
  }
  /** Nothing new is sent on it; it ends with its last request. */
  retire(): void {
    this.#isRetired = true;
    if (this.streams === 0) this.close();
  }
  expire(): void {
    if (this.streams === 0) this.close();
  }
  /** Says farewell, and lets end what is on its way. */
  close(): void {
    this.#isRetired = true;
    this.session.close();
    this.#gone();
  }
  #gone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.owner.sweeper.remove(this);
    this.owner.closed();
  }
}

/** One request on such a connection. */
class Http2Asked implements Asked {
  readonly #session: Http2Upstream;
  readonly mayRefuse = true;
  #asker: Asker | undefined;
  #stream: ClientHttp2Stream | undefined;
  #requestTrailers: Trailers = [];
  #trailers: Trailers = [];
  #hasSentAll = false;
  #error: Error | undefined;
  #answered = false;
  #isOver = false;
  #isTunnel = false;
  /** Of the WebSocket's handshake in HTTP/1.1. */
  #key = "";

  constructor(session: Http2Upstream) {
    this.#session = session;
  }
  get endpoint(): Endpoint {
    return this.#session.endpoint;
  }
  get served(): number {
    return this.#session.served;
  }
  get isBlocked(): boolean {
    return this.#stream?.writableNeedDrain ?? false;
  }

  ask(asker: Asker, head: Head, lines: RequestLines): void {
    const copy = copyRequest(head, lines);
    // Other upgrades HTTP/2 does not know: they are not asked for (RFC 9110 §7.8).
    if (lines.upgrade && /^websocket$/i.test(head.valueAt(head.upgradeField))) this.#askTunnel(asker, copy);
    else this.#request(asker, copy, lines.framing, head.hasTrailers);
  }
  /** RFC 8441: only a server that has said so takes it, and it says so in its first frame. */
  #askTunnel(asker: Asker, copy: Buffer): void {
    this.#asker = asker;
    const settings = this.#session.settings;
    if (settings === undefined) return void this.#session.whenSettled(() => this.#asker && this.#askTunnel(this.#asker, copy));
    if (!settings.enableConnectProtocol) return void process.nextTick(() => this.#fail("it takes no WebSockets over HTTP/2", true, false));
    this.#isTunnel = true;
    this.#request(asker, copy, framing.none, false);
  }
  askCopy(asker: Asker, copy: Buffer, bodyFraming: Framing): void {
    this.#request(asker, copy, bodyFraming, false);
  }
  #request(asker: Asker, copy: Buffer, bodyFraming: Framing, wantsTrailers: boolean): void {
    this.#asker = asker;
    const fields = fieldsOf(copy, this.#session.scheme, this.endpoint.key, wantsTrailers);
    if (this.#isTunnel) this.#key = asTunnel(fields);
    const { session } = this.#session;
    const hasBody = bodyFraming !== framing.none;
    let stream: ClientHttp2Stream;
    try {
      // A stream that waits for trailers ends only when it is told to: any other one Node ends properly before it resets it, and
      // the half of a body would be taken for the whole.
      stream = session.request(fields, { endStream: !hasBody && !this.#isTunnel, waitForTrailers: hasBody });
    } catch (error) {
      // It ended within this turn, and nobody was told yet: nothing has been sent.
      process.nextTick(() => this.#fail((error as Error).message, false, session.closed || session.destroyed));
      return;
    }
    this.#stream = stream;
    if (hasBody) stream.on("wantTrailers", () => void (this.#hasSentAll && !stream.destroyed && stream.sendTrailers(grouped(this.#requestTrailers))));
    stream.on("headers", (_headers, _flags, raw) => {
      const head = this.#headOf(raw);
      if (!head) return;
      this.#asker?.interim(head);
      this.#session.owner.output.flush();
    });
    stream.on("response", (_headers, flags, raw) => this.#onResponse(flags, raw));
    stream.on("trailers", (_headers, _flags, raw) => (this.#trailers = pairsOf(raw)));
    stream.on("drain", () => this.#asker?.upstreamDrained());
    stream.on("error", (error: Error) => (this.#error = error));
    stream.on("end", () => this.#done());
    stream.on("close", () => this.#onClose());
  }

  #onResponse(flags: number, raw: readonly string[]): void {
    const asker = this.#asker;
    const head = this.#headOf(raw);
    if (!asker || !head) return;
    const { output } = this.#session.owner;
    const { status } = head;
    const isEnd = (flags & NGHTTP2_FLAG_END_STREAM) !== 0;
    this.#answered = true;
    if (this.#isTunnel && status >= 200 && status < 300) {
      const switched = this.#headOf([":status", "101", "upgrade", "websocket", "sec-websocket-accept", acceptOf(this.#key), ...raw.filter((_, i) => !raw[i - (i % 2)]!.startsWith(":") && !handshakeNames.has(raw[i - (i % 2)]!))], true);
      if (switched) asker.switched(switched, noBytes, 0, 0);
      return output.flush();
    }
    if (asker.isHead || status === 204 || status === 304) asker.onAnswer(head, framing.none, head.contentLength);
    else if (isEnd) asker.onAnswer(head, framing.length, 0);
    else asker.onAnswer(head, head.contentLength >= 0 ? framing.length : framing.chunked, head.contentLength);
    // It may have been sent elsewhere.
    if (!this.#asker) return;
    const stream = this.#stream!;
    stream.on("data", (chunk: Buffer) => {
      if (!this.#asker) return;
      this.#asker.content(chunk, 0, chunk.length, undefined);
      output.flush();
      this.#asker?.flushed();
    });
    // The end is told with the head: what has no trailers of its own must not seem to have lost them.
    if (isEnd) this.#done();
    else output.flush();
  }

  /** Read by the one parser, as everything else; undefined: the try has failed. */
  #headOf(raw: readonly string[], maySwitch = false): Head | undefined {
    let text = "";
    let status = 0;
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i]!;
      if (name === ":status") status = Number(raw[i + 1]);
      else if (!name.startsWith(":")) text += `${name}: ${raw[i + 1]!}\r\n`;
    }
    const bytes = Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${text}\r\n`, "latin1");
    const head = new Head(false, this.#session.owner.headBytesMax);
    const isHead = head.feed(bytes, 0, bytes.length) === complete && head.next === bytes.length && (status !== 101 || maySwitch);
    if (isHead) return head;
    this.#fail(head.error || "its head is not one of HTTP", true, false);
    return undefined;
  }

  body(bytes: Buffer, from: number, to: number): void {
    const stream = this.#stream;
    // What was read lies in a buffer that is used again.
    if (stream && !stream.destroyed && !stream.writableEnded) stream.write(Buffer.from(bytes.subarray(from, to)));
  }
  bodyEnd(trailers: Trailers): void {
    this.#requestTrailers = trailers;
    const stream = this.#stream;
    if (!stream || stream.destroyed || stream.writableEnded) return;
    this.#hasSentAll = true;
    stream.end();
  }
  pause(): void {
    this.#stream?.pause();
  }
  resume(): void {
    this.#stream?.resume();
  }
  forbidReuse(): void {}
  finish(): void {}

  #done(): void {
    const asker = this.#asker;
    if (!asker || !this.#answered) return;
    // A stream that was cut off ends as well, for Node.
    const { rstCode } = this.#stream!;
    if (rstCode !== NGHTTP2_NO_ERROR) return;
    this.#asker = undefined;
    this.#end(NGHTTP2_NO_ERROR);
    asker.ended(this.#trailers);
    this.#session.owner.output.flush();
  }
  #onClose(): void {
    const stream = this.#stream!;
    if (this.#asker) {
      const { rstCode } = stream;
      const refused = rstCode === NGHTTP2_REFUSED_STREAM || stream.id === undefined || stream.pending;
      const error = this.#error ?? this.#session.error;
      const where = this.#answered ? "within its answer" : "before an answer";
      const reason = refused ? "it takes no more requests on this connection" : rstCode !== NGHTTP2_NO_ERROR && !this.#session.session.destroyed ? `it reset the stream ${where}, with ${codeName(rstCode)}` : `it broke ${where}`;
      this.#fail(reason, (error as NodeJS.ErrnoException | undefined)?.code === "ERR_HTTP2_ERROR", refused && !this.#answered);
    }
    this.#isOverNow();
  }
  #fail(reason: string, protocol: boolean, refused: boolean): void {
    const asker = this.#asker;
    this.#asker = undefined;
    this.#end(NGHTTP2_CANCEL);
    asker?.failed(reason, protocol, refused);
    this.#session.owner.output.flush();
  }
  /** Told to the endpoint: what is not read is not sent. */
  #end(code: number): void {
    const stream = this.#stream;
    if (!stream) return this.#isOverNow();
    if (stream.destroyed) return;
    // An answer that was read to its end closes by itself once the request has left; and none closes before all of it is read.
    if (!stream.closed && (code !== NGHTTP2_NO_ERROR || !stream.writableEnded)) stream.close(code);
    stream.resume();
  }
  #isOverNow(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#session.over(this.#answered);
  }
  close(): void {
    this.#asker = undefined;
    this.#end(NGHTTP2_CANCEL);
  }
  /** The rest of the stream, both ways. */
  leave(): Stream {
    this.#asker = undefined;
    return new DuplexStream(this.#stream!);
  }
}

function socketOf(handle: TcpHandle | Stream): Socket {
  if (handle instanceof DuplexStream) return handle.take() as Socket;
  (handle as TcpHandle).setNoDelay(true);
  return new Socket({ handle } as never);
}

/** What HTTP/1.1 has of one hop ends here; our own head has no other field that HTTP/2 has not. */
const ofHop = new Set(["connection", "upgrade", "transfer-encoding", "host"]);

/** Makes an upgrade of HTTP/1.1 a CONNECT (RFC 8441 §5). Returns the key that the answer goes by. */
function asTunnel(fields: OutgoingHttpHeaders): string {
  const key = String(fields["sec-websocket-key"] ?? "");
  for (const name of handshakeNames) delete fields[name];
  fields[":method"] = "CONNECT";
  fields[":protocol"] = "websocket";
  return key;
}

/** A head of HTTP/1.1 that we wrote, as HTTP/2 has it. */
function fieldsOf(copy: Buffer, scheme: string, authority: string, wantsTrailers: boolean): OutgoingHttpHeaders {
  const [first, ...lines] = copy.latin1Slice(0, copy.length - 4).split("\r\n");
  const [method, path] = first!.split(" ");
  const fields: Record<string, string | string[]> = Object.create(null) as Record<string, string | string[]>;
  fields[":method"] = method!;
  fields[":scheme"] = scheme;
  fields[":authority"] = authority;
  fields[":path"] = path!;
  for (const line of lines) {
    const at = line.indexOf(":");
    const name = line.slice(0, at).toLowerCase();
    const value = line.slice(at + 1).trim();
    if (name === "host") fields[":authority"] = value;
    if (ofHop.has(name)) continue;
    const before = fields[name];
    if (before === undefined) fields[name] = value;
    else if (Array.isArray(before)) before.push(value);
    else fields[name] = [before, value];
  }
  if (wantsTrailers) fields["te"] = "trailers";
  return fields;
}

function grouped(trailers: Trailers): Record<string, string[]> {
  const groups = Object.create(null) as Record<string, string[]>;
  for (const [name, value] of trailers) (groups[name] ??= []).push(value);
  return groups;
}

function pairsOf(raw: readonly string[]): [name: string, value: string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i < raw.length; i += 2) if (!lateNames.test(raw[i]!)) pairs.push([raw[i]!, raw[i + 1]!]);
  return pairs;
}

const codeName = (code: number): string => Object.entries(constants).find(([name, value]) => value === code && /^NGHTTP2_[A-Z_]+$/.test(name) && errorNames.has(name))?.[0].slice("NGHTTP2_".length) ?? String(code);
const errorNames = new Set(["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"].map((name) => `NGHTTP2_${name}`));
