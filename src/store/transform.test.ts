import assert from "node:assert/strict";
import { test } from "node:test";
import { type Log, silentLog } from "../base/log.ts";
import type { JournalRecord, Recovered } from "./journal.ts";
import { createMemoryStore } from "./memory-store.ts";
import { type Store, StorageFullError } from "./store.ts";
import { type ScrubbingJournal, type Transform, TransformingJournal } from "./transform.ts";

/** A disk in memory that can be full, and whose scrubbing can fail. */
class PretendedDisk implements ScrubbingJournal {
  readonly values = new Map<string, { revision: number; bytes: Buffer }>();
  readonly log: string[] = [];
  isFull = false;
  scrubFails = false;

  async append(batch: readonly JournalRecord[]): Promise<void> {
    await Promise.resolve();
    if (this.isFull) throw new StorageFullError("the disk is full");
    for (const { type, key, revision, bytes } of batch) {
      if (type === "put") this.values.set(key, { revision, bytes });
      else this.values.delete(key);
    }
  }
  async scrub(): Promise<void> {
    this.log.push("scrub");
    if (this.scrubFails) throw new Error("no room");
  }
  soil(): void {
    this.log.push("soil");
  }
  async close(): Promise<void> {}
  recovered(): Recovered {
    return { revision: Math.max(1, ...[...this.values.values()].map(({ revision }) => revision)), objects: [...this.values].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => ({ key, ...value })) };
  }
}

/** Turns the bytes and puts a letter in front: as good as any cipher here. */
const by = (letter: string, also = ""): Transform => ({
  toDisk: (key, bytes) => (key.startsWith("/open/") ? { bytes, by: "" } : { bytes: Buffer.concat([Buffer.from(letter), bytes.toReversed()]), by: letter }),
  fromDisk(key, bytes) {
    const first = String.fromCharCode(bytes[0]!);
    if (first === "{") return { bytes, by: "" };
    if (![letter, ...also].includes(first)) throw new Error(`no key ${first}`);
    return { bytes: Buffer.from(bytes.subarray(1).toReversed()), by: first };
  },
  writerOf: (key) => (key.startsWith("/open/") ? "" : letter),
});

function open(disk: PretendedDisk, transform: Transform, options: { clean?: boolean; log?: Log } = {}): { store: Store; journal: TransformingJournal } {
  const journal = new TransformingJournal(disk, transform, options.log ?? silentLog, options.clean ?? true);
  const recovered = journal.recover(disk.recovered(), "FILE");
  return { journal, store: createMemoryStore({ journal, recovered }) };
}
const put = (store: Store, key: string, text = "x") => store.put(key, store.get(key)?.revision ?? 0, () => ({ bytes: Buffer.from(JSON.stringify({ text })), object: { text } }));
const remove = (store: Store, key: string) => store.delete(key, store.get(key)!.revision, () => ({ bytes: Buffer.from("{}"), object: {} }));
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("values lie on the disk as the transform makes them, and in memory as they were given", async () => {
  const disk = new PretendedDisk();
  const { store } = open(disk, by("a"));
  const seen: string[] = [];
  store.watch("/", store.revision, { onEvents: (events) => void seen.push(...events.map(({ entry }) => entry.bytes.toString())), onEnd() {} });
  await put(store, "/shut/s", "hello");
  await put(store, "/open/o", "hello");
  await settled();
  assert.equal(disk.values.get("/shut/s")!.bytes.toString(), 'a}"olleh":"txet"{');
  assert.equal(disk.values.get("/open/o")!.bytes.toString(), '{"text":"hello"}');
  assert.deepEqual(seen, ['{"text":"hello"}', '{"text":"hello"}']);
  assert.deepEqual(open(disk, by("a")).store.range("/").map(({ bytes }) => bytes.toString()), ['{"text":"hello"}', '{"text":"hello"}']);
  assert.throws(() => open(disk, by("b")), { code: "DATA_ENCRYPTED", message: 'an object in FILE cannot be read:\n  unable to transform key "/shut/s": no key a' });
});

test("what is made otherwise than it would be now is stale until it is durable, and then the file is scrubbed once", async () => {
  const disk = new PretendedDisk();
  const first = open(disk, by("a")).store;
  for (const name of ["one", "two", "three"]) await put(first, `/shut/${name}`);
  await put(first, "/open/o");
  const { store, journal } = open(disk, by("b", "a"));
  assert.deepEqual(disk.log.splice(0), ["soil"], "what it says of itself is no longer true");
  assert.deepEqual([...journal.staleBy()], [["a", 3]]);
  assert.deepEqual(["/shut/one", "/open/o", "/shut/absent"].map((key) => store.isStale(key)), [true, false, false]);

  disk.isFull = true;
  await assert.rejects(put(store, "/shut/one"), StorageFullError);
  assert.equal(store.isStale("/shut/one"), true, "refused: it lies there as before");
  disk.isFull = false;
  await put(store, "/shut/one");
  assert.equal(store.isStale("/shut/one"), false);
  await remove(store, "/shut/two");
  assert.deepEqual(disk.log, []);
  await put(store, "/shut/three");
  await settled();
  assert.deepEqual(disk.log.splice(0), ["scrub"]);
  await put(store, "/shut/three");
  await put(store, "/shut/four");
  assert.deepEqual([...journal.staleBy()], []);
  assert.deepEqual(disk.log, []);
});

test("a file that could not be scrubbed is scrubbed at the next start", async () => {
  const disk = new PretendedDisk();
  await put(open(disk, by("a")).store, "/shut/one");
  disk.scrubFails = true;
  const said: string[] = [];
  const { store } = open(disk, by("b", "a"), { log: { ...silentLog, warn: (message) => void said.push(message) } });
  await put(store, "/shut/one");
  await settled();
  assert.equal(said.length, 1);
  disk.scrubFails = false;
  disk.log.length = 0;
  // It bears no mark.
  open(disk, by("b"), { clean: false });
  assert.deepEqual(disk.log, ["scrub"]);
});

test("another transform is taken while writes are under way, unless it could not read one of them", async () => {
  const disk = new PretendedDisk();
  const { store, journal } = open(disk, by("a"));
  await put(store, "/shut/one");
  const reads = (...letters: string[]) => (made: string) => letters.includes(made);
  assert.deepEqual(journal.use(by("b"), reads("b", "")), { key: "/shut/one", by: "a" });
  await remove(store, "/shut/one");
  const late = put(store, "/shut/late");
  const flushed = store.flush();
  // The only value with the former key is not on the disk yet.
  assert.deepEqual(journal.use(by("b"), reads("b", "")), { key: "/shut/late", by: "a" });
  assert.equal(journal.use(by("b", "a"), reads("a", "b", "")), undefined);
  await Promise.all([late, flushed]);
  assert.equal(store.isStale("/shut/late"), true);
  assert.equal(String.fromCharCode(disk.values.get("/shut/late")!.bytes[0]!), "a");
  await put(store, "/shut/late");
  assert.equal(String.fromCharCode(disk.values.get("/shut/late")!.bytes[0]!), "b");
  assert.equal(store.isStale("/shut/late"), false);
});
