import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { type Clock, delay } from "../base/clock.ts";
import { allPids, descendantsOf, identify, isAlive, type ProcessIdentity, sessionOf, signalProcess } from "./sandbox/processes.ts";
import { containerVariable } from "./sandbox/leftovers.ts";

/**
 * Stops every process of some containers where it stands, so that their files are at rest: what a copy taken meanwhile
 * holds is what a power cut would have left, at one instant for all of them, and databases recover from that by design.
 * Processes that were stopped already are left so by `thaw`.
 */
export interface Frozen {
  readonly processes: number;
  thaw(): void;
}

/** A program may fork faster than it is stopped, but not for ever: a stopped parent forks no more. */
const roundsMax = 50;
/** A process that waits for the disk stops when it has what it waits for. */
const settleMs = 5_000;

/** `inits`: pids of the containers' first processes. Throws, and lets all go on, when not everything can be stopped. */
export async function freeze(inits: readonly number[], clock: Clock): Promise<Frozen> {
  const stopped = new Map<number, ProcessIdentity>();
  const thaw = (): void => {
    // Children first: who waits for them finds them running.
    for (const process of [...stopped.values()].reverse()) signalProcess(process, "SIGCONT");
    stopped.clear();
  };
  try {
    for (let round = 0; ; round++) {
      const fresh = processesOf(inits).filter(({ pid, startTicks }) => stopped.get(pid)?.startTicks !== startTicks && !isStopped(pid));
      if (fresh.length === 0) break;
      if (round === roundsMax) throw new Error(`processes ${fresh.map(({ pid }) => pid).join(", ")} could not be stopped`);
      for (const process of fresh) if (signalProcess(process, "SIGSTOP")) stopped.set(process.pid, process);
    }
    const deadline = clock.monotonicMs() + settleMs;
    for (let moving = movingOf(stopped); moving.length > 0; moving = movingOf(stopped)) {
      if (clock.monotonicMs() > deadline) throw new Error(`processes ${moving.join(", ")} did not stop within ${settleMs / 1000} s`);
      await delay(clock, 2);
    }
  } catch (error) {
    thaw();
    throw error;
  }
  return { processes: stopped.size, thaw };
}

const movingOf = (stopped: ReadonlyMap<number, ProcessIdentity>): number[] => [...stopped.values()].filter((process) => isAlive(process) && !isStopped(process.pid)).map(({ pid }) => pid);

/** All threads of it: one that waits for the disk still writes. */
function isStopped(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) => {
      const text = readFileSync(`/proc/${pid}/task/${thread}/stat`, "latin1");
      return /^[TtZX]/.test(text.slice(text.lastIndexOf(")") + 2));
    });
  } catch {
    return true; // Gone.
  }
}

/**
 * What descends from the inits, and what is theirs by other ways: it lives in their pid namespace (exec), or, where they
 * have none, in the session that was made for the program or with the container's mark (daemons). Parents before children.
 */
function processesOf(inits: readonly number[]): ProcessIdentity[] {
  const found = new Set(inits.flatMap(descendantsOf));
  const own = namespaceOf(process.pid);
  const namespaces = new Set(inits.map(namespaceOf).filter((name) => name !== undefined && name !== own));
  const plain = inits.filter((pid) => namespaceOf(pid) === own);
  const marks = new Set(plain.flatMap((pid) => markOf(pid) ?? []));
  for (const pid of allPids()) {
    if (namespaces.size > 0 && namespaces.has(namespaceOf(pid))) found.add(pid);
    else if (plain.length > 0 && (plain.includes(sessionOf(pid) ?? 0) || marks.has(markOf(pid) ?? ""))) found.add(pid);
  }
  return [...found].flatMap((pid) => identify(pid) ?? []);
}

/** Which container of plain mode a process says that it is of. */
function markOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").find((entry) => entry.startsWith(`${containerVariable}=`));
  } catch {
    return undefined; // Gone, or another user's.
  }
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}
