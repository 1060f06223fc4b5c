import { readFileSync } from "node:fs";
import type { Guard } from "../api/guard.ts";
import type { MeshAccount, MeshIdentity } from "../api/mesh-identity.ts";
import type { NetSnapshot, PodIdentity, Readiness } from "../api/network.ts";
import type { TrafficPatch } from "../api/traffic.ts";
import type { Health } from "../api/traffic-health.ts";
import { directFeedPort } from "../base/direct-feed-port.ts";
import type { TcpHandle, UdpHandle } from "../base/handles.ts";
import type { Log } from "../base/log.ts";
import { systemRandom } from "../base/random.ts";
import type { QuotaResult } from "../policy/exchange.ts";
import type { RuleCount } from "../policy/tally.ts";
import type { QuotaAsk } from "../policy/quotas/counters.ts";
import type { Lease, LeaseRequest } from "../policy/rate-leases.ts";
import type { DnsServer, OutsideAnswer } from "./dns/server.ts";
import type { FrontDoor } from "./front-door.ts";
import { connectionRefused, dial } from "./dial.ts";
import { Dials } from "./dials.ts";
import type { Edge } from "./edge/edge.ts";
import type { CheckRequest, CheckResult } from "./health/checker.ts";
import type { Engine } from "./http/engine.ts";
import { Listeners, type Keeper, type ListenerSpec } from "./listeners.ts";
import type { Judge } from "./mesh/judge.ts";
import { serviceListenerId } from "./mesh/listener-id.ts";
import type { DirectFeed } from "./mesh/direct-feed.ts";
import type { Identities } from "./mesh/identities.ts";
import { declaredBy, isOwnTls } from "./mesh/protocol.ts";
import type { ServiceDoor, ServiceTls } from "./mesh/service-door.ts";
import type { TlsDoor } from "./mesh/tls-door.ts";
import { type HostListener, isServedBy, type WorkerInit } from "./messages.ts";
import { type ServicePort, ServiceTable, servicePortKey } from "./service-table.ts";
import { Connections, judgedAnew, localAddress, peerAddress } from "./tcp-service.ts";
import { resetHandle } from "./pump.ts";
import { TrafficState } from "./traffic-state.ts";
import type { UdpService } from "./udp-service.ts";

/** What a worker asks of `wherry`, which alone lives outside the pod network. */
export interface Outside {
  /** `podIP`: the pod that dials by itself, for whom only some ports are open. */
  dial(ip: string, port: number, podIP?: string): Promise<TcpHandle>;
  resolve(name: string, type: string): Promise<OutsideAnswer>;
  /** Of a rate that all workers share. */
  lease(request: LeaseRequest): Promise<Lease>;
  /** Of what is counted for all of them, one by one. */
  countQuotas(asks: QuotaAsk[]): Promise<QuotaResult[]>;
  /** As whom a Service's listeners speak for pods of that account. */
  identity(account: MeshAccount): Promise<MeshIdentity>;
  /** Lines of the access log, where there is one. */
  log?: (lines: Buffer) => void;
  /** A Node program of a pod dials by itself. */
  meshed?: (program: { ip: string; node: string }) => void;
}

const connectionsMax = Math.min(20_000, Math.floor(openFilesMax() * 0.45));
/** Connections of pods to the outside that are being made at one time. */
const egressDiallingMax = 128;
/** A worker that begins waits for keys of tokens for so long. */
const keysMs = 1_000;
const dnsPort = 53;

/** One `wherry-net` worker: the snapshot's listeners, kept in step with endpoints as they come and go. */
export class Worker {
  readonly init: WorkerInit;
  readonly #table: ServiceTable;
  readonly #listeners: Listeners;
  readonly #connections: Connections;
  #hostListeners: HostListener[];
  readonly #outside: Outside;
  readonly #log: Log;
  /** Loaded after the TCP listeners are served: connections wait in the kernel for the time that loading takes. */
  #dns: DnsServer | undefined;
  #udp: typeof UdpService | undefined;
  #frontDoor: Promise<FrontDoor> | undefined;
  /** What Gateways serve; nobody loads it who has none. Until it is loaded patches are gathered. */
  #edge: Edge | undefined;
  #edgeLoading: Promise<void> | undefined;
  readonly #traffic = new TrafficState();
  /** Of Gateways and of Services' ports: an upstream has one pool, whoever leads to it. */
  #engine: Promise<Engine> | undefined;
  /** Service ports that are spoken HTTP at. */
  #serviceDoor: ServiceDoor | undefined;
  #serviceDoorLoading: Promise<ServiceDoor> | undefined;
  /** Pods by their address. */
  readonly #pods: Map<string, PodIdentity>;
  /** What stands before pods; nobody loads who judges by it as long as there is nothing. */
  readonly #guards = new Map<string, Guard>();
  #judge: Judge | undefined;
  #judgeLoading: Promise<void> | undefined;
  /** Connections are judged that had been let in. */
  #isAnew = false;
  /** As whom listeners speak TLS; loaded with the first client that does. */
  #identities: Identities | undefined;
  #tlsDoorLoading: Promise<TlsDoor> | undefined;
  /** Tells meshed programs where endpoints are; loaded with the first that asks. */
  #feed: DirectFeed | undefined;
  #feedLoading: Promise<DirectFeed> | undefined;
  readonly #dial: typeof dial;
  readonly #dials: Dials | undefined;
  #egressDialling = 0;
  /** Listener keys by the Service port they lead to. */
  #keysOf = new Map<ServicePort, string[]>();

  constructor(init: WorkerInit, keeper: Keeper, outside: Outside, log: Log) {
    this.init = init;
    this.#outside = outside;
    // Elsewhere an address is not one pod's alone.
    this.#dials = init.mode === "isolated" ? new Dials(dialFromInside(init.gatewayIP, outside)) : undefined;
    this.#dial = this.#dials?.dial ?? dial;
    this.#connections = new Connections(connectionsMax, this.#dial);
    this.#log = log;
    this.#pods = new Map(init.pods);
    this.#hostListeners = init.hostListeners;
    this.#table = new ServiceTable(init.snapshot, systemRandom);
    for (const [ip, ready] of init.overrides) this.#table.setReady(ip, ready);
    this.#listeners = new Listeners(keeper, init, log);
    if (init.traffic.listeners.length > 0 || init.traffic.routes.length > 0 || init.traffic.guards?.length) this.applyTraffic({ revision: init.traffic.revision, whole: true, put: init.traffic, remove: {} });
    this.#want();
    void this.#load();
  }

  async #load(): Promise<void> {
    const [{ Zone }, { DnsServer }, { UdpService }] = await Promise.all([import("./dns/zone.ts"), import("./dns/server.ts"), import("./udp-service.ts")]);
    this.#udp = UdpService;
    if (this.init.index === 0) this.#dns = new DnsServer(new Zone(this.#table), (name, type) => this.#outside.resolve(name, type), this.#log.child("dns"));
    this.#want();
  }

  apply(snapshot: NetSnapshot, hostListeners: HostListener[]): void {
    this.#hostListeners = hostListeners;
    this.#table.apply(snapshot);
    this.#edge?.refresh();
    this.#serviceDoor?.refresh();
    this.#want();
  }

  /** `hostListeners` where addresses came or went. */
  applyTraffic(patch: TrafficPatch, hostListeners?: HostListener[]): void {
    if (patch.put.guards || patch.remove.guards) this.#applyGuards(patch);
    if (this.#edge) this.#edge.apply(patch);
    else this.#traffic.apply(patch);
    if (!this.#edge && !this.#edgeLoading && this.#traffic.listeners.size + this.#traffic.routes.size > 0) this.#edgeLoading = this.#loadEdge();
    this.#feed?.refresh();
    if (!hostListeners) return;
    this.#hostListeners = hostListeners;
    this.#want();
  }

  /** Empties caches; see {@link Shelves.purge}. How many answers went. */
  purge(name: string, prefix: string): number {
    return this.#edge?.shelves.purge(name, prefix) ?? 0;
  }
  /** What rules have refused since this worker began. */
  ruleCounts(share: string): RuleCount[] {
    return this.#edge?.tally.counts(share) ?? [];
  }

  /** What checks have found; until there are upstreams, it is kept for them. */
  learnHealth(health: Health): void {
    if (this.#edge) this.#edge.learnHealth(health);
    else this.init.health.push(health);
  }
  async check(request: CheckRequest): Promise<CheckResult | undefined> {
    await this.#edgeLoading;
    return this.#edge?.check(request);
  }

  #applyGuards({ put, remove }: TrafficPatch): void {
    if (!this.init.judges) return;
    for (const id of remove.guards ?? []) this.#guards.delete(id);
    for (const guard of put.guards ?? []) this.#guards.set(guard.id, guard);
    if (this.#judge) this.#judgeAnew(this.#judge);
    else if (this.#guards.size > 0) this.#judgeLoading ??= this.#loadJudge();
  }
  async #loadJudge(): Promise<void> {
    const [{ Judge }, { clusterKeys }, engine] = await Promise.all([import("./mesh/judge.ts"), import("./mesh/jwks.ts"), this.#loadEngine()]);
    const judge = new Judge({
      pods: this.#pods,
      gatewayIP: this.init.gatewayIP,
      fetchKeys: clusterKeys(this.#table, this.#log.child("keys")),
      counters: engine.counters,
      refused: (address, { service, port }, flag, reason) => engine.refused({ address, listener: { id: serviceListenerId(service.namespace, service.name, port.port) } }, 0, flag, this.#isAnew ? `${judgedAnew}: ${reason}` : reason),
    });
    judge.set([...this.#guards.values()]);
    // Or those who come first would be refused for tokens that are good.
    await Promise.race([judge.keysAnswered(), new Promise<void>((resolve) => setTimeout(resolve, keysMs).unref())]);
    engine.judge = (exchange, endpoint) => judge.http(exchange, endpoint);
    this.#connections.judge = (address, endpoint, service, gateway) => judge.tcp(address, endpoint, service, gateway);
    this.#judge = judge;
    // Some may have come and gone meanwhile.
    this.#judgeAnew(judge);
    this.#feed?.refresh();
  }
  /** What was let in before, and would not be now, ends: connections that nobody reads, and upgraded ones. */
  #judgeAnew(judge: Judge): void {
    judge.set([...this.#guards.values()]);
    this.#isAnew = true;
    this.#connections.judgeAnew();
    this.#serviceDoor?.judgeAnew();
    void this.#engine?.then((engine) => engine.judgeAnew());
    this.#isAnew = false;
  }

  /** Connections wait in the kernel for the time that loading takes. */
  async #loadEdge(): Promise<void> {
    const [{ Edge }, engine] = await Promise.all([import("./edge/edge.ts"), this.#loadEngine(), this.#judgeLoading]);
    // Patches do not say it: what one worker gives a client, the others know.
    const { sessionKey } = this.init.traffic;
    const lease = this.init.workers > 1 && { lease: (request: LeaseRequest) => this.#outside.lease(request) };
    this.#edge = new Edge({ table: this.#table, dial: this.#dial, connections: this.#connections, random: systemRandom, log: this.#log.child("edge"), engine, servicesChanged: () => this.#want(), namespaceOf: (ip) => this.#pods.get(ip)?.namespace, countQuotas: (asks) => this.#outside.countQuotas(asks), ...lease }, { ...this.#traffic.snapshot(), ...(sessionKey !== undefined && { sessionKey }) });
    for (const health of this.init.health.splice(0)) this.#edge.learnHealth(health);
    const { serviceStreams } = this.#edge;
    this.#connections.lead = (client, service, first, go) => serviceStreams.lead(client, service, first, go);
    this.#want();
  }

  #loadEngine(): Promise<Engine> {
    return (this.#engine ??= import("./http/engine.ts").then(({ Engine }) => new Engine({ dial: this.#dial, random: systemRandom, ...(this.#outside.log && { accessLog: this.#outside.log }) })));
  }

  #loadServiceDoor(): Promise<ServiceDoor> {
    return (this.#serviceDoorLoading ??= Promise.all([import("./mesh/service-door.ts"), this.#loadEngine()]).then(([{ ServiceDoor }, engine]) => {
      const mesh = () => this.#edge;
      return (this.#serviceDoor = new ServiceDoor({ engine, table: this.#table, connections: this.#connections, mesh, namespaceOf: (ip) => this.#pods.get(ip)?.namespace, silentMs: this.init.silentMs, ...(this.init.judges && { tls: this.#tls(engine) }) }));
    }));
  }

  #tls(engine: Engine): ServiceTls {
    const load = async (): Promise<TlsDoor> => {
      const [{ TlsDoor }, { Identities }] = await Promise.all([import("./mesh/tls-door.ts"), import("./mesh/identities.ts")]);
      const identities = (this.#identities = new Identities((account) => this.#outside.identity(account), Date.now));
      identities.put(this.init.identities);
      return new TlsDoor({
        identities,
        peerMode: (service) => this.#judge?.peerMode(service),
        accountAt: (ip) => this.#pods.get(ip),
        refused: (address, { service, port }, flag, reason) => engine.refused({ address, listener: { id: serviceListenerId(service.namespace, service.name, port.port) } }, 0, flag, reason),
      });
    };
    return {
      door: () => (this.#tlsDoorLoading ??= load()),
      dial: this.#dial,
      mayReach: (address, endpoint, service, proved) => this.#judge?.tcp(address, endpoint, service, undefined, proved) ?? true,
      isStrictFor: (address, service) => !this.#pods.has(address) && this.#judge?.peerMode(service) === "STRICT",
    };
  }
  /** Others are trusted now. */
  forgetIdentities(): void {
    this.init.identities.length = 0;
    this.#identities?.forget();
  }

  /** A pod begins to have this address, before its first program runs; or it has ended. */
  setPod(ip: string, pod: PodIdentity | undefined): void {
    if (pod) this.#pods.set(ip, pod);
    else this.#pods.delete(ip);
    if (pod) this.#dials?.came(ip);
    else this.#dials?.gone(ip);
    this.#judge?.podsChanged();
    this.#feed?.refresh();
  }

  setReady(ip: string, ready: Readiness | undefined): void {
    const changed = this.#table.setReady(ip, ready);
    this.#edge?.refresh(changed);
    for (const port of changed) {
      for (const key of this.#keysOf.get(port) ?? []) this.#listeners.setOpen(key, this.#isOpen(port));
    }
    this.#feed?.refresh();
    // Idle connections would keep a program busy that is about to end, and be cut off under the next request.
    if (ready !== true) void this.#engine?.then((engine) => engine.leave(ip));
  }

  /** Nothing new is begun; requests under way end, and the access log is whole, or the signal's time is over. */
  async drain(signal: AbortSignal): Promise<void> {
    await this.#engine?.then((engine) => engine.drain(signal));
  }

  give(key: string, handle: TcpHandle | UdpHandle, listening: boolean): void {
    this.#listeners.give(key, handle, listening);
  }

  #want(): void {
    const specs = new Map<string, ListenerSpec>();
    this.#keysOf = new Map();
    for (const port of this.#table.ports.values()) {
      if (port.service.reserved) continue;
      const { protocol, port: number } = port.port;
      for (const ip of port.service.clusterIPs) this.#serve(specs, `${protocol.toLowerCase()}/${ip}:${number}`, port, { protocol, ip, port: number, given: false });
    }
    for (const { key, serves } of this.#hostListeners) {
      const given = { protocol: "TCP", ip: "", port: 0, given: true } as const;
      if (serves.type === "front-door") {
        specs.set(key, { ...given, open: true, accept: (client) => void this.#door().then((door) => door.accept(client)) });
      } else if (serves.type === "egress") {
        specs.set(key, { ...given, open: true, accept: (client) => this.#egress(client, serves.port) });
      } else if (serves.type === "edge") {
        const edge = this.#edge;
        const { protocol, address, port } = serves;
        // Open before it is loaded: a Gateway that says that it is programmed refuses nobody.
        if (protocol === "TCP") specs.set(key, { ...given, open: true, accept: (client) => (edge ? edge.accept(client, address, port) : void this.#edgeLoading?.then(() => this.#edge!.accept(client, address, port))) });
        else if (isServedBy(this.init, protocol, key)) specs.set(key, { ...given, protocol, open: edge !== undefined, receive: (handle) => edge!.receive(handle, address, port) });
      } else {
        const port = this.#table.ports.get(servicePortKey(serves.namespace, serves.service, serves.protocol, serves.port));
        if (port) this.#serve(specs, key, port, { ...given, protocol: serves.protocol });
      }
    }
    const dns = this.#dns;
    if (dns) {
      const at = { ip: this.init.dnsIP, port: dnsPort, given: false, open: true };
      specs.set(`udp/${at.ip}:${at.port}`, { ...at, protocol: "UDP", receive: (handle) => dns.receive(handle) });
      specs.set(`tcp/${at.ip}:${at.port}`, { ...at, protocol: "TCP", accept: (client) => dns.accept(client) });
    } else if (this.init.index === 0) {
      // Kept handles of an earlier worker must not be given back before the name server is loaded.
      for (const protocol of ["TCP", "UDP"] as const) specs.set(`${protocol.toLowerCase()}/${this.init.dnsIP}:${dnsPort}`, { protocol, ip: this.init.dnsIP, port: dnsPort, given: false, open: false });
    }
    const feed = { protocol: "TCP", ip: this.init.dnsIP, port: directFeedPort, given: false } as const;
    specs.set(`tcp/${feed.ip}:${feed.port}`, { ...feed, open: true, accept: (client) => void this.#loadFeed().then((loaded) => loaded.accept(client)) });
    this.#listeners.want(specs);
    this.#feed?.refresh();
  }

  #serve(specs: Map<string, ListenerSpec>, key: string, port: ServicePort, at: Pick<ListenerSpec, "protocol" | "ip" | "port" | "given">): void {
    const open = this.#isOpen(port);
    if (at.protocol === "TCP") {
      specs.set(key, { ...at, open, accept: (client) => this.#accept(client, port) });
    } else {
      if (!isServedBy(this.init, at.protocol, port.key)) return;
      const Udp = this.#udp;
      specs.set(key, { ...at, open: open && Udp !== undefined, receive: (handle) => new Udp!(() => port, this.#log.child(port.key)).receive(handle) });
    }
    const keys = this.#keysOf.get(port);
    if (keys) keys.push(key);
    else this.#keysOf.set(port, [key]);
  }

  /** A route may lead elsewhere, or answer by itself, where the Service has no endpoint of its own. */
  #isOpen(port: ServicePort): boolean {
    return port.isOpen || this.#hasRoutes(port) || this.#hasStreamRoutes(port);
  }
  /** It has policies, or routes for this caller, or may have: nobody is told a way past us. Routes may be for pods of one namespace alone. */
  #isGuarded(port: ServicePort, caller: string): boolean {
    const hasRoutes = this.init.judges ? this.#edge?.services.listenerFor(port.key, "", this.#pods.get(caller)?.namespace) !== undefined : this.#hasRoutes(port);
    return hasRoutes || this.#hasStreamRoutes(port) || (this.#edgeLoading !== undefined && !this.#edge) || (this.#judgeLoading !== undefined && (this.#judge?.guards(port) ?? true));
  }
  #hasRoutes(port: ServicePort): boolean {
    return this.#edge?.services.has(port.key) ?? false;
  }
  #hasStreamRoutes(port: ServicePort): boolean {
    return this.#edge?.serviceStreams.has(port.key) ?? false;
  }

  /** Requests are balanced where the Service says that HTTP is spoken, or where a route wants it; else connections are. */
  #accept(client: TcpHandle, port: ServicePort): void {
    const declared = declaredBy(port.port.appProtocol);
    // Nobody gets past routes and guards that are about to be known.
    if (this.#edgeLoading && !this.#edge) void this.#edgeLoading.then(() => this.#accept(client, port));
    else if (this.#judgeLoading && !this.#judge) void this.#judgeLoading.then(() => this.#accept(client, port));
    else {
      const readsHttp = declared === "http" || this.#hasRoutes(port) || (declared === "unknown" && this.#judge?.reads(port) === true);
      if (!readsHttp && !this.#looksForTls(port)) this.#connections.serve(client, port);
      else if (this.#serviceDoor) this.#serviceDoor.accept(client, port, readsHttp);
      else void this.#loadServiceDoor().then((door) => door.accept(client, port, readsHttp));
    }
  }
  /** A PeerAuthentication speaks of it, and TLS would not be the programs' own. */
  #looksForTls(port: ServicePort): boolean {
    const mode = this.#judge?.peerMode(port);
    return mode !== undefined && mode !== "DISABLE" && !isOwnTls(port.port.appProtocol);
  }

  #loadFeed(): Promise<DirectFeed> {
    const { mode, gatewayIP } = this.init;
    const pods = mode === "isolated" ? `${gatewayIP.split(".").slice(0, 2).join(".")}.` : "127.";
    return (this.#feedLoading ??= import("./mesh/direct-feed.ts").then(({ DirectFeed }) => (this.#feed = new DirectFeed({ table: this.#table, isGuarded: (port, caller) => this.#isGuarded(port, caller), isReachable: (ip) => ip.startsWith(pods), hello: ({ ip, node }) => this.#outside.meshed?.({ ip, node }) }))));
  }

  #door(): Promise<FrontDoor> {
    return (this.#frontDoor ??= Promise.all([import("./front-door.ts"), this.#loadEngine(), this.#edgeLoading, this.#judgeLoading]).then(([{ FrontDoor }, engine]) => new FrontDoor(this.#table, engine, () => this.#edge)));
  }

  /** A pod dialled the outside: the address it meant is the one that its connection was accepted at. */
  #egress(client: TcpHandle, port: number): void {
    const ip = localAddress(client);
    if (ip === "" || this.#egressDialling >= egressDiallingMax) return resetHandle(client);
    this.#egressDialling++;
    this.#outside.dial(ip, port, peerAddress(client)).then(
      (handle) => {
        this.#egressDialling--;
        client.setNoDelay(true);
        this.#connections.join(client, handle);
      },
      (error: Error) => {
        this.#egressDialling--;
        this.#log.debug("a connection to the outside was refused", { ip, port, error: error.message });
        resetHandle(client);
      },
    );
  }
}

/**
 * Pods are dialled directly. An endpoint elsewhere, written by hand for a database beyond the cluster, is reached by
 * way of `wherry`, on any port, and under the same rule as pods that dial out themselves: never the machine's own.
 */
function dialFromInside(gatewayIP: string, outside: Outside): typeof dial {
  const podPrefix = `${gatewayIP.split(".").slice(0, 2).join(".")}.`;
  return (ip, port, timeoutMs, done) => {
    if (ip.startsWith(podPrefix)) return dial(ip, port, timeoutMs, done);
    outside.dial(ip, port).then((handle) => done(0, handle), () => done(connectionRefused, undefined));
  };
}

/** Descriptors this process may have. Without any left, handles from `wherry` would be lost on their way. */
function openFilesMax(): number {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? 4096);
  } catch {
    return 4096;
  }
}
