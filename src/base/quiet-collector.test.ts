import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "./clock.ts";
import { collectWhenQuiet } from "./quiet-collector.ts";

const mb = 1024 * 1024;

/** What is looked at every 5 s: how busy it was, how much is used then; and whether that is collected. */
const story: [busy: number, usedMb: number, collected: boolean][] = [
  [0.9, 80, false], // still starting
  [0.01, 80, true], // quiet for the first time: what the start left
  [0.01, 45, false], // little has come since
  [0.8, 200, false], // a burst is no time for it
  [0.06, 200, false],
  [0.01, 200, true],
  [0, 60, true], // of 40 MB that were left, 20 more: worth it
  [0, 51, false],
];

test("garbage is collected when it is quiet, and when it is worth it", () => {
  const clock = new FakeClock();
  let [busy, used, collected] = [1, 50 * mb, false];
  const stop = collectWhenQuiet(clock, { busy: () => busy, used: () => used, collect: () => void ([collected, used] = [true, 40 * mb]) });
  const seen = story.map(([share, usedMb]) => {
    [busy, used, collected] = [share, usedMb * mb, false];
    clock.advance(5_000);
    return collected;
  });
  deepEqual(seen, story.map(([, , wanted]) => wanted));
  stop();
  [busy, used, collected] = [0, 500 * mb, false];
  clock.advance(60_000);
  deepEqual(collected, false);
});
