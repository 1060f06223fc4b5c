import { delay } from "../base/clock.ts";
import { type Random, systemRandom } from "../base/random.ts";
import { type Holding, LeaseCandidate, type LeaseOptions } from "./lease.ts";

export { Fence, FencedError, type Holding, type LeaseOptions } from "./lease.ts";

/**
 * Leader election and locks between the replicas of a program, on Leases.
 *
 *   const election = startElection({ client, namespace, name: "reports" }, async ({ token }, signal) => {
 *     // This replica leads until `signal` fires. `token` goes with each write.
 *   });
 *   service.onClose("election", () => election.stop());
 */
export interface ElectionOptions extends LeaseOptions {
  /** Of a try that failed; it goes on all the same. */
  onError?: (error: unknown) => void;
  /** Of each new leader that is seen, oneself among them. */
  onLeader?: (identity: string) => void;
  random?: Random;
}

export interface Election {
  readonly identity: string;
  /** Defined while this process leads; asks the clock each time. */
  readonly holding: Holding | undefined;
  /** Who led when last it was looked at. */
  readonly leader: string | undefined;
  /** Ends the work, waits for it, and gives the Lease up. */
  stop(): Promise<void>;
}

/** A server that does not answer must not hold up an end: the lease then runs out by itself. */
const releaseMs = 5_000;

/** `lead` runs each time this process is elected, until its signal fires; what it throws ends its term, and it stands again. */
export function startElection(options: ElectionOptions, lead: (holding: Holding, signal: AbortSignal) => unknown): Election {
  const candidate = new LeaseCandidate(options);
  const stop = new AbortController();
  // Who stands stays: the clock's timers would let a program end that does nothing else.
  const alive = setInterval(() => {}, 2 ** 31 - 1);
  const done = run(candidate, options, lead, stop.signal).finally(() => clearInterval(alive));
  return {
    identity: candidate.identity,
    get holding() {
      return candidate.holding;
    },
    get leader() {
      return candidate.holder;
    },
    stop() {
      stop.abort(new Error("the election was stopped"));
      return done;
    },
  };
}

async function run(candidate: LeaseCandidate, { onError, onLeader, random = systemRandom }: ElectionOptions, lead: (holding: Holding, signal: AbortSignal) => unknown, stop: AbortSignal): Promise<void> {
  const { clock, retryMs } = candidate;
  let leader: string | undefined;
  const look = async (): Promise<boolean> => {
    const isHeld = await attempt(candidate, stop).catch((error: unknown) => {
      if (!stop.aborted) onError?.(error);
      return candidate.holding !== undefined;
    });
    if (candidate.holder !== undefined && candidate.holder !== leader) onLeader?.((leader = candidate.holder));
    return isHeld;
  };
  // As client-go: up to a fifth more, so that those who stand do not ask in step.
  const pause = () => delay(clock, retryMs * (1 + random.next() * 0.2), stop).catch(() => {});
  while (!stop.aborted) {
    if (!(await look()) || !candidate.holding) {
      await pause();
      continue;
    }
    await term(candidate, lead, look, stop, onError);
    // Who threw lets the others go first.
    if (!stop.aborted) await pause();
  }
}

/** From the election to the loss, the end of `lead`, or the stop. */
async function term(candidate: LeaseCandidate, lead: (holding: Holding, signal: AbortSignal) => unknown, look: () => Promise<boolean>, stop: AbortSignal, onError: ((error: unknown) => void) | undefined): Promise<void> {
  const { clock, retryMs } = candidate;
  const holding = candidate.holding!;
  const over = new AbortController();
  const lose = (reason: string) => over.abort(new Error(reason));
  const stopped = () => lose("the election was stopped");
  stop.addEventListener("abort", stopped, { once: true });
  const work = (async () => await lead(holding, over.signal))().catch((error: unknown) => {
    if (!over.signal.aborted) onError?.(error);
  });
  let hasEnded = false;
  void work.then(() => {
    hasEnded = true;
    lose("the work has ended");
  });
  while (!over.signal.aborted) {
    // Not later than the time that is left: a server that does not answer must not be waited for.
    const leftMs = candidate.goodUntilMs - clock.monotonicMs();
    await delay(clock, Math.max(0, Math.min(retryMs, leftMs)), over.signal).catch(() => {});
    if (over.signal.aborted) break;
    if (candidate.holding?.token !== holding.token) lose("the lease was lost");
    else if (!(await renew(candidate, look, over.signal)) || candidate.holding?.token !== holding.token) lose("the lease was lost");
  }
  stop.removeEventListener("abort", stopped);
  await work;
  // Also when it ended by itself: the others may go on at once.
  if (hasEnded) await candidate.release(AbortSignal.timeout(releaseMs)).catch((error: unknown) => onError?.(error));
}

/** Resolves at the latest when the time is up. */
async function renew(candidate: LeaseCandidate, look: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  const { clock } = candidate;
  const stop = new AbortController();
  const end = () => stop.abort();
  signal.addEventListener("abort", end, { once: true });
  const timeUp = delay(clock, Math.max(0, candidate.goodUntilMs - clock.monotonicMs()), stop.signal).then(() => false, () => candidate.holding !== undefined);
  const result = await Promise.race([look(), timeUp]);
  signal.removeEventListener("abort", end);
  stop.abort();
  return result;
}

/** A request without an answer is given up before it can be the reason that a lease is lost: there is time for another, by another connection. */
async function attempt(candidate: LeaseCandidate, stop: AbortSignal): Promise<boolean> {
  const late = new AbortController();
  const lateMs = candidate.renewDeadlineMs / 2;
  const timer = candidate.clock.setTimer(lateMs, () => late.abort(new Error(`no answer within ${lateMs} ms`)));
  const abort = () => late.abort(stop.reason);
  stop.addEventListener("abort", abort, { once: true });
  try {
    return await candidate.attempt(late.signal);
  } finally {
    timer.cancel();
    stop.removeEventListener("abort", abort);
  }
}

/**
 * Runs `work` while this process holds the lock, alone among all that use the same Lease; waits for it as long as `wait` allows.
 * Rejects with the reason of `wait`, or with what `work` throws. `signal` fires when the lock is lost: the work ends then.
 */
export async function withLock<T>(options: ElectionOptions & { wait?: AbortSignal }, work: (holding: Holding, signal: AbortSignal) => Promise<T> | T): Promise<T> {
  const { wait } = options;
  wait?.throwIfAborted();
  let outcome: { value: T } | { error: unknown } | undefined;
  // Not Promise.withResolvers: Node 20 has none.
  let end = () => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  let isHeld = false;
  const giveUp = () => {
    if (!isHeld) end();
  };
  wait?.addEventListener("abort", giveUp, { once: true });
  const election = startElection(options, async (holding, signal) => {
    if (outcome) return;
    isHeld = true;
    try {
      outcome = { value: await work(holding, signal) };
    } catch (error) {
      outcome = { error };
    }
    end();
  });
  await ended;
  wait?.removeEventListener("abort", giveUp);
  await election.stop();
  if (!outcome) throw wait!.reason;
  if ("error" in outcome) throw outcome.error;
  return outcome.value;
}
