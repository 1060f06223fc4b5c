import { randomInt } from "../../base/random.ts";
import { type BalancerFactory, type BalancerPolicy, type BalancerTools, isTried, type Member } from "./balancer.ts";

/** The endpoint with the fewest tries under way for its weight, of all; among equals each in its turn. Each worker knows its own. */
export const leastRequest: BalancerFactory<unknown> = <M extends Member>(_: unknown, { random }: BalancerTools): BalancerPolicy<M> => {
  let members: readonly M[] = [];
  let start = -1;
  return {
    update(_all, usable) {
      members = usable;
    },
    pick(_request, tried) {
      const { length } = members;
      if (length === 0) return undefined;
      if (start < 0) start = randomInt(random, length);
      let best: M | undefined;
      let bestLoad = Infinity;
      let bestAt = 0;
      for (let i = 0; i < length; i++) {
        const at = (start + i) % length;
        const member = members[at]!;
        if (member.weight === 0 || isTried(member, tried)) continue;
        const load = (member.active + 1) / member.weight;
        if (load < bestLoad) [best, bestLoad, bestAt] = [member, load, at];
      }
      start = (bestAt + 1) % length;
      return best;
    },
  };
};
