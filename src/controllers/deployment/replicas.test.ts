import assert from "node:assert/strict";
import { test } from "node:test";
import type { Deployment, ReplicaSet } from "../../api/types.ts";
import { fenceposts, maxUnavailable, newSetReplicas, proportionalSizes, scaledValue } from "./replicas.ts";

const deployment = (replicas: number, maxSurge: number | string = "25%", unavailable: number | string = "25%"): Deployment =>
  ({ metadata: { name: "web" }, spec: { replicas, strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge, maxUnavailable: unavailable } } } }) as unknown as Deployment;
const set = (replicas: number, age = 0, max?: number): ReplicaSet =>
  ({ metadata: { name: `set-${age}`, creationTimestamp: new Date(1e12 - age * 1000).toISOString(), annotations: max === undefined ? {} : { "deployment.kubernetes.io/max-replicas": String(max) } }, spec: { replicas } }) as unknown as ReplicaSet;

test("percentages: the surge is rounded up, the missing down, never both nothing", () => {
  const cases: [replicas: number, surge: number | string, unavailable: number | string, expected: [number, number]][] = [
    [10, "25%", "25%", [3, 2]],
    [3, "25%", "25%", [1, 0]],
    [1, "25%", "25%", [1, 0]],
    [4, 0, 0, [0, 1]],
    [3, 0, "25%", [0, 1]],
    [5, "100%", "0%", [5, 0]],
    [2, 7, 5, [7, 5]],
  ];
  for (const [replicas, surge, unavailable, [maxSurge, most]] of cases) assert.deepEqual(fenceposts(deployment(replicas, surge, unavailable)), { maxSurge, maxUnavailable: most });
  assert.equal(maxUnavailable(deployment(2, 7, 5)), 2, "no more can be missing than there are");
  assert.equal(maxUnavailable(deployment(0, 1, 1)), 0);
  assert.deepEqual(fenceposts({ spec: { replicas: 5, strategy: { type: "Recreate" } } } as Deployment), { maxSurge: 0, maxUnavailable: 0 });
  assert.equal(scaledValue("33%", 10, true), 4);
});

test("how far the new set may grow", () => {
  const cases: [replicas: number, surge: number, old: number, now: number, expected: number][] = [
    [10, 3, 10, 0, 3],
    [10, 3, 8, 3, 5],
    [10, 3, 0, 5, 10],
    [10, 0, 10, 0, 0],
    [1, 1, 1, 0, 1],
  ];
  for (const [replicas, surge, old, now, expected] of cases) assert.equal(newSetReplicas(deployment(replicas, surge, 1), [set(old), set(now)], now), expected, `${replicas}+${surge}, ${old} old, ${now} new`);
});

test("scaling in the middle of a roll-out keeps the ratio", () => {
  const cases: [why: string, replicas: number, sizes: number[], max: number, expected: number[]][] = [
    // Newest first. Upstream's own example: 10 replicas with surge 3 at 8 old and 5 new, scaled to 15.
    ["up", 15, [5, 8], 13, [7, 11]],
    ["down", 5, [5, 8], 13, [3, 5]],
    ["to nothing", 0, [5, 8], 13, [0, 0]],
    ["nothing to do", 10, [5, 8], 13, [5, 8]],
    ["what is left over goes to the largest", 11, [5, 5, 3], 13, [6, 5, 3]],
  ];
  for (const [why, replicas, sizes, max, expected] of cases) {
    const sets = sizes.map((size, index) => set(size, index, max));
    const result = proportionalSizes(deployment(replicas, 3, 2), sets);
    assert.deepEqual(sets.map((one) => result.get(one)), expected, why);
    const allowed = replicas > 0 ? replicas + 3 : 0;
    assert.equal(expected.reduce((a, b) => a + b, 0), allowed, why);
  }
});
