/**
 * What makes a write durable. The store above it keeps everything in memory and asks one thing: that this batch
 * survives a crash. Two implementations: `sqlite-journal.ts` and `testing/faulty-journal.ts`.
 */
export interface Journal {
  /**
   * Resolves when the batch would survive power loss. Calls may overlap; batches become durable in the order of
   * the calls, each wholly or not at all. When one fails, every batch appended before that failure was reported
   * fails too (a later one may build upon it), and the next call starts afresh.
   */
  append(batch: readonly JournalRecord[]): Promise<void>;
  /** What is durable at one revision, into a new file of the journal's own kind. Absent: this one has no file. */
  copyTo?(file: string): Promise<number>;
  /** Whether this key's value lies there otherwise than it would be written now. Absent: none does. */
  isStale?(key: string): boolean;
  close(): Promise<void>;
}

export interface JournalRecord {
  readonly type: "put" | "delete";
  readonly key: string;
  readonly revision: number;
  /** The object's JSON. A delete's is only for watchers: nothing of it needs to be kept. */
  readonly bytes: Buffer;
}

/** What is on disk at start: the last revision, and the objects in the order of their keys. */
export interface Recovered {
  readonly revision: number;
  readonly objects: Iterable<{ key: string; revision: number; bytes: Buffer }>;
}

/** Keeps nothing. For tests that only need a store. */
export const noJournal: Journal = { append: async () => {}, close: async () => {} };
