import type { EdgeBinding, GuardedPod, HostAddress, NetSnapshot, NetworkNamespace, PodIdentity, PodNetwork, ProbeRequest, ProbeResult, Readiness } from "../api/network.ts";
import { accountKey, type MeshAccount, type MeshIdentity } from "../api/mesh-identity.ts";
import type { TrafficPatch } from "../api/traffic.ts";
import { Channel, type RawHandle } from "../base/channel.ts";
import { bindHandle, bindUdpHandle, type TcpHandle, type UdpHandle } from "../base/handles.ts";
import { systemClock } from "../base/clock.ts";
import { systemRandom } from "../base/random.ts";
import type { Component } from "../base/lifecycle.ts";
import type { Log } from "../base/log.ts";
import type { QuotaAsk, QuotaCount } from "../policy/quotas/counters.ts";
import { added, type RuleCount } from "../policy/tally.ts";
import { type LeaseRequest, RateOwner } from "../policy/rate-leases.ts";
import type { EgressRefusal } from "./egress.ts";
import { limits } from "../base/limits.ts";
import { AccessLogFiles } from "./access-log-files.ts";
import type { CheckResult } from "./health/checker.ts";
import { HealthOwner } from "./health/owner.ts";
import { edgeAddresses, HostPlan } from "./host-listeners.ts";
import { emptySnapshot, firstInherited, type Give, type HostListener, isServedBy, privilegedPortOffset, type WorkerInit } from "./messages.ts";
import { guardedPods } from "./mesh/guarded-pods.ts";
import { readGuards, writeGuards } from "./mesh/guards-file.ts";
import { IdentityCache } from "./mesh/identity-cache.ts";
import type { Outside } from "./outside.ts";
import { workerProgram, type WorkerProgram } from "./program.ts";
import { servicePortKey } from "./service-table.ts";
import { QuotaOwner } from "./quotas/owner.ts";
import { TrafficState } from "./traffic-state.ts";
import { WayOut } from "./way-out.ts";
import { WorkerProcess } from "./worker-process.ts";

export interface NetSupervisorOptions {
  network: NetworkNamespace;
  /** How many `wherry-net` processes. */
  workers: number;
  log: Log;
  /** Sticky numbers from last time; changed in place. */
  ports?: Record<string, number>;
  /** Told when a number was chosen, so that it is remembered. */
  onPorts?: (ports: Record<string, number>) => void;
  /** Any free port instead of the well-known ones. */
  private?: boolean;
  /** Ports at which pods may dial the outside, where the network has a way out. */
  egressPorts?: readonly number[];
  /** How long the first workers may take to start, crashes included. */
  startTimeoutMs?: number;
  /** The worker in one file, where there is one that is fresh. */
  workerBundle?: string | undefined;
  /** The gateway's access log; absent: none is written. */
  accessLog?: string;
  /** See TrafficSnapshot.sessionKey. */
  sessionKey?: string;
  /** Whether guards are heeded; where the pod network is isolated, unless said. Tests do without. */
  judges?: boolean;
  /** Where they are kept for the next start; absent: nowhere. */
  guardsFile?: string;
  /** Where quotas' counts are kept; absent: nowhere. */
  quotasFile?: string;
  /** How long clients may be silent where nobody has said that they speak first; tests, whose machines are slow, take longer. */
  silentMs?: number;
  /** Signs what listeners of Services show to clients that speak TLS; absent: nobody does. */
  issue?: (account: MeshAccount) => Promise<MeshIdentity>;
  /** The way out; another one in tests. */
  outside?: Outside;
}

/** The data plane's side in `wherry`. */
export interface NetSupervisor extends PodNetwork, Component {
  /** A connection from the gateway's address into the pod network; nobody has read from it. Rejects as Go words it. */
  dialPod(ip: string, port: number): Promise<RawHandle>;
  /** A handle bound (not listening) inside the pod network, for the caller to keep or give away. */
  listenInPodNetwork(ip: string, port: number): Promise<RawHandle>;
  /** Called at once and at each change. */
  onHostAddresses(listener: (addresses: HostAddress[]) => void): void;
  /** Likewise: what became of the addresses that Gateways listen at. */
  onEdgeBindings(listener: (bindings: EdgeBinding[]) => void): void;
  pids(): number[];
  /**
   * Empties the caches of this name (the filter's `share`, else its `name`) in all workers; of them what begins with `prefix`: a host
   * and a path ("shop.example/products"), or a path of any host; "" is all. How many answers went, each worker's counted. A worker that
   * is being restarted has none.
   */
  purge(name: string, prefix: string): Promise<number>;
  /** What rules of this name have refused, or would have, since the workers began. */
  ruleCounts(share: string): Promise<RuleCount[]>;
  /** What has been counted in the windows that are open, of quotas whose id begins so. */
  quotaCounts(prefix: string): QuotaCount[];
  /** Of endpoints that are checked. */
  readonly health: Pick<HealthOwner, "reports" | "onChange" | "again">;
  /** PEM of the roots that the mesh trusts from now on. */
  trust(roots: string): void;
}

/** How long a caller waits for a worker that is being restarted. */
const workerWaitMs = 5_000;
/** A worker that does not answer by then is too busy to be waited for. */
const settleMs = 500;
const dialTimeoutMs = 5_000;
const probeAttempts = 3;
/** How often the access log's length is looked at, once there is a Gateway: by how much it may be too long. */
const accessLogLookMs = 1_000;

export function createNetSupervisor(options: NetSupervisorOptions): NetSupervisor {
  return new Supervisor(options);
}

class Supervisor implements NetSupervisor {
  readonly name = "data plane";
  readonly #options: NetSupervisorOptions;
  readonly #plan: HostPlan;
  readonly #numbers: Record<string, number>;
  readonly #workers: WorkerProcess[];
  readonly #overrides = new Map<string, Readiness>();
  readonly #listeners = new Set<(addresses: HostAddress[]) => void>();
  readonly #edgeListeners = new Set<(bindings: EdgeBinding[]) => void>();
  readonly #traffic = new TrafficState();
  readonly #pods = new Map<string, PodIdentity>();
  /** Of rate limits: what the workers together let through. */
  readonly #rates = new RateOwner(() => performance.now());
  readonly #quotas: QuotaOwner;
  readonly #identities: IdentityCache;
  readonly health: HealthOwner;
  #snapshot: NetSnapshot = emptySnapshot;
  #lastEdges = "[]";
  #lastAddresses = "[]";
  #turn = 0;
  readonly #wayOut: WayOut;
  #onMeshed: (program: { ip: string; node: string }) => void = () => {};
  #onGuarded: ((pods: GuardedPod[]) => unknown) | undefined;
  /** Whoever was told of guarded pods last has done it. */
  #guarded: unknown;
  #lastGuarded = "[]";
  readonly #program: WorkerProgram;
  readonly #accessLog: AccessLogFiles | undefined;
  #accessLogTimer: NodeJS.Timeout | undefined;

  constructor(options: NetSupervisorOptions) {
    this.#options = options;
    this.#identities = new IdentityCache(options.issue ?? (() => Promise.reject(new Error("nobody signs certificates here"))), Date.now);
    this.#quotas = new QuotaOwner({ file: options.quotasFile, clock: systemClock, log: options.log });
    this.health = new HealthOwner({ snapshot: () => this.#snapshot, overrides: this.#overrides }, {
      clock: systemClock,
      random: systemRandom,
      check: async (request) => (await (await this.#nextChannel()).request<CheckResult | null>("net/check", request)).body ?? undefined,
      tell: (health) => this.#workers.forEach(({ channel }) => channel?.notify("net/health", health)),
    });
    this.#program = workerProgram(options.network.enter, { bundle: options.workerBundle });
    this.#wayOut = new WayOut({ enter: options.network.enterEgress, ports: options.egressPorts ?? [80, 443], program: this.#program, log: options.log, outside: options.outside });
    this.#numbers = options.ports ?? {};
    this.#plan = new HostPlan({ numbers: this.#numbers, private: options.private ?? false, log: options.log });
    this.#accessLog = options.accessLog === undefined ? undefined : new AccessLogFiles(options.accessLog, limits.gatewayLogBytesMax);
    if (options.guardsFile !== undefined) this.#traffic.apply({ revision: 0, put: { guards: readGuards(options.guardsFile, options.log) }, remove: {} });
    const inherited = this.#accessLog?.descriptors ?? [];
    this.#workers = Array.from({ length: Math.max(1, options.workers) }, (_, index) => new WorkerProcess({ index, enter: options.network.enter, program: this.#program, inherited, log: options.log, joined: (worker, channel) => this.#joined(worker, channel) }));
  }

  async start(): Promise<void> {
    this.#replan();
    await Promise.all([...this.#workers.map((worker) => worker.start(this.#options.startTimeoutMs ?? 10_000)), this.#openWayOut()]);
  }
  async #openWayOut(): Promise<void> {
    await this.#wayOut.open();
    if (this.#wayOut.handles.length > 0) this.publish(this.#snapshot);
  }

  #hostListeners(): HostListener[] {
    return [...this.#plan.listeners, ...this.#wayOut.listeners];
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop(deadline)));
    this.#plan.close();
    this.#program.dispose();
    clearInterval(this.#accessLogTimer);
    this.#accessLog?.close();
    this.#quotas.close();
    this.health.close();
    this.#wayOut.close();
  }

  pids(): number[] {
    return this.#workers.flatMap((worker) => worker.pid ?? []);
  }

  // — what the rest of Wherry asks —

  publish(snapshot: NetSnapshot): void {
    if (snapshot.revision < this.#snapshot.revision) return;
    this.#snapshot = snapshot;
    this.#replan();
    this.#tellGuarded();
    for (const worker of this.#workers) {
      worker.channel?.notify("net/snapshot", { snapshot, hostListeners: this.#hostListeners() });
      this.#giveMissing(worker);
    }
    this.health.applySnapshot(snapshot);
  }

  publishTraffic(patch: TrafficPatch): void {
    const changed = this.#traffic.apply(patch);
    // Addresses are looked at when listeners change, which is rare; routes only pass through.
    const listenersChanged = changed.put.listeners !== undefined || changed.remove.listeners !== undefined;
    if (listenersChanged) {
      this.#plan.edges = edgeAddresses(this.#traffic);
      this.#replan();
    }
    this.#tellGuarded();
    if (this.#options.guardsFile !== undefined && (changed.put.guards || changed.remove.guards)) writeGuards(this.#options.guardsFile, this.#traffic.guards.values(), this.#options.log);
    if (this.#accessLog && this.#traffic.listeners.size + this.#traffic.routes.size + this.#traffic.guards.size > 0) this.#accessLogTimer ??= setInterval(() => this.#turnAccessLog(), accessLogLookMs).unref();
    for (const worker of this.#workers) {
      worker.channel?.notify("net/traffic", { patch: changed, ...(listenersChanged && { hostListeners: this.#hostListeners() }) });
      if (listenersChanged) this.#giveMissing(worker);
    }
    this.health.applyTraffic(changed);
  }

  #turnAccessLog(): void {
    try {
      if (!this.#accessLog!.turn()) return;
    } catch (error) {
      this.#options.log.error("the access log cannot be turned over, and grows", { error });
      return clearInterval(this.#accessLogTimer);
    }
    for (const worker of this.#workers) worker.channel?.notify("net/log", firstInherited + this.#accessLog!.current);
  }

  setReady(ip: string, ready: Readiness | undefined): void {
    if (ready === undefined) this.#overrides.delete(ip);
    else this.#overrides.set(ip, ready);
    for (const worker of this.#workers) worker.channel?.notify("net/ready", { ip, ready: ready ?? null });
    this.health.setReady(ip, ready);
  }

  /** Whoever has answered has done what it was told before; whoever ends meanwhile dials nobody. */
  async settled(): Promise<void> {
    const answers = [this.#guarded, ...this.#workers.map((worker) => worker.channel?.request("net/settled").catch(() => {}))];
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, settleMs);
    await Promise.race([Promise.all(answers), late]);
    clearTimeout(timer);
  }

  setPod(ip: string, pod: PodIdentity | undefined): void {
    if (pod) this.#pods.set(ip, pod);
    else this.#pods.delete(ip);
    for (const worker of this.#workers) worker.channel?.notify("net/pod", { ip, pod: pod ?? null });
    this.#tellGuarded();
  }

  onGuarded(listener: (pods: GuardedPod[]) => unknown): void {
    this.#onGuarded = listener;
    this.#tellGuarded();
  }
  #tellGuarded(): void {
    if (!this.#onGuarded || !this.#judges || (this.#traffic.guards.size === 0 && this.#lastGuarded === "[]")) return;
    const pods = guardedPods([...this.#traffic.guards.values()], this.#pods, this.#snapshot);
    const text = JSON.stringify(pods);
    if (text === this.#lastGuarded) return;
    this.#lastGuarded = text;
    this.#guarded = this.#onGuarded(pods);
  }
  get #judges(): boolean {
    return this.#options.judges ?? this.#options.network.mode === "isolated";
  }

  async purge(name: string, prefix: string): Promise<number> {
    const gone = await Promise.all(this.#workers.map((worker) => worker.purge(name, prefix)));
    return gone.reduce((sum, one) => sum + one, 0);
  }

  async ruleCounts(share: string): Promise<RuleCount[]> {
    return added(await Promise.all(this.#workers.map((worker) => worker.ruleCounts(share))));
  }

  trust(roots: string): void {
    if (this.#identities.trust(roots)) for (const worker of this.#workers) worker.channel?.notify("net/roots");
  }
  /** Workers read what strangers send: none speaks for whom there is no pod. */
  async #identityOf(account: MeshAccount): Promise<MeshIdentity> {
    const key = accountKey(account);
    for (const pod of this.#pods.values()) if (accountKey(pod) === key) return this.#identities.of({ namespace: pod.namespace, serviceAccount: pod.serviceAccount });
    throw new Error(`no pod has the service account ${key}`);
  }

  quotaCounts(prefix: string): QuotaCount[] {
    return this.#quotas.counts(prefix);
  }

  hostAddresses(): HostAddress[] {
    return this.#plan.addresses;
  }

  onHostAddresses(listener: (addresses: HostAddress[]) => void): void {
    this.#listeners.add(listener);
    listener(this.#plan.addresses);
  }

  onEdgeBindings(listener: (bindings: EdgeBinding[]) => void): void {
    this.#edgeListeners.add(listener);
    listener(this.#openEdges());
  }

  onMeshed(listener: (program: { ip: string; node: string }) => void): void {
    this.#onMeshed = listener;
  }
  onEgressRefused(listener: (refusal: EgressRefusal) => void): void {
    this.#wayOut.onRefused = listener;
  }

  async probe(request: ProbeRequest): Promise<ProbeResult> {
    for (let attempt = 1; ; attempt++) {
      const channel = await this.#nextChannel();
      try {
        return (await channel.request<ProbeResult>("net/probe", request)).body;
      } catch (error) {
        // A worker that died says nothing about the pod.
        if (attempt === probeAttempts) return { success: false, output: (error as Error).message };
      }
    }
  }

  async dialPod(ip: string, port: number): Promise<RawHandle> {
    const { handle } = await (await this.#nextChannel()).request("net/dial", { ip, port, timeoutMs: dialTimeoutMs });
    return handle!;
  }

  async listenInPodNetwork(ip: string, port: number): Promise<RawHandle> {
    if (this.#options.network.mode === "plain") {
      // No namespace to enter, and workers have fewer rights than we do.
      const first = bindHandle(ip, port);
      const { handle, code } = first.code === "EACCES" ? bindHandle(ip, port + privilegedPortOffset) : first;
      if (!handle) throw new Error(`bind ${ip}:${port}: ${code}`);
      return handle;
    }
    const { handle } = await (await this.#nextChannel()).request("net/listen", { ip, port });
    return handle!;
  }

  #nextChannel(): Promise<Channel> {
    for (let i = 0; i < this.#workers.length; i++) {
      const channel = this.#workers[(this.#turn = (this.#turn + 1) % this.#workers.length)]!.channel;
      if (channel) return Promise.resolve(channel);
    }
    return this.#workers[0]!.live(workerWaitMs);
  }

  // — what the workers ask —

  #joined(worker: WorkerProcess, channel: Channel): void {
    channel.on("net/keep", (key: string, handle) => {
      // Without a descriptor to spare it was lost on its way; the worker's own goes on.
      if (!handle) return;
      worker.kept.get(key)?.handle.close();
      worker.kept.set(key, { handle: handle as TcpHandle, listening: true });
    });
    channel.on("net/opened", (key: string) => {
      const kept = worker.kept.get(key);
      if (kept) kept.listening = true;
      if (this.#plan.serves(key)?.type === "edge") this.#tellEdges();
    });
    channel.on("net/release", (key: string) => {
      worker.kept.get(key)?.handle.close();
      worker.kept.delete(key);
      // On the machine's side the port stays ours: bound anew, and refusing until the worker opens it again.
      queueMicrotask(() => this.#give(worker, key));
    });
    channel.on("net/taken", (key: string) => {
      if (this.#plan.move(key)) this.publish(this.#snapshot);
    });
    channel.on("net/bind", (wish: { protocol: "TCP" | "UDP"; ip: string; port: number }) => ({ body: null, handle: this.#bindForWorker(wish) }));
    channel.on("net/dial-outside", async (wish: { ip: string; port: number; podIP?: string }) => ({ body: null, handle: await this.#wayOut.dial(wish) }));
    channel.on("net/resolve-outside", async ({ name, type }: { name: string; type: string }) => ({ body: await this.#wayOut.resolve(name, type) }));
    channel.on("net/meshed", (program: { ip: string; node: string }) => this.#onMeshed(program));
    channel.on("net/identity", async (account: MeshAccount) => ({ body: await this.#identityOf(account) }));
    channel.on("net/lease", (request: LeaseRequest) => ({ body: this.#rates.lease(request) }));
    channel.on("net/quotas", (asks: QuotaAsk[]) => ({ body: this.#quotas.takeAll(asks) }));
    const init: WorkerInit = {
      index: worker.index,
      workers: this.#workers.length,
      mode: this.#options.network.mode,
      gatewayIP: this.#options.network.gatewayIP,
      dnsIP: this.#options.network.dnsIP,
      snapshot: this.#snapshot,
      traffic: { ...this.#traffic.snapshot(), ...(this.#options.sessionKey !== undefined && { sessionKey: this.#options.sessionKey }) },
      health: this.health.found(),
      overrides: [...this.#overrides],
      pods: [...this.#pods],
      judges: this.#judges,
      identities: this.#identities.identities(),
      ...(this.#options.silentMs !== undefined && { silentMs: this.#options.silentMs }),
      ...(this.#accessLog && { accessLog: firstInherited + this.#accessLog.current }),
      hostListeners: this.#hostListeners(),
      kept: [...worker.kept.keys()],
    };
    channel.notify("net/init", init);
    for (const [key, { handle, listening }] of worker.kept) channel.notify("net/give", { key, listening } satisfies Give, handle);
    this.#giveMissing(worker);
  }

  #giveMissing(worker: WorkerProcess): void {
    if (worker.index === 0) for (const [key, handle] of this.#wayOut.handles) if (!worker.kept.has(key)) this.#giveEgress(worker, key, handle);
    for (const { key } of this.#plan.listeners) if (!worker.kept.has(key)) this.#give(worker, key);
  }

  /** Binds a host listener and hands the worker a copy; ours is never polled. */
  #give(worker: WorkerProcess, key: string): void {
    const serves = this.#plan.serves(key);
    // A worker gives back at once what it has no use for.
    if (!serves || (serves.type === "edge" && !isServedBy({ index: worker.index, workers: this.#workers.length }, serves.protocol, key))) return;
    if ((serves.type === "service" && !isServedBy({ index: worker.index, workers: this.#workers.length }, serves.protocol, servicePortKey(serves.namespace, serves.service, serves.protocol, serves.port)))) return;
    const handle = this.#plan.bind(key, this.#workers.length > 1);
    if (!handle) return;
    worker.kept.set(key, { handle, listening: false });
    worker.channel?.notify("net/give", { key, listening: false } satisfies Give, handle);
  }

  #giveEgress(worker: WorkerProcess, key: string, handle: TcpHandle): void {
    worker.kept.set(key, { handle, listening: true });
    worker.channel?.notify("net/give", { key, listening: true } satisfies Give, handle);
  }

  /** Plain mode as root: workers are unprivileged, and Services like to listen on port 80. */
  #bindForWorker({ protocol, ip, port }: { protocol: "TCP" | "UDP"; ip: string; port: number }): UdpHandle | TcpHandle {
    if (this.#options.network.mode !== "plain" || !/^127\.(?!0\.)/.test(ip)) throw new Error(`${ip}:${port} is not bound on this side`);
    const { handle, code } = protocol === "TCP" ? bindHandle(ip, port, { reusePort: this.#workers.length > 1 }) : bindUdpHandle(ip, port);
    if (!handle) throw new Error(`bind ${ip}:${port}: ${code}`);
    return handle;
  }

  #replan(): void {
    this.#plan.apply(this.#snapshot);
    if (this.#plan.changed) {
      this.#plan.changed = false;
      this.#options.onPorts?.(this.#numbers);
    }
    this.#tellEdges();
    const text = JSON.stringify(this.#plan.addresses);
    if (text === this.#lastAddresses) return;
    this.#lastAddresses = text;
    for (const listener of this.#listeners) listener(this.#plan.addresses);
  }

  #tellEdges(): void {
    const bindings = this.#openEdges();
    const text = JSON.stringify(bindings);
    if (text === this.#lastEdges) return;
    this.#lastEdges = text;
    for (const listener of this.#edgeListeners) listener(bindings);
  }

  /** A Gateway is programmed when connections are taken: a port that is bound and not yet listened on refuses them. */
  #openEdges(): EdgeBinding[] {
    const isOpen = ({ protocol, address, boundPort }: EdgeBinding) => protocol === "UDP" || boundPort === undefined || this.#workers.some(({ kept }) => kept.get(`host/tcp/${address}:${boundPort}`)?.listening);
    return this.#plan.edgeBindings.filter(isOpen);
  }
}
