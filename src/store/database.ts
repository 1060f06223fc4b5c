import { closeSync, existsSync, fsyncSync, openSync, readSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { backup, DatabaseSync, type StatementSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import type { JournalRecord } from "./journal.ts";

/** SQLite's primary result codes that mean something to us. Source: sqlite.org/rescode.html. */
export const sqlite = { busy: 5, locked: 6, readonly: 8, ioError: 10, corrupt: 11, full: 13, cantOpen: 14, notADatabase: 26 } as const;
export const primaryCode = (error: unknown): number => ((error as { errcode?: number }).errcode ?? 0) & 0xff;

/** The file's content is not what we wrote. */
export class DamagedError extends Error {}

/** "Wher" as a number in the file's header: another program's database is not ours to write to. */
const applicationId = 0x57686572;
const formatVersion = 1;
/**
 * Pages in the write-ahead log at which a commit also moves them to the database, 64 MB: all writers wait for that, up to
 * a tenth of a second. SQLite's default is 1000; 4000 cost a third of the throughput of a flood of writes.
 */
const checkpointPages = 16_000;
/** Pages a step of a copy takes, 4 MB: between two of them writers have their turn. */
const copyPages = 1000;
/** A checkpoint while nobody writes is worth it from here on. */
const idleCheckpointBytes = 4 * 1024 * 1024;

/**
 * The one table of objects and the last revision, in the thread that blocks on the disk. An integer rowid with a
 * unique key beside it: with the key as primary key the large rows would double the file.
 */
export class Database {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #setRevision: StatementSync;
  #bytesSinceCheckpoint = 0;
  #soiled = false;

  /** Opens, or makes, the database. Throws DamagedError and SQLite's errors. */
  constructor(file: string, lockWaitMs: number) {
    this.#file = file;
    if (existsSync(file)) checkHead(file);
    else create(file);
    // Closing in order empties the log and removes it.
    const unclean = (statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
    this.#db = open(file, lockWaitMs);
    try {
      if (unclean) this.#checkPages();
      this.#put = this.#db.prepare("INSERT INTO objects (key, revision, sum, value) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, sum = excluded.sum, value = excluded.value");
      this.#delete = this.#db.prepare("DELETE FROM objects WHERE key = ?");
      this.#setRevision = this.#db.prepare("UPDATE state SET revision = ?");
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** What the file's head does not show; worth its time after a crash only. */
  #checkPages(): void {
    const [first] = this.#db.prepare("PRAGMA quick_check(1)").all() as { quick_check: string }[];
    if (first?.quick_check !== "ok") throw new DamagedError(first?.quick_check ?? "its check gives no answer");
  }

  get revision(): number {
    const row = this.#db.prepare("SELECT revision FROM state").get() as { revision: number } | undefined;
    if (!row) throw new DamagedError("its last revision is missing");
    return row.revision;
  }

  /** All objects in the order of their keys. Throws DamagedError at the first whose bytes are not those that were written. */
  *objects(): Generator<JournalRecord> {
    const rows = this.#db.prepare("SELECT key, revision, sum, value FROM objects ORDER BY key");
    rows.setReturnArrays(true);
    for (const row of rows.iterate()) {
      const [key, revision, sum, value] = row as unknown as [string, number, number, Uint8Array];
      if (sumOf(key, value) !== sum) throw new DamagedError(`${key} at revision ${revision} does not match its checksum`);
      yield { type: "put", key, revision, bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength) };
    }
  }

  /** Runs `work` as one transaction: all of it is durable on return, or none of it is there. */
  transaction(work: () => void): void {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      if (this.#soiled) this.#db.exec("DROP TABLE IF EXISTS scrubbed");
      work();
      this.#db.exec("COMMIT");
      this.#soiled = false;
    } catch (error) {
      // Some errors (a full disk among them) have ended the transaction already.
      try {
        this.#db.exec("ROLLBACK");
      } catch {}
      throw error;
    }
  }

  write({ type, key, revision, bytes }: JournalRecord): void {
    if (type === "put") this.#put.run(key, revision, sumOf(key, bytes), bytes);
    else this.#delete.run(key);
    this.#bytesSinceCheckpoint += bytes.length;
  }

  setRevision(revision: number): void {
    this.#setRevision.run(revision);
  }

  /** Moves the log into the database when there is enough of it. Failure is no harm: the log stays. */
  checkpointWhenWorthIt(): void {
    if (this.#bytesSinceCheckpoint < idleCheckpointBytes) return;
    this.#bytesSinceCheckpoint = 0;
    try {
      this.#db.exec("PRAGMA wal_checkpoint(PASSIVE)");
    } catch {}
  }

  /**
   * A copy at one revision, which it gives. Transactions go on meanwhile and reach the copy as well.
   * Source: sqlite.org/backup.html, "Online backup of a running database" by the connection that writes.
   */
  async copyTo(file: string): Promise<number> {
    try {
      await backup(this.#db, file, { rate: copyPages });
      const copy = new DatabaseSync(file);
      try {
        // Without a log beside it: the copy is one file.
        copy.exec("PRAGMA journal_mode = DELETE");
        return (copy.prepare("SELECT revision FROM state").get() as { revision: number }).revision;
      } finally {
        copy.close();
      }
    } catch (error) {
      for (const rest of ["", "-wal", "-shm", "-journal"]) rmSync(file + rest, { force: true });
      throw error;
    }
  }

  /** Whether it was scrubbed, and nothing was said against it since. */
  get isScrubbed(): boolean {
    return this.#db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'scrubbed'").get() !== undefined;
  }

  /**
   * Writes the file anew with what is in it, so that nothing stays of what was overwritten or deleted: SQLite only
   * takes such places off its list. Source: sqlite.org/lang_vacuum.html.
   */
  scrub(): void {
    this.#soiled = false;
    this.#db.exec("VACUUM");
    this.#db.exec("CREATE TABLE IF NOT EXISTS scrubbed (mark INTEGER) STRICT");
    this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    this.#bytesSinceCheckpoint = 0;
  }
  /** From the next transaction on, remains may be in it again. */
  soil(): void {
    this.#soiled = true;
  }

  close(): void {
    this.#db.close();
    rmSync(`${this.#file}.new`, { force: true });
  }
}

/**
 * Looks at the file before SQLite does, which would take an empty one for a new database and turn a foreign one
 * to its ways. Source of the offsets: sqlite.org/fileformat.html §1.3.
 */
function checkHead(file: string): void {
  const head = Buffer.alloc(100);
  const descriptor = openSync(file, "r");
  try {
    if (readSync(descriptor, head) < head.length) throw new DamagedError("it has lost its beginning");
  } finally {
    closeSync(descriptor);
  }
  if (head.toString("latin1", 0, 16) !== "SQLite format 3\0") throw new DamagedError("it is not a database");
  if (head.readUInt32BE(68) !== applicationId) throw new DamagedError("it is not a database of Wherry");
  const version = head.readUInt32BE(60);
  if (version > formatVersion) throw new DamagedError(`a newer Wherry has written it (format ${version}, this one knows ${formatVersion})`);
}

function open(file: string, timeout: number): DatabaseSync {
  const db = new DatabaseSync(file, { timeout });
  try {
    // Exclusive before the first read of a WAL database: no shared-memory file, and nobody else gets in.
    db.exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = ${checkpointPages}; PRAGMA journal_size_limit = ${16 * 1024 * 1024}; PRAGMA trusted_schema = OFF`);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Made beside its place and renamed when whole, so that a crash in here leaves no file that is neither empty nor ours. */
function create(file: string): void {
  const draft = `${file}.new`;
  for (const rest of [draft, `${draft}-wal`, `${draft}-journal`]) rmSync(rest, { force: true });
  const db = open(draft, 0);
  try {
    db.exec(`
      BEGIN;
      PRAGMA application_id = ${applicationId};
      PRAGMA user_version = ${formatVersion};
      CREATE TABLE objects (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL, sum INTEGER NOT NULL, value BLOB NOT NULL) STRICT;
      CREATE TABLE state (revision INTEGER NOT NULL) STRICT;
      INSERT INTO state VALUES (0);
      COMMIT;
    `);
  } finally {
    db.close();
  }
  renameSync(draft, file);
  const folder = openSync(dirname(file), "r");
  fsyncSync(folder);
  closeSync(folder);
}

/** SQLite keeps no checksum of its pages: a flipped byte in a value would be handed out as it is. */
const sumOf = (key: string, value: Uint8Array): number => crc32(value, crc32(key));
