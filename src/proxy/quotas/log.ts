import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { crc32 } from "node:zlib";
import type { Log } from "../../base/log.ts";
import type { Counter, QuotaCounters } from "../../policy/quotas/counters.ts";
import { quotaUnits } from "../../policy/quotas/windows.ts";

/** So long at least, and so many times longer than what was needed when it was written anew last. */
const rewrittenBytesMin = 1024 * 1024;
const rewrittenTimes = 4;
const entriesOfLine = 1_000;

/**
 * What has been counted, in a file that is only added to: a line for each batch, with its checksum in front, handed to the kernel before
 * anybody is answered. So a kill -9 of whoever writes it loses nothing; the machine's own end may cost the last moments.
 *
 *   3f2a90b1 [["quotas",1]]
 *   77c0e54d [[0,"hour","policy/shop/orders/global/0","alice"],[0,1767225600000,17]]
 *   0b61aa20 [[0,1767225600000,18]]
 *
 * An entry with texts gives a key its number, one with numbers says what its count is in which window (and of a clock that was set: the
 * latest window that it said, and the one before): counts are absolute, so that a line that is
 * missing costs what it says and nothing else. A last line that is torn is cut off. The file is written anew, with what is needed alone, when
 * it has become four times as long as it was then.
 */
export class QuotaLog {
  readonly #file: string;
  readonly #log: Log;
  readonly #counters: QuotaCounters;
  readonly #changed = new Set<Counter>();
  /** The numbers of keys in this file. */
  #slots = new WeakMap<Counter, number>();
  #slotsUsed = 0;
  #descriptor: number | undefined;
  #bytes = 0;
  #rewriteAt = 0;
  /** Something did not get into the file: it is written anew as soon as it can be. */
  #isBehind = false;

  constructor(file: string, counters: QuotaCounters, log: Log) {
    this.#file = file;
    this.#counters = counters;
    this.#log = log;
  }

  /** Reads what there is, and begins a file with what is left of it. */
  open(): void {
    this.read();
    this.#counters.sweep();
    this.#rewrite();
  }

  /** Leaves the file to whoever writes it. */
  read(): void {
    let text: Buffer | undefined;
    try {
      text = readFileSync(this.#file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") this.#log.error("the counts of quotas cannot be read: they begin anew", { file: this.#file, error: (error as Error).message });
    }
    if (text) this.#read(text);
  }

  note(counter: Counter): void {
    this.#changed.add(counter);
  }

  /** All that was noted is the kernel's when this returns. */
  flush(): void {
    if (this.#changed.size === 0) return;
    if (this.#isBehind || this.#bytes > this.#rewriteAt) this.#rewrite();
    else {
      const entries: unknown[] = [];
      for (const counter of this.#changed) this.#entries(counter, entries);
      try {
        this.#append(lineOf(entries));
      } catch (error) {
        this.#failed(error as Error);
      }
    }
    this.#changed.clear();
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #append(line: string): void {
    const bytes = Buffer.from(line);
    const written = writeSync(this.#descriptor!, bytes);
    this.#bytes += written;
    if (written < bytes.length) throw new Error(`only ${written} of ${bytes.length} bytes were written`);
  }

  #failed(error: Error): void {
    if (!this.#isBehind) this.#log.error("the counts of quotas are not kept for the next start", { file: this.#file, error: error.message });
    this.#isBehind = true;
  }

  #entries(counter: Counter, entries: unknown[]): void {
    let slot = this.#slots.get(counter);
    if (slot === undefined) {
      this.#slots.set(counter, (slot = this.#slotsUsed++));
      entries.push([slot, counter.unit, counter.id, counter.key]);
    }
    const { startMs, count, latestMs, before } = counter;
    entries.push(before ? [slot, startMs, count, latestMs, before.startMs, before.count] : latestMs > startMs ? [slot, startMs, count, latestMs] : [slot, startMs, count]);
  }

  /** To a file beside it, which takes its place when it is on the disk. */
  #rewrite(): void {
    const temporary = `${this.#file}.tmp`;
    let descriptor: number | undefined;
    try {
      const isFirst = this.#descriptor === undefined && this.#counters.size === 0;
      descriptor = openSync(temporary, "w", 0o600);
      this.#slots = new WeakMap();
      this.#slotsUsed = 0;
      let [bytes, entries]: [number, unknown[]] = [0, [["quotas", 1]]];
      const put = () => {
        const line = Buffer.from(lineOf(entries));
        entries = [];
        if (writeSync(descriptor!, line) < line.length) throw new Error("not all was written");
        bytes += line.length;
      };
      for (const counter of this.#counters.all()) {
        this.#entries(counter, entries);
        if (entries.length > entriesOfLine) put();
      }
      if (entries.length > 0) put();
      if (!isFirst) fsyncSync(descriptor);
      renameSync(temporary, this.#file);
      this.close();
      this.#descriptor = descriptor;
      this.#bytes = bytes;
      this.#rewriteAt = Math.max(rewrittenBytesMin, bytes * rewrittenTimes);
      this.#isBehind = false;
      this.#changed.clear();
    } catch (error) {
      // The file before still has what it had; numbers are those of the one that failed, so nothing may be added to it.
      if (descriptor !== undefined) closeSync(descriptor);
      this.#failed(error as Error);
    }
  }

  #read(text: Buffer): void {
    const keys = new Map<number, Pick<Counter, "unit" | "id" | "key">>();
    let [wrong, isTorn] = [0, false];
    for (let at = 0; at < text.length; ) {
      const end = text.indexOf(10, at);
      if (end < 0) {
        isTorn = true;
        break;
      }
      const entries = entriesOf(text.subarray(at, end));
      if (entries) for (const entry of entries) this.#restore(entry, keys);
      else wrong++;
      at = end + 1;
    }
    if (isTorn) this.#log.debug("the last line of the counts of quotas was not whole", { file: this.#file });
    if (wrong > 0) this.#log.warn("lines of the counts of quotas are damaged: what they said is not counted", { file: this.#file, lines: wrong });
  }

  #restore(entry: unknown, keys: Map<number, Pick<Counter, "unit" | "id" | "key">>): void {
    if (!Array.isArray(entry) || !Number.isInteger(entry[0])) return;
    const [slot, second, third, fourth, fifth, sixth] = entry as [number, unknown, unknown, unknown, unknown, unknown];
    if (typeof second === "string") {
      const unit = quotaUnits.find((known) => known === second);
      if (unit && typeof third === "string" && typeof fourth === "string") keys.set(slot, { unit, id: third, key: fourth });
      return;
    }
    const key = keys.get(slot);
    if (!key || !isNumber(second) || !isNumber(third)) return;
    this.#counters.restore({ ...key, startMs: second, count: third, latestMs: isNumber(fourth) ? fourth : second, before: isNumber(fifth) && isNumber(sixth) ? { startMs: fifth, count: sixth } : undefined });
  }
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

function lineOf(entries: readonly unknown[]): string {
  const text = JSON.stringify(entries);
  return `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`;
}

/** Undefined: it is not what was written. */
function entriesOf(line: Buffer): unknown[] | undefined {
  const text = line.subarray(9);
  if (line[8] !== 32 || Number.parseInt(line.toString("latin1", 0, 8), 16) !== crc32(text)) return undefined;
  const value: unknown = JSON.parse(text.toString());
  return Array.isArray(value) ? value : undefined;
}
