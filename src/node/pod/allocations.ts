import { availableParallelism, totalmem } from "node:os";
import { podResources, type PodResourcesSpec } from "../../api/pod-resources.ts";
import { quantityMilliValue, quantityValue, formatQuantity } from "../../api/quantity.ts";
import type { Pod } from "../../api/types.ts";
import { allocatableMemory } from "../node-object.ts";

export interface Amount {
  cpuMillis: number;
  memoryBytes: number;
}

/** A pod as its node sees it. */
export interface Tenant {
  readonly uid: string;
  /** With the resources that it was given, whatever it asks for. */
  readonly allocated: Pod;
  /** Since when it waits for more; undefined: it does not. */
  readonly waitsSinceMs: number | undefined;
  /** The pod as it asks to be. */
  readonly desired: Pod;
  /** Room has become free. */
  retry(): void;
}

/** Why a pod cannot have what it asks for: never here, or not while the others are here. */
export interface Shortage {
  reason: "Infeasible" | "Deferred";
  message: string;
}

/**
 * What the pods of this node were given, and whether one of them can have more. One for the node.
 * Source: k8s.io/kubernetes/pkg/kubelet/allocation/allocation_manager.go.
 */
export class NodeAllocations {
  readonly #capacity: Amount;
  readonly #tenants = new Map<string, Tenant>();

  constructor(capacity: Amount = { cpuMillis: availableParallelism() * 1000, memoryBytes: allocatableMemory(totalmem()) }) {
    this.#capacity = capacity;
  }

  enter(tenant: Tenant): void {
    this.#tenants.set(tenant.uid, tenant);
  }
  /** The pod has ended: what it had is free. */
  leave(uid: string): void {
    if (this.#tenants.delete(uid)) this.freed();
  }

  /** The node stops: what becomes free now is nobody's. */
  close(): void {
    this.#tenants.clear();
  }

  /** Undefined: it fits. */
  judge(desired: Pod): Shortage | undefined {
    const capacity = this.#capacity;
    const wanted = requestsOf(desired);
    if (wanted.memoryBytes > capacity.memoryBytes) return { reason: "Infeasible", message: `Node didn't have enough capacity: memory, requested: ${wanted.memoryBytes}, capacity: ${capacity.memoryBytes}` };
    if (wanted.cpuMillis > capacity.cpuMillis) return { reason: "Infeasible", message: `Node didn't have enough capacity: cpu, requested: ${wanted.cpuMillis}, capacity: ${capacity.cpuMillis}` };
    const used: Amount = { cpuMillis: 0, memoryBytes: 0 };
    for (const { uid, allocated } of this.#tenants.values()) {
      if (uid === desired.metadata.uid) continue;
      const requests = requestsOf(allocated);
      used.cpuMillis += requests.cpuMillis;
      used.memoryBytes += requests.memoryBytes;
    }
    for (const [name, field] of [["cpu", "cpuMillis"], ["memory", "memoryBytes"]] as const) {
      if (wanted[field] > 0 && used[field] + wanted[field] > capacity[field]) return { reason: "Deferred", message: `Node didn't have enough resource: ${name}, requested: ${wanted[field]}, used: ${used[field]}, capacity: ${capacity[field]}` };
    }
    return undefined;
  }

  /** Something was given back: those that wait are asked again, the most important first. */
  freed(): void {
    const waiting = [...this.#tenants.values()].filter(({ waitsSinceMs }) => waitsSinceMs !== undefined);
    const more = new Map(waiting.map((tenant) => [tenant, isMore(requestsOf(tenant.desired), requestsOf(tenant.allocated))]));
    const guaranteed = ({ desired }: Tenant) => desired.status?.qosClass === "Guaranteed";
    waiting.sort((a, b) => Number(more.get(a)) - Number(more.get(b)) || (b.desired.spec!.priority ?? 0) - (a.desired.spec!.priority ?? 0) || Number(guaranteed(b)) - Number(guaranteed(a)) || a.waitsSinceMs! - b.waitsSinceMs!);
    for (const tenant of waiting) tenant.retry();
  }
}

const isMore = (a: Amount, b: Amount): boolean => a.cpuMillis > b.cpuMillis || a.memoryBytes > b.memoryBytes;

export function requestsOf(pod: Pod): Amount {
  const { cpu, memory } = podResources(pod.spec as PodResourcesSpec, "requests", { overhead: true });
  return { cpuMillis: cpu ? quantityMilliValue(formatQuantity(cpu)) : 0, memoryBytes: memory ? quantityValue(formatQuantity(memory)) : 0 };
}
