import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import type { UdpHandle } from "../base/handles.ts";
import type { Log } from "../base/log.ts";
import type { Endpoint, ServicePort } from "./service-table.ts";

/** Clients of one UDP Service port at one time; the longest silent one makes room. */
const sessionsMax = 1024;
/** As the kernel's connection tracking for an answered stream: silent longer, and the client counts as new. */
const idleMs = 120_000;
const sweepMs = 15_000;
/** Datagrams kept while the first one's socket is being connected, which takes one turn of the loop. */
const queuedMax = 64;

// Only addresses are dialled here; no name is ever looked up.
const noLookup = (address: string, _options: unknown, done: (error: null, address: string, family: number) => void) => done(null, address, 4);

interface Session {
  service: ServicePort;
  endpoint: Endpoint;
  socket: Socket;
  /** Datagrams that wait for the socket; undefined once it is connected. */
  queued: Buffer[] | undefined;
  seenMs: number;
}

/**
 * Relays what arrives at one UDP address: a socket per client, so that answers find their way back. `next` says which Service
 * port a new client is sent to, if any.
 */
export class UdpService {
  readonly #next: () => ServicePort | undefined;
  readonly #log: Log;
  readonly #sessions = new Map<string, Session>();

  constructor(next: () => ServicePort | undefined, log: Log) {
    this.#next = next;
    this.#log = log;
  }
  get sessions(): number {
    return this.#sessions.size;
  }

  /** Starts to receive on a bound handle; returns how to stop, which closes it and every client's socket. */
  receive(handle: UdpHandle): () => void {
    const server = createSocket({ type: "udp4", lookup: noLookup as never });
    const sweeper = setInterval(() => this.#sweep(performance.now()), sweepMs).unref();
    server.on("error", (error) => this.#log.warn("a UDP Service's socket failed", { error }));
    server.on("message", (datagram, from) => this.#relay(server, datagram, from));
    server.bind(handle as never);
    return () => {
      clearInterval(sweeper);
      server.close();
      for (const key of this.#sessions.keys()) this.#end(key);
    };
  }

  #relay(server: Socket, datagram: Buffer, from: RemoteInfo): void {
    const key = `${from.address}:${from.port}`;
    const nowMs = performance.now();
    let session = this.#sessions.get(key);
    // A client's datagrams stay with one endpoint only as long as that endpoint is there.
    if (session && !session.service.active.some((endpoint) => endpoint.key === session!.endpoint.key)) {
      this.#end(key);
      session = undefined;
    }
    session ??= this.#begin(server, key, from, nowMs);
    if (!session) return;
    session.seenMs = nowMs;
    // Order of use is order of age.
    this.#sessions.delete(key);
    this.#sessions.set(key, session);
    if (session.queued === undefined) session.socket.send(datagram, () => {});
    else if (session.queued.length < queuedMax) session.queued.push(datagram);
  }

  #begin(server: Socket, key: string, from: RemoteInfo, nowMs: number): Session | undefined {
    const service = this.#next();
    if (!service || service.active.length === 0) return undefined;
    const { active } = service;
    if (this.#sessions.size >= sessionsMax) this.#end(this.#sessions.keys().next().value!);
    const endpoint = active[service.choose(from.address, nowMs)]!;
    service.remember(from.address, endpoint, nowMs);
    const socket = createSocket({ type: "udp4", lookup: noLookup as never });
    const session: Session = { service, endpoint, socket, queued: [], seenMs: nowMs };
    this.#sessions.set(key, session);
    socket.on("message", (answer) => {
      session.seenMs = performance.now();
      try {
        server.send(answer, from.port, from.address, () => {});
      } catch {
        // The Service's socket was closed in between.
      }
    });
    // "Port unreachable" from the endpoint: the client's next datagram chooses anew.
    socket.on("error", () => this.#sessions.get(key) === session && this.#end(key));
    socket.on("connect", () => {
      const { queued } = session;
      session.queued = undefined;
      for (const waiting of queued ?? []) socket.send(waiting, () => {});
    });
    socket.connect(endpoint.port, endpoint.ip);
    return session;
  }

  #sweep(nowMs: number): void {
    for (const [key, session] of this.#sessions) if (nowMs - session.seenMs > idleMs) this.#end(key);
  }

  #end(key: string): void {
    const session = this.#sessions.get(key);
    this.#sessions.delete(key);
    try {
      session?.socket.close();
    } catch {
      // It had closed itself after an error.
    }
  }
}
