import type { NetSnapshot, ServicePortSnapshot, ServiceSnapshot } from "../api/network.ts";
import { ClientAffinity, rendezvous, RoundRobin } from "../policy/balance.ts";
import type { Random } from "../base/random.ts";

export interface Endpoint {
  ip: string;
  port: number;
  /** "ip:port". */
  key: string;
}

/** Clients with affinity that one Service port remembers in one worker; beyond, the longest silent one is forgotten. */
const affinityClientsMax = 10_000;

/**
 * One port of one Service as the listeners see it: who may be sent to now. It outlives snapshots, so that turns
 * and affinities go on.
 */
export class ServicePort {
  readonly key: string;
  service: ServiceSnapshot;
  port: ServicePortSnapshot;
  /** Endpoints that may get new connections. */
  active: readonly Endpoint[] = [];
  readonly #turn: RoundRobin;
  #affinity: ClientAffinity | undefined;

  constructor(key: string, service: ServiceSnapshot, port: ServicePortSnapshot, random: Random) {
    this.key = key;
    this.service = service;
    this.port = port;
    this.#turn = new RoundRobin(random);
  }

  /** Readiness by the agent goes before the snapshot's: it is newer. Returns whether anything changed. */
  refresh(overrides: ReadonlyMap<string, boolean>): boolean {
    const { publishNotReadyAddresses, affinitySeconds } = this.service;
    if (affinitySeconds === 0) this.#affinity = undefined;
    else if (this.#affinity) this.#affinity.timeoutMs = affinitySeconds * 1000;
    else this.#affinity = new ClientAffinity(affinitySeconds * 1000, affinityClientsMax);
    const ready = this.port.endpoints.filter((endpoint) => publishNotReadyAddresses || (overrides.get(endpoint.ip) ?? endpoint.ready));
    const staying = ready.filter((endpoint) => !endpoint.terminating);
    // As kube-proxy: when only terminating endpoints are left that still serve, they are better than none.
    const next = (staying.length > 0 ? staying : ready).map(({ ip, port }) => ({ ip, port, key: `${ip}:${port}` }));
    const changed = next.length !== this.active.length || next.some((endpoint, i) => endpoint.key !== this.active[i]!.key);
    if (changed) this.active = next;
    return changed;
  }

  /** Where to begin: index into `active`, which must not be empty. Later attempts go round from there. */
  choose(client: string, nowMs: number): number {
    if (!this.#affinity) return this.#turn.next(this.active.length);
    const remembered = this.#affinity.get(client, nowMs);
    const index = remembered === undefined ? -1 : this.active.findIndex((endpoint) => endpoint.key === remembered);
    return index >= 0 ? index : rendezvous(client, this.active.map((endpoint) => endpoint.key));
  }

  /** The client was connected to this endpoint. */
  remember(client: string, endpoint: Endpoint, nowMs: number): void {
    this.#affinity?.set(client, endpoint.key, nowMs);
  }

  get hasAffinity(): boolean {
    return this.#affinity !== undefined;
  }
}

/** All Service ports of the present snapshot, with the agent's readiness on top. */
export class ServiceTable {
  snapshot: NetSnapshot;
  readonly ports = new Map<string, ServicePort>();
  readonly overrides = new Map<string, boolean>();
  readonly #random: Random;

  constructor(snapshot: NetSnapshot, random: Random) {
    this.snapshot = snapshot;
    this.#random = random;
    this.apply(snapshot);
  }

  apply(snapshot: NetSnapshot): void {
    this.snapshot = snapshot;
    const gone = new Set(this.ports.keys());
    for (const service of snapshot.services) {
      for (const port of service.ports) {
        const key = servicePortKey(service.namespace, service.name, port.protocol, port.port);
        const known = this.ports.get(key) ?? new ServicePort(key, service, port, this.#random);
        known.service = service;
        known.port = port;
        known.refresh(this.overrides);
        this.ports.set(key, known);
        gone.delete(key);
      }
    }
    for (const key of gone) this.ports.delete(key);
  }

  /** Returns the ports whose endpoints changed by it. */
  setReady(ip: string, ready: boolean | undefined): ServicePort[] {
    if (ready === undefined) this.overrides.delete(ip);
    else this.overrides.set(ip, ready);
    return [...this.ports.values()].filter((port) => port.port.endpoints.some((endpoint) => endpoint.ip === ip) && port.refresh(this.overrides));
  }

  isReady(ip: string, ready: boolean): boolean {
    return this.overrides.get(ip) ?? ready;
  }
}

export function servicePortKey(namespace: string, name: string, protocol: string, port: number): string {
  return `${namespace}/${name}/${protocol}/${port}`;
}
