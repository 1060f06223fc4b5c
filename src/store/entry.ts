import { WherryError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Entry } from "./store.ts";
import { isEncrypted } from "./transform.ts";

type Parsed = Readonly<Record<string, unknown>>;

/** One version of one object. Its bytes are the truth; the parsed form comes and goes with the cache. */
export class StoredEntry implements Entry {
  readonly key: string;
  readonly revision: number;
  readonly bytes: Buffer;
  readonly #cache: ParsedCache;
  /** The parsed form while the cache holds it, later a weak reference to it: as long as anybody uses that very object, all share it. */
  #parsed: Parsed | WeakRef<Parsed> | undefined;
  /** Read since the cache last looked. */
  touched = false;

  constructor(cache: ParsedCache, key: string, revision: number, bytes: Buffer, parsed?: object) {
    this.#cache = cache;
    this.key = key;
    this.revision = revision;
    this.bytes = bytes;
    if (parsed) this.#hold(parsed as Parsed);
  }

  get object(): Parsed {
    this.touched = true;
    const held = this.#parsed;
    if (held !== undefined && !(held instanceof WeakRef)) return held;
    return this.#hold(held?.deref() ?? deepFreeze(this.#parse()));
  }

  #parse(): Parsed {
    // Only in a store that was opened to be copied.
    if (isEncrypted(this.bytes)) throw new WherryError("DATA_ENCRYPTED", `${this.key} is encrypted, and no EncryptionConfiguration is given`);
    return JSON.parse(this.bytes.toString("utf8")) as Parsed;
  }

  #hold(parsed: Parsed): Parsed {
    if (this.bytes.length > limits.parsedObjectBytes) {
      this.#parsed = new WeakRef(parsed);
      return parsed;
    }
    this.#parsed = parsed;
    this.#cache.add(this);
    return parsed;
  }

  /** For the cache only. */
  evict(): void {
    if (this.#parsed !== undefined && !(this.#parsed instanceof WeakRef)) this.#parsed = new WeakRef(this.#parsed);
  }
}

/**
 * Bounds how much is held parsed, counted in encoded bytes (the heap needs about 1.7 times that). First in, first
 * out, but what was read since its last turn gets another.
 */
export class ParsedCache {
  readonly #bytesMax: number;
  readonly #held = new Set<StoredEntry>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(entry: StoredEntry): void {
    if (this.#held.has(entry)) return;
    this.#held.add(entry);
    this.#bytes += entry.bytes.length;
    if (this.#bytes > this.#bytesMax) this.#shrink(entry);
  }

  #shrink(newest: StoredEntry): void {
    for (const entry of this.#held) {
      if (this.#bytes <= this.#bytesMax || entry === newest) return;
      this.#held.delete(entry);
      if (entry.touched) {
        entry.touched = false;
        this.#held.add(entry);
        continue;
      }
      this.#bytes -= entry.bytes.length;
      entry.evict();
    }
  }
}

export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === "object" && item !== null) deepFreeze(item);
  }
  return Object.freeze(value);
}
