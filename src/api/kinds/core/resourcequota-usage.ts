import type { KubeObject } from "../../meta.ts";
import { type Amounts, amountsOf, podResources, type PodResourcesSpec, type PodResourcesStatus } from "../../pod-resources.ts";
import { addQuantity, compareQuantity, formatQuantity, parseQuantity, type Quantity, roundUpQuantity, subtractQuantity } from "../../quantity.ts";
import { labelSelectorOf } from "../../selectors.ts";
import { qosClass } from "./pod/qos.ts";

/**
 * What an object counts for under a ResourceQuota: the admission step that limits and the controller that reports
 * both go by this. Source: k8s.io/kubernetes/pkg/quota/v1/evaluator/core, k8s.io/apiserver/pkg/quota/v1/generic.
 */
export interface ResourceQuota extends KubeObject {
  spec?: QuotaSpec;
  status?: { hard?: Record<string, string>; used?: Record<string, string> };
}
export interface QuotaSpec {
  hard?: Record<string, string>;
  scopes?: string[];
  scopeSelector?: { matchExpressions?: ScopeRequirement[] };
}
export interface ScopeRequirement {
  scopeName: string;
  operator: string;
  values?: string[];
}
export interface ResourceName {
  group: string;
  resource: string;
}

const one: Quantity = parseQuantity("1");
const none: Quantity = parseQuantity("0");
const count = (number: number): Quantity => parseQuantity(String(number));

/** "count/deployments.apps", "count/pods" */
export const countName = ({ group, resource }: ResourceName): string => `count/${resource}${group && `.${group}`}`;

/** Kinds that may be limited by their bare name as well, from the time before "count/". */
const bareNames = new Set(["configmaps", "resourcequotas", "replicationcontrollers", "secrets"]);

/** How a kind is measured; kinds without a line are counted. */
interface Measure {
  usage(object: KubeObject): Amounts;
  /** Which names of a quota it can use up. */
  covers(name: string): boolean;
  scope?(object: KubeObject, requirement: ScopeRequirement): boolean;
  /** What an update can change; without it only creations count. */
  changes?(object: KubeObject, old: KubeObject): boolean;
}

const computeNames = new Set(["pods", "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage"]);
/** Extended resources: a quota names them with "requests." before, and they have a domain. */
const isExtendedRequest = (name: string): boolean => name.startsWith("requests.") && name.includes("/") && !/^requests\.([^/]*\.)?kubernetes\.io\//.test(name);

const pods: Measure = {
  usage(pod) {
    const phase = (pod["status"] as { phase?: string } | undefined)?.phase;
    if (phase === "Failed" || phase === "Succeeded") return {};
    const spec = (pod["spec"] ?? {}) as PodResourcesSpec;
    const options = { overhead: true, status: (pod["status"] ?? {}) as PodResourcesStatus };
    return computeUsage(podResources(spec, "requests", options), podResources(spec, "limits", options));
  },
  covers: (name) => computeNames.has(name) || name.startsWith("hugepages-") || name.startsWith("requests.hugepages-") || isExtendedRequest(name),
  scope(pod, requirement) {
    switch (requirement.scopeName) {
      case "Terminating":
        return isTerminating(pod);
      case "NotTerminating":
        return !isTerminating(pod);
      case "BestEffort":
        return qosClass(pod) === "BestEffort";
      case "NotBestEffort":
        return qosClass(pod) !== "BestEffort";
      case "PriorityClass": {
        const name = (pod["spec"] as { priorityClassName?: string } | undefined)?.priorityClassName;
        return isSelected(requirement, name ? [name] : []);
      }
      case "CrossNamespacePodAffinity":
        return usesOtherNamespaces(pod);
      default:
        return false;
    }
  },
  changes: (pod, old) => isTerminating(pod) !== isTerminating(old) || JSON.stringify(resourcesIn(pod)) !== JSON.stringify(resourcesIn(old)),
};

const resourcesIn = (pod: KubeObject): unknown => {
  const spec = (pod["spec"] ?? {}) as PodResourcesSpec;
  return [spec.resources, [...(spec.containers ?? []), ...(spec.initContainers ?? [])].map(({ resources }) => resources)];
};

/** Of a pod or of one container: cpu counts as "cpu" and as "requests.cpu". */
function computeUsage(requests: Amounts, limits: Amounts): Amounts {
  const usage: Amounts = { pods: one };
  for (const [name, quantity] of Object.entries(requests)) {
    if (!name.includes("/")) usage[name] = quantity;
    usage[`requests.${name}`] = quantity;
  }
  for (const name of ["cpu", "memory", "ephemeral-storage"]) if (limits[name]) usage[`limits.${name}`] = limits[name];
  return usage;
}

const isTerminating = (pod: KubeObject): boolean => ((pod["spec"] as { activeDeadlineSeconds?: number } | undefined)?.activeDeadlineSeconds ?? -1) >= 0;

function usesOtherNamespaces(pod: KubeObject): boolean {
  type Term = { namespaces?: string[]; namespaceSelector?: object };
  type Terms = { requiredDuringSchedulingIgnoredDuringExecution?: Term[]; preferredDuringSchedulingIgnoredDuringExecution?: { podAffinityTerm: Term }[] };
  const affinity = (pod["spec"] as { affinity?: { podAffinity?: Terms; podAntiAffinity?: Terms } } | undefined)?.affinity;
  return [affinity?.podAffinity, affinity?.podAntiAffinity]
    .flatMap((terms) => [...(terms?.requiredDuringSchedulingIgnoredDuringExecution ?? []), ...(terms?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(({ podAffinityTerm }) => podAffinityTerm)])
    .some((term) => (term.namespaces?.length ?? 0) > 0 || term.namespaceSelector !== undefined);
}

function isSelected({ scopeName, operator, values }: ScopeRequirement, names: readonly string[]): boolean {
  if (operator === "Exists") return names.length > 0;
  const selector = labelSelectorOf({ matchExpressions: [{ key: scopeName, operator, ...(values && { values }) }] });
  return names.length === 0 ? (selector?.matches({}) ?? false) : names.some((name) => selector?.matches({ [scopeName]: name }) ?? false);
}

const services: Measure = {
  usage({ spec }) {
    const { type, ports = [], allocateLoadBalancerNodePorts } = (spec ?? {}) as { type?: string; ports?: { nodePort?: number }[]; allocateLoadBalancerNodePorts?: boolean };
    const intended = type === "NodePort" || (type === "LoadBalancer" && allocateLoadBalancerNodePorts !== false);
    const nodePorts = intended ? ports.length : type === "LoadBalancer" ? ports.filter(({ nodePort }) => nodePort).length : 0;
    return { services: one, "services.nodeports": count(nodePorts), "services.loadbalancers": type === "LoadBalancer" ? one : none };
  },
  covers: (name) => name === "services" || name === "services.nodeports" || name === "services.loadbalancers",
  changes: () => true,
};

const classInfix = ".storageclass.storage.k8s.io/";
const claims: Measure = {
  usage({ spec, status, metadata }) {
    const { storageClassName, resources, } = (spec ?? {}) as { storageClassName?: string; resources?: { requests?: Record<string, unknown> } };
    const className = metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] ?? storageClassName;
    const usage: Amounts = { persistentvolumeclaims: one };
    if (className) usage[`${className}${classInfix}persistentvolumeclaims`] = one;
    const asked = amountsOf(resources?.requests)["storage"];
    if (!asked) return usage;
    const allocated = amountsOf((status as { allocatedResources?: Record<string, unknown> } | undefined)?.allocatedResources)["storage"];
    const storage = roundUpQuantity(allocated && compareQuantity(allocated, asked) > 0 ? allocated : asked, 0);
    usage["requests.storage"] = storage;
    if (className) usage[`${className}${classInfix}requests.storage`] = storage;
    return usage;
  },
  covers: (name) => name === "persistentvolumeclaims" || name === "requests.storage" || name.endsWith(`${classInfix}persistentvolumeclaims`) || name.endsWith(`${classInfix}requests.storage`),
  scope(claim, requirement) {
    if (requirement.scopeName !== "VolumeAttributesClass") return false;
    const name = (claim["spec"] as { volumeAttributesClassName?: string } | undefined)?.volumeAttributesClassName;
    return isSelected(requirement, name ? [name] : []);
  },
  changes: () => true,
};

const measures: Record<string, Measure> = { pods, services, persistentvolumeclaims: claims };
const measureOf = ({ group, resource }: ResourceName): Measure | undefined => (group === "" ? measures[resource] : undefined);
const isBare = ({ group, resource }: ResourceName): boolean => group === "" && bareNames.has(resource);

/** Of the names in `hard`, those that objects of this kind use up. */
export function coveredNames(kind: ResourceName, hard: Readonly<Record<string, unknown>>): string[] {
  const measure = measureOf(kind);
  const counted = countName(kind);
  return Object.keys(hard).filter((name) => name === counted || (isBare(kind) && name === kind.resource) || measure?.covers(name));
}

export function usageOf(kind: ResourceName, object: KubeObject): Amounts {
  return { [countName(kind)]: one, ...(isBare(kind) && { [kind.resource]: one }), ...measureOf(kind)?.usage(object) };
}

/** Whether the object is among those the quota is for. */
export function isInScope({ scopes, scopeSelector }: QuotaSpec, kind: ResourceName, object: KubeObject): boolean {
  const requirements = [...(scopes ?? []).map((scopeName) => ({ scopeName, operator: "Exists" })), ...(scopeSelector?.matchExpressions ?? [])];
  return requirements.every((requirement) => measureOf(kind)?.scope?.(object, requirement) ?? false);
}

/** Whether an update can use more than was used before. */
export const updateCounts = (kind: ResourceName, object: KubeObject, old: KubeObject): boolean => measureOf(kind)?.changes?.(object, old) ?? false;

const mustBeStated = new Set(["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"]);

/** What a quota on CPU or memory asks every container to state: "must specify limits.cpu for: app". Undefined: nothing is missing. */
export function unstated(kind: ResourceName, pod: KubeObject, names: readonly string[]): string | undefined {
  if (kind.group !== "" || kind.resource !== "pods") return undefined;
  const spec = (pod["spec"] ?? {}) as PodResourcesSpec & { containers?: { name: string }[]; initContainers?: { name: string }[] };
  if (spec.resources && (Object.keys(spec.resources.requests ?? {}).length > 0 || Object.keys(spec.resources.limits ?? {}).length > 0)) return undefined;
  const missing = new Map<string, Set<string>>();
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])] as { name: string; resources?: PodResourcesSpec["resources"] }[]) {
    const stated = computeUsage(amountsOf(container.resources?.requests), amountsOf(container.resources?.limits));
    for (const name of names) if (mustBeStated.has(name) && !stated[name]) missing.set(name, (missing.get(name) ?? new Set()).add(container.name));
  }
  if (missing.size === 0) return undefined;
  return `must specify ${[...missing.keys()].sort().map((name) => `${name} for: ${[...missing.get(name)!].sort().join(",")}`).join("; ")}`;
}

export function add(into: Amounts, more: Amounts, names: readonly string[]): void {
  for (const name of names) if (more[name]) into[name] = addQuantity(into[name] ?? none, more[name]);
}
export function subtract(from: Amounts, less: Amounts, names: readonly string[]): void {
  for (const name of names) if (less[name]) from[name] = subtractQuantity(from[name] ?? none, less[name]);
}

/** As status.used says it: every name of `hard`, in canonical form. */
export const formatUsage = (used: Amounts, names: readonly string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, formatQuantity(used[name] ?? none)]));
/** "pods=1,requests.cpu=2" */
export const printUsage = (used: Amounts, names: readonly string[]): string => [...names].sort().map((name) => `${name}=${formatQuantity(used[name] ?? none)}`).join(",");
