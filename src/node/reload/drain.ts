import { readFile } from "node:fs/promises";
import { type Clock, delay } from "../../base/clock.ts";

/** How long a program that is about to be restarted may go on with what it was asked before; most answers take less. */
const drainMs = 150;
const lookMs = 10;

/**
 * Resolves when nobody is connected to the pod any more, or the time is up: readiness was withdrawn before, so that no
 * connection comes anew, and a program without a handler for SIGTERM would cut off the requests it is at. Idle
 * connections that clients keep open look like busy ones; they cost the whole time.
 */
export async function drained(pid: number, ip: string, clock: Clock): Promise<void> {
  const endMs = clock.monotonicMs() + drainMs;
  // A connection that was chosen just before the withdrawal shows a moment later.
  do await delay(clock, lookMs);
  while ((await connectionsTo(pid, ip)) !== 0 && clock.monotonicMs() < endMs);
}

/** Established connections to ports that somebody in the pod listens on; undefined when the kernel does not say. */
export async function connectionsTo(pid: number, ip: string): Promise<number | undefined> {
  try {
    const tables = await Promise.all(["tcp", "tcp6"].map((table) => readFile(`/proc/${pid}/net/${table}`, "latin1").catch(() => "")));
    return countConnections(tables.join("\n"), ip);
  } catch {
    return undefined;
  }
}

/** Source of the format: proc(5), /proc/net/tcp. An address is written in the machine's byte order, IPv4 inside IPv6 in its last word. */
export function countConnections(tables: string, ip: string): number {
  const address = ip.split(".").map((part) => Number(part).toString(16).padStart(2, "0")).reverse().join("").toUpperCase();
  const listening = new Set<string>();
  const established: string[] = [];
  for (const line of tables.split("\n")) {
    const [, local, , state] = line.trim().split(/\s+/);
    const [where, port] = local?.split(":") ?? [];
    if (port === undefined) continue;
    if (state === "0A") listening.add(port);
    else if (state === "01" && where!.endsWith(address)) established.push(port);
  }
  return established.filter((port) => listening.has(port)).length;
}
