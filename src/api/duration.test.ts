import assert from "node:assert/strict";
import { test } from "node:test";
import { age, humanDuration } from "./duration.ts";

test("humanDuration() keeps two or three figures", () => {
  const s = 1, m = 60, h = 3600, d = 24 * h, y = 365 * d;
  const cases: [seconds: number, text: string][] = [
    [-2, "<invalid>"],
    [-1.9, "0s"],
    [-0.5, "0s"],
    [0, "0s"],
    [0.9, "0s"],
    [119 * s, "119s"],
    [2 * m, "2m"],
    [2 * m + 30, "2m30s"],
    [10 * m - 1, "9m59s"],
    [10 * m, "10m"],
    [10 * m + 1, "10m"],
    [3 * h - 1, "179m"],
    [3 * h, "3h"],
    [3 * h + 59, "3h"],
    [3 * h + m, "3h1m"],
    [8 * h - 1, "7h59m"],
    [8 * h, "8h"],
    [2 * d - 1, "47h"],
    [2 * d, "2d"],
    [2 * d + h, "2d1h"],
    [8 * d - 1, "7d23h"],
    [8 * d, "8d"],
    [2 * y - 1, "729d"],
    [2 * y, "2y"],
    [2 * y + d, "2y1d"],
    [8 * y - 1, "7y364d"],
    [8 * y, "8y"],
    [30 * y, "30y"],
  ];
  for (const [seconds, text] of cases) assert.equal(humanDuration(seconds * 1000), text, `${seconds} s`);
});

test("age() of nothing is unknown", () => {
  assert.equal(age("2026-01-01T00:00:00Z", Date.UTC(2026, 0, 1, 0, 5)), "5m");
  assert.equal(age(undefined, 0), "<unknown>");
  assert.equal(age("", 0), "<unknown>");
});
