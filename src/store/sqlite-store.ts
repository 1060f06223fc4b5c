import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { type Clock, systemClock } from "../base/clock.ts";
import { type ErrorCode, WherryError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { JournalRecord, Recovered } from "./journal.ts";
import { createMemoryStore } from "./memory-store.ts";
import type { FailureReason, FromWorker, StartWorker, ToWorker } from "./sqlite-worker.ts";
import { StorageError, StorageFullError, type Store } from "./store.ts";
import { asTheyAre, readBy, type ScrubbingJournal, type Transform, TransformingJournal } from "./transform.ts";
import { pack, unpack } from "./wire.ts";

export interface SqliteStoreOptions {
  dataDir: string;
  log: Log;
  clock?: Clock;
  /**
   * Told when the store's thread is gone and nothing can be written any more. Memory and disk may disagree about
   * the last batch then, so the process must end and start anew. Default: throws where nobody catches.
   */
  onFatal?: (error: Error) => void;
  /**
   * How values lie in the file. Default: as they are; encrypted ones are refused. "opaque": nobody will look at those
   * that are encrypted, such as one who copies the file.
   */
  transform?: Transform | "opaque";
  /** Told of the journal when `transform` is given, for one who exchanges it. */
  onTransforming?: (journal: TransformingJournal) => void;
  /** How long to wait for another process to let go of the file: one that was just killed may still be on its way out. */
  lockWaitMs?: number;
}

/**
 * Opens the store of a data directory: objects in memory, each write durable in `store.db` before it is answered.
 * Throws WherryError: DATA_DIR_UNREADABLE, DATA_DIR_DAMAGED, DATA_DIR_LOCKED, DATA_ENCRYPTED, DISK_FULL.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { dataDir, log, clock = systemClock } = options;
  const began = clock.monotonicMs();
  assertUsable(dataDir);
  const journal = new SqliteJournal({ file: join(dataDir, "store.db"), lockWaitMs: options.lockWaitMs ?? 5_000 }, options.onFatal ?? throwUncaught);
  const loaded = await journal.load();
  let store: Store;
  try {
    store = storeOf(journal, loaded, options);
  } catch (error) {
    await journal.close();
    throw error;
  }
  log.info("the store is loaded", { objects: store.count(""), revision: store.revision, tookMs: Math.round(clock.monotonicMs() - began) });
  return store;
}

function storeOf(journal: SqliteJournal, loaded: Loaded, { dataDir, log, transform, onTransforming }: SqliteStoreOptions): Store {
  if (transform === "opaque") return createMemoryStore({ journal, recovered: loaded, log });
  const file = join(dataDir, "store.db");
  if (!transform) {
    const store = createMemoryStore({ journal, recovered: readBy(asTheyAre, loaded, file), log });
    if (loaded.isScrubbed) journal.soil();
    return store;
  }
  const transforming = new TransformingJournal(journal, transform, log, loaded.isScrubbed);
  const store = createMemoryStore({ journal: transforming, recovered: transforming.recover(loaded, file), log });
  onTransforming?.(transforming);
  return store;
}

function assertUsable(dataDir: string): void {
  try {
    if (!statSync(dataDir).isDirectory()) throw new Error("it is not a folder");
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new WherryError("DATA_DIR_UNREADABLE", `the data directory ${dataDir} cannot be used: ${(error as Error).message}`, { cause: error });
  }
}

function throwUncaught(error: Error): void {
  setImmediate(() => {
    throw error;
  });
}

const failures: Record<FailureReason, { code: ErrorCode; what: string }> = {
  damaged: { code: "DATA_DIR_DAMAGED", what: "is damaged" },
  locked: { code: "DATA_DIR_LOCKED", what: "is open in another process" },
  unreadable: { code: "DATA_DIR_UNREADABLE", what: "cannot be opened" },
  full: { code: "DISK_FULL", what: "cannot be opened because the disk is full" },
};

interface Loaded extends Recovered {
  isScrubbed: boolean;
}

/**
 * One transaction is under way and one waits to go on with: what comes meanwhile is one message when the first is
 * done. A message wakes a thread, which costs as much as the write does.
 */
const messagesMax = 2;
/** And a message with so much takes in no more: its first writer waits for its last. */
const messageBytes = 4 * 1024 * 1024;

interface Appended {
  readonly revision: number;
  readonly batch: readonly JournalRecord[];
  resolve(): void;
  reject(error: Error): void;
}

const startThread = (): Worker => new Worker(new URL("./sqlite-worker.ts", import.meta.url), { name: "wherry-store", execArgv: [] });
let prepared: Worker | undefined;

/** For a process that will open a store and does not know yet which: its thread starts meanwhile. */
export function prepareSqliteStore(): void {
  prepared ??= startThread();
}

/** The journal in the thread of `sqlite-worker.ts`. */
class SqliteJournal implements ScrubbingJournal {
  readonly #file: string;
  readonly #worker: Worker;
  readonly #onFatal: (error: Error) => void;
  /** Waits until the thread has room, in order. */
  #waiting: Appended[] = [];
  /** Given to the thread and not answered, in order. */
  #appended: Appended[] = [];
  /** The last revision of each message to the thread that is not answered. */
  #messages: number[] = [];
  /** Counted up at every refusal: what was on its way then is refused as well. */
  #epoch = 0;
  #gone: Error | undefined;
  #closed: (() => void) | undefined;
  /** Under way, by file. */
  readonly #copies = new Map<string, { resolve(revision: number): void; reject(error: Error): void }>();
  /** Under way, in order. */
  readonly #scrubs: { resolve(): void; reject(error: Error): void }[] = [];
  #loading: { parts: ArrayBuffer[]; resolve(loaded: Loaded): void; reject(error: Error): void } | undefined;

  constructor(start: StartWorker, onFatal: (error: Error) => void) {
    this.#file = start.file;
    this.#onFatal = onFatal;
    this.#worker = prepared ?? startThread();
    prepared = undefined;
    this.#tell(start);
    this.#worker.on("message", (message: FromWorker) => this.#receive(message));
    this.#worker.on("error", (error) => this.#end(error as Error));
    this.#worker.on("exit", (code) => this.#end(new Error(`the store's thread ended with code ${code}`)));
  }

  load(): Promise<Loaded> {
    return new Promise((resolve, reject) => void (this.#loading = { parts: [], resolve, reject }));
  }

  append(batch: readonly JournalRecord[]): Promise<void> {
    if (this.#gone) return Promise.reject(new StorageError(this.#gone.message));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, revision: batch.at(-1)!.revision, resolve, reject });
      this.#hand(messagesMax);
    });
  }

  /** Gives the thread what waits, until `most` messages are on their way. */
  #hand(most: number): void {
    while (this.#waiting.length > 0 && this.#messages.length < most) {
      let bytes = 0;
      const over = this.#waiting.findIndex(({ batch }) => (bytes += batch.reduce((sum, record) => sum + record.bytes.length, 0)) >= messageBytes);
      const batches = this.#waiting.splice(0, over < 0 ? this.#waiting.length : over + 1);
      const { revision } = batches.at(-1)!;
      const records = pack(batches.flatMap(({ batch }) => batch));
      this.#appended.push(...batches);
      this.#messages.push(revision);
      this.#tell({ type: "append", epoch: this.#epoch, revision, records }, [records]);
    }
  }

  copyTo(file: string): Promise<number> {
    if (this.#gone) return Promise.reject(new StorageError(this.#gone.message));
    return new Promise((resolve, reject) => {
      this.#copies.set(file, { resolve, reject });
      this.#tell({ type: "copy", file });
    });
  }

  scrub(): Promise<void> {
    if (this.#gone) return Promise.reject(new StorageError(this.#gone.message));
    return new Promise((resolve, reject) => {
      this.#scrubs.push({ resolve, reject });
      this.#tell({ type: "scrub" });
    });
  }

  soil(): void {
    if (!this.#gone) this.#tell({ type: "soil" });
  }

  close(): Promise<void> {
    if (this.#gone) return Promise.resolve();
    return new Promise((resolve) => {
      this.#closed = resolve;
      this.#hand(Number.POSITIVE_INFINITY);
      this.#tell({ type: "close" });
    });
  }

  #tell(message: ToWorker | StartWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromWorker): void {
    switch (message.type) {
      case "part":
        this.#loading!.parts.push(message.records);
        break;
      case "loaded": {
        const { parts, resolve } = this.#loading!;
        this.#loading = undefined;
        // Views into the parts: no copy at start. A part lives on as long as one of its objects is unchanged.
        resolve({ revision: message.revision, isScrubbed: message.isScrubbed, objects: { *[Symbol.iterator]() { for (const part of parts) yield* unpack(part); } } });
        break;
      }
      case "failed": {
        const { code, what } = failures[message.reason];
        // The thread ends by itself now; that is no fault beside this one.
        this.#gone = new WherryError(code, `${this.#file} ${what}: ${message.message}`);
        this.#loading!.reject(this.#gone);
        this.#loading = undefined;
        break;
      }
      case "durable": {
        const count = this.#appended.findLastIndex((batch) => batch.revision <= message.revision) + 1;
        const durable = this.#appended.splice(0, count);
        this.#messages.splice(0, this.#messages.findLastIndex((revision) => revision <= message.revision) + 1);
        this.#hand(messagesMax);
        for (const batch of durable) batch.resolve();
        break;
      }
      case "refused": {
        this.#epoch = message.epoch + 1;
        const Kind = message.full ? StorageFullError : StorageError;
        this.#rejectAll(new Kind(message.full ? `the disk of ${this.#file} is full` : `${this.#file} could not be written: ${message.message}`));
        break;
      }
      case "copied":
        this.#copies.get(message.file)?.resolve(message.revision);
        this.#copies.delete(message.file);
        break;
      case "not copied": {
        const Kind = message.full ? StorageFullError : StorageError;
        this.#copies.get(message.file)?.reject(new Kind(message.full ? `the disk of ${message.file} is full` : `the store could not be copied to ${message.file}: ${message.message}`));
        this.#copies.delete(message.file);
        break;
      }
      case "scrubbed":
        this.#scrubs.shift()?.resolve();
        break;
      case "not scrubbed":
        this.#scrubs.shift()?.reject(new StorageError(`${this.#file} could not be written anew: ${message.message}`));
        break;
      case "closed":
        this.#closed!();
        break;
    }
  }

  #rejectAll(error: Error): void {
    const refused = [...this.#appended, ...this.#waiting];
    this.#appended = [];
    this.#waiting = [];
    this.#messages = [];
    for (const batch of refused) batch.reject(error);
  }

  /** The thread is gone: as asked, after a failed start, or by a fault of its own. */
  #end(error: Error): void {
    if (this.#gone) return;
    this.#gone = error;
    this.#loading?.reject(error);
    this.#rejectAll(new StorageError(error.message));
    for (const copy of this.#copies.values()) copy.reject(new StorageError(error.message));
    this.#copies.clear();
    for (const scrub of this.#scrubs.splice(0)) scrub.reject(new StorageError(error.message));
    if (this.#closed) return;
    this.#onFatal(error);
  }
}
