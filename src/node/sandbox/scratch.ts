import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { identify, isAlive, type ProcessIdentity } from "./processes.ts";

const sharedMemory = "/dev/shm";
const tmpfsMagic = 0x01021994;

/**
 * An empty folder (0700) for what the start of pods needs and no restart does: skeletons, tables, named pipes. In memory
 * where that is possible, because a pod's start is mostly small files; else below the data directory.
 */
export function makeScratch(dataDir: string, id: string): string {
  const uid = process.getuid?.() ?? 0;
  try {
    if (statfsSync(sharedMemory).type === tmpfsMagic) {
      const dir = join(sharedMemory, `wherry-${uid}-${id}`);
      for (const name of readdirSync(sharedMemory)) if (name.startsWith(`wherry-${uid}-`)) removeAbandoned(join(sharedMemory, name), uid);
      const existing = lstatSync(dir, { throwIfNoEntry: false });
      // Everybody may make folders there: one that is not ours is left alone.
      if (!existing || (existing.isDirectory() && existing.uid === uid && (existing.mode & 0o766) === 0o700)) {
        rmSync(dir, { recursive: true, force: true });
        mkdirSync(dir, { mode: 0o700 });
        writeFileSync(join(dir, "owner"), JSON.stringify(identify(process.pid)));
        return dir;
      }
    }
  } catch {
    // No such folder, or not writable.
  }
  const dir = join(dataDir, "sandbox", "scratch");
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

/** What a killed run, perhaps of another data directory, left in memory. */
function removeAbandoned(dir: string, uid: number): void {
  try {
    const stat = lstatSync(dir);
    if (!stat.isDirectory() || stat.uid !== uid) return;
    if (!isAlive(JSON.parse(readFileSync(join(dir, "owner"), "utf8")) as ProcessIdentity)) rmSync(dir, { recursive: true, force: true });
  } catch {
    // No owner written yet: somebody is making it.
  }
}

export function removeScratch(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}
