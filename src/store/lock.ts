import { closeSync, fsyncSync, linkSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { WherryError } from "../base/errors.ts";

/**
 * One process owns a data directory. The lock is a file that names its owner by pid, start time and boot, so that
 * a reused pid is not taken for the owner and a lock left over by kill -9 or power loss does not block anybody.
 */
export interface Owner {
  pid: number;
  /** Field 22 of /proc/<pid>/stat: clock ticks after boot. Empty where there is no /proc. */
  started: string;
  /** Which boot of the machine `started` belongs to. */
  boot: string;
}

/** Takes the lock, or throws DATA_DIR_LOCKED naming the owner. Never signals anybody. */
export function lockDataDir(dataDir: string): { release(): void } {
  const file = lockFile(dataDir);
  const own: Owner = { pid: process.pid, started: startOf(process.pid) ?? "", boot: bootId() };
  const draft = `${file}.${own.pid}.tmp`;
  try {
    write(draft, JSON.stringify(own));
  } catch (error) {
    throw new WherryError("DATA_DIR_UNREADABLE", `the lock of ${dataDir} cannot be written: ${(error as Error).message}`, { cause: error });
  }
  try {
    for (;;) {
      // A link appears with its whole content or not at all, and fails when the name is taken: O_EXCL without a moment of emptiness.
      if (link(draft, file)) break;
      const owner = ownerOf(dataDir);
      if (owner) throw new WherryError("DATA_DIR_LOCKED", `${dataDir} belongs to a running Wherry, process ${owner.pid}`);
      removeStale(file, own.pid);
    }
  } finally {
    unlinkSync(draft);
  }
  let released = false;
  return {
    release() {
      if (released) return;
      released = true;
      if (same(readOwner(file), own)) unlinkSync(file);
    },
  };
}

/** The living owner of a data directory, if there is one. */
export function ownerOf(dataDir: string): Owner | undefined {
  const owner = readOwner(lockFile(dataDir));
  return owner && lives(owner) ? owner : undefined;
}

/** Signals the owner, after checking that the pid is still the process that took the lock. False: there is none. */
export function signalOwner(dataDir: string, signal: NodeJS.Signals): boolean {
  const owner = ownerOf(dataDir);
  if (!owner || owner.pid <= 1 || owner.pid === process.pid) return false;
  process.kill(owner.pid, signal);
  return true;
}

const lockFile = (dataDir: string): string => join(dataDir, "lock");

/**
 * Moves a dead owner's lock out of the way. Two that do this at once must not remove each other's fresh lock:
 * the rename takes whatever is there now, so what was taken is looked at again and put back if it lives. (Should a
 * third slip in right then, the lock of the database still stops it.)
 */
function removeStale(file: string, pid: number): void {
  const aside = `${file}.${pid}.stale`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  const taken = readOwner(aside);
  if (taken && lives(taken)) link(aside, file);
  unlinkSync(aside);
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function write(file: string, content: string): void {
  const descriptor = openSync(file, "w", 0o600);
  try {
    writeSync(descriptor, content);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The owner that a lock names; undefined when there is none, or what is there was not written by us in whole. */
function readOwner(file: string): Owner | undefined {
  try {
    const { pid, started, boot } = JSON.parse(readFileSync(file, "utf8")) as Partial<Owner>;
    if (Number.isSafeInteger(pid) && typeof started === "string" && typeof boot === "string") return { pid: pid!, started, boot };
  } catch {}
  return undefined;
}

/** Whether this very process still runs; a pid that somebody else has by now is not it. */
export function lives(owner: Owner): boolean {
  if (owner.boot !== bootId()) return false;
  const started = startOf(owner.pid);
  if (started !== undefined) return started === owner.started;
  // No such process in /proc, or no /proc at all (macOS): ask the kernel, and in doubt say that it lives.
  if (owner.started !== "") return false;
  try {
    process.kill(owner.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

const same = (a: Owner | undefined, b: Owner): boolean => a?.pid === b.pid && a.started === b.started && a.boot === b.boot;

/** The start time of a process that runs (a zombie does not: it holds nothing any more). */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The program's name, field 2, may hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}
