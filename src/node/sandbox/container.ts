import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants as fsConstants, openSync, rmSync, statSync } from "node:fs";
import { Socket } from "node:net";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import type { Clock } from "../../base/clock.ts";
import { Cgroup, type CgroupRoot, joinPrefix } from "./cgroups.ts";
import { addresses } from "./addresses.ts";
import { quote } from "./command.ts";
import { execInContainer } from "./exec.ts";
import type { FifoPool } from "./fifos.ts";
import { ownMounts, readMounts } from "./mountinfo.ts";
import type { PodNetworkNamespaces } from "./pod-network.ts";
import { descendantsOf, HeldMounts, identify, isAlive, namedBelow, namespacedBelow, programRuns, type ProcessIdentity, signalProcess, usageOf } from "./processes.ts";
import { type ContainerExit, type ContainerProcess, type ContainerSpec, type ExecProcess, type ExecSpec, type PodSandboxSpec, SandboxRefusal } from "./sandbox.ts";
import { initScript, packEnvironment, stageScript } from "./stage.ts";
import { TerminalSize, terminalSoon } from "./terminal-size.ts";
import type { Tools } from "./tools.ts";
import { hostGid, makeTree, type TreeBase } from "./tree.ts";

/** What all containers of one sandbox share. */
export interface ContainerRuntime {
  tools: Tools;
  clock: Clock;
  env: Record<string, string>;
  network: PodNetworkNamespaces;
  fifos: FifoPool;
  cgroups: CgroupRoot | undefined;
  treeBase: TreeBase;
  /** File with the seccomp filter, when bwrap is there to set it. */
  seccompPath: string | undefined;
  record(process: ProcessIdentity): void;
  watchMemory(container: IsolatedContainer, limitBytes: number): () => void;
}

/** The namespaces that containers of a pod share, as open descriptors. */
export interface SharedNamespaces {
  net: number;
  ipc: number;
  uts: number;
}
/** Where the pod has volumes in memory: the namespace of mounts that has them, as an open descriptor. */
export type MemoryMounts = number | undefined;
/** Given for the first container of a pod, which makes them. */
export interface NetworkPlan {
  link: string;
  ip: string;
}

/** Processes of one container where nothing else is asked for: a fork bomb must not fill the machine's table. */
const processesMaxDefault = 4096;
/** A start takes 30 ms; a source on a file system that does not answer must not hold its pod for ever. */
const startTimeoutMs = 60_000;
const statusBytesMax = 64 * 1024;
const terminalSize = { columns: 80, rows: 24 };

export async function startContainer(runtime: ContainerRuntime, pod: PodSandboxSpec, ip: string, spec: ContainerSpec, podDir: string, dir: string, shared: SharedNamespaces | NetworkPlan, host: IsolatedContainer | undefined, memory: MemoryMounts, onNamespaces: (pid: number) => Promise<void>): Promise<IsolatedContainer> {
  const { tools } = runtime;
  if (spec.argv.length === 0) throw new SandboxRefusal("CreateContainerError", "no command specified");
  if (spec.tty && (!tools.script || !tools.stty)) throw new SandboxRefusal("CreateContainerError", "a terminal needs the program `script` (Debian: bsdutils) and `stty` (coreutils), which this machine lacks");
  if (tools.isRoot && !(pod.hostUid > 100_000 && pod.hostUid < 165_536)) throw new SandboxRefusal("CreateContainerConfigError", `host uid ${pod.hostUid} is outside 100001–165535, the uids set aside for pods`);
  const opened: number[] = [];
  const container = new IsolatedContainer(runtime, pod, spec, dir);
  try {
    const tree = makeTree(runtime.treeBase, dir, podDir, pod, spec, ownMounts(runtime.clock));
    const owner = tools.isRoot ? pod.hostUid : undefined;
    const out = await runtime.fifos.output(owner);
    opened.push(out.fd);
    const err = spec.tty ? out : await runtime.fifos.output(owner);
    if (err !== out) opened.push(err.fd);
    const open = (path: string) => {
      const fd = openSync(path, fsConstants.O_RDONLY);
      opened.push(fd);
      return fd;
    };
    let stdin: Writable | undefined;
    let stdinFd: number | "ignore" = "ignore";
    if (spec.stdin || spec.tty) {
      const input = await runtime.fifos.input(owner);
      opened.push(input.fd);
      stdinFd = input.fd;
      stdin = input.stream;
    }
    const isFirst = "link" in shared;
    const cgroup = runtime.cgroups && new Cgroup(runtime.cgroups, `${pod.uid}.${spec.name}.${process.pid}.${container.serial}`, { memoryBytes: spec.limits.memoryBytes, pidsMax: spec.limits.pidsMax ?? processesMaxDefault });
    container.cgroup = cgroup;
    cgroup?.applyStartWeight(spec.limits.cpuRequestMillis ?? 0);
    const limitByRlimit = !runtime.cgroups?.controllers.pids;
    container.processesMax = limitByRlimit ? (spec.limits.pidsMax ?? processesMaxDefault) : undefined;

    // 0 in, 1 out, 2 words to us, 3 err, 4–6 namespaces, 7 processes, 8 seccomp filter, 9 the pod network; 4 or 9, whichever is free, the mounts: a shell knows ten.
    const stdio: (number | "ignore" | "pipe")[] = [stdinFd, out.fd, "pipe", err.fd];
    const enter = [...runtime.network.enterAsAdmin];
    if (isFirst) {
      stdio[9] = runtime.network.netFd;
    } else {
      stdio.push(shared.net, shared.ipc, shared.uts);
      enter.push("--net=/proc/self/fd/4", "--ipc=/proc/self/fd/5", "--uts=/proc/self/fd/6");
    }
    if (memory !== undefined) {
      const fd = isFirst ? 4 : 9;
      stdio[fd] = memory;
      enter.push(`--mount=/proc/self/fd/${fd}`);
    }
    if (host) {
      stdio[7] = open(`/proc/${host.pid}/ns/pid`);
      container.isGuest = true;
      if (host.hasEnded) throw new SandboxRefusal("CreateContainerConfigError", `unable to find target container ${host.spec.name}`);
    }
    if (runtime.seccompPath && tools.bwrap) {
      stdio[8] = open(runtime.seccompPath);
      enter.push(tools.bwrap, "--dev-bind", "/", "/", "--cap-add", "ALL", "--die-with-parent", "--seccomp", "8", "--");
    }
    const closeFds = stdio.map((_, fd) => fd).filter((fd) => fd > 3 && stdio[fd] !== undefined);
    for (let fd = 0; fd < stdio.length; fd++) stdio[fd] ??= "ignore";
    const script = stageScript({
      tools, root: tree.root, fstab: tree.fstab, lateFstab: tree.lateFstab || undefined, lateFiles: tree.lateFiles, workingDir: spec.workingDir,
      network: isFirst ? { link: shared.link, ip, gateway: addresses.link, hostname: pod.hostname } : undefined,
      // "ignore" opens /dev/null at the numbers between; they go too.
      closeFds: [...new Set([...closeFds, ...stdio.map((_, fd) => fd).filter((fd) => fd > 3)])],
      hostUid: pod.hostUid, hostGid: hostGid(pod, spec.gid), hostGroups: container.hostGroups.map(({ host }) => host), uid: spec.uid, gid: spec.gid, processesMax: container.processesMax, isGuest: host !== undefined,
    });
    const env: Record<string, string> = { ...(spec.tty ? { TERM: "xterm" } : {}), ...spec.env };
    const packed = packEnvironment(env);
    container.podEnv = env;
    const program = [...(packed.viaEnv.length > 0 ? [tools.env, ...packed.viaEnv] : []), ...(spec.tty ? terminalCommand(tools, spec.argv, terminalSize) : spec.argv)];
    const argv = [
      tools.setpriv, "--pdeathsig", "KILL", ...joinPrefix(cgroup?.folders ?? [], tools.sh), ...enter,
      // After the filter: what set it stays outside of the other's sight.
      ...(host ? [tools.nsenter, "--pid=/proc/self/fd/7"] : []), tools.unshare, ...(host ? ["-m"] : [isFirst ? "-nmpiuf" : "-mpf", "--kill-child=KILL"]), tools.sh, "-c", script, "sh",
      env["PATH"] ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", spec.argv[0]!,
      tools.sh, "-c", initScript(tools, packed.unpack, host !== undefined), "sh", ...program,
    ];
    const child = spawn(argv[0]!, argv.slice(1), { env: { ...runtime.env, ...packed.variables }, stdio, detached: true, cwd: "/" });
    container.attach(child, stdin, out.stream, err.stream);
    const late = runtime.clock.setTimer(startTimeoutMs, () => container.giveUp());
    try {
      await container.handshake(tree.expected, onNamespaces);
    } finally {
      late.cancel();
    }
    return container;
  } catch (error) {
    container.discard();
    if ((error as NodeJS.ErrnoException).code === "E2BIG") throw new SandboxRefusal("RunContainerError", `exec: ${JSON.stringify(spec.argv[0])}: argument list too long (command and environment together)`);
    throw error;
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** A program on a terminal of the pod's own: `script` makes one and passes bytes on, so no native module is needed. */
export function terminalCommand(tools: Tools, argv: readonly string[], size: { columns: number; rows: number }): string[] {
  const command = `${tools.stty} echo rows ${size.rows} cols ${size.columns}; exec ${argv.map(quote).join(" ")}`;
  return [tools.env, "SHELL=/bin/sh", tools.script!, "-qec", command, "/dev/null"];
}

export class IsolatedContainer implements ContainerProcess {
  static #serials = 0;
  readonly serial = ++IsolatedContainer.#serials;
  readonly spec: ContainerSpec;
  readonly runtime: ContainerRuntime;
  readonly exited: Promise<ContainerExit>;
  /** Undefined when there is one uid for all. */
  readonly hostUid: number | undefined;
  readonly hostGid: number | undefined;
  /** Groups besides its own. */
  readonly hostGroups: readonly { inside: number; host: number }[];
  cgroup: Cgroup | undefined;
  processesMax: number | undefined;
  podEnv: Readonly<Record<string, string>> = {};
  stdin: Writable | undefined;
  stdout!: Readable;
  stderr!: Readable;
  pid = 0;
  /** It lives among the processes of another container, and is not the first of them. */
  isGuest = false;
  readonly execs = new Set<{ outer: ProcessIdentity; kill(): void }>();
  readonly #dir: string;
  #child: ChildProcess | undefined;
  #outer: ProcessIdentity | undefined;
  #init: ProcessIdentity | undefined;
  /** Of a guest: what tells its processes, orphans and exec'd ones included, from the others of its process namespace. */
  #mounts: HeldMounts | undefined;
  #status = "";
  #statusChanged: (() => void) | undefined;
  #ended: ContainerExit | undefined;
  #resolveExit!: (exit: ContainerExit) => void;
  #killed = false;
  #overMemory = false;
  #stopWatching: (() => void) | undefined;
  #limits: Omit<ContainerSpec["limits"], "pidsMax">;
  #cpuLimited = false;

  constructor(runtime: ContainerRuntime, pod: PodSandboxSpec, spec: ContainerSpec, dir: string) {
    this.hostUid = runtime.tools.isRoot ? pod.hostUid : undefined;
    this.hostGid = runtime.tools.isRoot ? hostGid(pod, spec.gid) : undefined;
    this.hostGroups = runtime.tools.isRoot ? (pod.groups ?? []).filter(({ inside }) => inside !== spec.gid) : [];
    this.runtime = runtime;
    this.spec = spec;
    this.#limits = spec.limits;
    this.#dir = dir;
    this.exited = new Promise((resolve) => (this.#resolveExit = resolve));
  }

  attach(child: ChildProcess, stdin: Writable | undefined, stdout: Readable, stderr: Readable): void {
    this.#child = child;
    this.stdin = stdin;
    this.stdout = stdout;
    this.stderr = stderr;
    const status = child.stdio[2] as Socket;
    status.on("error", () => {});
    status.on("data", (chunk: Buffer) => {
      if (this.#status.length < statusBytesMax) this.#status += chunk.toString();
      this.#statusChanged?.();
    });
    child.on("error", (error) => {
      this.#status += `fail ${error.message}\n`;
      this.#end(125, undefined);
    });
    // `close` of the status socket may come before or after `exit`: both words and code are wanted.
    let left = 2;
    let code: number | null = null;
    let signal: NodeJS.Signals | null = null;
    const done = () => --left === 0 && this.#end(code ?? undefined, signal ?? undefined);
    child.on("exit", (exitCode, exitSignal) => {
      [code, signal] = [exitCode, exitSignal];
      done();
    });
    status.on("close", done);
    if (child.pid !== undefined) {
      this.#outer = identify(child.pid);
      if (this.#outer) this.runtime.record(this.#outer);
    }
  }

  /** Follows the start sequence to the point where the program runs; rejects with what went wrong. */
  async handshake(expected: readonly { target: string; identity: string | undefined }[], onNamespaces: (pid: number) => Promise<void>): Promise<void> {
    await this.#word("namespaces");
    const init = this.isGuest ? namedBelow(this.#child!.pid!, Number(/^pid (\d+)$/m.exec(this.#status)?.[1])) : namespacedBelow(this.#child!.pid!);
    if (!init) throw this.#failure();
    this.#init = init;
    this.pid = init.pid;
    if (this.isGuest) this.#mounts = HeldMounts.of(init.pid);
    this.runtime.record(init);
    const connected = onNamespaces(init.pid);
    connected.catch(() => {});
    await this.#word("mounted");
    checkMounts(init.pid, expected);
    await connected;
    (this.#child!.stdio[2] as Socket).write("go\n");
    if (this.hostGroups.length > 0) {
      await this.#word("map");
      await this.runtime.network.mapGroups(init.pid, [{ inside: this.spec.gid, host: this.hostGid! }, ...this.hostGroups]);
      (this.#child!.stdio[2] as Socket).write("mapped\n");
    }
    await this.#word("started");
    await this.#programRuns(init);
    if (this.spec.limits.memoryBytes !== undefined && !this.runtime.cgroups?.controllers.memory) this.#limitMemory(this.spec.limits.memoryBytes);
  }
  /**
   * A few milliseconds lie between the last word of the start sequence and the program: PID 1 is not yet the init, and the
   * kernel drops signals it does not handle. Who gets this container must be able to signal it, `kill 1` by exec included.
   */
  #programRuns(init: ProcessIdentity): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.#ended || !isAlive(init) || programRuns(init.pid)) resolve();
        else this.runtime.clock.setTimer(2, look);
      };
      look();
    });
  }
  #word(word: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (new RegExp(`^${word}$`, "m").test(this.#status)) resolve();
        else if (this.#ended) reject(this.#failure());
        else return;
        this.#statusChanged = undefined;
      };
      this.#statusChanged = look;
      look();
    });
  }
  #failure(): SandboxRefusal {
    const program = JSON.stringify(this.spec.argv[0]);
    const lines = this.#status.split("\n").filter((line) => line !== "" && !line.startsWith("pid ") && !["namespaces", "mounted", "map", "started"].includes(line));
    if (lines.includes("missing")) {
      const why = this.spec.argv[0]!.includes("/") ? `stat ${this.spec.argv[0]}: no such file or directory` : "executable file not found in $PATH";
      return new SandboxRefusal("RunContainerError", `exec: ${program}: ${why}`);
    }
    const step = /^fail (.*)$/m.exec(this.#status)?.[1] ?? "start";
    if (step === "workingDir") return new SandboxRefusal("RunContainerError", `workingDir ${this.spec.workingDir} does not exist in the container, or cannot be entered`);
    return new SandboxRefusal("RunContainerError", `the container could not be started (${step}): ${lines.filter((line) => !line.startsWith("fail ")).join("; ") || `exit ${this.#ended?.exitCode}`}`.replaceAll(this.#dir, ""));
  }
  #end(code: number | undefined, signal: NodeJS.Signals | undefined): void {
    if (this.#ended) return;
    this.#stopWatching?.();
    this.#killLeft();
    this.#mounts?.close();
    const oomKilled = this.#overMemory || (this.cgroup?.oomKills() ?? 0) > 0;
    // When PID 1 dies by SIGKILL, unshare fails to repeat that on itself and says so.
    const killed = signal === "SIGKILL" || (code !== 0 && (this.#killed || this.#overMemory || this.#status.includes("sigprocmask")));
    const number = killed ? constants.signals.SIGKILL : signal ? constants.signals[signal] : undefined;
    this.#ended = { exitCode: number === undefined ? (code ?? 255) : 128 + number, ...(number === undefined ? {} : { signal: number }), oomKilled };
    this.#statusChanged?.();
    this.#resolveExit(this.#ended);
    this.#tidy();
  }
  /** What is left of a container that has ended: its folder and its groups, which stay busy for a moment. */
  #tidy(attempt = 0): void {
    if (attempt === 0) rmSync(this.#dir, { recursive: true, force: true });
    if (this.cgroup && !this.cgroup.remove() && attempt < 50) this.runtime.clock.setTimer(20 * (attempt + 1), () => this.#tidy(attempt + 1));
  }
  giveUp(): void {
    this.#status += `fail it did not get ready within ${startTimeoutMs / 1000} s\n`;
    this.discard();
  }
  /** Ends a container that did not start. */
  discard(): void {
    if (this.#child?.pid !== undefined) this.kill();
    else {
      this.stdout?.destroy();
      this.#tidy();
    }
  }
  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }
  /** Also false when it was killed a moment ago, and nobody has told us yet. */
  get isAlive(): boolean {
    return !this.#ended && this.#init !== undefined && isAlive(this.#init);
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ended || !this.#init) return;
    if (signal === "SIGKILL") return this.kill();
    signalProcess(this.#init, signal);
  }
  /** SIGKILL to PID 1: the kernel takes everything in the container with it. */
  kill(overMemory = false): void {
    if (this.#ended) return;
    this.#killed = true;
    this.#overMemory ||= overMemory;
    // The outer process dies of it too; by itself it would end the rest (kill-child), but only once it is past the fork.
    const sent = this.#init !== undefined && signalProcess(this.#init, "SIGKILL");
    this.#killLeft();
    if (!sent && this.#outer) signalProcess(this.#outer, "SIGKILL");
  }

  /** Nobody takes a guest's processes along: the first of their namespace is another container's. */
  #killLeft(): void {
    for (const left of this.#mounts?.processes() ?? []) if (left.pid !== this.#init?.pid) signalProcess(left, "SIGKILL");
  }

  exec(spec: ExecSpec): Promise<ExecProcess> {
    if (this.#ended || !this.#init) return Promise.reject(new SandboxRefusal("ContainerNotRunning", "the container is not running"));
    return execInContainer(this, this.#init, spec);
  }
  /** Every process of the container as the host sees it, exec'd ones included. */
  pids(): number[] {
    if (!this.#init || this.#ended) return [];
    return [...descendantsOf(this.#init.pid), ...[...this.execs].flatMap(({ outer }) => descendantsOf(outer.pid).slice(1))];
  }
  async usage(): Promise<{ cpuNs: number; memoryBytes: number }> {
    const counted = this.cgroup?.usage();
    if (counted?.cpuNs !== undefined && counted.memoryBytes !== undefined) return { cpuNs: counted.cpuNs, memoryBytes: counted.memoryBytes };
    const walked = usageOf(this.pids());
    return { cpuNs: counted?.cpuNs ?? walked.cpuNs, memoryBytes: counted?.memoryBytes ?? walked.memoryBytes };
  }
  applyCpuLimit(): void {
    this.#cpuLimited = true;
    if (this.#ended) return;
    this.cgroup?.applyWeight(this.#limits.cpuRequestMillis ?? 0);
    if (this.#limits.cpuMillis !== undefined) this.cgroup?.applyCpu(this.#limits.cpuMillis);
  }
  setLimits(limits: Omit<ContainerSpec["limits"], "pidsMax">): void {
    if (this.#ended) return;
    if (limits.memoryBytes !== undefined && limits.memoryBytes !== this.#limits.memoryBytes) this.#limitMemory(limits.memoryBytes);
    this.#limits = limits;
    if (this.#cpuLimited) this.applyCpuLimit();
  }
  #limitMemory(bytes: number): void {
    if (this.runtime.cgroups?.controllers.memory) return this.cgroup!.applyMemory(bytes);
    this.#stopWatching?.();
    this.#stopWatching = this.runtime.watchMemory(this, bytes);
  }
  resize(columns: number, rows: number): void {
    if (this.spec.tty) this.#size.want(columns, rows);
  }
  readonly #size = new TerminalSize(async (columns, rows) => {
    const terminal = this.#init && (await terminalSoon(this.#init, this.runtime.clock));
    if (terminal) await this.setTerminalSize(terminal, columns, rows);
  });
  /** From inside, so that the kernel tells the terminal's foreground programs (SIGWINCH). */
  async setTerminalSize(terminal: string, columns: number, rows: number): Promise<void> {
    const process = await this.exec({ argv: [this.runtime.tools.stty!, "-F", terminal, "rows", String(rows), "cols", String(columns)], stdin: false, tty: false });
    process.stdout.resume();
    process.stderr.resume();
    await process.exited;
  }
}

/**
 * Compares what was mounted with what was meant. A mount point inside a volume may have been swapped for a link by
 * another container after it was checked; then the mount lies elsewhere and this start ends here, before any program runs.
 */
function checkMounts(pid: number, expected: readonly { target: string; identity: string | undefined }[]): void {
  if (expected.length === 0) return;
  const made = new Set(readMounts(pid).map((mount) => mount.target));
  for (const { target, identity } of expected) {
    if (!made.has(target)) throw new SandboxRefusal("CreateContainerConfigError", "a mount point was replaced by a link while the pod started");
    if (identity === undefined) continue;
    const found = statSync(`/proc/${pid}/root${target}`, { bigint: true });
    if (`${found.dev}:${found.ino}` !== identity) throw new SandboxRefusal("CreateContainerConfigError", "a volume was replaced by another file or a link while the pod started");
  }
}
