import { readlinkSync } from "node:fs";
import { type Clock, delay } from "../../base/clock.ts";
import { descendantsOf, isAlive, type ProcessIdentity } from "./processes.ts";

/**
 * The size of one terminal, which takes a program to set: one size at a time, in the order in which they came, and of those
 * that came meanwhile only the last. Two programs at once would leave whichever was slower.
 */
export class TerminalSize {
  readonly #set: (columns: number, rows: number) => Promise<void>;
  #wanted: { columns: number; rows: number } | undefined;
  #isSetting = false;

  /** `set` resolves when the terminal has that size, or never will. */
  constructor(set: (columns: number, rows: number) => Promise<void>) {
    this.#set = set;
  }

  want(columns: number, rows: number): void {
    this.#wanted = { columns, rows };
    if (!this.#isSetting) void this.#work();
  }

  async #work(): Promise<void> {
    this.#isSetting = true;
    for (let next = this.#wanted; next; next = this.#wanted) {
      this.#wanted = undefined;
      await this.#set(next.columns, next.rows).catch(() => {});
    }
    this.#isSetting = false;
  }
}

/** A terminal that is not there within ten seconds is not waited for; a start takes some milliseconds. */
const attemptsMax = 1000;

/** {@link terminalBelow} a process that may be at its start still; undefined when it ends without one. */
export async function terminalSoon(process: ProcessIdentity, clock: Clock): Promise<string | undefined> {
  for (let attempt = 0; attempt < attemptsMax && isAlive(process); attempt++) {
    const terminal = terminalBelow(process.pid);
    if (terminal) return terminal;
    await delay(clock, 10);
  }
  return undefined;
}

/** "/dev/pts/0": the terminal on the stdin of the first process below `pid` that has one. */
function terminalBelow(pid: number): string | undefined {
  for (const child of descendantsOf(pid)) {
    try {
      const target = readlinkSync(`/proc/${child}/fd/0`);
      if (/^\/dev\/pts\/\d+$/.test(target)) return target;
    } catch {
      // Gone, or without a stdin.
    }
  }
  return undefined;
}
