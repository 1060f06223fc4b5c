import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Client } from "../api/client.ts";
import type { KubeObject } from "../api/meta.ts";
import { StatusError } from "../api/status.ts";
import { type Clock, systemClock } from "../base/clock.ts";

/**
 * One candidate for one Lease of `coordination.k8s.io/v1`, by the rules of client-go's leader election: programs in Go and in
 * TypeScript may stand for the same Lease.
 *
 * No two clocks are compared. Whether somebody else's lease is over is measured here, from when its last change was *seen*; how
 * long an own one is good, from before the write that renewed it was *sent*. What remains is a process that is stopped between
 * looking at its watch and doing the work: for that there is the fencing token.
 * Source: k8s.io/client-go/tools/leaderelection/leaderelection.go (tryAcquireOrRenew, release).
 */
export interface LeaseOptions {
  client: Client;
  namespace: string;
  /** Of the Lease. */
  name: string;
  /** Unlike that of any other process, ever: a restarted program is somebody else. Made up unless said. */
  identity?: string;
  /** For so long after its last sign of life a holder is left alone; whole seconds; 15 s unless said. */
  durationMs?: number;
  /** A holder that could not renew for so long has lost it; 2/3 of `durationMs` unless said, always less than it. */
  renewDeadlineMs?: number;
  /** Between tries; 2/15 of `durationMs` unless said. */
  retryMs?: number;
  clock?: Clock;
}

/** Of one holding, from the acquisition to the loss. */
export interface Holding {
  /**
   * Greater than that of every earlier holder of this Lease, whoever it was. It goes with each write of protected data, and who
   * keeps these refuses a lesser one than it has seen ({@link Fence}). It is the `resourceVersion` of the write that acquired the Lease,
   * which also grows when the Lease itself was deleted meanwhile; `leaseTransitions` begins anew then.
   */
  readonly token: number;
  /** `leaseTransitions`: how often the Lease went from one to another. */
  readonly term: number;
}

interface LeaseObject extends KubeObject {
  spec?: { holderIdentity?: string | null; leaseDurationSeconds?: number | null; acquireTime?: string | null; renewTime?: string | null; leaseTransitions?: number | null };
}

const resource = { group: "coordination.k8s.io", version: "v1", resource: "leases" };

interface Held extends Holding {
  /** Monotonic. */
  goodUntilMs: number;
  /** By the clock on the wall: a machine that was put to sleep wakes with the monotonic time at which it fell asleep. */
  goodUntil: number;
}

export class LeaseCandidate {
  readonly identity: string;
  readonly durationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryMs: number;
  readonly clock: Clock;
  readonly #client: Client;
  readonly #namespace: string;
  readonly #name: string;
  #seen: { lease: LeaseObject; text: string; atMs: number } | undefined;
  #held: Held | undefined;

  constructor(options: LeaseOptions) {
    const { durationMs = 15_000, renewDeadlineMs = (durationMs * 2) / 3, retryMs = Math.max(50, (durationMs * 2) / 15) } = options;
    if (!Number.isInteger(durationMs / 1000) || durationMs <= 0) throw new TypeError(`lease ${options.name}: durationMs: Invalid value: ${durationMs}: must be whole seconds`);
    if (renewDeadlineMs >= durationMs || retryMs >= renewDeadlineMs) throw new TypeError(`lease ${options.name}: must be retryMs (${retryMs}) < renewDeadlineMs (${renewDeadlineMs}) < durationMs (${durationMs})`);
    this.identity = options.identity ?? `${process.env["HOSTNAME"] || hostname()}_${randomUUID()}`;
    this.durationMs = durationMs;
    this.renewDeadlineMs = renewDeadlineMs;
    this.retryMs = retryMs;
    this.clock = options.clock ?? systemClock;
    this.#client = options.client;
    this.#namespace = options.namespace;
    this.#name = options.name;
  }

  /** Looks at the clocks each time it is asked: right also after this process was stopped, or this machine asleep, for a while. */
  get holding(): Holding | undefined {
    return this.#held && this.clock.monotonicMs() < this.#held.goodUntilMs && this.clock.now() < this.#held.goodUntil ? this.#held : undefined;
  }
  /** Until when `holding` stays, if nothing more succeeds; monotonic. */
  get goodUntilMs(): number {
    return this.#held?.goodUntilMs ?? 0;
  }
  /** Who held it when last it was looked at. */
  get holder(): string | undefined {
    return this.#seen?.lease.spec?.holderIdentity || undefined;
  }

  /** One try to acquire or to renew. Resolves with whether it is held now; rejects when the server did not answer as it should. */
  async attempt(signal?: AbortSignal): Promise<boolean> {
    // Twice at once where the first write was judged against what somebody else wrote meanwhile, as a person with kubectl.
    return (await this.#attempt(signal)) ?? (await this.#attempt(signal)) ?? this.holding !== undefined;
  }

  /** Undefined: a renewal that came across somebody else's write. */
  async #attempt(signal: AbortSignal | undefined): Promise<boolean | undefined> {
    // A holding whose time ran out is over, even if nobody else took it: its successor has a token of its own.
    if (this.#held && !this.holding) this.#held = undefined;
    const held = this.#held;
    const options = signal ? { signal } : {};
    const lease = await this.#client.get<LeaseObject>(resource, this.#namespace, this.#name, options).catch((error: unknown) => {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    });
    if (lease) this.#see(lease);
    const { holderIdentity, leaseDurationSeconds, acquireTime, leaseTransitions } = lease?.spec ?? {};
    const isOurs = held !== undefined && holderIdentity === this.identity;
    if (held && !isOurs) this.#lose(held);
    if (!isOurs && holderIdentity && holderIdentity !== this.identity && this.clock.monotonicMs() < this.#seen!.atMs + (leaseDurationSeconds ?? 0) * 1000) return false;
    const [sentAtMs, sentAt] = [this.clock.monotonicMs(), this.clock.now()];
    const now = microTime(sentAt);
    const spec = {
      holderIdentity: this.identity,
      leaseDurationSeconds: this.durationMs / 1000,
      acquireTime: isOurs ? (acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: lease ? (leaseTransitions ?? 0) + (isOurs ? 0 : 1) : 0,
    };
    try {
      const written = lease
        ? await this.#client.update<LeaseObject>(resource, this.#namespace, this.#name, { ...lease, spec: { ...lease.spec, ...spec } }, options)
        : await this.#client.create<LeaseObject>(resource, this.#namespace, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: this.#name }, spec }, options);
      this.#see(written);
      const good = { goodUntilMs: sentAtMs + this.renewDeadlineMs, goodUntil: sentAt + this.renewDeadlineMs };
      if (!isOurs) this.#held = { token: tokenOf(written), term: spec.leaseTransitions, ...good };
      // An answer may come so late that the holding is over, and another begun: what is over does not come back.
      else if (this.#held === held && this.holding) this.#held = { ...held, ...good };
      return this.holding !== undefined;
    } catch (error) {
      if (!(error instanceof StatusError) || (error.code !== 409 && error.code !== 404)) throw error;
      // Whose write it was the next look says. Until then it is as good as before: others wait for its whole duration.
      if (isOurs && error.code === 409) return undefined;
      if (held) this.#lose(held);
      return false;
    }
  }

  /** Unless it has been followed by another already. */
  #lose(held: Held): void {
    if (this.#held?.token === held.token) this.#held = undefined;
  }

  /** Gives it up, so that nobody has to wait for its end. Only when the work it was held for has ended. */
  async release(signal?: AbortSignal): Promise<void> {
    const seen = this.#seen;
    if (!this.holding || !seen) return void (this.#held = undefined);
    this.#held = undefined;
    const now = microTime(this.clock.now());
    const { holderIdentity: _, ...rest } = seen.lease.spec!;
    await this.#client
      .update(resource, this.#namespace, this.#name, { ...seen.lease, spec: { ...rest, leaseDurationSeconds: 1, renewTime: now, acquireTime: now } }, signal ? { signal } : {})
      .catch((error: unknown) => {
        if (!(error instanceof StatusError)) throw error;
      });
  }

  #see(lease: LeaseObject): void {
    const text = JSON.stringify(lease.spec);
    if (this.#seen?.text === text) this.#seen.lease = lease;
    else this.#seen = { lease, text, atMs: this.clock.monotonicMs() };
  }
}

/** Kept beside protected data: who comes with a lesser token than was seen is no longer the holder. */
export class Fence {
  #greatest: number;
  /** `greatest`: as it was kept. */
  constructor(greatest = 0) {
    this.#greatest = greatest;
  }
  get greatest(): number {
    return this.#greatest;
  }
  /** @throws FencedError */
  check(token: number): void {
    if (token < this.#greatest) throw new FencedError(token, this.#greatest);
    this.#greatest = token;
  }
}

export class FencedError extends Error {
  readonly token: number;
  constructor(token: number, greatest: number) {
    super(`fencing token ${token} is no longer the holder's: ${greatest} was seen`);
    this.name = "FencedError";
    this.token = token;
  }
}

function tokenOf({ metadata }: KubeObject): number {
  const token = Number(metadata.resourceVersion);
  if (!Number.isSafeInteger(token)) throw new Error(`resourceVersion ${metadata.resourceVersion} is no number that can be compared`);
  return token;
}

/** metav1.MicroTime. */
export function microTime(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000Z");
}
