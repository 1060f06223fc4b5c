import type { StoreEvent } from "./store.ts";

export interface WindowLimits {
  events: number;
  bytes: number;
}

/**
 * The latest changes, in order of revision: what watches start from and what exact lists are rebuilt from.
 * Bounded in events and in bytes; what falls out moves `compacted` forward.
 *
 *   compacted │ event  event  event … │ revision
 */
export class Window {
  readonly #limits: WindowLimits;
  #events: StoreEvent[] = [];
  /** Where the live part of `#events` begins; the dead part is cut off when it is as long as the live one. */
  #start = 0;
  #bytes = 0;
  #compacted: number;

  constructor(compacted: number, limits: WindowLimits) {
    this.#compacted = compacted;
    this.#limits = limits;
  }

  /** Everything after this revision is still here. */
  get compacted(): number {
    return this.#compacted;
  }

  push(event: StoreEvent): void {
    this.#events.push(event);
    this.#bytes += event.entry.bytes.length;
    while (this.#events.length - this.#start > this.#limits.events || (this.#bytes > this.#limits.bytes && this.#events.length - this.#start > 1)) {
      const oldest = this.#events[this.#start]!;
      this.#start++;
      this.#bytes -= oldest.entry.bytes.length;
      this.#compacted = oldest.entry.revision;
    }
    if (this.#start > 1024 && this.#start * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#start);
      this.#start = 0;
    }
  }

  /** Changes below `prefix` after `revision`, at most `max`; `upTo` is the last revision looked at. */
  after(revision: number, prefix: string, max: number): { events: StoreEvent[]; upTo: number } {
    const events: StoreEvent[] = [];
    let upTo = revision;
    for (let i = this.#seek(revision); i < this.#events.length && events.length < max; i++) {
      const event = this.#events[i]!;
      if (event.entry.key.startsWith(prefix)) events.push(event);
      upTo = event.entry.revision;
    }
    return { events, upTo };
  }

  countAfter(revision: number, prefix: string): number {
    let count = 0;
    for (let i = this.#seek(revision); i < this.#events.length; i++) if (this.#events[i]!.entry.key.startsWith(prefix)) count++;
    return count;
  }

  /** Place of the first event with a revision above `revision`. */
  #seek(revision: number): number {
    let low = this.#start;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#events[middle]!.entry.revision <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
