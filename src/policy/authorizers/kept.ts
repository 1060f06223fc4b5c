import type { Purgeable } from "../cache/shelves.ts";
import type { Verdict } from "./answer.ts";

const entriesMax = 10_000;
const bytesMax = 8 * 1024 * 1024;
/** What an entry takes besides its answer. */
const entryBytes = 200;

/** What came of asking: what was said, that the one who asks is nobody, or why nothing was said. */
export type Asked = { verdict: Verdict } | { unauthorised: true } | { error: string };
export type Ask = (then: (asked: Asked, bytes: number) => void) => void;

interface Entry {
  verdict: Verdict;
  untilMs: number;
  bytes: number;
}

/** What an authorizer has said of whom, in the memory of one worker; who is asked about is asked about once, however many wait for it. */
export class KeptVerdicts implements Purgeable {
  readonly #entries = new Map<string, Entry>();
  readonly #waiting = new Map<string, ((asked: Asked) => void)[]>();
  #bytes = 0;
  #purges = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** Calls `then` once, at once where it is known. Errors, and who is nobody, are not kept. */
  of(key: string, ttlMs: number, nowMs: () => number, ask: Ask, then: (asked: Asked) => void): void {
    const entry = this.#entries.get(key);
    if (entry) {
      this.#drop(key, entry);
      if (nowMs() < entry.untilMs) {
        // The one that was asked for last goes last.
        this.#put(key, entry);
        return then({ verdict: entry.verdict });
      }
    }
    const waiting = this.#waiting.get(key);
    if (waiting) return void waiting.push(then);
    this.#waiting.set(key, [then]);
    const before = this.#purges;
    ask((asked, bytes) => {
      const all = this.#waiting.get(key)!;
      this.#waiting.delete(key);
      // What was asked before all was forgotten is not to be remembered.
      if ("verdict" in asked && before === this.#purges) this.#put(key, { verdict: asked.verdict, untilMs: nowMs() + ttlMs, bytes: bytes + key.length + entryBytes });
      for (const go of all) go(asked);
    });
  }

  /** All of it, or nothing: it is not known by paths. */
  purge(fits: (key: string) => boolean): number {
    if (!fits("")) return 0;
    const gone = this.#entries.size;
    this.#purges++;
    this.#entries.clear();
    this.#bytes = 0;
    return gone;
  }

  #put(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#bytes += entry.bytes;
    for (const [oldest, old] of this.#entries) {
      if (this.#entries.size <= entriesMax && this.#bytes <= bytesMax) return;
      this.#drop(oldest, old);
    }
  }
  #drop(key: string, entry: Entry): void {
    if (this.#entries.delete(key)) this.#bytes -= entry.bytes;
  }
}
