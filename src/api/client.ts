import type { GroupVersionResource, KubeList, KubeObject, WatchEvent } from "./meta.ts";

/**
 * How every part of Wherry reads and writes objects. Two implementations: in-process over the API server
 * (controllers; objects are shared and frozen, so copy paths before changing anything) and HTTP over the unix
 * socket or TLS (`api/http-client.ts`: the agent and the CLI). Both throw StatusError.
 */
export interface Client {
  get<T = KubeObject>(resource: GroupVersionResource, namespace: string | undefined, name: string, options?: { subresource?: string; signal?: AbortSignal }): Promise<T>;
  list<T = KubeObject>(resource: GroupVersionResource, options?: ListOptions): Promise<KubeList<T>>;
  /**
   * Changes after `resourceVersion` (or, without one, the present state as ADDED first). The iterator ends when
   * the server ends the watch, and throws a StatusError (410 among them) when it fails.
   */
  watch<T = KubeObject>(resource: GroupVersionResource, options?: WatchOptions): AsyncIterable<WatchEvent<T>>;
  create<T = KubeObject>(resource: GroupVersionResource, namespace: string | undefined, object: object, options?: WriteOptions & { name?: string }): Promise<T>;
  /** Replaces. With metadata.resourceVersion set, fails with 409 when the object has moved on. */
  update<T = KubeObject>(resource: GroupVersionResource, namespace: string | undefined, name: string, object: object, options?: WriteOptions): Promise<T>;
  patch<T = KubeObject>(resource: GroupVersionResource, namespace: string | undefined, name: string, patch: unknown, options?: WriteOptions & { type?: PatchType }): Promise<T>;
  delete<T = KubeObject>(resource: GroupVersionResource, namespace: string | undefined, name: string, options?: DeleteOptions): Promise<T>;
}

/** "apply" is server-side apply: the patch is a configuration of `fieldManager`'s, and the object is created when there is none. */
export type PatchType = "json" | "merge" | "strategic" | "apply";

export interface ListOptions {
  /** Undefined: all namespaces, or a cluster-scoped resource. */
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  limit?: number;
  continue?: string;
  resourceVersion?: string;
  resourceVersionMatch?: "Exact" | "NotOlderThan";
  signal?: AbortSignal;
}
export interface WatchOptions extends ListOptions {
  allowWatchBookmarks?: boolean;
  sendInitialEvents?: boolean;
  timeoutSeconds?: number;
}
export interface WriteOptions {
  /** "status", "scale", "binding", "eviction", "token", … */
  subresource?: string;
  fieldManager?: string;
  /** Of an apply: take what others own. */
  force?: boolean;
  dryRun?: boolean;
  /** What becomes of fields that nobody knows or that are given twice. Default: the server's, a warning. */
  fieldValidation?: "Strict" | "Warn" | "Ignore";
  signal?: AbortSignal;
}
export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: "Background" | "Foreground" | "Orphan";
  preconditions?: { uid?: string; resourceVersion?: string };
  dryRun?: boolean;
  signal?: AbortSignal;
}
