import type { TcpHandle } from "../../base/handles.ts";
import type { Endpoint } from "../../policy/upstream.ts";
import { limits } from "../../base/limits.ts";
import type { LocalAnswer, RequestView } from "../../policy/exchange.ts";
import { defaultBounds, type Engine } from "../http/engine.ts";
import type { Bounds, Listener, Routed } from "../http/routing.ts";
import type { Stream } from "../http/stream.ts";
import type { dial } from "../dial.ts";
import { tunnelTo } from "../tunnel-to.ts";
import { ServicePolicy } from "../service-policy.ts";
import { routedToService } from "../service-routed.ts";
import type { ServicePort, ServiceTable } from "../service-table.ts";
import { type Connections, peerAddress } from "../tcp-service.ts";
import { serviceListenerId } from "./listener-id.ts";
import { openConnection } from "./opening.ts";
import { declaredBy, isOwnTls, speaksHttp2 } from "./protocol.ts";
import { type MeshRoutes, routedOnService } from "./routed.ts";
import type { Proved, TlsClient, TlsDoor } from "./tls-door.ts";

/**
 * Clients are pods. What bounds a public port would break programs that may talk for hours, and whose own timeouts they are
 * used to; what bounds memory stays.
 */
const bounds: Bounds = {
  ...defaultBounds,
  bodyBytesMax: Number.MAX_SAFE_INTEGER,
  headersMs: 60_000,
  // Longer than any client keeps a connection: who closes first must be the client, or a request may cross the end.
  idleMs: 3_600_000,
  bodyIdleMs: 3_600_000,
  bodyBytesPerSecond: 1e-9,
  answerMs: 0,
  tunnelIdleMs: 0,
  connectionsPerClient: limits.gatewayConnectionsMax,
};
/** Shorter than any server keeps one, for the same reason: Node and uvicorn end theirs after five seconds. */
const upstreamIdleMs = 4_000;
/** What no endpoint has seen is tried elsewhere. The rest is the client's to decide, as it was without us. */
const retry = { attempts: 4, backoffMs: 0, statuses: [], on: ["connect" as const] };
/** So long a client may be silent on a port that nobody has called HTTP, before its server is let speak. */
const usualSilentMs = 100;

export interface ServiceDoorOptions {
  engine: Engine;
  table: ServiceTable;
  connections: Connections;
  /** Undefined as long as there are no routes at all. */
  mesh(): MeshRoutes | undefined;
  /** Of the pod with this address. */
  namespaceOf(address: string): string | undefined;
  /** So long a client may be silent where nobody has said that it speaks first; 100 unless said. */
  silentMs?: number | undefined;
  /** Who takes what begins as TLS; undefined: that goes on unread. */
  tls?: ServiceTls | undefined;
}

export interface ServiceTls {
  door(): Promise<TlsDoor>;
  dial: typeof dial;
  /** Whether a connection that nobody reads may go on to that endpoint. */
  mayReach(address: string, endpoint: Endpoint, service: ServicePort, proved: Proved): boolean;
  /** Who has not proved who he is would be refused by some of its pods. */
  isStrictFor(address: string, service: ServicePort): boolean;
}

interface Doors {
  http1: Listener;
  http2: Listener;
}

/**
 * Service ports whose connections are read as HTTP: each request is balanced for itself, and falls to the routes that are
 * attached to the Service, if there are any. A request goes on in the protocol in which it came, with the fields that it had.
 */
export class ServiceDoor {
  readonly #options: ServiceDoorOptions;
  readonly #known = new Map<ServicePort, Doors>();
  /** Decrypted ones, each with what asks whether it would be let in now. */
  readonly #tunnels = new Map<Stream, () => boolean>();

  constructor(options: ServiceDoorOptions) {
    this.#options = options;
  }

  /** `readsHttp`: requests are looked for, besides TLS. */
  accept(client: TcpHandle, service: ServicePort, readsHttp: boolean): void {
    const { engine, connections, tls, silentMs = usualSilentMs } = this.#options;
    const address = peerAddress(client);
    const isHttp = this.#isHttp(service);
    const pass = (handle: TcpHandle | undefined, first: Buffer | undefined) => handle && connections.serve(handle, service, first);
    openConnection(client, {
      engine,
      address,
      listenerFor: readsHttp ? (spoken) => this.#doors(service)[spoken] : undefined,
      pass: (stream, first) => pass(stream.detach(), first),
      secure: tls && !isOwnTls(service.port.appProtocol) ? (handle, first) => void tls.door().then((door) => door.accept(handle, first, this.#tlsClient(tls, service, address, readsHttp))) : undefined,
      // Who would be refused anyway has time to begin with TLS.
      silentMs: isHttp ? undefined : tls?.isStrictFor(address, service) ? limits.gatewayHeadersMs : silentMs,
    });
  }
  #isHttp(service: ServicePort): boolean {
    return declaredBy(service.port.appProtocol) === "http" || (this.#options.mesh()?.services.isNamed(service.key) ?? false);
  }

  #tlsClient(tls: ServiceTls, service: ServicePort, address: string, readsHttp: boolean): TlsClient {
    const { engine, connections, silentMs = usualSilentMs } = this.#options;
    const inside = this.#isHttp(service) ? "http" : readsHttp ? "unknown" : "opaque";
    return {
      address,
      service,
      inside,
      prefersHttp2: speaksHttp2(service.port.appProtocol),
      passed: (client, hello) => connections.serve(client, service, hello),
      opened: (stream, proved) => {
        const listenerFor = (spoken: "http1" | "http2") => securedListener(this.#doors(service)[spoken], proved);
        const pass = (client: Stream, first: Buffer | undefined) => this.#tunnel(tls, client, first, service, address, proved);
        if (inside === "opaque") return pass(stream, undefined);
        if (stream.isHttp2) return engine.acceptStream(stream, listenerFor("http2"), address);
        openConnection(stream, { engine, address, listenerFor, pass, secure: undefined, silentMs: inside === "http" ? undefined : silentMs });
      },
    };
  }

  /** As `Connections` has it, for what has been decrypted. */
  #tunnel({ dial, mayReach }: ServiceTls, client: Stream, first: Buffer | undefined, service: ServicePort, address: string, proved: Proved): void {
    if (this.#tunnels.size >= limits.gatewayConnectionsMax) return client.reset();
    this.#tunnels.set(client, () => true);
    const reach = (done: (handle: TcpHandle | undefined) => void): void => {
      const endpoints = service.active;
      if (endpoints.length === 0) {
        const waits = service.held && service.wait(() => (service.held ? done(undefined) : reach(done)));
        return waits ? undefined : done(undefined);
      }
      const nowMs = performance.now();
      const start = service.choose(address, nowMs);
      const attempts = Math.min(retry.attempts + 1, endpoints.length);
      const next = (attempt: number): void => {
        if (attempt === attempts) return done(undefined);
        const endpoint = endpoints[(start + attempt) % endpoints.length]!;
        const isLetIn = () => mayReach(address, endpoint, service, proved);
        if (!isLetIn()) return done(undefined);
        dial(endpoint.ip, endpoint.port, limits.gatewayConnectMs, (_status, handle) => {
          if (!handle) return next(attempt + 1);
          service.remember(address, endpoint, nowMs);
          this.#tunnels.set(client, isLetIn);
          done(handle);
        });
      };
      next(0);
    };
    tunnelTo(this.#options.engine, client, { first, idleMs: 0, reach, ended: () => this.#tunnels.delete(client) });
  }
  /** As `Connections` has it. */
  judgeAnew(): void {
    for (const [client, isLetIn] of this.#tunnels) if (!isLetIn()) client.owner.onBroken(0);
  }

  /** Services came or went. */
  refresh(): void {
    for (const service of this.#known.keys()) if (this.#options.table.ports.get(service.key) !== service) this.#forget(service);
  }
  /** Its connections end when their requests have. */
  #forget(service: ServicePort): void {
    const { http1, http2 } = this.#known.get(service)!;
    this.#known.delete(service);
    const isGone = (listener: Listener) => listener === http1 || listener === http2;
    this.#options.engine.retire((listener) => isGone(listener) || isGone(Object.getPrototypeOf(listener) as Listener));
    this.#options.engine.removeUpstream(service.key);
    this.#options.engine.removeUpstream(http2Id(service));
  }

  #doors(service: ServicePort): Doors {
    let doors = this.#known.get(service);
    if (!doors) {
      const policy = new ServicePolicy(service);
      this.#known.set(service, (doors = { http1: this.#listener(service, service.key, false, policy), http2: this.#listener(service, http2Id(service), true, policy) }));
    }
    return doors;
  }
  #listener(service: ServicePort, upstream: string, http2: boolean, policy: ServicePolicy): Listener {
    this.#options.engine.putUpstream({ id: upstream, http2, connectMs: limits.gatewayConnectMs, idleMs: upstreamIdleMs }, policy);
    return new ServiceListener(service, upstream, this.#options);
  }
}

/** A class, not a literal with a getter: V8 keeps the second of those as a dictionary, and each request reads twenty fields of it. */
class ServiceListener implements Listener {
  readonly id: string;
  readonly port: number;
  readonly service: string;
  readonly scheme = "http";
  readonly trusted = true;
  readonly isTransparent = true;
  readonly bounds = bounds;
  readonly manners = undefined;
  readonly peer: Listener["peer"] = undefined;
  readonly serverName: string | undefined = undefined;
  protected readonly at: ServicePort;
  protected readonly own: Routed;
  protected readonly options: Pick<ServiceDoorOptions, "mesh" | "namespaceOf">;

  constructor(at: ServicePort, upstream: string, options: Pick<ServiceDoorOptions, "mesh" | "namespaceOf">) {
    const { namespace, name } = at.service;
    this.id = serviceListenerId(namespace, name, at.port.port);
    this.port = at.port.port;
    this.service = `${namespace}/${name}`;
    this.at = at;
    this.own = routedToService(at, upstream, { retry, isAsItCame: true });
    this.options = options;
  }
  get isUnlogged(): boolean {
    return !this.options.mesh()?.services.has(this.at.key);
  }
  route(request: RequestView): Routed | LocalAnswer {
    const routes = this.options.mesh();
    return (routes?.services.has(this.at.key) && routedOnService(routes, this.at, request, this.peer?.namespace ?? this.options.namespaceOf(request.client))) || this.own;
  }
}

/** The same, for one connection. */
function securedListener(listener: Listener, proved: Proved): Listener {
  return Object.create(listener, { peer: { value: proved.peer }, serverName: { value: proved.serverName } }) as Listener;
}

const http2Id = (service: ServicePort): string => `${service.key}/h2`;
