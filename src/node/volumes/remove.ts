import { chmodSync, lstatSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * Removes a pod's folder with whatever the pod made in it. Links are removed, not followed; folders that the pod
 * closed to its own user (who is ours where Wherry is not root) are opened first. Throws when something stays.
 */
export function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EACCES" && code !== "EPERM" && code !== "ENOTEMPTY") throw error;
    openFolders(path);
    rmSync(path, { recursive: true, force: true });
  }
}

/** No program of the pod runs any more, so nothing changes between the look and the step. */
function openFolders(path: string): void {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
  chmodSync(path, 0o700);
  for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) openFolders(join(path, entry.name));
}
