import type { Client, DeleteOptions, ListOptions, WatchOptions, WriteOptions } from "../../api/client.ts";
import { apiVersionOf, type GroupVersionResource, type KubeList, type KubeObject, timestamp, type WatchEvent } from "../../api/meta.ts";
import { alreadyExistsError, conflictError, notFoundError } from "../../api/status.ts";

/**
 * An API server of a few lines for the agent's tests: objects by key, watches, status patches merged as a
 * strategic merge patch of a pod status is (conditions by type), graceful deletion of pods.
 */
export class MemoryClient implements Client {
  readonly objects = new Map<string, KubeObject>();
  readonly writes: { verb: string; resource: string; name: string; subresource?: string; body?: unknown }[] = [];
  /** Throws or delays for faults: called before each write. */
  before: (verb: string, resource: string, name: string) => Promise<void> | void = () => {};
  #revision = 0;
  #watchers = new Set<(event: WatchEvent, key: string) => void>();

  #key(of: GroupVersionResource, namespace: string | undefined, name: string): string {
    return `/${of.group || "core"}/${of.resource}/${namespace ?? ""}/${name}`;
  }
  #store(type: WatchEvent["type"], key: string, object: KubeObject): KubeObject {
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#revision) } };
    if (type === "DELETED") this.objects.delete(key);
    else this.objects.set(key, stored);
    for (const watcher of this.#watchers) watcher({ type, object: stored }, key);
    return stored;
  }

  async get<T = KubeObject>(of: GroupVersionResource, namespace: string | undefined, name: string): Promise<T> {
    const object = this.objects.get(this.#key(of, namespace, name));
    if (!object) throw notFoundError(of, name);
    return object as T;
  }
  async list<T = KubeObject>(of: GroupVersionResource, options: ListOptions = {}): Promise<KubeList<T>> {
    const prefix = `/${of.group || "core"}/${of.resource}/`;
    const items = [...this.objects].filter(([key]) => key.startsWith(prefix) && (options.namespace === undefined || key.startsWith(`${prefix}${options.namespace}/`))).map(([, object]) => object as T);
    return { apiVersion: apiVersionOf(of.group, of.version), kind: "List", metadata: { resourceVersion: String(this.#revision) }, items };
  }
  async *watch<T = KubeObject>(of: GroupVersionResource, options: WatchOptions = {}): AsyncIterable<WatchEvent<T>> {
    const prefix = `/${of.group || "core"}/${of.resource}/`;
    const queue: WatchEvent<T>[] = [];
    let wake: () => void = () => {};
    const from = Number(options.resourceVersion ?? 0);
    if (from === 0 || from < this.#revision) {
      for (const [key, object] of this.objects) if (key.startsWith(prefix) && Number(object.metadata.resourceVersion) > from) queue.push({ type: "ADDED", object: object as T });
    }
    const watcher = (event: WatchEvent, key: string) => {
      if (!key.startsWith(prefix)) return;
      queue.push(event as WatchEvent<T>);
      wake();
    };
    this.#watchers.add(watcher);
    const abort = () => wake();
    options.signal?.addEventListener("abort", abort);
    try {
      while (!options.signal?.aborted) {
        const next = queue.shift();
        if (next) yield next;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#watchers.delete(watcher);
      options.signal?.removeEventListener("abort", abort);
    }
  }
  async create<T = KubeObject>(of: GroupVersionResource, namespace: string | undefined, object: object, options: WriteOptions & { name?: string } = {}): Promise<T> {
    const draft = object as KubeObject;
    const name = options.name ?? draft.metadata.name;
    await this.before("create", of.resource, name);
    this.writes.push({ verb: "create", resource: of.resource, name, ...(options.subresource && { subresource: options.subresource }), body: object });
    if (options.subresource === "token") return { ...draft, status: { token: `token-of-${name}`, expirationTimestamp: timestamp(Date.UTC(2100, 0, 1)) } } as T;
    const key = this.#key(of, namespace, name);
    if (this.objects.has(key)) throw alreadyExistsError(of, name);
    const server = { uid: `uid-${this.#revision}`, creationTimestamp: timestamp(0) };
    return this.#store("ADDED", key, { ...draft, metadata: Object.assign(server, draft.metadata, namespace ? { namespace } : {}) }) as T;
  }
  async update<T = KubeObject>(of: GroupVersionResource, namespace: string | undefined, name: string, object: object): Promise<T> {
    await this.before("update", of.resource, name);
    const key = this.#key(of, namespace, name);
    if (!this.objects.has(key)) throw notFoundError(of, name);
    this.writes.push({ verb: "update", resource: of.resource, name, body: object });
    return this.#store("MODIFIED", key, object as KubeObject) as T;
  }
  async patch<T = KubeObject>(of: GroupVersionResource, namespace: string | undefined, name: string, patch: unknown, options: WriteOptions = {}): Promise<T> {
    await this.before("patch", of.resource, name);
    const key = this.#key(of, namespace, name);
    const object = this.objects.get(key);
    if (!object) throw notFoundError(of, name);
    const body = patch as Partial<KubeObject>;
    if (body.metadata?.uid && body.metadata.uid !== object.metadata.uid) throw conflictError(of, name);
    this.writes.push({ verb: "patch", resource: of.resource, name, ...(options.subresource && { subresource: options.subresource }), body: patch });
    return this.#store("MODIFIED", key, merge(object, body) as KubeObject) as T;
  }
  async delete<T = KubeObject>(of: GroupVersionResource, namespace: string | undefined, name: string, options: DeleteOptions = {}): Promise<T> {
    await this.before("delete", of.resource, name);
    const key = this.#key(of, namespace, name);
    const object = this.objects.get(key);
    if (!object) throw notFoundError(of, name);
    if (options.preconditions?.uid && options.preconditions.uid !== object.metadata.uid) throw conflictError(of, name);
    this.writes.push({ verb: "delete", resource: of.resource, name, body: options });
    const grace = options.gracePeriodSeconds ?? (of.resource === "pods" ? (object["spec"].terminationGracePeriodSeconds ?? 30) : 0);
    if (grace === 0) return this.#store("DELETED", key, object) as T;
    return this.#store("MODIFIED", key, { ...object, metadata: { ...object.metadata, deletionTimestamp: timestamp(0), deletionGracePeriodSeconds: grace } }) as T;
  }
}

function merge(from: unknown, patch: unknown, field = ""): unknown {
  if (Array.isArray(patch)) {
    const mergeKey = field === "conditions" ? "type" : field === "podIPs" ? "ip" : undefined;
    if (!mergeKey || patch.some((item) => item.$patch === "replace")) return patch.filter((item) => item?.$patch !== "replace");
    const list = [...((from as Record<string, unknown>[] | undefined) ?? [])];
    for (const item of patch) {
      const at = list.findIndex((old) => old[mergeKey] === item[mergeKey]);
      if (item.$patch === "delete") list.splice(at, at < 0 ? 0 : 1);
      else if (at >= 0) list[at] = merge(list[at], item) as Record<string, unknown>;
      else list.push(merge({}, item) as Record<string, unknown>);
    }
    return list;
  }
  if (patch === null || typeof patch !== "object") return patch;
  const result = { ...(from as object) } as Record<string, unknown>;
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value, key);
  }
  return result;
}
