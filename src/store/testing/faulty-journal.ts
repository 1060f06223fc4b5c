import type { Clock } from "../../base/clock.ts";
import { type Random, randomInt } from "../../base/random.ts";
import type { Journal, JournalRecord, Recovered } from "../journal.ts";
import { StorageError, StorageFullError } from "../store.ts";

export interface Faults {
  /** Share of appends that are refused, clean or torn. */
  refuse: number;
  /** The longest an append takes, in ms of the fake clock. */
  delayMs: number;
}

/**
 * A journal on a pretended disk: a log of frames, each a batch. Appends take time, are refused at random (and
 * may leave half a frame behind), and `crash` stops everything where it is: of the appends on their way any
 * number may be on the disk, the next one in half.
 */
export class FaultyJournal implements Journal {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #faults: Faults;
  /** What the disk holds. A frame that is not whole ends it. */
  #frames: { records: readonly JournalRecord[]; whole: boolean }[];
  #waiting: { batch: readonly JournalRecord[]; resolve(): void; reject(error: Error): void }[] = [];
  #busy = false;
  #crashed = false;

  constructor(options: { clock: Clock; random: Random; faults: Faults; disk?: readonly JournalRecord[][] }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#faults = options.faults;
    this.#frames = (options.disk ?? []).map((records) => ({ records, whole: true }));
  }

  append(batch: readonly JournalRecord[]): Promise<void> {
    if (this.#crashed) return new Promise(() => {});
    return new Promise((resolve, reject) => {
      this.#waiting.push({ batch, resolve, reject });
      this.#work();
    });
  }

  async close(): Promise<void> {}

  #work(): void {
    if (this.#busy || this.#waiting.length === 0) return;
    this.#busy = true;
    this.#clock.setTimer(this.#random.next() * this.#faults.delayMs, () => {
      if (this.#crashed) return;
      this.#busy = false;
      if (this.#random.next() < this.#faults.refuse) this.#refuse();
      else {
        // As the thread does: what has arrived meanwhile shares the transaction.
        const taken = this.#waiting.splice(0, 1 + randomInt(this.#random, this.#waiting.length));
        this.#write(taken.flatMap(({ batch }) => batch), true);
        for (const { resolve } of taken) resolve();
      }
      this.#work();
    });
  }

  #refuse(): void {
    const refused = this.#waiting.splice(0);
    if (this.#random.next() < 0.5) this.#write(refused[0]!.batch, false);
    const error = this.#random.next() < 0.5 ? new StorageFullError("the disk is full") : new StorageError("write error");
    for (const { reject } of refused) reject(error);
  }

  #write(records: readonly JournalRecord[], whole: boolean): void {
    if (this.#frames.at(-1)?.whole === false) this.#frames.pop();
    this.#frames.push({ records: whole ? records : records.slice(0, randomInt(this.#random, records.length + 1)), whole });
  }

  /** Power loss. Gives what is on the disk: whole frames only. No append is answered any more. */
  crash(): JournalRecord[][] {
    this.#crashed = true;
    const reached = randomInt(this.#random, this.#waiting.length + 1);
    for (const { batch } of this.#waiting.slice(0, reached)) this.#write(batch, true);
    const next = this.#waiting[reached];
    if (next) this.#write(next.batch, false);
    return this.#frames.filter(({ whole }) => whole).map(({ records }) => [...records]);
  }
}

/** What a store that starts on this disk finds: the frames, replayed. */
export function recover(disk: readonly JournalRecord[][]): Recovered {
  const objects = new Map<string, JournalRecord>();
  let revision = 0;
  for (const record of disk.flat()) {
    revision = record.revision;
    if (record.type === "put") objects.set(record.key, record);
    else objects.delete(record.key);
  }
  return { revision, objects: [...objects.values()].sort((a, b) => (a.key < b.key ? -1 : 1)) };
}
