import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../src/base/clock.ts";
import { type Random, randomInt, seededRandom } from "../../src/base/random.ts";
import type { JournalRecord } from "../../src/store/journal.ts";
import { createMemoryStore } from "../../src/store/memory-store.ts";
import { type Entry, KeyConflictError, RevisionCompactedError, StorageError, type Store, type StoreEvent, type Watch } from "../../src/store/store.ts";
import { FaultyJournal, recover } from "../../src/store/testing/faulty-journal.ts";

/**
 * The store over a disk that is slow, refuses and loses power, on a clock and a loop that the seed drives. After
 * every step the world is compared with a model that is nothing but the list of durable changes.
 *
 *   SEED=7 node --test test/simulation/store.test.ts      runs one seed again
 */
const seeds = process.env["SEED"] ? [Number(process.env["SEED"])] : Array.from({ length: process.env["WHERRY_CONFORMANCE"] ? 2_000 : 120 }, (_, i) => i + 1);
const stepsPerLife = 250;
const livesPerSeed = 3;
const prefixes = ["/core/pods/", "/core/pods/a/", "/core/", "/apps/deployments/", "/"];
const keys = ["a", "b"].flatMap((namespace) => [1, 2, 3, 4].flatMap((n) => [`/core/pods/${namespace}/p${n}`, `/apps/deployments/${namespace}/d${n}`]));

for (const seed of seeds) {
  test(`seed ${seed}`, async () => {
    const random = seededRandom(seed);
    let disk: JournalRecord[][] = [];
    let acknowledged: Acknowledged[] = [];
    for (let life = 0; life < livesPerSeed; life++) {
      const simulation = new Simulation(random, disk);
      simulation.checkRecovery(acknowledged);
      for (let step = 0; step < stepsPerLife; step++) {
        simulation.step();
        await simulation.settle();
        simulation.checkReads();
      }
      if (life === livesPerSeed - 1) await simulation.quiesce();
      ({ disk, acknowledged } = simulation.crash());
    }
  });
}

interface Acknowledged {
  type: "put" | "delete";
  key: string;
  revision: number;
  text: string;
}

class Simulation {
  readonly #random: Random;
  readonly #clock = new FakeClock();
  readonly #journal: FaultyJournal;
  readonly #store: Store;
  /** Turns of the loop that somebody has asked for. */
  #turns: (() => void)[] = [];
  /** All that was acknowledged, in order: with a store that reads only what is durable, this is what can be read. */
  readonly #changes: Acknowledged[] = [];
  readonly #base: Map<string, { revision: number; text: string }>;
  readonly #baseRevision: number;
  readonly #watches = new Set<SimulatedWatch>();
  #counter = 0;
  #refused = 0;

  constructor(random: Random, disk: JournalRecord[][]) {
    this.#random = random;
    this.#journal = new FaultyJournal({ clock: this.#clock, random, faults: { refuse: 0.05, delayMs: 20 }, disk });
    const recovered = recover(disk);
    this.#base = new Map([...recovered.objects].map(({ key, revision, bytes }) => [key, { revision, text: bytes.toString() }]));
    this.#baseRevision = Math.max(1, recovered.revision);
    const small = { watchWindowEvents: 30, watcherQueueEvents: 12, fanOutSlice: 2, parsedObjectsBytes: 200 };
    this.#store = createMemoryStore({ journal: this.#journal, recovered, defer: (callback) => void this.#turns.push(callback), ...small });
  }

  /** Right after a start: exactly what the disk held; every acknowledged write of the life before, or a later one, is there. */
  checkRecovery(before: readonly Acknowledged[]): void {
    assert.equal(this.#store.revision, this.#baseRevision);
    assert.deepEqual(snapshot(this.#store.range("/")), [...this.#base].map(([key, value]) => ({ key, ...value })).sort(byKey));
    const last = new Map(before.map((write) => [write.key, write]));
    for (const write of last.values()) {
      assert.ok(this.#store.revision >= write.revision, `revision ${write.revision} was acknowledged and is lost`);
      const found = this.#store.get(write.key);
      if (write.type === "put") assert.ok(found === undefined ? this.#store.revision > write.revision : found.revision >= write.revision, `${write.key} at ${write.revision} was acknowledged and is lost`);
      else assert.ok(found === undefined || found.revision > write.revision, `${write.key} was deleted at ${write.revision} and is back`);
      if (found?.revision === write.revision) assert.equal(found.bytes.toString(), write.text);
    }
    if (this.#baseRevision > 1) assert.throws(() => this.#store.watch("/", this.#baseRevision - 1, { onEvents() {}, onEnd() {} }), RevisionCompactedError);
  }

  step(): void {
    const dice = this.#random.next();
    if (dice < 0.45) this.#write();
    else if (dice < 0.6) this.#clock.advance(this.#random.next() * 15);
    else if (dice < 0.85) this.#turn();
    else if (dice < 0.9) this.#watch();
    else if (dice < 0.95) this.#pick()?.wake();
    else this.#checkPast();
  }

  /** Promises answer between steps, not within them. */
  async settle(): Promise<void> {
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }

  #turn(): void {
    for (const callback of this.#turns.splice(0)) callback();
  }

  #pick(): SimulatedWatch | undefined {
    return [...this.#watches][randomInt(this.#random, Math.max(1, this.#watches.size))];
  }

  #write(): void {
    const key = keys[randomInt(this.#random, keys.length)]!;
    const present = this.#store.get(key)?.revision ?? 0;
    const expected = this.#random.next() < 0.1 ? randomInt(this.#random, this.#store.revision + 3) : present;
    const type = expected > 0 && this.#random.next() < 0.3 ? "delete" : "put";
    const value = ++this.#counter;
    let text = "";
    this.#store[type](key, expected, (revision) => {
      const object = { key, value, revision };
      text = JSON.stringify(object);
      return { object: Object.freeze(object), bytes: Buffer.from(text) };
    }).then(
      (entry) => {
        assert.equal(entry.bytes.toString(), text);
        this.#changes.push({ type, key, revision: entry.revision, text });
      },
      (error: Error) => {
        if (error instanceof StorageError) this.#refused++;
        else if (!(error instanceof KeyConflictError)) throw error;
        else assert.notEqual(error.actual, expected);
      },
    );
  }

  #stateAt(revision: number): Map<string, { revision: number; text: string }> {
    const state = new Map(this.#base);
    for (const change of this.#changes) {
      if (change.revision > revision) break;
      if (change.type === "put") state.set(change.key, change);
      else state.delete(change.key);
    }
    return state;
  }

  #expected(prefix: string, revision: number): { key: string; revision: number; text: string }[] {
    return [...this.#stateAt(revision)].filter(([key]) => key.startsWith(prefix)).map(([key, { revision, text }]) => ({ key, revision, text })).sort(byKey);
  }

  checkReads(): void {
    const prefix = prefixes[randomInt(this.#random, prefixes.length)]!;
    const expected = this.#expected(prefix, this.#store.revision);
    assert.deepEqual(snapshot(this.#store.range(prefix)), expected);
    assert.equal(this.#store.count(prefix), expected.length);
    assert.equal(this.#store.revision, this.#changes.at(-1)?.revision ?? this.#baseRevision);
    const from = keys[randomInt(this.#random, keys.length)]!;
    const limit = 1 + randomInt(this.#random, 4);
    assert.deepEqual(snapshot(this.#store.range(prefix, { startKey: from, limit })), expected.filter(({ key }) => key >= from).slice(0, limit));
    assert.equal(this.#store.count(prefix, from), expected.filter(({ key }) => key >= from).length);
  }

  /** A list at an older revision, in pages, is what was there then; or it is refused because it is too old. */
  #checkPast(): void {
    const revision = Math.max(1, this.#store.revision - randomInt(this.#random, 40));
    const prefix = prefixes[randomInt(this.#random, prefixes.length)]!;
    if (revision < this.#store.compactedRevision) return void assert.throws(() => this.#store.rangeAt(prefix, revision), RevisionCompactedError);
    const limit = 1 + randomInt(this.#random, 5);
    const listed: Entry[] = [];
    for (let startKey: string | undefined = prefix; startKey !== undefined; ) {
      const page: Entry[] = this.#store.rangeAt(prefix, revision, { startKey, limit });
      assert.ok(page.length <= limit);
      listed.push(...page);
      startKey = page.length < limit ? undefined : `${page.at(-1)!.key}\0`;
    }
    assert.deepEqual(snapshot(listed), this.#expected(prefix, revision));
  }

  #watch(): void {
    if (this.#watches.size > 6) {
      const old = this.#pick()!;
      old.close();
      this.#watches.delete(old);
    }
    const prefix = prefixes[randomInt(this.#random, prefixes.length)]!;
    const from = Math.max(1, this.#store.revision - randomInt(this.#random, 40));
    if (from < this.#store.compactedRevision) return void assert.throws(() => this.#store.watch(prefix, from, { onEvents() {}, onEnd() {} }), RevisionCompactedError);
    this.#watches.add(new SimulatedWatch(this.#store, prefix, from, this.#random));
  }

  #checkWatches(complete: boolean): void {
    for (const watch of this.#watches) {
      const upTo = complete && !watch.error ? this.#store.revision : watch.upTo;
      const expected = this.#changes.filter(({ key, revision }) => key.startsWith(watch.prefix) && revision > watch.from && revision <= upTo);
      assert.deepEqual(watch.seen.map(({ type, entry }) => ({ type, key: entry.key, revision: entry.revision, text: entry.bytes.toString() })), expected);
      for (const { entry, previous } of watch.seen) {
        const before = this.#stateAt(entry.revision - 1).get(entry.key);
        assert.deepEqual(previous && { revision: previous.revision, text: previous.bytes.toString() }, before && { revision: before.revision, text: before.text });
        assert.deepEqual(entry.object, JSON.parse(entry.bytes.toString()));
      }
      if (watch.error) assert.ok(watch.error instanceof RevisionCompactedError);
    }
  }

  /** Everything on its way arrives, and every watcher that was not ended has seen all. */
  async quiesce(): Promise<void> {
    for (let i = 0; i < 400; i++) {
      this.#clock.advance(50);
      await this.settle();
      this.#turn();
      for (const watch of this.#watches) watch.wake(true);
      await this.settle();
    }
    assert.equal(this.#turns.length, 0);
    this.#checkWatches(true);
    for (const watch of this.#watches) if (!watch.error) assert.equal(watch.revision, this.#store.revision);
    assert.ok(this.#changes.length > 20 && this.#refused >= 0);
  }

  crash(): { disk: JournalRecord[][]; acknowledged: Acknowledged[] } {
    this.#checkWatches(false);
    return { disk: this.#journal.crash(), acknowledged: this.#changes };
  }
}

/** A watcher with moods: it takes everything, or says "enough" and sleeps until woken. */
class SimulatedWatch {
  readonly prefix: string;
  readonly from: number;
  readonly seen: StoreEvent[] = [];
  error: Error | undefined;
  #watch: Watch;
  #closed = false;
  #patient = false;

  constructor(store: Store, prefix: string, from: number, random: Random) {
    this.prefix = prefix;
    this.from = from;
    this.#watch = store.watch(prefix, from, {
      onEvents: (events) => {
        assert.ok(!this.#closed && !this.error, "nothing comes after the end");
        assert.ok(events.length > 0);
        this.seen.push(...events);
        return this.#patient || random.next() < 0.6;
      },
      onEnd: (error) => {
        assert.ok(!this.#closed && !this.error);
        this.error = error;
      },
    });
  }
  get revision(): number {
    return this.#watch.revision;
  }
  /** What this watcher must have seen: all that it claims to be complete up to. */
  get upTo(): number {
    return this.error || this.#closed ? (this.seen.at(-1)?.entry.revision ?? this.from) : this.#watch.revision;
  }
  wake(patient = false): void {
    this.#patient = patient;
    this.#watch.resume();
  }
  close(): void {
    this.#watch.close();
    this.#closed = true;
  }
}

const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1);
const snapshot = (entries: readonly Entry[]) => entries.map(({ key, revision, bytes }) => ({ key, revision, text: bytes.toString() }));
