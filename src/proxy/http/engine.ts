import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TcpHandle } from "../../base/handles.ts";
import { lazyModule } from "../../base/lazy.ts";
import { limits } from "../../base/limits.ts";
import type { LocalAnswer, SideAnswer, SideRequest } from "../../policy/exchange.ts";
import { systemRandom, type Random } from "../../base/random.ts";
import type { Endpoint, Picked, UpstreamPolicy } from "../../policy/upstream.ts";
import { dial } from "../dial.ts";
import { judgedAnew, peerAddress } from "../tcp-service.ts";
import { AccessLog } from "./access-log.ts";
import { ClientConnection } from "./client-connection.ts";
import { Counters } from "./counters.ts";
import type { HttpExchange } from "./exchange.ts";
import { Mirror } from "./mirror.ts";
import { Output } from "./output.ts";
import type { Bounds, Gauge, Listener } from "./routing.ts";
import { SideCall } from "./side-call.ts";
import type { Stream } from "./stream.ts";
import { StreamSocket } from "./stream-socket.ts";
import { Sweeper } from "./sweeper.ts";
import { TlsStream } from "./tls-stream.ts";
import { UpstreamPool, type Pool, type UpstreamSettings } from "./upstream-pool.ts";
import { UpstreamSessions } from "./upstream-sessions.ts";

const http2 = lazyModule<typeof import("./http2.ts")>(import.meta.url, "./http2.ts");

/** What a listener bounds unless its configuration says otherwise. */
export const defaultBounds: Bounds = {
  headBytesMax: limits.gatewayHeadBytesMax,
  lineBytesMax: limits.gatewayLineBytesMax,
  bodyBytesMax: limits.gatewayBodyBytesMax,
  headersMs: limits.gatewayHeadersMs,
  idleMs: limits.gatewayIdleMs,
  bodyIdleMs: limits.gatewayBodyIdleMs,
  bodyBytesPerSecond: limits.gatewayBodyBytesPerSecond,
  answerMs: limits.gatewayAnswerMs,
  tunnelIdleMs: limits.gatewayTunnelIdleMs,
  connectionsPerClient: limits.gatewayConnectionsPerClient,
};

export interface EngineOptions {
  /** Reaches endpoints, wherever they are; {@link dial} unless said. */
  dial?: typeof dial;
  connectionsMax?: number;
  /** Gets whole lines. Without it nothing is logged. */
  accessLog?: (lines: Buffer) => void;
  random?: Random;
}

const noBytes = Buffer.alloc(0);

/** A connection of a client, whatever it speaks. */
export interface Connected {
  readonly address: string;
  readonly listener: Listener;
  /** It is counted there, as its listener was when it came. */
  readonly gauge: Gauge | undefined;
  /** Ends when its requests have; at once without one. */
  drain(): void;
  /** Now, whatever is running. */
  abort(): void;
}

/** The HTTP engine of one worker: connections in, connections out, and what they share. */
export class Engine {
  readonly output = new Output();
  readonly sweeper = new Sweeper();
  readonly counters = new Counters();
  readonly random: Random;
  readonly #log: AccessLog | undefined;
  readonly #dial: typeof dial;
  readonly #connectionsMax: number;
  readonly #pools = new Map<string, Pool>();
  readonly #clients = new Set<Connected>();
  readonly #perClient = new Map<string, number>();
  readonly #turnedAway = new Set<() => void>();
  readonly #tunnels = new Map<HttpExchange, Endpoint>();
  draining = false;
  /** What is answered instead of asking an endpoint; undefined: nobody keeps any from anybody. */
  judge: ((exchange: HttpExchange, endpoint: Endpoint) => LocalAnswer | undefined) | undefined;

  constructor(options: EngineOptions = {}) {
    this.#dial = options.dial ?? dial;
    this.#connectionsMax = options.connectionsMax ?? limits.gatewayConnectionsMax;
    this.#log = options.accessLog ? new AccessLog(options.accessLog) : undefined;
    this.random = options.random ?? systemRandom;
  }

  /** A connection that was accepted for this listener. `address`: its client's, where it is not its peer's; `came`: what was read of it already. */
  accept(handle: TcpHandle, listener: Listener, address = peerAddress(handle), came?: Buffer): void {
    if (!this.#admit(address, listener)) return this.#turnAway(listener, () => void (handle.reset() === 0 || handle.close()));
    const connection = new ClientConnection(this, handle, listener, address);
    this.#serve(connection);
    if (came && came.length > 0) connection.onBytes(came, 0, came.length);
  }
  /** The same for one that is decrypted on its way. */
  acceptStream(stream: Stream, listener: Listener, address: string): void {
    if (!this.#admit(address, listener)) return this.#turnAway(listener, () => stream.reset());
    if (stream instanceof TlsStream && stream.isHttp2) return this.#serveHttp2(new StreamSocket(stream, noBytes), listener, address);
    this.#serve(new ClientConnection(this, stream, listener, address));
  }
  /** Its first bytes were HTTP/2's. */
  speaksHttp2(client: ClientConnection, socket: Duplex): void {
    this.#clients.delete(client);
    this.#serveHttp2(socket, client.listener, client.address, client.gauge);
  }
  #serveHttp2(socket: Duplex, listener: Listener, address: string, gauge = listener.bounds.gauge): void {
    const connection = new (http2().Http2Connection)(this, socket as Socket, listener, address, gauge);
    this.#clients.add(connection);
    connection.start();
  }
  #admit(address: string, listener: Listener): boolean {
    const { counters } = this;
    const ofClient = this.#perClient.get(address) ?? 0;
    const { gauge } = listener.bounds;
    if (this.draining || counters.connections >= this.#connectionsMax || ofClient >= listener.bounds.connectionsPerClient || (gauge && gauge.count >= gauge.max)) {
      counters.connectionsRefused++;
      return false;
    }
    this.#perClient.set(address, ofClient + 1);
    if (gauge) gauge.count++;
    counters.connections++;
    counters.connectionsTotal++;
    return true;
  }
  /** Where a policy says so it is felt a while later: whoever dials again at once dials less often. */
  #turnAway({ bounds: { gauge } }: Listener, reset: () => void): void {
    if (!gauge || !gauge.closeDelayMs || gauge.count < gauge.max || this.draining || this.#turnedAway.size >= limits.gatewayHellosMax) return reset();
    const late = (): void => {
      this.#turnedAway.delete(late);
      clearTimeout(timer);
      reset();
    };
    const timer = setTimeout(late, gauge.closeDelayMs).unref();
    this.#turnedAway.add(late);
  }
  #serve(connection: ClientConnection): void {
    this.#clients.add(connection);
    connection.start();
  }

  // Upstreams.
  pool(id: string): Pool | undefined {
    return this.#pools.get(id);
  }
  /** Makes the upstream known, or changes its settings. Its policy is its owner's to configure. */
  putUpstream(settings: UpstreamSettings, policy: UpstreamPolicy): Pool {
    const known = this.#pools.get(settings.id);
    if (known && known.policy === policy && known.settings.http2 === settings.http2) {
      const isOther = settings.proxyProtocol !== known.settings.proxyProtocol;
      const isTighter = (settings.connectionsMax ?? Infinity) < (known.settings.connectionsMax ?? Infinity);
      known.settings = settings;
      if (isTighter || isOther) known.leave(() => true);
      return known;
    }
    known?.close();
    const pool = new (settings.http2 ? UpstreamSessions : UpstreamPool)(settings, policy, { sweeper: this.sweeper, output: this.output, headBytesMax: limits.gatewayAnswerHeadBytesMax }, this.#dial);
    this.#pools.set(settings.id, pool);
    return pool;
  }
  removeUpstream(id: string): void {
    this.#pools.get(id)?.close();
    this.#pools.delete(id);
  }
  /** This address gets nothing more: idle connections to it end now, busy ones with their request. */
  leave(ip: string): void {
    for (const pool of this.#pools.values()) pool.leave((endpoint) => endpoint.ip === ip);
  }
  /** A request of our own; `then` hears of it once, later. */
  call(request: SideRequest, then: (answer: SideAnswer | undefined, reason: string) => void): { cancel(): void } {
    return SideCall.start(this.output, this.#pools.get(request.upstream), request, then);
  }
  /** Begins with a copy of the request; undefined: there is none, which is counted. */
  mirror(id: string, exchange: HttpExchange): Mirror | undefined {
    const pool = exchange.isUpgrade ? undefined : this.#pools.get(id);
    const copy = pool && Mirror.start(this.output, this.counters, pool, exchange, this.judge);
    if (!copy) this.counters.mirrorsSkipped++;
    return copy;
  }

  #heldBytes = 0;
  /** For bodies and answers that must wait here; false: no more of them may. */
  hold(bytes: number): boolean {
    if (this.#heldBytes + bytes > limits.gatewayHeldBytesMax) return false;
    this.#heldBytes += bytes;
    return true;
  }
  letGo(bytes: number): void {
    this.#heldBytes -= bytes;
  }

  /** Whoever guards the endpoint has answered. */
  isDenied(exchange: HttpExchange, picked: Picked): boolean {
    const answer = this.judge?.(exchange, picked.endpoint);
    if (!answer) return false;
    picked.done({ type: "cancelled", latencyMs: 0 });
    exchange.answer(exchange, answer);
    return true;
  }

  /** It goes on as bytes that nobody reads; what is returned is to be called at its end. */
  tunnelled(exchange: HttpExchange, endpoint: Endpoint, done: () => void): () => void {
    this.#tunnels.set(exchange, endpoint);
    return () => {
      this.#tunnels.delete(exchange);
      done();
    };
  }
  /** Policies have changed: upgraded connections that they would refuse now end. */
  judgeAnew(): void {
    for (const [exchange, endpoint] of this.#tunnels) {
      const answer = this.judge?.(exchange, endpoint);
      if (!answer) continue;
      exchange.flag = answer.flag;
      exchange.reason = `${judgedAnew}: ${answer.reason}`;
      exchange.client.breakOff();
    }
  }

  // What connections and exchanges tell.
  began(): void {
    this.counters.requestsRunning++;
    this.counters.requestsTotal++;
  }
  /** See {@link AccessLog.hides}. */
  hides(parameters: readonly string[]): void {
    this.#log?.hides(parameters);
  }
  ended(exchange: HttpExchange): void {
    const { counters } = this;
    counters.requestsRunning--;
    counters.answers[Math.floor(exchange.status / 100)]!++;
    counters.receivedBytes += exchange.receivedBytes;
    counters.sentBytes += exchange.sentBytes;
    if (exchange.tries > 1) counters.retries += exchange.tries - 1;
    if (exchange.flag !== "") counters.flagged(exchange.flag);
    const { judged, client } = exchange;
    if (judged?.log && !judged.isTold ? judged.log(exchange) : !client.listener.isUnlogged || judged?.isTold) this.#log?.add(exchange);
  }
  refused(client: { address: string; listener: Pick<Listener, "id"> }, status: number, flag: string, reason: string): void {
    this.counters.answers[Math.floor(status / 100)]!++;
    this.counters.flagged(flag);
    this.#log?.addRefused(client.address, client.listener.id, status, flag, reason);
  }
  left(client: Connected): void {
    if (!this.#clients.delete(client)) return;
    this.counters.connections--;
    if (client.gauge) client.gauge.count--;
    const ofClient = this.#perClient.get(client.address)! - 1;
    if (ofClient > 0) this.#perClient.set(client.address, ofClient);
    else this.#perClient.delete(client.address);
    if (this.#clients.size === 0) this.#drained?.();
  }

  #drained: (() => void) | undefined;
  /** Takes nothing new; running requests finish, with `Connection: close`. What still runs when the signal comes is cut off. */
  async drain(signal: AbortSignal): Promise<void> {
    this.draining = true;
    for (const client of this.#clients) client.drain();
    if (this.#clients.size > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
    this.close();
  }
  /** These listeners are gone: their connections end with their requests. */
  retire(isGone: (listener: Listener) => boolean): void {
    for (const client of this.#clients) if (isGone(client.listener)) client.drain();
  }
  close(): void {
    this.draining = true;
    for (const client of this.#clients) client.abort();
    for (const late of this.#turnedAway) late();
    for (const id of this.#pools.keys()) this.removeUpstream(id);
    this.#log?.flush();
  }
}
