import type { NetSnapshot, Readiness } from "../../api/network.ts";
import type { Health, HealthReport } from "../../api/traffic-health.ts";
import type { TrafficPatch, Upstream } from "../../api/traffic.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Random } from "../../base/random.ts";
import { servicePortKey, ServiceTable } from "../service-table.ts";
import { type CheckRequest, type CheckResult, HealthChecker } from "./checker.ts";

/** What `wherry` knows that decides who is checked. */
export interface HealthWorld {
  snapshot(): NetSnapshot;
  overrides: ReadonlyMap<string, Readiness>;
}

/** Changes of so long are told to people at once. */
const gatheredMs = 500;

/** Checks the endpoints of upstreams that say so, of all workers' sake; costs nothing while none does. */
export class HealthOwner {
  readonly #world: HealthWorld;
  readonly #random: Random;
  readonly #clock: Clock;
  #telling: Timer | undefined;
  #last = "[]";
  #hasTold = false;
  #listener: ((reports: HealthReport[]) => void) | undefined;
  readonly #checker: HealthChecker;
  readonly #upstreams = new Map<string, Upstream>();
  /** Who gets requests now, as the workers see it; while anybody is checked. */
  #table: ServiceTable | undefined;

  constructor(world: HealthWorld, tools: { clock: Clock; random: Random; check(request: CheckRequest): Promise<CheckResult | undefined>; tell(health: Health): void }) {
    this.#world = world;
    this.#random = tools.random;
    this.#clock = tools.clock;
    this.#checker = new HealthChecker({ ...tools, changed: () => (this.#telling ??= this.#clock.setTimer(gatheredMs, () => this.#tell())) });
  }

  /** Of a patch, what has really changed. */
  applyTraffic({ put, remove }: TrafficPatch): void {
    let isChanged = false;
    for (const upstream of put.upstreams ?? []) {
      if (upstream.check) this.#upstreams.set(upstream.id, upstream);
      else if (!this.#upstreams.delete(upstream.id)) continue;
      isChanged = true;
    }
    for (const id of remove.upstreams ?? []) if (this.#upstreams.delete(id)) isChanged = true;
    if (!isChanged) return;
    if (this.#upstreams.size === 0) this.#table = undefined;
    else if (!this.#table) {
      this.#table = new ServiceTable(this.#world.snapshot(), this.#random);
      for (const [ip, ready] of this.#world.overrides) this.#table.setReady(ip, ready);
    }
    this.#want();
  }

  applySnapshot(snapshot: NetSnapshot): void {
    if (!this.#table) return;
    this.#table.apply(snapshot);
    this.#want();
  }
  setReady(ip: string, ready: Readiness | undefined): void {
    if (this.#table && this.#table.setReady(ip, ready).length > 0) this.#want();
  }

  #want(): void {
    this.#checker.want([...this.#upstreams.values()].map(({ id, check, outlier, namespace, service, port, endpoints: fixed, addresses }) => {
      const all = fixed ? fixed.map(({ ip, port: at }) => ({ ip, port: at, key: `${ip}:${at}` })) : (this.#table?.ports.get(servicePortKey(namespace, service, "TCP", port))?.active ?? []);
      return { id, check: check!, endpoints: addresses ? all.filter(({ ip }) => addresses.includes(ip)) : all, ejects: outlier !== undefined };
    }));
  }

  /** What a worker that begins is told. */
  found(): Health[] {
    return this.#checker.reports().flatMap(({ upstream, key, isWell }) => (isWell === null ? [] : [{ upstream, key, isWell }]));
  }
  /** Called when endpoints have become well or unwell, came or went, a little later. */
  onChange(listener: (reports: HealthReport[]) => void): void {
    this.#listener = listener;
  }
  #tell(): void {
    this.#telling = undefined;
    const reports = this.reports();
    // What was found last is not news when it comes to the same.
    const text = JSON.stringify(reports.map(({ upstream, key, isWell }) => [upstream, key, isWell]));
    if (text === this.#last) return;
    this.#last = text;
    this.#hasTold = true;
    this.#listener?.(reports);
  }
  /** Whoever listens may not have heard the last of it: it was told while nobody was there. */
  again(): void {
    if (this.#hasTold) this.#listener?.(this.reports());
  }

  /** For people. */
  reports(): HealthReport[] {
    return this.#checker.reports();
  }
  close(): void {
    this.#telling?.cancel();
    this.#checker.close();
  }
}
