import { type Clock, delay } from "../../base/clock.ts";
import type { DirectConnection } from "../sandbox/sandbox.ts";
import { type Sockets, socketsOf } from "./sockets.ts";

/** How long a program that is about to be restarted may go on with what it was asked before; most answers take less. */
const drainMs = 150;
/** The same for what other pods ask it directly: nobody asks again for them when a connection is cut. */
const directDrainMs = 500;
const lookMs = 10;

export interface DrainTarget {
  /** A process in the pod's network. */
  pid: number;
  ip: string;
  gatewayIP: string;
  clock: Clock;
  /** Has those wait who know the pod's own address, whom no withdrawal of readiness reaches, but for connections that are there. */
  hold?: ((ports: Sockets["listening"], passing: Sockets["direct"]) => Promise<void>) | undefined;
}

/**
 * Resolves when nobody is connected to the pod any more, or the time is up: no connection comes anew, since readiness was
 * withdrawn before and the ports are held here, and a program without a handler for SIGTERM would cut off the requests it is
 * at. Idle connections that clients keep open look like busy ones; they cost the whole time. Gives the ports that were
 * listened on.
 */
export async function drained({ pid, ip, gatewayIP, clock, hold }: DrainTarget): Promise<Sockets["listening"]> {
  const beganMs = clock.monotonicMs();
  let sockets = await socketsOf(pid, ip, gatewayIP);
  // One whose answer was written may still be acknowledging it: what has passed once goes on passing.
  const passing = new Map<string, DirectConnection>();
  while (sockets) {
    // One that was begun before the hold shows at a later look.
    for (const connection of sockets.direct) passing.set(JSON.stringify(connection), connection);
    await hold?.(sockets.listening, [...passing.values()]);
    // And one that was chosen just before the withdrawal shows a moment later.
    await delay(clock, lookMs);
    sockets = await socketsOf(pid, ip, gatewayIP);
    const patienceMs = hold && sockets && sockets.direct.length > 0 ? directDrainMs : drainMs;
    if (!sockets || sockets.established.length === 0 || clock.monotonicMs() - beganMs >= patienceMs) break;
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
