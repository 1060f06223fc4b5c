import { join } from "node:path";
import type { Pod } from "../../api/types.ts";
import type { Timer } from "../../base/clock.ts";
import type { NodeContext } from "../context.ts";
import { memoryLayerBytes, treeBytes } from "../volumes/usage.ts";
import { hasStorageLimits, overStorageLimit, type StorageUsage } from "./storage-limits.ts";

/** As often as kubelet looks at its pods; how long a look took is added. */
const intervalMs = 10_000;

export interface StorageWatchOptions {
  ctx: NodeContext;
  /** The pod's folder. */
  dir: string;
  pod(): Pod;
  /** Pids of the containers that run, by name. */
  running(): ReadonlyMap<string, number>;
  evict(message: string): void;
}

/** Measures what a pod with limits writes, and has it evicted when it is too much. */
export class StorageWatch {
  readonly #options: StorageWatchOptions;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: StorageWatchOptions) {
    this.#options = options;
  }

  start(): void {
    const { ctx, pod } = this.#options;
    if (this.#stopped || !hasStorageLimits(pod())) return;
    this.#timer = ctx.clock.setTimer(intervalMs, () => void this.#look());
  }
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #look(): Promise<void> {
    const { pod, evict } = this.#options;
    const usage = await this.#measure();
    if (this.#stopped) return;
    const message = overStorageLimit(pod(), usage);
    if (message === undefined) return this.start();
    this.stop();
    evict(message);
  }

  async #measure(): Promise<StorageUsage> {
    const { dir, pod, running } = this.#options;
    const { spec } = pod();
    const volumes = new Map<string, number>();
    const containers = new Map<string, number>();
    const pids = running();
    for (const { name, emptyDir } of spec!.volumes ?? []) if (emptyDir) volumes.set(name, await treeBytes(join(dir, "volumes", name)));
    for (const { name, volumeMounts = [] } of [...(spec!.initContainers ?? []), ...spec!.containers]) {
      const pid = pids.get(name);
      const layer = pid === undefined ? 0 : await memoryLayerBytes(pid, volumeMounts.map(({ mountPath }) => mountPath.replace(/(?<=.)\/+$/, "")));
      containers.set(name, layer + (await treeBytes(join(dir, "logs", name))) + (await treeBytes(join(dir, "volumes", `.image-${name}`))));
    }
    return { volumes, containers };
  }
}
