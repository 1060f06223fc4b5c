import { addQuantity, compareQuantity, parseQuantity, type Quantity } from "./quantity.ts";

/** Amounts by resource name: "cpu", "memory", extended ones. */
export type Amounts = Record<string, Quantity>;

interface ResourcesOf {
  name?: string;
  resources?: { requests?: Record<string, unknown>; limits?: Record<string, unknown> };
  restartPolicy?: string;
}
export interface PodResourcesSpec extends ResourcesOf {
  containers?: ResourcesOf[];
  initContainers?: ResourcesOf[];
  overhead?: Record<string, unknown>;
}

/** What the node says of a pod: what it gave its containers, and whether it can give what they now ask for. */
export interface PodResourcesStatus {
  conditions?: { type: string; reason?: string }[];
  containerStatuses?: ContainerResources[];
  initContainerStatuses?: ContainerResources[];
}
interface ContainerResources {
  name: string;
  allocatedResources?: Record<string, unknown>;
  resources?: { requests?: Record<string, unknown>; limits?: Record<string, unknown> };
}

export const amountsOf = (list: Record<string, unknown> | undefined): Amounts => Object.fromEntries(Object.entries(list ?? {}).map(([name, value]) => [name, parseQuantity(String(value))]));

export function addAmounts(into: Amounts, more: Amounts): Amounts {
  for (const [name, quantity] of Object.entries(more)) into[name] = into[name] ? addQuantity(into[name], quantity) : quantity;
  return into;
}
function raise(into: Amounts, least: Amounts): Amounts {
  for (const [name, quantity] of Object.entries(least)) if (!into[name] || compareQuantity(into[name], quantity) < 0) into[name] = quantity;
  return into;
}

/**
 * What a pod asks for, or may take: the sum of its containers and sidecars, or what one init container needs beside
 * the sidecars that were started before it, whichever is more. What the pod states as a whole goes before the sum.
 * While a pod is resized, `status` counts too: the most of what is asked for, promised and had; what its node will never
 * have does not count as asked for.
 * Source: k8s.io/component-helpers/resource/helpers.go.
 */
export function podResources(spec: PodResourcesSpec, of: "requests" | "limits", { overhead = false, status }: { overhead?: boolean; status?: PodResourcesStatus } = {}): Amounts {
  const infeasible = status?.conditions?.find(({ type }) => type === "PodResizePending")?.reason === "Infeasible";
  const said = new Map([...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])].map((found) => [found.name, found]));
  const amounts = (container: ResourcesOf, resizable = true) => {
    const asked = amountsOf(container.resources?.[of]);
    const has = resizable ? said.get(container.name ?? "") : undefined;
    if (!has?.resources) return asked;
    return raise(raise(infeasible ? {} : asked, amountsOf(has.resources[of])), of === "requests" ? amountsOf(has.allocatedResources) : {});
  };
  const total: Amounts = {};
  for (const container of spec.containers ?? []) addAmounts(total, amounts(container));
  const sidecars: Amounts = {};
  const starting: Amounts = {};
  for (const container of spec.initContainers ?? []) {
    if (container.restartPolicy === "Always") {
      addAmounts(total, amounts(container));
      addAmounts(sidecars, amounts(container));
      raise(starting, sidecars);
    } else raise(starting, addAmounts({ ...sidecars }, amounts(container, false)));
  }
  raise(total, starting);
  for (const [name, quantity] of Object.entries(amountsOf(spec.resources?.[of]))) if (name === "cpu" || name === "memory" || name.startsWith("hugepages-")) total[name] = quantity;
  // Overhead adds to a limit, and makes none.
  if (overhead) for (const [name, quantity] of Object.entries(amountsOf(spec.overhead))) if (of === "requests" || total[name]) addAmounts(total, { [name]: quantity });
  return total;
}
