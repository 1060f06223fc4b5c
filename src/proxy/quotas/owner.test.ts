import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import { type Log, silentLog } from "../../base/log.ts";
import type { QuotaAsk } from "../../policy/quotas/counters.ts";
import { QuotaOwner } from "./owner.ts";

function dataDir(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "wherry-quotas-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [clock, file, told] = [new FakeClock(), join(folder, "quotas.counts"), [] as string[]];
  const tell = (message: string) => void told.push(message);
  const log: Log = { ...silentLog, warn: tell, error: tell };
  const start = () => {
    const owner = new QuotaOwner({ file, clock, log });
    t.after(() => owner.close());
    return owner;
  };
  return { folder, clock, file, told, start };
}

const asks = (times: number, rest: Partial<QuotaAsk> = {}): QuotaAsk[] => Array.from({ length: times }, () => ({ id: "plan/shop", unit: "month", key: "alice", limit: 100, cost: 1, ...rest }));
const allowed = (owner: QuotaOwner, list: QuotaAsk[]): number => owner.takeAll(list).filter((result) => result.allowed).length;

test("whoever comes after an owner that was killed goes on where that one was", (t) => {
  const { start, file } = dataDir(t);
  const first = start();
  assert.equal(allowed(first, asks(60)), 60);
  allowed(first, asks(3, { key: "bob\n\"ü" }));
  // Nothing is closed: a process that is killed closes nothing by itself either.
  const second = start();
  assert.equal(allowed(second, asks(60)), 40);
  assert.deepEqual(second.counts("plan/").map(({ key, count, unit }) => ({ key, count, unit })), [
    { key: "alice", count: 100, unit: "month" },
    { key: "bob\n\"ü", count: 3, unit: "month" },
  ]);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(allowed(start(), asks(5)), 0);
});

test("a last line that is torn costs what it said, and nothing else", (t) => {
  const { start, file, told } = dataDir(t);
  const first = start();
  for (let i = 0; i < 10; i++) allowed(first, asks(1));
  const { size } = statSync(file);
  truncateSync(file, size - 3);
  assert.equal(start().counts("")[0]!.count, 9);
  assert.deepEqual(told, []);
  assert.ok(readFileSync(file, "utf8").endsWith("\n"), "what is added stands on a line of its own");
  assert.equal(allowed(start(), asks(100)), 91);
});

test("a damaged line is told of, and those after it count", (t) => {
  const { start, file, told } = dataDir(t);
  const first = start();
  for (let i = 0; i < 10; i++) allowed(first, asks(1));
  const lines = readFileSync(file, "utf8").split("\n");
  lines[4] = lines[4]!.replace(/\d+\]\]$/, "999]]");
  writeFileSync(file, lines.join("\n"));
  appendFileSync(file, "{}\nno line of ours at all\n");
  assert.equal(start().counts("")[0]!.count, 10);
  assert.equal(told.length, 1);
  assert.match(told[0]!, /damaged/);
});

test("the file does not grow beyond what is needed, and what it holds is not lost on the way", (t) => {
  const { start, file } = dataDir(t);
  const owner = start();
  let most = 0;
  for (let i = 0; i < 400; i++) {
    allowed(owner, Array.from({ length: 200 }, (_, n) => asks(1, { key: `client ${n}`, limit: 1e9 })[0]!));
    most = Math.max(most, statSync(file).size);
  }
  assert.ok(most > 1024 * 1024 * 0.9 && most < 1024 * 1024 * 1.1, `${most} bytes at most`);
  assert.ok(statSync(file).size < 1024 * 1024);
  const counts = start().counts("plan/shop");
  assert.equal(counts.length, 200);
  assert.ok(counts.every(({ count }) => count === 400));
});

test("windows that are over are not kept", (t) => {
  const { start, clock } = dataDir(t);
  const first = start();
  allowed(first, asks(5, { unit: "minute" }));
  clock.advance(61_000);
  assert.deepEqual(first.counts(""), []);
  assert.equal(allowed(start(), asks(101, { unit: "minute" })), 100);
});

test("where nothing can be written it counts all the same, and says so once", (t) => {
  const { folder, clock, told } = dataDir(t);
  const owner = new QuotaOwner({ file: join(folder, "missing", "quotas.counts"), clock, log: { ...silentLog, error: (message) => void told.push(message) } });
  assert.deepEqual([allowed(owner, asks(60)), allowed(owner, asks(60)), allowed(owner, asks(1))], [60, 40, 0]);
  assert.equal(told.length, 1);
});

test("workers are not believed in what nobody can ask for", (t) => {
  const owner = dataDir(t).start();
  const wrong = [{ cost: -1 }, { cost: Number.NaN }, { cost: 0.5 }, { limit: Infinity }, { key: "k".repeat(5_000) }, { unit: "eon" as "day" }, { id: 7 as unknown as string }];
  for (const rest of wrong) assert.deepEqual(owner.takeAll(asks(1, rest)), [{ allowed: false, remaining: 0, resetMs: 0, isUnknown: true }], JSON.stringify(rest));
  assert.deepEqual(owner.counts(""), []);
});

test("a hundred thousand made-up keys take bounded room in memory and on the disk, which is said once; nobody who was known loses his count", (t) => {
  const { start, file, told } = dataDir(t);
  const owner = start();
  assert.equal(allowed(owner, asks(60)), 60);
  let shared = 0;
  for (let at = 0; at < 100_000; at += 1_000) shared += allowed(owner, Array.from({ length: 1_000 }, (_, i) => asks(1, { key: `attacker ${at + i}`, limit: 2 })[0]!));
  assert.equal(shared, 65_536 - 1 + 2, "each of those that had room, and two for all the others together");
  assert.equal(owner.counts("").length, 65_537);
  assert.deepEqual(told, ['a quota has more clients than are counted apart: newcomers share one count, "(others)", until windows end']);
  assert.equal(allowed(owner, asks(60)), 40);
  assert.ok(statSync(file).size < 65_537 * 100, `${statSync(file).size} bytes`);
  // What is refused is not written: a flood that goes on costs the disk nothing.
  const { size } = statSync(file);
  for (let i = 0; i < 100; i++) allowed(owner, asks(100, { key: `newer ${i}`, limit: 2 }));
  assert.equal(statSync(file).size, size);
});
