import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isNewEnough, pinnedNode, tooOld } from "../../bin/node.mjs";

/**
 * Wherry in a process of its own, which the test's process holds by a pipe: when that closes, by `stop` or because the
 * process was killed, everything ends. Lines of JSON come back (StackLine of cli/internal-stack.ts).
 */
export interface StackProcess {
  readonly pid: number;
  /** What the API process told once it answered. */
  readonly facts: Promise<StackFacts>;
  /** Everything stands: pods may run. Rejects when it cannot. */
  readonly started: Promise<true>;
  /** Leave the data where it is. */
  keep(): void;
  stop(): Promise<void>;
}

export interface StackFacts {
  apiUrl: string;
  kubeconfig: string;
  socketPath: string;
  mode: "isolated" | "plain";
}

/** What Wherry says when it cannot go on; `code` as in docs/reference/errors.md. */
export class StackError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.name = "StackError";
    this.code = code;
  }
}

const door = fileURLToPath(new URL("../../bin/wherry.mjs", import.meta.url));
/** A stack that was asked to end has this long; a database's fast shutdown takes a fraction of it. */
const stopMs = 30_000;

/** What programs need, and nothing of the test runner's: its NODE_OPTIONS are meant for its own Node. */
const environment = (): NodeJS.ProcessEnv => Object.fromEntries(["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "WHERRY_LOG", "WHERRY_COMPILE_CACHE", "WHERRY_SOURCES"].flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));

/** The Node that runs Wherry: this one when it is new enough. Throws StackError. */
function node(): string {
  const found = isNewEnough() ? process.execPath : pinnedNode();
  if (found === undefined) throw new StackError("PLATFORM_UNSUPPORTED", tooOld);
  return found;
}

/** A session of its own: a terminal's Ctrl-C ends the test, and the test's end the stack, in order. */
const start = (words: readonly string[], stdio: ("pipe" | "ignore" | number)[]): ChildProcess => spawn(node(), [door, ...words], { stdio, detached: true, env: environment() });

export function startProcess(options: object, logDescriptor: number): StackProcess {
  const child = start(["internal:stack", JSON.stringify(options)], ["pipe", "pipe", logDescriptor]);
  child.stdin!.on("error", () => {}); // it is gone; `exit` says so
  const exited = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(`it ended with ${signal ?? `exit code ${code}`}`));
  });
  let stopping = false;
  let failure: StackError | undefined;
  const told = (name: string) => {
    let resolve!: (value: never) => void;
    let reject!: (error: Error) => void;
    const promise = new Promise<never>((...both) => ([resolve, reject] = both));
    promise.catch(() => {}); // whoever waits hears of it
    return { name, promise, resolve, reject };
  };
  const [facts, started] = [told("api"), told("started")];
  createInterface({ input: child.stdout! }).on("line", (line) => {
    // Its children have the same standard output: what is no line of ours is left alone.
    if (!line.startsWith("{")) return;
    const said = JSON.parse(line) as { error?: { code: string; message: string } } & Record<string, unknown>;
    if (said.error) failure = new StackError(said.error.code, said.error.message);
    else for (const waiter of [facts, started]) if (waiter.name in said) waiter.resolve(said[waiter.name] as never);
  });
  void exited.then((how) => {
    // What it said last is still in the pipe.
    setImmediate(() => {
      for (const { reject } of [facts, started]) reject(failure ?? new StackError("NOT_RUNNING", stopping ? "the stack was stopped" : `the stack did not start: ${how}`));
    });
  });
  // A test that forgets to stop it may end all the same, and the stack ends with it: the pipes close.
  const letGo = () => {
    if (stopping) return;
    child.unref();
    for (const stream of [child.stdin, child.stdout]) (stream as unknown as { unref(): void }).unref();
  };
  started.promise.then(letGo, letGo);
  return {
    pid: child.pid ?? 0,
    facts: facts.promise,
    started: started.promise,
    keep: () => void child.stdin!.write("keep\n"),
    async stop() {
      stopping = true;
      child.ref();
      child.stdin!.end();
      const hard = setTimeout(() => child.kill("SIGKILL"), stopMs);
      await exited;
      clearTimeout(hard);
    },
  };
}

/** Its exit codes, of those in docs/reference/errors.md that can meet it. */
const applyCodes: Readonly<Record<number, string>> = { 2: "USAGE", 6: "MANIFEST_INVALID", 7: "PROGRAM_MISSING", 9: "NOT_RUNNING", 10: "FOLDER_CLOSED" };

/** `wherry up`'s own child applies paths to a stack: reads manifests, kustomizations, skaffold.yaml and Dockerfiles. */
export async function applyPaths(request: { dataDir: string; paths: readonly string[]; links: readonly string[] }, signal?: AbortSignal): Promise<void> {
  const child = start(["internal:apply", JSON.stringify({ ...request, isolated: true })], ["ignore", "pipe", "pipe"]);
  signal?.addEventListener("abort", () => child.kill());
  let [said, output] = ["", ""];
  child.stdout!.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr!.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (value) => resolve(value ?? 1));
  });
  if (code !== 0) throw new StackError(applyCodes[code] ?? "MANIFEST_INVALID", said.trim() || output.trim() || `applying ended with exit code ${code}`);
}
