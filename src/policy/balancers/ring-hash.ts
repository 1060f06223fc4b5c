import type { HashBy } from "../../api/traffic.ts";
import { hash, mix } from "../hash.ts";
import { type BalancerFactory, type BalancerPolicy, type BalancerTools, isTried, type Member } from "./balancer.ts";
import { hashKey } from "./hash-key.ts";

/** Points of an endpoint of weight 1, as ketama has it; fewer when the ring would be too large, for all alike. */
const pointsEach = 160;
/** Points of the whole ring: 512 KiB. */
const ringMax = 65_536;

/**
 * Consistent hashing on a ring: each endpoint has points on it, and a key goes to the next point after it. An endpoint that
 * comes takes keys from the others and gives them back when it goes; no key moves between two that stay. One that may
 * not be used just now is passed over, and its keys come back to it.
 */
export const ringHash: BalancerFactory<{ by: HashBy }> = <M extends Member>(config: { by: HashBy }, { random }: BalancerTools): BalancerPolicy<M> => {
  const keyOf = hashKey(config.by, random);
  let members: readonly M[] = [];
  let isStale = true;
  /** Where the points are, in order, and whose they are. */
  let points = new Uint32Array(0);
  let owners = new Uint32Array(0);

  const build = (): void => {
    isStale = false;
    const counts = pointCounts(members);
    const total = counts.reduce((sum, count) => sum + count, 0);
    // One number a point, place and owner: 32 + 21 bits are exact in a float, and floats are sorted without a comparison in JavaScript.
    const ring = new Float64Array(total);
    let at = 0;
    for (const [i, member] of members.entries()) {
      const seed = hash(member.key);
      for (let point = 0; point < counts[i]!; point++) ring[at++] = mix(seed + Math.imul(point, 0x9e3779b9)) * 2 ** 21 + i;
    }
    ring.sort();
    points = new Uint32Array(total);
    owners = new Uint32Array(total);
    for (let i = 0; i < total; i++) {
      points[i] = Math.floor(ring[i]! / 2 ** 21);
      owners[i] = ring[i]! % 2 ** 21;
    }
  };

  return {
    update(all) {
      if (members.length !== all.length || all.some((member, i) => member.key !== members[i]!.key || member.weight !== members[i]!.weight)) isStale = true;
      members = all;
    },
    pick(request, tried, cookie) {
      if (members.length === 0) return undefined;
      if (isStale) build();
      const key = keyOf(request, cookie);
      let [low, high] = [0, points.length];
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (points[middle]! < key) low = middle + 1;
        else high = middle;
      }
      for (let i = 0; i < points.length; i++) {
        const member = members[owners[(low + i) % points.length]!]!;
        if (member.usable && !isTried(member, tried)) return member;
      }
      return undefined;
    },
  };
};

/**
 * By weight, the greatest being worth at most ten of the least. In halves until they fit: a smaller number of points is a
 * part of a larger one, so most keys stay where they were.
 */
function pointCounts(members: readonly Member[]): number[] {
  const least = Math.min(...members.filter(({ weight }) => weight > 0).map(({ weight }) => weight));
  for (let each = pointsEach; ; each /= 2) {
    const counts = members.map(({ weight }) => (weight === 0 ? 0 : Math.max(1, Math.round(each * Math.min(10, weight / least)))));
    if (each < 1 || counts.reduce((sum, count) => sum + count, 0) <= ringMax) return counts;
  }
}
