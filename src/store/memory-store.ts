import { WherryError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { type Log, silentLog } from "../base/log.ts";
import { ParsedCache, StoredEntry } from "./entry.ts";
import { FanOut } from "./fan-out.ts";
import { type Journal, type JournalRecord, noJournal, type Recovered } from "./journal.ts";
import { KeyIndex } from "./key-index.ts";
import { type Encoded, type Entry, KeyConflictError, RevisionCompactedError, StorageBusyError, StorageError, StorageFullError, type Store, type StoreEvent, type Watch, type Watcher } from "./store.ts";
import { Window } from "./window.ts";

export interface MemoryStoreOptions {
  /** What makes writes durable. Default: nothing does. */
  journal?: Journal;
  /** What the journal held at start. Default: nothing, at revision 1. */
  recovered?: Recovered;
  log?: Log;
  /** Runs something in a later turn of the loop; simulations order turns themselves. */
  defer?: (callback: () => void) => void;
  watchWindowEvents?: number;
  watchWindowBytes?: number;
  watcherQueueEvents?: number;
  fanOutSlice?: number;
  parsedObjectsBytes?: number;
  waitingBytes?: number;
}

/**
 * An empty store stands at 1, as etcd does: "0" as a resourceVersion means "any" to clients, so no list may
 * ever say it.
 */
const firstRevision = 1;

/** The store: everything in memory, made durable by the journal. */
export function createMemoryStore(options: MemoryStoreOptions = {}): Store {
  return new MemoryStore(options);
}

interface Write {
  readonly record: JournalRecord;
  readonly object: object | undefined;
  resolve(entry: Entry): void;
  reject(error: Error): void;
}

interface Batch {
  readonly writes: readonly Write[];
  /** Fails when the batch was refused. */
  done: Promise<void>;
}

/**
 *   put ─▶ accepted (judged, numbered, encoded) ─tick─▶ appended to the journal ─▶ durable: read, watched, answered
 *                     └────────────── the journal fails: all of these are refused, none is seen ──┘
 */
class MemoryStore implements Store {
  readonly #journal: Journal;
  readonly #log: Log;
  readonly #defer: (callback: () => void) => void;
  readonly #cache: ParsedCache;
  readonly #entries = new Map<string, StoredEntry>();
  readonly #keys = new KeyIndex();
  readonly #window: Window;
  readonly #fanOut: FanOut;
  #revision: number;

  /** The revision of the last accepted write. */
  #accepted: number;
  /** The last accepted write of each key that is not durable yet: what conflicts are judged against. */
  readonly #ahead = new Map<string, JournalRecord>();
  /** Accepted in this tick, not yet given to the journal. */
  #collected: Write[] = [];
  /** Given to the journal, in order. */
  readonly #appended = new Set<Batch>();
  /** Bytes accepted and not durable, and how many may be. */
  #waitingBytes = 0;
  readonly #waitingBytesMax: number;
  #scheduled = false;
  #closed = false;
  /** Whether the last append was refused for want of room: say so once, and once when it is over. */
  #full = false;

  constructor(options: MemoryStoreOptions) {
    const { recovered } = options;
    this.#journal = options.journal ?? noJournal;
    this.#log = options.log ?? silentLog;
    this.#defer = options.defer ?? ((callback) => void setImmediate(callback));
    this.#cache = new ParsedCache(options.parsedObjectsBytes ?? limits.parsedObjectsBytes);
    this.#waitingBytesMax = options.waitingBytes ?? limits.storeWaitingBytes;
    const keys: string[] = [];
    for (const { key, revision, bytes } of recovered?.objects ?? []) {
      this.#entries.set(key, new StoredEntry(this.#cache, key, revision, bytes));
      keys.push(key);
    }
    this.#keys.load(keys);
    this.#revision = this.#accepted = Math.max(firstRevision, recovered?.revision ?? 0);
    this.#window = new Window(this.#revision, { events: options.watchWindowEvents ?? limits.watchWindowEvents, bytes: options.watchWindowBytes ?? limits.watchWindowBytes });
    this.#fanOut = new FanOut(this.#window, this.#revision, { slice: options.fanOutSlice ?? limits.fanOutSlice, queueEvents: options.watcherQueueEvents ?? limits.watcherQueueEvents }, this.#log, this.#defer);
  }

  get revision(): number {
    return this.#revision;
  }
  get compactedRevision(): number {
    return this.#window.compacted;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  range(prefix: string, { startKey, limit = Infinity }: { startKey?: string; limit?: number } = {}): Entry[] {
    const entries: Entry[] = [];
    if (limit <= 0) return entries;
    for (const key of this.#keys.range(prefix, startKey)) {
      entries.push(this.#entries.get(key)!);
      if (entries.length >= limit) break;
    }
    return entries;
  }

  count(prefix: string, startKey?: string): number {
    return this.#keys.count(prefix, startKey);
  }

  rangeAt(prefix: string, revision: number, options: { startKey?: string; limit?: number } = {}): Entry[] {
    this.#assertHeld(revision);
    if (revision >= this.#revision) return this.range(prefix, options);
    // The first change of a key after `revision` tells what the key was at `revision`.
    const past = new Map<string, Entry | undefined>();
    for (const { entry, previous } of this.#window.after(revision, prefix, Infinity).events) if (!past.has(entry.key)) past.set(entry.key, previous);
    const { startKey = prefix, limit = Infinity } = options;
    const revived = [...past].filter(([key, previous]) => previous && key >= startKey && !this.#entries.has(key)).map(([, previous]) => previous!);
    revived.sort((a, b) => (a.key < b.key ? -1 : 1));
    const entries: Entry[] = [];
    let next = 0;
    for (const key of this.#keys.range(prefix, startKey)) {
      while (next < revived.length && revived[next]!.key < key && entries.length < limit) entries.push(revived[next++]!);
      if (entries.length >= limit) return entries;
      const entry = past.has(key) ? past.get(key) : this.#entries.get(key);
      if (entry) entries.push(entry);
    }
    while (next < revived.length && entries.length < limit) entries.push(revived[next++]!);
    return entries.length > limit ? entries.slice(0, limit) : entries;
  }

  put(key: string, expected: number, encode: (revision: number) => Encoded): Promise<Entry> {
    return this.#accept("put", key, expected, encode);
  }

  delete(key: string, expected: number, encode: (revision: number) => Encoded): Promise<Entry> {
    return this.#accept("delete", key, expected, encode);
  }

  watch(prefix: string, fromRevision: number, watcher: Watcher): Watch {
    this.#assertHeld(fromRevision);
    return this.#fanOut.watch(prefix, fromRevision, watcher);
  }

  isStale(key: string): boolean {
    return this.#journal.isStale?.(key) ?? false;
  }

  flush(): Promise<void> {
    this.#append();
    return [...this.#appended].at(-1)?.done ?? Promise.resolve();
  }

  async copyTo(file: string): Promise<number> {
    if (!this.#journal.copyTo) throw new StorageError("a store that keeps nothing on disk has nothing to copy");
    await this.flush();
    return this.#journal.copyTo(file);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Who wrote is told of a failure; closing goes on.
    await this.flush().catch(() => {});
    this.#fanOut.closeAll();
    await this.#journal.close();
  }

  #assertHeld(revision: number): void {
    if (revision < this.#window.compacted) throw new RevisionCompactedError(revision, this.#window.compacted, this.#revision);
  }

  #accept(type: "put" | "delete", key: string, expected: number, encode: (revision: number) => Encoded): Promise<Entry> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw new Error("the store is closed");
      if (this.#waitingBytes > this.#waitingBytesMax) throw new StorageBusyError(`${this.#waitingBytes} bytes wait for the disk already; at most ${this.#waitingBytesMax} may`);
      const ahead = this.#ahead.get(key);
      const actual = ahead ? (ahead.type === "put" ? ahead.revision : 0) : (this.#entries.get(key)?.revision ?? 0);
      if (actual !== expected || (type === "delete" && actual === 0)) throw new KeyConflictError(key, expected, actual);
      const revision = this.#accepted + 1;
      const { bytes, object } = encode(revision);
      const record: JournalRecord = { type, key, revision, bytes };
      // Only now: an encode that throws has used no revision up.
      this.#accepted = revision;
      this.#ahead.set(key, record);
      this.#waitingBytes += bytes.length;
      this.#collected.push({ record, object, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      this.#defer(() => this.#append());
    });
  }

  /** Gives what this tick has brought to the journal: writers that arrive together share one transaction. */
  #append(): void {
    this.#scheduled = false;
    if (this.#collected.length === 0) return;
    const writes = this.#collected;
    this.#collected = [];
    const appended = this.#journal.append(writes.map((write) => write.record));
    const batch: Batch = { writes, done: appended };
    this.#appended.add(batch);
    batch.done = appended.then(
      () => this.#commit(batch),
      (error: Error) => {
        this.#refuseAll(batch, error);
        throw error;
      },
    );
    // Each writer has been told; a flush that waits is told as well.
    batch.done.catch(() => {});
  }

  #commit(batch: Batch): void {
    if (!this.#appended.delete(batch)) throw new Error("the journal calls a batch durable that it had refused");
    if (this.#full) this.#log.info("there is room again: writes are taken");
    this.#full = false;
    const events: StoreEvent[] = batch.writes.map(({ record, object }) => this.#apply(record, object));
    this.#fanOut.publish(events, this.#revision);
    for (const [i, write] of batch.writes.entries()) write.resolve(events[i]!.entry);
  }

  #apply(record: JournalRecord, object: object | undefined): StoreEvent {
    const { type, key, revision, bytes } = record;
    if (revision <= this.#revision) throw new Error(`revision ${revision} became durable after ${this.#revision}`);
    const entry = new StoredEntry(this.#cache, key, revision, bytes, object);
    const previous = this.#entries.get(key);
    if (type === "delete") {
      this.#entries.delete(key);
      this.#keys.delete(key);
    } else {
      this.#entries.set(key, entry);
      if (!previous) this.#keys.add(key);
    }
    if (this.#ahead.get(key) === record) this.#ahead.delete(key);
    this.#waitingBytes -= bytes.length;
    this.#revision = revision;
    const event: StoreEvent = { type, entry, previous };
    this.#window.push(event);
    return event;
  }

  /**
   * One batch was refused, and with it all that was accepted after it, because that was judged against it. Nobody
   * has seen any of it; the store stands where it stood, and their revisions are given out again.
   */
  #refuseAll(batch: Batch, error: Error): void {
    if (!this.#appended.has(batch)) return;
    const refused = [...this.#appended].flatMap(({ writes }) => writes).concat(this.#collected);
    this.#appended.clear();
    this.#collected = [];
    this.#ahead.clear();
    this.#waitingBytes = 0;
    this.#accepted = this.#revision;
    this.#report(error, refused.length);
    for (const write of refused) write.reject(error);
  }

  #report(error: Error, writes: number): void {
    if (!(error instanceof StorageFullError)) return this.#log.error("writes could not be made durable and were refused", { writes, error });
    if (this.#full) return;
    this.#full = true;
    const { code, message, remedy } = new WherryError("DISK_FULL", error.message);
    this.#log.error(message, { code, remedy });
  }
}
