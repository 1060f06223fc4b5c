import { chmodSync, chownSync, closeSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

/**
 * How a worker's program reaches the user that it runs as. `wherry` may be root and sit in a folder of root's; its
 * workers are nobody in particular:
 *
 *   everything readable     node and the program where they are: one file that was made of it, or src/
 *   the program is not      a copy of the file, or of base, policy and proxy, in a temporary folder, and of the one package that a worker loads
 *   node is not             an open descriptor of it, executed as /proc/self/fd/N
 *
 * and each user has a compile cache of its own, so that a restarted worker serves in some 40 ms instead of 90.
 */
export interface WorkerProgram {
  /** What to execute, and the descriptor that the child needs for it. */
  node: string;
  nodeFd: number | undefined;
  file: string;
  env: Readonly<Record<string, string>>;
  /** The user to become at the start; undefined when the prefix does that, or when we are nobody special ourselves. */
  user: number | undefined;
  /** Removes the copy and closes the descriptor; once. */
  dispose(): void;
}

/** The child's number of the descriptor: after stdin, stdout, stderr and the channel. */
export const nodeFdInChild = 4;
const sourceDir = dirname(import.meta.dirname);
const copied = ["base", "policy", "proxy"] as const;

/** Workers read what strangers send: in plain mode, where no prefix does it, root's workers become this user. */
const workerUid = 100_000;

/** `bundle`: the worker in one file, where there is one; else it is loaded from `sources`. */
export function workerProgram(enter: readonly string[], { bundle, sources = sourceDir, execPath = process.execPath }: { bundle?: string | undefined; sources?: string; execPath?: string } = {}): WorkerProgram {
  const user = enter.length === 0 && process.getuid?.() === 0 ? workerUid : undefined;
  const uid = user ?? otherUid(enter);
  const isReadable = uid === undefined || (bundle ? isReachable(bundle) : isReachable(join(sources, "proxy", "worker.ts")) && isReachable(join(sources, "base", "channel.ts")));
  const copy = isReadable ? undefined : copyProgram(sources, bundle);
  const nodeFd = uid === undefined || isReachable(execPath, 0o005) ? undefined : openSync(execPath, "r");
  const cache = compileCache(uid, copy);
  return {
    node: nodeFd === undefined ? execPath : `/proc/self/fd/${nodeFdInChild}`,
    nodeFd,
    file: bundle ? join(copy ?? dirname(bundle), basename(bundle)) : join(copy ?? sources, "proxy", "worker.ts"),
    env: cache === undefined ? {} : { NODE_COMPILE_CACHE: cache, NODE_COMPILE_CACHE_PORTABLE: "1" },
    user,
    dispose() {
      if (copy !== undefined) rmSync(copy, { recursive: true, force: true });
      if (nodeFd !== undefined) closeSync(nodeFd);
    },
  };
}

/** The user that the prefix changes to, if it does. */
function otherUid(enter: readonly string[]): number | undefined {
  const at = enter.indexOf("--reuid");
  return at < 0 ? undefined : Number(enter[at + 1]);
}

/** Whether a user without any rights of its own gets to the file. */
function isReachable(file: string, wanted = 0o004): boolean {
  try {
    if ((statSync(file).mode & wanted) !== wanted) return false;
    for (let dir = dirname(file); ; dir = dirname(dir)) {
      if ((statSync(dir).mode & 0o001) === 0) return false;
      if (dir === dirname(dir)) return true;
    }
  } catch {
    return false;
  }
}

function copyProgram(sources: string, bundle: string | undefined): string {
  const copy = mkdtempSync(join(tmpdir(), "wherry-net-"));
  if (bundle) copyFileSync(bundle, join(copy, basename(bundle)));
  else for (const folder of copied) cpSync(join(sources, folder), join(copy, folder), { recursive: true, filter: (file) => !/\.test\.ts$|\/testing$/.test(file) });
  if (!bundle) writeFileSync(join(copy, "package.json"), '{ "type": "module" }\n');
  copyPatternEngine(copy);
  // Whatever the umask was: others may read, nobody but us may write.
  for (const entry of readdirSync(copy, { recursive: true, withFileTypes: true })) chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  chmodSync(copy, 0o755);
  return copy;
}

/** The one package that a worker loads, and not from its file: with the first regular expression of a route. */
function copyPatternEngine(copy: string): void {
  const folder = join(copy, "node_modules", "re2js");
  mkdirSync(folder, { recursive: true });
  copyFileSync(createRequire(import.meta.url).resolve("re2js"), join(folder, "index.cjs"));
  writeFileSync(join(folder, "package.json"), '{ "main": "index.cjs" }\n');
}

/** A folder that only the worker's user writes: code that is loaded from it runs with its rights, and no others. */
function compileCache(uid: number | undefined, copy: string | undefined): string | undefined {
  try {
    const base = copy ?? process.env["WHERRY_COMPILE_CACHE"] ?? join(dirname(sourceDir), ".cache", "compile");
    const folder = join(base, uid === undefined ? "net" : `net-${uid}`);
    mkdirSync(base, { recursive: true });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (uid === undefined) return folder;
    chownSync(folder, uid, uid);
    return isReachable(base, 0o001) ? folder : undefined;
  } catch {
    // Only speed is lost.
    return undefined;
  }
}
