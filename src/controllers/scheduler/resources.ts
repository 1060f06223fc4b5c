import { addQuantity, compareQuantity, parseQuantity, type Quantity } from "../../api/quantity.ts";
import type { Container, Node, Pod } from "../../api/types.ts";

/** Amounts by resource name: "cpu", "memory", "ephemeral-storage", extended ones. */
export type Amounts = Map<string, Quantity>;

export function add(into: Amounts, more: Iterable<readonly [string, Quantity]>): Amounts {
  for (const [name, quantity] of more) into.set(name, into.has(name) ? addQuantity(into.get(name)!, quantity) : quantity);
  return into;
}
function raise(into: Amounts, least: Amounts): Amounts {
  for (const [name, quantity] of least) if (!into.has(name) || compareQuantity(into.get(name)!, quantity) < 0) into.set(name, quantity);
  return into;
}
const amounts = (list: Record<string, unknown> | undefined): Amounts => new Map(Object.entries(list ?? {}).map(([name, value]) => [name, parseQuantity(String(value))]));
const requestsOf = (container: Container): Amounts => amounts(container.resources?.requests as Record<string, unknown> | undefined);

const remembered = new WeakMap<object, Amounts>();

/**
 * What a pod asks for: the sum of its containers and sidecars, or what one init container needs beside the sidecars
 * started before it, whichever is more; plus overhead. Requests of the pod as a whole go before the sum.
 * Source: k8s.io/component-helpers/resource/helpers.go.
 */
export function podRequests(pod: Pod): Amounts {
  const spec = pod.spec as object | undefined;
  const known = spec && remembered.get(spec);
  if (known) return known;
  const total: Amounts = new Map();
  for (const container of (pod.spec?.containers ?? []) as Container[]) add(total, requestsOf(container));
  const sidecars: Amounts = new Map();
  const starting: Amounts = new Map();
  for (const container of (pod.spec?.initContainers ?? []) as Container[]) {
    if (container.restartPolicy === "Always") {
      add(total, requestsOf(container));
      add(sidecars, requestsOf(container));
      raise(starting, sidecars);
    } else raise(starting, add(new Map(sidecars), requestsOf(container)));
  }
  raise(total, starting);
  for (const [name, quantity] of amounts((pod.spec as { resources?: { requests?: Record<string, unknown> } } | undefined)?.resources?.requests)) total.set(name, quantity);
  add(total, amounts(pod.spec?.overhead as Record<string, unknown> | undefined));
  if (spec) remembered.set(spec, total);
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
