import type { HashBy } from "../../api/traffic.ts";
import { hash, mix } from "../hash.ts";
import { type BalancerFactory, type BalancerPolicy, type BalancerTools, isTried, type Member } from "./balancer.ts";
import { hashKey } from "./hash-key.ts";

/** A prime, and Envoy's default. 256 KiB a table, made at the first choice after a change. */
const tableSize = 65_537;
/** How often a key whose endpoint may not be used is thrown again, before the next one that may is taken. */
const throwsMax = 8;

/**
 * Consistent hashing with a table that all endpoints fill in turn, each in an order of its own: shares are even within a
 * hundredth, a choice is one look, and when an endpoint comes or goes few keys of the others move.
 * Source: Eisenbud et al., "Maglev", NSDI 2016, §3.4.
 */
export const maglev: BalancerFactory<{ by: HashBy }> = <M extends Member>(config: { by: HashBy }, { random }: BalancerTools): BalancerPolicy<M> => {
  const keyOf = hashKey(config.by, random);
  let members: readonly M[] = [];
  let table: Uint32Array | undefined;
  return {
    update(all) {
      if (members.length !== all.length || all.some((member, i) => member.key !== members[i]!.key || member.weight !== members[i]!.weight)) table = undefined;
      members = all;
    },
    pick(request, tried, cookie) {
      if (members.length === 0) return undefined;
      table ??= fill(members);
      let key = keyOf(request, cookie);
      for (let i = 0; i < throwsMax; i++) {
        const member = members[table[key % tableSize]!];
        if (member?.usable && !isTried(member, tried)) return member;
        key = mix(key + 0x9e3779b9);
      }
      for (let i = 0; i < members.length; i++) {
        const member = members[(key + i) % members.length]!;
        if (member.usable && member.weight > 0 && !isTried(member, tried)) return member;
      }
      return undefined;
    },
  };
};

function fill(members: readonly Member[]): Uint32Array {
  const empty = 2 ** 32 - 1;
  const table = new Uint32Array(tableSize).fill(empty);
  // In the order of their names: the same endpoints make the same table, however they were listed.
  const order = members.map((_, i) => i).filter((i) => members[i]!.weight > 0).sort((a, b) => (members[a]!.key < members[b]!.key ? -1 : 1));
  if (order.length === 0) return table;
  const offsets = order.map((i) => hash(members[i]!.key) % tableSize);
  const skips = order.map((i) => (hash(`skip ${members[i]!.key}`) % (tableSize - 1)) + 1);
  const greatest = Math.max(...order.map((i) => members[i]!.weight));
  const credit = order.map(() => 0);
  for (let filled = 0; ; ) {
    for (let i = 0; i < order.length; i++) {
      // One of half the weight takes every second turn.
      credit[i]! += members[order[i]!]!.weight;
      if (credit[i]! < greatest) continue;
      credit[i]! -= greatest;
      while (table[offsets[i]!] !== empty) offsets[i] = (offsets[i]! + skips[i]!) % tableSize;
      table[offsets[i]!] = order[i]!;
      if (++filled === tableSize) return table;
    }
  }
}
