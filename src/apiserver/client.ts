import type { Client, DeleteOptions, ListOptions, PatchType, WatchOptions, WriteOptions } from "../api/client.ts";
import type { Kind } from "../api/kind.ts";
import { apiVersionOf, type GroupVersionResource, type KubeList, type WatchEvent } from "../api/meta.ts";
import { StatusError } from "../api/status.ts";
import type { Api } from "./api.ts";
import { withConversions } from "./crd/convert.ts";
import type { Identity, WriteContext } from "./rest/context.ts";
import { computeList, computeOne } from "./rest/computed.ts";
import { objectOf, selectableOf } from "./rest/keys.ts";
import { bookmarkObject, type WatchNotice } from "./rest/watch.ts";

/** The in-process door: what is read is shared and frozen, what is written goes through every step a request does. */
export function createClient(api: Api, identity: Identity, userAgent: string): Client {
  const kindOf = ({ group, version, resource }: GroupVersionResource): Kind => {
    const kind = api.registry.byResource(group, version, resource);
    if (!kind) throw new StatusError(404, "NotFound", "the server could not find the requested resource", { group, kind: resource });
    return kind;
  };
  const contextOf = (options: WriteOptions): WriteContext => ({ user: identity, fieldManager: options.fieldManager ?? userAgent, fieldValidation: options.fieldValidation ?? "Strict", dryRun: options.dryRun ?? false, warnings: [], ...(options.force !== undefined && { force: options.force }) });

  return {
    async get<T>(resource: GroupVersionResource, namespace: string | undefined, name: string, options: { subresource?: string } = {}): Promise<T> {
      const kind = kindOf(resource);
      const computed = kind.computed && options.subresource === undefined ? await computeOne(api.store, kind, namespace, name) : undefined;
      return (await withConversions(api.store, kind, () => (options.subresource === undefined ? objectOf(kind, computed ?? api.get(kind, namespace, name)) : api.getSubresource(kind, namespace, name, options.subresource)))) as T;
    },
    async list<T>(resource: GroupVersionResource, options: ListOptions = {}): Promise<KubeList<T>> {
      const kind = kindOf(resource);
      const computed = kind.computed ? await computeList(api.store, kind, options) : undefined;
      const { listed, items } = await withConversions(api.store, kind, () => {
        const found = computed ?? api.list(kind, options);
        return { listed: found, items: found.entries.map((entry) => objectOf(kind, entry) as T) };
      }).catch((error: unknown) => {
        // Our own parts look at the metadata of custom objects; a webhook in a pod that is yet to start must not hold them up.
        if (!kind.custom?.conversions || !(error instanceof StatusError) || error.code !== 500) throw error;
        api.log.warn("listed without conversion", { kind: kind.kind, error });
        const found = api.list(kind, { ...(options.namespace !== undefined && { namespace: options.namespace }) });
        return { listed: found, items: found.entries.map((entry) => selectableOf(kind, entry) as T) };
      });
      return {
        apiVersion: apiVersionOf(kind.group, kind.version),
        kind: kind.listKind ?? `${kind.kind}List`,
        metadata: { resourceVersion: String(listed.revision), ...(listed.continue !== undefined && { continue: listed.continue }), ...(listed.remainingItemCount !== undefined && { remainingItemCount: listed.remainingItemCount }) },
        items,
      };
    },
    watch<T>(resource: GroupVersionResource, options: WatchOptions = {}): AsyncIterable<WatchEvent<T>> {
      return watchObjects(api, kindOf(resource), options);
    },
    async create<T>(resource: GroupVersionResource, namespace: string | undefined, object: object, options: WriteOptions & { name?: string } = {}): Promise<T> {
      return (await api.create(kindOf(resource), namespace, object, contextOf(options), { shared: true, ...(options.name !== undefined && { name: options.name }), ...(options.subresource !== undefined && { subresource: options.subresource }) })) as T;
    },
    async update<T>(resource: GroupVersionResource, namespace: string | undefined, name: string, object: object, options: WriteOptions = {}): Promise<T> {
      return (await api.update(kindOf(resource), namespace, name, object, contextOf(options), { shared: true, ...(options.subresource !== undefined && { subresource: options.subresource }) })) as T;
    },
    async patch<T>(resource: GroupVersionResource, namespace: string | undefined, name: string, body: unknown, options: WriteOptions & { type?: PatchType } = {}): Promise<T> {
      return (await api.patch(kindOf(resource), namespace, name, options.type ?? "merge", body, contextOf(options), options.subresource !== undefined ? { subresource: options.subresource } : {})) as T;
    },
    async delete<T>(resource: GroupVersionResource, namespace: string | undefined, name: string, options: DeleteOptions = {}): Promise<T> {
      return (await api.delete(kindOf(resource), namespace, name, options, contextOf(options))).object as T;
    },
  };
}

async function* watchObjects<T>(api: Api, kind: Kind, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
  const apiVersion = apiVersionOf(kind.group, kind.version);
  const { signal } = options;
  let queue: WatchNotice[] = [];
  let ended: StatusError | "aborted" | undefined;
  let wake: () => void = () => {};
  const watch = api.watch(kind, options, {
    onNotices(notices) {
      for (const notice of notices) queue.push(notice);
      wake();
    },
    onEnd(error) {
      ended = error ?? "aborted";
      wake();
    },
  });
  const abort = () => {
    ended = "aborted";
    wake();
  };
  signal?.addEventListener("abort", abort, { once: true });
  const timer = options.timeoutSeconds === undefined ? undefined : api.clock.setTimer(options.timeoutSeconds * 1000, abort);
  try {
    for (;;) {
      if (signal?.aborted) return;
      const batch = queue;
      queue = [];
      for (const notice of batch) {
        yield (notice.type === "BOOKMARK" ? { type: "BOOKMARK", object: bookmarkObject(kind, apiVersion, notice.revision, notice.initialEventsEnd) } : { type: notice.type, object: objectOf(kind, notice.entry) }) as WatchEvent<T>;
      }
      if (queue.length > 0) continue;
      if (ended === "aborted") return;
      if (ended) throw ended;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    timer?.cancel();
    signal?.removeEventListener("abort", abort);
    watch.close();
  }
}
