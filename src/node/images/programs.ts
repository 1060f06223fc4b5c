import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

/** Folders of the machine that every pod sees at the same place; programs elsewhere (a user's own) do not exist for pods. */
export const sharedFolders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/go/bin", "/usr/lib/go/bin"] as const;

/** Where a program lies that pods can run; undefined if the machine has none. */
export function findProgram(name: string): string | undefined {
  for (const folder of sharedFolders) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

const versions = new Map<string, Promise<string>>();

/** The first line of what a program says of its version; "" when it will not say. Asked once. */
export function programVersion(path: string, args: readonly string[]): Promise<string> {
  const known = versions.get(path);
  if (known) return known;
  const asked = promisify(execFile)(path, [...args], { timeout: 5000, env: { PATH: sharedFolders.join(":") } })
    .then(({ stdout, stderr }) => (stdout || stderr).split("\n")[0]!.trim().slice(0, 120))
    .catch(() => "");
  versions.set(path, asked);
  return asked;
}
