import { type Clock, delay } from "../../base/clock.ts";
import { type Sockets, socketsOf } from "./sockets.ts";

/** How long a program that is about to be restarted may go on with what it was asked before; most answers take less. */
const drainMs = 150;
const lookMs = 10;

/**
 * Resolves when nobody is connected to the pod any more, or the time is up: readiness was withdrawn before, so that no
 * connection comes anew, and a program without a handler for SIGTERM would cut off the requests it is at. Idle
 * connections that clients keep open look like busy ones; they cost the whole time. Gives the ports that were listened on.
 */
export async function drained(pid: number, ip: string, clock: Clock): Promise<Sockets["listening"]> {
  const endMs = clock.monotonicMs() + drainMs;
  for (;;) {
    // A connection that was chosen just before the withdrawal shows a moment later.
    await delay(clock, lookMs);
    const sockets = await socketsOf(pid, ip);
    if (!sockets || sockets.established.length === 0 || clock.monotonicMs() >= endMs) return sockets?.listening ?? new Set();
  }
}

/** Resolves true when the ports are listened on again; false at `signal`, or when that cannot be known. */
export async function listensAgain(ports: Sockets["listening"], pid: number, ip: string, clock: Clock, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    const sockets = await socketsOf(pid, ip);
    if (!sockets) return false;
    if ([...ports].every((port) => sockets.listening.has(port))) return true;
    await delay(clock, lookMs);
  }
  return false;
}
