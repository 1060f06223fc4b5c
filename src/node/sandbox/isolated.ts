import { chmodSync, closeSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { GuardedPod, NetworkNamespace } from "../../api/network.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { addresses, AddressPool } from "./addresses.ts";
import { type CgroupRoot, closeCgroups } from "./cgroups.ts";
import { systemPath } from "./command.ts";
import { type ContainerRuntime, type IsolatedContainer, type NetworkPlan, type SharedNamespaces, startContainer } from "./container.ts";
import { closeLeakedFds } from "./fds.ts";
import { FifoPool } from "./fifos.ts";
import { Leftovers, sandboxVariable } from "./leftovers.ts";
import { mountMemory } from "./memory-volumes.ts";
import { MemoryWatchdog } from "./memory-watchdog.ts";
import { guardRules, holdRule, passRule, PodNetworkNamespaces } from "./pod-network.ts";
import { type ContainerProcess, type ContainerSpec, type DirectConnection, type Finding, type PodSandbox, type PodSandboxSpec, type Sandbox, SandboxRefusal } from "./sandbox.ts";
import { seccompFilter } from "./seccomp.ts";
import type { Tools } from "./tools.ts";
import { makeScratch, removeScratch } from "./scratch.ts";
import { makeTreeBase, writePodFiles } from "./tree.ts";

export interface IsolatedOptions {
  dataDir: string;
  /** Marks the processes of this data directory. */
  id: string;
  tools: Tools;
  cgroups: CgroupRoot | undefined;
  findings: readonly Finding[];
  /** Put into /usr/local/bin of every container: name → file of this machine. */
  programs: Readonly<Record<string, string>>;
  clock: Clock;
  log: Log;
}

/** Pods in namespaces of their own, with real addresses. */
export class IsolatedSandbox implements Sandbox {
  readonly mode = "isolated";
  readonly findings: readonly Finding[];
  readonly #options: IsolatedOptions;
  readonly #addresses = new AddressPool("10.244");
  readonly #pods = new Set<IsolatedPod>();
  readonly #leftovers: Leftovers;
  #network: PodNetworkNamespaces | undefined;
  #described: NetworkNamespace | undefined;
  #runtime: ContainerRuntime | undefined;
  #scratch: string | undefined;
  #links = 0;
  #podCount = 0;
  #guardRules: ReadonlySet<string> = new Set();

  constructor(options: IsolatedOptions) {
    this.#options = options;
    this.findings = options.findings;
    this.#leftovers = new Leftovers(join(options.dataDir, "sandbox", "processes"), options.id, options.log);
  }
  get network(): NetworkNamespace {
    if (!this.#described) throw new Error("the sandbox has not been started");
    return this.#described;
  }

  get scratch(): string {
    if (!this.#scratch) throw new Error("the sandbox has not been started");
    return this.#scratch;
  }

  async reserve(): Promise<{ serviceNetwork: string; gatewayIP: string }> {
    return { serviceNetwork: "10.96.", gatewayIP: addresses.gateway };
  }

  async start(): Promise<void> {
    const { tools, clock, dataDir } = this.#options;
    // Where Wherry is no root, pods' files belong to its user: this mode is then all that is around their set-uid files.
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    chmodSync(dataDir, 0o700);
    const leaked = closeLeakedFds();
    if (leaked.length > 0) this.#options.log.info("closed descriptors left open by whoever started Wherry", { count: leaked.length });
    this.#leftovers.start();
    const dir = makeScratch(dataDir, this.#options.id);
    this.#scratch = dir;
    const env = { PATH: systemPath, LC_ALL: "C", [sandboxVariable]: this.#options.id };
    const record = this.#leftovers.record.bind(this.#leftovers);
    const network = new PodNetworkNamespaces(tools, env, record);
    this.#network = network;
    const fifos = new FifoPool(join(dir, "pipes"), tools.mkfifo);
    let seccompPath: string | undefined;
    const filter = tools.bwrap ? seccompFilter() : undefined;
    if (filter) {
      seccompPath = join(dir, "seccomp");
      writeFileSync(seccompPath, filter, { mode: 0o600 });
    }
    const treeBase = makeTreeBase(join(dir, "base"), this.#options.programs, tools.isRoot);
    try {
      await Promise.all([network.start(), fifos.start()]);
    } catch (error) {
      network.stop();
      throw error;
    }
    this.#described = network.describe();
    const watchdog = new MemoryWatchdog(clock);
    this.#runtime = { tools, clock, env, network, fifos, cgroups: this.#options.cgroups, treeBase, seccompPath, record, watchMemory: (container, limit) => watchdog.watch(container, limit) };
  }

  async createPod(spec: PodSandboxSpec): Promise<PodSandbox> {
    if (!this.#runtime) throw new Error("the sandbox has not been started");
    const pod = new IsolatedPod(this.#runtime, spec, this.#addresses.take(), join(this.#scratch!, "pods", String(this.#podCount++)), () => `pod${this.#links++}`, () => {
      this.#pods.delete(pod);
      this.#addresses.give(pod.ip);
    });
    this.#pods.add(pod);
    return pod;
  }

  async guard(pods: readonly GuardedPod[]): Promise<void> {
    const wanted = new Set(pods.flatMap(({ ip, ports }) => guardRules(ip, ports)));
    const [begin, end] = [[...wanted].filter((rule) => !this.#guardRules.has(rule)), [...this.#guardRules].filter((rule) => !wanted.has(rule))];
    this.#guardRules = wanted;
    // Lines are worked off in order: a pod's link is made after what was told before it.
    await Promise.all([begin.length + end.length > 0 && this.#network?.rules(begin, end), this.#network?.guard(new Set(pods.map(({ ip }) => ip)))]);
  }

  async stop(_deadline: AbortSignal): Promise<void> {
    await Promise.all([...this.#pods].map((pod) => pod.remove()));
    this.#network?.stop();
    this.#network = undefined;
    this.#runtime = undefined;
    if (this.#scratch) removeScratch(this.#scratch);
    if (this.#options.cgroups) await closeCgroups(this.#options.cgroups);
  }
}

/** A rule of the pod network each; a program that listens on more is held at the first, and of more connections the first pass. */
const heldPortsMax = 64;
const passingMax = 256;

/** As upstream's pause: another user than any program's, no files, no rights. */
const holderSpec: ContainerSpec = {
  name: ".pause", argv: ["sleep", "infinity"], env: { PATH: systemPath }, workingDir: "/", uid: 65535, gid: 65535, userName: "pause", homeDir: "/",
  mounts: [], readOnlyRoot: true, limits: {}, stdin: false, tty: false,
};

class IsolatedPod implements PodSandbox {
  readonly ip: string;
  readonly #runtime: ContainerRuntime;
  readonly #spec: PodSandboxSpec;
  /** Short-lived files of the start sequence. */
  readonly #dir: string;
  readonly #nextLink: () => string;
  readonly #onRemoved: () => void;
  readonly #containers = new Set<IsolatedContainer>();
  #shared: SharedNamespaces | undefined;
  #memory: Promise<number> | undefined;
  /** Where the pod's processes are one set: whose PID 1 is theirs. */
  #holder: Promise<IsolatedContainer> | undefined;
  /** The start that makes the shared namespaces; others wait for it. */
  #making: Promise<unknown> | undefined;
  #removed: Promise<void> | undefined;
  /** Of the pod network, while ports are held. */
  #rules: ReadonlySet<string> = new Set();
  #starts = 0;

  constructor(runtime: ContainerRuntime, spec: PodSandboxSpec, ip: string, dir: string, nextLink: () => string, onRemoved: () => void) {
    this.#runtime = runtime;
    this.#spec = spec;
    this.ip = ip;
    this.#dir = dir;
    this.#nextLink = nextLink;
    this.#onRemoved = onRemoved;
  }

  async startContainer(spec: ContainerSpec): Promise<ContainerProcess> {
    if (!this.#spec.shareProcesses) return await this.#startOwn(spec);
    for (;;) {
      const holder = await this.#hold();
      try {
        return await this.#start(spec, this.#shared!, holder);
      } catch (error) {
        // Somebody in the pod has ended its first process while this one was to come below it.
        if (holder.isAlive || this.#removed) throw error;
      }
    }
  }

  /** PID 1 of all containers waits, and reaps what is orphaned. Whoever ends it ends them all, and the next start begins with another. */
  async #hold(): Promise<IsolatedContainer> {
    for (;;) {
      const starting = (this.#holder ??= this.#startOwn(holderSpec).then((container) => {
        for (const silent of [container.stdout, container.stderr]) silent.resume();
        return container;
      }));
      const over = () => this.#holder === starting && (this.#holder = undefined);
      const holder = await starting.catch((error: unknown) => {
        over();
        throw error;
      });
      if (holder.isAlive) return holder;
      // Dead, and perhaps not buried: what starts below it would die of it.
      await holder.exited;
      over();
    }
  }

  async #startOwn(spec: ContainerSpec): Promise<IsolatedContainer> {
    while (!this.#shared && this.#making) await this.#making.catch(() => {});
    if (this.#shared) return this.#start(spec, this.#shared);
    // A link name is never used twice: the kernel frees a dead namespace's links late. (And it must be no word of ip's, as "vf" is.)
    const first = this.#start(spec, { link: this.#nextLink(), ip: this.ip });
    this.#making = first.finally(() => (this.#making = undefined));
    this.#making.catch(() => {});
    return first;
  }
  async #start(spec: ContainerSpec, shared: SharedNamespaces | NetworkPlan, holder?: IsolatedContainer): Promise<IsolatedContainer> {
    if (this.#removed) throw new SandboxRefusal("RunContainerError", "the pod is being removed");
    const dir = join(this.#dir, String(this.#starts++));
    mkdirSync(dir, { recursive: true });
    if (this.#starts === 1) writePodFiles(this.#dir, this.#spec, this.ip);
    if (this.#spec.memoryVolumes?.length) this.#memory ??= mountMemory(this.#runtime, this.#spec);
    const host = holder ?? (spec.processesOf === undefined ? undefined : [...this.#containers].find((other) => other.spec.name === spec.processesOf && !other.hasEnded));
    if (spec.processesOf !== undefined && !host) throw new SandboxRefusal("CreateContainerConfigError", `unable to find target container ${spec.processesOf}`);
    const container = await startContainer(this.#runtime, this.#spec, this.ip, spec, this.#dir, dir, shared, host, await this.#memory, async (pid) => {
      if (!("link" in shared)) return;
      const opened = { net: openSync(`/proc/${pid}/ns/net`, "r"), ipc: openSync(`/proc/${pid}/ns/ipc`, "r"), uts: openSync(`/proc/${pid}/ns/uts`, "r") };
      try {
        await this.#runtime.network.connect(shared.link, this.ip);
        this.#shared = opened;
      } catch (error) {
        for (const fd of Object.values(opened)) closeSync(fd);
        throw error;
      }
    });
    this.#containers.add(container);
    void container.exited.then(() => this.#containers.delete(container));
    if (this.#removed) container.kill();
    return container;
  }

  async hold(ports: ReadonlySet<number>, passing: readonly DirectConnection[] = []): Promise<void> {
    const held = [...ports].slice(0, heldPortsMax);
    // What passes is told before what is held, so that no packet of it is lost in between.
    const wanted = new Set([...passing.slice(0, passingMax).filter(({ port }) => held.includes(port)).map((connection) => passRule(this.ip, connection)), ...held.map((port) => holdRule(this.ip, port))]);
    const [begin, end] = [[...wanted].filter((rule) => !this.#rules.has(rule)), [...this.#rules].filter((rule) => !wanted.has(rule))];
    this.#rules = wanted;
    if (this.#removed && begin.length > 0) return;
    if (begin.length + end.length > 0) await this.#runtime.network.rules(begin, end);
  }

  remove(): Promise<void> {
    this.#removed ??= (async () => {
      await this.#making?.catch(() => {});
      // Whoever gets the address next is to be reached.
      await this.hold(new Set()).catch(() => {});
      for (const container of this.#containers) container.kill();
      await Promise.all([...this.#containers].map((container) => container.exited));
      // The kernel takes the link down with the namespace, many at once; asking for each would cost 30 ms apiece.
      if (this.#shared) for (const fd of Object.values(this.#shared)) closeSync(fd);
      this.#shared = undefined;
      this.#runtime.network.disconnected(this.ip);
      await this.#memory?.then(closeSync, () => {});
      rmSync(this.#dir, { recursive: true, force: true });
      this.#onRemoved();
    })();
    return this.#removed;
  }
}
