import { readFileSync } from "node:fs";
import type { Guard } from "../../api/guard.ts";
import { writeFileAtomic } from "../../base/files.ts";
import type { Log } from "../../base/log.ts";

/**
 * The guards of the last run: until this run's are compiled they stand before the pods that start meanwhile. The file may hold
 * secrets of tokens, and is the owner's alone.
 */
export function readGuards(file: string, log: Log): Guard[] {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Guard[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") log.warn("the policies of the last run cannot be read: pods are open until this run's are compiled", { file, error: (error as Error).message });
    return [];
  }
}

export function writeGuards(file: string, guards: Iterable<Guard>, log: Log): void {
  try {
    writeFileAtomic(file, JSON.stringify([...guards]));
  } catch (error) {
    log.warn("the policies were not kept for the next start", { file, error: (error as Error).message });
  }
}
