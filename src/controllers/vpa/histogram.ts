import type { HistogramCheckpoint } from "../../api/vpa/types.ts";
import { timestamp } from "../../api/meta.ts";

/** Buckets that grow by a twentieth each. */
export interface Buckets {
  /** Where the last one begins. */
  readonly max: number;
  readonly first: number;
}
/** In cores. */
export const cpuBuckets: Buckets = { max: 1000, first: 0.01 };
/** In bytes. */
export const memoryBuckets: Buckets = { max: 1e12, first: 1e7 };

const ratio = 1.05;
const halfLifeMs = 24 * 3600_000;
/** What weighs less counts as nothing. */
const epsilon = 0.0001;
const checkpointWeightMax = 10_000;
/** Weights grow with time instead of shrinking: at this many half-lives all are scaled down. */
const exponentMax = 100;

/**
 * A distribution that forgets: a sample weighs half as much after a day. Buckets and arithmetic are upstream's, so its
 * checkpoints are ours. Source: k8s.io/autoscaler/vertical-pod-autoscaler/pkg/recommender/util.
 */
export class DecayingHistogram {
  readonly #buckets: Buckets;
  readonly #count: number;
  #weights: Float64Array;
  #total = 0;
  /** A multiple of the half-life; weights are relative to it. */
  #referenceMs = -Infinity;

  constructor(buckets: Buckets) {
    this.#buckets = buckets;
    this.#count = Math.ceil(Math.log((buckets.max * (ratio - 1)) / buckets.first + 1) / Math.log(ratio)) + 1;
    this.#weights = new Float64Array(this.#count);
  }

  #bucketOf(value: number): number {
    if (value < this.#buckets.first) return 0;
    return Math.min(this.#count - 1, Math.trunc(Math.log((value * (ratio - 1)) / this.#buckets.first + 1) / Math.log(ratio)));
  }
  #startOf(bucket: number): number {
    return bucket === 0 ? 0 : (this.#buckets.first * (ratio ** bucket - 1)) / (ratio - 1);
  }

  add(value: number, weight: number, atMs: number): void {
    const decayed = weight * this.#decay(atMs);
    this.#weights[this.#bucketOf(value)]! += decayed;
    this.#total += decayed;
  }
  /** Takes back what was added with exactly these. */
  subtract(value: number, weight: number, atMs: number): void {
    const decayed = weight * this.#decay(atMs);
    const bucket = this.#bucketOf(value);
    this.#weights[bucket] = orNothing(this.#weights[bucket]! - decayed);
    this.#total = orNothing(this.#total - decayed);
  }

  #decay(atMs: number): number {
    if (atMs > this.#referenceMs + exponentMax * halfLifeMs) this.#shift(Math.round(atMs / halfLifeMs) * halfLifeMs);
    return 2 ** ((atMs - this.#referenceMs) / halfLifeMs);
  }
  #shift(referenceMs: number): void {
    const factor = this.#referenceMs === -Infinity ? 0 : 2 ** Math.round((this.#referenceMs - referenceMs) / halfLifeMs);
    for (let bucket = 0; bucket < this.#count; bucket++) this.#weights[bucket]! *= factor;
    this.#total *= factor;
    this.#referenceMs = referenceMs;
  }

  get isEmpty(): boolean {
    return !this.#weights.some((weight) => weight >= epsilon);
  }

  /** The end of the bucket in which the share `percentile` (0–1) of all weight is reached; 0 when there is nothing. */
  percentile(percentile: number): number {
    const first = this.#weights.findIndex((weight) => weight >= epsilon);
    if (first < 0) return 0;
    const last = this.#weights.findLastIndex((weight) => weight >= epsilon);
    const threshold = percentile * this.#total;
    let [sum, bucket] = [0, first];
    for (; bucket < last; bucket++) if ((sum += this.#weights[bucket]!) >= threshold) break;
    return this.#startOf(Math.min(bucket + 1, this.#count - 1));
  }

  save(): HistogramCheckpoint {
    const heaviest = Math.max(...this.#weights);
    const bucketWeights: Record<string, number> = {};
    for (const [bucket, weight] of this.#weights.entries()) {
      const share = weight < epsilon ? 0 : Math.floor((weight * checkpointWeightMax) / heaviest + 0.5);
      if (share > 0) bucketWeights[bucket] = share;
    }
    return { referenceTimestamp: this.#referenceMs === -Infinity ? null : timestamp(this.#referenceMs), bucketWeights, totalWeight: this.#total };
  }
  /** Into an empty one. Throws with what is wrong with it. */
  load({ referenceTimestamp, bucketWeights = {}, totalWeight = 0 }: HistogramCheckpoint): void {
    if (totalWeight < 0) throw new Error(`cannot load checkpoint with negative weight ${totalWeight}`);
    const weights = Object.entries(bucketWeights).map(([bucket, weight]): [number, number] => [Number(bucket), weight]);
    for (const [bucket] of weights) {
      if (bucket >= this.#count) throw new Error(`checkpoint has bucket ${bucket} that is exceeding histogram buckets ${this.#count}`);
      if (!(bucket >= 0)) throw new Error(`checkpoint has a negative bucket ${bucket}`);
    }
    const sum = weights.reduce((total, [, weight]) => total + weight, 0);
    const referenceMs = Date.parse(referenceTimestamp ?? "");
    if (sum === 0 || Number.isNaN(referenceMs)) return;
    for (const [bucket, weight] of weights) this.#weights[bucket] = orNothing((weight * totalWeight) / sum);
    this.#total = totalWeight;
    this.#referenceMs = referenceMs;
  }
}

const orNothing = (weight: number): number => (weight < epsilon ? 0 : weight);
