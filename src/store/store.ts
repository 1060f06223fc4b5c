/**
 * The narrow waist below the API server: objects as bytes under keys, each write at the next revision.
 * Reads and watches see only what is durable. `sqlite-store.ts` opens the
 * product's; `memory-store.ts` is the part it shares with simulations, which put a faulty journal below. Source of the shape: k8s.io/apiserver/pkg/storage/interfaces.go.
 */
export interface Store {
  /** The last durable revision. */
  readonly revision: number;
  /** The oldest revision from which a watch can still start. */
  readonly compactedRevision: number;

  get(key: string): Entry | undefined;

  /** Keys in order below `prefix`, from `startKey` (inclusive) on; at most `limit`. Always the durable present. */
  range(prefix: string, options?: { startKey?: string; limit?: number }): Entry[];
  /** How many keys lie below `prefix` (from `startKey` on). */
  count(prefix: string, startKey?: string): number;
  /**
   * The entries as they were at `revision`, for chunked lists that must not tear.
   * Throws RevisionCompactedError when the window no longer holds it.
   */
  rangeAt(prefix: string, revision: number, options?: { startKey?: string; limit?: number }): Entry[];

  /**
   * Writes if the key's present revision (0: absent) is `expected`, else throws KeyConflictError. Conflicts are
   * judged against writes already accepted, durable or not; the promise settles when the write is durable, with
   * the entry whose `revision` is final, or fails with a StorageError when it could not be made so. `encode` gets
   * that revision and gives object and bytes.
   */
  put(key: string, expected: number, encode: (revision: number) => Encoded): Promise<Entry>;
  /** Removes under the same condition. The watch event carries the last object, re-encoded with the delete's revision. */
  delete(key: string, expected: number, encode: (revision: number) => Encoded): Promise<Entry>;

  /**
   * Changes below `prefix` with revision > `fromRevision`, each once and in order, delivered in slices after
   * they are durable. Throws RevisionCompactedError when `fromRevision` is older than the window.
   */
  watch(prefix: string, fromRevision: number, watcher: Watcher): Watch;

  /** Whether this key's value is on disk otherwise than it would be written now (encrypted with a former key): worth a write that changes nothing. */
  isStale(key: string): boolean;

  /** Resolves when everything accepted so far is durable; fails when it was refused. */
  flush(): Promise<void>;
  /**
   * Writes everything as it is at one revision, which it gives, into a database file that must not exist, while
   * reads and writes go on. Fails with a StorageError, and where nothing is durable.
   */
  copyTo(file: string): Promise<number>;
  close(): Promise<void>;
}

export interface Encoded {
  /** The JSON, resourceVersion included. What clients get. */
  bytes: Buffer;
  /** The parsed form, frozen and shared; kept only while cheap, otherwise, and where there is none, parsed on demand. */
  object?: object;
}

export interface Entry {
  readonly key: string;
  readonly revision: number;
  readonly bytes: Buffer;
  /** Parsed lazily; shared and deeply frozen. */
  readonly object: Readonly<Record<string, unknown>>;
}

export interface StoreEvent {
  readonly type: "put" | "delete";
  readonly entry: Entry;
  /** The entry before this change; undefined on the first put. */
  readonly previous: Entry | undefined;
}

export interface Watcher {
  /** Events of one slice, in order. Returning false says "enough": call `resume` when there is room. */
  onEvents(events: readonly StoreEvent[]): boolean | void;
  /** The watcher was ended by the store: its queue overflowed (410). */
  onEnd(error: Error): void;
}
export interface Watch {
  /** The highest revision this watcher is known to be complete up to; for bookmarks. */
  readonly revision: number;
  resume(): void;
  close(): void;
}

export class KeyConflictError extends Error {
  readonly key: string;
  readonly expected: number;
  readonly actual: number;
  constructor(key: string, expected: number, actual: number) {
    super(`${key}: expected revision ${expected}, found ${actual}`);
    this.name = "KeyConflictError";
    this.key = key;
    this.expected = expected;
    this.actual = actual;
  }
}

export class RevisionCompactedError extends Error {
  readonly asked: number;
  readonly oldest: number;
  readonly current: number;
  constructor(asked: number, oldest: number, current: number) {
    super(`revision ${asked} is older than ${oldest}, the oldest still held (current: ${current})`);
    this.name = "RevisionCompactedError";
    this.asked = asked;
    this.oldest = oldest;
    this.current = current;
  }
}

/** A write could not be made durable; nothing of it was kept or seen. For clients: 500. */
export class StorageError extends Error {
  override name = "StorageError";
}

/** The disk is full. Reads go on, and writes are taken again as soon as there is room. For clients: 507. */
export class StorageFullError extends StorageError {
  override name = "StorageFullError";
}

/** More writes wait for the disk than may. For clients: 429. */
export class StorageBusyError extends StorageError {
  override name = "StorageBusyError";
}
