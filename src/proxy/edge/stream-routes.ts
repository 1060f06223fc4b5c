import type { StreamRoute, Upstream } from "../../api/traffic.ts";
import { HostIndex } from "../../policy/host-index.ts";
import { SmoothWeights } from "../../policy/weighted.ts";
import { type ServicePort, type ServiceTable, servicePortKey } from "../service-table.ts";

/**
 * TLSRoutes, TCPRoutes and UDPRoutes, and what Istio says of connections, by listener and server name. Of several with one name
 * that are for a client the oldest serves alone, as Gateway API has it.
 */
export class StreamRoutes {
  readonly #routes = new Map<string, Placed>();
  readonly #listeners = new Map<string, HostIndex<Placed[]>>();
  readonly #table: ServiceTable;
  readonly #upstreams: ReadonlyMap<string, Upstream>;

  constructor(table: ServiceTable, upstreams: ReadonlyMap<string, Upstream>) {
    this.#table = table;
    this.#upstreams = upstreams;
  }

  put(route: StreamRoute): void {
    const before = this.#routes.get(route.id);
    this.remove(route.id);
    const weights = route.backends.map(({ weight }) => weight);
    // Turns go on where weights stay: a route that changes often must not always begin with its first backend.
    const turns = before && before.turns && before.route.backends.map(({ weight }) => weight).join() === weights.join() ? before.turns : weights.some((weight) => weight > 0) ? new SmoothWeights(weights) : undefined;
    const placed: Placed = { route, turns };
    this.#routes.set(route.id, placed);
    for (const { listener, hostnames } of route.attachments) {
      let hosts = this.#listeners.get(listener);
      if (!hosts) this.#listeners.set(listener, (hosts = new HostIndex()));
      for (const hostname of hostnames) hosts.set(hostname, [...(hosts.get(hostname) ?? []), placed].sort(byAge));
    }
  }

  remove(id: string): void {
    const placed = this.#routes.get(id);
    if (!placed) return;
    this.#routes.delete(id);
    for (const { listener, hostnames } of placed.route.attachments) {
      const hosts = this.#listeners.get(listener);
      for (const hostname of hostnames) {
        const left = (hosts?.get(hostname) ?? []).filter((other) => other !== placed);
        if (left.length > 0) hosts!.set(hostname, left);
        else hosts?.delete(hostname);
      }
      if (hosts?.size === 0) this.#listeners.delete(listener);
    }
  }

  /** The routes that are attached there, whomever they are for. */
  at(listener: string): StreamRoute[] {
    return [...(this.#listeners.get(listener)?.entries() ?? [])].flatMap(([, placed]) => placed.map(({ route }) => route));
  }
  /** The route of a connection; "" for one that names no server. */
  find(listener: string, serverName: string, address = ""): StreamRoute | undefined {
    return this.#find(listener, serverName, address)?.route;
  }
  #find(listener: string, serverName: string, address: string): Placed | undefined {
    return this.#listeners.get(listener)?.search(serverName, address, (all, client) => all.find(({ route: { clients } }) => !clients || clients.includes(client)));
  }

  /** Where the next connection of this client goes; undefined: no route is for it. Without an upstream its turn leads nowhere. */
  next(listener: string, serverName: string, address: string): { upstream: Upstream | undefined } | undefined {
    const placed = this.#find(listener, serverName, address);
    const backend = placed?.turns && placed.route.backends[placed.turns.next()];
    return placed && { upstream: backend?.upstream === undefined ? undefined : this.#upstreams.get(backend.upstream) };
  }

  /** The Service port that the next connection, or the next client, goes to; undefined when its turn leads nowhere. */
  choose(listener: string, serverName: string): ServicePort | undefined {
    const upstream = this.next(listener, serverName, "")?.upstream;
    if (!upstream) return undefined;
    const isUdp = this.#find(listener, serverName, "")!.route.type === "udp";
    return this.#table.ports.get(servicePortKey(upstream.namespace, upstream.service, isUdp ? "UDP" : "TCP", upstream.port));
  }
}

interface Placed {
  route: StreamRoute;
  turns: SmoothWeights | undefined;
}

const byAge = ({ route: a }: Placed, { route: b }: Placed): number => (b.priority ?? 0) - (a.priority ?? 0) || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
