import { type Clock, delay } from "../../base/clock.ts";
import { type Sockets, socketsOf } from "./sockets.ts";

/** How long a program that is about to be restarted may go on with what it was asked before; most answers take less. */
const drainMs = 150;
const lookMs = 10;

export interface DrainTarget {
  /** A process in the pod's network. */
  pid: number;
  ip: string;
  gatewayIP: string;
  clock: Clock;
  /** Keeps those from coming who know the pod's own address, whom no withdrawal of readiness reaches; told none, lets them again. */
  hold?: ((ports: Sockets["listening"]) => Promise<void>) | undefined;
}

/**
 * Resolves when nobody is connected to the pod any more, or the time is up: readiness was withdrawn before, so that no
 * connection comes anew, and a program without a handler for SIGTERM would cut off the requests it is at. Idle
 * connections that clients keep open look like busy ones; they cost the whole time. Then, for as long again at the most, an
 * instant is looked for at which no other pod is connected, to hold these. Gives the ports that were listened on.
 */
export async function drained({ pid, ip, gatewayIP, clock, hold }: DrainTarget): Promise<Sockets["listening"]> {
  const look = async () => {
    // A connection that was chosen just before the withdrawal shows a moment later.
    await delay(clock, lookMs);
    return await socketsOf(pid, ip, gatewayIP);
  };
  let endMs = clock.monotonicMs() + drainMs;
  let sockets = await look();
  while (sockets && sockets.established.length > 0 && clock.monotonicMs() < endMs) sockets = await look();
  endMs = clock.monotonicMs() + drainMs;
  for (; sockets && hold; sockets = await look()) {
    const isOver = clock.monotonicMs() >= endMs;
    if (sockets.direct > 0 && !isOver) continue;
    await hold(sockets.listening);
    if (isOver || ((await socketsOf(pid, ip, gatewayIP))?.direct ?? 0) === 0) break;
    // One slipped through before the hold, and its packets must pass.
    await hold(new Set());
  }
  return sockets?.listening ?? new Set();
}

/** Resolves true when the ports are listened on again; false at `signal`, or when that cannot be known. */
export async function listensAgain(ports: Sockets["listening"], { pid, ip, gatewayIP, clock }: DrainTarget, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    const sockets = await socketsOf(pid, ip, gatewayIP);
    if (!sockets) return false;
    if ([...ports].every((port) => sockets.listening.has(port))) return true;
    await delay(clock, lookMs);
  }
  return false;
}
