/** Randomness as an argument: production uses {@link systemRandom}, simulations a seeded one. */
export interface Random {
  /** A float in [0, 1). */
  next(): number;
}

export const systemRandom: Random = { next: () => Math.random() };

/** A small seeded generator (mulberry32): the same seed gives the same sequence on every machine. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}

/** An integer in [0, bound). */
export function randomInt(random: Random, bound: number): number {
  return Math.floor(random.next() * bound);
}

// The alphabet of Kubernetes' generated names: no vowels (no words by accident), no 0/1/3 (no look-alikes).
// Source: k8s.io/apimachinery/pkg/util/rand.
export const nameAlphabet = "bcdfghjklmnpqrstvwxz2456789";

/** A random suffix for names, as `kubectl get pods` shows it: `randomSuffix(random, 5)` → `x7k2q`. */
export function randomSuffix(random: Random, length: number): string {
  let suffix = "";
  for (let i = 0; i < length; i++) suffix += nameAlphabet[randomInt(random, nameAlphabet.length)];
  return suffix;
}
