import type { Client } from "../api/client.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import { StatusError } from "../api/status.ts";
import { Backoff } from "../base/backoff.ts";
import { type Clock, delay, systemClock, type Timer } from "../base/clock.ts";

/** The objects of one list, kept up to date: list, watch, watch again from where it ended, list anew where that is too old. */
export interface WatchedOptions {
  client: Client;
  resource: GroupVersionResource;
  namespace: string;
  labelSelector: string;
  clock?: Clock;
  onChange(objects: readonly KubeObject[]): void;
  /** Of a list or watch that failed; it is tried again, and what was known stays. */
  onError?: (error: unknown) => void;
}

const retryBaseMs = 100;
const retryMaxMs = 30_000;
/** As client-go asks. */
const watchSeconds = 300;
/** A server sends a bookmark each minute: a connection that is silent for longer may have died while this machine was asleep. */
const silentMs = 90_000;

export class Watched {
  readonly #options: WatchedOptions;
  readonly #objects = new Map<string, KubeObject>();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  /** Resolves with the first list. */
  readonly synced: Promise<void>;
  #tellSynced = () => {};
  /** Of what was seen last; undefined: a list is needed. */
  #revision: string | undefined;

  constructor(options: WatchedOptions) {
    this.#options = options;
    this.synced = new Promise((resolve) => (this.#tellSynced = resolve));
    this.#done = this.#run();
  }

  stop(): Promise<void> {
    this.#stop.abort(new Error("the watch was stopped"));
    return this.#done;
  }

  async #run(): Promise<void> {
    const { clock = systemClock, onError } = this.#options;
    const { signal } = this.#stop;
    const backoff = new Backoff(retryBaseMs, retryMaxMs);
    while (!signal.aborted) {
      const began = clock.monotonicMs();
      const silence = new AbortController();
      const stopped = () => silence.abort(signal.reason);
      signal.addEventListener("abort", stopped, { once: true });
      let timer: Timer | undefined;
      const heard = () => {
        timer?.cancel();
        timer = clock.setTimer(silentMs, () => silence.abort(new Error(`nothing was heard for ${silentMs} ms`)));
      };
      try {
        heard();
        await this.#follow(silence.signal, () => {
          heard();
          backoff.reset();
        });
        // One that ends at once, time and again, must not spin.
        if (clock.monotonicMs() - began > 1_000) continue;
      } catch (error) {
        if (signal.aborted) return;
        if (silence.signal.aborted) continue;
        // 410: what happened since is no longer known.
        if (error instanceof StatusError && error.code === 410) this.#revision = undefined;
        else onError?.(error);
      } finally {
        timer?.cancel();
        signal.removeEventListener("abort", stopped);
      }
      await delay(clock, backoff.next(), signal).catch(() => {});
    }
  }

  /** A list, if there is need of one, and a watch to its end. */
  async #follow(signal: AbortSignal, heard: () => void): Promise<void> {
    const { client, resource, namespace, labelSelector, onChange } = this.#options;
    if (this.#revision === undefined) {
      const list = await client.list(resource, { namespace, labelSelector, signal });
      this.#objects.clear();
      for (const object of list.items) this.#objects.set(object.metadata.name, object);
      this.#revision = list.metadata.resourceVersion;
      onChange([...this.#objects.values()]);
      this.#tellSynced();
    }
    for await (const { type, object } of client.watch(resource, { namespace, labelSelector, resourceVersion: this.#revision, allowWatchBookmarks: true, timeoutSeconds: watchSeconds, signal })) {
      this.#revision = object.metadata.resourceVersion;
      heard();
      if (type === "BOOKMARK") continue;
      if (type === "DELETED") this.#objects.delete(object.metadata.name);
      else this.#objects.set(object.metadata.name, object);
      onChange([...this.#objects.values()]);
    }
  }
}
