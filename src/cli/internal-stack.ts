import { rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { WherryError } from "../base/errors.ts";
import { type ApiFacts, startWherry, type StartOptions } from "../wherry.ts";

/** What `wherry/testing` asks for; see StackOptions there. */
export interface StackRequest extends Pick<StartOptions, "dataDir" | "isolation" | "egressPorts" | "hostPathRoots"> {
  dataDir: string;
  from?: string;
  /** A folder that goes with the stack, unless "keep" was said. */
  temporary?: string;
}

/** Lines of JSON on stdout. */
export type StackLine = { api: ApiFacts } | { started: true } | { error: { code: string; message: string } };

/**
 * The `wherry` process of one test: it lives as long as its standard input, which its test holds open. However that one
 * ends, kill -9 included, the pods, the processes and the temporary data end with it.
 */
export async function run(argv: string[]): Promise<number> {
  const { from, temporary, ...options } = JSON.parse(argv[0]!) as StackRequest;
  const say = (line: StackLine) => void process.stdout.write(`${JSON.stringify(line)}\n`);
  process.stdout.on("error", () => {}); // nobody listens any more; the input's end says the same
  let keep = false;
  const left = new Promise<void>((resolve) => {
    createInterface({ input: process.stdin }).on("line", (line) => (keep ||= line === "keep")).on("close", resolve);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => resolve());
  });
  let code = 0;
  try {
    if (from !== undefined) await (await import("./backup/restore.ts")).restoreBackup(from, options.dataDir);
    const wherry = await startWherry({ ...options, private: true, onApi: (api) => say({ api }) });
    say({ started: true });
    await left;
    await wherry.stop("fast");
  } catch (error) {
    if (!(error instanceof WherryError)) process.stderr.write(`${(error as Error).stack}\n`);
    say({ error: error instanceof WherryError ? { code: error.code, message: `${error.message}\n${error.remedy}` } : { code: "INTERNAL", message: (error as Error).message } });
    code = 1;
  }
  if (temporary !== undefined && !keep) rmSync(temporary, { recursive: true, force: true });
  // Whatever still holds the loop must not keep a stopped stack alive.
  process.stdout.write("", () => process.exit(code));
  return code;
}
