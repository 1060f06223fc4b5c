import { createHash } from "node:crypto";
import { chown, lstat, mkdir, readdir, readlink, rename, rm, symlink, writeFile, chmod } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Files of a volume that the agent writes: relative path → content and mode. */
export type Payload = Map<string, { data: Buffer; mode: number }>;

/**
 * Puts a payload into a folder so that readers see either all of the old files or all of the new ones: the files
 * lie in a folder of their own (`..2026_11_21_…`), `..data` points to it and is swapped by one rename, and the
 * visible names point through `..data`. Returns false when nothing had changed.
 * Source of the layout: k8s.io/kubernetes/pkg/volume/util/atomic_writer.go.
 */
export async function writePayload(dir: string, payload: Payload, nowMs: number, owner?: number): Promise<boolean> {
  const digest = digestOf(payload);
  const data = join(dir, "..data");
  const current = await readlink(data).catch(() => undefined);
  if (current?.endsWith(`.${digest}`)) return false;

  const stamp = new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-T:]/g, "_");
  const name = `..${stamp}.${digest}`;
  const fresh = join(dir, name);
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true, mode: 0o755 });
  for (const [path, { data, mode }] of payload) {
    const file = join(fresh, path);
    await mkdir(dirname(file), { recursive: true, mode: 0o755 });
    await writeFile(file, data, { mode });
    // The umask took its share.
    await chmod(file, mode);
    if (owner !== undefined) await chown(file, owner, owner);
  }
  const temporary = join(dir, "..data_tmp");
  await rm(temporary, { force: true });
  await symlink(name, temporary);
  await rename(temporary, data);

  const visible = new Set([...payload.keys()].map((path) => path.split("/")[0]!));
  for (const entry of await readdir(dir)) {
    if (entry === "..data" || entry === name) continue;
    // Old generations, and names that the payload no longer has.
    if (entry.startsWith("..") || !visible.has(entry)) await rm(join(dir, entry), { recursive: true, force: true });
  }
  for (const entry of visible) {
    const link = join(dir, entry);
    if (!(await lstat(link).catch(() => undefined))) await symlink(join("..data", entry), link);
  }
  return true;
}

function digestOf(payload: Payload): string {
  const hash = createHash("sha256");
  for (const [path, { data, mode }] of [...payload].sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(`${path}\0${mode}\0${data.length}\0`).update(data);
  return hash.digest("hex").slice(0, 16);
}
