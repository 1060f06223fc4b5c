import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import type { QuotaResult } from "../../policy/exchange.ts";
import { type QuotaAsk, QuotaCounters } from "../../policy/quotas/counters.ts";
import { QuotaAsker } from "./asker.ts";

function world() {
  const clock = new FakeClock();
  const counters = new QuotaCounters(clock);
  const [messages, turns] = [[] as QuotaAsk[][], [] as (() => void)[]];
  let answer = async (asks: QuotaAsk[]): Promise<QuotaResult[]> => asks.map((ask) => counters.take(ask));
  const asker = new QuotaAsker({ ask: (asks, reply) => void (messages.push(asks), void answer(asks).then(reply, () => reply([]))), nowMs: () => clock.monotonicMs(), setTimer: (ms, go) => clock.setTimer(ms, go), soon: (go) => void turns.push(go) });
  return {
    clock,
    messages,
    asker,
    /** Instead of an owner that counts. */
    answerWith: (other: typeof answer) => void (answer = other),
    turn: async () => {
      for (const go of turns.splice(0)) go();
      await new Promise(setImmediate);
    },
  };
}

test("what requests of one turn ask goes in one message, and each gets its own answer", async () => {
  const { asker, messages, turn } = world();
  const [a, b] = [asker.quota("a", { limit: 2, unit: "hour" }), asker.quota("b", { limit: 1, unit: "day" })];
  const answers: string[] = [];
  for (let i = 0; i < 3; i++) a.take("k", 1, ({ allowed, remaining }) => answers.push(`a ${allowed} ${remaining}`));
  b.take("k", 1, ({ allowed, remaining }) => answers.push(`b ${allowed} ${remaining}`));
  b.charge("k", 4);
  assert.deepEqual(answers, []);
  await turn();
  assert.deepEqual(answers, ["a true 1", "a true 0", "a false 0", "b true 0"]);
  assert.deepEqual(messages.map((asks) => asks.length), [5]);
});

test("a key without anything left is asked for once a second, until its window ends", async () => {
  const { asker, messages, clock, turn } = world();
  const quota = asker.quota("a", { limit: 1, unit: "minute" });
  const results: QuotaResult[] = [];
  const take = async () => {
    quota.take("k", 1, (result) => results.push(result));
    await turn();
  };
  await take();
  for (let i = 0; i < 100; i++) await take();
  assert.equal(messages.length, 2, "one that was let go, one that was refused");
  clock.advance(999);
  await take();
  assert.equal(messages.length, 2);
  assert.equal(results.at(-1)!.resetMs, 60_000 - 999);
  clock.advance(1);
  await take();
  assert.equal(messages.length, 3);
  clock.advance(59_000);
  await take();
  assert.equal(results.at(-1)!.allowed, true, "a new window");
});

test("one that only asks for too much at once is not remembered", async () => {
  const { asker, turn } = world();
  const quota = asker.quota("a", { limit: 5, unit: "minute" });
  const allowed: boolean[] = [];
  for (const cost of [3, 3, 2]) {
    quota.take("k", cost, (result) => allowed.push(result.allowed));
    await turn();
  }
  assert.deepEqual(allowed, [true, false, true]);
});

test("nobody is let through where nobody answers, and an answer that comes late is no second one", async () => {
  const { asker, clock, turn, answerWith } = world();
  const quota = asker.quota("a", { limit: 5, unit: "minute" });
  const results: QuotaResult[] = [];
  const late = Promise.withResolvers<QuotaResult[]>();
  answerWith(() => late.promise);
  quota.take("k", 1, (result) => results.push(result));
  await turn();
  clock.advance(4_999);
  assert.equal(results.length, 0);
  clock.advance(1);
  assert.deepEqual(results, [{ allowed: false, remaining: 0, resetMs: 0, isUnknown: true }]);
  late.resolve([{ allowed: true, remaining: 4, resetMs: 1 }]);
  answerWith(() => Promise.reject(new Error("the other process is gone")));
  quota.take("k", 1, (result) => results.push(result));
  await turn();
  assert.deepEqual(results.map(({ isUnknown }) => isUnknown), [true, true]);
});

test("long keys and secret ones are known by their hash", async () => {
  const { asker, messages, turn } = world();
  const [open, secret] = [asker.quota("a", { limit: 5, unit: "minute" }), asker.quota("b", { limit: 5, unit: "minute", hidesKeys: true })];
  for (const key of ["alice", "x".repeat(5_000), `${"x".repeat(4_999)}y`]) open.take(key, 1, () => {});
  secret.take("Bearer token", 1, () => {});
  await turn();
  const keys = messages[0]!.map(({ key }) => key);
  assert.equal(keys[0], "alice");
  assert.ok(keys.slice(1).every((key) => /^sha256:[\w-]{43}$/.test(key)), keys.join(" "));
  assert.equal(new Set(keys).size, 4);
});
