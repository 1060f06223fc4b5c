import { readFileSync } from "node:fs";
import { availableParallelism, hostname, release, totalmem } from "node:os";
import { type Condition, timestamp, withCondition } from "../api/meta.ts";
import { kubernetesVersion, nodeName } from "../api/resources.ts";
import type { Node } from "../api/types.ts";
import { limits } from "../base/limits.ts";
import type { Finding } from "./sandbox/sandbox.ts";

export interface Machine {
  cpu: number;
  memoryBytes: number;
  /** Free and total bytes where the data directory lies. */
  disk: { freeBytes: number; totalBytes: number };
  /** MemAvailable of the kernel. */
  availableBytes: number;
  machineID: string;
  bootID: string;
  kernel: string;
  osImage: string;
}

export function readMachine(disk: Machine["disk"]): Machine {
  const read = (path: string) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return "";
    }
  };
  const memory = /^MemAvailable:\s+(\d+) kB/m.exec(read("/proc/meminfo"))?.[1];
  return {
    cpu: availableParallelism(),
    memoryBytes: totalmem(),
    disk,
    availableBytes: memory ? Number(memory) * 1024 : totalmem(),
    machineID: read("/etc/machine-id").trim(),
    bootID: read("/proc/sys/kernel/random/boot_id").trim(),
    kernel: release(),
    osImage: /^PRETTY_NAME="?([^"\n]*)/m.exec(read("/etc/os-release"))?.[1] ?? process.platform,
  };
}

// kubelet's default hard eviction thresholds: below them the machine is under pressure.
const pressure = { memoryBytes: 100 * 1024 * 1024, diskShare: 0.1 } as const;
/** How old the report of a condition may grow while nothing changes. */
const reportMs = 5 * 60 * 1000;

/** What pods may ask for of this much memory. */
export const allocatableMemory = (bytes: number): number => Math.floor((bytes - pressure.memoryBytes) / 1024) * 1024;

export interface NodeInput {
  mode: "isolated" | "plain";
  findings: readonly Finding[];
  machine: Machine;
  hostIP: string;
  version: string;
}

const architectures: Record<string, string> = { x64: "amd64", arm64: "arm64" };

/** The Node object as this machine is registered. */
export function newNode(): Pick<Node, "apiVersion" | "kind" | "spec"> & { metadata: { name: string; labels: Record<string, string>; annotations: Record<string, string> } } {
  const arch = architectures[process.arch] ?? process.arch;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: nodeName,
      labels: {
        "beta.kubernetes.io/arch": arch,
        "beta.kubernetes.io/os": process.platform,
        "kubernetes.io/arch": arch,
        "kubernetes.io/hostname": nodeName,
        "kubernetes.io/os": process.platform,
        "node-role.kubernetes.io/control-plane": "",
      },
      annotations: { "wherry.dev/machine": hostname() },
    },
    spec: { podCIDR: "10.244.0.0/16", podCIDRs: ["10.244.0.0/16"] },
  };
}

/** status.conditions: Ready and pressure as kubelet says them, then one for each thing this machine cannot enforce. */
export function nodeConditions(old: readonly Condition[] | undefined, input: NodeInput, nowMs: number): Condition[] {
  const { machine, mode, findings } = input;
  const lowMemory = machine.availableBytes < pressure.memoryBytes;
  const lowDisk = machine.disk.totalBytes > 0 && machine.disk.freeBytes / machine.disk.totalBytes < pressure.diskShare;
  const wanted: Condition[] = [
    lowMemory
      ? { type: "MemoryPressure", status: "True", reason: "KubeletHasInsufficientMemory", message: "kubelet has insufficient memory available" }
      : { type: "MemoryPressure", status: "False", reason: "KubeletHasSufficientMemory", message: "kubelet has sufficient memory available" },
    lowDisk
      ? { type: "DiskPressure", status: "True", reason: "KubeletHasDiskPressure", message: "kubelet has disk pressure" }
      : { type: "DiskPressure", status: "False", reason: "KubeletHasNoDiskPressure", message: "kubelet has no disk pressure" },
    { type: "PIDPressure", status: "False", reason: "KubeletHasSufficientPID", message: "kubelet has sufficient PID available" },
    { type: "Ready", status: "True", reason: "KubeletReady", message: "kubelet is posting ready status" },
    mode === "isolated"
      ? { type: "PodIsolation", status: "True", reason: "Namespaces", message: "every pod has its own network, process and mount namespaces" }
      : { type: "PodIsolation", status: "False", reason: "NamespacesUnavailable", message: "pods are plain processes of this machine; see the other conditions and `wherry doctor`" },
    ...findings.map(({ id, enforced, message, remedy }): Condition => ({ type: conditionType(id), status: enforced ? "True" : "False", reason: enforced ? "Enforced" : "NotEnforced", message: remedy === "" ? message : `${message} Remedy: ${remedy}` })),
  ];
  let conditions = (old ?? []).filter(({ type }) => wanted.some((condition) => condition.type === type)) as Condition[];
  for (const condition of wanted) conditions = withCondition(conditions, condition, nowMs);
  // Kubelet's --node-status-report-frequency: what did not change is said again every five minutes; the Lease beats between.
  const isFresh = ({ lastHeartbeatTime }: Condition) => lastHeartbeatTime !== undefined && nowMs - Date.parse(String(lastHeartbeatTime)) < reportMs;
  return conditions.every(isFresh) ? conditions : conditions.map((condition) => ({ ...condition, lastHeartbeatTime: timestamp(nowMs) }));
}

/** "memory-limits" → "wherry.dev/MemoryLimits". */
export function conditionType(id: string): string {
  return `wherry.dev/${id.split("-").map((word) => word[0]!.toUpperCase() + word.slice(1)).join("")}`;
}

export function nodeStatus(old: Node["status"], input: NodeInput, nowMs: number): NonNullable<Node["status"]> {
  const { machine } = input;
  const kibibytes = (bytes: number) => `${Math.floor(bytes / 1024)}Ki`;
  const capacity = { cpu: String(machine.cpu), memory: kibibytes(machine.memoryBytes), "ephemeral-storage": kibibytes(machine.disk.totalBytes), "hugepages-1Gi": "0", "hugepages-2Mi": "0", pods: String(limits.podsMax) };
  return {
    capacity,
    allocatable: { ...capacity, memory: kibibytes(allocatableMemory(machine.memoryBytes)), "ephemeral-storage": String(Math.floor(machine.disk.totalBytes * (1 - pressure.diskShare))) },
    conditions: nodeConditions(old?.conditions as Condition[] | undefined, input, nowMs) as NonNullable<Node["status"]>["conditions"],
    addresses: [
      { type: "InternalIP", address: input.hostIP },
      { type: "Hostname", address: nodeName },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
    nodeInfo: {
      machineID: machine.machineID,
      systemUUID: machine.machineID,
      bootID: machine.bootID,
      kernelVersion: machine.kernel,
      osImage: machine.osImage,
      containerRuntimeVersion: `wherry://${input.version}`,
      kubeletVersion: kubernetesVersion,
      kubeProxyVersion: kubernetesVersion,
      operatingSystem: process.platform,
      architecture: architectures[process.arch] ?? process.arch,
    },
    runtimeHandlers: [{ name: "" }],
  };
}
