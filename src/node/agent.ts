import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { artifactsConfigMap } from "../api/artifacts.ts";
import type { Client } from "../api/client.ts";
import { createEventRecorder, type EventRecorder } from "../api/events.ts";
import { Informer, type InformerOptions } from "../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import type { PodNetwork } from "../api/network.ts";
import type { NodeUsage } from "../api/node.ts";
import { nodeName, resources, systemNamespace } from "../api/resources.ts";
import { StatusError } from "../api/status.ts";
import type { ConfigMap, PersistentVolumeClaim, Pod, Secret, Service } from "../api/types.ts";
import { Backoff } from "../base/backoff.ts";
import { claimName } from "../base/claimed-name.ts";
import { type Clock, delay, type Timer } from "../base/clock.ts";
import type { Component } from "../base/lifecycle.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { socketPath } from "../base/socket-path.ts";
import type { NodeContext, Objects } from "./context.ts";
import { type Held, Pause } from "./pause.ts";
import { Debuggers } from "./debug/debuggers.ts";
import { MachineImages } from "./images/store.ts";
import { NodeAllocations } from "./pod/allocations.ts";
import { isRunning } from "./pod/record.ts";
import { PodWorker } from "./pod/worker.ts";
import { NodeRegistration } from "./registration.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";
import { type ClaimKey, StreamServer } from "./streams/server.ts";
import { UidAllocator } from "./uids.ts";
import { machineUsage } from "./usage.ts";
import { removeTree } from "./volumes/remove.ts";
import { type ClusterTrustBundle, projectsTrustBundles } from "./volumes/trust-bundle.ts";

export interface AgentOptions {
  client: Client;
  sandbox: Sandbox;
  network: Pick<PodNetwork, "probe" | "setReady" | "settled" | "setPod" | "onEgressRefused" | "onMeshed">;
  dataDir: string;
  clock: Clock;
  random: Random;
  log: Log;
  /** Folders below which hostPath volumes may lie: those given to `up`. */
  hostPathRoots: readonly string[];
  /** Every Node program listens for a debugger, reached at this port of 127.0.0.1 or the next that is free; 0: any. */
  inspect?: { firstPort: number };
  /** Wherry's own version, shown as the container runtime's. */
  version?: string;
}

export interface Agent extends Component {
  /**
   * Ends all programs; the pods stay in the API and run again at the next start. `fast` skips preStop hooks;
   * `graceful` gives each pod its full grace. At the deadline what is left is killed.
   */
  stop(deadline: AbortSignal, how?: "fast" | "graceful"): Promise<void>;
}

/** The node agent: runs the pods that are bound to this node, and says how they are. */
export function createAgent(options: AgentOptions): Agent {
  return new NodeAgent(options);
}

class NodeAgent implements Agent {
  readonly name = "agent";
  readonly #options: AgentOptions;
  readonly #ctx: NodeContext;
  readonly #workers = new Map<string, PodWorker>();
  readonly #pods: Informer<Pod>;
  readonly #services: Informer<Service>;
  readonly #configMaps: Informer<ConfigMap>;
  readonly #secrets: Informer<Secret>;
  readonly #claims: Informer<PersistentVolumeClaim>;
  readonly #trustBundles: Informer<KubeObject>;
  readonly #images: MachineImages;
  readonly #uids: UidAllocator;
  readonly #registration: NodeRegistration;
  readonly #streams: StreamServer;
  readonly #events: EventRecorder;
  readonly #pause: Pause;
  #stopping = false;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#pause = new Pause(options.clock);
    const { client, clock, random, log, dataDir } = options;
    const informer = <T extends KubeObject>(resource: GroupVersionResource, more: Partial<InformerOptions<T>> = {}) => new Informer<T>({ client, clock, random, log, resource, ...more });
    this.#pods = informer(resources.pods, { fieldSelector: `spec.nodeName=${nodeName}` });
    this.#services = informer(resources.services);
    this.#configMaps = informer(resources.configMaps);
    this.#secrets = informer(resources.secrets);
    this.#claims = informer(resources.persistentVolumeClaims);
    this.#trustBundles = informer(resources.clusterTrustBundles, { metadataOnly: true });
    this.#events = createEventRecorder(client, { component: "kubelet", host: nodeName, clock, random, log });
    this.#images = new MachineImages(dataDir);
    const root = process.getuid?.() === 0;
    this.#uids = new UidAllocator({ client, clock, log, dataDir }, root && process.platform === "linux" ? claimName : async () => ({ release() {} }));
    this.#ctx = {
      client,
      sandbox: options.sandbox,
      network: { probe: (request) => options.network.probe(request), setReady: lingering(options.network, clock), settled: () => options.network.settled?.() ?? Promise.resolve(), setPod: (ip, pod) => options.network.setPod?.(ip, pod) },
      clock,
      pause: this.#pause,
      log,
      objects: this.#objects(),
      images: this.#images,
      uids: this.#uids,
      allocations: new NodeAllocations(),
      dataDir,
      hostIP: hostAddress(),
      hostPathRoots: options.hostPathRoots,
      ...(options.inspect && { debuggers: new Debuggers({ mode: options.sandbox.mode, client, log, firstPort: options.inspect.firstPort }) }),
      root,
      event: (pod, type, reason, message, container) => this.#events.event(pod, type, reason, message, container === undefined ? {} : { fieldPath: fieldPathOf(pod, container) }),
    };
    this.#registration = new NodeRegistration(this.#ctx, options.version ?? "0.1.0");
    this.#streams = new StreamServer(socketPath(dataDir, "agent.sock"), { find: (pod, container) => this.#find(pod, container), usage: () => this.#usage(), pause: (claim) => this.#pauseForCopy(claim), starting: (work) => this.#pause.starting(work) }, log);
  }

  async start(): Promise<void> {
    mkdirSync(join(this.#options.dataDir, "pods"), { recursive: true, mode: 0o700 });
    await this.#uids.claim();
    this.#configMaps.onChange((key, object, old) => this.#referenceChanged("configmaps", key, object, old));
    this.#secrets.onChange((key, object, old) => this.#referenceChanged("secrets", key, object, old));
    this.#claims.onChange((key, object, old) => this.#referenceChanged("persistentvolumeclaims", key, object, old));
    this.#trustBundles.onChange(() => {
      for (const worker of this.#workers.values()) if (projectsTrustBundles(worker.pod)) worker.referenceChanged();
    });
    // Pods come last: what they refer to is known by then.
    const references = [this.#services, this.#configMaps, this.#secrets, this.#claims, this.#trustBundles];
    for (const informer of references) informer.start();
    await Promise.all([this.#streams.start(), this.#registration.start(), ...references.map((informer) => informer.synced)]);
    this.#pods.start();
    await this.#pods.synced;
    const live = new Set(this.#pods.list().map(({ metadata }) => metadata.uid));
    await this.#loadUids(live);
    this.#removeForgotten(live);
    this.#pods.onChange((_key, pod, old) => this.#podChanged(pod, old));
    this.#options.network.onMeshed?.(({ ip, node }) => [...this.#workers.values()].find(({ sandbox }) => sandbox?.ip === ip)?.meshed(node));
    this.#options.network.onEgressRefused?.(({ podIP, message }) => {
      const pod = this.#pods.list().find(({ status }) => status?.podIP === podIP && status?.phase === "Running");
      if (pod) this.#events.event(pod, "Warning", "EgressRefused", message);
    });
  }

  async stop(deadline: AbortSignal, how: "fast" | "graceful" = "fast"): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#registration.stop();
    this.#ctx.allocations.close();
    // Who stands still cannot end.
    this.#pause.end("the stack stops");
    const ended = Promise.all([...this.#workers.values()].map((worker) => worker.shutdown(how === "fast" ? "fast" : "drain")));
    await Promise.race([ended, whenAborted(deadline)]);
    for (const worker of this.#workers.values()) worker.kill();
    // A killed program is gone in milliseconds; the sandbox ends what is not.
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 250).unref())]);
    this.#ctx.debuggers?.stop();
    this.#events.stop();
    await Promise.all([this.#streams.stop(), ...[this.#pods, this.#services, this.#configMaps, this.#secrets, this.#claims, this.#trustBundles].map((informer) => informer.stop())]);
    this.#uids.releaseAll();
  }

  /** Tries until the API answers: without it pods would get other uids than they had, and their volumes with them. */
  async #loadUids(live: ReadonlySet<string>): Promise<void> {
    for (const retry = new Backoff(100, 5_000); !this.#stopping; ) {
      try {
        return await this.#uids.load(live);
      } catch (error) {
        this.#options.log.debug("uids not read", { error });
        await delay(this.#options.clock, retry.next());
      }
    }
  }

  #podChanged(pod: Pod | undefined, old: Pod | undefined): void {
    if (this.#stopping) return;
    if (!pod) return this.#workers.get(old!.metadata.uid)?.remove();
    const known = this.#workers.get(pod.metadata.uid);
    if (known) return known.update(pod);
    const worker = new PodWorker(this.#ctx, pod);
    this.#workers.set(worker.uid, worker);
    void worker.ended.then(() => this.#workers.delete(worker.uid));
    worker.start();
  }

  #referenceChanged(kind: "configmaps" | "secrets" | "persistentvolumeclaims", key: string, object: KubeObject | undefined, old: KubeObject | undefined): void {
    const { namespace, name } = (object ?? old)!.metadata;
    if (key === `${systemNamespace}/${artifactsConfigMap}`) {
      this.#images.link(object as ConfigMap | undefined);
      for (const worker of this.#workers.values()) worker.referenceChanged();
      return;
    }
    for (const worker of this.#workers.values()) {
      if (worker.pod.metadata.namespace === namespace && worker.references[kind].has(name)) worker.referenceChanged();
    }
  }

  #objects(): Objects {
    const { client } = this.#options;
    const read = async <T>(resource: GroupVersionResource, namespace: string | undefined, name: string): Promise<T | undefined> => {
      try {
        return await client.get<T>(resource, namespace, name);
      } catch (error) {
        if (error instanceof StatusError && error.code === 404) return undefined;
        throw error;
      }
    };
    return {
      // Every pod has this one, and it changes never: the cache will do.
      configMap: async (namespace, name) => (name === "kube-root-ca.crt" ? this.#configMaps.get(`${namespace}/${name}`) : undefined) ?? (await read<ConfigMap>(resources.configMaps, namespace, name)),
      secret: (namespace, name) => read(resources.secrets, namespace, name),
      claim: (namespace, name) => read(resources.persistentVolumeClaims, namespace, name),
      volume: (name) => read(resources.persistentVolumes, undefined, name),
      trustBundles: async () => (await client.list<ClusterTrustBundle>(resources.clusterTrustBundles)).items,
      services: (namespace) => this.#services.inNamespace(namespace),
    };
  }

  #find(key: { namespace: string; name: string; uid: string } | undefined, container: string) {
    const worker = key && (this.#workers.get(key.uid) ?? [...this.#workers.values()].find(({ pod }) => key.uid === "" && pod.metadata.namespace === key.namespace && pod.metadata.name === key.name));
    return { pod: worker !== undefined, runner: worker?.runners.get(container) };
  }

  /** Stops the programs of all pods with volumes that a backup holds, or of those that use one claim. */
  #pauseForCopy(claim?: ClaimKey): Promise<Held> {
    const keepsFiles = (worker: PodWorker) => (claim ? worker.pod.metadata.namespace === claim.namespace && worker.references.persistentvolumeclaims.has(claim.name) : keepsAny(worker));
    const keepsAny = ({ pod }: PodWorker) => existsSync(join(this.#options.dataDir, "pods", pod.metadata.uid, "volumes")) || pod.spec!.volumes?.some((volume) => volume.persistentVolumeClaim ?? volume.ephemeral);
    const inits = () => [...this.#workers.values()].filter(keepsFiles).flatMap(({ runners }) => [...runners.values()].flatMap(({ process, record }) => (process && isRunning(record) ? [process.pid] : [])));
    return this.#pause.begin(inits, limits.pauseMaxMs);
  }

  /** CPU and memory of the machine, and of every running container by pod. */
  async #usage(): Promise<NodeUsage> {
    const nowMs = this.#options.clock.now();
    const pods = await Promise.all(
      [...this.#workers.values()].map(async ({ pod, runners }) => ({
        namespace: pod.metadata.namespace!,
        name: pod.metadata.name,
        uid: pod.metadata.uid,
        containers: (
          await Promise.all(
            [...runners.values()].map(async (runner) => {
              const usage = await runner.process?.usage().catch(() => undefined);
              return usage && { name: runner.container.name, atMs: nowMs, ...usage };
            }),
          )
        ).filter((usage) => usage !== undefined),
      })),
    );
    return { node: { atMs: nowMs, ...machineUsage() }, pods };
  }

  /** Folders of pods that were deleted while Wherry was not running. */
  #removeForgotten(live: ReadonlySet<string>): void {
    const folder = join(this.#options.dataDir, "pods");
    for (const uid of readdirSync(folder)) {
      if (live.has(uid)) continue;
      try {
        removeTree(join(folder, uid));
      } catch (error) {
        this.#options.log.warn("the folder of a pod that is gone was not removed", { uid, error: (error as Error).message });
      }
    }
  }
}

/** How long the data plane remembers that a pod is gone: longer than its endpoint stays in a snapshot. */
const lingerMs = 5_000;

/** `setReady` whose forgetting waits, unless the address is somebody else's by then. */
function lingering(network: Pick<PodNetwork, "setReady">, clock: Clock): PodNetwork["setReady"] {
  const leaving = new Map<string, Timer>();
  return (ip, ready) => {
    leaving.get(ip)?.cancel();
    leaving.delete(ip);
    if (ready !== undefined) return network.setReady(ip, ready);
    network.setReady(ip, false);
    leaving.set(
      ip,
      clock.setTimer(lingerMs, () => {
        leaving.delete(ip);
        network.setReady(ip, undefined);
      }),
    );
  };
}

/** How Events name a container: "spec.containers{app}". */
function fieldPathOf(pod: Pod, container: string): string {
  const list = (["initContainers", "ephemeralContainers"] as const).find((field) => pod.spec?.[field]?.some(({ name }) => name === container)) ?? "containers";
  return `spec.${list}{${container}}`;
}

/** The machine's first address that is not its own loopback, else that. */
function hostAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) for (const { family, internal, address } of addresses ?? []) if (family === "IPv4" && !internal) return address;
  return "127.0.0.1";
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));
}
