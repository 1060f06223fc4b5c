import type { Directives } from "./directives.ts";

/** A response that is kept. */
export interface Entry {
  status: number;
  /** Names in lower case; without Age. */
  headers: [name: string, value: string][];
  body: Uint8Array;
  /** Milliseconds since the epoch, and how old it was then. */
  answeredAt: number;
  initialAgeMs: number;
  lifetimeMs: number;
  directives: Directives;
  /** What of the request it depends on: names of Vary in lower case, with the request's values. */
  vary: readonly (readonly [name: string, value: string | undefined])[];
  /** Where it came from, for asking again without a client. */
  origin: { upstream: string; target: string; host: string };
  /** Bytes that it counts for. */
  size: number;
}

/** A key's responses differ in what Vary names: more of them than these are kept by nobody. */
const variantsMax = 32;
/** Of an entry beside its body and fields. */
const overhead = 512;

/** Responses by key, those used last kept longest, bounded in bytes. */
export class CacheStore {
  readonly #bytesMax: number;
  /** Least recently used first. */
  readonly #keys = new Map<string, Entry[]>();
  bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The one that was made for a request like this. */
  find(key: string, header: (name: string) => string | undefined): Entry | undefined {
    const entries = this.#keys.get(key);
    if (!entries) return undefined;
    this.#keys.delete(key);
    this.#keys.set(key, entries);
    for (const entry of entries) if (entry.vary.every(([name, value]) => normal(header(name)) === value)) return entry;
    return undefined;
  }
  put(key: string, entry: Omit<Entry, "size">): void {
    const size = overhead + key.length + entry.body.length + entry.headers.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
    const kept: Entry = { ...entry, size };
    const others = (this.#keys.get(key) ?? []).filter((other) => !sameVariant(other, kept));
    this.remove(key);
    if (size > this.#bytesMax) return;
    const entries = [kept, ...others].slice(0, variantsMax);
    this.#keys.set(key, entries);
    for (const { size: of } of entries) this.bytes += of;
    while (this.bytes > this.#bytesMax) this.remove(this.#keys.keys().next().value!);
  }
  /** All variants. */
  remove(key: string): boolean {
    const entries = this.#keys.get(key);
    if (!entries) return false;
    this.#keys.delete(key);
    for (const { size } of entries) this.bytes -= size;
    return true;
  }
  /** Those whose keys fit; how many. */
  purge(fits: (key: string) => boolean): number {
    const keys = [...this.#keys.keys()].filter(fits);
    for (const key of keys) this.remove(key);
    return keys.length;
  }
  get size(): number {
    return this.#keys.size;
  }
}

const sameVariant = (a: Entry, b: Entry): boolean => a.vary.length === b.vary.length && a.vary.every(([name, value], i) => b.vary[i]![0] === name && b.vary[i]![1] === value);
/** White space around commas makes no difference. */
export const normal = (value: string | undefined): string | undefined => value?.replaceAll(/\s*,\s*/g, ",").trim();

export function varyOf(names: string | undefined, header: (name: string) => string | undefined): Entry["vary"] {
  if (names === undefined) return [];
  const all = [...new Set(names.toLowerCase().split(",").map((name) => name.trim()).filter(Boolean))].sort();
  return all.map((name) => [name, normal(header(name))]);
}
