import assert from "node:assert/strict";
import { test } from "node:test";
import { nextStepMs, type SlowStart, warmth } from "./slow-start.ts";

const minute: SlowStart = { windowMs: 60_000 };
const cases: [what: string, config: SlowStart, ageMs: number, share: number][] = [
  ["just come", minute, 0, 0.1],
  ["at a tenth", minute, 6_000, 0.1],
  ["half way", minute, 30_000, 0.5],
  ["between two steps", minute, 30_900, 0.5],
  ["at the end", minute, 60_000, 1],
  ["one that was always there", minute, Infinity, 1],
  ["never nothing", { windowMs: 60_000, minPercent: 1 }, 0, 0.01],
  ["faster at first", { windowMs: 60_000, aggression: 2 }, 15_000, 0.48],
  ["whole at once", { windowMs: 60_000, minPercent: 100 }, 0, 1],
];
for (const [what, config, ageMs, share] of cases) test(`slow start: ${what}`, () => assert.ok(Math.abs(warmth(config, ageMs) - share) < 0.02, String(warmth(config, ageMs))));

test("slow start: the next step is when there is more", () => {
  for (let age = 0; age < 60_000; age += 777) {
    const next = age + nextStepMs(minute, age);
    assert.ok(warmth(minute, next + 1e-6) > warmth(minute, age) || warmth(minute, next) === 0.1, String(age));
  }
});
