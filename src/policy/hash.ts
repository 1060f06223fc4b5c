/** FNV-1a with a final mix: short keys that differ in the last digit must not land side by side. 32 bits. */
export function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix(h);
}

/** Spreads a number over all 32 bits: equal numbers stay equal, neighbours part. */
export function mix(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * The endpoint a client is first sent to when its Service has ClientIP affinity: rendezvous hashing, so that
 * every worker makes the same choice without asking, and a lost endpoint moves its own clients only.
 */
export function rendezvous(client: string, keys: readonly string[]): number {
  let [best, bestScore] = [0, -1];
  for (let i = 0; i < keys.length; i++) {
    const score = hash(`${client}|${keys[i]}`);
    if (score > bestScore) [best, bestScore] = [i, score];
  }
  return best;
}
