import { type Random, randomInt } from "../../base/random.ts";
import { type BalancerFactory, type BalancerPolicy, isTried, type Member } from "./balancer.ts";

/**
 * Goes round a list that may change between two turns; starts anywhere, so that several workers do not march in step. For
 * whoever has only a list.
 */
export class Turn {
  #next: number;

  constructor(random: Random) {
    this.#next = randomInt(random, 1 << 30);
  }
  /** An index in [0, length). */
  next(length: number): number {
    this.#next = (this.#next + 1) % (1 << 30);
    return this.#next % length;
  }
}

/**
 * Each in its turn, exact over a cycle. Where weights differ: smooth weighted round robin, as nginx does it, so that a
 * great weight is spread over the cycle. An endpoint that comes or goes leaves the others' turns as they are.
 */
export const roundRobin: BalancerFactory<unknown> = <M extends Member>(_: unknown, { random }: { random: Random }): BalancerPolicy<M> => {
  let members: readonly M[] = [];
  let isEven = true;
  let next = -1;
  /** By member: what has gathered for it; the greatest is due. */
  let gathered: number[] = [];
  let total = 0;

  const pickEven = (tried: readonly string[] | undefined): M | undefined => {
    for (let i = 0; i < members.length; i++) {
      const member = members[next % members.length]!;
      next = (next + 1) % members.length;
      if (!isTried(member, tried)) return member;
    }
    return undefined;
  };
  const pickWeighted = (tried: readonly string[] | undefined): M | undefined => {
    let best = -1;
    for (let i = 0; i < members.length; i++) {
      gathered[i]! += members[i]!.weight;
      if (members[i]!.weight > 0 && !isTried(members[i]!, tried) && (best < 0 || gathered[i]! > gathered[best]!)) best = i;
    }
    // Nobody had a turn.
    if (best < 0) for (let i = 0; i < members.length; i++) gathered[i]! -= members[i]!.weight;
    if (best < 0) return undefined;
    gathered[best]! -= total;
    return members[best];
  };

  return {
    update(_all, usable) {
      const before = new Map(members.map((member, i) => [member.key, gathered[i]!]));
      // The one whose turn it is keeps it; when it has gone, whoever now stands in its place has it.
      const due = next < 0 || members.length === 0 ? undefined : members[next % members.length]!.key;
      members = usable;
      gathered = usable.map((member) => before.get(member.key) ?? 0);
      total = usable.reduce((sum, { weight }) => sum + weight, 0);
      isEven = usable.every(({ weight }) => weight === usable[0]!.weight);
      if (usable.length === 0) return;
      const place = due === undefined ? -1 : usable.findIndex(({ key }) => key === due);
      next = place >= 0 ? place : next < 0 ? randomInt(random, usable.length) : next % usable.length;
    },
    pick: (_request, tried) => (members.length === 0 ? undefined : isEven ? pickEven(tried) : pickWeighted(tried)),
  };
};
