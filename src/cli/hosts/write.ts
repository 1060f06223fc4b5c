import { execFileSync } from "node:child_process";
import { closeSync, fchmodSync, fchownSync, fsyncSync, ftruncateSync, openSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Replaces what a file of the machine holds: readers see the old or the new, never half of it; mode, owner, and what else hangs
 * on the file (its SELinux label) stay. Where the file is a mount (a container's /etc/hosts) nothing can take its place, and
 * it is written where it is. `expected`: what it held when the new text was made of it.
 *
 * Returns how. Throws with the file as it was.
 */
export function replaceContent(path: string, expected: string, text: string): "renamed" | "in place" {
  const file = realpathSync(path);
  const temporary = `${file}.wherry-${process.pid}`;
  const { mode, uid, gid } = statSync(file);
  try {
    // Node copies neither labels nor extended attributes.
    execFileSync("cp", ["-a", "--", file, temporary], { stdio: "ignore" });
    const descriptor = openSync(temporary, "r+");
    try {
      ftruncateSync(descriptor);
      writeSync(descriptor, text);
      fchownSync(descriptor, uid, gid);
      fchmodSync(descriptor, mode & 0o7777);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    if (readFileSync(file, "utf8") !== expected) throw new Error(`${file} was changed by somebody else in this moment; try again`);
    renameSync(temporary, file);
    syncFolder(dirname(file));
    return "renamed";
  } catch (error) {
    rmSync(temporary, { force: true });
    if (!["EBUSY", "EXDEV"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
  const descriptor = openSync(file, "r+");
  try {
    writeSync(descriptor, text, 0);
    ftruncateSync(descriptor, Buffer.byteLength(text));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  return "in place";
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
