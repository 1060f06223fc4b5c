import type { Client } from "../../api/client.ts";
import { createEventRecorder, type EventRecorder } from "../../api/events.ts";
import type { Informer, Informers } from "../../api/informer.ts";
import { type GroupVersionResource, type KubeObject, type OwnerReference } from "../../api/meta.ts";
import { StatusError } from "../../api/status.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import { Workqueue } from "../workqueue.ts";
import { foregroundFinalizer, type GraphNode, OwnerGraph, ownersOf, waitsFor } from "./graph.ts";
import { type GarbageStep, type OwnerState, planGarbage } from "./plan.ts";

/** A kind that objects may be of, as owner references (`apiVersion`, `kind`) and requests (`resource`) name it. */
export interface CollectedKind {
  resource: GroupVersionResource;
  kind: string;
  namespaced: boolean;
}

export interface GarbageCollectorOptions {
  client: Client;
  informers: Informers;
  /** Served kinds by the names of an owner reference; undefined for one that is not served. */
  kindOf: (apiVersion: string, kind: string) => CollectedKind | undefined;
  clock: Clock;
  random: Random;
  log: Log;
}

const concurrent = 16;
/** An owner of a kind that is not served may come back with its CustomResourceDefinition; nothing is deleted meanwhile. */
const unknownKindRetryMs = 30_000;

/**
 * Deletes what has lost its owners, in the order that the deleter chose: dependents later (background), dependents
 * first (foreground), or not at all (orphan).
 */
export class GarbageCollector {
  readonly #options: GarbageCollectorOptions;
  readonly #graph = new OwnerGraph();
  readonly #queue: Workqueue;
  readonly #recorder: EventRecorder;
  readonly #running = new Set<Promise<void>>();
  readonly #observed = new Map<Informer<any>, () => void>();
  #started = false;
  #stopped = false;

  constructor(options: GarbageCollectorOptions) {
    this.#options = options;
    this.#recorder = createEventRecorder(options.client, { component: "garbage-collector-controller", clock: options.clock, random: options.random, log: options.log });
    this.#queue = new Workqueue(options.clock, () => queueMicrotask(() => this.#pump()));
  }

  /** Watches one more resource; its informer must be running. */
  observe(resource: GroupVersionResource): void {
    const informer = this.#options.informers.for<KubeObject>(resource);
    if (this.#observed.has(informer)) return;
    const stop = informer.onChange((_key, object, old) => {
      for (const uid of this.#graph.observe(resource, object, old)) this.#queue.add(uid);
    });
    this.#observed.set(informer, stop);
  }
  forget(resource: GroupVersionResource): void {
    const informer = this.#options.informers.for<KubeObject>(resource);
    this.#observed.get(informer)?.();
    this.#observed.delete(informer);
    for (const object of informer.list()) this.#graph.observe(resource, undefined, object);
  }

  /** Call when every informer holds its first list: until then owners only seem to be absent. */
  start(): void {
    this.#started = true;
    this.#pump();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const stop of this.#observed.values()) stop();
    this.#queue.clear();
    await Promise.allSettled(this.#running);
    await this.#recorder.flush();
    this.#recorder.stop();
  }

  #pump(): void {
    while (this.#started && !this.#stopped && this.#running.size < concurrent) {
      const uid = this.#queue.take();
      if (uid === undefined) return;
      const running: Promise<void> = this.#process(uid).then(() => {
        this.#running.delete(running);
        this.#queue.done(uid);
        this.#pump();
      });
      this.#running.add(running);
    }
  }

  async #process(uid: string): Promise<void> {
    const node = this.#graph.get(uid);
    if (!node) return;
    try {
      const states = new Map<string, OwnerState>();
      for (const owner of ownersOf(node.object)) states.set(owner.uid, await this.#stateOf(node, owner));
      for (const step of planGarbage(node, this.#graph, (owner) => states.get(owner.uid)!)) await this.#do(step);
      this.#queue.forget(uid);
      // Who waits for this object is told when it is gone; what it waits for may need a push.
      if (waitsFor(node.object, foregroundFinalizer)) for (const dependent of this.#graph.dependentsOf(uid)) if (!dependent.object.metadata.deletionTimestamp) this.#queue.add(dependent.object.metadata.uid);
    } catch (error) {
      if (this.#stopped) return;
      const stale = error instanceof StatusError && error.code === 409;
      if (!stale || this.#queue.failuresOf(uid) > 5) this.#options.log.warn("will try again", { object: `${node.resource.resource}/${node.object.metadata.name}`, error: (error as Error).message });
      this.#queue.retry(uid);
    }
  }

  /** The graph may be a moment behind, so only the server's word makes an owner absent. */
  async #stateOf({ object }: GraphNode, owner: OwnerReference): Promise<OwnerState> {
    const known = this.#graph.get(owner.uid)?.object;
    if (known) {
      const { namespace } = known.metadata;
      if (namespace && namespace !== object.metadata.namespace) return object.metadata.namespace ? "elsewhere" : "unresolvable";
      const blocks = waitsFor(known, foregroundFinalizer);
      return blocks ? "waiting" : "solid";
    }
    const kind = this.#options.kindOf(owner.apiVersion, owner.kind);
    if (!kind) {
      this.#queue.addAfter(object.metadata.uid, unknownKindRetryMs);
      return "solid";
    }
    if (kind.namespaced && !object.metadata.namespace) return "unresolvable";
    try {
      const found = await this.#options.client.get<KubeObject>(kind.resource, kind.namespaced ? object.metadata.namespace : undefined, owner.name);
      return found.metadata.uid === owner.uid ? (waitsFor(found, foregroundFinalizer) ? "waiting" : "solid") : "absent";
    } catch (error) {
      if (error instanceof StatusError && error.code === 404) return "absent";
      throw error;
    }
  }

  async #do(step: GarbageStep): Promise<void> {
    const { client } = this.#options;
    const { resource, object } = step.node;
    const { namespace, name, uid, resourceVersion, finalizers = [] } = object.metadata;
    try {
      switch (step.step) {
        case "delete":
          await client.delete(resource, namespace, name, { propagationPolicy: step.propagationPolicy, preconditions: { uid, resourceVersion } });
          return;
        case "setOwners":
          await client.patch(resource, namespace, name, { metadata: { uid, resourceVersion, ownerReferences: step.ownerReferences.length > 0 ? step.ownerReferences : null } }, { type: "merge", fieldManager: "kube-controller-manager" });
          return;
        case "dropFinalizer": {
          const rest = finalizers.filter((finalizer) => finalizer !== step.finalizer);
          await client.patch(resource, namespace, name, { metadata: { uid, resourceVersion, finalizers: rest.length > 0 ? rest : null } }, { type: "merge", fieldManager: "kube-controller-manager" });
          return;
        }
        case "warnForeign": {
          const { owner } = step;
          const reference = `[${owner.apiVersion}/${owner.kind}, namespace: ${namespace ?? ""}, name: ${owner.name}, uid: ${owner.uid}]`;
          this.#recorder.event(object, "Warning", "OwnerRefInvalidNamespace", `ownerRef ${reference} does not exist in namespace "${namespace ?? ""}"`);
          return;
        }
      }
    } catch (error) {
      if (error instanceof StatusError && error.code === 404) return;
      throw error;
    }
  }
}
