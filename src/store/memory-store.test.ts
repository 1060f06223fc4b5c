import assert from "node:assert/strict";
import { test } from "node:test";
import { limits } from "../base/limits.ts";
import { ParsedCache, StoredEntry } from "./entry.ts";
import type { Journal } from "./journal.ts";
import { createMemoryStore, type MemoryStoreOptions } from "./memory-store.ts";
import { type Entry, RevisionCompactedError, StorageBusyError, StorageError, type Store, type StoreEvent } from "./store.ts";

/** A store whose turns of the loop are taken one at a time. */
function stepped(options: MemoryStoreOptions = {}): { store: Store; turn: () => Promise<number> } {
  let turns: (() => void)[] = [];
  const store = createMemoryStore({ ...options, defer: (callback) => void turns.push(callback) });
  const turn = async () => {
    const now = turns;
    turns = [];
    for (const callback of now) callback();
    for (let i = 0; i < 5; i++) await Promise.resolve();
    return now.length;
  };
  return { store, turn };
}
const put = (store: Store, key: string, padding = ""): Promise<Entry> =>
  store.put(key, store.get(key)?.revision ?? 0, (revision) => ({ object: Object.freeze({ key, revision }), bytes: Buffer.from(JSON.stringify({ key, revision, padding })) }));

test("watchers are fed in slices, and all of one prefix share the very events", async () => {
  const { store, turn } = stepped({ fanOutSlice: 10 });
  const seen: (readonly StoreEvent[])[] = [];
  for (let i = 0; i < 35; i++) store.watch("/a/", store.revision, { onEvents: (events) => void seen.push(events), onEnd: assert.fail });
  store.watch("/b/", store.revision, { onEvents: () => assert.fail("not below its prefix"), onEnd: assert.fail });
  void put(store, "/a/1");
  const fed: number[] = [];
  while ((await turn()) > 0) fed.push(seen.length);
  assert.deepEqual(fed, [0, 10, 20, 30, 35]);
  assert.equal(new Set(seen.map((events) => events[0])).size, 1);
});

test("a watcher that is slow is ended, the others go on", async () => {
  const { store, turn } = stepped({ watcherQueueEvents: 5, watchWindowEvents: 100 });
  let [quick, slow] = [0, 0];
  let end: Error | undefined;
  const slowWatch = store.watch("/", store.revision, { onEvents: (events) => ((slow += events.length), false), onEnd: (error) => void (end = error) });
  store.watch("/", store.revision, { onEvents: (events) => void (quick += events.length), onEnd: assert.fail });
  for (let i = 0; i < 10; i++) {
    void put(store, `/k${i}`);
    while ((await turn()) > 0);
    if (i === 5) assert.ok(!end, "five may wait");
  }
  assert.equal(quick, 10);
  assert.equal(slow, 1);
  assert.ok(end instanceof RevisionCompactedError);
  slowWatch.resume();
  while ((await turn()) > 0);
  assert.equal(slow, 1, "nothing comes after the end");
});

test("a watcher that fails is ended alone", async () => {
  const { store, turn } = stepped();
  const ends: Error[] = [];
  let seen = 0;
  store.watch("/", store.revision, {
    onEvents() {
      throw new Error("a bug of its own");
    },
    onEnd: (error) => void ends.push(error),
  });
  store.watch("/", store.revision, { onEvents: (events) => void (seen += events.length), onEnd: assert.fail });
  void put(store, "/a");
  while ((await turn()) > 0);
  assert.equal(seen, 1);
  assert.deepEqual(ends.map(({ message }) => message), ["a bug of its own"]);
});

test("the window is bounded in bytes too", async () => {
  const { store, turn } = stepped({ watchWindowEvents: 1_000, watchWindowBytes: 5_000 });
  for (let i = 0; i < 20; i++) void put(store, `/k${i}`, "x".repeat(1_000));
  while ((await turn()) > 0);
  assert.equal(store.revision, 21);
  assert.equal(store.compactedRevision, 17, "four of about a kilobyte fit");
  assert.throws(() => store.rangeAt("/", 16), RevisionCompactedError);
  assert.equal(store.rangeAt("/", 17).length, 16);
});

test("a long backlog is handed over in parts, and a watch that begins behind is not ended for it", async () => {
  const { store, turn } = stepped({ watcherQueueEvents: 10, watchWindowEvents: 5_000 });
  for (let i = 0; i < 1_800; i++) void put(store, `/k${i}`);
  while ((await turn()) > 0);
  const parts: number[] = [];
  const watch = store.watch("/", 1, { onEvents: (events) => void parts.push(events.length), onEnd: assert.fail });
  assert.equal(watch.revision, 1);
  while ((await turn()) > 0);
  assert.deepEqual(parts, [500, 500, 500, 300]);
  assert.equal(watch.revision, store.revision);
});

test("an encode that throws uses no revision and blocks nobody", async () => {
  const { store, turn } = stepped();
  await assert.rejects(store.put("/a", 0, () => { throw new Error("cannot be encoded"); }), /cannot be encoded/);
  const written = put(store, "/a");
  while ((await turn()) > 0);
  assert.equal((await written).revision, 2);
});

test("what waits for the disk is bounded, whether it ends well or not", async () => {
  const appends: { resolve(): void; reject(error: Error): void }[] = [];
  const journal: Journal = { append: () => new Promise<void>((resolve, reject) => void appends.push({ resolve, reject })), close: async () => {} };
  const { store, turn } = stepped({ journal, waitingBytes: 1_000 });
  for (const end of ["resolve", "reject"] as const) {
    const waiting = [put(store, `/${end}/a`, "x".repeat(600)), put(store, `/${end}/b`, "x".repeat(600))];
    await assert.rejects(put(store, `/${end}/c`), StorageBusyError);
    await turn();
    appends.shift()![end](new StorageError("the disk is gone"));
    assert.deepEqual((await Promise.allSettled(waiting)).map(({ status }) => status), Array(2).fill(end === "resolve" ? "fulfilled" : "rejected"));
  }
  const last = put(store, "/last");
  await turn();
  appends.shift()!.resolve();
  assert.equal((await last).revision, 4);
});

test("what is large is parsed when it is asked for, and never kept", () => {
  const cache = new ParsedCache(16 * 1024 * 1024);
  const bytes = Buffer.from(JSON.stringify({ text: "x".repeat(limits.parsedObjectBytes) }));
  const entry = new StoredEntry(cache, "/large", 1, bytes);
  assert.equal(entry.object["text"], "x".repeat(limits.parsedObjectBytes));
  assert.equal(cache.bytes, 0);
  assert.equal(new StoredEntry(cache, "/small", 2, Buffer.from('{"a":1}')).object["a"], 1);
  assert.equal(cache.bytes, 7);
});

test("parsed forms are shared and frozen, and only so many are held", () => {
  const cache = new ParsedCache(1_000);
  const entries = Array.from({ length: 50 }, (_, i) => new StoredEntry(cache, `/k${i}`, i, Buffer.from(JSON.stringify({ i, deep: { list: [{ a: 1 }] }, padding: "x".repeat(80) }))));
  const hot = entries[0]!;
  const object = hot.object as { deep: { list: { a: number }[] } };
  for (const entry of entries) {
    assert.equal(entry.object, entry.object);
    assert.equal(hot.object, object, "what is used stays");
    assert.ok(cache.bytes <= 1_000 + entry.bytes.length);
  }
  assert.throws(() => void (object.deep.list[0]!.a = 2), TypeError);
});
