import type { Random } from "../../base/random.ts";
import type { RequestView } from "../exchange.ts";

/** What a balancer may know of an endpoint. */
export interface Member {
  readonly key: string;
  readonly weight: number;
  /** May be chosen now. Balancers that keep a table of all look here; the others are only given those that may. */
  readonly usable: boolean;
  /** Tries that have not ended. */
  readonly active: number;
  /** Peak-sensitive average of its latency, when last it changed, in ms; 0 before the first answer. */
  readonly latencyMs: number;
  readonly latencyAtMs: number;
}

/** What a choice leaves behind for the client. */
export interface ClientCookie {
  name: string;
  value: string;
  maxAgeSeconds?: number;
}

/** Chooses one of the endpoints of an upstream. Makes no objects on its way. */
export interface BalancerPolicy<M extends Member = Member> {
  /** `all` changed, or which of them are `usable`: those whose `usable` is true. */
  update(all: readonly M[], usable: readonly M[]): void;
  /**
   * One that is usable and not among `tried`, if there is one; undefined when there is none.
   * `cookie` takes what the client shall bring back.
   */
  pick(request: RequestView | undefined, tried: readonly string[] | undefined, cookie: (cookie: ClientCookie) => void): M | undefined;
}

export interface BalancerTools {
  random: Random;
  /** Monotonic milliseconds. */
  nowMs(): number;
}

/** The one shape of a balancer; each type is one file and one line in `index.ts`. */
export type BalancerFactory<Config> = <M extends Member>(config: Config, tools: BalancerTools) => BalancerPolicy<M>;

export const isTried = (member: Member, tried: readonly string[] | undefined): boolean => tried !== undefined && tried.includes(member.key);
