import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { artifactsConfigMap } from "../../api/artifacts.ts";
import { type Condition, timestamp } from "../../api/meta.ts";
import type { Readiness } from "../../api/network.ts";
import { namedFiles, parseReload, reloadAnnotation } from "../../api/reload.ts";
import { resources, systemNamespace } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { Container, Pod, PodStatus } from "../../api/types.ts";
import { Backoff } from "../../base/backoff.ts";
import { delay, type Timer } from "../../base/clock.ts";
import { ContainerError, formatPod, type NodeContext } from "../context.ts";
import { forgetAddresses } from "../debug/debuggers.ts";
import type { Image } from "../images/image.ts";
import { parseReference } from "../images/reference.ts";
import { type ContainerSpec, type PodSandbox, SandboxRefusal } from "../sandbox/sandbox.ts";
import { removeTree } from "../volumes/remove.ts";
import { PodVolumes } from "../volumes/volumes.ts";
import { groupsOf, type PodGroups } from "./groups.ts";
import { goDuration, isOver, planPod } from "./plan.ts";
import { type ContainerRecord, containersOf, isRunning, newRecord, recordsOf } from "./record.ts";
import { type References, referencesOf } from "./references.ts";
import { meshCondition } from "./mesh.ts";
import { notHonoured, refusalOf, unenforced } from "./refusals.ts";
import { ContainerRunner, type RunnerHost } from "./runner.ts";
import { PodResize, resizeConditions } from "./resize.ts";
import { podSandboxSpec, runtimeTold, specifyContainer } from "./specify.ts";
import { isPodReady, podStatus } from "./status.ts";
import { StatusWriter } from "./status-writer.ts";
import { StorageWatch } from "./storage-watch.ts";

/**
 * One pod on this node, from the first sight of its object to the object's end. Every change (of the object, of
 * a process, of a probe, of time) leads to {@link #sync}, which plans afresh from what is, does the next steps,
 * and publishes the status.
 */
export class PodWorker implements RunnerHost {
  readonly #ctx: NodeContext;
  readonly uid: string;
  readonly dir: string;
  readonly runners = new Map<string, ContainerRunner>();
  pod: Pod;
  hostUid: number;
  readonly #groups: PodGroups;
  sandbox: PodSandbox | undefined;
  #volumes: PodVolumes;
  readonly #resize: PodResize;
  #shown: string;
  readonly #storage: StorageWatch;
  #sandboxStage: "none" | "making" | "ready" | "gone" = "none";
  #sandboxRetry = new Backoff(1000, 120_000);
  #sandboxDueMs = 0;
  #records: ContainerRecord[];
  #status: PodStatus;
  #writer: StatusWriter;
  #failure: { reason: string; message: string } | undefined;
  #initialized = false;
  /** The API no longer has the pod: end it without ceremony. */
  #removed = false;
  /** This process ends: programs are stopped, the object stays as it is. */
  #shutdown: "drain" | "fast" | undefined;
  #finishing = false;
  /** Fields that are not honoured, not yet said. */
  readonly #untold: string[];
  /** The pod had ended before this process saw it: its status is history. */
  readonly #foundEnded: boolean;
  /** What the data plane was last told of this pod's readiness. */
  #told: Readiness | undefined;
  #withdrawn = false;
  /** The version of the Node program that was the first to say that it dials by itself. */
  #meshedBy: string | undefined;
  #timer: Timer | undefined;
  #done: () => void = () => {};
  /** Resolves when nothing of the pod is left on the machine. */
  readonly ended: Promise<void> = new Promise((resolve) => (this.#done = resolve));
  readonly #startTime: string;

  constructor(ctx: NodeContext, pod: Pod) {
    this.#ctx = ctx;
    this.pod = pod;
    this.uid = pod.metadata.uid;
    this.dir = join(ctx.dataDir, "pods", this.uid);
    this.hostUid = needsAccount(ctx, pod) ? nobody : ctx.uids.acquire(pod);
    this.#startTime = timestamp(ctx.clock.now());
    this.#records = recordsOf(pod, ctx.clock.now());
    this.#status = pod.status ?? {};
    this.#foundEnded = this.#isTerminal;
    this.#untold = notHonoured(pod, ctx);
    this.#writer = new StatusWriter(ctx, pod);
    this.#groups = groupsOf(ctx, pod);
    this.#volumes = new PodVolumes(ctx, pod, this.dir, this.hostUid, this.#groups);
    this.#storage = new StorageWatch({
      ctx,
      dir: this.dir,
      pod: () => this.#resize.allocated,
      running: () => new Map([...this.runners].flatMap(([name, { process, record }]) => (process && isRunning(record) ? [[name, process.pid] as const] : []))),
      evict: (message) => this.#evict(message),
    });
    this.#resize = new PodResize(ctx, pod, {
      runners: this.runners,
      resized: () => (this.#takeSpec(), this.#sync()),
      changed: () => this.#sync(),
      runtimeOf: (container) => runtimeTold(this.#volumes, container),
    });
    if (this.#foundEnded) this.#resize.close();
    else this.#resize.update(pod);
    this.#shown = shownByFiles(this.#resize.allocated);
    // A new sandbox starts from the beginning: init containers run again, as after a reboot.
    if (!isOver(pod, this.#records)) {
      for (const record of this.#records) {
        if (record.role !== "init" || !record.terminated) continue;
        record.last = record.terminated;
        record.terminated = undefined;
      }
    }
    for (const { container } of containersOf(this.#resize.allocated.spec!)) this.#addRunner(container);
  }

  #addRunner(container: Container): void {
    const record = this.#records.find(({ name }) => name === container.name);
    if (record) this.runners.set(container.name, new ContainerRunner(this.#ctx, this, container, record));
  }

  start(): void {
    mkdirSync(this.dir, { recursive: true, mode: 0o755 });
    if (!this.#ctx.debuggers) forgetAddresses(this.#ctx.client, this.pod);
    this.#sync();
  }

  // ---- what happens to the pod --------------------------------------------------------------------------------

  /** The object changed. */
  update(pod: Pod): void {
    const before = this.pod;
    this.pod = pod;
    // Conditions of others (readiness gates) come from the object, ours from what we last said.
    const ours = (this.#status.conditions ?? []) as Condition[];
    const foreign = ((pod.status?.conditions ?? []) as Condition[]).filter(({ type }) => !ours.some((condition) => condition.type === type) || !ownConditions.has(type));
    this.#status = { ...this.#status, conditions: [...ours.filter(({ type }) => ownConditions.has(type)), ...foreign] as PodStatus["conditions"] };
    this.#resize.update(pod);
    this.#takeSpec();
    this.#reload(before);
    if (JSON.stringify(before.metadata.labels) !== JSON.stringify(pod.metadata.labels)) this.#identify();
    const gates = JSON.stringify(before.status?.conditions) !== JSON.stringify(pod.status?.conditions);
    if (gates) this.readinessChanged();
    this.#sync();
  }

  /** Containers as the object and the node have them now. */
  #takeSpec(): void {
    const shown = shownByFiles(this.#resize.allocated);
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#volumes.update(this.#resize.allocated);
      if (this.#sandboxStage === "ready") void this.#volumes.refresh();
    }
    for (const { container, role } of containersOf(this.#resize.allocated.spec!)) {
      const runner = this.runners.get(container.name);
      if (!runner) {
        this.#records.push(newRecord(container.name, role, container.image ?? ""));
        this.#addRunner(container);
      } else if (runner.update(container)) runner.restart(`Container ${container.name} definition changed, will be restarted`);
    }
  }

  /** The code of some containers changed, says whoever wrote the annotation. */
  #reload(before: Pod): void {
    const asked = this.pod.metadata.annotations?.[reloadAnnotation];
    if (asked === undefined || asked === before.metadata.annotations?.[reloadAnnotation] || this.#ending || isOver(this.pod, this.#records)) return;
    const { containers, files, relinked } = parseReload(asked);
    const chosen = [...this.runners].filter(([name, { record }]) => (record.role === "main" || record.role === "sidecar") && (containers.length === 0 || containers.includes(name)));
    const reload = () => chosen.forEach(([, runner]) => void runner.reload(files.length === 0 ? "asked for" : `${namedFiles(files)} changed`));
    if (!relinked) return reload();
    // The watch by which the node hears of images may be behind the one that brought this.
    const { objects, images } = this.#ctx;
    void objects.configMap(systemNamespace, artifactsConfigMap).then((configMap) => images.link?.(configMap), () => {}).then(reload);
  }

  /** The object is gone from the API while the pod lived. */
  remove(): void {
    this.#removed = true;
    this.#writer.close();
    this.#sync();
  }

  /** Ends the programs because Wherry itself stops. The object stays, to be run again. */
  shutdown(how: "drain" | "fast"): Promise<void> {
    this.#shutdown = how;
    this.#sync();
    return this.ended;
  }

  /** Ends at once whatever is left. */
  kill(): void {
    for (const runner of this.runners.values()) void runner.stop({ graceMs: 0, message: "", hooks: false });
  }

  get references(): References {
    return (this.#references ??= referencesOf(this.pod));
  }
  #references: References | undefined;

  /** A ConfigMap, Secret, claim or artifact changed that this pod may wait for or show. */
  referenceChanged(): void {
    for (const runner of this.runners.values()) runner.retryNow();
    this.#sandboxDueMs = 0;
    if (this.#sandboxStage === "ready") void this.#volumes.refresh();
    this.#sync();
  }

  changed(): void {
    this.#sync();
  }

  readinessChanged(): void {
    if (!this.sandbox) return;
    const ready = this.#withdrawn ? false : isPodReady(this.pod, this.#records) || (this.#records.some(({ held }) => held) ? "held" : false);
    if (ready === this.#told) return;
    this.#told = ready;
    this.#ctx.network.setReady(this.sandbox.ip, ready);
  }

  async specify(container: Container, image: Image): Promise<ContainerSpec> {
    return await specifyContainer({ ctx: this.#ctx, pod: this.#resize.allocated, container, image, podIP: this.sandbox?.ip ?? "", volumes: this.#volumes });
  }

  // ---- planning and doing -------------------------------------------------------------------------------------

  get #deleted(): boolean {
    return this.pod.metadata.deletionTimestamp !== undefined;
  }
  get #ending(): boolean {
    return this.#removed || this.#deleted || this.#shutdown !== undefined || this.#failure !== undefined || this.#isTerminal;
  }
  get #isTerminal(): boolean {
    return this.#status.phase === "Succeeded" || this.#status.phase === "Failed";
  }

  #sync(): void {
    if (this.#finishing) return this.#wake();
    const nowMs = this.#ctx.clock.now();
    this.#timer?.cancel();
    const deadlineMs = this.#checkDeadline(nowMs);
    const plan = planPod({ pod: this.pod, records: this.#records, nowMs, ending: this.#ending, initialized: this.#initialized });
    let wakeAtMs = Math.min(plan.wakeAtMs ?? Infinity, deadlineMs);

    for (const { name, delayMs } of plan.backoff) this.#crashLoop(name, delayMs);
    const stopping = this.#ending ? this.#records.filter(({ activity }) => activity === "stopping").map(({ name }) => name) : [];
    for (const name of [...plan.stop, ...stopping]) this.#stop(name);
    if (plan.start.length > 0) {
      if (this.#sandboxStage === "ready") for (const name of plan.start) this.#start(name);
      else if (this.#sandboxStage === "none" && nowMs >= this.#sandboxDueMs) void this.#makeSandbox();
      else if (this.#sandboxStage === "none") wakeAtMs = Math.min(wakeAtMs, this.#sandboxDueMs);
    }
    if (this.#ending || plan.finished) this.#resize.close();
    else this.#resize.actuate();
    if (plan.finished && this.#sandboxStage !== "making") void this.#finish();
    if (wakeAtMs < Infinity) this.#timer = this.#ctx.clock.setTimer(Math.max(0, wakeAtMs - nowMs), () => this.#sync());
    this.#publish(false);
  }

  /** activeDeadlineSeconds; returns when it will strike. */
  #checkDeadline(nowMs: number): number {
    const seconds = this.pod.spec!.activeDeadlineSeconds;
    if (seconds === undefined || this.#failure || this.#isTerminal || this.#removed) return Infinity;
    const atMs = Date.parse(this.#status.startTime ?? this.#startTime) + seconds * 1000;
    if (nowMs < atMs) return atMs;
    this.#failure = { reason: "DeadlineExceeded", message: "Pod was active on the node longer than the specified deadline" };
    this.#ctx.event(this.pod, "Normal", "DeadlineExceeded", this.#failure.message);
    return Infinity;
  }

  /** The node ends the pod for what it takes of it; whoever owns it makes another. */
  #evict(message: string): void {
    if (this.#ending || isOver(this.pod, this.#records)) return;
    this.#failure = { reason: "Evicted", message };
    this.#ctx.event(this.pod, "Warning", "Evicted", message);
    this.#sync();
  }

  #crashLoop(name: string, delayMs: number): void {
    const record = this.#records.find((candidate) => candidate.name === name)!;
    if (record.waiting?.reason === "CrashLoopBackOff") return;
    record.waiting = { reason: "CrashLoopBackOff", message: `back-off ${goDuration(delayMs)} restarting failed container=${name} pod=${formatPod(this.pod)}` };
    this.#ctx.event(this.pod, "Warning", "BackOff", `Back-off restarting failed container ${name} in pod ${formatPod(this.pod)}`, name);
  }

  #start(name: string): void {
    const runner = this.runners.get(name)!;
    if (runner.record.role === "main") this.#initialized = true;
    void runner.start();
  }

  #stop(name: string): void {
    void this.runners.get(name)!.stop({
      graceMs: this.#graceMs(),
      message: `Stopping container ${name}`,
      hooks: !this.#removed && this.#shutdown !== "fast",
      beforeSignal: () => this.#withdraw(),
    });
  }

  /** No new connections, from just before the programs are told to end: a listener that is closed breaks those it has not taken. */
  async #withdraw(): Promise<void> {
    this.#withdrawn = true;
    this.readinessChanged();
    if (!this.#removed && this.#shutdown !== "fast") await this.#ctx.network.settled?.();
  }

  #graceMs(): number {
    if (this.#removed) return 0;
    if (this.#failure?.reason === "Evicted") return 1000; // kubelet's grace for limits that were passed
    const spec = this.pod.spec!.terminationGracePeriodSeconds ?? 30;
    const seconds = this.#deleted ? (this.pod.metadata.deletionGracePeriodSeconds ?? spec) : spec;
    // A grace of nothing still is a second, as for kubelet: the signal comes first.
    return Math.max(1, seconds) * 1000;
  }

  meshed(node: string): void {
    if (this.#meshedBy !== undefined) return;
    this.#meshedBy = node;
    this.#sync();
  }

  /** Who calls from this address, and what guards it. */
  #identify(): void {
    const { namespace = "", name, labels } = this.pod.metadata;
    if (this.sandbox && !this.#finishing) this.#ctx.network.setPod?.(this.sandbox.ip, { namespace, name, serviceAccount: this.pod.spec?.serviceAccountName ?? "default", ...(labels && { labels }) });
  }

  async #makeSandbox(): Promise<void> {
    this.#sandboxStage = "making";
    try {
      const refusal = refusalOf(this.pod);
      if (refusal) throw new SandboxRefusal("FailedCreatePodSandBox", refusal);
      for (const field of this.#untold.splice(0)) this.#ctx.event(this.pod, "Warning", "NotHonoured", field);
      await this.#volumes.mount();
      this.sandbox = await this.#ctx.sandbox.createPod(podSandboxSpec(this.pod, this.dir, this.hostUid, this.#ctx.sandbox.network.dnsIP, this.#groups, this.#volumes.inMemory));
      this.#identify();
      this.#sandboxStage = "ready";
      this.#storage.start();
      this.#sandboxRetry.reset();
    } catch (error) {
      this.#sandboxStage = "none";
      const mount = error instanceof ContainerError && error.reason === "FailedMount";
      const message = (error as Error).message;
      this.#ctx.event(this.pod, "Warning", mount ? "FailedMount" : "FailedCreatePodSandBox", mount ? message : `Failed to create pod sandbox: ${message}`);
      if (!mount && !(error instanceof SandboxRefusal)) this.#ctx.log.warn("pod sandbox failed", { pod: formatPod(this.pod), error });
      this.#sandboxDueMs = this.#ctx.clock.now() + this.#sandboxRetry.next();
    }
    this.#sync();
  }

  // ---- the end ------------------------------------------------------------------------------------------------

  /** Everything has ended: give back address and volumes, and let the object go if it is being deleted. */
  async #finish(): Promise<void> {
    if (this.#finishing) return;
    this.#finishing = true;
    this.#storage.stop();
    const gone = () => this.#removed || this.#deleted;
    if (!this.#shutdown || gone()) this.#publish(gone());
    if (this.sandbox) {
      this.#ctx.network.setReady(this.sandbox.ip, undefined);
      this.#ctx.network.setPod?.(this.sandbox.ip, undefined);
      await this.sandbox.remove().catch((error: unknown) => this.#ctx.log.warn("pod sandbox not removed", { pod: formatPod(this.pod), error }));
      this.sandbox = undefined;
    }
    this.#sandboxStage = "gone";
    this.#ctx.debuggers?.close(this.uid);
    await this.#volumes.unmount();
    if (this.#shutdown && !gone()) return this.#done();
    this.#publish(gone());
    if (!gone()) await this.#untilGone();
    if (!this.#removed) {
      await this.#writer.flush();
      await this.#deleteObject();
    }
    this.#writer.close();
    this.#ctx.uids.release(this.pod);
    try {
      removeTree(this.dir);
    } catch (error) {
      // The next start tries again.
      this.#ctx.log.warn("a pod's folder was not removed", { dir: this.dir, error: (error as Error).message });
    }
    this.#done();
  }

  /** A completed pod keeps its logs until somebody deletes it (or Wherry stops). */
  #untilGone(): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.#shutdown && !this.#removed && !this.#deleted) return this.#done();
        if (this.#removed || this.#deleted) return resolve();
        this.#wake = look;
      };
      look();
    });
  }
  #wake: () => void = () => {};

  async #deleteObject(): Promise<void> {
    const retry = new Backoff(200, 10_000);
    while (!this.#removed) {
      try {
        await this.#ctx.client.delete(resources.pods, this.pod.metadata.namespace, this.pod.metadata.name, { gracePeriodSeconds: 0, preconditions: { uid: this.uid } });
        return;
      } catch (error) {
        if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return;
        await delay(this.#ctx.clock, retry.next());
      }
    }
  }

  #publish(terminal: boolean): void {
    if (this.#removed || this.#foundEnded) return;
    const status = podStatus({
      pod: { ...this.#resize.allocated, status: this.#status },
      resize: this.#resize.conditions(),
      records: this.#records,
      nowMs: this.#ctx.clock.now(),
      sandbox: { ready: this.sandbox !== undefined, ip: this.sandbox?.ip },
      hostIP: this.#ctx.hostIP,
      startTime: this.#startTime,
      ...(this.#failure && { failure: this.#failure }),
      mesh: meshCondition(this.pod, this.#ctx.sandbox.mode, this.#meshedBy),
      unenforced: unenforced(this.pod, this.#ctx.sandbox.findings),
      terminal,
    });
    this.#status = status;
    // When Wherry stops, the objects keep saying what was: the next start writes what became of them.
    if (this.#shutdown && !this.#deleted) return;
    this.#writer.put(status);
  }
}

const ownConditions = {
  has: (type: string) => ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].includes(type) || resizeConditions.has(type) || type.startsWith("wherry.dev/"),
};

/** What files of the downward API follow. */
const shownByFiles = ({ metadata: { labels, annotations }, spec }: Pod): string => JSON.stringify([labels, annotations, spec!.containers.map(({ resources: sizes }) => sizes)]);

const nobody = 65534;

/** initdb wants its uid to have a name, which without namespaces only the machine's own accounts have. */
function needsAccount(ctx: NodeContext, pod: Pod): boolean {
  return ctx.root && ctx.sandbox.mode === "plain" && containersOf(pod.spec!).some(({ container }) => parseReference(container.image ?? "")?.familiar === "postgres");
}
