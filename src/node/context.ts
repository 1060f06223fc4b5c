import type { Client } from "../api/client.ts";
import type { PodNetwork } from "../api/network.ts";
import type { ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service } from "../api/types.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Debuggers } from "./debug/debuggers.ts";
import type { ImageStore } from "./images/image.ts";
import type { Pause } from "./pause.ts";
import type { NodeAllocations } from "./pod/allocations.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";
import type { ClusterTrustBundle } from "./volumes/trust-bundle.ts";

/** What every part of the agent works with; made once in `agent.ts`. */
export interface NodeContext {
  readonly client: Client;
  readonly sandbox: Sandbox;
  readonly network: Pick<PodNetwork, "probe" | "setReady" | "settled" | "setPod">;
  readonly clock: Clock;
  /** For backups; absent: nothing ever pauses. */
  readonly pause?: Pause;
  /** Absent: no program listens for a debugger. */
  readonly debuggers?: Debuggers;
  readonly log: Log;
  readonly objects: Objects;
  readonly images: ImageStore;
  readonly uids: Uids;
  readonly allocations: NodeAllocations;
  readonly dataDir: string;
  /** The node's InternalIP, as pods' status.hostIP shows it. */
  readonly hostIP: string;
  /** Folders below which hostPath volumes may lie. */
  readonly hostPathRoots: readonly string[];
  /** Files are given to the pod's uid only when Wherry is root. */
  readonly root: boolean;
  event(pod: Pod, type: "Normal" | "Warning", reason: string, message: string, container?: string): void;
}

/**
 * The objects that pods refer to. A get goes to the API, so that a pod sees what was written before it; undefined
 * means that the object does not exist.
 */
export interface Objects {
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<Secret | undefined>;
  claim(namespace: string, name: string): Promise<PersistentVolumeClaim | undefined>;
  volume(name: string): Promise<PersistentVolume | undefined>;
  /** All of the cluster: they are few. */
  trustBundles(): Promise<ClusterTrustBundle[]>;
  /** From the informer: service variables may be as old as it is. */
  services(namespace: string): Service[];
}

/** Which uid of the machine a pod runs as. */
export interface Uids {
  acquire(pod: Pod): number;
  /** The machine's group that stands for `gid` in all pods of its namespace. Given back with the last of its pods. */
  group(pod: Pod, gid: number): number;
  release(pod: Pod): void;
}

/** A reason not to start a container now, in kubelet's words; the agent tries again later. */
export class ContainerError extends Error {
  /** "CreateContainerConfigError", "ErrImagePull", "RunContainerError", … */
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.name = "ContainerError";
    this.reason = reason;
  }
}

/** `name_namespace(uid)`, as kubelet's messages name a pod. */
export function formatPod(pod: Pod): string {
  return `${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})`;
}
