import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { allPids, descendantsOf, identify, isAlive, type ProcessIdentity } from "../../src/node/sandbox/processes.ts";
import { entry } from "../../src/wherry.ts";
import { find, kubectl } from "../needs.ts";

/** What `up` says when all that it was given is Ready. */
export const isUp = /Press Ctrl-C to stop/;

/** An ordinary user, by number: there need be no name for it. */
export const nobody = 65534;

/** Whether another user could run Wherry from this checkout, and this Node. */
export function everybodyMayRead(path: string): boolean {
  return [path, realpathSync(process.execPath)].every((file) => {
    for (let folder = file; folder !== dirname(folder); folder = dirname(folder)) if ((statSync(folder).mode & 0o005) !== 0o005) return false;
    return true;
  });
}

/**
 * Wherry as a person uses it: the command line, in a folder of its own with a home and a kubeconfig of its own.
 * `await using desk = new CommandLine(t)`; whatever it started is ended with it. The folder is kept when the test fails.
 */
export class CommandLine implements AsyncDisposable {
  readonly folder: string;
  readonly env: Record<string, string>;
  readonly #test: TestContext;
  /** What commands of `wherry` are started by. */
  prefix: readonly string[] = [];
  readonly #running: Running[] = [];

  /** `uid`: who types the commands, where this process is root. */
  constructor(test: TestContext, options: { uid?: number } = {}) {
    this.#test = test;
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), "wherry-command-")));
    const { uid } = options;
    if (uid !== undefined) this.prefix = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
    for (const name of ["bin", "home"]) mkdirSync(join(this.folder, name));
    const client = kubectl("1.33") ?? find("kubectl");
    if (client) symlinkSync(client, join(this.folder, "bin", "kubectl"));
    // In plain mode as root a pod has a uid of its own and reaches its files by their paths.
    chmodSync(this.folder, 0o711);
    if (uid !== undefined) for (const path of [this.folder, join(this.folder, "home")]) chownSync(path, uid, uid);
    this.env = {
      PATH: `${join(this.folder, "bin")}:${process.env["PATH"] ?? ""}`,
      HOME: join(this.folder, "home"),
      KUBECONFIG: join(this.folder, "own"),
      LANG: "C",
      // Another user may not write into the checkout's cache.
      ...(uid !== undefined && { WHERRY_COMPILE_CACHE: join(this.folder, "cache") }),
    };
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** Runs `wherry …` to its end. */
  async wherry(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    const running = this.start(...args);
    const { code } = await running.ended;
    return { code: code ?? -1, stdout: running.stdout, stderr: running.stderr };
  }

  /** Starts `wherry …` and leaves it running. */
  start(...args: string[]): Running {
    const [program, ...words] = [...this.prefix, process.execPath, entry, ...args];
    return this.spawn(program!, ...words);
  }

  /** Starts any program and leaves it running. */
  spawn(program: string, ...args: string[]): Running {
    const running = new Running(args.join(" "), spawn(program, args, { cwd: this.folder, env: this.env, stdio: ["ignore", "pipe", "pipe"] }));
    this.#running.push(running);
    return running;
  }

  /** Runs kubectl as the owner of `context`; throws when it fails. */
  kubectl(context: string, ...args: string[]): string {
    const { status, stdout, stderr } = spawnSync("kubectl", ["--context", context, ...args], { cwd: this.folder, env: this.env, encoding: "utf8", timeout: 60_000 });
    if (status !== 0) throw new Error(`kubectl ${args.join(" ")} ended with ${status}:\n${stdout}${stderr}`);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const running of this.#running) running.kill("SIGINT");
    await Promise.all(this.#running.map(({ ended }) => ended));
    if (this.#test.error) this.#test.diagnostic(`what it left is kept in ${this.folder}`);
    else rmSync(this.folder, { recursive: true, force: true });
  }
}

/** One `wherry` that was started. */
export class Running {
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stdout = "";
  stderr = "";
  readonly #what: string;
  readonly #child: ChildProcess;
  readonly #listeners = new Set<() => void>();
  #over = false;

  constructor(what: string, child: ChildProcess) {
    this.#what = what;
    this.#child = child;
    child.stdout!.on("data", (chunk: Buffer) => this.#hear("stdout", chunk));
    child.stderr!.on("data", (chunk: Buffer) => this.#hear("stderr", chunk));
    this.ended = new Promise((resolve) =>
      child.on("exit", (code, signal) => {
        this.#over = true;
        // What it wrote last is read to its end; a child that holds the pipe open must not hold us up.
        setImmediate(() => resolve({ code, signal }));
        for (const listener of this.#listeners) listener();
      }),
    );
  }

  get pid(): number {
    return this.#child.pid!;
  }

  kill(signal: NodeJS.Signals): void {
    if (!this.#over) this.#child.kill(signal);
  }

  /** Resolves with everything said so far once `pattern` is in it. */
  said(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const text = this.stdout + this.stderr;
        if (pattern.test(text)) resolve(text);
        else if (this.#over) reject(new Error(`${this.#what} ended before it said ${pattern}:\n${text}`));
        else return;
        this.#listeners.delete(look);
      };
      this.#listeners.add(look);
      look();
    });
  }

  #hear(stream: "stdout" | "stderr", chunk: Buffer): void {
    this[stream] += chunk.toString();
    for (const listener of this.#listeners) listener();
  }
}

/**
 * Every process that belongs to a stack: below its `wherry`, in its control groups, or with its data directory or its mark in
 * the words or the environment.
 */
export function familyOf(dataDir: string, pid?: number): ProcessIdentity[] {
  const mark = `wherry-${createHash("sha256").update(dataDir).digest("hex").slice(0, 16)}`;
  const below = new Set(pid === undefined ? [] : descendantsOf(pid));
  const read = (pid: number, file: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, "latin1");
    } catch {
      return "";
    }
  };
  return allPids()
    .filter((pid) => pid !== process.pid && (below.has(pid) || read(pid, "cgroup").includes(mark) || read(pid, "cmdline").includes(dataDir) || new RegExp(`${dataDir}|WHERRY_SANDBOX=${mark.slice("wherry-".length)}`).test(read(pid, "environ"))))
    .flatMap((pid) => identify(pid) ?? []);
}

/** Waits until none of these lives; gives those that still do, with their words. */
export async function survivors(processes: readonly ProcessIdentity[], withinMs: number): Promise<string[]> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const living = processes.filter(isAlive);
    if (living.length === 0 || performance.now() > deadline) return living.map(({ pid }) => `${pid} ${readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ")}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A foreign program that listens on 127.0.0.1:`port`; undefined when the port is taken. */
export function foreignListener(port: number): Promise<{ close(): Promise<void> } | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.on("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve({ close: () => new Promise((done) => server.close(() => done())) }));
  });
}
