import { podResources, type PodResourcesSpec, type PodResourcesStatus } from "../../api/pod-resources.ts";
import { addQuantity, compareQuantity, parseQuantity, type Quantity } from "../../api/quantity.ts";
import type { Node, Pod } from "../../api/types.ts";

/** Amounts by resource name: "cpu", "memory", "ephemeral-storage", extended ones. */
export type Amounts = Map<string, Quantity>;

export function add(into: Amounts, more: Iterable<readonly [string, Quantity]>): Amounts {
  for (const [name, quantity] of more) into.set(name, into.has(name) ? addQuantity(into.get(name)!, quantity) : quantity);
  return into;
}
const amounts = (list: Record<string, unknown> | undefined): Amounts => new Map(Object.entries(list ?? {}).map(([name, value]) => [name, parseQuantity(String(value))]));

const remembered = new WeakMap<Pod, Amounts>();

/** What a pod takes of its node; of one that is being resized, the most of what it asks for and what it has. */
export function podRequests(pod: Pod): Amounts {
  const known = remembered.get(pod);
  if (known) return known;
  const total: Amounts = new Map(Object.entries(podResources((pod.spec ?? {}) as PodResourcesSpec, "requests", { overhead: true, ...(pod.status && { status: pod.status as PodResourcesStatus }) })));
  remembered.set(pod, total);
  return total;
}

/** Resources that would not suffice, in upstream's order: cpu, memory, ephemeral storage, then others. */
export function lacking(pod: Pod, node: Node, used: Amounts): string[] {
  const allocatable = amounts(node.status?.allocatable as Record<string, unknown> | undefined);
  const order = ["cpu", "memory", "ephemeral-storage"];
  const rank = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length);
  return [...podRequests(pod)]
    .filter(([name, wanted]) => wanted.amount > 0n && compareQuantity(add(new Map(used), [[name, wanted]]).get(name)!, allocatable.get(name) ?? parseQuantity("0")) > 0)
    .map(([name]) => name)
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}
