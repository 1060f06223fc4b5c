import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuBuckets, DecayingHistogram, memoryBuckets } from "./histogram.ts";

const startMs = Date.UTC(2026, 0, 1, 7);
const dayMs = 24 * 3600_000;

/** Squares of a linear congruential sequence, one every 37 minutes: the same that upstream's own code was given. */
function fill(histogram: DecayingHistogram, scale: number, count: number, look: (index: number) => void = () => {}): number {
  let [x, atMs] = [12_345n, startMs];
  for (let index = 0; index < count; index++) {
    x = (x * 1_103_515_245n + 12_345n) % 2_147_483_648n;
    const value = (Number(x) / 2_147_483_648) ** 2 * scale;
    histogram.add(value, 0.1, atMs);
    atMs += 37 * 60_000;
    look(index);
  }
  return atMs;
}
const digits = (value: number) => Number(value.toPrecision(10));

// What k8s.io/autoscaler/vertical-pod-autoscaler v1.5.1 says after 500, 1000, 1500 and 2000 samples: p50, p90, p95.
const upstream = [
  [0.258_403_663_6, 0.850_669_593_8, 0.958_363_227_2],
  [0.330_659_541, 0.850_669_593_8, 0.903_203_073_5],
  [0.357_192_518_1, 0.903_203_073_5, 1.016_281_389],
  [0.258_403_663_6, 0.707_607_898_8, 0.903_203_073_5],
] as const;

test("percentiles, decay and checkpoints are upstream's, to the last bucket", () => {
  for (const [buckets, scale] of [[cpuBuckets, 1], [memoryBuckets, 1e9]] as const) {
    const histogram = new DecayingHistogram(buckets);
    const said: number[][] = [];
    const endMs = fill(histogram, scale, 2000, (index) => void (index % 500 === 499 && said.push([0.5, 0.9, 0.95].map((percentile) => digits(histogram.percentile(percentile))))));
    assert.deepEqual(said, upstream.map((line) => line.map((value) => digits(value * scale))));
    const checkpoint = histogram.save();
    const weights = Object.entries(checkpoint.bucketWeights!);
    assert.deepEqual([checkpoint.referenceTimestamp, weights.length, weights.reduce((sum, [bucket, weight]) => sum + Number(bucket) * weight, 0), digits(checkpoint.totalWeight!)], ["2026-01-01T00:00:00Z", 37, 2_384_940, 20_084_433_320_000_000]);
    const restored = new DecayingHistogram(buckets);
    restored.load(JSON.parse(JSON.stringify(checkpoint)));
    assert.deepEqual([0.5, 0.9].map((percentile) => digits(restored.percentile(percentile))), [0.258_403_663_6, 0.707_607_898_8].map((value) => digits(value * scale)));
    // Past a hundred half-lives all weights are scaled down; what is left of the old ones is nothing.
    restored.add(0.9 * scale, 3000, endMs + 200 * dayMs);
    assert.deepEqual([0.5, 0.9].map((percentile) => digits(restored.percentile(percentile))), [0.903_203_073_5, 0.903_203_073_5].map((value) => digits(value * scale)));
  }
});

test("what is taken back leaves nothing, and what is nothing says nothing", () => {
  const histogram = new DecayingHistogram(memoryBuckets);
  assert.deepEqual([histogram.isEmpty, histogram.percentile(0.9), histogram.save().bucketWeights], [true, 0, {}]);
  histogram.add(5e8, 1, startMs);
  histogram.add(1e9, 1, startMs);
  histogram.subtract(1e9, 1, startMs);
  assert.ok(Math.abs(histogram.percentile(1) / 5e8 - 1) < 0.06);
  histogram.subtract(5e8, 1, startMs);
  assert.equal(histogram.isEmpty, true);
  histogram.add(-1, 1, startMs);
  histogram.add(1e15, 1, startMs);
  assert.deepEqual([histogram.percentile(0.4), Math.log10(histogram.percentile(1)) > 11.9], [1e7, true], "out of range counts at its end");
});

test("checkpoints that make no sense are refused", () => {
  const cases: [checkpoint: object, text: RegExp][] = [
    [{ totalWeight: -1 }, /negative weight -1/],
    [{ totalWeight: 1, bucketWeights: { 176: 1 } }, /bucket 176 that is exceeding histogram buckets 176/],
    [{ totalWeight: 1, bucketWeights: { "-1": 1 } }, /negative bucket -1/],
  ];
  for (const [checkpoint, text] of cases) assert.throws(() => new DecayingHistogram(cpuBuckets).load(checkpoint), text);
  const empty = new DecayingHistogram(cpuBuckets);
  empty.load({});
  assert.equal(empty.isEmpty, true);
});
