import type { Client } from "../api/client.ts";
import { createEventRecorder, type EventRecorder } from "../api/events.ts";
import { type Informers, keyOf } from "../api/informer.ts";
import { controllerOf, type GroupVersionResource, type KubeObject } from "../api/meta.ts";
import { StatusError } from "../api/status.ts";
import type { Clock, Timer } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Action, Existing, Plan, Write } from "./action.ts";
import { type Cache, controllerIndex, controllerIndexValues, InformerCache } from "./cache.ts";
import { Workqueue } from "./workqueue.ts";

/**
 * A controller: which objects wake it, and a pure plan of what to do about one key. The runner below owns
 * everything else: queue, retries, backoff, waiting for the cache, writes, Events, counters.
 */
export interface Controller {
  /** "replicaset-controller": also the source of its Events. */
  name: string;
  /** Its own kind; a change enqueues the object's key. Without it there is only what `watches` names. */
  for?: GroupVersionResource;
  /** Kinds whose controller reference names an object of `for`: a change enqueues that owner. */
  owns?: { kind: string; resources: readonly GroupVersionResource[] };
  watches?: readonly Watch[];
  /** Resources the plan reads without being woken by them. */
  reads?: readonly GroupVersionResource[];
  /** How long a key rests after a plan that wrote something: the first change goes out at once, the next together. */
  restMs?: number;
  /** Keys planned at the same time. */
  workers?: number;
  /** Must not change what it is given. `object` is undefined when it is gone (or without `for`). */
  plan(input: PlanInput): Plan;
}

export interface PlanInput<T = KubeObject> {
  key: string;
  object: T | undefined;
  cache: Cache;
  nowMs: number;
}

export interface Watch {
  resource: GroupVersionResource;
  /** The keys that a changed object concerns; called for the old and for the new state. */
  keys: (object: any, cache: Cache) => readonly string[];
}

/** As {@link Controller}, with a plan for objects of one type that is not asked about those that are gone. */
export function controller<T>(definition: Omit<Controller, "plan"> & { for: GroupVersionResource; plan(input: PlanInput<T> & { object: T }): Plan }): Controller {
  const { plan, ...rest } = definition;
  return { ...rest, plan: (input) => (input.object ? plan(input as PlanInput<T> & { object: T }) : { actions: [] }) };
}

export interface RunnerOptions {
  client: Client;
  informers: Pick<Informers, "for">;
  clock: Clock;
  random: Random;
  log: Log;
  /** Whose writes these are, in managedFields. */
  fieldManager?: string;
}

export interface RunnerCounters {
  plans: number;
  writes: number;
  conflicts: number;
  retries: number;
  /** How often a plan was put off until the cache had seen our own last writes. */
  waits: number;
}

/** Status writes of one key are this far apart. */
const statusIntervalMs = 30;
/** How long the cache may take to show our own write before we look again, and before we go on without. */
const cacheWaitMs = 50;
const cachePatienceMs = 15_000;
/** The timer that should never find work, and is there for the day it does. */
const resyncMs = 10 * 60 * 1000;

/** Something the cache must show before the key is planned again. */
interface Expectation {
  sinceMs: number;
  fulfilled(): boolean;
}

export class Runner {
  readonly counters: RunnerCounters = { plans: 0, writes: 0, conflicts: 0, retries: 0, waits: 0 };
  readonly #controller: Controller;
  readonly #options: RunnerOptions;
  readonly #log: Log;
  readonly #cache: Cache;
  readonly #recorder: EventRecorder;
  readonly #queue: Workqueue;
  readonly #expectations = new Map<string, Expectation[]>();
  readonly #statusAtMs = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  readonly #unsubscribe: (() => void)[] = [];
  #resyncTimer: Timer | undefined;
  #stopped = false;

  constructor(definition: Controller, options: RunnerOptions) {
    this.#controller = definition;
    this.#options = options;
    this.#log = options.log.child(definition.name);
    this.#cache = new InformerCache(options.informers);
    this.#recorder = createEventRecorder(options.client, { component: definition.name, clock: options.clock, random: options.random, log: this.#log });
    this.#queue = new Workqueue(options.clock, () => queueMicrotask(() => this.#pump()));
    for (const resource of this.#resources()) {
      const informer = options.informers.for(resource);
      if (!informer.hasIndex(controllerIndex)) informer.addIndex(controllerIndex, controllerIndexValues);
    }
  }

  get name(): string {
    return this.#controller.name;
  }
  /** Keys waiting: the depth of the queue. */
  get depth(): number {
    return this.#queue.length;
  }

  #resources(): GroupVersionResource[] {
    const { for: own, owns, watches = [], reads = [] } = this.#controller;
    return [...(own ? [own] : []), ...(owns?.resources ?? []), ...watches.map((watch) => watch.resource), ...reads];
  }

  /** Call once the informers have synced: every key is looked at first. */
  start(): void {
    const { for: own, owns, watches = [] } = this.#controller;
    const { informers } = this.#options;
    const listen = (resource: GroupVersionResource, keys: (object: KubeObject) => readonly string[]) => {
      this.#unsubscribe.push(
        informers.for(resource).onChange((_key, object, old) => {
          const now = object ? keys(object) : [];
          for (const key of now) this.#queue.add(key);
          if (old) for (const key of keys(old)) if (!now.includes(key)) this.#queue.add(key);
        }),
      );
    };
    if (own) listen(own, (object) => [keyOf(object)]);
    for (const resource of owns?.resources ?? []) {
      listen(resource, (object) => {
        const owner = controllerOf(object);
        return owner?.kind === owns!.kind ? [keyOf({ metadata: { name: owner.name, ...(object.metadata.namespace && { namespace: object.metadata.namespace }) } })] : [];
      });
    }
    for (const watch of watches) listen(watch.resource, (object) => watch.keys(object, this.#cache));
    if (own) this.#resync(own);
  }

  #resync(own: GroupVersionResource): void {
    this.#resyncTimer = this.#options.clock.setTimer(resyncMs * (1 + this.#options.random.next() / 10), () => {
      for (const object of this.#cache.list<KubeObject>(own)) this.#queue.add(keyOf(object));
      this.#resync(own);
    });
  }

  enqueue(key: string): void {
    this.#queue.add(key);
  }

  /** Takes no new key and waits for the writes under way, Events last. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    this.#resyncTimer?.cancel();
    this.#queue.clear();
    await Promise.allSettled(this.#running);
    await this.#recorder.flush();
    this.#recorder.stop();
  }

  #pump(): void {
    while (!this.#stopped && this.#running.size < (this.#controller.workers ?? 8)) {
      const key = this.#queue.take();
      if (key === undefined) return;
      const running: Promise<void> = this.#process(key).then((restMs) => {
        this.#running.delete(running);
        this.#queue.done(key, restMs);
        this.#pump();
      });
      this.#running.add(running);
    }
  }

  /** Gives how long the key should rest. Never rejects. */
  async #process(key: string): Promise<number> {
    const { clock } = this.#options;
    if (!this.#cacheHasSeen(key)) {
      this.counters.waits++;
      this.#queue.addAfter(key, cacheWaitMs);
      return 0;
    }
    this.counters.plans++;
    const writes = this.counters.writes;
    try {
      const object = this.#controller.for && this.#cache.get<KubeObject>(this.#controller.for, key);
      const plan = this.#controller.plan({ key, object, cache: this.#cache, nowMs: clock.now() });
      await this.#run(key, plan.actions);
      this.#queue.forget(key);
      if (!object) this.#statusAtMs.delete(key);
      if (plan.requeueAfterMs !== undefined) this.#queue.addAfter(key, plan.requeueAfterMs);
    } catch (error) {
      this.#failed(key, error as Error);
    }
    // While the key rests, what changes is one more look, not many.
    return this.counters.writes > writes ? (this.#controller.restMs ?? 0) : 0;
  }

  #failed(key: string, error: Error): void {
    if (this.#stopped) return;
    this.counters.retries++;
    const stale = error instanceof StatusError && (error.reason === "Conflict" || error.reason === "AlreadyExists");
    if (stale) this.counters.conflicts++;
    const failures = this.#queue.failuresOf(key) + 1;
    // Conflicts are how two writers take turns; only what keeps failing is news, and ever more rarely.
    if ((!stale || failures > 5) && Number.isInteger(Math.log2(failures))) this.#log.warn("will try again", { key, failures, error: error.message });
    this.#queue.retry(key);
  }

  #cacheHasSeen(key: string): boolean {
    const expectations = this.#expectations.get(key);
    if (!expectations) return true;
    const nowMs = this.#options.clock.monotonicMs();
    const open = expectations.filter((expectation) => !expectation.fulfilled());
    if (open.length > 0 && nowMs - open[0]!.sinceMs < cachePatienceMs) {
      this.#expectations.set(key, open);
      return false;
    }
    if (open.length > 0) this.#log.warn("the cache does not show our own writes; going on", { key, writes: open.length });
    this.#expectations.delete(key);
    return true;
  }

  /**
   * After a write the cache is behind for a moment; planning on it would do everything twice. So the key waits
   * until the cache of that resource has reached the revision of the write, or shows another state of the object.
   */
  #expect(key: string, resource: GroupVersionResource, result: unknown, before: Existing | undefined, deleted: boolean): void {
    const watched = this.#resources().some((of) => of.group === resource.group && of.resource === resource.resource);
    if (!watched) return;
    const informer = this.#options.informers.for(resource);
    const { kind, metadata } = (result ?? {}) as Partial<KubeObject>;
    const revision = kind === "Status" || kind === "Binding" || deleted ? 0 : Number(metadata?.resourceVersion ?? 0);
    let fulfilled: () => boolean;
    if (revision > 0) {
      fulfilled = () => informer.revision >= revision;
    } else if (before) {
      const { uid, resourceVersion, deletionTimestamp } = before.metadata;
      fulfilled = () => {
        const cached = informer.get(keyOf(before));
        if (!cached || cached.metadata.uid !== uid) return true;
        return deleted && !deletionTimestamp ? cached.metadata.deletionTimestamp !== undefined : cached.metadata.resourceVersion !== resourceVersion;
      };
    } else return;
    const list = this.#expectations.get(key) ?? [];
    list.push({ sinceMs: this.#options.clock.monotonicMs(), fulfilled });
    this.#expectations.set(key, list);
  }

  async #run(key: string, actions: readonly Action[]): Promise<void> {
    for (const action of actions) await this.#do(key, action);
  }

  async #do(key: string, action: Action): Promise<void> {
    switch (action.do) {
      case "event":
        return this.#recorder.event(action.about, action.type, action.reason, action.message);
      case "call":
        try {
          await action.run();
        } catch (error) {
          if (action.orElse) await this.#run(key, action.orElse(error as Error));
          throw error;
        }
        return action.after && this.#run(key, action.after());
      case "batch":
        return this.#batch(key, action);
      case "ifAbsent": {
        for (const resource of action.resources) {
          const { items } = await this.#options.client.list(resource, { namespace: action.namespace, ...(action.uid === undefined && { limit: 1 }) });
          if (action.uid === undefined ? items.length > 0 : items.some((item) => item.metadata.uid === action.uid)) return this.#queue.addAfter(key, 1_000);
        }
        return this.#run(key, action.actions);
      }
      case "ifPresent": {
        const { namespace, name, uid } = action.object.metadata;
        const found = await this.#options.client.get<KubeObject>(action.resource, namespace, name).catch((error: unknown) => {
          if (error instanceof StatusError && error.code === 404) return undefined;
          throw error;
        });
        if (found?.metadata.uid !== uid || found.metadata.deletionTimestamp) return;
        return this.#run(key, action.actions);
      }
      case "status": {
        const nowMs = this.#options.clock.monotonicMs();
        const waitMs = (this.#statusAtMs.get(key) ?? -Infinity) + statusIntervalMs - nowMs;
        if (waitMs > 0) return this.#queue.addAfter(key, waitMs);
        this.#statusAtMs.set(key, nowMs);
        break;
      }
    }
    let result: KubeObject | undefined;
    try {
      this.counters.writes++;
      result = await this.#write(action);
    } catch (error) {
      if (isHarmless(action, error)) return;
      if (action.orElse) await this.#run(key, action.orElse(error as Error));
      throw error;
    }
    this.#expect(key, action.resource, result, action.do === "create" ? action.of : action.object, action.do === "delete");
    if (action.after) await this.#run(key, action.after(result!));
  }

  #write(action: Write): Promise<KubeObject> {
    const { client, fieldManager = "kube-controller-manager" } = this.#options;
    const { resource } = action;
    const { namespace, name } = action.object.metadata as { namespace?: string; name: string };
    const options = { fieldManager, ...("subresource" in action && action.subresource && { subresource: action.subresource }) };
    switch (action.do) {
      case "create":
        return client.create(resource, namespace, action.object, action.subresource ? { ...options, name } : options);
      case "update":
        return client.update(resource, namespace, name, action.object, options);
      case "status":
        return client.update(resource, namespace, name, action.object, { ...options, subresource: "status" });
      case "patch":
        return client.patch(resource, namespace, name, action.patch, { ...options, type: action.type ?? "merge", ...(action.force && { force: true }) });
      case "delete":
        return client.delete(resource, namespace, name, { ...action.options, preconditions: { uid: action.object.metadata.uid } });
    }
  }

  async #batch(key: string, { actions, slowStart, orElse }: Extract<Action, { do: "batch" }>): Promise<void> {
    let size = slowStart ? 1 : actions.length;
    for (let start = 0; start < actions.length; start += size, size *= 2) {
      if (this.#stopped) return;
      const outcomes = await Promise.allSettled(actions.slice(start, start + size).map((action) => this.#do(key, action)));
      const failed = outcomes.find((outcome) => outcome.status === "rejected");
      if (!failed) continue;
      if (orElse) await this.#run(key, orElse(failed.reason as Error));
      throw failed.reason as Error;
    }
  }
}

/** Failures that mean the world is already as wanted, or that there is no place left to want it in. */
function isHarmless(action: Action, error: unknown): boolean {
  if (!(error instanceof StatusError)) return false;
  if (action.do === "create") return error.details?.causes?.some((cause) => cause.reason === "NamespaceTerminating") ?? false;
  if (error.code !== 404) return false;
  return true;
}
