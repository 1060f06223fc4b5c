import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Log } from "../../base/log.ts";
import { WherryError } from "../../base/errors.ts";
import { allPids, bootId, identify, isAlive, type ProcessIdentity, signalProcess } from "./processes.ts";

/** Set for everything that a sandbox starts by itself; its value names the data directory. */
export const sandboxVariable = "WHERRY_SANDBOX";
/** Marks every process of a container of plain mode, so that those which left its tree are found. */
export const containerVariable = "WHERRY_CONTAINER";

/**
 * Remembers on disk which processes were started, so that the next start can end what a killed Wherry left behind. With
 * the parent-death signal set everywhere nothing should be; this is for the day something is. Ends them rather than
 * adopting them: their pipes are lost.
 */
export class Leftovers {
  readonly #path: string;
  readonly #id: string;
  readonly #log: Log;

  constructor(path: string, id: string, log: Log) {
    this.#path = path;
    this.#id = id;
    this.#log = log;
  }

  /** Ends leftovers and begins a new record. Throws when the recorded owner still runs. */
  start(): number {
    const boot = bootId();
    const found: ProcessIdentity[] = [];
    try {
      const [head, ...lines] = readFileSync(this.#path, "utf8").split("\n").filter(Boolean);
      const owner = JSON.parse(head!) as ProcessIdentity & { boot: string };
      if (owner.boot === boot) {
        if (owner.pid !== process.pid && isAlive(owner)) throw new WherryError("DATA_DIR_LOCKED", `process ${owner.pid} runs pods for this data directory`);
        for (const line of lines) {
          const [pid, startTicks] = line.split(" ");
          if (startTicks) found.push({ pid: Number(pid), startTicks });
        }
      }
    } catch (error) {
      if (error instanceof WherryError) throw error;
      // No record, or one that was cut short: the scan below still finds what carries our mark.
    }
    const mark = Buffer.from(`${sandboxVariable}=${this.#id}\0`);
    for (const pid of allPids()) {
      try {
        if (readFileSync(`/proc/${pid}/environ`).includes(mark)) found.push(identify(pid)!);
      } catch {
        // Another user's process, or gone.
      }
    }
    let ended = 0;
    for (const process of found) if (process && signalProcess(process, "SIGKILL")) ended++;
    if (ended > 0) this.#log.warn("ended processes that an earlier run left behind", { count: ended });
    mkdirSync(dirname(this.#path), { recursive: true });
    writeFileSync(this.#path, `${JSON.stringify({ ...identify(process.pid), boot })}\n`, { mode: 0o600 });
    return ended;
  }
  record(process: ProcessIdentity): void {
    try {
      appendFileSync(this.#path, `${process.pid} ${process.startTicks}\n`);
    } catch (error) {
      this.#log.warn("could not note a process for the next start", { error });
    }
  }
}
