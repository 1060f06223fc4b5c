import type { Client } from "../../api/client.ts";
import { createEventRecorder, type EventRecorder } from "../../api/events.ts";
import { type Informer, type Informers, keyOf } from "../../api/informer.ts";
import { type GroupVersionResource, type KubeObject } from "../../api/meta.ts";
import { quantityMilliValue, quantityValue } from "../../api/quantity.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { Node, Pod } from "../../api/types.ts";
import { type Sizes, sizesOf } from "../../api/vpa/amounts.ts";
import { boundsOf, currentSizes, sizesFor } from "../../api/vpa/fit.ts";
import { controllerOfPod, type FindOwner, rulingAutoscaler, targetProblem } from "../../api/vpa/target.ts";
import { type Amounts, modeOf, resourceNames, policyOf, type VerticalPodAutoscaler, type VerticalPodAutoscalerCheckpoint, verticalPodAutoscalerCheckpoints, verticalPodAutoscalers, type VpaStatus } from "../../api/vpa/types.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { HorizontalPodAutoscaler } from "../autoscaling/types.ts";
import { isReady } from "../pods.ts";
import { add, lacking, podRequests } from "../scheduler/resources.ts";
import { Aggregate, ContainerUsage } from "./aggregate.ts";
import { conditionsOf } from "./conditions.ts";
import { recommend } from "./estimate.ts";
import { type Group, planUpdates, resizeConditions } from "./update.ts";

export interface VerticalOptions {
  client: Client;
  informers: Informers;
  /** Served kinds by the names of a reference. */
  kindOf: (apiVersion: string, kind: string) => { resource: GroupVersionResource; scalable: boolean } | undefined;
  clock: Clock;
  random: Random;
  log: Log;
  /** Upstream's --recommender-interval and --updater-interval. */
  syncMs?: number;
}

/** A pod that became ready says something once it was measured for about this long. */
const afterReadyMs = 2_500;
/** A pod younger than this is why there are no metrics yet. */
const youngMs = 60_000;
const checkpointMs = 60_000;
const podMetrics: GroupVersionResource = { group: "metrics.k8s.io", version: "v1beta1", resource: "pods" };
const limitRanges: GroupVersionResource = { group: "", version: "v1", resource: "limitranges" };
const horizontalPodAutoscalers: GroupVersionResource = { group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers" };
/** An autoscaler that names another recommender is its. */
const ownRecommender = "default";

/** What is known beside the objects. */
interface Entry {
  uid: string;
  timer: Timer | undefined;
  dueMs: number;
  running: Promise<void> | undefined;
  nextMs: number;
  containers: Map<string, Aggregate>;
  /** By pod uid and container. */
  usages: Map<string, ContainerUsage>;
  /** Kills for memory up to this time are in the checkpoints, or were counted. */
  oomSeenMs: number;
  isLoaded: boolean;
  savedMs: number;
  /** Additions that are in the checkpoints. */
  saved: Map<string, number>;
  resizeSince: Map<string, number>;
  /** By pod uid: when it was last resized in place, and the memory that each container asked for before. */
  resizedFrom: Map<string, { atMs: number; bytes: Map<string, number> }>;
  /** Warnings that were given. */
  said: Map<string, string>;
}

/**
 * Recommends requests for the pods of what VerticalPodAutoscalers name, and applies them: every minute, and sooner when
 * one is new or changed, or a pod of it became ready or was killed for its memory. New pods get theirs by admission.
 */
export class VerticalAutoscaler {
  readonly #options: VerticalOptions;
  readonly #recorder: EventRecorder;
  readonly #autoscalers: Informer<VerticalPodAutoscaler & KubeObject>;
  readonly #pods: Informer<Pod & { metadata: KubeObject["metadata"] }>;
  readonly #entries = new Map<string, Entry>();
  readonly #unsubscribe: (() => void)[] = [];
  readonly #find: FindOwner;
  #stopped = false;

  constructor(options: VerticalOptions) {
    this.#options = options;
    this.#recorder = createEventRecorder(options.client, { component: "vertical-pod-autoscaler", clock: options.clock, random: options.random, log: options.log });
    this.#autoscalers = options.informers.for(verticalPodAutoscalers);
    this.#pods = options.informers.for(resources.pods);
    this.#find = (apiVersion, name, namespace, object) => {
      const kind = options.kindOf(apiVersion, name);
      const found = kind && options.informers.for<KubeObject>(kind.resource).get(`${namespace}/${object}`);
      return found && { object: found, scalable: kind.scalable };
    };
  }

  /** Call once the informers have synced. */
  start(): void {
    this.#unsubscribe.push(
      this.#autoscalers.onChange((key, now, old) => {
        if (!now || (old && old.metadata.uid !== now.metadata.uid)) this.#forget(key);
        if (now && (!old || JSON.stringify(old.spec) !== JSON.stringify(now.spec))) this.#lookIn(key, 0);
      }),
      this.#pods.onChange((_, pod, old) => {
        if (this.#entries.size === 0 || !pod) return;
        const ready = isReady(pod) && !(old && isReady(old));
        const killed = oomsOf(pod).length > 0 && (!old || restarts(pod) !== restarts(old));
        if (!ready && !killed) return;
        const vpa = this.#rulerOf(pod);
        if (vpa) this.#lookIn(keyOf(vpa), killed ? 0 : afterReadyMs);
      }),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    await Promise.allSettled([...this.#entries.values()].map((entry) => (entry.timer?.cancel(), entry.running)));
    await Promise.allSettled([...this.#entries].map(([key, entry]) => this.#save(this.#autoscalers.get(key), entry, true)));
    await this.#recorder.flush();
    this.#recorder.stop();
  }

  #forget(key: string): void {
    this.#entries.get(key)?.timer?.cancel();
    this.#entries.delete(key);
  }

  #rulerOf(pod: Pod): VerticalPodAutoscaler | undefined {
    const controller = controllerOfPod(this.#find, pod);
    return controller && rulingAutoscaler(this.#autoscalers.inNamespace(pod.metadata.namespace!), controller);
  }

  /** At the earlier of this and what was planned. */
  #lookIn(key: string, ms: number): void {
    if (this.#stopped) return;
    const { clock, log, syncMs = 60_000 } = this.#options;
    let entry = this.#entries.get(key);
    if (!entry) this.#entries.set(key, (entry = { uid: this.#autoscalers.get(key)?.metadata.uid ?? "", timer: undefined, dueMs: Infinity, running: undefined, nextMs: Infinity, containers: new Map(), usages: new Map(), oomSeenMs: 0, isLoaded: false, savedMs: 0, saved: new Map(), resizeSince: new Map(), resizedFrom: new Map(), said: new Map() }));
    if (entry.running) {
      entry.nextMs = Math.min(entry.nextMs, ms);
      return;
    }
    const dueMs = clock.monotonicMs() + ms;
    if (entry.timer && entry.dueMs <= dueMs) return;
    entry.timer?.cancel();
    entry.dueMs = dueMs;
    entry.timer = clock.setTimer(ms, () => {
      entry.timer = undefined;
      entry.running = this.#look(key, entry)
        .catch((error: unknown) => (log.debug("a vertical autoscaler waits for its next turn", { key, error: (error as Error).message }), false))
        .then((isEarly) => {
          entry.running = undefined;
          const nextMs = Math.min(entry.nextMs, isEarly ? afterReadyMs : syncMs);
          entry.nextMs = Infinity;
          if (this.#entries.get(key) === entry) this.#lookIn(key, nextMs);
        });
    });
  }

  /** True when it was too early to say anything. */
  async #look(key: string, entry: Entry): Promise<boolean> {
    const vpa = this.#autoscalers.get(key);
    if (!vpa || (vpa.spec.recommenders ?? []).some(({ name }) => name !== ownRecommender)) return false;
    const namespace = vpa.metadata.namespace!;
    const { clock, kindOf } = this.#options;
    if (!entry.isLoaded) await this.#load(vpa, entry);
    const problem = targetProblem(this.#find, (apiVersion, kind) => kindOf(apiVersion, kind) !== undefined, namespace, vpa.spec.targetRef);
    const pods = problem === undefined ? this.#podsOf(vpa) : [];
    await this.#measure(vpa, pods, entry);
    const recommendations = recommend(vpa, entry.containers, this.#largest());
    const known = recommendations.length > 0 ? { containerRecommendations: recommendations } : vpa.status?.recommendation;
    const status: VpaStatus = {
      conditions: conditionsOf(vpa, { problem, hasPods: pods.length > 0, isProvided: (known?.containerRecommendations ?? []).length > 0 }, clock.now()),
      ...(known && { recommendation: known }),
    };
    const current = { ...vpa, status };
    await this.#writeStatus(vpa, status);
    await this.#save(vpa, entry);
    this.#warnOfHorizontal(vpa, entry);
    if (problem === undefined) await this.#update(current, pods.filter((pod) => this.#rulerOf(pod)?.metadata.uid === vpa.metadata.uid), entry);
    return recommendations.length === 0 && pods.some(({ metadata }) => clock.now() - Date.parse(metadata.creationTimestamp) < youngMs);
  }

  /** What the largest node has: nothing is recommended that no node could give. Upstream's --container-recommendation-max-allowed-*. */
  #largest(): Sizes {
    const nodes = this.#options.informers.for<Node & KubeObject>(resources.nodes).list().map(({ status }) => sizesOf(status?.allocatable as Record<string, unknown> | undefined));
    const most = (name: "cpu" | "memory") => nodes.reduce((largest, node) => Math.max(largest, node[name] ?? 0), 0);
    return { ...(most("cpu") > 0 && { cpu: most("cpu") }), ...(most("memory") > 0 && { memory: most("memory") }) };
  }

  #podsOf({ spec: { targetRef }, metadata }: VerticalPodAutoscaler): Pod[] {
    return this.#pods.inNamespace(metadata.namespace!).filter((pod) => {
      if (pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return false;
      const controller = controllerOfPod(this.#find, pod);
      return controller?.kind === targetRef!.kind && controller.name === targetRef!.name;
    });
  }

  /** Samples from where `kubectl top` has its own, and kills for memory from the pods' statuses. */
  async #measure(vpa: VerticalPodAutoscaler, pods: readonly Pod[], entry: Entry): Promise<void> {
    const running = pods.filter(({ status }) => status?.phase === "Running");
    const live = new Set(pods.flatMap((pod) => pod.spec!.containers.map(({ name }) => `${pod.metadata.uid}/${name}`)));
    for (const id of entry.usages.keys()) if (!live.has(id)) entry.usages.delete(id);
    for (const uid of entry.resizedFrom.keys()) if (!pods.some(({ metadata }) => metadata.uid === uid)) entry.resizedFrom.delete(uid);
    const usageOf = (pod: Pod, container: string): ContainerUsage => {
      const id = `${pod.metadata.uid}/${container}`;
      let aggregate = entry.containers.get(container);
      if (!aggregate) entry.containers.set(container, (aggregate = new Aggregate()));
      let usage = entry.usages.get(id);
      if (!usage) entry.usages.set(id, (usage = new ContainerUsage(aggregate)));
      return usage;
    };
    if (running.length > 0) {
      const measured = await this.#metrics(vpa, entry);
      for (const pod of running) {
        const metrics = measured.get(pod.metadata.name);
        for (const { name, usage } of metrics?.containers ?? []) {
          if (live.has(`${pod.metadata.uid}/${name}`)) usageOf(pod, name).add({ atMs: Date.parse(metrics!.timestamp), cores: quantityMilliValue(usage.cpu) / 1000, bytes: quantityValue(usage.memory) });
        }
      }
    }
    let seenMs = entry.oomSeenMs;
    for (const pod of pods) {
      const resized = entry.resizedFrom.get(pod.metadata.uid);
      for (const { container, startedAtMs, atMs } of oomsOf(pod)) {
        if (atMs <= entry.oomSeenMs) continue;
        // A program that was there before the resize had, for all its runtime knew, what was asked for then.
        const bytes = resized && startedAtMs < resized.atMs ? resized.bytes.get(container) : currentSizes(pod, container).requests.memory;
        usageOf(pod, container).outOfMemory(bytes ?? 0, atMs);
        seenMs = Math.max(seenMs, atMs);
      }
    }
    entry.oomSeenMs = seenMs;
  }

  /** By name of the pod. What cannot be had is said; what is known already goes on to count. */
  async #metrics(vpa: VerticalPodAutoscaler, entry: Entry): Promise<ReadonlyMap<string, PodMetrics>> {
    try {
      const { items } = await this.#options.client.list(podMetrics, { namespace: vpa.metadata.namespace! });
      this.#say(vpa, entry, "FailedGetMetrics", undefined);
      return new Map((items as unknown as PodMetrics[]).map((item) => [item.metadata.name, item]));
    } catch (error) {
      this.#say(vpa, entry, "FailedGetMetrics", `unable to fetch metrics from resource metrics API: ${(error as Error).message}`);
      return new Map();
    }
  }

  // ---- what is decided ----------------------------------------------------------------------------------------

  async #update(vpa: VerticalPodAutoscaler, pods: readonly Pod[], entry: Entry): Promise<void> {
    const { client, clock, informers } = this.#options;
    const namespace = vpa.metadata.namespace!;
    const nowMs = clock.now();
    const live = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    for (const pod of live) if (resizeConditions(pod).length === 0) entry.resizeSince.delete(pod.metadata.uid);
    const resizeSinceMs = ({ metadata: { uid } }: Pod) => {
      if (!entry.resizeSince.has(uid)) entry.resizeSince.set(uid, nowMs);
      return entry.resizeSince.get(uid)!;
    };
    const bounds = boundsOf(informers.for(limitRanges).inNamespace(namespace) as object[]);
    const sizes = (pod: Pod) => sizesFor(vpa, pod, bounds).map(({ index, requests, limits }) => ({ name: pod.spec!.containers[index]!.name, resources: { requests, ...(Object.keys(limits).length > 0 && { limits }) } }));
    const { resize, evict, tooFew, noRoom } = planUpdates({ vpa, groups: this.#groupsOf(live), bounds, nowMs, resizeSinceMs, hasRoom: (pod) => this.#hasRoom(pod, sizes(pod)) });
    this.#say(vpa, entry, "NoRoom", noRoom.length === 0 ? undefined : `Left as they are, for no node has room for another of the recommended size: ${noRoom.map(({ metadata: { name } }) => name).join(", ")}. resourcePolicy's maxAllowed bounds what is recommended`);
    this.#say(vpa, entry, "TooFewReplicas", tooFew && `${tooFew.wanted} of ${tooFew.live} live pods should be updated and are left alone: at least ${tooFew.required} must live, or spec.updatePolicy.minReplicas be less`);
    for (const pod of resize) {
      try {
        await client.patch(resources.pods, namespace, pod.metadata.name, { metadata: { uid: pod.metadata.uid }, spec: { containers: sizes(pod) } }, { type: "strategic", subresource: "resize" });
      } catch (error) {
        // Gone, or another of its name.
        const { code } = error as StatusError;
        if (code === 404 || code === 409) continue;
        const replaced = this.#hasRoom(pod, sizes(pod));
        this.#say(vpa, entry, "InPlaceResizeRefused", `Pod ${pod.metadata.name} cannot be resized where it runs and is ${replaced ? "evicted instead" : "left as it is, for no node has room for another of the recommended size"}: ${(error as Error).message}`);
        if (replaced) evict.push(pod);
        continue;
      }
      entry.resizedFrom.set(pod.metadata.uid, { atMs: clock.now(), bytes: new Map(pod.spec!.containers.map(({ name }) => [name, currentSizes(pod, name).requests.memory ?? 0])) });
      await client.patch(resources.pods, namespace, pod.metadata.name, { metadata: { annotations: { vpaInPlaceUpdated: "true" } } }, { type: "merge" }).catch(() => {});
      this.#recorder.event(pod as KubeObject, "Normal", "InPlaceResizedByVPA", "Pod was resized in place by VPA Updater.");
    }
    for (const pod of evict) await this.#evict(vpa, pod);
  }

  /** Of CPU and memory; whatever else keeps a pod from a node kept this one from it too. */
  #hasRoom(pod: Pod, sizes: readonly { name: string; resources: { requests: Amounts } }[]): boolean {
    const spec = { ...pod.spec!, containers: pod.spec!.containers.map((container) => ({ ...container, resources: { ...container.resources, requests: { ...container.resources?.requests, ...sizes.find(({ name }) => name === container.name)?.resources.requests } } })) };
    const successor = { ...pod, spec, status: {} } as Pod;
    return this.#options.informers.for<Node & KubeObject>(resources.nodes).list().some((node) => {
      if (node.spec?.unschedulable) return false;
      const others = this.#pods.list().filter(({ spec: placed, status, metadata }) => placed?.nodeName === node.metadata.name && metadata.uid !== pod.metadata.uid && status?.phase !== "Succeeded" && status?.phase !== "Failed");
      const used = others.reduce((sum, other) => add(sum, podRequests(other)), new Map() as ReturnType<typeof podRequests>);
      return !lacking(successor, node, used).some((name) => name === "cpu" || name === "memory");
    });
  }

  async #evict(vpa: VerticalPodAutoscaler, pod: Pod): Promise<void> {
    const { name, namespace } = pod.metadata;
    try {
      await this.#options.client.create(resources.pods, namespace, { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace }, deleteOptions: { preconditions: { uid: pod.metadata.uid } } }, { subresource: "eviction", name });
    } catch (error) {
      // A budget says no for now (429), or somebody else was faster.
      if ((error as StatusError).code === 429) this.#recorder.event(vpa as KubeObject, "Warning", "EvictionRefused", `Pod ${name} is not evicted yet: ${(error as Error).message}`);
      return;
    }
    this.#recorder.event(pod as KubeObject, "Normal", "EvictedByVPA", "Pod was evicted by VPA Updater to apply resource recommendation.");
    this.#recorder.event(vpa as KubeObject, "Normal", "EvictedPod", `VPA Updater evicted Pod ${name} to apply resource recommendation.`);
  }

  /** By who made them, with how many there should be; a creator that wants none is left alone. */
  #groupsOf(pods: readonly Pod[]): Group[] {
    const groups = new Map<string, Pod[]>();
    for (const pod of pods) {
      const owner = pod.metadata.ownerReferences!.find(({ controller }) => controller)!;
      groups.set(owner.uid, [...(groups.get(owner.uid) ?? []), pod]);
    }
    return [...groups.values()].flatMap((members) => {
      const owner = members[0]!.metadata.ownerReferences!.find(({ controller }) => controller)!;
      const creator = this.#find(owner.apiVersion, owner.kind, members[0]!.metadata.namespace!, owner.name)?.object as { spec?: { replicas?: number }; status?: { numberReady?: number } } | undefined;
      const replicas = owner.kind === "DaemonSet" ? creator?.status?.numberReady : creator?.spec?.replicas;
      return replicas === 0 ? [] : [{ pods: members, replicas }];
    });
  }

  /** Two that change the same number in two directions. */
  #warnOfHorizontal(vpa: VerticalPodAutoscaler, entry: Entry): void {
    const { kind, name } = vpa.spec.targetRef ?? {};
    const controlled = resourceNames.filter((resource) => modeOf(vpa) !== "Off" && (policyOf(vpa, "*")?.controlledResources?.includes(resource) ?? policyOf(vpa, "*")?.mode !== "Off"));
    const others = (this.#options.informers.for(horizontalPodAutoscalers).inNamespace(vpa.metadata.namespace!) as unknown as HorizontalPodAutoscaler[]).filter(({ spec }) => spec.scaleTargetRef.kind === kind && spec.scaleTargetRef.name === name);
    for (const resource of resourceNames) {
      const other = controlled.includes(resource) ? others.find(({ spec }) => spec.metrics?.some((metric) => metric.resource?.name === resource || metric.containerResource?.name === resource)) : undefined;
      this.#say(vpa, entry, `ScaledByBoth/${resource}`, other && `HorizontalPodAutoscaler ${other.metadata.name} scales ${kind} ${name} by ${resource}, which this autoscaler changes: they work against each other. Let controlledResources here, or the metrics there, leave ${resource} out`);
    }
  }

  /** A warning that holds until it no longer does: an Event when it begins, or becomes another. */
  #say(vpa: VerticalPodAutoscaler, entry: Entry, what: string, text: string | undefined): void {
    if (text === undefined) return void entry.said.delete(what);
    if (entry.said.get(what) === text) return;
    entry.said.set(what, text);
    this.#recorder.event(vpa as KubeObject, "Warning", what.split("/")[0]!, text);
  }

  async #writeStatus(vpa: VerticalPodAutoscaler & KubeObject, status: VpaStatus): Promise<void> {
    if (JSON.stringify(vpa.status) === JSON.stringify(status)) return;
    await this.#options.client.update(verticalPodAutoscalers, vpa.metadata.namespace, vpa.metadata.name, { ...vpa, status }, { subresource: "status" }).catch((error: unknown) => {
      // Somebody changed it meanwhile, or it is gone: that is looked at next.
      const { code } = error as StatusError;
      if (code !== 404 && code !== 409) throw error;
    });
  }

  // ---- what outlives this process -----------------------------------------------------------------------------

  async #load(vpa: VerticalPodAutoscaler, entry: Entry): Promise<void> {
    const { items } = await this.#options.client.list<KubeObject>(verticalPodAutoscalerCheckpoints, { namespace: vpa.metadata.namespace! });
    for (const { metadata, spec, status } of items as unknown as VerticalPodAutoscalerCheckpoint[]) {
      if (spec?.vpaObjectName !== vpa.metadata.name || !spec.containerName || !status) continue;
      const aggregate = new Aggregate();
      try {
        aggregate.load(status);
      } catch (error) {
        this.#recorder.event(vpa as KubeObject, "Warning", "CheckpointIgnored", `History of container ${spec.containerName} in ${metadata.name} is not used: ${(error as Error).message}`);
        continue;
      }
      entry.containers.set(spec.containerName, aggregate);
      entry.oomSeenMs = Math.max(entry.oomSeenMs, Date.parse(status.lastUpdateTime ?? "") || 0);
    }
    entry.isLoaded = true;
  }

  /**
   * Unlike upstream's, a checkpoint holds the peak of the current day too: programs end with Wherry, so nobody will
   * measure it again.
   */
  async #save(vpa: VerticalPodAutoscaler | undefined, entry: Entry, now = false): Promise<void> {
    const { client, clock } = this.#options;
    const nowMs = clock.now();
    if (!vpa || vpa.metadata.uid !== entry.uid || (!now && nowMs - entry.savedMs < checkpointMs)) return;
    const { name, namespace, uid } = vpa.metadata;
    for (const [container, aggregate] of entry.containers) {
      const { additions } = aggregate;
      if (additions === (entry.saved.get(container) ?? 0)) continue;
      entry.savedMs = nowMs;
      const status = aggregate.save(nowMs);
      const checkpoint = `${name}-${container}`;
      try {
        await client.patch(verticalPodAutoscalerCheckpoints, namespace, checkpoint, [{ op: "replace", path: "/status", value: status }], { type: "json" });
      } catch (error) {
        if ((error as StatusError).code !== 404) throw error;
        const ownerReferences = [{ apiVersion: "autoscaling.k8s.io/v1", kind: "VerticalPodAutoscaler", name, uid }];
        await client.create(verticalPodAutoscalerCheckpoints, namespace, { apiVersion: "autoscaling.k8s.io/v1", kind: "VerticalPodAutoscalerCheckpoint", metadata: { name: checkpoint, namespace, ownerReferences }, spec: { vpaObjectName: name, containerName: container }, status });
      }
      entry.saved.set(container, additions);
    }
  }
}

interface PodMetrics {
  metadata: { name: string };
  timestamp: string;
  containers: { name: string; usage: { cpu: string; memory: string } }[];
}

/** Containers that were last ended for their memory. */
function oomsOf(pod: Pod): { container: string; startedAtMs: number; atMs: number }[] {
  return (pod.status?.containerStatuses ?? []).flatMap(({ name, state, lastState }) => {
    const end = [state?.terminated, lastState?.terminated].find((terminated) => terminated?.reason === "OOMKilled");
    const atMs = Date.parse(String(end?.finishedAt ?? ""));
    return end && !Number.isNaN(atMs) ? [{ container: name, startedAtMs: Date.parse(String(end.startedAt ?? "")) || atMs, atMs }] : [];
  });
}

const restarts = (pod: Pod): string => JSON.stringify((pod.status?.containerStatuses ?? []).map(({ restartCount, state }) => [restartCount, state?.terminated?.finishedAt]));
