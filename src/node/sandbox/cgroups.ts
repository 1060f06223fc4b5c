import { existsSync, mkdirSync, readFileSync, readdirSync, realpathSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { run } from "./command.ts";

/**
 * Control groups where this user may make them: the old layout (one hierarchy a controller) and the unified one. Whether a
 * group works is found out by making one and moving a process into it, because every cheaper sign can lie.
 */
export interface CgroupRoot {
  version: 1 | 2;
  /** Which limits are enforced; the folder of Wherry's group in that controller's hierarchy. */
  controllers: Partial<Record<Controller, string>>;
}
type Controller = "memory" | "pids" | "cpu" | "cpuacct";
const all: Controller[] = ["memory", "pids", "cpu", "cpuacct"];

const mountPoint = "/sys/fs/cgroup";

export interface CgroupLimits {
  memoryBytes?: number;
  cpuMillis?: number;
  pidsMax?: number;
}

/** Makes Wherry's own group `name`. Undefined when no controller can be used, with the reason. */
export async function openCgroups(name: string, base = mountPoint): Promise<{ root: CgroupRoot | undefined; reason: string }> {
  let reason = `${base} is not there`;
  try {
    const unified = readFileSync(join(base, "cgroup.controllers"), "latin1").trim().split(" ");
    const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "latin1"))?.[1] ?? "/";
    // The hierarchy's root for the machine's root; otherwise the nearest group that was delegated to this user.
    for (const folder of [base, ...ancestors(join(base, own)).filter((path) => path !== base)]) {
      const opened = await openUnified(join(folder, name), folder, unified);
      if (typeof opened !== "string") return { root: opened, reason: "" };
      reason = opened;
    }
  } catch {
    try {
      const root: CgroupRoot = { version: 1, controllers: {} };
      for (const controller of all) {
        try {
          const hierarchy = realpathSync(join(base, controller));
          const folder = join(hierarchy, name);
          mkdirSync(folder, { recursive: true });
          if ((await run(["/bin/sh", "-c", 'echo 0 > "$1/cgroup.procs"', "sh", folder])).code === 0) root.controllers[controller] = folder;
          else reason = `${folder} does not take processes`;
          // Made again with the first container; a mere question leaves nothing behind.
          removeGroup(folder);
        } catch (error) {
          reason = (error as Error).message;
        }
      }
      if (Object.keys(root.controllers).length > 0) return { root, reason };
    } catch (error) {
      reason = (error as Error).message;
    }
  }
  return { root: undefined, reason };
}

function ancestors(path: string): string[] {
  const found: string[] = [];
  for (let at = path; at.startsWith(mountPoint); at = join(at, "..")) found.push(at);
  return found;
}

async function openUnified(folder: string, parent: string, available: readonly string[]): Promise<CgroupRoot | string> {
  try {
    mkdirSync(folder, { recursive: true });
    const wanted = ["memory", "pids", "cpu"].filter((controller) => available.includes(controller));
    for (const at of [parent, folder]) {
      for (const controller of wanted) {
        try {
          writeFileSync(join(at, "cgroup.subtree_control"), `+${controller}`);
        } catch {
          // Refused where processes live in the group itself; what is enabled already counts below.
        }
      }
    }
    const enabled = readFileSync(join(folder, "cgroup.subtree_control"), "latin1").trim().split(" ");
    const trial = join(folder, "trial");
    mkdirSync(trial, { recursive: true });
    const joined = await run(["/bin/sh", "-c", 'echo 0 > "$1/cgroup.procs"', "sh", trial]);
    rmdirSync(trial);
    const root: CgroupRoot = { version: 2, controllers: {} };
    for (const controller of wanted) if (enabled.includes(controller)) root.controllers[controller as Controller] = folder;
    if (joined.code !== 0 || Object.keys(root.controllers).length === 0) {
      rmdirSync(folder);
      return joined.code === 0 ? `${folder} has no controllers` : `${folder} does not take processes`;
    }
    return root;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Thousandths of a core → cpu.shares, 1024 a core. Source: k8s.io/kubernetes/pkg/kubelet/cm/helpers_linux.go. */
export const cpuShares = (millis: number): number => Math.min(262_144, Math.max(2, Math.floor((millis * 1024) / 1000)));

/**
 * cpu.shares → cpu.weight, so that the least, the greatest and the default (1024, 100) of both meet. Source: runc 1.3.2 and
 * crun 1.23; the straight line of before made 1024 to 39, and whoever asked for a core had less than who asked for nothing elsewhere.
 */
export function cpuWeight(shares: number): number {
  if (shares <= 2) return 1;
  const log = Math.log2(shares);
  return Math.min(10_000, Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34)));
}

/** The group of one container. */
export class Cgroup {
  readonly #root: CgroupRoot;
  /** Distinct folders, one in each hierarchy. */
  readonly folders: string[];
  readonly #name: string;

  constructor(root: CgroupRoot, name: string, limits: CgroupLimits) {
    this.#root = root;
    this.#name = name;
    this.folders = [...new Set(Object.values(root.controllers))].map((folder) => join(folder, name));
    for (const folder of this.folders) mkdirSync(folder, { recursive: true });
    if (limits.memoryBytes !== undefined) this.applyMemory(limits.memoryBytes);
    if (limits.pidsMax !== undefined) this.#write("pids", "pids.max", limits.pidsMax);
  }
  #file(controller: Controller, file: string): string | undefined {
    const folder = this.#root.controllers[controller];
    return folder && join(folder, this.#name, file);
  }
  #write(controller: Controller, file: string, value: string | number, optional = false): void {
    const path = this.#file(controller, file);
    if (!path) return;
    try {
      writeFileSync(path, String(value));
    } catch (error) {
      if (!optional) throw error;
    }
  }
  #read(controller: Controller, file: string): string {
    const path = this.#file(controller, file);
    try {
      return path ? readFileSync(path, "latin1") : "";
    } catch {
      return "";
    }
  }
  /** At any time. Throws the kernel's reason, such as EBUSY where what is used cannot be brought below the limit. */
  applyMemory(bytes: number): void {
    if (this.#root.version === 1) {
      // Of memory alone never more than of memory and swap together, at no moment.
      const rising = bytes > Number(this.#read("memory", "memory.limit_in_bytes"));
      if (rising) this.#write("memory", "memory.memsw.limit_in_bytes", bytes, true);
      this.#write("memory", "memory.limit_in_bytes", bytes);
      if (!rising) this.#write("memory", "memory.memsw.limit_in_bytes", bytes, true);
    } else {
      this.#write("memory", "memory.max", bytes);
      this.#write("memory", "memory.swap.max", 0, true);
      this.#write("memory", "memory.oom.group", 1, true);
    }
  }
  /** `cpuMillis` thousandths of a core, over the kernel's usual period of 100 ms. */
  applyCpu(cpuMillis: number): void {
    const quotaUs = Math.max(1000, cpuMillis * 100);
    if (this.#root.version === 1) {
      this.#write("cpu", "cpu.cfs_period_us", 100_000, true);
      this.#write("cpu", "cpu.cfs_quota_us", quotaUs, true);
    } else this.#write("cpu", "cpu.max", `${quotaUs} 100000`, true);
  }
  /**
   * By what the container asks for, as kubelet and runc reckon it: a share of the time that is fought for. Nothing asked: the
   * least. While it starts it has a tenth of a core's at least: less would be a long wait beside a busy pod, and the whole
   * core's that the kernel gives by itself would take the time of those that already serve.
   */
  applyStartWeight(requestMillis: number): void {
    this.applyWeight(Math.max(requestMillis, 100));
  }
  applyWeight(requestMillis: number): void {
    const shares = cpuShares(requestMillis);
    if (this.#root.version === 1) this.#write("cpu", "cpu.shares", shares, true);
    else this.#write("cpu", "cpu.weight", cpuWeight(shares), true);
  }
  /** How often the kernel killed something here for want of memory. */
  oomKills(): number {
    return Number(/^oom_kill (\d+)$/m.exec(this.#read("memory", this.#root.version === 1 ? "memory.oom_control" : "memory.events"))?.[1] ?? 0);
  }
  /** Undefined fields where the controller is not there. */
  usage(): { cpuNs: number | undefined; memoryBytes: number | undefined } {
    if (this.#root.version === 1) {
      const cpu = this.#read("cpuacct", "cpuacct.usage").trim();
      const anonymous = /^total_rss (\d+)$/m.exec(this.#read("memory", "memory.stat"))?.[1];
      return { cpuNs: cpu === "" ? undefined : Number(cpu), memoryBytes: anonymous === undefined ? undefined : Number(anonymous) };
    }
    const cpu = /^usage_usec (\d+)$/m.exec(this.#read("cpu", "cpu.stat"))?.[1];
    const anonymous = /^anon (\d+)$/m.exec(this.#read("memory", "memory.stat"))?.[1];
    return { cpuNs: cpu === undefined ? undefined : Number(cpu) * 1000, memoryBytes: anonymous === undefined ? undefined : Number(anonymous) };
  }
  /** True when all are gone; busy while a process is still being taken down. */
  remove(): boolean {
    return this.folders.map(removeGroup).every(Boolean);
  }
}

function removeGroup(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** Removes Wherry's group with whatever groups are left in it; they are busy until the kernel has buried their last process. */
export async function closeCgroups(root: CgroupRoot): Promise<void> {
  const folders = [...new Set(Object.values(root.controllers))];
  for (let tries = 0; tries < 50; tries++) {
    for (const folder of folders) removeGroups(folder);
    if (!folders.some((folder) => existsSync(folder))) return;
    await delay(20);
  }
}

/** Removes an empty group and its empty children; best effort. */
export function removeGroups(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) if (entry.isDirectory()) removeGroups(join(folder, entry.name));
  } catch {
    return;
  }
  removeGroup(folder);
}

/** Command prefix that puts itself, and so all that follows, into the groups. Before any fork: a later write loses the race. */
export function joinPrefix(folders: readonly string[], shell: string): string[] {
  if (folders.length === 0) return [];
  // The old layout's `tasks` moves the one thread that a shell has without the lock over all forks and exits of the machine
  // that `cgroup.procs` takes, which costs milliseconds each time.
  return [shell, "-c", 'while [ "$1" != -- ]; do f=$1/tasks; [ -e "$f" ] || f=$1/cgroup.procs; echo 0 > "$f" || exit 125; shift; done; shift; exec "$@"', "sh", ...folders, "--"];
}
