import { closeSync, existsSync, fsyncSync, openSync, readdirSync, renameSync } from "node:fs";
import { chmod, chown, lchown, link, lstat, mkdir, open, rm, symlink, utimes } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { type Artifact, artifactsConfigMap } from "../../api/artifacts.ts";
import { systemNamespace } from "../../api/resources.ts";
import type { ConfigMap, PersistentVolume } from "../../api/types.ts";
import { WherryError } from "../../base/errors.ts";
import { silentLog } from "../../base/log.ts";
import { lockDataDir, makeDataDir, openStore } from "../../wherry.ts";
import { type Description, readArchive } from "./archive.ts";
import { BackupDamaged } from "./damaged.ts";
import type { TarEntry } from "./tar.ts";

export interface Restored {
  description: Description;
  /** Folders of code that the stack knew and that are not here. */
  missing: { image: string; context: string }[];
}

const stagingName = ".restoring";

/**
 * Makes a data directory of a backup. Everything is read, checked and written beside its place before anything is put
 * there: on any error the folder is as it was. Throws WherryError DATA_DIR_NOT_EMPTY, BACKUP_DAMAGED, BACKUP_TOO_NEW,
 * DISK_FULL, DATA_DIR_*.
 */
export async function restoreBackup(file: string, dataDir: string, encryption?: string): Promise<Restored> {
  if (existsSync(dataDir)) {
    const names = readdirSync(dataDir).filter((name) => name !== stagingName);
    if (names.length > 0) throw new WherryError("DATA_DIR_NOT_EMPTY", `--from ${file}: the data directory ${dataDir} holds ${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}; a backup is restored into an empty one only`);
  }
  const { undo } = makeDataDir(dataDir);
  const staging = join(dataDir, stagingName);
  const lock = lockDataDir(dataDir);
  let whole = false;
  try {
    await rm(staging, { recursive: true, force: true });
    await mkdir(staging, { mode: 0o700 });
    const description = await extract(file, staging);
    if (!existsSync(join(staging, "store.db"))) throw new WherryError("BACKUP_DAMAGED", `${file} is not a whole backup of Wherry: it has no store.db`);
    const missing = await move(file, staging, description, dataDir, encryption);
    for (const name of readdirSync(staging)) renameSync(join(staging, name), join(dataDir, name));
    sync(dataDir);
    whole = true;
    return { description, missing };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") throw new WherryError("DISK_FULL", `no room to restore ${file} into ${dataDir}: ${(error as Error).message}`, { cause: error });
    throw error;
  } finally {
    await rm(staging, { recursive: true, force: true });
    lock.release();
    if (!whole) undo();
  }
}

/** What a backup may hold at its top: a file that names others is not ours. */
const refusedNames = new Set(["lock", stagingName]);

async function extract(file: string, folder: string): Promise<Description> {
  let description: Description | undefined;
  const isRoot = process.getuid?.() === 0;
  const folders: TarEntry[] = [];
  const links: TarEntry[] = [];
  const made = new Set<string>();
  await readArchive(
    file,
    (read) => (description = read),
    async (entry, content) => {
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
          for await (const piece of content) await handle.writeFile(piece);
          if (isRoot) await handle.chown(entry.uid, entry.gid);
          await handle.chmod(entry.mode & 0o7777);
          await handle.utimes(entry.mtimeMs / 1000, entry.mtimeMs / 1000);
          await handle.sync();
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
  for (const { path, mode, uid, gid, mtimeMs } of folders.reverse()) {
    if (isRoot) await chown(join(folder, path), uid, gid);
    await chmod(join(folder, path), mode & 0o7777);
    await utimes(join(folder, path), mtimeMs / 1000, mtimeMs / 1000);
  }
  return description!;
}

function checkPath(path: string): void {
  if (path === "" || path.startsWith("/") || path.includes("\0") || posix.normalize(path) !== path || path.split("/").includes("..") || refusedNames.has(path.split("/")[0]!)) throw new BackupDamaged(`an entry would be written to ${JSON.stringify(path)}`);
}

/** Volumes below the former data directory lie below this one now. Gives the folders of code that are not here. */
async function move(file: string, staging: string, { dataDir: former }: Description, dataDir: string, encryption: string | undefined): Promise<Restored["missing"]> {
  let store: Awaited<ReturnType<typeof openStore>>;
  try {
    store = await openStore(staging, silentLog, encryption);
  } catch (error) {
    if (error instanceof WherryError && ["ACCESS_CONFIG_INVALID", "DATA_ENCRYPTED"].includes(error.code)) throw error;
    throw new WherryError("BACKUP_DAMAGED", `${file} is not a whole backup of Wherry: its store: ${(error as Error).message}`, { cause: error });
  }
  try {
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

function sync(folder: string): void {
  const descriptor = openSync(folder, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
}
