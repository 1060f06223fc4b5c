import { statSync } from "node:fs";
import { entry } from "../wherry.ts";

/** Whether this process may change the machine's own files. */
export const isRoot = (): boolean => process.geteuid?.() === 0;

/** The same verb as root, word for word: sudo has a PATH of its own. */
export function sudoLine(words: readonly string[]): string {
  return `sudo ${[process.execPath, entry, ...words].map((word) => (/^[\w./:=@+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ")}`;
}

/**
 * Does something in a data directory as its owner: root must neither leave files there that the owner cannot replace, nor
 * follow a link that he has laid.
 */
export function asOwnerOf<T>(dataDir: string, work: () => T): T {
  const { uid, gid } = statSync(dataDir);
  if (!isRoot() || uid === 0) return work();
  const own = process.getegid!();
  process.setegid!(gid);
  process.seteuid!(uid);
  try {
    return work();
  } finally {
    process.seteuid!(0);
    process.setegid!(own);
  }
}
