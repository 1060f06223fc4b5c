import { randomBytes } from "node:crypto";
import type { EdgeListener, Route, TrafficPatch, TrafficSnapshot, Upstream } from "../../api/traffic.ts";
import type { Health } from "../../api/traffic-health.ts";
import type { TcpHandle, UdpHandle } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { FilterTools, QuotaResult } from "../../policy/exchange.ts";
import { PolicyError } from "../../policy/policy-error.ts";
import type { QuotaAsk } from "../../policy/quotas/counters.ts";
import { type Lease, leasedLimiter, type LeaseRequest } from "../../policy/rate-leases.ts";
import { Shelves } from "../../policy/cache/shelves.ts";
import { Tally } from "../../policy/tally.ts";
import { RouteTable } from "../../policy/route-table.ts";
import { secretParameters } from "../../policy/secret-names.ts";
import { SessionNames } from "../../policy/session-token.ts";
import { createUpstreamPolicy, type UpstreamTools } from "../../policy/upstream-policy.ts";
import type { CheckedUpstream } from "../../policy/upstream.ts";
import type { dial } from "../dial.ts";
import type { CheckRequest, CheckResult } from "../health/checker.ts";
import { Engine } from "../http/engine.ts";
import { Manners } from "../http/manners.ts";
import type { Gauge } from "../http/routing.ts";
import type { Stream } from "../http/stream.ts";
import { secureUpstream } from "../http/tls.ts";
import { resetHandle } from "../pump.ts";
import { QuotaAsker } from "../quotas/asker.ts";
import type { Connections } from "../tcp-service.ts";
import { gatewayCaller } from "../mesh/caller.ts";
import { readServiceListenerId } from "../mesh/listener-id.ts";
import { underPolicy } from "../mesh/under-policy.ts";
import { ServiceStreams } from "../mesh/service-streams.ts";
import { ServiceRoutes } from "../mesh/service-routes.ts";
import { tunnelTo } from "../tunnel-to.ts";
import { UdpService } from "../udp-service.ts";
import { type ServicePort, type ServiceTable, servicePortKey } from "../service-table.ts";
import { TrafficState } from "../traffic-state.ts";
import { readProxied } from "./first-bytes.ts";
import { HttpPort, type ListenerTools } from "./http-port.ts";
import { HttpsListener, withCertificate } from "./https-listener.ts";
import { StreamRoutes } from "./stream-routes.ts";
import { type TlsDoors, TlsPort } from "./tls-port.ts";

export interface EdgeOptions {
  table: ServiceTable;
  dial: typeof dial;
  /** Carries what is not HTTP. */
  connections: Connections;
  random: Random;
  log: Log;
  /** Shared with Service listeners; one of its own without it. */
  engine?: Engine;
  /** Of the pod with this address: for routes that hold for clients of one namespace. */
  namespaceOf?: (address: string) => string | undefined;
  /** A Service port got its first route, or lost its last. */
  servicesChanged?: () => void;
  /** Where other workers serve the same routes: tokens of the rates that they share. */
  lease?: (request: LeaseRequest) => Promise<Lease>;
  /** Who counts quotas, for all workers; rejects when it is gone. Absent: this process does. */
  countQuotas?: (asks: QuotaAsk[]) => Promise<QuotaResult[]>;
  accessLog?: (lines: Buffer) => void;
}

/**
 * What Gateways serve, in one worker: listeners by address and port, routes in one table, one upstream a Service port. Told by
 * patches; a request sees a patch whole or not at all, since nothing awaits while one is applied.
 */
export class Edge {
  readonly engine: Engine;
  readonly routes: RouteTable;
  /** Of caches, by name. */
  readonly shelves = new Shelves();
  readonly tally = new Tally();
  /** Routes that are attached to Services. */
  readonly services = new ServiceRoutes();
  /** The same for connections that nobody reads. */
  readonly serviceStreams: ServiceStreams;
  readonly #options: EdgeOptions;
  readonly #state = new TrafficState();
  readonly #upstreams = new Map<string, CheckedUpstream>();
  /** Upstreams by the Service port behind them. */
  readonly #byServicePort = new Map<string, Set<string>>();
  /** What DestinationRules say of Service ports, for whoever calls them from elsewhere than the mesh. */
  readonly #policies = new Map<string, Upstream>();
  /** By "ADDRESS:PORT". */
  readonly #httpPorts = new Map<string, HttpPort>();
  /** By "ADDRESS:PORT": HTTPS and TLS listeners share a socket. */
  readonly #tlsPorts = new Map<string, TlsPort>();
  readonly #https = new Map<EdgeListener, HttpsListener>();
  /** TCP and UDP listeners by "PROTOCOL/ADDRESS:PORT": one has such a port for itself. */
  readonly #streamPorts = new Map<string, EdgeListener>();
  readonly #streams: StreamRoutes;
  readonly #tools: UpstreamTools;
  /** Seconds of silence before TCP asks, by "ADDRESS:PORT". */
  readonly #keptAlive = new Map<string, number>();
  readonly #gauges = new Map<string, Gauge>();
  readonly #listenerTools: ListenerTools = {
    gaugeOf: (id, max) => {
      const known = this.#gauges.get(id);
      if (!known) this.#gauges.set(id, { max, count: 0 });
      else known.max = max;
      return this.#gauges.get(id)!;
    },
    mannersOf: ({ manners }) => manners && new Manners(manners, () => this.engine.draining),
  };

  constructor(options: EdgeOptions, { sessionKey, ...traffic }: TrafficSnapshot) {
    const { random, lease, countQuotas } = options;
    this.#options = options;
    const asker = countQuotas && new QuotaAsker({ ask: (asks, reply) => void countQuotas(asks).then(reply, () => reply([])), nowMs: () => performance.now(), setTimer, soon: setImmediate });
    const tools: FilterTools = { random, nowMs: () => performance.now(), setTimer, shelves: this.shelves, tally: this.tally, call: (request, then) => this.engine.call(request, then), ...(sessionKey !== undefined && { sessionKey }), ...(lease && { limiter: (id, rate) => leasedLimiter(id, rate, { nowMs: () => performance.now(), setTimer, ask: (request, reply) => void lease(request).then(reply, () => {}) }) }), ...(asker && { quota: (id, limit) => asker.quota(id, limit) }) };
    this.engine = options.engine ?? new Engine({ dial: options.dial, random, ...(options.accessLog && { accessLog: options.accessLog }) });
    this.routes = new RouteTable(tools);
    this.#streams = new StreamRoutes(options.table, this.#state.upstreams);
    this.serviceStreams = new ServiceStreams({ table: options.table, upstreams: this.#state.upstreams, random, namespaceOf: options.namespaceOf ?? (() => undefined) });
    this.#tools = { random, nowMs: tools.nowMs, sessions: new SessionNames(sessionKey ?? randomBytes(16).toString("hex")) };
    this.apply({ revision: traffic.revision, whole: true, put: traffic, remove: {} });
  }

  /** Addresses that are listened at. */
  get listeners(): ReadonlyMap<string, EdgeListener> {
    return this.#state.listeners;
  }

  apply(patch: TrafficPatch): void {
    const { put, remove } = this.#state.apply(patch);
    let servicesChanged = false;
    for (const id of remove.routes ?? []) {
      this.routes.remove(id);
      if (this.services.remove(id)) servicesChanged = true;
      if (this.serviceStreams.remove(id)) servicesChanged = true;
      this.#streams.remove(id);
    }
    for (const id of remove.upstreams ?? []) this.#removeUpstream(id);
    for (const upstream of put.upstreams ?? []) this.#putUpstream(upstream);
    for (const route of put.routes ?? []) if (this.#putRoute(route)) servicesChanged = true;
    if (put.listeners || remove.listeners) this.#relisten();
    if (servicesChanged) this.#options.servicesChanged?.();
  }

  /** Endpoints of these Service ports came or went; of all when none are named. */
  refresh(ports?: readonly ServicePort[]): void {
    const keys = ports ? ports.map(({ key }) => key) : this.#byServicePort.keys();
    for (const key of keys) for (const id of this.#byServicePort.get(key) ?? []) this.#refreshUpstream(id, key);
  }

  /** A connection that was accepted there. */
  accept(client: TcpHandle, address: string, port: number): void {
    const keptAlive = this.#keptAlive.get(`${address}:${port}`);
    if (keptAlive !== undefined) client.setKeepAlive(true, keptAlive);
    const http = this.#httpPorts.get(`${address}:${port}`);
    if (http && !http.proxied) return this.engine.accept(client, http);
    if (http) return readProxied(client, http.proxied === "optional", (from, came) => this.engine.accept(client, http, from, came), http.openingMs);
    const tls = this.#tlsPorts.get(`${address}:${port}`);
    if (tls) return tls.accept(client);
    const listener = this.#streamPorts.get(`TCP/${address}:${port}`);
    const service = listener && listener.refusal === undefined ? this.#streams.choose(listener.id, "") : undefined;
    if (service) this.#options.connections.serve(client, service, undefined, gatewayCaller(listener!.id), listener!.streamIdleMs);
    else resetHandle(client);
  }

  readonly #doors: TlsDoors = {
    passed: (client, hello, listener, serverName) => {
      const service = this.#streams.choose(listener.id, serverName);
      if (service) this.#options.connections.serve(client, service, hello, gatewayCaller(listener.id), listener.streamIdleMs);
      return service !== undefined;
    },
    terminated: (stream, listener, serverName, address, certificate) => {
      const https = this.#https.get(listener);
      if (https) return this.engine.acceptStream(stream, certificate ? withCertificate(https, certificate) : https, address);
      const service = listener.refusal === undefined && this.#streams.choose(listener.id, serverName);
      if (service) this.#tunnel(stream, service, address, listener);
      else stream.reset();
    },
    failed: (reason, address) => this.#options.log.debug("a TLS handshake failed", { address, reason }),
  };

  /** Decrypted bytes to an endpoint, and back. */
  #tunnel(client: Stream, service: ServicePort, address: string, { id, streamIdleMs = limits.gatewayTunnelIdleMs }: EdgeListener): void {
    const { active } = service;
    const endpoint = active.length === 0 ? undefined : active[service.choose(address, performance.now())]!;
    if (!endpoint || this.#options.connections.judge?.(address, endpoint, service, gatewayCaller(id)) === false) return client.reset();
    tunnelTo(this.engine, client, { idleMs: streamIdleMs, reach: (done) => this.#options.dial(endpoint.ip, endpoint.port, limits.gatewayConnectMs, (_status, handle) => done(handle)) });
  }

  /** Starts to receive datagrams there; returns how to stop. */
  receive(handle: UdpHandle, address: string, port: number): () => void {
    const next = (): ServicePort | undefined => {
      const listener = this.#streamPorts.get(`UDP/${address}:${port}`);
      return listener && this.#streams.choose(listener.id, "");
    };
    return new UdpService(next, this.#options.log).receive(handle);
  }

  /** Returns whether other Service ports have routes now. */
  #putRoute(route: Route): boolean {
    // A kind's change of type cannot be: its id names the kind.
    if (route.type !== "http") {
      if (route.attachments.some(({ listener }) => readServiceListenerId(listener))) return this.serviceStreams.put(route);
      this.#streams.put(route);
      return false;
    }
    try {
      this.routes.put(route);
      this.engine.hides(route.rules.flatMap(secretParameters));
      return this.services.put(route);
    } catch (error) {
      // The compiler has checked it: this is a fault of ours, and only this route's loss.
      if (!(error instanceof PolicyError)) throw error;
      this.#options.log.error("a route is not served", { route: route.id, error: error.message });
      this.routes.remove(route.id);
      return this.services.remove(route.id);
    }
  }

  #putUpstream(told: Upstream): void {
    const { id, namespace, service, port } = told;
    if (told.isPolicy) return this.#putPolicy(told);
    const upstream = id.startsWith("istio:") ? told : underPolicy(told, this.#policies.get(servicePortKey(namespace, service, "TCP", port)));
    let policy = this.#upstreams.get(id);
    if (policy) policy.configure(upstream);
    else this.#upstreams.set(id, (policy = createUpstreamPolicy(upstream, this.#tools)));
    this.engine.putUpstream({ id, http2: upstream.protocol !== "http1", connectMs: upstream.connectMs ?? limits.gatewayConnectMs, idleMs: upstream.idleMs ?? limits.gatewayUpstreamIdleMs, connectionsMax: upstream.breaker?.connectionsMax, keepAliveSeconds: upstream.keepAliveSeconds, ageMs: upstream.connectionAgeMs, requestsMax: upstream.breaker?.connectionRequestsMax, proxyProtocol: upstream.proxyProtocol, ...(upstream.tls && { secure: secureUpstream(upstream.tls, upstream.protocol) }) }, policy);
    const key = servicePortKey(namespace, service, "TCP", port);
    const ids = this.#byServicePort.get(key);
    if (ids) ids.add(id);
    else this.#byServicePort.set(key, new Set([id]));
    this.#refreshUpstream(id, key);
  }

  /** What checks have found, in whatever worker. */
  learnHealth({ upstream, key, isWell }: Health): void {
    this.#upstreams.get(upstream)?.learnHealth(key, isWell ?? undefined);
  }
  /** Asks an endpoint of an upstream, for all workers; undefined: there is nothing to be asked any more. */
  async check({ upstream: id, ip, port }: CheckRequest): Promise<CheckResult | undefined> {
    const { checkEndpoint } = await import("../health/check.ts");
    const { check, tls } = this.#state.upstreams.get(id) ?? {};
    const settings = this.engine.pool(id)?.settings;
    if (!check || !settings) return undefined;
    // Who is asked by gRPC speaks HTTP/2, also where its port does not say so.
    const called = check.ask.type === "grpc" && tls && !settings.http2 ? { ...settings, secure: secureUpstream(tls, "h2") } : settings;
    return checkEndpoint(check, { ip, port, key: `${ip}:${port}` }, called, { dial: this.#options.dial, output: this.engine.output, sweeper: this.engine.sweeper });
  }

  #putPolicy(policy: Upstream): void {
    this.#policies.set(servicePortKey(policy.namespace, policy.service, "TCP", policy.port), policy);
    this.#policiesChanged(policy);
  }
  #policiesChanged({ namespace, service, port }: Upstream): void {
    for (const id of this.#byServicePort.get(servicePortKey(namespace, service, "TCP", port)) ?? []) if (!id.startsWith("istio:")) this.#putUpstream(this.#state.upstreams.get(id)!);
  }

  #removeUpstream(id: string): void {
    for (const [key, policy] of this.#policies) {
      if (policy.id !== id) continue;
      this.#policies.delete(key);
      return this.#policiesChanged(policy);
    }
    this.#upstreams.delete(id);
    this.serviceStreams.forgetUpstream(id);
    this.engine.removeUpstream(id);
    for (const [key, ids] of this.#byServicePort) if (ids.delete(id) && ids.size === 0) this.#byServicePort.delete(key);
  }

  #refreshUpstream(id: string, key: string): void {
    const { addresses, endpoints: fixed } = this.#state.upstreams.get(id) ?? {};
    const endpoints = fixed ? fixed.map((endpoint) => ({ ...endpoint, key: `${endpoint.ip}:${endpoint.port}` })) : (this.#options.table.ports.get(key)?.active ?? []);
    this.#upstreams.get(id)?.update(addresses ? endpoints.filter(({ ip }) => addresses.includes(ip)) : endpoints);
  }

  /** Listeners are few, and change rarely. */
  #relisten(): void {
    const http = new Map<string, EdgeListener[]>();
    const tls = new Map<string, EdgeListener[]>();
    this.#streamPorts.clear();
    this.#keptAlive.clear();
    for (const listener of this.#state.listeners.values()) {
      const { protocol, address, port } = listener;
      const at = `${address}:${port}`;
      if (listener.keepAliveSeconds !== undefined) this.#keptAlive.set(at, listener.keepAliveSeconds);
      if (protocol === "TCP" || protocol === "UDP") this.#streamPorts.set(`${protocol}/${at}`, listener);
      else (protocol === "HTTP" ? http : tls).set(at, [...((protocol === "HTTP" ? http : tls).get(at) ?? []), listener]);
    }
    const gone = new Set<string>();
    for (const [at, { id }] of this.#httpPorts) if (!http.has(at) && gone.add(id)) this.#httpPorts.delete(at);
    for (const [at, listeners] of http) {
      const known = this.#httpPorts.get(at);
      if (known) known.listeners = listeners;
      else this.#httpPorts.set(at, new HttpPort(listeners, this.routes, this.#listenerTools));
    }
    for (const at of this.#tlsPorts.keys()) if (!tls.has(at)) this.#tlsPorts.delete(at);
    const present = new Set<EdgeListener>();
    for (const [at, listeners] of tls) {
      let port = this.#tlsPorts.get(at);
      if (port) port.listeners = listeners;
      else this.#tlsPorts.set(at, (port = new TlsPort(listeners, this.#doors)));
      for (const listener of listeners) {
        present.add(listener);
        if (listener.protocol === "HTTPS" && !this.#https.has(listener)) this.#https.set(listener, new HttpsListener(listener, port, this.routes, this.#listenerTools));
      }
    }
    // One that is only changed goes on for those who are connected.
    const ids = new Set([...present].map(({ id }) => id));
    for (const listener of this.#https.keys()) {
      if (present.has(listener)) continue;
      this.#https.delete(listener);
      if (!ids.has(listener.id)) gone.add(listener.id);
    }
    if (gone.size > 0) this.engine.retire(({ id }) => gone.has(id));
  }

  close(): void {
    this.engine.close();
  }
}


function setTimer(delayMs: number, callback: () => void): { cancel(): void } {
  const timer = setTimeout(callback, delayMs).unref();
  return { cancel: () => clearTimeout(timer) };
}
