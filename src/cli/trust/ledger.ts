import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { WherryError } from "../../base/errors.ts";
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

/** Throws MACHINE_UNCHANGED when others could have written it: what it names is run, and by root. */
export function readLedger(dataDir: string): Entry[] {
  const file = join(dataDir, ledgerName);
  if (!existsSync(file)) return [];
  for (const path of [file, dataDir]) if (statSync(path).mode & 0o022) throw new WherryError("MACHINE_UNCHANGED", `${path} can be written by others than its owner: who knows what ${ledgerName} would have this machine run`);
  return readJsonFile<Entry[]>(file) ?? [];
}

/** Written before something is done: what was begun can be undone as well. */
export function writeLedger(dataDir: string, entries: readonly Entry[]): void {
  asOwnerOf(dataDir, () => writeFileAtomic(join(dataDir, ledgerName), `${JSON.stringify(entries, undefined, 1)}\n`));
}
