import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { FakeClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Random, randomInt } from "../../src/base/random.ts";
import type { QuotaResult, QuotaUnit } from "../../src/policy/exchange.ts";
import type { QuotaAsk } from "../../src/policy/quotas/counters.ts";
import { windowOf } from "../../src/policy/quotas/windows.ts";
import { QuotaAsker } from "../../src/proxy/quotas/asker.ts";
import { QuotaOwner } from "../../src/proxy/quotas/owner.ts";
import { always, between, oneOf } from "./policy-world.ts";

/**
 * Quotas are exact: workers that die, an owner that dies and comes back with its file, messages that take their time, clocks that are set.
 *
 *   SEED=7 node --test test/simulation/quotas.test.ts      runs one seed again
 */
const folder = mkdtempSync(join(tmpdir(), "wherry-quotas-"));
after(() => rmSync(folder, { recursive: true, force: true }));
let files = 0;

class Worker {
  isAlive = true;
  readonly asker: QuotaAsker;
  #turn: (() => void)[] = [];
  constructor(world: World) {
    this.asker = new QuotaAsker({
      ask: (asks, reply) => world.deliver(this, asks, reply),
      nowMs: () => world.clock.monotonicMs(),
      setTimer: (ms, go) => world.clock.setTimer(ms, go),
      soon: (go) => void this.#turn.push(go),
    });
  }
  endTurn(): void {
    for (const go of this.#turn.splice(0)) if (this.isAlive) go();
  }
}

class World {
  readonly clock = new FakeClock(Date.UTC(2026, 10, 30, 23, 58));
  readonly #random: Random;
  readonly #file = join(folder, `${++files}.counts`);
  readonly unit: QuotaUnit;
  readonly limit: number;
  readonly #delayMs: number;
  /** How far the clock that people look at is from time itself. */
  stepMs = 0;
  workers: Worker[];
  #owner: QuotaOwner;
  /** By key: asked, and let go by a worker that lived, by the window that the clock said when it was counted: the latest so far. */
  readonly let = new Map<string, number>();
  readonly asked = new Map<string, number>();
  /** Windows in which something was counted. */
  readonly windows = new Set<number>();
  #latest = -Infinity;

  constructor(random: Random, { delayMs }: { delayMs: number }) {
    this.#random = random;
    this.#delayMs = delayMs;
    this.unit = oneOf(random, ["second", "minute", "hour", "day", "week", "month", "year"] as const);
    this.limit = between(random, 1, 60);
    this.#owner = this.#start();
    this.workers = Array.from({ length: between(random, 1, 3) }, () => new Worker(this));
  }
  wallMs(): number {
    return this.clock.now() + this.stepMs;
  }
  #start(): QuotaOwner {
    return new QuotaOwner({ file: this.#file, clock: { now: () => this.wallMs(), monotonicMs: () => this.clock.monotonicMs() }, log: silentLog });
  }

  /** A message there and one back, each as late as it likes; neither arrives at somebody who has died. */
  deliver(worker: Worker, asks: QuotaAsk[], reply: (results: readonly QuotaResult[]) => void): void {
    const later = (go: () => void) => void (this.#delayMs === 0 ? go() : this.clock.setTimer(randomInt(this.#random, this.#delayMs), go));
    const owner = this.#owner;
    later(() => {
      if (!worker.isAlive || owner !== this.#owner) return;
      const results = owner.takeAll(asks);
      const { startMs } = windowOf(this.unit, this.wallMs());
      this.windows.add(startMs);
      this.#latest = Math.max(this.#latest, startMs);
      const window = this.#latest;
      for (const { key } of asks) add(this.asked, `${key} ${window}`);
      later(() => {
        if (!worker.isAlive) return;
        for (const [i, { allowed }] of results.entries()) if (allowed) add(this.let, `${asks[i]!.key} ${window}`);
        reply(results);
      });
    });
  }

  request(): void {
    const worker = oneOf(this.#random, this.workers);
    worker.asker.quota("q", { limit: this.limit, unit: this.unit }).take(oneOf(this.#random, ["a", "a", "b"]), 1, () => {});
    if (this.#random.next() < 0.5) worker.endTurn();
  }
  killWorker(): void {
    const place = randomInt(this.#random, this.workers.length);
    this.workers[place]!.isAlive = false;
    this.workers[place] = new Worker(this);
  }
  /** With it dies everybody; the machine's end may tear what was written last. */
  killOwner(): void {
    for (const worker of this.workers) worker.isAlive = false;
    const torn = this.#random.next();
    if (torn < 0.3) appendFileSync(this.#file, '0badc0de [[0,17672256');
    this.#owner = this.#start();
    this.workers = this.workers.map(() => new Worker(this));
  }
  stepClock(): void {
    const { startMs, endMs } = windowOf(this.unit, this.wallMs());
    this.stepMs += Math.round((this.#random.next() - 0.5) * 2 * (endMs - startMs - 1));
  }
  settle(): void {
    for (const worker of this.workers) worker.endTurn();
    this.clock.advance(20_000);
  }
}
function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
/** Most often a little later, now and then in another window. */
function pass(world: World, random: Random): void {
  const { startMs, endMs } = windowOf(world.unit, world.wallMs());
  world.clock.advance(random.next() < 0.02 ? Math.ceil(random.next() * (endMs - startMs)) : randomInt(random, 20));
}

always("quotas: without faults exactly the limit goes through in each window", (random) => {
  const world = new World(random, { delayMs: 0 });
  for (let i = 0; i < 1_500; i++) {
    world.request();
    // A window that ends with requests on their way would count them in the next.
    for (const worker of world.workers) worker.endTurn();
    pass(world, random);
  }
  assert.ok(world.asked.size > 0);
  // A worker remembers for a moment that nothing is left: what was asked of it then never came to be counted.
  for (const [key, asked] of world.asked) assert.equal(world.let.get(key) ?? 0, Math.min(world.limit, asked), `${key} of ${world.limit} a ${world.unit}`);
});

always("quotas: whatever dies, and however late messages are, never more than the limit goes through", (random) => {
  const world = new World(random, { delayMs: oneOf(random, [0, 5, 200]) });
  for (let i = 0; i < 1_500; i++) {
    const what = random.next();
    if (what < 0.9) world.request();
    else if (what < 0.905) world.killOwner();
    else if (what < 0.92) world.killWorker();
    else pass(world, random);
  }
  world.settle();
  assert.ok(world.let.size > 0);
  for (const [key, count] of world.let) assert.ok(count <= world.limit, `${key}: ${count} of ${world.limit} a ${world.unit}`);
});

always("quotas: nor when the clock is set back and on", (random) => {
  const world = new World(random, { delayMs: oneOf(random, [0, 5]) });
  const startedMs = world.clock.now();
  for (let i = 0; i < 1_500; i++) {
    const what = random.next();
    if (what < 0.9) world.request();
    else if (what < 0.91) world.stepClock();
    else if (what < 0.915) world.killOwner();
    else pass(world, random);
  }
  world.settle();
  for (const key of ["a", "b"]) {
    const all = [...world.let].reduce((sum, [name, count]) => (name.startsWith(key) ? sum + count : sum), 0);
    // February is the shortest month.
    const { startMs, endMs } = windowOf(world.unit, Date.UTC(2026, 1));
    // One for each window that the clock ever said, and for each that has really passed.
    const most = world.limit * (world.windows.size + Math.floor((world.clock.now() - startedMs) / (endMs - startMs)));
    assert.ok(all <= most, `${key}: ${all}, not ${most}, in ${world.windows.size} windows of ${world.limit} a ${world.unit}`);
  }
});

always("quotas: a clock that is only ever set back, by whatever, gives nothing more in a window", (random) => {
  const world = new World(random, { delayMs: 0 });
  const { startMs } = windowOf(world.unit, world.wallMs());
  const lengthMs = windowOf(world.unit, world.wallMs()).endMs - startMs;
  // Counted out, and then back again and again: each time before anything could have ended.
  for (let i = 0; i < 200; i++) {
    world.request();
    for (const worker of world.workers) worker.endTurn();
    if (random.next() < 0.2) world.stepMs -= Math.ceil(random.next() * 3 * lengthMs);
    world.clock.advance(randomInt(random, 3));
  }
  const all = (key: string) => [...world.let].reduce((sum, [name, count]) => (name.startsWith(key) ? sum + count : sum), 0);
  for (const key of ["a", "b"]) assert.ok(all(key) <= world.limit, `${key}: ${all(key)} of ${world.limit} a ${world.unit}`);
});
