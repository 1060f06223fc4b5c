import type { Readable, Writable } from "node:stream";
import type { GuardedPod, NetworkNamespace } from "../../api/network.ts";

/**
 * Where pods run. Two implementations of one interface: `isolated.ts` (namespaces, real pod IPs) and `plain.ts`
 * (host processes with a preload). The agent above knows pods, containers and probes; a sandbox knows
 * processes, mounts, users and addresses, and nothing of the Kubernetes API.
 */
export interface Sandbox {
  readonly mode: "isolated" | "plain";
  readonly network: NetworkNamespace;
  /** What this machine cannot enforce, why, and the one command that would lift it. For doctor, conditions, docs. */
  readonly findings: readonly Finding[];
  /**
   * Once started: a folder in memory, where the machine has one, that is empty at first and gone at the end. For small
   * files that no restart needs and the disk need not see, such as tokens.
   */
  readonly scratch: string;
  /** Settles, before anything is started, where Services get their addresses ("10.96.") and where the pod network's gateway is. */
  reserve(): Promise<{ serviceNetwork: string; gatewayIP: string }>;
  start(): Promise<void>;
  /** Ends every process it started; idempotent. */
  stop(deadline: AbortSignal): Promise<void>;
  createPod(spec: PodSandboxSpec): Promise<PodSandbox>;
  /** Has other pods refused that dial these by their own addresses; replaces what was told before. Absent where that cannot be had. */
  guard?(pods: readonly GuardedPod[]): Promise<void>;
}

export interface Finding {
  /** "memory-limits", "seccomp", "namespaces": stable, for conditions and docs. */
  id: string;
  enforced: boolean;
  /** One sentence for people. */
  message: string;
  /** A command or step that would change it; empty when there is none. */
  remedy: string;
}

export interface PodSandboxSpec {
  uid: string;
  namespace: string;
  name: string;
  hostname: string;
  /** Folder of this pod below the data directory; the sandbox may use `<dir>/sandbox`. */
  dir: string;
  /** The host uid to run as when Wherry is root: sticky per namespace, workload and ordinal, chosen by the agent. */
  hostUid: number;
  /** Groups of every container besides its own: the number in the pod, and the machine's, in isolated mode as root. */
  groups?: readonly { inside: number; host: number }[];
  /** All containers live among one set of processes, whose PID 1 is none of theirs. Plain mode has no such walls. */
  shareProcesses?: boolean;
  /**
   * Volumes in memory that all containers share: containers bind `path`, a folder of this machine that stays empty on it.
   * `group`: the machine's group that shares it. Isolated mode only.
   */
  memoryVolumes?: readonly { path: string; sizeBytes?: number; group?: number }[];
  /** Lines of /etc/hosts beyond the pod's own, and resolv.conf. */
  hostAliases: readonly { ip: string; hostnames: readonly string[] }[];
  dns: { nameservers: readonly string[]; searches: readonly string[]; options: readonly string[] };
}

/** A connection from another pod: its address and port, and the pod's own port. */
export interface DirectConnection {
  from: string;
  fromPort: number;
  port: number;
}

export interface PodSandbox {
  readonly ip: string;
  startContainer(spec: ContainerSpec): Promise<ContainerProcess>;
  /**
   * Has connections wait that other pods begin to these ports by the pod's own address, as they do behind a headless Service,
   * until it is told none: their first packets are dropped, and sent again a second later. What the pod itself begins goes on,
   * and so do the connections named as passing. Absent where that cannot be had.
   */
  hold?(ports: ReadonlySet<number>, passing?: readonly DirectConnection[]): Promise<void>;
  /** Kills what is left and frees address, links, cgroup. Idempotent. */
  remove(): Promise<void>;
}

export interface ContainerSpec {
  name: string;
  /** Program and arguments, looked up in the pod's PATH. */
  argv: readonly string[];
  /** The whole environment: image, spec, service variables, PATH. */
  env: Readonly<Record<string, string>>;
  workingDir: string;
  /** User inside the pod; the names and ids that /etc/passwd and /etc/group shall know. */
  uid: number;
  gid: number;
  userName: string;
  homeDir: string;
  /** The pod names this user itself (runAsUser). Plain mode, which may have one user only, then refuses; an image's USER it ignores. */
  explicitUser?: boolean;
  mounts: readonly Mount[];
  readOnlyRoot: boolean;
  /** cpuRequestMillis: its weight where CPU is short, beside the other containers'. */
  limits: { memoryBytes?: number; cpuMillis?: number; cpuRequestMillis?: number; pidsMax?: number };
  /** Keep stdin open as a pipe (spec.stdin), or give /dev/null. */
  stdin: boolean;
  /** A terminal for the main program (spec.tty). */
  tty: boolean;
  /** The container of the pod whose processes this one sees and may signal, and with which it ends. Plain mode has no such walls. */
  processesOf?: string;
}

export interface Mount {
  /** Path in the pod. */
  target: string;
  readOnly: boolean;
  /**
   * bind: a host folder or file. The agent has opened `source` step by step without following links;
   * `identity` is its "dev:ino", which the stage compares after mounting.
   * tmpfs: memory, with a size.
   */
  kind: "bind" | "tmpfs";
  source?: string;
  identity?: string;
  sizeBytes?: number;
}

export interface ContainerProcess {
  /** Host pid of the container's init, checked by start time before each signal. */
  readonly pid: number;
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  /** The same stream as stdout when tty. */
  readonly stderr: Readable;
  /** Exit code as a container runtime reports it: 0–255, 128+n for signal n. */
  readonly exited: Promise<ContainerExit>;
  /** To the main program's init only; never a group, never pid ≤ 1. No-op after exit. */
  signal(signal: NodeJS.Signals): void;
  exec(spec: ExecSpec): Promise<ExecProcess>;
  /** CPU nanoseconds used and anonymous memory in bytes of everything in the container. */
  usage(): Promise<{ cpuNs: number; memoryBytes: number }>;
  /** The CPU quota, and the weight of what was asked for, begin at first Ready, so that a 100m service does not take ten seconds to start. */
  applyCpuLimit(): void;
  /** Other limits for what runs, at once (the CPU quota once it has begun). Throws where the kernel refuses; then nothing of memory changed. */
  setLimits(limits: Omit<ContainerSpec["limits"], "pidsMax">): void;
  resize(columns: number, rows: number): void;
}

export interface ContainerExit {
  exitCode: number;
  /** Signal number that ended it, when one did. */
  signal?: number;
  oomKilled: boolean;
}

export interface ExecSpec {
  argv: readonly string[];
  env?: Readonly<Record<string, string>>;
  stdin: boolean;
  tty: boolean;
  /** A hook or probe written in the manifest, not a client's wish: plain mode runs it as a child, and refuses others. */
  fromManifest?: boolean;
}
export interface ExecProcess {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<number>;
  resize(columns: number, rows: number): void;
  kill(): void;
}

/** The pod cannot run here as written; becomes an Event and a waiting reason. Nothing was started. */
export class SandboxRefusal extends Error {
  /** "CreateContainerConfigError", "RunContainerError", … as kubelet names them. */
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.name = "SandboxRefusal";
    this.reason = reason;
  }
}
