import { join } from "node:path";
import { readJsonFile, writeFileAtomic } from "../../base/files.ts";
import { asOwnerOf } from "../root.ts";

/** What was done to this machine, so that exactly this can be undone, also when the authority itself is gone. */
export interface Entry {
  /** The store's name, for people. */
  store: string;
  needsRoot: boolean;
  /** A file that was written, and the SHA-256 of what was written. */
  file?: { path: string; sha256: string };
  /** What brings the store back, once the file is gone. */
  remove: string[];
}

export const ledgerName = "trusted.json";

export const readLedger = (dataDir: string): Entry[] => readJsonFile<Entry[]>(join(dataDir, ledgerName)) ?? [];

/** Written before something is done: what was begun can be undone as well. */
export function writeLedger(dataDir: string, entries: readonly Entry[]): void {
  asOwnerOf(dataDir, () => writeFileAtomic(join(dataDir, ledgerName), `${JSON.stringify(entries, undefined, 1)}\n`));
}
