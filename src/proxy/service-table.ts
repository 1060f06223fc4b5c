import type { NetSnapshot, Readiness, ServicePortSnapshot, ServiceSnapshot } from "../api/network.ts";
import { Turn } from "../policy/balancers/round-robin.ts";
import { ClientAffinity } from "../policy/client-affinity.ts";
import { rendezvous } from "../policy/hash.ts";
import { limits } from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import type { Endpoint } from "../policy/upstream.ts";

export type { Endpoint } from "../policy/upstream.ts";

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
  /** None may, but one will in a moment: connections wait. */
  held = false;
  readonly #waiting = new Set<() => void>();
  readonly #turn: Turn;
  #affinity: ClientAffinity | undefined;

  constructor(key: string, service: ServiceSnapshot, port: ServicePortSnapshot, random: Random) {
    this.key = key;
    this.service = service;
    this.port = port;
    this.#turn = new Turn(random);
  }

  /** Readiness by the agent goes before the snapshot's: it is newer. Returns whether anything changed. */
  refresh(overrides: ReadonlyMap<string, Readiness>): boolean {
    const { publishNotReadyAddresses, affinitySeconds } = this.service;
    if (affinitySeconds === 0) this.#affinity = undefined;
    else if (this.#affinity) this.#affinity.timeoutMs = affinitySeconds * 1000;
    else this.#affinity = new ClientAffinity(affinitySeconds * 1000, affinityClientsMax);
    const ready = this.port.endpoints.filter(({ ip, ready }) => publishNotReadyAddresses || (overrides.get(ip) ?? ready) === true);
    const staying = ready.filter((endpoint) => !endpoint.terminating);
    // As kube-proxy: when only terminating endpoints are left that still serve, they are better than none.
    const next = (staying.length > 0 ? staying : ready).map(({ ip, port }) => ({ ip, port, key: `${ip}:${port}` }));
    const held = next.length === 0 && this.port.endpoints.some(({ ip }) => overrides.get(ip) === "held");
    const changed = held !== this.held || next.length !== this.active.length || next.some((endpoint, i) => endpoint.key !== this.active[i]!.key);
    if (changed) this.active = next;
    this.held = held;
    if (changed && !held) for (const go of this.#waiting) go();
    return changed;
  }

  /** Somebody answers, or will in a moment: the address does not refuse. */
  get isOpen(): boolean {
    return this.active.length > 0 || this.held;
  }

  /**
   * While the port is held: calls `go` once when it no longer is, whatever came of it, or when a connection has waited
   * long enough. False when too many wait already.
   */
  wait(go: () => void): boolean {
    if (this.#waiting.size >= limits.heldConnectionsMax) return false;
    const once = () => {
      clearTimeout(timer);
      if (this.#waiting.delete(once)) go();
    };
    const timer = setTimeout(once, limits.heldMs);
    this.#waiting.add(once);
    return true;
  }

  /** The Service is gone. */
  close(): void {
    this.active = [];
    this.held = false;
    for (const go of this.#waiting) go();
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
  readonly overrides = new Map<string, Readiness>();
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
    for (const key of gone) {
      this.ports.get(key)!.close();
      this.ports.delete(key);
    }
  }

  /** Returns the ports whose endpoints changed by it. */
  setReady(ip: string, ready: Readiness | undefined): ServicePort[] {
    if (ready === undefined) this.overrides.delete(ip);
    else this.overrides.set(ip, ready);
    return [...this.ports.values()].filter((port) => port.port.endpoints.some((endpoint) => endpoint.ip === ip) && port.refresh(this.overrides));
  }

  /** Whether its name leads there; one that is back in a moment keeps it. */
  isReady(ip: string, ready: boolean): boolean {
    return (this.overrides.get(ip) ?? ready) !== false;
  }
}

export function servicePortKey(namespace: string, name: string, protocol: string, port: number): string {
  return `${namespace}/${name}/${protocol}/${port}`;
}
