import { closeSync, fsyncSync, openSync, readFileSync, realpathSync, renameSync, statSync, unlinkSync, writeSync } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * Writes a small file so that a reader sees the old or the new content, never half of one, also after power
 * loss: a temporary file beside it, fsync, rename, fsync of the folder.
 */
export function writeFileAtomic(file: string, content: string | Uint8Array, mode = 0o600): void {
  const temporary = `${file}.${process.pid}.tmp`;
  const descriptor = openSync(temporary, "w", mode);
  try {
    writeSync(descriptor, content as string);
    fsyncSync(descriptor);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  } finally {
    closeSync(descriptor);
  }
  renameSync(temporary, file);
  const folder = openSync(dirname(file), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Several files of one folder, each as writeFileAtomic writes it, all durable when it resolves; a reader may see some of
 * them before others. They are synced at the same time, which takes a disk hardly longer than one.
 */
export async function writeFilesAtomic(files: ReadonlyMap<string, string | Uint8Array>, mode = 0o600): Promise<void> {
  const first = files.keys().next().value;
  if (first === undefined) return;
  await Promise.all(
    Array.from(files, async ([file, content]) => {
      const temporary = `${file}.${process.pid}.tmp`;
      const handle = await open(temporary, "w", mode);
      try {
        await handle.writeFile(content);
        await handle.sync();
        await rename(temporary, file);
      } catch (error) {
        await unlink(temporary);
        throw error;
      } finally {
        await handle.close();
      }
    }),
  );
  const folder = await open(dirname(first), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The JSON in a file; undefined when there is no such file or it holds no JSON. */
export function readJsonFile<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as T;
  } catch {
    return undefined;
  }
}

/**
 * The topmost folder at or above `path` through which the user `uid` may not pass, links followed; undefined when it gets there.
 * Without `uid`: a user to whom nothing here belongs. Ends at the first part that does not exist.
 */
export function closedFolder(path: string, uid = -1): string | undefined {
  let closed: string | undefined;
  let folder = resolve(path);
  try {
    folder = realpathSync(folder);
  } catch {
    // What is above it may be closed all the same.
  }
  for (; ; folder = dirname(folder)) {
    const stat = statSync(folder, { throwIfNoEntry: false });
    // A pod's group is its own, as its user is.
    if (stat?.isDirectory() && (stat.mode & (stat.uid === uid ? 0o100 : stat.gid === uid ? 0o010 : 0o001)) === 0) closed = folder;
    if (folder === dirname(folder)) return closed;
  }
}
