import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";

/** Where programs of the system are looked for, whatever the user's PATH says. */
export const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin";

/** Absolute path of a system program, or undefined. */
export function findProgram(name: string, path = systemPath): string | undefined {
  for (const folder of path.split(":")) {
    const candidate = join(folder, name);
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Next folder.
    }
  }
  return undefined;
}

export interface CommandResult {
  /** Undefined when a signal ended it. */
  code: number | undefined;
  stdout: string;
  stderr: string;
}

const outputBytesMax = 64 * 1024;

/** Runs a short program of the system to its end, with nothing of the user's environment. Killed after `timeoutMs`. */
export function run(argv: readonly string[], options: { input?: string; timeoutMs?: number; uid?: number; gid?: number } = {}): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = spawn(argv[0]!, argv.slice(1), {
      env: { PATH: systemPath, LC_ALL: "C" },
      stdio: ["pipe", "pipe", "pipe"],
      timeout: options.timeoutMs ?? 20_000,
      killSignal: "SIGKILL",
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.gid ?? options.uid }),
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => void (stdout.length < outputBytesMax && (stdout += chunk.toString())));
    child.stderr.on("data", (chunk: Buffer) => void (stderr.length < outputBytesMax && (stderr += chunk.toString())));
    child.stdin.on("error", () => {});
    child.on("error", (error) => resolve({ code: undefined, stdout, stderr: error.message }));
    child.on("close", (code) => resolve({ code: code ?? undefined, stdout, stderr }));
    child.stdin.end(options.input ?? "");
  });
}

/** One word for a POSIX shell. */
export function quote(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
