import type { Condition } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { Pod, PodStatus } from "../../api/types.ts";
import { Backoff } from "../../base/backoff.ts";
import { delay } from "../../base/clock.ts";
import type { NodeContext } from "../context.ts";
import { resizeConditions } from "./resize.ts";

/**
 * Writes one pod's status: one request at a time, what changes meanwhile is merged into the next one, except
 * that a change of Ready always gets a write of its own, so that no watcher misses it.
 */
export class StatusWriter {
  readonly #ctx: NodeContext;
  readonly #namespace: string;
  readonly #name: string;
  readonly #uid: string;
  #written: PodStatus;
  #queue: PodStatus[] = [];
  #writing: Promise<void> | undefined;
  #gone = false;

  constructor(ctx: NodeContext, pod: Pod) {
    this.#ctx = ctx;
    this.#namespace = pod.metadata.namespace!;
    this.#name = pod.metadata.name;
    this.#uid = pod.metadata.uid;
    this.#written = pod.status ?? {};
  }

  /** The pod was deleted: nothing more to write. */
  close(): void {
    this.#gone = true;
    this.#queue = [];
  }

  put(status: PodStatus): void {
    if (this.#gone) return;
    const last = this.#queue.at(-1);
    if (last && readyOf(last) === readyOf(status)) this.#queue[this.#queue.length - 1] = status;
    else this.#queue.push(status);
    this.#writing ??= this.#drain();
  }

  /** Resolves when everything put so far is written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  async #drain(): Promise<void> {
    // One turn of the loop, so that what happens at once is one write.
    await new Promise<void>((resolve) => setImmediate(resolve));
    const retry = new Backoff(200, 10_000);
    while (this.#queue.length > 0 && !this.#gone) {
      const status = this.#queue[0]!;
      const patch = statusPatch(this.#written, status);
      try {
        if (patch) await this.#ctx.client.patch(resources.pods, this.#namespace, this.#name, { metadata: { uid: this.#uid }, status: patch }, { subresource: "status", type: "strategic" });
      } catch (error) {
        // Gone, or replaced by a namesake: this pod has no status any more.
        if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return this.close();
        if (error instanceof StatusError && error.code < 500 && error.code !== 429) {
          // Nothing of it was taken: the next one carries it again.
          this.#ctx.log.error("pod status refused", { pod: `${this.#namespace}/${this.#name}`, error });
          if (this.#queue[0] === status) this.#queue.shift();
        } else await delay(this.#ctx.clock, retry.next());
        continue;
      }
      retry.reset();
      this.#written = status;
      if (this.#queue[0] === status) this.#queue.shift();
    }
    this.#writing = undefined;
  }
}

const readyOf = (status: PodStatus) => status.conditions?.find(({ type }) => type === "Ready")?.status;

/** A strategic merge patch from one status to the next; undefined when they are equal. */
export function statusPatch(from: PodStatus, to: PodStatus): Record<string, unknown> | undefined {
  const patch: Record<string, unknown> = {};
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  for (const key of new Set([...Object.keys(from), ...Object.keys(to)]) as Set<keyof PodStatus>) {
    if (same(from[key], to[key])) continue;
    if (key === "conditions") {
      const old = (from.conditions ?? []) as Condition[];
      const gone = old.filter(({ type }) => resizeConditions.has(type) && !to.conditions?.some((condition) => condition.type === type));
      patch[key] = ((to.conditions ?? []) as Condition[])
        .filter((condition) => !same(old.find(({ type }) => type === condition.type), condition))
        // A field that a condition lost has to be taken away: the lists are merged by type.
        .map((condition): object => ({ ...absent(old.find(({ type }) => type === condition.type), condition), ...condition }))
        .concat(gone.map(({ type }) => ({ $patch: "delete", type })));
    } else if (key === "podIPs") patch[key] = [{ $patch: "replace" }, ...(to.podIPs ?? [])];
    else patch[key] = to[key] ?? null;
  }
  return Object.keys(patch).length > 0 ? patch : undefined;
}

function absent(old: Condition | undefined, next: Condition): Record<string, null> {
  return Object.fromEntries(Object.keys(old ?? {}).filter((key) => !(key in next)).map((key) => [key, null]));
}
