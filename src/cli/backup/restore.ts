import { spawnSync } from "node:child_process";
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, renameSync } from "node:fs";
import { chmod, chown, type FileHandle, lchown, link, lstat, mkdir, open, rm, symlink, utimes } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { type Artifact, artifactsConfigMap } from "../../api/artifacts.ts";
import { systemNamespace } from "../../api/resources.ts";
import type { ConfigMap, PersistentVolume } from "../../api/types.ts";
import { WherryError } from "../../base/errors.ts";
import { silentLog } from "../../base/log.ts";
import { isZero } from "../../base/tree-copy.ts";
import { copyFolders, lockDataDir, makeDataDir, openStore, ownerOf } from "../../wherry.ts";
import { type Description, readArchive } from "./archive.ts";
import { mayHold } from "./content.ts";
import { BackupDamaged } from "./damaged.ts";
import type { TarEntry } from "./tar.ts";

export interface Restored {
  description: Description;
  /** Folders of code that the stack knew and that are not here. */
  missing: { image: string; context: string }[];
}


export interface RestoreOptions {
  /** The EncryptionConfiguration by which objects were stored. */
  encryption?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Makes a data directory of a backup. Everything is read, checked and written beside its place before anything is put
 * there: on any error the folder is as it was. Throws WherryError DATA_DIR_NOT_EMPTY, BACKUP_DAMAGED, BACKUP_TOO_NEW,
 * DISK_FULL, DATA_ENCRYPTED, DATA_DIR_*, USAGE; the signal's reason.
 */
export async function restoreBackup(file: string, dataDir: string, { encryption, signal }: RestoreOptions = {}): Promise<Restored> {
  if (existsSync(dataDir)) {
    // What a restore left behind that was killed is no data.
    const isLeft = (name: string) => name === copyFolders.restore || (name === "lock" && ownerOf(dataDir) === undefined);
    const names = readdirSync(dataDir).filter((name) => !isLeft(name));
    if (names.length > 0) throw new WherryError("DATA_DIR_NOT_EMPTY", `--from ${file}: the data directory ${dataDir} holds ${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}; a backup is restored into an empty one only`);
  }
  const { undo } = makeDataDir(dataDir);
  const staging = join(dataDir, copyFolders.restore);
  const lock = lockDataDir(dataDir);
  let whole = false;
  try {
    await rm(staging, { recursive: true, force: true });
    await mkdir(staging, { mode: 0o700 });
    const description = await extract(file, staging, signal);
    if (!existsSync(join(staging, "store.db"))) throw new WherryError("BACKUP_DAMAGED", `${file} is not a whole backup of Wherry: it has no store.db`);
    const missing = await move(file, staging, description, dataDir, encryption);
    signal?.throwIfAborted();
    syncAll(staging);
    // The store last: a folder without one is no stack.
    for (const name of readdirSync(staging).sort((a, b) => Number(a === "store.db") - Number(b === "store.db"))) renameSync(join(staging, name), join(dataDir, name));
    syncFolder(dataDir);
    whole = true;
    return { description, missing };
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (["EEXIST", "ENOTDIR", "EISDIR", "ENAMETOOLONG"].includes(code)) throw new WherryError("BACKUP_DAMAGED", `${file} is not a whole backup of Wherry: its paths contradict each other: ${message}`, { cause: error });
    if (["ENOSPC", "EDQUOT"].includes(code)) throw new WherryError("DISK_FULL", `no room to restore ${file} into ${dataDir}: ${message}; what was written of it was removed`, { cause: error });
    throw error;
  } finally {
    await rm(staging, { recursive: true, force: true });
    lock.release();
    if (!whole) undo();
  }
}

async function extract(file: string, folder: string, signal: AbortSignal | undefined): Promise<Description> {
  let description: Description | undefined;
  const isRoot = process.getuid?.() === 0;
  const folders: TarEntry[] = [];
  const links: TarEntry[] = [];
  const made = new Set<string>();
  await readArchive(
    file,
    (read) => (description = read),
    async (entry, content) => {
      signal?.throwIfAborted();
      checkPath(entry.path);
      if (made.has(entry.path)) throw new BackupDamaged(`it holds ${entry.path} twice`);
      made.add(entry.path);
      const target = join(folder, entry.path);
      await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      if (entry.type === "folder") {
        await mkdir(target, { recursive: true, mode: 0o700 });
        folders.push(entry);
      } else if (entry.type === "symlink") links.push(entry);
      else if (entry.type === "hardlink") {
        checkPath(entry.target);
        if (!made.has(entry.target) || !(await lstat(join(folder, entry.target))).isFile()) throw new BackupDamaged(`${entry.path} is a link to ${entry.target}, which it does not hold`);
        await link(join(folder, entry.target), target);
      } else {
        const handle = await open(target, "wx", 0o600);
        try {
          await write(handle, content, signal);
          if (isRoot) await handle.chown(entry.uid, entry.gid);
          await handle.chmod(modeOf(entry));
          await handle.utimes(entry.mtimeMs / 1000, entry.mtimeMs / 1000);
        } finally {
          await handle.close();
        }
      }
    },
  );
  // Links come last: nothing is written through one, wherever it leads.
  for (const { path, target, uid, gid } of links) {
    await symlink(target, join(folder, path));
    if (isRoot) await lchown(join(folder, path), uid, gid);
  }
  // The innermost first: a folder's time changes with what is put into it.
  for (const { path, mode, uid, gid, mtimeMs } of folders.toReversed()) {
    if (isRoot) await chown(join(folder, path), uid, gid);
    await chmod(join(folder, path), mode & 0o1777);
    await utimes(join(folder, path), mtimeMs / 1000, mtimeMs / 1000);
  }
  return description!;
}

/** Pieces of zeros are skipped, so that a hole becomes one. */
async function write(handle: FileHandle, content: AsyncIterable<Buffer>, signal: AbortSignal | undefined): Promise<void> {
  let at = 0;
  for await (const piece of content) {
    signal?.throwIfAborted();
    for (let from = 0; from < piece.length; from += holeBytes) {
      const part = piece.subarray(from, from + holeBytes);
      for (let written = isZero(part) ? part.length : 0; written < part.length; ) written += (await handle.write(part, written, part.length - written, at + from + written)).bytesWritten;
    }
    at += piece.length;
  }
  await handle.truncate(at);
}
const holeBytes = 64 << 10;

/** A file of root's that lends its rights is not made for whoever wrote the backup. */
const modeOf = ({ mode, uid, gid }: TarEntry): number => mode & (uid === 0 || gid === 0 ? 0o1777 : 0o7777);

function checkPath(path: string): void {
  if (path === "" || path.startsWith("/") || path.includes("\0") || posix.normalize(path) !== path || path.split("/").includes("..") || !mayHold(path)) throw new BackupDamaged(`an entry would be written to ${JSON.stringify(path)}`);
}

/** Volumes below the former data directory lie below this one now. Gives the folders of code that are not here. */
async function move(file: string, staging: string, { dataDir: former }: Description, dataDir: string, encryption: string | undefined): Promise<Restored["missing"]> {
  let store: Awaited<ReturnType<typeof openStore>>;
  try {
    store = await openStore(staging, silentLog, encryption);
  } catch (error) {
    if (error instanceof WherryError && error.code === "DATA_ENCRYPTED") throw new WherryError("DATA_ENCRYPTED", error.message.replaceAll(join(staging, "store.db"), file), { cause: error });
    if (error instanceof WherryError && error.code === "ACCESS_CONFIG_INVALID") throw error;
    throw new WherryError("BACKUP_DAMAGED", `${file} is not a whole backup of Wherry: its store: ${(error as Error).message}`, { cause: error });
  }
  try {
    if (encryption === undefined) refuseEncrypted(file, store.range("/"));
    for (const { key, revision, object } of store.range("/core/persistentvolumes/")) {
      const volume = object as unknown as PersistentVolume;
      const path = volume.spec?.local?.path;
      if (path === undefined || !path.startsWith(`${former}/`) || former === dataDir) continue;
      const spec = { ...volume.spec, local: { ...volume.spec!.local, path: dataDir + path.slice(former.length) } };
      await store.put(key, revision, (next) => {
        const moved = { ...volume, metadata: { ...volume.metadata, resourceVersion: String(next) }, spec };
        return { object: moved, bytes: Buffer.from(JSON.stringify(moved)) };
      });
    }
    const linked = store.get(`/core/configmaps/${systemNamespace}/${artifactsConfigMap}`)?.object as ConfigMap | undefined;
    const artifacts = Object.values(linked?.data ?? {}).map((text) => JSON.parse(text) as Artifact);
    return artifacts.filter(({ context }) => !existsSync(context)).map(({ image, context }) => ({ image, context }));
  } finally {
    await store.close();
  }
}

/** With a configuration the store has read everything when it is open; without one, a stack of which a part cannot be read is not begun. */
function refuseEncrypted(file: string, entries: Iterable<{ key: string; readonly object: unknown }>): void {
  const closed: string[] = [];
  for (const entry of entries) {
    try {
      void entry.object;
    } catch (error) {
      if (!(error instanceof WherryError)) throw error;
      closed.push(entry.key);
    }
  }
  if (closed.length > 0) throw new WherryError("DATA_ENCRYPTED", `${closed.length === 1 ? "an object" : `${closed.length} objects`} in ${file} cannot be read, being encrypted:\n  ${closed.slice(0, 3).join("\n  ")}${closed.length > 3 ? "\n  …" : ""}`);
}

/** Everything of this file system; a `sync` that knows no such option takes all of them. */
function syncAll(folder: string): void {
  if (spawnSync("sync", ["-f", folder], { stdio: "ignore" }).status !== 0) spawnSync("sync", { stdio: "ignore" });
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
}
