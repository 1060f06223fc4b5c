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
  /** See {@link KeptHead}. */
  composed?: Uint8Array;
}

interface Slot {
  entries: Entry[];
  /** Asked for since somebody last looked for what may go. */
  isUsed: boolean;
}

/** A key's responses differ in what Vary names: more of them than these are kept by nobody. */
const variantsMax = 32;
/** What V8 takes for an entry, and for each of its fields, beside the bytes and texts themselves (measured): the bound is one of memory. */
const overhead = 1_536;
const fieldOverhead = 128;

/**
 * Responses by key, those used last kept longest, bounded in bytes. Who asks only leaves a mark; when room is needed, what is marked
 * goes to the end of the queue without its mark, and what is not goes ("second chance"): so a hit moves nothing.
 */
export class CacheStore {
  readonly #bytesMax: number;
  /** Those that go next first. */
  readonly #keys = new Map<string, Slot>();
  bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The one that was made for a request like this. */
  find(key: string, header: (name: string) => string | undefined): Entry | undefined {
    const slot = this.#keys.get(key);
    if (!slot) return undefined;
    slot.isUsed = true;
    for (const entry of slot.entries) if (entry.vary.length === 0 || entry.vary.every(([name, value]) => normal(name, header(name)) === value)) return entry;
    return undefined;
  }
  /** For some request, if not for this one. */
  has(key: string): boolean {
    return this.#keys.has(key);
  }
  put(key: string, entry: Omit<Entry, "size">): void {
    // Texts of fields are there twice: as they are looked at, and as they are written.
    const size = overhead + key.length + entry.body.length + entry.headers.reduce((sum, [name, value]) => sum + fieldOverhead + 2 * (name.length + value.length), 0);
    const kept: Entry = { ...entry, size };
    const others = (this.#keys.get(key)?.entries ?? []).filter((other) => !sameVariant(other, kept));
    this.remove(key);
    if (size > this.#bytesMax) return;
    let bytes = 0;
    const entries = [kept, ...others].filter(({ size: of }, i) => i < variantsMax && (bytes += of) <= this.#bytesMax);
    this.#keys.set(key, { entries, isUsed: false });
    for (const { size: of } of entries) this.bytes += of;
    this.#makeRoom(key);
  }
  #makeRoom(forKey: string): void {
    for (const [key, slot] of this.#keys) {
      if (this.bytes <= this.#bytesMax) return;
      if (!slot.isUsed && key !== forKey) {
        this.remove(key);
        continue;
      }
      // A map gives what was put in again while it is walked through once more, at its end.
      slot.isUsed = false;
      this.#keys.delete(key);
      this.#keys.set(key, slot);
    }
  }
  /** All variants. */
  remove(key: string): boolean {
    const slot = this.#keys.get(key);
    if (!slot) return false;
    this.#keys.delete(key);
    for (const { size } of slot.entries) this.bytes -= size;
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
/** Lists whose members are the same in whatever case (RFC 9110 §12.5.2 to §12.5.4); their order may say what is liked best, and stays. */
const caseless = new Set(["accept-charset", "accept-encoding", "accept-language"]);
/** White space around commas makes no difference. */
export function normal(name: string, value: string | undefined): string | undefined {
  // A pattern for the white space before a comma would look at a long row of it again and again.
  const text = value?.split(",").map((part) => part.trim()).join(",");
  return text !== undefined && caseless.has(name) ? text.toLowerCase() : text;
}

export function varyOf(names: string | undefined, header: (name: string) => string | undefined): Entry["vary"] {
  if (names === undefined) return [];
  const all = [...new Set(names.toLowerCase().split(",").map((name) => name.trim()).filter(Boolean))].sort();
  return all.map((name) => [name, normal(name, header(name))]);
}
