import { Backoff } from "../base/backoff.ts";
import { type Clock, delay } from "../base/clock.ts";
import { type Log, silentLog } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Client, ListOptions } from "./client.ts";
import { type GroupVersionResource, type KubeObject, type ObjectMeta, qualifiedResource } from "./meta.ts";
import { StatusError } from "./status.ts";

/**
 * List + watch + cache of one resource: the read side of everything that reacts to objects.
 *
 *   listing ──▶ watching ──(server ends it)──▶ watching again from the last revision
 *      ▲            │
 *      └── backoff ─┴─(410, refused, broken)
 *
 * Handlers hear of every object once it is in the cache, in the order of revisions; a relist is told as the
 * difference to what the cache held. Objects may be shared with others: never change them.
 */
export interface Lister<T> {
  /** `key` is "namespace/name", or "name" of cluster-scoped objects. */
  get(key: string): T | undefined;
  list(): T[];
  inNamespace(namespace: string): T[];
  /** What an index function of {@link InformerOptions} filed under `value`. */
  byIndex(index: string, value: string): T[];
}

/** Without `object`: deleted, `old` is its last state. Without `old`: new to this handler. */
export type Handler<T> = (key: string, object: T | undefined, old: T | undefined) => void;
export type IndexFunction<T> = (object: T) => readonly string[];

export interface InformerOptions<T> {
  client: Client;
  resource: GroupVersionResource;
  clock: Clock;
  /** Spreads watch timeouts and retries; without it they are not spread. */
  random?: Random;
  log?: Log;
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  indexes?: Record<string, IndexFunction<T>>;
  /** Objects, or those of which this says so, are held and told without anything but kind and metadata (and of that, no managedFields and annotations). */
  metadataOnly?: boolean | ((object: T) => boolean);
  /** What of an object is held and told, which must keep its metadata's name, uid and resourceVersion; by default all of it. */
  hold?: (object: T) => T;
}

interface Identified {
  metadata: ObjectMeta;
}

/** "namespace/name", or "name" of a cluster-scoped object. */
export function keyOf(object: { metadata: { name: string; namespace?: string } }): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}
export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf("/");
  return slash < 0 ? { namespace: undefined, name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

const retryBaseMs = 50;
/** The server is on the same machine and back within a second: waiting long would only delay the news. */
const retryMaxMs = 5_000;
/** A watch that ended sooner than this counts as a failure, so that nothing spins. */
const watchMsMin = 1_000;
/** Watches are asked to end after this long (doubled at most by chance), as client-go does: a dead connection is noticed. */
const watchSecondsMin = 300;
const namespaceIndex = "metadata.namespace";

export class Informer<T extends Identified = KubeObject> implements Lister<T> {
  readonly resource: GroupVersionResource;
  /** Resolves when the cache holds the first list and handlers were told; rejects when stopped before. */
  readonly synced: Promise<void>;
  readonly #options: InformerOptions<T>;
  readonly #log: Log;
  readonly #objects = new Map<string, T>();
  readonly #indexes = new Map<string, { values: IndexFunction<T>; entries: Map<string, Map<string, T>> }>();
  readonly #handlers = new Set<Handler<T>>();
  readonly #abort = new AbortController();
  readonly #backoff = new Backoff(retryBaseMs, retryMaxMs);
  #synced = Promise.withResolvers<void>();
  #hasSynced = false;
  #revision = "";
  #running: Promise<void> | undefined;

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    this.resource = options.resource;
    this.#log = (options.log ?? silentLog).child(`informer/${qualifiedResource(options.resource.group, options.resource.resource)}`);
    this.synced = this.#synced.promise;
    this.synced.catch(() => {});
    for (const [name, values] of Object.entries(options.indexes ?? {})) this.addIndex(name, values);
  }

  /** Starts listing; may be called twice. */
  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    this.#synced.reject(new Error(`the informer of ${this.resource.resource} was stopped`));
    await this.#running;
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }
  /** The last revision seen: everything up to it is in the cache. 0 before the first list. */
  get revision(): number {
    return this.#revision === "" ? 0 : Number(this.#revision);
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }
  list(): T[] {
    return [...this.#objects.values()];
  }
  inNamespace(namespace: string): T[] {
    // Made when it is first asked for: of most resources nobody ever does.
    if (!this.#indexes.has(namespaceIndex)) this.addIndex(namespaceIndex, (object) => [object.metadata.namespace ?? ""]);
    return this.byIndex(namespaceIndex, namespace);
  }
  byIndex(index: string, value: string): T[] {
    const found = this.#indexes.get(index);
    if (!found) throw new Error(`no index ${index} on ${this.resource.resource}`);
    const entries = found.entries.get(value);
    return entries ? [...entries.values()] : [];
  }

  /** Indexes what is cached and what will be; an index of that name must not exist. */
  addIndex(name: string, values: IndexFunction<T>): void {
    if (this.#indexes.has(name)) throw new Error(`index ${name} on ${this.resource.resource} exists`);
    const index = { values, entries: new Map<string, Map<string, T>>() };
    this.#indexes.set(name, index);
    for (const [key, object] of this.#objects) file(index, key, object, undefined);
  }
  hasIndex(name: string): boolean {
    return this.#indexes.has(name);
  }

  /** Tells `handler` of everything cached, then of every change, until the function that it returns is called. */
  onChange(handler: Handler<T>): () => void {
    this.#handlers.add(handler);
    for (const [key, object] of this.#objects) this.#tell(handler, key, object, undefined);
    return () => this.#handlers.delete(handler);
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { clock, random } = this.#options;
    while (!signal.aborted) {
      let failure: unknown;
      try {
        if (this.#revision === "") await this.#list();
        const startedMs = clock.monotonicMs();
        await this.#watch();
        if (clock.monotonicMs() - startedMs >= watchMsMin) {
          this.#backoff.reset();
          continue;
        }
      } catch (error) {
        failure = error;
        // The server answered and said no: what we know may be outdated. A broken connection is just taken up again.
        if (error instanceof StatusError) this.#revision = "";
      }
      if (signal.aborted) return;
      const waitMs = this.#backoff.next() * (1 + (random?.next() ?? 0));
      // 410 and a server that restarts are everyday news; a refusal is not.
      const level = failure instanceof StatusError && failure.code >= 400 && failure.code < 500 && failure.code !== 410 ? "warn" : "debug";
      if (failure) this.#log[level]("will try again", { error: (failure as Error).message, waitMs });
      await delay(clock, waitMs, signal).catch(() => {});
    }
  }

  #scope(): ListOptions {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    return { ...(namespace !== undefined && { namespace }), ...(labelSelector && { labelSelector }), ...(fieldSelector && { fieldSelector }), signal: this.#abort.signal };
  }

  async #list(): Promise<void> {
    const items: T[] = [];
    let page: string | undefined;
    let revision: string;
    do {
      const list = await this.#options.client.list<T>(this.resource, { ...this.#scope(), ...(page && { continue: page }) });
      for (const item of list.items) items.push(typed(item, list));
      revision = list.metadata.resourceVersion;
      page = list.metadata.continue;
    } while (page);
    if (this.#abort.signal.aborted) return;
    const gone = new Set(this.#objects.keys());
    this.#revision = revision;
    for (const item of items) {
      const key = keyOf(item);
      gone.delete(key);
      this.#put(key, item);
    }
    for (const key of gone) this.#remove(key, this.#objects.get(key)!);
    if (!this.#hasSynced) {
      this.#hasSynced = true;
      this.#synced.resolve();
    }
  }

  async #watch(): Promise<void> {
    const timeoutSeconds = Math.round(watchSecondsMin * (1 + (this.#options.random?.next() ?? 0)));
    const events = this.#options.client.watch<T>(this.resource, { ...this.#scope(), resourceVersion: this.#revision, allowWatchBookmarks: true, timeoutSeconds });
    for await (const { type, object } of events) {
      if (this.#abort.signal.aborted) return;
      if (type === "ERROR") throw StatusError.from(object as object);
      this.#revision = object.metadata.resourceVersion;
      this.#backoff.reset();
      if (type === "BOOKMARK") continue;
      const key = keyOf(object);
      if (type === "DELETED") this.#remove(key, object);
      else this.#put(key, object);
    }
  }

  #put(key: string, object: T): void {
    const old = this.#objects.get(key);
    if (old?.metadata.resourceVersion === object.metadata.resourceVersion) return;
    // Deleted and made anew while we were not looking: two objects, told as two.
    if (old && old.metadata.uid !== object.metadata.uid) this.#remove(key, old);
    const before = this.#objects.get(key);
    const { metadataOnly = false, hold } = this.#options;
    const held = (typeof metadataOnly === "function" ? metadataOnly(object) : metadataOnly) ? metadataOf(object) : hold ? hold(object) : object;
    this.#objects.set(key, held);
    for (const index of this.#indexes.values()) file(index, key, held, before);
    for (const handler of this.#handlers) this.#tell(handler, key, held, before);
  }

  #remove(key: string, last: T): void {
    const old = this.#objects.get(key);
    if (!old) return;
    this.#objects.delete(key);
    for (const index of this.#indexes.values()) file(index, key, undefined, old);
    for (const handler of this.#handlers) this.#tell(handler, key, undefined, last);
  }

  #tell(handler: Handler<T>, key: string, object: T | undefined, old: T | undefined): void {
    try {
      handler(key, object, old);
    } catch (error) {
      this.#log.error("a handler failed", { key, error });
    }
  }
}

/** Items of a list come without kind and apiVersion; Events and owner references need them. */
function typed<T>(item: T, list: { apiVersion: string; kind: string }): T {
  if ((item as { kind?: string }).kind || !list.kind?.endsWith("List") || list.kind === "List") return item;
  return { apiVersion: list.apiVersion, kind: list.kind.slice(0, -"List".length), ...item };
}

/** Kind and metadata, and of that, no managedFields and annotations. */
export function metadataOf<T extends Identified>(object: T): T {
  const { apiVersion, kind, metadata } = object as T & { apiVersion?: string; kind?: string };
  const { managedFields: _, annotations: __, ...named } = metadata;
  return { apiVersion, kind, metadata: named } as unknown as T;
}

function file<T>(index: { values: IndexFunction<T>; entries: Map<string, Map<string, T>> }, key: string, object: T | undefined, old: T | undefined): void {
  const next = object ? index.values(object) : [];
  if (old) {
    for (const value of index.values(old)) {
      if (next.includes(value)) continue;
      const entries = index.entries.get(value);
      entries?.delete(key);
      if (entries?.size === 0) index.entries.delete(value);
    }
  }
  for (const value of next) {
    let entries = index.entries.get(value);
    if (!entries) index.entries.set(value, (entries = new Map()));
    entries.set(key, object!);
  }
}

/** One informer a resource, shared by all who ask: caches are paid for once. */
export class Informers {
  readonly #options: Omit<InformerOptions<KubeObject>, "resource" | "indexes" | "metadataOnly" | "hold">;
  readonly #metadataOnly: (resource: GroupVersionResource) => boolean | ((object: KubeObject) => boolean);
  readonly #informers = new Map<string, Informer<any>>();

  /** `metadataOnly`: of which resources, or which of their objects, nobody here reads more than metadata. */
  constructor({ metadataOnly = () => false, ...options }: { client: Client; clock: Clock; random?: Random; log?: Log; metadataOnly?: (resource: GroupVersionResource) => boolean | ((object: KubeObject) => boolean) }) {
    this.#options = options;
    this.#metadataOnly = metadataOnly;
  }
  for<T extends Identified = KubeObject>(resource: GroupVersionResource): Informer<T> {
    const name = `${resource.group}/${resource.resource}`;
    let informer = this.#informers.get(name);
    if (!informer) this.#informers.set(name, (informer = new Informer<any>({ ...this.#options, resource, metadataOnly: this.#metadataOnly(resource) })));
    return informer as Informer<T>;
  }
  all(): Informer<any>[] {
    return [...this.#informers.values()];
  }
  /** Stops and forgets the informer of a resource that is no longer served. */
  async drop(resource: GroupVersionResource): Promise<void> {
    const name = `${resource.group}/${resource.resource}`;
    const informer = this.#informers.get(name);
    this.#informers.delete(name);
    await informer?.stop();
  }
  /** Starts every informer asked for so far and waits until all hold their first list. */
  async start(): Promise<void> {
    for (const informer of this.#informers.values()) informer.start();
    await Promise.all([...this.#informers.values()].map((informer) => informer.synced));
  }
  async stop(): Promise<void> {
    await Promise.all([...this.#informers.values()].map((informer) => informer.stop()));
  }
}
