import { readFileSync, readlinkSync } from "node:fs";
import { lstat, readdir, statfs } from "node:fs/promises";
import { join } from "node:path";

/**
 * What a tree takes of the disk, as `du` counts: blocks, a file with several links once, links themselves and not what
 * they point to. A pod may change it meanwhile: what is gone counts nothing.
 */
export async function treeBytes(path: string): Promise<number> {
  const linked = new Set<string>();
  let bytes = 0;
  const waiting = [path];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const below = join(folder, entry.name);
      const stat = await lstat(below).catch(() => undefined);
      if (!stat) continue;
      if (stat.isDirectory()) waiting.push(below);
      else if (stat.nlink > 1) {
        const inode = `${stat.dev}:${stat.ino}`;
        if (linked.has(inode)) continue;
        linked.add(inode);
      }
      bytes += stat.blocks * 512;
    }
  }
  return bytes;
}

const escaped = /\\([0-7]{3})/g;

/** What the writable places of a container hold that are memory (all but `except`, its volumes): its writable layer. 0 where nobody may look. */
export async function memoryLayerBytes(pid: number, except: readonly string[]): Promise<number> {
  let mounts: string[];
  try {
    // Without a mount namespace of its own it has no such places: they are the machine's.
    if (readlinkSync(`/proc/${pid}/ns/mnt`) === readlinkSync("/proc/self/ns/mnt")) return 0;
    mounts = readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n");
  } catch {
    return 0;
  }
  let bytes = 0;
  for (const line of mounts) {
    const [before = "", after = ""] = line.split(" - ");
    const target = (before.split(" ")[4] ?? "").replaceAll(escaped, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
    if (!after.startsWith("tmpfs ") || target === "/" || /^\/(dev|proc|sys)(\/|$)/.test(target) || except.includes(target) || !before.split(" ")[5]?.startsWith("rw")) continue;
    const found = await statfs(`/proc/${pid}/root${target}`).catch(() => undefined);
    if (found) bytes += (found.blocks - found.bfree) * found.bsize;
  }
  return bytes;
}
