import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, chmodSync, closeSync, constants as fsConstants, readFileSync, rmSync } from "node:fs";
import { constants } from "node:os";
import { isAbsolute, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../../base/clock.ts";
import { closedFolder } from "../../base/files.ts";
import { Cgroup, type CgroupRoot, joinPrefix } from "./cgroups.ts";
import { findProgram, quote, run } from "./command.ts";
import { TerminalSize, terminalSoon } from "./terminal-size.ts";
import type { FifoPool } from "./fifos.ts";
import { containerVariable } from "./leftovers.ts";
import type { Watched } from "./memory-watchdog.ts";
import { giveTree } from "./plain.ts";
import { makePlainTree, type PlainTree } from "./plain-tree.ts";
import { allPids, descendantsOf, identify, isAlive, type ProcessIdentity, sessionOf, signalProcess, usageOf } from "./processes.ts";
import { type ContainerExit, type ContainerProcess, type ContainerSpec, type ExecProcess, type ExecSpec, type PodSandboxSpec, SandboxRefusal } from "./sandbox.ts";

export interface PlainRuntime {
  isRoot: boolean;
  /** Folder of programs that come first in every PATH. */
  bin: string;
  fifos: FifoPool;
  clock: Clock;
  cgroups: CgroupRoot | undefined;
  preload: string;
  setpriv: string | undefined;
  env: Record<string, string>;
  /** "127.96.": where Services have their addresses; and the one of the names' server. */
  serviceNetwork: string;
  dnsIP: string;
  /** Ports below this one may not be bound, and Services answer them `privilegedPortOffset` higher. */
  privilegedPortsBelow: number;
  record(process: ProcessIdentity): void;
  watchMemory(container: Watched, limitBytes: number): () => void;
}

/** As in proxy/messages.ts, where the listeners are. */
const privilegedPortOffset = 40_000;
let serials = 0;

export async function startPlainContainer(runtime: PlainRuntime, pod: PodSandboxSpec, ip: string, spec: ContainerSpec, root: string): Promise<PlainContainer> {
  if (spec.argv.length === 0) throw new SandboxRefusal("CreateContainerError", "no command specified");
  if (spec.explicitUser && !runtime.isRoot && spec.uid !== process.getuid?.()) throw new SandboxRefusal("CreateContainerConfigError", `runAsUser ${spec.uid} needs namespaces or root; plain mode has one user`);
  if (spec.readOnlyRoot) throw new SandboxRefusal("CreateContainerConfigError", "readOnlyRootFilesystem cannot be kept in plain mode (no namespaces on this machine)");
  const owner = runtime.isRoot ? pod.hostUid : undefined;
  if (owner !== undefined && owner < 1000) throw new SandboxRefusal("CreateContainerConfigError", `host uid ${owner} is not one for pods`);
  if (owner !== undefined) refuseClosed(spec, owner);
  const tree = makePlainTree(root, spec);
  if (owner !== undefined) {
    giveTree(root, owner);
    chmodSync(root, 0o700);
  }
  const id = `${pod.uid}.${spec.name}.${process.pid}.${++serials}`;
  const ndots = Number(pod.dns.options.find((option) => option.startsWith("ndots:"))?.slice("ndots:".length) ?? 1);
  const nameserver = pod.dns.nameservers[0] ?? runtime.dnsIP;
  const settings = {
    podIP: ip,
    dns: { address: nameserver, port: nameserver === runtime.dnsIP && 53 < runtime.privilegedPortsBelow ? 53 + privilegedPortOffset : 53 },
    searches: pod.dns.searches,
    ndots,
    serviceNetwork: runtime.serviceNetwork,
    privilegedPortsBelow: runtime.privilegedPortsBelow,
    privilegedPortOffset,
    hosts: Object.fromEntries(pod.hostAliases.flatMap((alias) => alias.hostnames.map((name) => [name.toLowerCase(), alias.ip]))),
  };
  const env: Record<string, string> = {
    HOST: ip,
    ...tree.env,
    PATH: `${runtime.bin}:${tree.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"}`,
    WHERRY_POD: JSON.stringify(settings),
    NODE_OPTIONS: [`--require ${JSON.stringify(runtime.preload)}`, tree.env["NODE_OPTIONS"]].filter(Boolean).join(" "),
    [containerVariable]: id,
    ...runtime.env,
  };
  const file = tree.argv[0]!;
  const program = file.includes("/") ? (isAbsolute(file) ? file : join(tree.cwd, file)) : findProgram(file, env["PATH"]);
  try {
    accessSync(program ?? "", fsConstants.X_OK);
  } catch {
    throw new SandboxRefusal("RunContainerError", `exec: ${JSON.stringify(spec.argv[0])}: ${file.includes("/") ? `stat ${spec.argv[0]}: no such file or directory` : "executable file not found in $PATH"}`);
  }
  const closed = owner === undefined ? undefined : closedFolder(program!, owner);
  if (closed) throw new SandboxRefusal("RunContainerError", `exec: ${JSON.stringify(spec.argv[0])}: ${closedText(closed, program!)}`);
  const cgroup = runtime.cgroups && new Cgroup(runtime.cgroups, id, { memoryBytes: spec.limits.memoryBytes, pidsMax: spec.limits.pidsMax });
  cgroup?.applyStartWeight(spec.limits.cpuRequestMillis ?? 0);
  const container = new PlainContainer(runtime, spec, tree, env, id, owner, cgroup);
  try {
    await container.start(tree.argv);
  } catch (error) {
    cgroup?.remove();
    throw error;
  }
  return container;
}

/** A program that cannot read its own code would crash again and again without saying why. */
function refuseClosed(spec: ContainerSpec, owner: number): void {
  for (const { source, target } of spec.mounts) {
    const closed = source === undefined ? undefined : closedFolder(source, owner);
    if (closed) throw new SandboxRefusal("CreateContainerConfigError", `${target}: ${closedText(closed, source!)}`);
  }
}

const closedText = (closed: string, path: string): string => `in plain mode as root the pod has a user of its own, which may not pass through ${closed} to ${path}: chmod o+x ${closed}`;

export class PlainContainer implements ContainerProcess, Watched {
  readonly exited: Promise<ContainerExit>;
  pid = 0;
  stdin: Writable | undefined;
  stdout!: Readable;
  stderr!: Readable;
  readonly #runtime: PlainRuntime;
  readonly #spec: ContainerSpec;
  readonly #tree: PlainTree;
  readonly #env: Record<string, string>;
  readonly #mark: Buffer;
  readonly #owner: number | undefined;
  readonly #cgroup: Cgroup | undefined;
  #main: ProcessIdentity | undefined;
  #ended: ContainerExit | undefined;
  #overMemory = false;
  #limits: Omit<ContainerSpec["limits"], "pidsMax">;
  #cpuLimited = false;
  #stopWatching: (() => void) | undefined;
  #resolveExit!: (exit: ContainerExit) => void;

  constructor(runtime: PlainRuntime, spec: ContainerSpec, tree: PlainTree, env: Record<string, string>, id: string, owner: number | undefined, cgroup: Cgroup | undefined) {
    this.#runtime = runtime;
    this.#spec = spec;
    this.#tree = tree;
    this.#env = env;
    this.#mark = Buffer.from(`${containerVariable}=${id}\0`);
    this.#owner = owner;
    this.#cgroup = cgroup;
    this.#limits = spec.limits;
    this.exited = new Promise((resolve) => (this.#resolveExit = resolve));
  }

  async start(argv: readonly string[]): Promise<void> {
    const { child, stdin, stdout, stderr } = await this.#spawn(argv, this.#env, this.#spec.stdin || this.#spec.tty, this.#spec.tty);
    Object.assign(this, { stdin, stdout, stderr });
    // Known even of a program that has ended before it could be looked at; it is the session's id too.
    this.pid = child.pid ?? 0;
    child.on("exit", (code, signal) => this.#end(code, signal));
    await new Promise<void>((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) => reject(new SandboxRefusal("RunContainerError", error.message)));
    });
    this.#main = identify(child.pid!);
    if (this.#main) this.#runtime.record(this.#main);
    const limit = this.#spec.limits.memoryBytes;
    if (limit !== undefined && !this.#runtime.cgroups?.controllers.memory) this.#limitMemory(limit);
  }

  async #spawn(argv: readonly string[], env: Record<string, string>, wantsStdin: boolean, tty: boolean): Promise<{ child: ChildProcess; stdin: Writable | undefined; stdout: Readable; stderr: Readable }> {
    const { fifos, setpriv } = this.#runtime;
    const opened: number[] = [];
    try {
      const out = await fifos.output(this.#owner);
      opened.push(out.fd);
      const err = tty ? out : await fifos.output(this.#owner);
      if (err !== out) opened.push(err.fd);
      const input = wantsStdin ? await fifos.input(this.#owner) : undefined;
      if (input) opened.push(input.fd);
      let command = [...argv];
      if (tty) {
        const script = findProgram("script");
        if (!script) throw new SandboxRefusal("CreateContainerError", "a terminal needs the program `script` (Debian: bsdutils), which this machine lacks");
        command = [script, "-qec", `stty echo rows 24 cols 80; exec ${argv.map(quote).join(" ")}`, "/dev/null"];
        env = { TERM: "xterm", ...env, SHELL: "/bin/sh" };
      }
      const drop = this.#owner === undefined ? [] : ["--reuid", String(this.#owner), "--regid", String(this.#owner), "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];
      // The parent-death signal is cleared by a change of uid: both in one call.
      const wrapped = setpriv ? [...joinPrefix(this.#cgroup?.folders ?? [], "/bin/sh"), setpriv, ...drop, "--pdeathsig", "KILL", ...command] : command;
      const child = spawn(wrapped[0]!, wrapped.slice(1), { env, cwd: this.#tree.cwd, stdio: [input?.fd ?? "ignore", out.fd, err.fd], detached: true });
      return { child, stdin: input?.stream, stdout: out.stream, stderr: err.stream };
    } finally {
      for (const fd of opened) closeSync(fd);
    }
  }

  #end(code: number | null, signal: NodeJS.Signals | null): void {
    this.#stopWatching?.();
    const oomKilled = this.#overMemory || (this.#cgroup?.oomKills() ?? 0) > 0;
    const number = signal ? constants.signals[signal] : undefined;
    this.#ended = { exitCode: number === undefined ? code! : 128 + number, ...(number === undefined ? {} : { signal: number }), oomKilled };
    // What the program left behind; without a process namespace nobody else does it.
    for (const stray of this.#strays()) signalProcess(stray, "SIGKILL");
    this.#tidy(0);
    this.#resolveExit(this.#ended);
  }
  #tidy(attempt: number): void {
    if (attempt === 0) rmSync(this.#tree.root, { recursive: true, force: true });
    if (this.#cgroup && !this.#cgroup.remove() && attempt < 50) this.#runtime.clock.setTimer(20 * (attempt + 1), () => this.#tidy(attempt + 1));
  }
  /** Processes of the session that was made for the program, or with this container's mark in their environment. */
  #strays(): ProcessIdentity[] {
    const found: ProcessIdentity[] = [];
    for (const pid of process.platform === "linux" ? allPids() : []) {
      try {
        const identity = identify(pid);
        if (identity && ((this.pid > 1 && sessionOf(pid) === this.pid) || readFileSync(`/proc/${pid}/environ`).includes(this.#mark))) found.push(identity);
      } catch {
        // Another user's, or gone.
      }
    }
    return found;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ended || !this.#main) return;
    if (signal === "SIGKILL") this.kill();
    else signalProcess(this.#main, signal);
  }
  kill(overMemory = false): void {
    if (this.#ended || !this.#main) return;
    this.#overMemory ||= overMemory;
    signalProcess(this.#main, "SIGKILL");
  }
  pids(): number[] {
    return this.#main && !this.#ended ? descendantsOf(this.#main.pid) : [];
  }

  async exec(spec: ExecSpec): Promise<ExecProcess> {
    if (this.#ended || !this.#main || !isAlive(this.#main)) throw new SandboxRefusal("ContainerNotRunning", "the container is not running");
    const kill = parseKill(spec.argv);
    if (kill) return this.#execKill(kill);
    // As root the pod's own uid bounds what a command can do; otherwise only the manifest's author may run one.
    if (this.#owner === undefined && !spec.fromManifest) throw new SandboxRefusal("Forbidden", `exec of ${JSON.stringify(spec.argv[0])} is refused: without namespaces or root it could signal and read everything of yours. Only \`kill [-SIGNAL] 1\` is understood here`);
    const { child, stdin, stdout, stderr } = await this.#spawn(spec.argv.map((word) => this.#tree.rewrite(word)), { ...this.#env, ...spec.env }, spec.stdin || spec.tty, spec.tty);
    const exited = new Promise<number>((resolve) => {
      child.on("error", () => resolve(126));
      child.on("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
    });
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    const size = this.#terminalSize(() => identity);
    return { stdin, stdout, stderr, exited, resize: (columns, rows) => spec.tty && size.want(columns, rows), kill: () => void (identity && signalProcess(identity, "SIGKILL")) };
  }
  /** Performed by Wherry itself, on a process known to be the pod's: no program ever signals outside its pod. */
  async #execKill({ signal, pid }: { signal: NodeJS.Signals; pid: number }): Promise<ExecProcess> {
    const target = pid === 1 ? this.#main : this.pids().includes(pid) ? identify(pid) : undefined;
    const done = target !== undefined && signalProcess(target, signal);
    const [out, err] = [await this.#runtime.fifos.output(undefined), await this.#runtime.fifos.output(undefined)];
    closeSync(out.fd);
    closeSync(err.fd);
    return { stdin: undefined, stdout: out.stream, stderr: err.stream, exited: Promise.resolve(done ? 0 : 1), resize() {}, kill() {} };
  }
  async usage(): Promise<{ cpuNs: number; memoryBytes: number }> {
    const counted = this.#cgroup?.usage();
    const walked = usageOf(this.pids());
    return { cpuNs: counted?.cpuNs ?? walked.cpuNs, memoryBytes: counted?.memoryBytes ?? walked.memoryBytes };
  }
  applyCpuLimit(): void {
    this.#cpuLimited = true;
    if (this.#ended) return;
    this.#cgroup?.applyWeight(this.#limits.cpuRequestMillis ?? 0);
    if (this.#limits.cpuMillis !== undefined) this.#cgroup?.applyCpu(this.#limits.cpuMillis);
  }
  setLimits(limits: Omit<ContainerSpec["limits"], "pidsMax">): void {
    if (this.#ended) return;
    if (limits.memoryBytes !== undefined && limits.memoryBytes !== this.#limits.memoryBytes) this.#limitMemory(limits.memoryBytes);
    this.#limits = limits;
    if (this.#cpuLimited) this.applyCpuLimit();
  }
  #limitMemory(bytes: number): void {
    if (this.#runtime.cgroups?.controllers.memory) return this.#cgroup!.applyMemory(bytes);
    this.#stopWatching?.();
    this.#stopWatching = this.#runtime.watchMemory(this, bytes);
  }
  resize(columns: number, rows: number): void {
    if (this.#spec.tty) this.#size.want(columns, rows);
  }
  readonly #size = this.#terminalSize(() => this.#main);
  #terminalSize(of: () => ProcessIdentity | undefined): TerminalSize {
    return new TerminalSize(async (columns, rows) => {
      const process = of();
      const terminal = process && (await terminalSoon(process, this.#runtime.clock));
      const stty = findProgram("stty");
      if (terminal && stty) await run([stty, "-F", terminal, "rows", String(rows), "cols", String(columns)]);
    });
  }
}

/** `kill 1`, `kill -9 1`, `kill -TERM 1`, `kill -s TERM 1`; anything else (groups, 0, several) is not understood. */
export function parseKill(argv: readonly string[]): { signal: NodeJS.Signals; pid: number } | undefined {
  if (!/^(\/usr)?(\/bin\/)?kill$/.test(argv[0] ?? "")) return undefined;
  let rest = argv.slice(1);
  let name = "TERM";
  if (rest[0] === "-s") [name, rest] = [rest[1] ?? "", rest.slice(2)];
  else if (/^-[A-Za-z0-9]+$/.test(rest[0] ?? "")) [name, rest] = [rest[0]!.slice(1), rest.slice(1)];
  const signal = /^\d+$/.test(name) ? Object.entries(constants.signals).find(([, number]) => number === Number(name))?.[0] : `SIG${name.toUpperCase().replace(/^SIG/, "")}`;
  if (rest.length !== 1 || !/^[1-9]\d*$/.test(rest[0]!) || !signal || !(signal in constants.signals)) return undefined;
  return { signal: signal as NodeJS.Signals, pid: Number(rest[0]) };
}
