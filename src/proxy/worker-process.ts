import { spawn, type ChildProcess } from "node:child_process";
import type { RuleCount } from "../policy/tally.ts";
import { Channel } from "../base/channel.ts";
import type { TcpHandle, UdpHandle } from "../base/handles.ts";
import type { Log } from "../base/log.ts";
import type { WorkerProgram } from "./program.ts";
import { RestartPause } from "./restart-pause.ts";

/** A listener's copy that `wherry` keeps, never polling it, for the worker's successor. */
export interface Kept {
  handle: TcpHandle | UdpHandle;
  listening: boolean;
}

export interface WorkerProcessOptions {
  index: number;
  /** The command prefix that enters the pod network; may be empty. */
  enter: readonly string[];
  program: WorkerProgram;
  /** Descriptors that it inherits besides: the first is number {@link firstInherited} there. */
  inherited: readonly number[];
  log: Log;
  /** Registers handlers before the child can speak; called for each successor. */
  joined(worker: WorkerProcess, channel: Channel): void;
}

/** One place for a worker: its present process, or the wait for the next: none after a crash, unless crashes are all it does. */
export class WorkerProcess {
  readonly index: number;
  readonly kept = new Map<string, Kept>();
  readonly #options: WorkerProcessOptions;
  #child: ChildProcess | undefined;
  #channel: Channel | undefined;
  readonly #pause = new RestartPause();
  #stopping = false;
  #lastReason = "";
  #timer: NodeJS.Timeout | undefined;
  /** Callers that wait for a live channel. */
  #waiters: ((channel: Channel) => void)[] = [];

  constructor(options: WorkerProcessOptions) {
    this.index = options.index;
    this.#options = options;
  }
  get pid(): number | undefined {
    return this.#child?.pid;
  }
  /** Undefined while there is no process. */
  get channel(): Channel | undefined {
    return this.#channel?.isClosed ? undefined : this.#channel;
  }

  /** Resolves when the process has said that it is there; rejects when none does, crash after crash. */
  async start(timeoutMs: number): Promise<void> {
    this.#spawn();
    await this.live(timeoutMs).catch(() => {
      throw new Error(`no data-plane worker started${this.#lastReason ? `: ${this.#lastReason}` : ""}`);
    });
  }

  #spawn(): void {
    const child = spawnWorker(this.#options.enter, this.#options.program, this.#options.inherited);
    const channel = new Channel(child);
    this.#child = child;
    let over = false;
    let startedAt = Infinity;
    const ended = (reason: string) => {
      if (over) return;
      over = true;
      if (this.#child === child) this.#channel = undefined;
      this.#restart(reason, Math.max(0, performance.now() - startedAt));
    };
    child.once("error", (error) => ended(error.message));
    child.once("exit", (code, signal) => ended(signal ?? `exit code ${code}`));
    channel.on("net/started", () => {
      startedAt = performance.now();
      this.#channel = channel;
      this.#options.joined(this, channel);
      for (const waiter of this.#waiters.splice(0)) waiter(channel);
    });
  }

  #restart(reason: string, servedMs: number): void {
    if (this.#stopping) return;
    this.#lastReason = reason;
    const waitMs = this.#pause.after(servedMs, performance.now());
    this.#options.log.error("a data-plane worker ended; the next one takes its listeners", { index: this.index, reason, waitMs });
    if (waitMs === 0) this.#spawn();
    else this.#timer = setTimeout(() => this.#spawn(), waitMs);
  }

  /** Resolves with a live channel, at the latest after `timeoutMs`; rejects otherwise. */
  live(timeoutMs: number): Promise<Channel> {
    const { channel } = this;
    if (channel) return Promise.resolve(channel);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(new Error("the data plane is not running"));
      }, timeoutMs);
      const waiter = (channel: Channel) => {
        clearTimeout(timer);
        resolve(channel);
      };
      this.#waiters.push(waiter);
    });
  }

  /** Since it began; one that is gone has none. */
  async ruleCounts(share: string): Promise<RuleCount[]> {
    return (await this.channel?.request<RuleCount[]>("net/rule-counts", share).catch(() => undefined))?.body ?? [];
  }

  /** How many answers went. What one kept that is gone is gone with it. */
  async purge(name: string, prefix: string): Promise<number> {
    const { channel } = this;
    const answer = await channel?.request<number>("net/purge", { name, prefix }).catch((error: unknown) => {
      if (!channel.isClosed) throw error;
    });
    return answer?.body ?? 0;
  }

  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    for (const { handle } of this.kept.values()) handle.close();
    this.kept.clear();
    await endWorker(this.#child, deadline);
  }
}

/** Starts a worker behind a prefix. nsenter and setpriv only exec, so the channel's descriptor reaches node. */
export function spawnWorker(enter: readonly string[], program: WorkerProgram, inherited: readonly number[] = []): ChildProcess {
  const [command = "", ...args] = [...enter, program.node, program.file];
  const env: NodeJS.ProcessEnv = { ...program.env };
  for (const name of ["PATH", "WHERRY_LOG", "LANG"]) if (process.env[name] !== undefined) env[name] = process.env[name];
  // A session of its own: a terminal's Ctrl-C must reach only `wherry`.
  return spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "ipc", program.nodeFd ?? "ignore", ...inherited], detached: true, env, ...(program.user === undefined ? {} : { uid: program.user, gid: program.user }) });
}

/**
 * Asks a worker to end; kills it at the deadline. The channel is not closed from this side: Node answers each
 * handle that arrives, and throws when one was read just before a disconnect.
 */
export async function endWorker(child: ChildProcess | undefined, deadline: AbortSignal): Promise<void> {
  if (!child || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill = () => void child.kill("SIGKILL");
  deadline.addEventListener("abort", kill, { once: true });
  if (child.connected) child.send({ type: "net/stop" }, () => {});
  if (deadline.aborted) kill();
  await gone;
  deadline.removeEventListener("abort", kill);
}
