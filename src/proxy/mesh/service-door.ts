import type { TcpHandle } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import type { LocalAnswer, RequestView } from "../../policy/exchange.ts";
import { defaultBounds, type Engine } from "../http/engine.ts";
import type { Bounds, Listener, Routed } from "../http/routing.ts";
import { ServicePolicy } from "../service-policy.ts";
import { routedToService } from "../service-routed.ts";
import type { ServicePort, ServiceTable } from "../service-table.ts";
import { type Connections, peerAddress } from "../tcp-service.ts";
import { serviceListenerId } from "./listener-id.ts";
import { openConnection } from "./opening.ts";
import { declaredBy } from "./protocol.ts";
import { type MeshRoutes, routedOnService } from "./routed.ts";

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
const silentMs = 100;

export interface ServiceDoorOptions {
  engine: Engine;
  table: ServiceTable;
  connections: Connections;
  /** Undefined as long as there are no routes at all. */
  mesh(): MeshRoutes | undefined;
  /** Of the pod with this address. */
  namespaceOf(address: string): string | undefined;
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

  constructor(options: ServiceDoorOptions) {
    this.#options = options;
  }

  accept(client: TcpHandle, service: ServicePort): void {
    const { engine, connections } = this.#options;
    client.setNoDelay(true);
    openConnection(client, {
      engine,
      address: peerAddress(client),
      listenerFor: (spoken) => this.#doors(service)[spoken],
      pass: (handle, first) => connections.serve(handle, service, first),
      silentMs: declaredBy(service.port.appProtocol) === "http" || this.#options.mesh()?.services.isNamed(service.key) ? undefined : silentMs,
    });
  }

  /** Services came or went. */
  refresh(): void {
    for (const service of this.#known.keys()) if (this.#options.table.ports.get(service.key) !== service) this.#forget(service);
  }
  /** Its connections end when their requests have. */
  #forget(service: ServicePort): void {
    const { http1, http2 } = this.#known.get(service)!;
    this.#known.delete(service);
    this.#options.engine.retire((listener) => listener === http1 || listener === http2);
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
    const { engine, mesh, namespaceOf } = this.#options;
    const { namespace, name } = service.service;
    const id = serviceListenerId(namespace, name, service.port.port);
    const own = routedToService(service, upstream, { retry, isAsItCame: true });
    engine.putUpstream({ id: upstream, http2, connectMs: limits.gatewayConnectMs, idleMs: upstreamIdleMs }, policy);
    const route = (request: RequestView): Routed | LocalAnswer => {
      const routes = mesh();
      return (routes?.services.has(service.key) && routedOnService(routes, service, request, namespaceOf(request.client))) || own;
    };
    return {
      id,
      port: service.port.port,
      service: `${namespace}/${name}`,
      scheme: "http",
      trusted: true,
      isTransparent: true,
      get isUnlogged() {
        return !mesh()?.services.has(service.key);
      },
      bounds,
      route,
    };
  }
}

const http2Id = (service: ServicePort): string => `${service.key}/h2`;
