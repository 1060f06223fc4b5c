import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "../api/types.ts";
import { availableInMs, compareForDeletion, nextAvailableInMs } from "./pods.ts";

const nowMs = Date.UTC(2026, 0, 1, 12);
const ago = (seconds: number): string => new Date(nowMs - seconds * 1000).toISOString();
interface Traits {
  node?: boolean;
  phase?: string;
  readyFor?: number;
  cost?: number;
  restarts?: number;
  age?: number;
}
const pod = (name: string, { node = true, phase = "Running", readyFor, cost, restarts = 0, age = 1000 }: Traits): Pod =>
  ({
    metadata: { name, uid: name, creationTimestamp: ago(age), ...(cost !== undefined && { annotations: { "controller.kubernetes.io/pod-deletion-cost": String(cost) } }) },
    spec: node ? { nodeName: "wherry" } : {},
    status: { phase, containerStatuses: [{ restartCount: restarts }], conditions: readyFor === undefined ? [] : [{ type: "Ready", status: "True", lastTransitionTime: ago(readyFor) }] },
  }) as unknown as Pod;

test("which of two pods goes first", () => {
  const cases: [why: string, first: Traits, second: Traits][] = [
    ["unassigned before assigned", { node: false }, { phase: "Pending" }],
    ["pending before running", { phase: "Pending" }, { phase: "Running" }],
    ["not ready before ready, whatever it costs", { cost: 100 }, { readyFor: 500, cost: -100 }],
    ["the cheap before the dear", { readyFor: 500, cost: -1 }, { readyFor: 5 }],
    ["ready lately before ready long", { readyFor: 5 }, { readyFor: 500 }],
    ["often restarted before never", { readyFor: 500, restarts: 3 }, { readyFor: 500 }],
    ["young before old", { readyFor: 3, age: 10 }, { readyFor: 3, age: 1000 }],
  ];
  for (const [why, first, second] of cases) {
    const [a, b] = [pod("zz", first), pod("aa", second)];
    assert.deepEqual([b, a].sort(compareForDeletion(nowMs)).map(({ metadata }) => metadata.name), ["zz", "aa"], why);
    assert.deepEqual([a, b].sort(compareForDeletion(nowMs)).map(({ metadata }) => metadata.name), ["zz", "aa"], `${why}, the other way round`);
  }
  // Of about the same age: by name, whatever the seconds say.
  assert.ok(compareForDeletion(nowMs)(pod("a", { readyFor: 600 }), pod("b", { readyFor: 590 })) < 0);
  assert.ok(compareForDeletion(nowMs)(pod("a", { readyFor: 590 }), pod("b", { readyFor: 600 })) < 0);
});

test("a pod is available when it has been ready long enough", () => {
  const cases: [readyFor: number | undefined, minReadySeconds: number, inMs: number | undefined][] = [
    [undefined, 0, undefined],
    [0, 0, 0],
    [4, 10, 6000],
    [10, 10, 0],
  ];
  for (const [readyFor, minReadySeconds, inMs] of cases) assert.equal(availableInMs(pod("a", readyFor === undefined ? {} : { readyFor }), minReadySeconds, nowMs), inMs);
  assert.equal(nextAvailableInMs([pod("a", { readyFor: 20 }), pod("b", { readyFor: 4 }), pod("c", { readyFor: 7 })], 10, nowMs), 3000);
});
