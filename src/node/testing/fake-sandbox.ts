import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { constants } from "node:os";
import { PassThrough, type Readable, type Writable } from "node:stream";
import type { NetworkNamespace } from "../../api/network.ts";
import type { ContainerExit, ContainerProcess, ContainerSpec, ExecProcess, ExecSpec, PodSandbox, PodSandboxSpec, Sandbox } from "../sandbox/sandbox.ts";

/**
 * A sandbox without walls for the agent's tests. `scripted`: containers are no processes at all, the test says
 * when they exit and sees which signals came. `processes`: plain children of the test.
 */
export class FakeSandbox implements Sandbox {
  readonly mode = "plain";
  readonly network: NetworkNamespace = { mode: "plain", enter: [], gatewayIP: "10.244.0.1", dnsIP: "10.96.0.10", apiServiceIP: "10.96.0.1" };
  readonly findings = [];
  readonly kind: "scripted" | "processes";
  /** In order of their start, across pods. */
  readonly started: FakeProcess[] = [];
  readonly pods: { spec: PodSandboxSpec; ip: string; removed: boolean }[] = [];
  readonly changes = new EventEmitter();
  /** Throws to refuse. */
  beforeStart: (spec: ContainerSpec) => void = () => {};

  readonly scratch: string;

  constructor(kind: "scripted" | "processes", scratch: string) {
    this.kind = kind;
    this.scratch = scratch;
  }
  async reserve(): Promise<{ serviceNetwork: string; gatewayIP: string }> {
    return { serviceNetwork: "10.96.", gatewayIP: this.network.gatewayIP };
  }
  async start(): Promise<void> {}
  async stop(): Promise<void> {
    for (const process of this.started) process.signal("SIGKILL");
  }
  async createPod(spec: PodSandboxSpec): Promise<PodSandbox> {
    const pod = { spec, ip: this.kind === "processes" ? "127.0.0.1" : `10.244.0.${this.pods.length + 2}`, removed: false };
    this.pods.push(pod);
    return {
      ip: pod.ip,
      startContainer: async (container) => {
        this.beforeStart(container);
        const process = new FakeProcess(container, this.started.length + 1, this.kind === "processes");
        this.started.push(process);
        this.changes.emit("started", process);
        return process;
      },
      remove: async () => void (pod.removed = true),
    };
  }
}

export interface ExecAnswer {
  exitCode: number;
  output?: string;
}

export class FakeProcess implements ContainerProcess {
  readonly spec: ContainerSpec;
  readonly pid: number;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<ContainerExit>;
  readonly signals: string[] = [];
  /** What the program does with signals it is sent; scripted processes only. Default: ends with 128+n. */
  onSignal: (signal: NodeJS.Signals) => void = (signal) => this.exit(128 + constants.signals[signal]);
  /** Answers exec; scripted processes only. */
  onExec: (argv: readonly string[]) => ExecAnswer | Promise<ExecAnswer> = () => ({ exitCode: 0 });
  cpuLimited = false;
  #exit: (exit: ContainerExit) => void = () => {};
  readonly #child: ChildProcess | undefined;

  constructor(spec: ContainerSpec, pid: number, real: boolean) {
    this.spec = spec;
    this.exited = new Promise((resolve) => (this.#exit = resolve));
    if (!real) {
      this.pid = pid;
      this.stdin = spec.stdin ? new PassThrough() : undefined;
      this.stdout = new PassThrough();
      this.stderr = spec.tty ? this.stdout : new PassThrough();
      return;
    }
    const child = spawn(spec.argv[0]!, spec.argv.slice(1), { env: spec.env, stdio: [spec.stdin ? "pipe" : "ignore", "pipe", "pipe"] });
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.stdin = child.stdin ?? undefined;
    this.stdout = child.stdout!;
    this.stderr = child.stderr!;
    child.once("exit", (code, signal) => this.#exit({ exitCode: code ?? 128 + constants.signals[signal!], oomKilled: false }));
    child.once("error", () => this.#exit({ exitCode: 127, oomKilled: false }));
  }

  exit(exitCode: number, oomKilled = false): void {
    (this.stdout as PassThrough).end();
    (this.stderr as PassThrough).end();
    this.#exit({ exitCode, oomKilled });
  }
  say(text: string, stream: "stdout" | "stderr" = "stdout"): void {
    (this[stream] as PassThrough).write(text);
  }
  signal(signal: NodeJS.Signals): void {
    this.signals.push(signal);
    if (this.#child) this.#child.kill(signal);
    else this.onSignal(signal);
  }
  async exec(spec: ExecSpec): Promise<ExecProcess> {
    if (this.#child) {
      const child = spawn(spec.argv[0]!, spec.argv.slice(1), { env: { ...this.spec.env, ...spec.env }, stdio: [spec.stdin ? "pipe" : "ignore", "pipe", "pipe"] });
      const exited = once(child, "close").then(([code, signal]) => (code as number | null) ?? 128 + constants.signals[signal as NodeJS.Signals]);
      return { stdin: child.stdin ?? undefined, stdout: child.stdout!, stderr: child.stderr!, exited, resize() {}, kill: () => void child.kill("SIGKILL") };
    }
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const answer = this.onExec(spec.argv);
    const exited = Promise.resolve(answer).then(({ exitCode, output }) => {
      stdout.end(output ?? "");
      stderr.end();
      return exitCode;
    });
    return { stdin: undefined, stdout, stderr, exited, resize() {}, kill() {} };
  }
  async usage(): Promise<{ cpuNs: number; memoryBytes: number }> {
    return { cpuNs: 0, memoryBytes: this.memoryBytes };
  }
  applyCpuLimit(): void {
    this.cpuLimited = true;
  }
  /** What the program was last limited to, when that was changed while it ran. */
  resized: { memoryBytes?: number; cpuMillis?: number } | undefined;
  /** Throws to refuse a change. */
  beforeResize: () => void = () => {};
  memoryBytes = 0;
  setLimits(limits: { memoryBytes?: number; cpuMillis?: number }): void {
    this.beforeResize();
    this.resized = limits;
  }
  resize(): void {}
}
