import { parentPort, receiveMessageOnPort } from "node:worker_threads";
import { DamagedError, Database, primaryCode, sqlite } from "./database.ts";
import type { JournalRecord } from "./journal.ts";
import { pack, unpack } from "./wire.ts";

/**
 * The thread that waits for the disk, so that the event loop need not.
 *
 *   thread → store: part … part, loaded | failed      then   durable | refused …   closed
 *   store → thread: StartWorker, then append (a packed batch) …   copy   scrub   soil   close
 */
export type FromWorker =
  | { type: "part"; records: ArrayBuffer }
  | { type: "loaded"; revision: number; isScrubbed: boolean }
  | { type: "failed"; reason: FailureReason; message: string }
  /** All up to this revision. */
  | { type: "durable"; revision: number }
  /** Everything appended in this epoch that was not reported as durable. */
  | { type: "refused"; epoch: number; full: boolean; message: string }
  | { type: "copied"; file: string; revision: number }
  | { type: "not copied"; file: string; full: boolean; message: string }
  | { type: "scrubbed" }
  | { type: "not scrubbed"; message: string }
  | { type: "closed" };
export type ToWorker = { type: "append"; epoch: number; revision: number; records: ArrayBuffer } | { type: "copy"; file: string } | { type: "scrub" | "soil" | "close" };
export interface StartWorker {
  file: string;
  lockWaitMs: number;
}
export type FailureReason = "damaged" | "locked" | "unreadable" | "full";

const partBytes = 4 * 1024 * 1024;
/** A transaction takes in what has arrived, but not without end: the first writer waits for the last. */
const transactionBytesMax = 8 * 1024 * 1024;
/** Nobody has written for so long: a moment that may last. */
const idleMs = 100;

const port = parentPort!;
const say = (message: FromWorker, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

function load(database: Database): void {
  let records: JournalRecord[] = [];
  let bytes = 0;
  const send = () => {
    const part = pack(records);
    say({ type: "part", records: part }, [part]);
    records = [];
    bytes = 0;
  };
  for (const record of database.objects()) {
    records.push(record);
    bytes += record.bytes.length;
    if (bytes >= partBytes) send();
  }
  if (records.length > 0) send();
  say({ type: "loaded", revision: database.revision, isScrubbed: database.isScrubbed });
}

function serve(database: Database): void {
  /** Appends of this epoch and older build upon something that was refused. */
  let refusedEpoch = -1;
  let idle: NodeJS.Timeout | undefined;
  let copies = 0;
  let closing = false;
  let scrubsWaiting = 0;

  const commit = (first: ToWorker): void => {
    let message: ToWorker | undefined = first;
    let revision: number | undefined;
    let epoch = -1;
    try {
      database.transaction(() => {
        let bytes = 0;
        for (; message?.type === "append"; message = bytes < transactionBytesMax ? (receiveMessageOnPort(port)?.message as ToWorker | undefined) : undefined) {
          if (message.epoch <= refusedEpoch) continue;
          ({ epoch, revision } = message);
          bytes += message.records.byteLength;
          for (const record of unpack(message.records)) database.write(record);
          // Freed here and now: this thread makes so little garbage that it hardly ever collects any.
          message.records.transfer(0);
        }
        if (revision !== undefined) database.setRevision(revision);
      });
      if (revision !== undefined) say({ type: "durable", revision });
    } catch (error) {
      refusedEpoch = Math.max(refusedEpoch, epoch);
      say({ type: "refused", epoch: refusedEpoch, full: primaryCode(error) === sqlite.full, message: (error as Error).message });
    }
    if (message && message.type !== "append") receive(message);
  };

  const copy = (file: string): void => {
    copies++;
    database
      .copyTo(file)
      .then(
        (revision) => say({ type: "copied", file, revision }),
        (error: Error) => say({ type: "not copied", file, full: primaryCode(error) === sqlite.full, message: error.message }),
      )
      .finally(() => {
        if (--copies > 0) return;
        for (; scrubsWaiting > 0; scrubsWaiting--) scrub();
        if (closing) close();
      });
  };

  const scrub = (): void => {
    // SQLite rewrites no file that is being copied.
    if (copies > 0) return void scrubsWaiting++;
    try {
      database.scrub();
      say({ type: "scrubbed" });
    } catch (error) {
      say({ type: "not scrubbed", message: (error as Error).message });
    }
  };

  const soil = (): void => {
    for (; scrubsWaiting > 0; scrubsWaiting--) say({ type: "not scrubbed", message: "what it holds changed before" });
    database.soil();
  };

  const close = (): void => {
    closing = true;
    // SQLite closes no connection that is being copied from.
    if (copies > 0) return;
    clearTimeout(idle);
    database.close();
    say({ type: "closed" });
    port.close();
  };

  const receive = (message: ToWorker): void => {
    if (message.type === "close") return close();
    if (message.type === "copy") return copy(message.file);
    if (message.type === "scrub") return scrub();
    if (message.type === "soil") return soil();
    commit(message);
    idle ??= setTimeout(() => database.checkpointWhenWorthIt(), idleMs);
    idle.refresh();
  };
  port.on("message", receive);
}

function reasonOf(error: unknown): FailureReason {
  const code = primaryCode(error);
  if (error instanceof DamagedError || code === sqlite.corrupt || code === sqlite.notADatabase) return "damaged";
  if (code === sqlite.busy || code === sqlite.locked) return "locked";
  if (code === sqlite.full || (error as NodeJS.ErrnoException).code === "ENOSPC") return "full";
  return "unreadable";
}

// It may have been started before anybody knew which file.
port.once("message", ({ file, lockWaitMs }: StartWorker) => {
  try {
    const database = new Database(file, lockWaitMs);
    try {
      load(database);
    } catch (error) {
      database.close();
      throw error;
    }
    serve(database);
  } catch (error) {
    say({ type: "failed", reason: reasonOf(error), message: (error as Error).message });
    port.close();
  }
});
