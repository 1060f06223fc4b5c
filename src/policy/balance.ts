import { randomInt, type Random } from "../base/random.ts";

/** Goes round a list that may change between two calls; starts anywhere, so that several workers do not march in step. */
export class RoundRobin {
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

/** FNV-1a with a final mix: short keys that differ in the last digit must not land side by side. */
export function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Which endpoint a client used last. An entry ends `timeoutMs` after its client's last connection; when `max`
 * clients are known the one that has been silent for longest is forgotten.
 */
export class ClientAffinity {
  readonly #entries = new Map<string, { endpoint: string; seenMs: number }>();
  readonly #max: number;
  timeoutMs: number;

  constructor(timeoutMs: number, max: number) {
    this.timeoutMs = timeoutMs;
    this.#max = max;
  }
  get size(): number {
    return this.#entries.size;
  }
  get(client: string, nowMs: number): string | undefined {
    const entry = this.#entries.get(client);
    if (entry && nowMs - entry.seenMs < this.timeoutMs) return entry.endpoint;
    if (entry) this.#entries.delete(client);
    return undefined;
  }
  set(client: string, endpoint: string, nowMs: number): void {
    this.#entries.delete(client);
    this.#entries.set(client, { endpoint, seenMs: nowMs });
    if (this.#entries.size > this.#max) this.#entries.delete(this.#entries.keys().next().value!);
  }
}
