import { readFileSync } from "node:fs";
import type { CgroupRoot } from "./cgroups.ts";
import { quote, run } from "./command.ts";
import { guardFilter, hostUids, refusingDevice } from "./pod-network.ts";
import type { Finding } from "./sandbox.ts";
import { findTools, type Tools } from "./tools.ts";

/** What this machine lets Wherry do, found by doing it. */
export interface Probe {
  /** Set when isolated mode works. */
  tools: Tools | undefined;
  findings: Finding[];
}

/** What this machine is, as far as it decides whether Wherry can run at all. */
export interface Platform {
  /** As process.platform and process.arch. */
  system: string;
  cpu: string;
  libc: "glibc" | "musl" | "unknown";
}

export function thisPlatform(): Platform {
  return { system: process.platform, cpu: process.arch, libc: process.platform === "linux" ? libcOf(readFileSync("/proc/self/maps", "latin1")) : "unknown" };
}

/** The C library that a process has loaded, by its /proc/PID/maps. A program that is linked statically has none. */
export function libcOf(maps: string): Platform["libc"] {
  if (/\/(ld-musl-|libc\.musl-)[^/\n]*$/m.test(maps)) return "musl";
  return /\/libc(\.so\.6|-2\.\d+\.so)$/m.test(maps) ? "glibc" : "unknown";
}

/** Why nothing at all can run here; undefined where it can. */
export function platformProblem({ system, cpu, libc }: Platform): string | undefined {
  if (system === "darwin") return "macOS is not supported: it has no namespaces for isolated pods, and plain mode needs Linux's /proc and a whole 127.0.0.0/8 of loopback addresses. A Linux virtual machine has both";
  if (system === "win32") return "Windows is not supported; the Windows Subsystem for Linux is";
  if (system !== "linux") return `${system} is not supported`;
  if (cpu !== "x64" && cpu !== "arm64") return `Linux on ${cpu} is not supported`;
  if (libc === "musl") return "Linux with musl (Alpine, most likely) is not supported: the Node and the Postgres that come with Wherry are built for glibc, and busybox has not the mount, unshare and setpriv that pods are started with";
  return undefined;
}

/** `without` names programs to be treated as absent; for tests and for people who want to see the difference. */
export async function probeIsolation(isRoot: boolean, without: readonly string[] = []): Promise<{ tools: Tools | undefined; finding: Finding }> {
  const no = (message: string, remedy: string) => ({ tools: undefined, finding: { id: "namespaces", enforced: false, message, remedy } });
  const found = findTools(isRoot, without);
  if ("missing" in found) {
    const packages = [...new Set(found.missing.map((entry) => entry.package))];
    return no(`Pods run as plain processes: ${found.missing.map((entry) => entry.program).join(", ")} not found.`, `apt-get install ${packages.join(" ")}`);
  }
  const { tools } = found;
  const namespaces = await run([tools.unshare, ...(isRoot ? ["-Un"] : ["-Urn"]), "true"]);
  if (namespaces.code !== 0) return no(`Pods run as plain processes: the kernel refuses user namespaces (${firstLine(namespaces.stderr)}).`, namespaceRemedy(namespaces.stderr));
  // The steps that fail in half-open places: capabilities kept into a namespace of one id, a proc of one's own, links, pivot.
  const inner = `echo 0 > /proc/sys/user/max_user_namespaces && exec ${tools.setpriv} --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=-all true`;
  const steps = [
    "mount -n -t tmpfs tmpfs /mnt && mkdir /mnt/.old /mnt/proc && mount -n -t proc proc /mnt/proc || { echo proc; exit 1; }",
    "ip link add probe0 type veth peer name probe1 && ip link set lo up || { echo veth; exit 1; }",
    "echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start && echo 1 > /proc/sys/net/ipv4/ip_forward || { echo sysctl; exit 1; }",
    // Whether the kernel can tell what begins a connection: nothing that pods cannot be started without.
    ...(tools.tc ? [`{ ${tools.ip} -batch - <<'END' && ${tools.tc} -batch - <<'FILTER'; } 2>/dev/null && echo filters >&2\n${refusingDevice.join("\n")}\nEND\n${guardFilter("probe0").join("\n")}\nFILTER`] : []),
    `exec ${tools.unshare} -U --map-user=1000 --map-group=1000 --keep-caps ${tools.sh} -c ${quote(inner)} || { echo nested; exit 1; }`,
  ];
  // Also as root inside a user namespace, as pods are: there the kernel asks more.
  const chain = await run([tools.unshare, "-Ur", "-nmpiuf", tools.sh, "-c", steps.join("\n")]);
  if (chain.code !== 0) {
    const step = firstLine(chain.stdout);
    if (step === "proc") return no("Pods run as plain processes: this machine hides parts of /proc (a container, most likely), so the kernel allows no new one.", "docker run --security-opt systempaths=unconfined …");
    return no(`Pods run as plain processes: ${step || "namespaces"} cannot be made here (${firstLine(chain.stderr)}).`, namespaceRemedy(chain.stderr));
  }
  if (!/^filters$/m.test(chain.stderr)) tools.tc = undefined;
  if (isRoot && !ownsPodUids(readFileSync("/proc/self/uid_map", "latin1"))) return no("Pods run as plain processes: this machine (a container, most likely) has no user ids 100000–165535 for pods.", "Run Wherry as an ordinary user, or give the container 165536 user ids.");
  return { tools, finding: { id: "namespaces", enforced: true, message: "Every pod has its own processes, files and network.", remedy: "" } };
}

/** Whether the ids that pods run as exist here: lines of "inside outside count". */
export function ownsPodUids(map: string): boolean {
  return map.trim().split("\n").some((line) => {
    const [inside, , count] = line.trim().split(/\s+/).map(Number);
    return inside! <= hostUids.network && inside! + count! >= hostUids.network + hostUids.count;
  });
}

function namespaceRemedy(error: string): string {
  if (/No space left/.test(error)) return "sysctl -w user.max_user_namespaces=15000";
  if (/not permitted|denied/i.test(error)) return "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 kernel.unprivileged_userns_clone=1 (in a container: --security-opt seccomp=unconfined)";
  return "";
}
const firstLine = (text: string) => text.trim().split("\n")[0] ?? "";

/** Findings of isolated mode, beyond the namespaces themselves. */
export function isolatedFindings(tools: Tools, cgroups: CgroupRoot | undefined, cgroupReason: string, hasSeccomp: boolean, egressPorts: readonly number[]): Finding[] {
  const controllers = cgroups?.controllers ?? {};
  const layout = cgroups ? `cgroup v${cgroups.version}` : "";
  return [
    controllers.memory
      ? { id: "memory-limits", enforced: true, message: `Memory limits are kept by ${layout}.`, remedy: "" }
      : { id: "memory-limits", enforced: false, message: `Memory limits are watched, not enforced: a container is ended shortly after it passes its limit (${cgroupReason}).`, remedy: tools.isRoot ? "Mount the memory controller below /sys/fs/cgroup." : "systemd-run --user --scope -p Delegate=yes wherry up" },
    controllers.cpu
      ? { id: "cpu-limits", enforced: true, message: `CPU limits are kept by ${layout}.`, remedy: "" }
      : { id: "cpu-limits", enforced: false, message: "CPU limits are not enforced.", remedy: tools.isRoot ? "Mount the cpu controller below /sys/fs/cgroup." : "systemd-run --user --scope -p Delegate=yes wherry up" },
    { id: "process-limits", enforced: true, message: controllers.pids ? `The number of processes is limited by ${layout}.` : "The number of processes is limited per container by RLIMIT_NPROC.", remedy: "" },
    hasSeccomp
      ? { id: "seccomp", enforced: true, message: "A seccomp filter keeps pods from keyrings, io_uring, userfaultfd and vsock.", remedy: "" }
      : { id: "seccomp", enforced: false, message: "Pods can use the kernel keyring of the session that started Wherry, io_uring, userfaultfd and vsock sockets.", remedy: "apt-get install bubblewrap" },
    tools.isRoot
      ? { id: "own-uid", enforced: true, message: "Each pod has a user id of its own on this machine.", remedy: "" }
      : { id: "own-uid", enforced: false, message: "Pods run with your user id on this machine, behind their namespaces; files of pods are yours.", remedy: "Run Wherry as root." },
    { id: "egress-udp", enforced: false, message: `Pods reach the Internet by TCP on ${egressPorts.length > 0 ? `port${egressPorts.length > 1 ? "s" : ""} ${egressPorts.join(", ")}` : "the egress ports"} only; UDP and ICMP do not leave the machine.`, remedy: "wherry up --egress-port PORT" },
    tools.tc
      ? { id: "guarded-ports", enforced: true, message: "Pods before which a policy stands can be dialled by other pods at no port.", remedy: "" }
      : { id: "guarded-ports", enforced: false, message: "Pods before which a policy stands can be dialled by other pods at ports 32768 to 60999 that no Service names, and at 65535.", remedy: "apt-get install iproute2 (tc), and a kernel with cls_u32 and act_mirred" },
    tools.hostname
      ? { id: "hostname", enforced: true, message: "Pods see their own hostname.", remedy: "" }
      : { id: "hostname", enforced: false, message: "Pods see this machine's hostname.", remedy: "apt-get install hostname" },
    tools.script && tools.stty
      ? { id: "terminal", enforced: true, message: "Terminals (kubectl exec -t) work.", remedy: "" }
      : { id: "terminal", enforced: false, message: "Terminals (kubectl exec -t) are refused.", remedy: "apt-get install bsdutils coreutils" },
  ];
}

/** Findings of plain mode, beyond the reason why there are no namespaces. */
export function plainFindings(isRoot: boolean, cgroups: CgroupRoot | undefined): Finding[] {
  const controllers = cgroups?.controllers ?? {};
  return [
    { id: "pod-network", enforced: false, message: "Pods share this machine's network: Node programs get a loopback address of their own, others must be told one (HOST); any program here may reach any pod.", remedy: "" },
    { id: "mounts", enforced: false, message: "Pods see this machine's files; mount paths are rewritten in commands and environment, and a pod that needs them literally is refused.", remedy: "" },
    { id: "memory-limits", enforced: controllers.memory !== undefined, message: controllers.memory ? `Memory limits are kept by cgroup v${cgroups!.version}.` : "Memory limits are watched, not enforced.", remedy: "" },
    { id: "cpu-limits", enforced: controllers.cpu !== undefined, message: controllers.cpu ? `CPU limits are kept by cgroup v${cgroups!.version}.` : "CPU limits are not enforced.", remedy: "" },
    { id: "seccomp", enforced: false, message: "No seccomp filter.", remedy: "" },
    isRoot
      ? { id: "own-uid", enforced: true, message: "Each pod has a user id of its own on this machine.", remedy: "" }
      : { id: "own-uid", enforced: false, message: "Pods run as you and can read what you can read; kubectl exec is refused but for `kill 1`.", remedy: "Run Wherry as root, or allow user namespaces." },
  ];
}
