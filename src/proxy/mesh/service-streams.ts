import type { StreamRoute, Upstream } from "../../api/traffic.ts";
import type { TcpHandle } from "../../base/handles.ts";
import type { Random } from "../../base/random.ts";
import { readHello } from "../edge/hello.ts";
import { StreamRoutes } from "../edge/stream-routes.ts";
import { type ServicePort, type ServiceTable, servicePortKey } from "../service-table.ts";
import { peerAddress, type Place } from "../tcp-service.ts";
import { readServiceListenerId, serviceListenerId } from "./listener-id.ts";
import { isPlain, StreamPlace } from "./stream-place.ts";

export interface ServiceStreamsOptions {
  table: ServiceTable;
  upstreams: ReadonlyMap<string, Upstream>;
  random: Random;
  /** Of the pod with this address. */
  namespaceOf(address: string): string | undefined;
}

/** Routes on Service ports for connections that nobody reads: by who calls, and by the server name where TLS begins. */
export class ServiceStreams {
  readonly #options: ServiceStreamsOptions;
  readonly #routes: StreamRoutes;
  /** Ids of routes by `servicePortKey`, and those keys by the routes' ids. */
  readonly #ports = new Map<string, Set<string>>();
  readonly #keys = new Map<string, Set<string>>();
  /** By listener: whether names are looked for, and whether who fits no route gets nowhere. */
  readonly #listeners = new Map<string, { readsNames: boolean; isClosed: boolean }>();
  readonly #places = new Map<string, StreamPlace>();

  constructor(options: ServiceStreamsOptions) {
    this.#options = options;
    this.#routes = new StreamRoutes(options.table, options.upstreams);
  }

  /** Returns whether other ports have routes now than before. */
  put(route: StreamRoute): boolean {
    const before = this.#keys.get(route.id);
    this.#forget(route.id);
    this.#routes.put(route);
    const keys = new Set(route.attachments.flatMap(({ listener }) => readServiceListenerId(listener)?.key ?? []));
    this.#keys.set(route.id, keys);
    for (const key of keys) this.#ports.set(key, (this.#ports.get(key) ?? new Set()).add(route.id));
    this.#listeners.clear();
    return [...keys].join() !== [...(before ?? [])].join();
  }
  /** The same. */
  remove(id: string): boolean {
    if (!this.#keys.has(id)) return false;
    this.#forget(id);
    this.#routes.remove(id);
    this.#listeners.clear();
    return true;
  }
  #forget(id: string): void {
    for (const key of this.#keys.get(id) ?? []) {
      const ids = this.#ports.get(key);
      if (ids?.delete(id) && ids.size === 0) this.#ports.delete(key);
    }
    this.#keys.delete(id);
  }

  has(key: string): boolean {
    return this.#ports.has(key);
  }

  /** Says where a connection goes, once that is known; undefined: nowhere. False: no route is for its client. */
  lead(client: TcpHandle, service: ServicePort, first: Buffer | undefined, go: (place: Place | undefined, first: Buffer | undefined) => void): boolean {
    if (!this.has(service.key)) return false;
    const address = peerAddress(client);
    const id = serviceListenerId(service.service.namespace, service.service.name, service.port.port);
    const namespace = this.#options.namespaceOf(address);
    // Those of the client's own namespace, else those for all; never both.
    const own = namespace === undefined ? undefined : this.#at(`${id}/${namespace}`);
    const listener = own ? `${id}/${namespace}` : id;
    const there = own ?? this.#at(id);
    if (!there) return false;
    const lead = (serverName: string, bytes: Buffer | undefined) => {
      const next = this.#routes.next(listener, serverName, address);
      go(next ? next.upstream && this.#place(next.upstream) : there.isClosed ? undefined : service, bytes);
    };
    if (there.readsNames) readHello(client, (hello, { name = "" }) => lead(name, hello), first);
    else lead("", first);
    return true;
  }

  #at(listener: string): { readsNames: boolean; isClosed: boolean } | undefined {
    const known = this.#listeners.get(listener);
    if (known) return known;
    const routes = this.#routes.at(listener);
    if (routes.length === 0) return undefined;
    const at = { readsNames: routes.some(({ type }) => type === "tls"), isClosed: routes.some(({ passesUnmatched }) => !passesUnmatched) };
    this.#listeners.set(listener, at);
    return at;
  }

  #place(upstream: Upstream): Place | undefined {
    const port = () => this.#options.table.ports.get(servicePortKey(upstream.namespace, upstream.service, "TCP", upstream.port));
    if (isPlain(upstream)) return port();
    const known = this.#places.get(upstream.id);
    if (known?.upstream === upstream) return known;
    const made = new StreamPlace(upstream, port, this.#options.random);
    this.#places.set(upstream.id, made);
    return made;
  }
  /** The upstream is gone, or another one now. */
  forgetUpstream(id: string): void {
    this.#places.delete(id);
  }
}
