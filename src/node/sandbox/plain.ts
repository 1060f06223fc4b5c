import { chmodSync, chownSync, constants, copyFileSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { NetworkNamespace } from "../../api/network.ts";
import type { Clock } from "../../base/clock.ts";
import { WherryError } from "../../base/errors.ts";
import { closedFolder } from "../../base/files.ts";
import type { Log } from "../../base/log.ts";
import { AddressPool } from "./addresses.ts";
import { type CgroupRoot, closeCgroups } from "./cgroups.ts";
import { findProgram, run } from "./command.ts";
import { closeLeakedFds } from "./fds.ts";
import { FifoPool } from "./fifos.ts";
import { Leftovers, sandboxVariable } from "./leftovers.ts";
import { claimPlainNetworks, type PlainNetworks } from "./plain-networks.ts";
import { MemoryWatchdog } from "./memory-watchdog.ts";
import { PlainContainer, type PlainRuntime, startPlainContainer } from "./plain-container.ts";
import { type ContainerProcess, type ContainerSpec, type Finding, type PodSandbox, type PodSandboxSpec, type Sandbox, SandboxRefusal } from "./sandbox.ts";
import { makeScratch, removeScratch } from "./scratch.ts";

const bundleTool = fileURLToPath(new URL("../../../tools/bundle-preload.mjs", import.meta.url));

export interface PlainOptions {
  dataDir: string;
  id: string;
  isRoot: boolean;
  cgroups: CgroupRoot | undefined;
  findings: readonly Finding[];
  programs: Readonly<Record<string, string>>;
  /** The bundled preload for Node programs. */
  preload: string;
  clock: Clock;
  log: Log;
}

/**
 * Pods as ordinary processes of this machine, for machines without namespaces: Node programs get a loopback address of
 * their own by the preload, others only their environment. What is not enforced is in `findings`.
 */
export class PlainSandbox implements Sandbox {
  readonly mode = "plain";
  readonly findings: readonly Finding[];
  readonly #options: PlainOptions;
  #networks: PlainNetworks | undefined;
  #addresses: AddressPool | undefined;
  readonly #pods = new Set<PlainPod>();
  readonly #leftovers: Leftovers;
  #runtime: PlainRuntime | undefined;
  #scratch: string | undefined;

  /** Throws FOLDER_CLOSED, or PROGRAM_MISSING. */
  constructor(options: PlainOptions) {
    this.#options = options;
    if (options.isRoot) checkPodUsers(options.dataDir);
    this.findings = options.findings;
    this.#leftovers = new Leftovers(join(options.dataDir, "sandbox", "processes"), options.id, options.log);
  }

  get network(): NetworkNamespace {
    if (!this.#networks) throw new Error("the sandbox has no addresses yet");
    const { services, pods } = this.#networks;
    return { mode: "plain", enter: [], gatewayIP: `${pods}.0.1`, dnsIP: `${services}.0.10`, apiServiceIP: `${services}.0.1` };
  }

  get scratch(): string {
    if (!this.#scratch) throw new Error("the sandbox has not been started");
    return this.#scratch;
  }

  async reserve(): Promise<{ serviceNetwork: string; gatewayIP: string }> {
    this.#networks ??= await claimPlainNetworks();
    this.#addresses ??= new AddressPool(this.#networks.pods);
    return { serviceNetwork: `${this.#networks.services}.`, gatewayIP: this.network.gatewayIP };
  }

  async start(): Promise<void> {
    const { serviceNetwork } = await this.reserve();
    const { dataDir, programs, isRoot } = this.#options;
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    chmodSync(dataDir, 0o700);
    const leaked = closeLeakedFds();
    if (leaked.length > 0) this.#options.log.info("closed descriptors left open by whoever started Wherry", { count: leaked.length });
    this.#leftovers.start();
    const dir = join(dataDir, "sandbox");
    const bin = join(dir, "base", "plain-bin");
    rmSync(bin, { recursive: true, force: true });
    mkdirSync(bin, { recursive: true });
    for (const [name, path] of Object.entries(programs)) {
      // Pods have other uids where Wherry is root, and could not reach a program below /root.
      if (isRoot && closedFolder(path)) copyFileSync(path, join(bin, name), constants.COPYFILE_FICLONE);
      else symlinkSync(path, join(bin, name));
    }
    const preload = join(dir, "base", "preload.cjs");
    await this.#bundlePreload();
    copyFileSync(this.#options.preload, preload);
    if (isRoot) openForPods(dataDir);
    this.#scratch = makeScratch(dataDir, this.#options.id);
    // Each pod passes through to what is its own.
    if (isRoot) chmodSync(this.#scratch, 0o711);
    const fifos = new FifoPool(join(this.#scratch, "pipes"), findProgram("mkfifo") ?? "mkfifo");
    await fifos.start();
    const watchdog = new MemoryWatchdog(this.#options.clock);
    this.#runtime = {
      isRoot, bin, fifos, clock: this.#options.clock, cgroups: this.#options.cgroups, preload,
      setpriv: findProgram("setpriv"), env: { [sandboxVariable]: this.#options.id }, serviceNetwork, dnsIP: this.network.dnsIP, privilegedPortsBelow: isRoot ? 0 : firstOpenPort(),
      record: this.#leftovers.record.bind(this.#leftovers), watchMemory: (container, limit) => watchdog.watch(container, limit),
    };
  }
  /** In a source checkout the bundle is made, or made anew; the published package ships it and has no tool for it. */
  async #bundlePreload(): Promise<void> {
    const { preload, log } = this.#options;
    const made = existsSync(bundleTool) ? await run([process.execPath, bundleTool]) : undefined;
    if (!existsSync(preload)) throw new Error(`${preload} is missing and could not be made: ${made?.stderr.trim() ?? "the package is damaged"}`);
    if (made && made.code !== 0) log.warn("the preload could not be bundled anew; the old one is used", { error: made.stderr.trim() });
  }
  async createPod(spec: PodSandboxSpec): Promise<PodSandbox> {
    const addresses = this.#addresses;
    if (!this.#runtime || !addresses) throw new Error("the sandbox has not been started");
    const pod = new PlainPod(this.#runtime, spec, addresses.take(), () => {
      this.#pods.delete(pod);
      addresses.give(pod.ip);
    });
    this.#pods.add(pod);
    return pod;
  }
  async stop(_deadline: AbortSignal): Promise<void> {
    await Promise.all([...this.#pods].map((pod) => pod.remove()));
    if (this.#options.cgroups) await closeCgroups(this.#options.cgroups);
    this.#runtime = undefined;
    if (this.#scratch) removeScratch(this.#scratch);
    this.#networks?.release();
  }
}

class PlainPod implements PodSandbox {
  readonly ip: string;
  readonly #runtime: PlainRuntime;
  readonly #spec: PodSandboxSpec;
  readonly #onRemoved: () => void;
  readonly #containers = new Set<PlainContainer>();
  #starts = 0;
  #removed: Promise<void> | undefined;

  constructor(runtime: PlainRuntime, spec: PodSandboxSpec, ip: string, onRemoved: () => void) {
    this.#runtime = runtime;
    this.#spec = spec;
    this.ip = ip;
    this.#onRemoved = onRemoved;
  }
  async startContainer(spec: ContainerSpec): Promise<ContainerProcess> {
    if (this.#removed) throw new SandboxRefusal("RunContainerError", "the pod is being removed");
    const root = join(this.#spec.dir, "sandbox", `${spec.name}.${this.#starts++}`);
    rmSync(root, { recursive: true, force: true });
    mkdirSync(root, { recursive: true });
    if (this.#runtime.isRoot) for (const folder of [this.#spec.dir, join(this.#spec.dir, "sandbox")]) chmodSync(folder, 0o711);
    const container = await startPlainContainer(this.#runtime, this.#spec, this.ip, spec, root).catch((error: unknown) => {
      rmSync(root, { recursive: true, force: true });
      throw error;
    });
    this.#containers.add(container);
    void container.exited.then(() => this.#containers.delete(container));
    if (this.#removed) container.kill();
    return container;
  }
  remove(): Promise<void> {
    this.#removed ??= (async () => {
      for (const container of this.#containers) container.kill();
      await Promise.all([...this.#containers].map((container) => container.exited));
      rmSync(join(this.#spec.dir, "sandbox"), { recursive: true, force: true });
      this.#onRemoved();
    })();
    return this.#removed;
  }
}

/** As root each pod is another user. Asked before anything is made: a pod that cannot reach its files would crash again and again. */
function checkPodUsers(dataDir: string): void {
  if (!findProgram("setpriv")) throw new WherryError("PROGRAM_MISSING", "in plain mode root gives each pod a user of its own by the program setpriv, which is not on the PATH (package util-linux)");
  const closed = closedFolder(dirname(dataDir));
  if (closed) throw new WherryError("FOLDER_CLOSED", `in plain mode as root each pod has a user of its own, and none may pass through ${closed} to its files in the data directory ${dataDir}`);
}

/**
 * Pods have uids of their own and must reach their folders below the data directory: it may be passed through, not listed,
 * and everything in it that is not theirs is closed.
 */
function openForPods(dataDir: string): void {
  const passable = new Set(["pods", "volumes", "images", "sandbox"]);
  for (const name of readdirSync(dataDir)) {
    const path = join(dataDir, name);
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) continue;
    chmodSync(path, passable.has(name) ? 0o711 : stat.mode & 0o7700);
  }
  for (const name of passable) {
    mkdirSync(join(dataDir, name), { recursive: true });
    chmodSync(join(dataDir, name), 0o711);
  }
  chmodSync(join(dataDir, "sandbox", "base"), 0o711);
  chmodSync(dataDir, 0o711);
}

/** Gives a folder and what lies in it to a pod's uid, links themselves and not what they point to. */
export function giveTree(path: string, uid: number): void {
  const stat = lstatSync(path);
  if (stat.isSymbolicLink()) return;
  chownSync(path, uid, uid);
  if (stat.isDirectory()) for (const name of readdirSync(path)) giveTree(join(path, name), uid);
}

/** The first port that an ordinary user may bind. */
function firstOpenPort(): number {
  const setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
  return existsSync(setting) ? Number(readFileSync(setting, "latin1")) : 1024;
}
