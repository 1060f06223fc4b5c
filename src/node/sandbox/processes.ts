import { closeSync, openSync, readFileSync, readdirSync, readlinkSync } from "node:fs";

/** A process as Wherry remembers it: a pid alone may be somebody else's tomorrow. */
export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks between boot and the start of the process. */
  startTicks: string;
}

/** The fields of /proc/PID/stat after the command's name, which may itself hold spaces and brackets. Index 0 is the state. */
function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/**
 * Who `pid` is now, or undefined when no such process lives. A zombie does not, nor one without memory: a namespace's
 * PID 1 that was killed waits, emptied, until the machine's init has buried the last of the namespace.
 */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid);
  if (!fields || fields[0] === "Z" || fields[0] === "X" || fields[20] === "0") return undefined;
  return { pid, startTicks: fields[19]! };
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTicks === process.startTicks;
}

export function parentOf(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields ? Number(fields[1]) : undefined;
}

/** The session a process is in: the pid of the process that made it. */
export function sessionOf(pid: number): number | undefined {
  const fields = statFields(pid);
  return fields ? Number(fields[3]) : undefined;
}

/** Children of any thread of `pid`, oldest first. Falls back to a scan where the kernel lacks `children` files. */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").split(" ").filter(Boolean).map(Number));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || !identify(pid)) return [];
    return allPids().filter((other) => parentOf(other) === pid);
  }
}

/** The first process at or below `pid` that is in another pid namespace than Wherry: the future PID 1 behind its wrappers. */
export function namespacedBelow(pid: number): ProcessIdentity | undefined {
  const own = readlinkSync("/proc/self/ns/pid");
  for (const child of descendantsOf(pid).slice(1)) {
    try {
      if (readlinkSync(`/proc/${child}/ns/pid`) !== own) return identify(child);
    } catch {
      // Gone.
    }
  }
  return undefined;
}

/** The process below `pid` that calls itself `inner` in its own pid namespace. */
export function namedBelow(pid: number, inner: number): ProcessIdentity | undefined {
  for (const child of descendantsOf(pid).slice(1)) {
    try {
      const names = /^NSpid:(.*)$/m.exec(readFileSync(`/proc/${child}/status`, "latin1"))?.[1]!.trim().split(/\s+/) ?? [];
      if (names.length > 1 && Number(names.at(-1)) === inner) return identify(child);
    } catch {
      // Gone.
    }
  }
  return undefined;
}

function wordsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1");
  } catch {
    return "";
  }
}

/**
 * Whether an init has started its program so far that a signal to the init reaches it. A child that was forked and not
 * yet executed still has the init's words, and its handlers: a signal would be swallowed by them.
 */
export function programRuns(init: number): boolean {
  const [child] = childrenOf(init);
  if (child === undefined) return false;
  const words = wordsOf(child);
  return identify(child) === undefined || (words !== "" && words !== wordsOf(init) && !words.includes("\0--default-signal"));
}

/** The mounts that a process sees, by name: one such namespace a container. Undefined when it is gone or not ours to ask. */
function mountNamespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

/**
 * The mounts of one container, held: the kernel gives the name of a namespace that is gone to the next that is made, anybody's, so
 * a name means something only as long as somebody keeps the namespace.
 */
export class HeldMounts {
  readonly name: string;
  #fd: number | undefined;

  /** Undefined when the process is gone, or still sees the mounts of this one. */
  static of(pid: number): HeldMounts | undefined {
    let fd: number;
    try {
      fd = openSync(`/proc/${pid}/ns/mnt`, "r");
    } catch {
      return undefined;
    }
    // Of what was opened, not of what the process has by now.
    const held = new HeldMounts(fd, readlinkSync(`/proc/self/fd/${fd}`));
    if (held.name !== mountNamespaceOf(process.pid)) return held;
    held.close();
    return undefined;
  }
  private constructor(fd: number, name: string) {
    this.#fd = fd;
    this.name = name;
  }
  /** Who sees these mounts now. None once it is closed. */
  processes(): ProcessIdentity[] {
    if (this.#fd === undefined) return [];
    return allPids().flatMap((pid) => {
      const identity = mountNamespaceOf(pid) === this.name ? identify(pid) : undefined;
      // Seen twice: a process that was started in place of one that has gone since is not meant.
      return identity && mountNamespaceOf(pid) === this.name ? [identity] : [];
    });
  }
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** `pid` and everything below it. A process that starts meanwhile may be missed. */
export function descendantsOf(pid: number): number[] {
  const found = [pid];
  for (let i = 0; i < found.length; i++) found.push(...childrenOf(found[i]!));
  return found;
}

export function allPids(): number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
}

/**
 * Sends a signal to exactly this process. Refuses (returns false) when the pid is not above 1, is Wherry itself or
 * one of its parents, or belongs to another process by now. Never signals a group.
 */
export function signalProcess(target: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!Number.isInteger(target.pid) || target.pid <= 1) return false;
  for (let pid: number | undefined = process.pid; pid !== undefined && pid > 0; pid = parentOf(pid)) if (pid === target.pid) return false;
  if (!isAlive(target)) return false;
  try {
    process.kill(target.pid, signal);
    return true;
  } catch {
    return false;
  }
}

const ticksPerSecond = 100; // sysconf(_SC_CLK_TCK): 100 on every Linux that Node runs on.
const pageBytes = 4096n;
let pageSize: bigint | undefined;

/** CPU of the processes and of their waited-for children, and their anonymous memory. */
export function usageOf(pids: Iterable<number>): { cpuNs: number; memoryBytes: number } {
  let ticks = 0;
  let pages = 0n;
  for (const pid of pids) {
    const fields = statFields(pid);
    if (!fields) continue;
    for (const index of [11, 12, 13, 14]) ticks += Number(fields[index]);
    try {
      const [, resident, shared] = readFileSync(`/proc/${pid}/statm`, "latin1").split(" ");
      pages += BigInt(resident!) - BigInt(shared!);
    } catch {
      // Gone between the two reads.
    }
  }
  pageSize ??= detectPageSize();
  return { cpuNs: (ticks * 1e9) / ticksPerSecond, memoryBytes: Number(pages * pageSize) };
}

/** From smaps, which states it: arm64 kernels use 4, 16 or 64 KiB. */
function detectPageSize(): bigint {
  const kilobytes = /^KernelPageSize:\s+(\d+) kB/m.exec(readFileSync("/proc/self/smaps", "latin1"))?.[1];
  return kilobytes ? BigInt(kilobytes) * 1024n : pageBytes;
}

export function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    return "";
  }
}
