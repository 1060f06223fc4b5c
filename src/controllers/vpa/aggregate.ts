import { timestamp } from "../../api/meta.ts";
import type { VerticalPodAutoscalerCheckpoint } from "../../api/vpa/types.ts";
import { cpuBuckets, DecayingHistogram, memoryBuckets } from "./histogram.ts";

/** One measurement: the mean of CPU over the window before `atMs`, memory at that time. */
export interface Sample {
  atMs: number;
  cores: number;
  bytes: number;
}

const checkpointVersion = "v3";
const cpuWeight = 0.1;
const intervalMs = 24 * 3600_000;
const oomRatio = 1.2;
const oomLeastBytes = 100 * 2 ** 20;

/** What is known of all containers of one name. Source: recommender/model/aggregate_container_state.go. */
export class Aggregate {
  readonly cpu = new DecayingHistogram(cpuBuckets);
  /** One peak a container and day. */
  readonly memory = new DecayingHistogram(memoryBuckets);
  firstMs: number | undefined;
  lastMs: number | undefined;
  /** Of CPU. */
  samples = 0;
  /** Whatever was added since this process made it. */
  additions = 0;

  addCpu(cores: number, atMs: number): void {
    this.cpu.add(cores, cpuWeight, atMs);
    this.firstMs = Math.min(this.firstMs ?? atMs, atMs);
    this.lastMs = Math.max(this.lastMs ?? atMs, atMs);
    this.samples++;
    this.additions++;
  }

  /** Status of a VerticalPodAutoscalerCheckpoint. */
  save(nowMs: number): NonNullable<VerticalPodAutoscalerCheckpoint["status"]> {
    const time = (ms: number | undefined) => (ms === undefined ? null : timestamp(ms));
    return { version: checkpointVersion, lastUpdateTime: timestamp(nowMs), firstSampleStart: time(this.firstMs), lastSampleStart: time(this.lastMs), totalSamplesCount: this.samples, cpuHistogram: this.cpu.save(), memoryHistogram: this.memory.save() };
  }
  /** Into an empty one. Throws with what is wrong with it. */
  load(status: NonNullable<VerticalPodAutoscalerCheckpoint["status"]>): void {
    if (status.version !== checkpointVersion) throw new Error(`unsupported checkpoint version ${status.version ?? ""}`);
    const time = (text: string | null | undefined) => (text ? Date.parse(text) : undefined);
    this.memory.load(status.memoryHistogram ?? {});
    this.cpu.load(status.cpuHistogram ?? {});
    [this.firstMs, this.lastMs, this.samples] = [time(status.firstSampleStart), time(status.lastSampleStart), status.totalSamplesCount ?? 0];
  }
}

/** One running container: which of its samples are new, and its highest memory of the day. Source: recommender/model/container.go. */
export class ContainerUsage {
  readonly #aggregate: Aggregate;
  #lastCpuMs = -Infinity;
  #lastMemoryMs = -Infinity;
  #windowEndMs: number | undefined;
  #memoryPeak = 0;
  #oomPeak = 0;

  constructor(aggregate: Aggregate) {
    this.#aggregate = aggregate;
  }

  add({ atMs, cores, bytes }: Sample): void {
    if (atMs > this.#lastCpuMs) {
      this.#lastCpuMs = atMs;
      this.#aggregate.addCpu(cores, atMs);
    }
    if (atMs >= this.#lastMemoryMs) this.#addMemory(bytes, atMs, false);
  }

  /** It was killed for its memory, of which it had asked for this much: it needs more than that and than was ever seen. */
  outOfMemory(requestBytes: number, atMs: number): void {
    if (this.#windowEndMs !== undefined && atMs < this.#windowEndMs - intervalMs) return;
    // Not counting earlier kills: each would raise the next.
    const used = Math.max(requestBytes, this.#memoryPeak);
    this.#addMemory(Math.max(used + oomLeastBytes, Math.trunc(used * oomRatio)), atMs, true);
  }

  #addMemory(bytes: number, atMs: number, isOom: boolean): void {
    this.#lastMemoryMs = Math.max(this.#lastMemoryMs, atMs);
    this.#windowEndMs ??= atMs;
    const { memory } = this.#aggregate;
    if (atMs < this.#windowEndMs) {
      const peak = Math.max(this.#memoryPeak, this.#oomPeak);
      if (peak === 0 || bytes <= peak) return;
      memory.subtract(peak, 1, this.#windowEndMs);
    } else {
      this.#windowEndMs += Math.floor((atMs - this.#windowEndMs) / intervalMs) * intervalMs + intervalMs;
      this.#memoryPeak = 0;
      this.#oomPeak = 0;
    }
    memory.add(bytes, 1, this.#windowEndMs);
    this.#aggregate.additions++;
    if (isOom) this.#oomPeak = bytes;
    else this.#memoryPeak = bytes;
  }
}
