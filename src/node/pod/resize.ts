import type { Condition } from "../../api/meta.ts";
import { compareQuantity, parseQuantity } from "../../api/quantity.ts";
import type { Container, Pod } from "../../api/types.ts";
import type { Timer } from "../../base/clock.ts";
import type { NodeContext } from "../context.ts";
import type { Shortage, Tenant } from "./allocations.ts";
import { type ContainerRecord, containersOf } from "./record.ts";
import type { ContainerRunner } from "./runner.ts";
import { containerLimits } from "./specify.ts";

type Resources = NonNullable<Container["resources"]>;

export interface ResizeHost {
  readonly runners: ReadonlyMap<string, Pick<ContainerRunner, "record" | "process" | "restart">>;
  /** The pod was given other resources than before, by nobody's word but the node's. */
  resized(): void;
  /** Conditions or what is in force changed. */
  changed(): void;
  /** What was last said of a container's runtime: `GOMAXPROCS=1, …`; "" when nothing was set. */
  runtimeOf(container: string): string;
}

/** A refused change of what runs is tried again after this long: memory comes and goes. */
const retryMs = 10_000;

/**
 * Changes of a pod's CPU and memory while it runs. What it asks for (the spec) is given to it by the node (allocated)
 * where there is room, and then brought to the running programs (in force, in each container's record).
 *
 *   asked ──fits?──▶ allocated ──▶ in force        PodResizePending: Deferred, Infeasible ··· PodResizeInProgress: Error
 *
 * Source: k8s.io/kubernetes/pkg/kubelet/allocation, kuberuntime_manager.go (computePodResizeAction), KEP 1287.
 */
export class PodResize implements Tenant {
  readonly uid: string;
  readonly #ctx: NodeContext;
  readonly #host: ResizeHost;
  #desired: Pod;
  #allocated: Pod;
  #pending: (Shortage & { generation: number; sinceMs: number }) | undefined;
  #inProgress: { reason?: string; message?: string; generation: number } | undefined;
  readonly #applying = new Set<string>();
  /** Containers of which the machine refused the change: not before the timer strikes. */
  readonly #refused = new Set<string>();
  #timer: Timer | undefined;
  #closed = false;

  constructor(ctx: NodeContext, pod: Pod, host: ResizeHost) {
    this.#ctx = ctx;
    this.#host = host;
    this.uid = pod.metadata.uid;
    this.#desired = pod;
    this.#allocated = lastAllocated(pod);
    // An earlier process of ours said so: it is not said again.
    for (const { type, reason, message, observedGeneration, lastTransitionTime } of (pod.status?.conditions ?? []) as Condition[]) {
      const generation = observedGeneration ?? pod.metadata.generation ?? 0;
      if (type === "PodResizePending" && (reason === "Deferred" || reason === "Infeasible")) this.#pending = { reason, message: message ?? "", generation, sinceMs: Date.parse(lastTransitionTime ?? "") || 0 };
      if (type === "PodResizeInProgress") this.#inProgress = { generation };
    }
    ctx.allocations.enter(this);
  }

  get allocated(): Pod {
    return this.#allocated;
  }
  get desired(): Pod {
    return this.#desired;
  }
  get waitsSinceMs(): number | undefined {
    return this.#pending?.reason === "Deferred" ? this.#pending.sinceMs : undefined;
  }

  /** The pod has ended, or is about to. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pending = undefined;
    this.#inProgress = undefined;
    this.#timer?.cancel();
    this.#ctx.allocations.leave(this.uid);
  }

  /** The object as it is now. */
  update(pod: Pod): void {
    this.#desired = pod;
    this.#allocate();
  }

  retry(): void {
    if (this.#allocate()) this.#host.resized();
    else this.#host.changed();
  }

  /** True when the pod was given something else than it had. */
  #allocate(): boolean {
    const pod = this.#desired;
    const before = this.#allocated;
    this.#allocated = withResources(pod, (container) => resourcesIn(before, container.name) ?? container.resources);
    if (this.#closed) return false;
    if (containersOf(pod.spec!).every(({ container }) => sameSize(container.resources, resourcesIn(before, container.name) ?? container.resources))) {
      this.#pending = undefined;
      return false;
    }
    const generation = pod.metadata.generation ?? 0;
    const shortage = this.#ctx.allocations.judge(pod);
    if (shortage) {
      const said = this.#pending;
      this.#pending = { ...shortage, generation, sinceMs: said?.sinceMs ?? this.#ctx.clock.now() };
      if (said?.reason !== shortage.reason || said.generation !== generation) this.#event("Warning", `Resize${shortage.reason}`, `Pod resize ${shortage.reason}`, pod, generation, shortage.message);
      return false;
    }
    this.#allocated = pod;
    this.#refused.clear();
    this.#pending = undefined;
    this.#inProgress = { generation };
    this.#event("Normal", "ResizeStarted", "Pod resize started", pod, generation);
    this.#ctx.allocations.freed();
    return true;
  }

  /** Brings what was given to the programs that run; those that do not will start with it. */
  actuate(): void {
    if (this.#closed) return;
    const unfinished = this.#unfinished();
    for (const { container, record } of unfinished) {
      if (this.#applying.has(container.name) || this.#refused.has(container.name)) continue;
      this.#inProgress ??= { generation: this.#allocated.metadata.generation ?? 0 };
      if (needsRestart(container, record.resources)) this.#host.runners.get(container.name)!.restart(`Container ${container.name} resize requires restart`);
      else void this.#apply(container, record);
    }
    if (unfinished.length > 0 || !this.#inProgress) return;
    const { generation } = this.#inProgress;
    this.#inProgress = undefined;
    this.#event("Normal", "ResizeCompleted", "Pod resize completed", this.#allocated, generation);
  }

  /** Containers whose program runs with another size than they were given. */
  #unfinished(): { container: Container; record: ContainerRecord }[] {
    return containersOf(this.#allocated.spec!).flatMap(({ container, role }) => {
      const runner = this.#host.runners.get(container.name);
      if (!runner?.process || (role !== "main" && role !== "sidecar") || (runner.record.activity !== "running" && runner.record.activity !== "stopping")) return [];
      return sameSize(runner.record.resources, container.resources) ? [] : [{ container, record: runner.record }];
    });
  }

  async #apply(container: Container, record: ContainerRecord): Promise<void> {
    const { name } = container;
    const process = this.#host.runners.get(name)!.process!;
    this.#applying.add(name);
    let refused: string | undefined;
    try {
      const [before, limits] = [containerLimits({ name, resources: record.resources }), containerLimits(container)];
      if (limits.memoryBytes !== undefined && limits.memoryBytes < (before.memoryBytes ?? Infinity)) {
        const { memoryBytes } = await process.usage();
        if (memoryBytes >= limits.memoryBytes) throw new Error(`cannot decrease memory limits: attempting to set container ${JSON.stringify(name)} memory limit (${limits.memoryBytes}) below current usage (${memoryBytes})`);
      }
      process.setLimits(limits);
      record.resources = container.resources;
      if (before.memoryBytes !== limits.memoryBytes || before.cpuMillis !== limits.cpuMillis) this.#sayWhatStays(name);
    } catch (error) {
      refused = (error as Error).message;
    }
    this.#applying.delete(name);
    if (this.#closed) return;
    if (refused !== undefined) {
      const generation = this.#inProgress?.generation ?? 0;
      if (this.#inProgress?.message !== refused) this.#event("Warning", "ResizeError", "Pod resize error", this.#allocated, generation, refused);
      this.#inProgress = { reason: "Error", message: refused, generation };
      this.#refused.add(name);
      this.#timer?.cancel();
      this.#timer = this.#ctx.clock.setTimer(retryMs, () => {
        this.#refused.clear();
        this.actuate();
      });
    } else if (this.#applying.size === 0) this.actuate();
    this.#host.changed();
  }

  /** A heap or a number of threads that a program was started with cannot follow it. */
  #sayWhatStays(container: string): void {
    const variables = this.#host.runtimeOf(container);
    if (variables !== "") this.#ctx.event(this.#desired, "Warning", "RuntimeNotResized", `Container ${container} was resized while it runs and goes on with what its former limits set: ${variables}. A resizePolicy of RestartContainer starts it anew instead`, container);
  }

  /** Empty when nothing is under way. */
  conditions(): Condition[] {
    const condition = (type: string, said: { reason?: string; message?: string; generation: number } | undefined): Condition[] =>
      said ? [{ type, status: "True", ...(said.reason !== undefined && { reason: said.reason }), ...(said.message !== undefined && { message: said.message }), observedGeneration: said.generation }] : [];
    return [...condition("PodResizePending", this.#pending), ...condition("PodResizeInProgress", this.#inProgress)];
  }

  #event(type: "Normal" | "Warning", reason: string, words: string, pod: Pod, generation: number, error?: string): void {
    this.#ctx.event(this.#desired, type, reason, `${words}: ${summary(pod, generation, error)}`);
  }
}

export const resizeConditions: ReadonlySet<string> = new Set(["PodResizePending", "PodResizeInProgress"]);

/** As upstream's Events say a pod's size. */
function summary(pod: Pod, generation: number, error: string | undefined): string {
  const sized = (containers: readonly Container[] | undefined) => containers?.map(({ name, resources }) => ({ name, resources: { ...(resources?.limits && { limits: sorted(resources.limits) }), ...(resources?.requests && { requests: sorted(resources.requests) }) } }));
  const { initContainers, containers } = pod.spec!;
  return JSON.stringify({ ...(initContainers?.length && { initContainers: sized(initContainers) }), containers: sized(containers), generation, ...(error !== undefined && { error }) });
}
const sorted = <T>(amounts: Record<string, T>): Record<string, T> => Object.fromEntries(Object.entries(amounts).sort(([a], [b]) => (a < b ? -1 : 1)));

/** The pod with what its node had last given it, as its status says; what was never said is as asked for. */
function lastAllocated(pod: Pod): Pod {
  const said = new Map([...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].map((status) => [status.name, status]));
  return withResources(pod, ({ name, resources }) => {
    const status = said.get(name);
    if (!status?.resources) return resources;
    const limits = status.resources.limits as Resources["limits"];
    const requests = (status as { allocatedResources?: Resources["requests"] }).allocatedResources ?? (status.resources.requests as Resources["requests"]);
    return { ...(resources?.claims && { claims: resources.claims }), ...(limits && { limits }), ...(requests && { requests }) };
  });
}

/** The pod with other resources of what can be resized: main containers and sidecars. */
function withResources(pod: Pod, of: (container: Container) => Resources | undefined): Pod {
  const sized = (container: Container): Container => {
    const resources = of(container);
    return sameSize(resources, container.resources) ? container : { ...container, resources: resources ?? {} };
  };
  const { initContainers } = pod.spec!;
  const containers = pod.spec!.containers.map(sized);
  const inits = initContainers?.map((container) => (container.restartPolicy === "Always" ? sized(container) : container));
  if (containers.every((container, index) => container === pod.spec!.containers[index]) && (inits ?? []).every((container, index) => container === initContainers![index])) return pod;
  return { ...pod, spec: { ...pod.spec!, containers, ...(inits && { initContainers: inits }) } };
}

function resourcesIn(pod: Pod, name: string): Resources | undefined {
  return [...pod.spec!.containers, ...(pod.spec!.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always")].find((container) => container.name === name)?.resources;
}

type Part = "requests" | "limits";
const sizes = (["cpu", "memory"] as const).flatMap((name) => (["requests", "limits"] as const).map((part): [Part, "cpu" | "memory"] => [part, name]));

function differs(a: Resources | undefined, b: Resources | undefined, part: Part, name: string): boolean {
  const [x, y] = [a?.[part]?.[name], b?.[part]?.[name]];
  if (x === undefined || y === undefined) return x !== y;
  return x !== y && compareQuantity(parseQuantity(String(x)), parseQuantity(String(y))) !== 0;
}
export const sameSize = (a: Resources | undefined, b: Resources | undefined): boolean => !sizes.some(([part, name]) => differs(a, b, part, name));

/** Whether one of the resources that change asks for a restart. */
function needsRestart({ resizePolicy, resources }: Container, now: Resources | undefined): boolean {
  return sizes.some(([part, name]) => differs(now, resources, part, name) && resizePolicy?.some(({ resourceName, restartPolicy }) => resourceName === name && restartPolicy === "RestartContainer"));
}
