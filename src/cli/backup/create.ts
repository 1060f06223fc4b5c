import { existsSync, readdirSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { WherryError } from "../../base/errors.ts";
import { silentLog } from "../../base/log.ts";
import { socketPath } from "../../base/socket-path.ts";
import { lockDataDir, openStore, ownerOf, wherryVersion } from "../../wherry.ts";
import { type Description, formatVersion, writeArchive } from "./archive.ts";
import { copyTree } from "./copy-tree.ts";

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

/** What is made at each start, belongs to one run, or is found elsewhere. Everything else in a data directory is data. */
const notData = new Set(["lock", "kubeconfig", "wherry.log", "images", "sandbox", "pods", "volumes"]);
const isData = (name: string): boolean => !notData.has(name) && !name.startsWith("store.db") && !name.startsWith(".") && !/\.(sock|tmp|stale)$/.test(name);
const stagingPrefix = ".backup-";

/**
 * Takes a backup of a data directory whose stack runs or not. Programs with volumes stand still while those are copied
 * to a folder beside them, and the store with them; packing comes after.
 */
export async function createBackup(options: BackupOptions): Promise<BackupResult> {
  const { dataDir, file, signal, onProgress } = options;
  if (!existsSync(join(dataDir, "store.db"))) throw new WherryError("NOT_RUNNING", `there is nothing to back up: ${dataDir} holds no stack`);
  const owner = ownerOf(dataDir);
  // Nobody may start the stack while its files are read.
  const lock = owner ? undefined : lockDataDir(dataDir);
  const staging = join(dataDir, `${stagingPrefix}${process.pid}`);
  try {
    await removeLeftovers(dataDir);
    await mkdir(staging, { mode: 0o700 });
    let bytes = 0;
    let pausedMs: number | undefined;
    const leftOut: string[] = [];
    const pause = owner ? await pausePods(dataDir, podsWithVolumes(dataDir)) : undefined;
    let revision: number;
    const began = performance.now();
    try {
      revision = await copyStore(dataDir, join(staging, "store.db"), owner !== undefined);
      for (const folder of volumeFolders(dataDir)) {
        await mkdir(join(staging, folder, ".."), { recursive: true, mode: 0o700 });
        const copied = await copyTree(join(dataDir, folder), join(staging, folder), { signal, onFile: (so) => onProgress(`copying volumes: ${megabytes(bytes + so.bytes)}`) });
        bytes += copied.bytes;
        leftOut.push(...copied.leftOut.map((path) => path.slice(dataDir.length + 1)));
      }
    } finally {
      pause?.resume();
    }
    if (pause) pausedMs = performance.now() - began;
    for (const name of readdirSync(dataDir).filter(isData)) await copyTree(join(dataDir, name), join(staging, name));
    const description: Description = { format: formatVersion, wherry: wherryVersion(), createdAt: new Date().toISOString(), revision, dataDir, leftOut };
    const size = await writeArchive(staging, file, description, { signal, onBytes: (count) => onProgress(`packing: ${megabytes(count)}`) });
    return { file, bytes: size, revision, volumeBytes: bytes, pausedMs, leftOut };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") throw new WherryError("DISK_FULL", `no room for the backup: ${(error as Error).message}; the copy in ${staging} and ${file} were removed`, { cause: error });
    throw error;
  } finally {
    await rm(staging, { recursive: true, force: true });
    lock?.release();
  }
}

export const megabytes = (bytes: number): string => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);

/** Copies that a backup left behind which was killed. */
async function removeLeftovers(dataDir: string): Promise<void> {
  for (const name of readdirSync(dataDir)) {
    const pid = Number(name.startsWith(stagingPrefix) ? name.slice(stagingPrefix.length) : Number.NaN);
    if (Number.isInteger(pid) && !existsSync(`/proc/${pid}`)) await rm(join(dataDir, name), { recursive: true, force: true });
  }
}

/** Volumes of claims, and the pods' own: emptyDir and what images declare. */
function volumeFolders(dataDir: string): string[] {
  const below = (folder: string) => (existsSync(join(dataDir, folder)) ? readdirSync(join(dataDir, folder)).map((name) => `${folder}/${name}`) : []);
  return [...below("volumes"), ...below("pods").map((pod) => `${pod}/volumes`).filter((folder) => existsSync(join(dataDir, folder)))];
}

/** Every pod of this node has a folder here; one whose volumes lie in `volumes/` alone is among them. */
const podsWithVolumes = (dataDir: string): string[] => (existsSync(join(dataDir, "pods")) ? readdirSync(join(dataDir, "pods")) : []);

/** Stops the programs of these pods. Should this process die, the agent lets them go on. */
async function pausePods(dataDir: string, pods: readonly string[]): Promise<{ resume(): void }> {
  const { line, socket } = await ask(socketPath(dataDir, "agent.sock"), { op: "freeze", pods });
  const answer = JSON.parse(line) as { ok: boolean; status?: { message?: string } };
  if (!answer.ok) throw new WherryError("BACKUP_FAILED", `the programs could not be paused: ${answer.status?.message}`);
  return { resume: () => socket.destroy() };
}

async function copyStore(dataDir: string, file: string, isRunning: boolean): Promise<number> {
  if (!isRunning) {
    const store = await openStore(dataDir, silentLog);
    try {
      return await store.copyTo(file);
    } finally {
      await store.close();
    }
  }
  const { line } = await ask(socketPath(dataDir, "store.sock"), { copyTo: file });
  const answer = JSON.parse(line) as { revision: number } | { error: string; full: boolean };
  if ("revision" in answer) return answer.revision;
  throw new WherryError(answer.full ? "DISK_FULL" : "BACKUP_FAILED", answer.error);
}

/** One line out, one line back; the connection stays open. */
function ask(path: string, request: object): Promise<{ line: string; socket: Socket }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const gone = (error?: Error) => reject(new WherryError("NOT_RUNNING", `the stack does not answer on ${path}${error ? `: ${error.message}` : ""}`));
    socket.once("error", gone);
    socket.once("close", () => gone());
    createInterface({ input: socket }).once("line", (line) => resolve({ line, socket }));
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
