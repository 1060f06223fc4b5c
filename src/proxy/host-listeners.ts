import type { EdgeBinding, HostAddress, NetSnapshot, ServicePortSnapshot, ServiceSnapshot } from "../api/network.ts";
import type { EdgeListener } from "../api/traffic.ts";
import { bindHandle, bindUdpHandle, type TcpHandle, type UdpHandle } from "../base/handles.ts";
import type { Log } from "../base/log.ts";
import { declaredBy } from "./mesh/protocol.ts";
import type { HostListener } from "./messages.ts";

/**
 * Where the machine itself reaches Services: which addresses and ports `wherry` binds, and what it tells people.
 *
 *   front door     127.0.0.1:8088             HTTP Services by name: http://SERVICE.NAMESPACE.localhost:8088
 *   own port       127.0.0.1:20000–27999      every TCP Service port, the same one at every start
 *   NodePort       127.0.0.1:<nodePort>       as declared
 *   LoadBalancer   127.98.0.0/16:<port>       an address per Service; where it cannot be bound: the own port
 *   Gateway        127.99.0.0/16:<port>       as its listeners say; where a user may not bind that: 10000 higher
 *   Ingress        127.0.0.1:80 and :443      where they cannot be had: 10000 higher
 */
export interface HostPlanOptions {
  /** Sticky numbers from last time: ports by listener id, and the host part of LoadBalancer addresses. */
  numbers: Record<string, number>;
  /** Any free port instead of the well-known ones: what tests want. */
  private: boolean;
  log: Log;
}

/** One address that Gateways listen at; several listeners may share it. */
export interface EdgeAddress {
  address: string;
  port: number;
  protocol: "TCP" | "UDP";
}

interface Entry {
  id: string;
  listener: HostListener;
  ip: string;
  /** The port bound now. */
  port: number;
  /** Ports to try in turn when the bound one turns out to be taken; empty when no other will do. */
  movable: boolean;
  /** In the snapshot that was applied last. */
  wanted: boolean;
  /** What proved that the address is free; the first worker gets it. */
  fresh: TcpHandle | UdpHandle | undefined;
}

const frontDoorPort = 8088;
const ownPortFirst = 20_000;
const ownPorts = 8_000;
const loadBalancerNet = "127.98";
/** Below 1024 an ordinary user may not listen: 80 becomes 10080. */
const edgeFallback = 10_000;
const sharedAddress = "127.0.0.1";
/** Programs under development listen here; a Service must not be found in their place. */
const neverOnLoopback = 8080;

export class HostPlan {
  readonly #options: HostPlanOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #byKey = new Map<string, Entry>();
  #addresses: HostAddress[] = [];
  #edges: readonly EdgeAddress[] = [];
  #edgeBindings: EdgeBinding[] = [];
  /** A number was chosen that should be remembered. */
  changed = false;

  constructor(options: HostPlanOptions) {
    this.#options = options;
  }
  get addresses(): HostAddress[] {
    return this.#addresses;
  }
  /** In the order of {@link EdgeAddress}es. */
  get edgeBindings(): EdgeBinding[] {
    return this.#edgeBindings;
  }
  /** What Gateways want; in force with the next {@link apply}. */
  set edges(edges: readonly EdgeAddress[]) {
    this.#edges = edges;
  }
  get listeners(): HostListener[] {
    return [...this.#entries.values()].map((entry) => entry.listener);
  }
  /** What a key stands for; undefined when it is not in the plan. */
  serves(key: string): HostListener["serves"] | undefined {
    return this.#byKey.get(key)?.listener.serves;
  }

  /** A handle for one worker; undefined when the key is not in the plan or its port has been taken since. */
  bind(key: string, shared: boolean): TcpHandle | UdpHandle | undefined {
    const entry = this.#byKey.get(key);
    if (!entry) return undefined;
    const { fresh } = entry;
    entry.fresh = undefined;
    if (fresh && !shared) return fresh;
    fresh?.close();
    return (protocolOf(entry.listener) === "UDP" ? bindUdpHandle(entry.ip, entry.port) : bindHandle(entry.ip, entry.port, { reusePort: shared })).handle;
  }

  close(): void {
    for (const entry of this.#entries.values()) entry.fresh?.close();
    this.#entries.clear();
  }

  /** Decides the addresses for a snapshot and proves them by binding. */
  apply(snapshot: NetSnapshot): void {
    for (const entry of this.#entries.values()) entry.wanted = false;
    const addresses: HostAddress[] = [];
    const door = this.#place("front-door", "127.0.0.1", this.#preferred("front-door", frontDoorPort), true, { type: "front-door" });
    for (const service of snapshot.services) {
      if (service.headless || service.reserved || service.type === "ExternalName") continue;
      const httpPort = frontDoorPortOf(service);
      for (const port of service.ports) {
        const at = this.#addressesOf(service, port);
        const byName = door && port === httpPort && isHttp(port) ? `http://${service.name}.${service.namespace}.localhost:${door.port}` : undefined;
        const url = byName ?? at.url;
        if (url) addresses.push({ namespace: service.namespace, service: service.name, port: port.port, protocol: port.protocol, url, ...at.extra });
      }
    }
    this.#edgeBindings = this.#edges.map((edge) => this.#bindEdge(edge));
    for (const entry of this.#entries.values()) if (!entry.wanted) this.#forget(entry);
    this.#addresses = addresses;
  }

  #bindEdge(edge: EdgeAddress): EdgeBinding {
    const { address, port, protocol } = edge;
    const id = `edge/${protocol.toLowerCase()}/${address}:${port}`;
    const serves = { type: "edge", ...edge } as const;
    // Ingresses' address is everybody's: another program may have its ports, and tests want none of them.
    const isShared = address === sharedAddress;
    const entry =
      isShared && this.#options.private
        ? this.#place(id, address, 0, true, serves)
        : (this.#place(id, address, port, false, serves) ?? (isShared || this.#codes.get(id) === "EACCES" ? this.#place(id, address, port + edgeFallback, false, serves) : undefined));
    const code = this.#codes.get(id);
    return { ...edge, ...(entry ? { boundPort: entry.port, ...(entry.port !== port && code !== undefined && { code }) } : { code: code ?? "EADDRINUSE" }) };
  }

  #forget(entry: Entry): void {
    entry.fresh?.close();
    this.#entries.delete(entry.id);
    if (this.#byKey.get(entry.listener.key) === entry) this.#byKey.delete(entry.listener.key);
  }

  #addressesOf(service: ServiceSnapshot, port: ServicePortSnapshot): { url?: string; extra: Pick<HostAddress, "address" | "loadBalancerIP" | "nodePort"> } {
    const serves: HostListener["serves"] = { type: "service", namespace: service.namespace, service: service.name, protocol: port.protocol, port: port.port };
    const id = `${service.namespace}/${service.name}/${port.protocol === "UDP" ? "udp/" : ""}${port.port}`;
    const scheme = port.protocol === "UDP" ? "udp" : "tcp";
    const extra: Pick<HostAddress, "address" | "loadBalancerIP" | "nodePort"> = {};
    const own = this.#place(id, "127.0.0.1", this.#preferred(id, ownPortFirst + (hashOf(id) % ownPorts)), true, serves);
    if (own) extra.address = `127.0.0.1:${own.port}`;
    let url = own && `${scheme}://127.0.0.1:${own.port}`;
    if (port.nodePort !== undefined && service.type !== "ClusterIP") {
      const node = this.#place(`node/${id}`, "127.0.0.1", port.nodePort, false, serves);
      if (node) extra.nodePort = port.nodePort;
    }
    if (service.type === "LoadBalancer") {
      const ip = this.#loadBalancerIP(service);
      const direct = port.port === neverOnLoopback ? undefined : this.#place(`balancer/${id}`, ip, port.port, false, serves);
      if (direct) url = `${scheme}://${ip}:${port.port}`;
      // The fallback is an address that answers, on the port that the URL states.
      extra.loadBalancerIP = direct ? ip : "127.0.0.1";
    }
    return { ...(url ? { url } : {}), extra };
  }

  /** One address per Service, remembered, so that a bookmark stays true. */
  #loadBalancerIP(service: ServiceSnapshot): string {
    const id = `balancer-address/${service.namespace}/${service.name}`;
    const { numbers } = this.#options;
    if (numbers[id] === undefined) {
      const taken = new Set(Object.entries(numbers).filter(([other]) => other.startsWith("balancer-address/")).map(([, number]) => number));
      let number = 1;
      while (taken.has(number)) number++;
      numbers[id] = number;
      this.changed = true;
    }
    return `${loadBalancerNet}.${(numbers[id]! >> 8) & 255}.${numbers[id]! & 255}`;
  }

  #preferred(id: string, usual: number): number {
    return this.#options.numbers[id] ?? (this.#options.private ? 0 : usual);
  }

  #place(id: string, ip: string, port: number, movable: boolean, serves: HostListener["serves"]): Entry | undefined {
    const old = this.#entries.get(id);
    if (old && (movable || (old.port === port && old.ip === ip))) {
      old.wanted = true;
      return old;
    }
    const entry: Entry = { id, listener: { key: "", serves }, ip, port, movable, wanted: true, fresh: undefined };
    if (!this.#bindSomewhere(entry)) return undefined;
    if (old) this.#forget(old);
    this.#entries.set(id, entry);
    return entry;
  }

  /** The port was free when it was chosen and is not any more. Returns whether another was found. */
  move(key: string): boolean {
    const entry = this.#byKey.get(key);
    if (!entry) return false;
    if (!entry.movable) {
      this.#options.log.warn("a port that a Service declares is taken by another program", { port: entry.port, ip: entry.ip });
      return false;
    }
    entry.port++;
    this.#byKey.delete(key);
    return this.#bindSomewhere(entry);
  }

  #bindSomewhere(entry: Entry): boolean {
    const { id } = entry;
    const protocol = protocolOf(entry.listener);
    const isTaken = (port: number) => [...this.#entries.values()].some((other) => other !== entry && other.ip === entry.ip && other.port === port && protocolOf(other.listener) === protocol);
    const tries = entry.movable ? 200 : 1;
    let lastCode = "EADDRINUSE";
    for (let i = 0, port = entry.port; i < tries; i++, port = port === 0 ? 0 : wrap(port + 1)) {
      if ((port !== 0 && isTaken(port)) || (entry.movable && port === neverOnLoopback)) continue;
      const result = protocol === "UDP" ? bindUdpHandle(entry.ip, port) : bindHandle(entry.ip, port);
      if (!result.handle) {
        lastCode = result.code;
        continue;
      }
      entry.fresh = result.handle;
      entry.port = result.port;
      entry.listener = { key: `host/${protocol.toLowerCase()}/${entry.ip}:${result.port}`, serves: entry.listener.serves };
      this.#byKey.set(entry.listener.key, entry);
      if (entry.movable && this.#options.numbers[id] !== result.port) {
        this.#options.numbers[id] = result.port;
        this.changed = true;
      }
      return true;
    }
    this.#codes.set(id, lastCode);
    if (!this.#refused.has(id)) this.#options.log.warn("an address on this machine cannot be bound", { id, ip: entry.ip, port: entry.port, code: lastCode });
    this.#refused.add(id);
    return false;
  }
  readonly #refused = new Set<string>();
  /** Why the last try failed, by id. */
  readonly #codes = new Map<string, string>();
}

const protocolOf = (listener: HostListener): "TCP" | "UDP" => ("protocol" in listener.serves ? listener.serves.protocol : "TCP");
const wrap = (port: number): number => (port > 32_000 ? ownPortFirst : port);

/** Whether a browser may be sent there: by the port's declared protocol or name, else by its well-known number. */
export function isHttp(port: ServicePortSnapshot): boolean {
  if (port.protocol !== "TCP") return false;
  if (port.appProtocol !== undefined) return declaredBy(port.appProtocol) === "http";
  return [80, 3000, 5000, 8000, 8080, 8081, 8888, 9090].includes(port.port);
}

/** The port that `http://SERVICE.NAMESPACE.localhost` means: the first HTTP one, else the first TCP one. */
export function frontDoorPortOf(service: ServiceSnapshot): ServicePortSnapshot | undefined {
  return service.ports.find(isHttp) ?? service.ports.find((port) => port.protocol === "TCP");
}

function hashOf(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** Listeners that differ by host name share a socket. */
export function edgeAddresses({ listeners }: { listeners: ReadonlyMap<string, EdgeListener> }): EdgeAddress[] {
  const distinct = new Map<string, EdgeAddress>();
  for (const { address, port, protocol } of listeners.values()) {
    const edge: EdgeAddress = { address, port, protocol: protocol === "UDP" ? "UDP" : "TCP" };
    distinct.set(`${edge.protocol}/${address}:${port}`, edge);
  }
  return [...distinct.values()];
}
