import { limits } from "../base/limits.ts";
import type { TcpHandle } from "../base/handles.ts";
import type { LocalAnswer, RequestView } from "../policy/exchange.ts";
import { localAnswer } from "../policy/local-answer.ts";
import { frontDoorPortOf } from "./host-listeners.ts";
import { defaultBounds, type Engine } from "./http/engine.ts";
import type { Listener, Routed } from "./http/routing.ts";
import { speaksHttp2 } from "./mesh/protocol.ts";
import { type MeshRoutes, routedOnService } from "./mesh/routed.ts";
import { ServicePolicy } from "./service-policy.ts";
import { routedToService } from "./service-routed.ts";
import { servicePortKey, type ServicePort, type ServiceTable } from "./service-table.ts";

/**
 * HTTP Services by name from the host: `http://SERVICE.NAMESPACE.localhost:PORT`. Each request is routed by its
 * own Host, so one kept-alive connection may ask many Services, and falls to the routes that are attached to the Service for
 * everybody. Bodies stream both ways, upgrades become a tunnel.
 * It answers names below `.localhost` only: a page on the Internet cannot reach it by a name of its own.
 *
 * Its clients are programs of this machine: whoever debugs may take as long as he likes, and all share one address.
 */
const bounds = { ...defaultBounds, answerMs: 0, tunnelIdleMs: 0, connectionsPerClient: limits.gatewayConnectionsMax };
/** What nobody has answered yet is tried elsewhere, as far as it is safe. */
const retry = { attempts: 2, backoffMs: 0, statuses: [], on: ["connect" as const, "reset" as const] };

export class FrontDoor {
  readonly #table: ServiceTable;
  readonly #engine: Engine;
  readonly #known = new Map<ServicePort, Routed>();
  readonly #mesh: () => MeshRoutes | undefined;
  #listener: Listener | undefined;

  /** `mesh`: routes that are attached to Services; undefined as long as there are none at all. */
  constructor(table: ServiceTable, engine: Engine, mesh: () => MeshRoutes | undefined) {
    this.#table = table;
    this.#engine = engine;
    this.#mesh = mesh;
  }

  accept(handle: TcpHandle): void {
    this.#engine.accept(handle, (this.#listener ??= this.#listenerAt(handle)));
  }

  #listenerAt(handle: TcpHandle): Listener {
    const at: { port?: number } = {};
    handle.getsockname(at);
    return { id: "front-door", port: at.port ?? 0, scheme: "http", trusted: true, isUnlogged: true, bounds, route: (request) => this.#route(request) };
  }

  /** The Service that a Host header names: "web.shop.localhost:8088" → shop/web. */
  #route(request: RequestView): Routed | LocalAnswer {
    const match = /^([a-z0-9-]+)\.([a-z0-9-]+)\.localhost$/.exec(request.host);
    const service = match && this.#table.snapshot.services.find(({ name, namespace }) => name === match[1] && namespace === match[2]);
    const port = service && frontDoorPortOf(service);
    const target = port && this.#table.ports.get(servicePortKey(service.namespace, service.name, port.protocol, port.port));
    if (!target) return localAnswer(request, "NR", `no Service answers to ${JSON.stringify(request.host)}; names are SERVICE.NAMESPACE.localhost`);
    const mesh = this.#mesh();
    return (mesh && routedOnService(mesh, target, request, undefined)) ?? this.#known.get(target) ?? this.#learn(target);
  }

  #learn(service: ServicePort): Routed {
    for (const known of this.#known.keys()) {
      if (this.#table.ports.get(known.key) === known) continue;
      this.#known.delete(known);
      this.#engine.removeUpstream(upstreamOf(known));
    }
    const id = upstreamOf(service);
    this.#engine.putUpstream({ id, http2: speaksHttp2(service.port.appProtocol), connectMs: limits.gatewayConnectMs, idleMs: limits.gatewayUpstreamIdleMs }, new ServicePolicy(service));
    const routed = routedToService(service, id, { retry });
    this.#known.set(service, routed);
    return routed;
  }
}

/** A pool of its own: programs at the desk are waited for otherwise than pods. */
const upstreamOf = (service: ServicePort): string => `front-door/${service.key}`;
