import { createHash } from "node:crypto";
import { chownSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Container, Pod, Probe } from "../../api/types.ts";
import { delay, type Timer } from "../../base/clock.ts";
import { limits } from "../../base/limits.ts";
import { ContainerError, formatPod, type NodeContext } from "../context.ts";
import { LogWriter } from "../logs/write.ts";
import type { Image } from "../images/image.ts";
import { type ContainerExit, type ContainerProcess, type ContainerSpec, type PodSandbox, SandboxRefusal } from "../sandbox/sandbox.ts";
import type { Debugged } from "../debug/debuggers.ts";
import { type DrainTarget, drained, listensAgain } from "../reload/drain.ts";
import { OutputHub } from "../streams/hub.ts";
import { askProbe, type Target } from "./ask.ts";
import { runHook } from "./hooks.ts";
import { nextBackoff } from "./plan.ts";
import { type ProbeKind, ProbeLoop } from "./probes.ts";
import { type ContainerRecord, isRunning } from "./record.ts";
import { ranOutOfHeap, terminationMessage } from "./termination.ts";

/** What the runner asks of the pod it belongs to. */
export interface RunnerHost {
  readonly pod: Pod;
  readonly dir: string;
  readonly hostUid: number;
  readonly sandbox: PodSandbox | undefined;
  /** Image, environment, user and mounts of the container as the sandbox wants them. */
  specify(container: Container, image: Image): Promise<ContainerSpec>;
  /** Something changed that the plan or the status should know. */
  changed(): void;
  /** Readiness changed: the data plane hears of it before anything else happens. */
  readinessChanged(): void;
}

/** After preStop has eaten the grace period, a program still gets this long to end. kubelet's minimum. */
const minimumGraceMs = 2000;
/** The CPU quota begins at first Ready, or after this long. */
const unthrottledMs = 30_000;
/** A program without a readiness probe has proved itself when it has run this long after a reload. */
const trialMs = 10_000;
/** Who edits code waits for it: a program may take this long to end, whatever its pod's grace is. */
const reloadGraceMs = 5_000;
/** New code may listen elsewhere than the old: then it counts as Ready after this long, as it would without a probe. */
const listenMs = 5_000;
/** What stop() is told by a reload: no Event of its own. */
const reloadStop = "\0reload";
const restartRetry = { baseMs: 10_000, maxMs: 300_000 } as const;

/** Runs one container of a pod: one process after the other, with its log, probes and hooks. */
export class ContainerRunner {
  readonly container: Container;
  readonly record: ContainerRecord;
  readonly output = new OutputHub();
  process: ContainerProcess | undefined;
  readonly #ctx: NodeContext;
  readonly #host: RunnerHost;
  #probes: ProbeLoop[] = [];
  #image: Image | undefined;
  #exited: Promise<void> = Promise.resolve();
  #killTimer: Timer | undefined;
  #killAtMs = Infinity;
  #cpuTimer: Timer | undefined;
  #abortHooks = new AbortController();
  #spec: Container;
  /** Why the program is being restarted in place, from the request until its successor runs. */
  #reload: string | undefined;
  /** The program was started by a reload and has not proved itself yet. */
  #onTrial: string | undefined;

  constructor(ctx: NodeContext, host: RunnerHost, container: Container, record: ContainerRecord) {
    this.#ctx = ctx;
    this.#host = host;
    this.container = container;
    this.#spec = container;
    this.record = record;
  }

  /** Takes a changed container of the pod's spec; true when a running program no longer is what the spec says. */
  update(container: Container): boolean {
    const changed = container.image !== this.#spec.image;
    this.#spec = container;
    return changed && isRunning(this.record);
  }

  get #terminationFile(): string {
    return join(this.#host.dir, "containers", this.container.name, "termination-log");
  }

  // ---- start --------------------------------------------------------------------------------------------------

  /** Starts a process. Never rejects: what goes wrong is in the record. */
  async start(): Promise<void> {
    const { record } = this;
    const container = this.#spec;
    record.activity = "starting";
    record.retryAtMs = undefined;
    try {
      const image = await this.#pull(container);
      const spec = await this.#host.specify(container, image);
      const sandbox = this.#host.sandbox;
      if (!sandbox) throw new ContainerError("CreateContainerError", "the pod's sandbox is gone");
      // A reload in place is no restart that anybody should count: its log goes on in the same file.
      const incarnation = record.terminated || (record.last && this.#reload === undefined) ? record.restartCount + 1 : record.restartCount;
      const words = this.#terminationMount(container);
      const mounts = [...spec.mounts, words];
      // Without mounts a program must be told where its files really lie; naming the path is how.
      const env = this.#ctx.sandbox.mode === "plain" ? { ...spec.env, WHERRY_TERMINATION_LOG: words.target } : spec.env;
      if (this.#reload === undefined) this.#event("Normal", "Created", `Created container: ${container.name}`);
      const complete = { ...spec, env, mounts };
      const debugged = await (this.#ctx.debuggers?.prepare(complete, this.#debugged) ?? complete);
      const start = () => sandbox.startContainer(debugged);
      const process = await (this.#ctx.pause?.starting(start) ?? start());
      record.resources = container.resources;
      this.#began(process, image, incarnation);
    } catch (error) {
      this.#failedToStart(error);
    }
    this.#host.changed();
    if (this.process && record.hookPending) await this.#postStart();
    if (this.#reloadNext !== undefined) void this.reload(this.#reloadNext);
  }

  async #pull(container: Container): Promise<Image> {
    const name = JSON.stringify(container.image);
    const image = await this.#ctx.images.resolve(container.image ?? "").catch((error: unknown) => {
      if (!(error instanceof ContainerError) || error.reason !== "ErrImagePull") throw error;
      if (container.imagePullPolicy === "Never") throw new ContainerError("ErrImageNeverPull", `Container image ${name} is not present with pull policy of Never: ${error.message}`);
      this.#event("Normal", "Pulling", `Pulling image ${name}`);
      throw error;
    });
    // One Event a reload is enough: an object that is talked about too much is not heard any more.
    if (this.#reload !== undefined) return image;
    this.#event("Normal", "Pulled", `Container image ${name} already present on machine`);
    for (const { type, reason, message } of image.notices) this.#event(type, reason, message);
    return image;
  }

  /** The file of last words, bound at its place in the container. */
  #terminationMount(container: Container): ContainerSpec["mounts"][number] {
    const file = this.#terminationFile;
    mkdirSync(join(file, ".."), { recursive: true, mode: 0o755 });
    // Made anew each time: the last program's words are its own.
    rmSync(file, { force: true });
    writeFileSync(file, "", { flag: "wx", mode: 0o666 });
    if (this.#ctx.root) chownSync(file, this.#host.hostUid, this.#host.hostUid);
    return { kind: "bind", source: file, target: container.terminationMessagePath ?? "/dev/termination-log", readOnly: false };
  }

  #began(process: ContainerProcess, image: Image, incarnation: number): void {
    const { record, container } = this;
    const nowMs = this.#ctx.clock.now();
    if (record.terminated) record.backoff = nextBackoff(record, nowMs);
    record.last = record.terminated ?? record.last;
    record.terminated = undefined;
    record.waiting = undefined;
    record.retries = 0;
    record.restartCount = incarnation;
    record.again = false;
    record.startedAtMs = nowMs;
    record.image = this.#spec.image ?? "";
    record.imageID = image.id;
    record.containerID = `wherry://${createHash("sha256").update(`${this.#host.pod.metadata.uid}/${container.name}/${incarnation}/${process.pid}/${nowMs}`).digest("hex")}`;
    record.started = this.#spec.startupProbe === undefined;
    record.ready = this.#spec.readinessProbe === undefined;
    record.hookPending = this.#spec.lifecycle?.postStart !== undefined;
    record.activity = "running";
    record.reloading = record.hookPending && record.reloading;
    this.#onTrial = this.#reload;
    // Without a probe it would count as Ready before it listens, and the connections that wait would be refused.
    const listened = this.#onTrial !== undefined && record.ready ? this.#listened : new Set<number>();
    record.ready &&= listened.size === 0;
    this.process = process;
    this.#image = image;
    this.#abortHooks = new AbortController();
    const log = new LogWriter(join(this.#host.dir, "logs", container.name), incarnation, this.#ctx.clock);
    log.pump(process.stdout, "stdout", (chunk) => this.output.write("stdout", chunk));
    if (process.stderr !== process.stdout) log.pump(process.stderr, "stderr", (chunk) => this.output.write("stderr", chunk));
    if (this.#reload === undefined) this.#event("Normal", "Started", `Started container ${container.name}`);
    this.#reload = undefined;
    this.#exited = process.exited.then((exit) => this.#ended(exit, log));
    this.#cpuTimer = this.#ctx.clock.setTimer(unthrottledMs, () => process.applyCpuLimit());
    if (!record.hookPending) this.#startProbes();
    if (listened.size > 0) void this.#untilListening(listened, process);
    else if (record.ready) this.#release();
    this.#host.readinessChanged();
  }

  #failedToStart(error: unknown): void {
    const { record } = this;
    record.activity = "idle";
    this.#reload = undefined;
    this.#release();
    const reason = error instanceof ContainerError || error instanceof SandboxRefusal ? error.reason : "RunContainerError";
    const message = error instanceof Error ? error.message : String(error);
    const pulling = reason === "ErrImagePull";
    const again = pulling && record.waiting !== undefined && /^(ErrImagePull|ImagePullBackOff)$/.test(record.waiting.reason);
    if (!(error instanceof ContainerError || error instanceof SandboxRefusal)) this.#ctx.log.warn("container did not start", { pod: formatPod(this.#host.pod), container: this.container.name, error });
    if (pulling) this.#event("Warning", "Failed", `Failed to pull image ${JSON.stringify(this.#spec.image)}: ${message}`);
    const named = reason === "ErrImageNeverPull" ? reason : reason === "InvalidImageName" ? "InspectFailed" : undefined;
    if (named) this.#event("Warning", named, message);
    this.#event("Warning", "Failed", pulling || named ? `Error: ${reason}` : `Error: ${message}`);
    const nowMs = this.#ctx.clock.now();
    const delayMs = pulling ? Math.min(restartRetry.maxMs, restartRetry.baseMs * 2 ** Math.min(record.retries, 5)) : restartRetry.baseMs;
    record.retries++;
    record.retryAtMs = nowMs + delayMs;
    record.waiting = { reason, message };
    if (!pulling) return;
    // The first look shows the reason; what follows until the next try is the back-off.
    this.#event("Normal", "BackOff", `Back-off pulling image ${JSON.stringify(this.#spec.image)}`);
    this.#event("Warning", "Failed", "Error: ImagePullBackOff");
    const backOff = { reason: "ImagePullBackOff", message: `Back-off pulling image ${JSON.stringify(this.#spec.image)}: ErrImagePull: ${message}` };
    if (again) record.waiting = backOff;
    else
      this.#ctx.clock.setTimer(1000, () => {
        if (record.waiting?.reason !== "ErrImagePull") return;
        record.waiting = backOff;
        this.#host.changed();
      });
  }

  /** What was missing may be there now: try at once. */
  retryNow(): void {
    this.record.retryAtMs = undefined;
  }

  async #postStart(): Promise<void> {
    const { record } = this;
    const incarnation = this.process;
    try {
      // A hook has no deadline of its own; a pod that is deleted meanwhile aborts it by ending the program.
      await runHook(this.#spec.lifecycle!.postStart!, this.#host.pod.metadata.name, 2 ** 31 - 1, this.#target, this.#abortHooks.signal);
    } catch (error) {
      if (this.process !== incarnation || record.activity !== "running") return;
      this.#event("Warning", "FailedPostStartHook", "PostStartHook failed");
      await this.stop({ graceMs: this.#graceMs(), message: "FailedPostStartHook", hooks: true });
      record.waiting = { reason: "PostStartHookError", message: (error as Error).message };
      this.#host.changed();
      return;
    }
    if (this.process !== incarnation || record.activity === "idle") return;
    record.hookPending = false;
    record.reloading = false;
    if (record.activity === "running") this.#startProbes();
    this.#host.readinessChanged();
    this.#host.changed();
  }

  // ---- probes -------------------------------------------------------------------------------------------------

  get #target(): Target {
    return { ip: this.#host.sandbox?.ip ?? "", container: this.#spec, process: this.process!, network: this.#ctx.network, clock: this.#ctx.clock };
  }

  #startProbes(): void {
    const { startupProbe } = this.#spec;
    if (startupProbe && !this.record.started) this.#startProbe("startup", startupProbe);
    else this.#startServingProbes();
  }
  #startServingProbes(): void {
    const { readinessProbe, livenessProbe } = this.#spec;
    if (readinessProbe) this.#startProbe("readiness", readinessProbe);
    if (livenessProbe) this.#startProbe("liveness", livenessProbe);
  }

  #startProbe(kind: ProbeKind, probe: Probe): void {
    const target = this.#target;
    const ask = () => askProbe(probe, (probe.timeoutSeconds ?? 1) * 1000, target);
    const loop = new ProbeLoop(kind, probe, this.#ctx.clock, () => this.#ctx.pause?.asking(ask) ?? ask(), {
      change: (success) => this.#probeChanged(loop, probe, success),
      failure: (output) => this.#event("Warning", "Unhealthy", `${kind[0]!.toUpperCase()}${kind.slice(1)} probe failed: ${output}`),
    });
    this.#probes.push(loop);
    loop.start(this.record.startedAtMs!, this.#onTrial !== undefined);
  }

  #probeChanged(loop: ProbeLoop, probe: Probe, success: boolean): void {
    const { record } = this;
    if (loop.kind === "readiness") {
      record.ready = success;
      if (success) {
        this.process?.applyCpuLimit();
        this.#onTrial = undefined;
        this.#release();
      }
      this.#host.readinessChanged();
    } else if (success && loop.kind === "startup") {
      record.started = true;
      loop.stop();
      this.#startServingProbes();
      this.#host.readinessChanged();
    } else if (!success) {
      const graceMs = probe.terminationGracePeriodSeconds === undefined ? this.#graceMs() : probe.terminationGracePeriodSeconds * 1000;
      const end = () => void this.stop({ graceMs, message: `Container ${this.container.name} failed ${loop.kind} probe, will be restarted`, hooks: true });
      const { debuggers } = this.#ctx;
      if (debuggers) void debuggers.isAttached(this.#debugged).then((attached) => (attached ? this.#event("Normal", "DebuggerAttached", `Container ${this.container.name} failed ${loop.kind} probe, and is not restarted while somebody debugs it`) : end()));
      else end();
    }
    this.#host.changed();
  }

  get #debugged(): Debugged {
    return { pod: this.#host.pod, ip: this.#host.sandbox?.ip ?? "", container: this.container.name, process: () => this.process };
  }

  #graceMs(): number {
    return (this.#host.pod.spec!.terminationGracePeriodSeconds ?? 30) * 1000;
  }

  // ---- stop ---------------------------------------------------------------------------------------------------

  /**
   * Ends the program: preStop hook, stop signal, and SIGKILL when the grace period is over (the hook's time counts).
   * Resolves when the process is gone. Called again, it only shortens the grace.
   */
  async stop({ graceMs, message, hooks, beforeSignal }: { graceMs: number; message: string; hooks: boolean; beforeSignal?: () => Promise<void> }): Promise<void> {
    const { record, process } = this;
    if (!process || record.activity === "idle" || record.activity === "starting") return;
    const nowMs = this.#ctx.clock.now();
    if (record.activity === "stopping") {
      this.#reload = undefined;
      this.#killBy(nowMs + graceMs);
      if (!hooks) this.#abortHooks.abort();
      return await this.#exited;
    }
    record.activity = "stopping";
    // Whoever else stops it, means it to end.
    if (message !== reloadStop) this.#reload = undefined;
    for (const loop of this.#probes) if (loop.kind !== "readiness") loop.stop();
    if (message !== reloadStop) this.#event("Normal", "Killing", message);
    this.#host.changed();
    this.#killBy(nowMs + graceMs);
    const preStop = this.#spec.lifecycle?.preStop;
    if (hooks && preStop && graceMs > 0 && !record.hookPending) {
      try {
        const hook = runHook(preStop, this.#host.pod.metadata.name, graceMs, this.#target, this.#abortHooks.signal);
        hook.catch(() => {});
        await Promise.race([hook, this.#exited, aborted(this.#abortHooks.signal)]);
      } catch {
        if (!this.#abortHooks.signal.aborted) this.#event("Warning", "FailedPreStopHook", "PreStopHook failed");
      }
      // Whatever the hook took, the program gets a moment after the signal.
      if (!this.#abortHooks.signal.aborted) this.#killBy(Math.max(this.#killAtMs, this.#ctx.clock.now() + minimumGraceMs), true);
    }
    await beforeSignal?.();
    process.signal(graceMs <= 0 ? "SIGKILL" : (this.#image?.stopSignal ?? "SIGTERM"));
    await this.#exited;
  }

  /** Ends the program and has it started anew with what the spec says now; no back-off, whatever the policy. */
  restart(message: string): void {
    if (this.record.activity !== "running") return;
    this.record.again = true;
    void this.stop({ graceMs: this.#graceMs(), message, hooks: true });
  }

  // ---- reload -------------------------------------------------------------------------------------------------

  /**
   * Restarts the program in place because its code changed: traffic is led away first, requests under way are let
   * finish, no preStop hook runs. One that waits for its back-off starts at once. Nothing happens to one that ends.
   */
  async reload(why: string): Promise<void> {
    const { record, process } = this;
    this.#reloadNext = undefined;
    if (record.activity === "stopping") return;
    if (record.activity === "starting") {
      // It may have read the old code already.
      this.#reloadNext = why;
      return;
    }
    // What has never run will read the new code anyway.
    if (record.activity === "idle" && record.startedAtMs === undefined) return this.retryNow();
    const again = this.#reload !== undefined;
    this.#reload = why;
    if (again) return;
    this.#event("Normal", "Reloading", `${why}: restarting container ${this.container.name} in place`);
    record.backoff = undefined;
    record.retryAtMs = undefined;
    if (record.activity === "idle") return this.#host.changed();
    record.reloading = true;
    record.held = true;
    this.#holdTimer?.cancel();
    this.#holdTimer = this.#ctx.clock.setTimer(limits.heldMs, () => this.#release());
    for (const loop of this.#probes) loop.stop();
    record.ready = false;
    this.#host.readinessChanged();
    this.#host.changed();
    const { sandbox } = this.#host;
    // Services hold what comes already; who knows the pod's own address is held by its packets.
    const hold: DrainTarget["hold"] = sandbox?.hold && (async (ports, passing) => (record.held ? await sandbox.hold!(ports, passing).catch(() => {}) : undefined));
    const listened = await drained({ ...this.#network(process!), hold });
    // A program of failing code that was met before it failed says nothing about where good code listens.
    if (listened.size > 0 || this.#ctx.clock.now() - record.startedAtMs! > trialMs) this.#listened = listened;
    if (this.process === process && record.activity === "running") await this.stop({ graceMs: Math.min(reloadGraceMs, this.#graceMs()), message: reloadStop, hooks: false });
  }
  #network(process: ContainerProcess) {
    return { pid: process.pid, ip: this.#host.sandbox?.ip ?? "", gatewayIP: this.#ctx.sandbox.network.gatewayIP, clock: this.#ctx.clock };
  }
  #reloadNext: string | undefined;
  /** Ports that somebody in the pod listened on before the reload. */
  #listened: ReadonlySet<number> = new Set();

  async #untilListening(ports: ReadonlySet<number>, process: ContainerProcess): Promise<void> {
    const { record } = this;
    const patience = new AbortController();
    const timer = this.#ctx.clock.setTimer(listenMs, () => patience.abort());
    void process.exited.then(() => patience.abort());
    await listensAgain(ports, this.#network(process), patience.signal);
    timer.cancel();
    if (this.process !== process || record.activity !== "running") return;
    record.ready = true;
    this.#release();
    this.#host.readinessChanged();
    this.#host.changed();
  }

  /** Whatever came of the reload: connections that wait for the program go to it, or are refused. */
  #release(): void {
    this.#holdTimer?.cancel();
    if (!this.record.held) return;
    this.record.held = false;
    void this.#host.sandbox?.hold?.(new Set()).catch(() => {});
    this.#host.readinessChanged();
  }
  #holdTimer: Timer | undefined;

  /** A program that a reload started has ended before it was Ready: its last words go where people look. */
  async #reloadFailed(exit: ContainerExit, log: LogWriter): Promise<void> {
    const why = this.#onTrial;
    this.#onTrial = undefined;
    if (why === undefined || (this.#spec.readinessProbe === undefined && this.#ctx.clock.now() - this.record.startedAtMs! > trialMs)) return;
    const words = (await log.tail(700).catch(() => "")).trim();
    this.#event("Warning", "ReloadFailed", `${why}, and container ${this.container.name} exited with code ${exit.exitCode} before it was Ready${words && `:\n${words}`}`);
  }

  #killBy(atMs: number, later = false): void {
    if (atMs >= this.#killAtMs && !later) return;
    this.#killAtMs = atMs;
    this.#killTimer?.cancel();
    const { process } = this;
    this.#killTimer = this.#ctx.clock.setTimer(Math.max(0, atMs - this.#ctx.clock.now()), () => process?.signal("SIGKILL"));
  }

  async #ended(exit: ContainerExit, log: LogWriter): Promise<void> {
    const { record } = this;
    const wasRunning = record.activity === "running";
    for (const loop of this.#probes.splice(0)) loop.stop();
    this.#killTimer?.cancel();
    this.#cpuTimer?.cancel();
    this.#killAtMs = Infinity;
    this.#abortHooks.abort();
    record.ready = false;
    record.started = false;
    this.#host.readinessChanged();
    // The sandbox ends what the program left behind; where it cannot (plain mode), a stray child holding the pipe
    // must not hold up the pod.
    await Promise.race([log.close(), delay(this.#ctx.clock, 2000)]);
    const reload = this.#reload;
    if (reload === undefined) this.#release();
    if (reload === undefined && wasRunning) await this.#reloadFailed(exit, log);
    const message = await terminationMessage(this.#spec, exit.exitCode, this.#terminationFile, (bytes) => log.tail(bytes)).catch(() => "");
    const oomKilled = exit.oomKilled || (await ranOutOfHeap(this.#spec, exit.exitCode, (bytes) => log.tail(bytes)).catch(() => false));
    if (reload !== undefined) record.waiting = { reason: "Reloading", message: reload };
    else record.reloading = false;
    record.terminated = reload !== undefined ? undefined : {
      exitCode: exit.exitCode,
      reason: oomKilled ? "OOMKilled" : exit.exitCode === 0 ? "Completed" : "Error",
      ...(message !== "" && { message }),
      startedAtMs: record.startedAtMs,
      finishedAtMs: this.#ctx.clock.now(),
      containerID: record.containerID,
    };
    record.activity = "idle";
    record.hookPending = false;
    if (record.again) record.backoff = undefined;
    this.process = undefined;
    this.output.end(exit.exitCode);
    this.#host.changed();
  }

  #event(type: "Normal" | "Warning", reason: string, message: string): void {
    this.#ctx.event(this.#host.pod, type, reason, message, this.container.name);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));
}
