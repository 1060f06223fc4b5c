import assert from "node:assert/strict";
import { test } from "node:test";
import { QuotaCounters } from "./counters.ts";

const hour = 3_600_000;
const noon = Date.UTC(2026, 5, 15, 12);

/** Time goes on by `pass`; `set` sets the clock that people look at. */
function world(max?: number) {
  let [wall, monotonic] = [noon, 0];
  const counters = new QuotaCounters({ now: () => wall, monotonicMs: () => monotonic }, () => {}, max);
  return {
    counters,
    pass: (ms: number) => void ((wall += ms), (monotonic += ms)),
    set: (ms: number) => void (wall = ms),
    /** How many of so many requests may go. */
    take: (times: number, limit = 10, key = "k") => Array.from({ length: times }, () => counters.take({ id: "q", unit: "hour", key, limit, cost: 1 })).filter(({ allowed }) => allowed).length,
  };
}

test("exactly the limit in a window, and again in the next", () => {
  const { take, pass } = world();
  assert.deepEqual([take(7), take(7), take(7)], [7, 3, 0]);
  pass(hour - 1);
  assert.equal(take(7), 0);
  pass(1);
  assert.deepEqual([take(7), take(7)], [7, 3]);
});

test("a request whose cost has no room costs nothing; what is charged is counted in any case", () => {
  const { counters } = world();
  const ask = { id: "q", unit: "day", key: "", limit: 10 } as const;
  assert.deepEqual(counters.take({ ...ask, cost: 7 }), { allowed: true, remaining: 3, resetMs: 12 * hour });
  assert.deepEqual(counters.take({ ...ask, cost: 4 }), { allowed: false, remaining: 3, resetMs: 12 * hour });
  assert.equal(counters.take({ ...ask, cost: 3 }).allowed, true);
  assert.equal(counters.take({ ...ask, cost: 0 }).allowed, false, "0 asks whether there is room for one");
  assert.deepEqual(counters.take({ ...ask, cost: 5, isCharge: true }), { allowed: true, remaining: 0, resetMs: 12 * hour });
  assert.deepEqual([...counters.counts("q")].map(({ count }) => count), [15]);
});

test("another limit begins nothing anew", () => {
  const { take } = world();
  assert.deepEqual([take(20, 10), take(20, 15), take(20, 5)], [10, 5, 0]);
});

test("a clock that is set back a little stays in its window", () => {
  const { take, pass, set } = world();
  pass(5_000);
  assert.equal(take(20), 10);
  set(noon - 30_000);
  assert.equal(take(20), 0, "the window before would have had room");
  set(noon + 10_000);
  assert.equal(take(20), 0, "and it is not entered again");
  set(noon + hour);
  assert.equal(take(20), 10);
});

test("a clock that is set on, and back again, gives nothing twice", () => {
  const { take, pass, set } = world();
  assert.equal(take(6), 6);
  pass(1_000);
  set(Date.UTC(2036, 5, 15, 12));
  assert.equal(take(3), 3, "it is another window, as far as anybody can tell");
  pass(1_000);
  set(noon + 2_000);
  assert.equal(take(20), 1, "six of this window, and three of meanwhile");
  set(noon + hour);
  assert.equal(take(20), 0, "nobody knows whether this window was one that the clock said before");
  pass(hour);
  assert.equal(take(20), 10, "no wrong year shuts anybody out for longer than two windows");
});

test("what is over is forgotten, and not because the clock says so alone", () => {
  const { counters, take, pass, set } = world();
  assert.equal(take(10), 10);
  set(noon + 50 * hour);
  counters.sweep();
  assert.equal(counters.size, 1);
  set(noon);
  assert.equal(take(10), 0);
  pass(hour);
  counters.sweep();
  assert.equal(counters.size, 0);
});

test("keys beyond what is known share one count, and those that are known keep theirs", () => {
  const { counters, take } = world(100);
  for (let i = 0; i < 100; i++) assert.equal(take(1, 2, `k${i}`), 1);
  assert.deepEqual([take(5, 2, "new"), take(5, 2, "newer")], [2, 0]);
  assert.equal(take(5, 2, "k7"), 1);
  assert.equal(counters.size, 101);
});

test("newcomers have their own again when windows have ended", () => {
  const { take, pass } = world(100);
  for (let i = 0; i < 100; i++) take(1, 2, `k${i}`);
  assert.equal(take(5, 2, "new"), 2);
  pass(hour);
  assert.deepEqual([take(5, 2, "a"), take(5, 2, "b")], [2, 2]);
});
