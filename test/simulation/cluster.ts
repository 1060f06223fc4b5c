import { setImmediate } from "node:timers/promises";
import { createApi } from "../../src/apiserver/api.ts";
import { systemIdentity } from "../../src/apiserver/rest/context.ts";
import { objectOf } from "../../src/apiserver/rest/keys.ts";
import type { Client } from "../../src/api/client.ts";
import { Informer } from "../../src/api/informer.ts";
import { strategies } from "../../src/api/kinds/index.ts";
import { type GroupVersionResource, microTimestamp, timestamp } from "../../src/api/meta.ts";
import { createBuiltinRegistry } from "../../src/api/registry.ts";
import { nodeName, resources } from "../../src/api/resources.ts";
import type { Pod } from "../../src/api/types.ts";
import { FakeClock } from "../../src/base/clock.ts";
import { type Log, silentLog } from "../../src/base/log.ts";
import { randomInt, seededRandom } from "../../src/base/random.ts";
import { type Controllers, startControllers } from "../../src/controllers/index.ts";
import { createMemoryStore } from "../../src/store/memory-store.ts";
import { unreliableClient } from "./unreliable-client.ts";

/**
 * The control plane with a node that is only pretended, in one process, with time that moves when told to. The same
 * seed gives the same run: every delay and every choice comes from it.
 */
export interface ClusterOptions {
  seed?: number;
  log?: Log;
  /** How long the node takes to make a pod ready, and to end one; at most, in ms. */
  startMsMax?: number;
  stopMsMax?: number;
  /** Whether this pod will ever become ready. Default: every one does. */
  becomesReady?: (pod: Pod) => boolean;
  /** How a pod's program ends, and by when at most after its start. Default: never. */
  ends?: (pod: Pod) => "Succeeded" | "Failed" | undefined;
  runMsMax?: number;
  allocatable?: Record<string, string>;
}

export class Cluster {
  readonly clock = new FakeClock();
  readonly client: Client;
  readonly options: Required<Omit<ClusterOptions, "log">> & { log: Log };
  readonly #api: ReturnType<typeof createApi>;
  readonly #random;
  readonly #trouble;
  #controllers: Controllers | undefined;
  #pods: Informer<Pod> | undefined;
  /** Every pod the node has ever run, by uid: what it will do next. */
  readonly #planned = new Set<string>();
  #nextIp = 2;
  /** The real disk is slower than pretended time: what would be removed is only noted. */
  readonly removedVolumes: string[] = [];
  nodeIsSilent = false;
  /** How unreliable the controllers' way to the API is: 0 not at all, 1 very. */
  mood = 0;
  /** Every change in the store, as text. */
  readonly trace: string[] = [];
  /** Called after every burst of writes: invariants are checked here. */
  check: () => void = () => {};

  constructor(options: ClusterOptions = {}) {
    const { seed = 1, log = silentLog } = options;
    this.options = { seed, log, startMsMax: options.startMsMax ?? 400, stopMsMax: options.stopMsMax ?? 300, becomesReady: options.becomesReady ?? (() => true), ends: options.ends ?? (() => undefined), runMsMax: options.runMsMax ?? 5_000, allocatable: options.allocatable ?? { cpu: "8", memory: "16Gi", pods: "110" } };
    this.#random = seededRandom(seed);
    this.#trouble = seededRandom(seed + 3);
    this.#api = createApi({ store: createMemoryStore({ log }), registry: createBuiltinRegistry(strategies), clock: this.clock, random: seededRandom(seed + 1), log });
    this.client = this.#api.client(systemIdentity("simulation"));
    this.#api.store.watch("/", this.#api.store.revision, {
      onEvents: (events) => void this.trace.push(...events.map(({ type, entry }) => `${entry.revision} ${type} ${entry.key}`)),
      onEnd: () => {},
    });
  }

  get revision(): number {
    return this.#api.store.revision;
  }
  /** An integer below `bound`, from the seed. */
  readonly random = (bound: number): number => randomInt(this.#random, bound);
  /** What the store holds right now, without waiting. */
  stored<T>({ group, version, resource }: GroupVersionResource): T[] {
    const kind = this.#api.registry.byResource(group, version, resource)!;
    return this.#api.list(kind, {}).entries.map((entry) => objectOf(kind, entry) as T);
  }
  get registry() {
    return this.#api.registry;
  }

  async start(): Promise<void> {
    await this.startControllers();
    await this.#startNode();
    await this.run(1_000);
  }

  async startControllers(): Promise<void> {
    const client = unreliableClient(this.#api.client(systemIdentity("controllers")), this.#trouble, () => this.mood);
    this.#controllers = startControllers({ client, registry: this.#api.registry, clock: this.clock, random: seededRandom(this.options.seed + 2), log: this.options.log, volumesDir: "/nonexistent/volumes", removeVolume: async (name) => void this.removedVolumes.push(name), rootCa: "CERTIFICATE" });
    let started = false;
    void this.#controllers.start().then(() => (started = true));
    // Lists that fail are tried again later, so time must pass.
    while (!started) await this.run(50);
  }
  async stopControllers(): Promise<void> {
    await this.#controllers?.stop(AbortSignal.timeout(1_000));
    this.#controllers = undefined;
  }
  counters() {
    return this.#controllers!.counters();
  }
  async stop(): Promise<void> {
    await this.stopControllers();
    await this.#pods?.stop();
  }

  /** Lets time pass: timers fire in order, and between two of them everything that follows from the first is done. */
  async run(ms: number): Promise<void> {
    const endMs = this.clock.now() + ms;
    for (;;) {
      await this.#turns();
      const due = this.clock.nextDueMs();
      if (due === undefined || due > endMs) break;
      this.clock.advance(Math.max(0, due - this.clock.now()));
    }
    this.clock.advance(endMs - this.clock.now());
    await this.#turns();
  }
  /** Runs until `done`, at most for `maxMs`. */
  async until(what: string, done: () => boolean | Promise<boolean>, maxMs = 60_000): Promise<void> {
    const endMs = this.clock.now() + maxMs;
    while (!(await done())) {
      if (this.clock.now() >= endMs) throw new Error(`after ${maxMs} ms still not: ${what}`);
      await this.run(50);
    }
  }

  async #turns(): Promise<void> {
    for (let quiet = 0, revision = -1; quiet < 4; ) {
      await setImmediate();
      const now = this.#api.store.revision;
      quiet = now === revision ? quiet + 1 : 0;
      if (now !== revision) this.check();
      revision = now;
    }
  }

  async #startNode(): Promise<void> {
    const { clock, client } = this;
    await client.create(resources.nodes, undefined, { metadata: { name: nodeName, labels: { "kubernetes.io/hostname": nodeName } } });
    await this.postNodeStatus();
    const renew = async () => {
      const spec = { holderIdentity: nodeName, leaseDurationSeconds: 40, renewTime: microTimestamp(clock.now()) };
      if (!this.nodeIsSilent) await client.patch(resources.leases, "kube-node-lease", nodeName, { spec }).catch(() => client.create(resources.leases, "kube-node-lease", { metadata: { name: nodeName }, spec }));
      clock.setTimer(10_000, renew);
    };
    await renew();
    this.#pods = new Informer<Pod>({ client, resource: resources.pods, clock, log: this.options.log });
    this.#pods.onChange((_key, pod) => pod && this.#observe(pod));
    this.#pods.start();
  }

  async postNodeStatus(): Promise<void> {
    const now = timestamp(this.clock.now());
    const ready = { type: "Ready", status: "True", reason: "KubeletReady", message: "", lastHeartbeatTime: now, lastTransitionTime: now };
    await this.client.patch(resources.nodes, undefined, nodeName, { status: { allocatable: this.options.allocatable, capacity: this.options.allocatable, conditions: [ready] } }, { subresource: "status", type: "merge" });
  }

  #later(uid: string, what: string, maxMs: number, action: () => Promise<unknown>): void {
    if (this.#planned.has(`${uid} ${what}`)) return;
    this.#planned.add(`${uid} ${what}`);
    this.clock.setTimer(1 + randomInt(this.#random, maxMs), () => void action().catch(() => this.#planned.delete(`${uid} ${what}`)));
  }

  /** What an agent would do: start what is assigned, end what is deleted. */
  #observe(pod: Pod): void {
    const { namespace, name, uid } = pod.metadata;
    if (pod.metadata.deletionTimestamp) {
      if (pod.spec?.nodeName) this.#later(uid, "stop", this.options.stopMsMax, async () => {
        // A pod that ends by being deleted has an end like any other; whoever put a finalizer on it waits for that.
        const ended = pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded";
        if (pod.metadata.finalizers?.length && !ended) await this.setPodStatus(pod, false, "Failed");
        await this.client.delete(resources.pods, namespace, name, { gracePeriodSeconds: 0, preconditions: { uid } });
      });
      return;
    }
    if (!pod.spec?.nodeName || pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded") return;
    this.#later(uid, "start", this.options.startMsMax, () => this.setPodStatus(pod, this.options.becomesReady(pod)));
    const end = pod.status?.phase === "Running" ? this.options.ends(pod) : undefined;
    if (end) this.#later(uid, "end", this.options.runMsMax, () => this.setPodStatus(pod, false, end));
  }

  setPodStatus(pod: Pod, isReady: boolean, phase = "Running"): Promise<unknown> {
    const { namespace, name, uid } = pod.metadata;
    const now = timestamp(this.clock.now());
    const condition = (type: string, status: boolean) => ({ type, status: status ? "True" : "False", lastTransitionTime: now });
    const podIP = pod.status?.podIP ?? `10.244.0.${this.#nextIp++}`;
    const status = { phase, podIP, podIPs: [{ ip: podIP }], startTime: now, conditions: [condition("PodScheduled", true), condition("Ready", isReady), condition("ContainersReady", isReady)] };
    return this.client.patch(resources.pods, namespace, name, { metadata: { uid }, status }, { subresource: "status", type: "strategic" });
  }

  async pods(namespace = "default"): Promise<Pod[]> {
    return (await this.client.list<Pod>(resources.pods, { namespace })).items;
  }
}

export const deployment = (name: string, replicas: number, spec: Record<string, unknown> = {}, image = "app:1") => ({
  metadata: { name },
  spec: { replicas, selector: { matchLabels: { app: name } }, template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "app", image, ports: [{ name: "http", containerPort: 8080 }] }] } }, ...spec },
});
