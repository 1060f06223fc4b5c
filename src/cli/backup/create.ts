import { accessSync, chmodSync, constants, existsSync, lstatSync, readdirSync, statSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { WherryError } from "../../base/errors.ts";
import { silentLog } from "../../base/log.ts";
import { tellsChanges, TreeCopy } from "../../base/tree-copy.ts";
import { copyFolders, lockDataDir, openStore, ownerOf, removeCopies, wherryVersion } from "../../wherry.ts";
import { type Description, formatVersion, writeArchive } from "./archive.ts";
import { isData } from "./content.ts";
import { copyRunningStore, type Paused, pausePrograms } from "./pause.ts";

export interface BackupResult {
  file: string;
  bytes: number;
  revision: number;
  volumeBytes: number;
  /** How long the programs stood still; undefined when none ran. */
  pausedMs: number | undefined;
  leftOut: readonly string[];
}

export interface BackupOptions {
  dataDir: string;
  file: string;
  signal: AbortSignal;
  onProgress(message: string): void;
}

/** Passes over the volumes of a running stack before its programs stand still: until one had this little to do, and at most this many. */
const passBytes = 16 << 20;
const passesMax = 3;

/**
 * Takes a backup of a data directory whose stack runs or not. Programs with volumes stand still while what changed last
 * is copied to a folder beside them, and the store with it; packing comes after. Throws WherryError NOT_RUNNING, USAGE,
 * DATA_DIR_*, DISK_FULL, BACKUP_FAILED; the signal's reason. Leaves nothing then.
 */
export async function createBackup(options: BackupOptions): Promise<BackupResult> {
  const { dataDir, file, signal, onProgress } = options;
  checkTarget(dataDir, file);
  if (!existsSync(join(dataDir, "store.db"))) throw new WherryError("NOT_RUNNING", `there is nothing to back up: ${dataDir} holds no stack`);
  const owner = ownerOf(dataDir);
  // Nobody may start the stack while its files are read.
  const lock = owner ? undefined : lockDataDir(dataDir);
  const staging = join(dataDir, copyFolders.backup(process.pid));
  let paused: Paused | undefined;
  try {
    removeCopies(dataDir);
    await mkdir(staging, { mode: 0o700 });
    const volumes = new Volumes(dataDir, staging, signal, onProgress);
    if (owner) {
      if (tellsChanges(dataDir)) for (let pass = 0; pass < passesMax; pass++) if ((await volumes.pass()) < passBytes) break;
      paused = await pausePrograms(dataDir);
    }
    const copying = owner ? copyRunningStore(dataDir, join(staging, "store.db")) : copyStore(dataDir, join(staging, "store.db"));
    const passing = volumes.pass();
    // Both to their end: nobody writes into the folder any more when it is removed.
    await Promise.allSettled([copying, passing]);
    const [revision] = await Promise.all([copying, passing]);
    const pausedMs = await paused?.resume();
    paused = undefined;
    const { leftOut, totalBytes } = volumes;
    volumes.finish();
    await new TreeCopy(dataDir, staging, isData).pass({ signal });
    const description: Description = { format: formatVersion, wherry: wherryVersion(), createdAt: new Date().toISOString(), revision, dataDir, leftOut };
    const size = await writeArchive(staging, file, description, { signal, onBytes: (count) => onProgress(`packing: ${megabytes(count)}`) });
    return { file, bytes: size, revision, volumeBytes: totalBytes, pausedMs, leftOut };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof WherryError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT") throw new WherryError("DISK_FULL", `no room for the backup: ${message}; what was written of it in ${dataDir} and ${dirname(file)} was removed`, { cause: error });
    throw new WherryError("BACKUP_FAILED", `the backup was given up: ${message}`, { cause: error });
  } finally {
    paused?.abandon();
    await rm(staging, { recursive: true, force: true });
    lock?.release();
  }
}

/** What is wrong is said before anything is copied. */
function checkTarget(dataDir: string, file: string): void {
  const usage = (why: string) => new WherryError("USAGE", `--output ${file}: ${why}`);
  if (file.startsWith(`${dataDir}${sep}`)) throw usage(`it lies in the data directory, and would be part of the next backup`);
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) throw usage("it is a folder");
  try {
    accessSync(dirname(file), constants.W_OK | constants.X_OK);
  } catch (error) {
    throw usage((error as NodeJS.ErrnoException).code === "ENOENT" ? `there is no folder ${dirname(file)}` : `cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}

export const megabytes = (bytes: number): string => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);

/** Volumes of claims, and the pods' own: emptyDir and what images declare. */
class Volumes {
  readonly #dataDir: string;
  readonly #staging: string;
  readonly #signal: AbortSignal;
  readonly #onProgress: (message: string) => void;
  readonly #copies = new Map<string, TreeCopy>();
  /** Of the last pass. */
  totalBytes = 0;
  leftOut: string[] = [];

  constructor(dataDir: string, staging: string, signal: AbortSignal, onProgress: (message: string) => void) {
    this.#dataDir = dataDir;
    this.#staging = staging;
    this.#signal = signal;
    this.#onProgress = onProgress;
  }

  /** Gives how many bytes it had to copy. */
  async pass(): Promise<number> {
    this.leftOut = [];
    this.totalBytes = 0;
    let copied = 0;
    const there = this.#folders();
    for (const folder of [...this.#copies.keys()].filter((name) => !there.includes(name))) {
      this.#copies.delete(folder);
      await rm(join(this.#staging, folder), { recursive: true, force: true });
    }
    for (const folder of there) {
      const copy = this.#copies.get(folder) ?? new TreeCopy(join(this.#dataDir, folder), join(this.#staging, folder));
      this.#copies.set(folder, copy);
      const pass = await copy.pass({ signal: this.#signal, onFile: (so) => this.#onProgress(`copying volumes: ${megabytes(this.totalBytes + so.totalBytes)}`) });
      copied += pass.bytes;
      this.totalBytes += pass.totalBytes;
      this.leftOut.push(...pass.leftOut.map((path) => `${folder}/${path}`));
    }
    return copied;
  }

  /** Gives the folders above the copies the modes of those above the volumes. */
  finish(): void {
    const above = new Set([...this.#copies.keys()].flatMap((folder) => folder.split("/").slice(0, -1).map((_, index, parts) => parts.slice(0, index + 1).join("/"))));
    for (const folder of above) chmodSync(join(this.#staging, folder), (statSync(join(this.#dataDir, folder), { throwIfNoEntry: false })?.mode ?? 0o700) & 0o7777);
  }

  #folders(): string[] {
    const below = (folder: string) => (existsSync(join(this.#dataDir, folder)) ? readdirSync(join(this.#dataDir, folder)).map((name) => `${folder}/${name}`) : []);
    return [...below("volumes"), ...below("pods").map((pod) => `${pod}/volumes`)].filter((folder) => lstatSync(join(this.#dataDir, folder), { throwIfNoEntry: false })?.isDirectory());
  }
}

/** Of a stack that does not run. */
async function copyStore(dataDir: string, file: string): Promise<number> {
  const store = await openStore(dataDir, silentLog);
  try {
    return await store.copyTo(file);
  } finally {
    await store.close();
  }
}
