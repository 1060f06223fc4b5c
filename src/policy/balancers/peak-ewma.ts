import { randomInt } from "../../base/random.ts";
import { type BalancerFactory, type BalancerPolicy, type BalancerTools, isTried, type Member } from "./balancer.ts";

/** After so long without news an endpoint's latency counts a third of what it did. Source: Finagle's and Linkerd's default. */
export const decayMs = 10_000;
/** What one that has not answered yet is taken for while it is busy: one try is enough to learn from. */
const unknownMs = 1_000;

/**
 * Power of two choices: two at random, and of these the one where a request would wait less: its latency times the tries
 * under way. The latency jumps up at once and comes down slowly ("peak"), so one that stalls is left alone within one answer.
 * Source: linkerd/linkerd2-proxy and twitter/finagle, PeakEwma.
 */
export const peakEwma: BalancerFactory<unknown> = <M extends Member>(_: unknown, { random, nowMs }: BalancerTools): BalancerPolicy<M> => {
  let members: readonly M[] = [];
  const costOf = (member: M, now: number): number => {
    const { latencyMs, latencyAtMs, active, weight } = member;
    if (latencyMs === 0) return active === 0 ? 0 : (unknownMs * (active + 1)) / weight;
    return (latencyMs * Math.exp((latencyAtMs - now) / decayMs) * (active + 1)) / weight;
  };
  return {
    update(_all, usable) {
      members = usable.some(({ weight }) => weight === 0) ? usable.filter(({ weight }) => weight > 0) : usable;
    },
    pick(_request, tried) {
      const { length } = members;
      if (length === 0) return undefined;
      const first = randomInt(random, length);
      const second = length === 1 ? first : (first + 1 + randomInt(random, length - 1)) % length;
      const [a, b] = [members[first]!, members[second]!];
      const [aTried, bTried] = [isTried(a, tried), isTried(b, tried)];
      if (aTried && bTried) {
        for (const member of members) if (!isTried(member, tried)) return member;
        return undefined;
      }
      if (aTried || bTried) return aTried ? b : a;
      const now = nowMs();
      return costOf(a, now) <= costOf(b, now) ? a : b;
    },
  };
};
