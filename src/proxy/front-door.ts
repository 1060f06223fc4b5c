import { limits } from "../base/limits.ts";
import type { TcpHandle } from "../base/handles.ts";
import type { LocalAnswer, RequestView } from "../policy/exchange.ts";
import { localAnswer } from "../policy/local-answer.ts";
import { dial } from "./dial.ts";
import { frontDoorPortOf } from "./host-listeners.ts";
import { defaultBounds, Engine } from "./http/engine.ts";
import type { Listener, Routed } from "./http/routing.ts";
import { ServicePolicy } from "./service-policy.ts";
import { routedToService } from "./service-routed.ts";
import { servicePortKey, type ServicePort, type ServiceTable } from "./service-table.ts";

/**
 * HTTP Services by name from the host: `http://SERVICE.NAMESPACE.localhost:PORT`. Each request is routed by its
 * own Host, so one kept-alive connection may ask many Services. Bodies stream both ways, upgrades become a tunnel.
 * It answers names below `.localhost` only: a page on the Internet cannot reach it by a name of its own.
 *
 * Its clients are programs of this machine: whoever debugs may take as long as he likes, and all share one address.
 */
const bounds = { ...defaultBounds, answerMs: 0, tunnelIdleMs: 0, connectionsPerClient: limits.gatewayConnectionsMax };
/** What nobody has answered yet is tried elsewhere, as far as it is safe. */
const retry = { attempts: 2, backoffMs: 0, statuses: [], on: ["connect" as const, "reset" as const] };

/** Of a Service port that is called with HTTP/2, without TLS; as the gateway reads `appProtocol`. */
const http2Protocols = new Set(["kubernetes.io/h2c", "h2c", "http2", "grpc"]);

export class FrontDoor {
  readonly #table: ServiceTable;
  readonly #engine: Engine;
  readonly #known = new Map<ServicePort, Routed>();
  #listener: Listener | undefined;

  constructor(table: ServiceTable, dialEndpoint: typeof dial = dial) {
    this.#table = table;
    this.#engine = new Engine({ dial: dialEndpoint });
  }

  accept(handle: TcpHandle): void {
    this.#engine.accept(handle, (this.#listener ??= this.#listenerAt(handle)));
  }

  /** Closes the idle connections to a pod that is to get no more requests. */
  leave(ip: string): void {
    this.#engine.leave(ip);
  }

  drain(signal: AbortSignal): Promise<void> {
    return this.#engine.drain(signal);
  }

  #listenerAt(handle: TcpHandle): Listener {
    const at: { port?: number } = {};
    handle.getsockname(at);
    return { id: "front-door", port: at.port ?? 0, scheme: "http", trusted: true, bounds, route: (request) => this.#route(request) };
  }

  /** The Service that a Host header names: "web.shop.localhost:8088" → shop/web. */
  #route(request: RequestView): Routed | LocalAnswer {
    const match = /^([a-z0-9-]+)\.([a-z0-9-]+)\.localhost$/.exec(request.host);
    const service = match && this.#table.snapshot.services.find(({ name, namespace }) => name === match[1] && namespace === match[2]);
    const port = service && frontDoorPortOf(service);
    const target = port && this.#table.ports.get(servicePortKey(service.namespace, service.name, port.protocol, port.port));
    if (!target) return localAnswer(request, "NR", `no Service answers to ${JSON.stringify(request.host)}; names are SERVICE.NAMESPACE.localhost`);
    return this.#known.get(target) ?? this.#learn(target);
  }

  #learn(service: ServicePort): Routed {
    for (const known of this.#known.keys()) {
      if (this.#table.ports.get(known.key) === known) continue;
      this.#known.delete(known);
      this.#engine.removeUpstream(known.key);
    }
    this.#engine.putUpstream({ id: service.key, http2: service.port.appProtocol !== undefined && http2Protocols.has(service.port.appProtocol), connectMs: limits.gatewayConnectMs, idleMs: limits.gatewayUpstreamIdleMs }, new ServicePolicy(service));
    const routed = routedToService(service, service.key, { retry });
    this.#known.set(service, routed);
    return routed;
  }
}
