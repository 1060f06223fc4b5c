import { randomInt } from "../../base/random.ts";
import { type BalancerFactory, type BalancerPolicy, type BalancerTools, isTried, type Member } from "./balancer.ts";

/** Any, by weight. */
export const random: BalancerFactory<unknown> = <M extends Member>(_: unknown, tools: BalancerTools): BalancerPolicy<M> => {
  let members: readonly M[] = [];
  let isEven = true;
  return {
    update(_all, usable) {
      members = usable;
      isEven = usable.every(({ weight }) => weight === usable[0]!.weight);
    },
    pick(_request, tried) {
      if (members.length === 0) return undefined;
      if (isEven && !tried) return members[randomInt(tools.random, members.length)];
      let total = 0;
      for (const member of members) if (!isTried(member, tried)) total += member.weight;
      let left = tools.random.next() * total;
      let last: M | undefined;
      for (const member of members) {
        if (member.weight === 0 || isTried(member, tried)) continue;
        last = member;
        left -= member.weight;
        if (left < 0) return member;
      }
      return last;
    },
  };
};
