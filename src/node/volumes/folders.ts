import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import { tellsChanges, TreeCopy } from "../../base/tree-copy.ts";

/** A volume or a snapshot, by its name. */
export type FolderName = { volume: string } | { snapshot: string };

export interface FoldersOptions {
  /** Where volumes lie: a folder each. */
  folder: string;
  clock: Clock;
  /** Has the programs that use a claim stand still until released. Rejects while it cannot. */
  pause(claim: { namespace: string; name: string }): Promise<{ release(): Promise<void> }>;
}

/** Passes over what programs write to until one has this little to do, and at most this many, before they stand still. */
const passBytes = 8 << 20;
const passesMax = 4;
const copying = ".copying-";

/**
 * The folders of volumes and, beside them and closed to all but Wherry, of snapshots. A copy is whole, on the disk, and of
 * one instant, or it is not there: it is made under another name and renamed last.
 */
export class VolumeFolders {
  readonly folder: string;
  readonly #options: FoldersOptions;

  /** Removes what an earlier process did not finish. */
  constructor(options: FoldersOptions) {
    this.#options = options;
    this.folder = options.folder;
    mkdirSync(join(this.folder, snapshots), { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.folder)) if (name.startsWith(copying)) void rm(join(this.folder, name), { recursive: true, force: true }).catch(() => {});
  }

  #path(of: FolderName): string {
    return "volume" in of ? join(this.folder, of.volume) : join(this.folder, snapshots, of.snapshot);
  }

  async copy(from: FolderName, to: FolderName, claim?: { namespace: string; name: string }): Promise<number> {
    const { clock, pause } = this.#options;
    const [source, target] = [this.#path(from), this.#path(to)];
    if (existsSync(target)) return clock.now();
    const staging = join(this.folder, `${copying}${"volume" in to ? to.volume : to.snapshot}`);
    await rm(staging, { recursive: true, force: true });
    try {
      // A claim that nobody has used yet has no folder: an empty one takes its place.
      if (!existsSync(source)) {
        mkdirSync(staging);
        chmodSync(staging, 0o777);
        await rename(staging, target);
        return clock.now();
      }
      const tree = new TreeCopy(source, staging);
      if (claim && tellsChanges(source)) for (let pass = 0; pass < passesMax; pass++) if ((await tree.pass()).bytes < passBytes) break;
      const held = claim && (await pause(claim));
      const atMs = clock.now();
      try {
        await tree.pass();
      } finally {
        await held?.release();
      }
      await flush(staging);
      await rename(staging, target);
      await syncFolder(join(target, ".."));
      return atMs;
    } catch (error) {
      await rm(staging, { recursive: true, force: true }).catch(() => {});
      throw error;
    }
  }

  removeVolume(name: string): Promise<void> {
    return rm(join(this.folder, name), { recursive: true, force: true });
  }
  async hasSnapshot(handle: string): Promise<boolean> {
    return existsSync(this.#path({ snapshot: handle }));
  }
  removeSnapshot(handle: string): Promise<void> {
    return rm(this.#path({ snapshot: handle }), { recursive: true, force: true });
  }
}

const snapshots = ".snapshots";

/** Everything of the file system that holds `path`; its thousand files need one call. */
function flush(path: string): Promise<void> {
  return new Promise((resolve, reject) => execFile("sync", ["-f", path], (error) => (error ? reject(new Error(`the copy could not be written to the disk: ${error.message}`)) : resolve())));
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
