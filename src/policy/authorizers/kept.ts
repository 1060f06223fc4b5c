import type { Purgeable } from "../cache/shelves.ts";
import type { Verdict } from "./answer.ts";

const entriesMax = 10_000;
const bytesMax = 8 * 1024 * 1024;
/** What an entry takes besides its answer. */
const entryBytes = 200;

/** What came of asking: what was said, that the one who asks is nobody, or why nothing was said. */
export type Asked = { verdict: Verdict } | { unauthorised: true } | { error: string };
/** Calls `then` once, at once or later, and not after `cancel`. */
export type Ask = (then: (asked: Asked, bytes: number) => void) => { cancel(): void } | undefined;

interface Entry {
  verdict: Verdict;
  untilMs: number;
  bytes: number;
}

/** Who waits for an answer that is on its way. */
interface Flight {
  waiting: Set<(asked: Asked) => void>;
  call: { cancel(): void } | undefined;
}

/** What an authorizer has said of whom, in the memory of one worker; who is asked about is asked about once, however many wait for it. */
export class KeptVerdicts implements Purgeable {
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new Map<string, Flight>();
  #bytes = 0;
  #purges = 0;

  get size(): number {
    return this.#entries.size;
  }

  /**
   * Calls `then` once, at once where it is known. Errors, and who is nobody, are not kept. Gives how to wait no longer: what nobody waits
   * for is not asked any more.
   */
  of(key: string, ttlMs: number, nowMs: () => number, ask: Ask, then: (asked: Asked) => void): (() => void) | undefined {
    const entry = this.#entries.get(key);
    if (entry) {
      this.#drop(key, entry);
      if (nowMs() < entry.untilMs) {
        // The one that was asked for last goes last.
        this.#put(key, entry);
        return void then({ verdict: entry.verdict });
      }
    }
    const known = this.#flights.get(key);
    const flight: Flight = known ?? { waiting: new Set(), call: undefined };
    flight.waiting.add(then);
    if (!known) this.#begin(key, flight, ttlMs, nowMs, ask);
    return () => {
      if (!flight.waiting.delete(then) || flight.waiting.size > 0) return;
      this.#flights.delete(key);
      flight.call?.cancel();
    };
  }

  #begin(key: string, flight: Flight, ttlMs: number, nowMs: () => number, ask: Ask): void {
    this.#flights.set(key, flight);
    const before = this.#purges;
    flight.call = ask((asked, bytes) => {
      this.#flights.delete(key);
      // What was asked before all was forgotten is not to be remembered.
      if ("verdict" in asked && before === this.#purges) this.#put(key, { verdict: asked.verdict, untilMs: nowMs() + ttlMs, bytes: bytes + key.length + entryBytes });
      const all = [...flight.waiting];
      flight.waiting.clear();
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
