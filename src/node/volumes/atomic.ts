import { createHash } from "node:crypto";
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Owner } from "./open.ts";

/** Files of a volume that the agent writes: relative path → content and mode. */
export type Payload = Map<string, { data: Buffer; mode: number }>;

/**
 * Puts a payload into a folder so that readers see either all of the old files or all of the new ones: the files
 * lie in a folder of their own (`..2026_11_21_…`), `..data` points to it and is swapped by one rename, and the
 * visible names point through `..data`. Returns false when nothing had changed. Synchronous, since `dir` lies in memory
 * and a trip to the thread pool costs more than each step.
 * Source of the layout: k8s.io/kubernetes/pkg/volume/util/atomic_writer.go.
 */
export function writePayload(dir: string, payload: Payload, nowMs: number, owner?: Owner): boolean {
  const digest = digestOf(payload);
  const data = join(dir, "..data");
  if (linkTarget(data)?.endsWith(`.${digest}`)) return false;

  const stamp = new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-T:]/g, "_");
  const name = `..${stamp}.${digest}`;
  const fresh = join(dir, name);
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { mode: 0o755 });
  for (const [path, { data, mode }] of payload) {
    const file = join(fresh, path);
    if (path.includes("/")) mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(file, data, { mode });
    // The umask took its share.
    if (owner) chownSync(file, owner.uid, owner.gid);
    chmodSync(file, owner?.shared ? mode | 0o440 : mode);
    if (path.includes("/")) shareFolder(dirname(file), owner);
  }
  for (const folder of [fresh, dir]) shareFolder(folder, owner);
  const temporary = join(dir, "..data_tmp");
  rmSync(temporary, { force: true });
  symlinkSync(name, temporary);
  renameSync(temporary, data);

  const visible = new Set([...payload.keys()].map((path) => path.split("/")[0]!));
  for (const entry of readdirSync(dir)) {
    if (entry === "..data" || entry === name) continue;
    // Old generations, and names that the payload no longer has.
    if (entry.startsWith("..") || !visible.has(entry)) rmSync(join(dir, entry), { recursive: true, force: true });
  }
  for (const entry of visible) {
    const link = join(dir, entry);
    if (!lstatSync(link, { throwIfNoEntry: false })) symlinkSync(join("..data", entry), link);
  }
  return true;
}

/** The agent's own folders stay its own; a group that shares the volume may pass and look. */
function shareFolder(folder: string, owner: Owner | undefined): void {
  if (!owner?.shared) return;
  chownSync(folder, -1, owner.gid);
  chmodSync(folder, 0o2755);
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function digestOf(payload: Payload): string {
  const hash = createHash("sha256");
  for (const [path, { data, mode }] of [...payload].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${path}\0${mode}\0${data.length}\0`).update(data);
  return hash.digest("hex").slice(0, 16);
}
