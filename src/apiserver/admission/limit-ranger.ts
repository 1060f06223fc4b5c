import type { KubeObject } from "../../api/meta.ts";
import { type Amounts, amountsOf, podResources, type PodResourcesSpec } from "../../api/pod-resources.ts";
import { compareQuantity, formatQuantity, parseQuantity, type Quantity, quantityMilliValue } from "../../api/quantity.ts";
import { forbiddenError } from "../../api/status.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionRequest, AdmissionStep } from "../rest/context.ts";

interface Limit {
  type: string;
  min?: Record<string, string>;
  max?: Record<string, string>;
  default?: Record<string, string>;
  defaultRequest?: Record<string, string>;
  maxLimitRequestRatio?: Record<string, string>;
}
interface LimitRange {
  spec?: { limits?: Limit[] };
}
interface Container {
  name: string;
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
}

const annotation = "kubernetes.io/limit-ranger";

/** Fills in what a namespace's LimitRanges say, and refuses what lies outside of them. Source: plugin/pkg/admission/limitranger. */
export function limitRanger({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  const limitsIn = (namespace: string | undefined) => (namespace === undefined ? [] : store.range(`/core/limitranges/${namespace}/`).map((entry) => (entry.object as LimitRange).spec?.limits ?? []));
  return {
    name: "LimitRanger",
    mutate(request) {
      const { kind, namespace, object } = request;
      if (!concerns(request) || kind.resource !== "pods") return;
      for (const limits of limitsIn(namespace)) fillIn(object!, limits);
    },
    validate(request) {
      const { kind, namespace, object, name } = request;
      if (!concerns(request)) return;
      for (const limits of limitsIn(namespace)) {
        const errors = kind.resource === "pods" ? podErrors((object!["spec"] ?? {}) as PodResourcesSpec, limits) : claimErrors(object!, limits);
        if (errors.length > 0) throw forbiddenError(kind, object!.metadata.name || name, errors.length === 1 ? errors[0]! : `[${[...new Set(errors)].join(", ")}]`);
      }
    },
  };
}

/** Resources of a pod change by "resize" alone; what is being deleted is left in peace. */
function concerns({ operation, kind, subresource, object, old }: AdmissionRequest): boolean {
  if (kind.group !== "" || !object || old?.metadata.deletionTimestamp) return false;
  if (kind.resource === "pods") return (operation === "CREATE" && subresource === undefined) || (operation === "UPDATE" && subresource === "resize");
  return kind.resource === "persistentvolumeclaims" && subresource === undefined && (operation === "CREATE" || operation === "UPDATE");
}

function fillIn(pod: KubeObject, limits: readonly Limit[]): void {
  const spec = pod["spec"] as { containers?: Container[]; initContainers?: Container[] } | undefined;
  const ofContainers = limits.filter(({ type }) => type === "Container");
  const defaults = { requests: Object.assign({}, ...ofContainers.map(({ defaultRequest }) => defaultRequest)) as Record<string, string>, limits: Object.assign({}, ...ofContainers.map((limit) => limit.default)) as Record<string, string> };
  const notes: string[] = [];
  const fill = (container: Container, what: string) => {
    const set = { limits: [] as string[], requests: [] as string[] };
    for (const part of ["limits", "requests"] as const) {
      for (const [name, quantity] of Object.entries(defaults[part])) {
        if (container.resources?.[part]?.[name] !== undefined) continue;
        container.resources = { ...container.resources, [part]: { ...container.resources?.[part], [name]: quantity } };
        set[part].push(name);
      }
    }
    if (set.requests.length > 0) notes.push(`${set.requests.sort().join(", ")} request for ${what} ${container.name}`);
    if (set.limits.length > 0) notes.push(`${set.limits.sort().join(", ")} limit for ${what} ${container.name}`);
  };
  for (const container of spec?.containers ?? []) fill(container, "container");
  for (const container of spec?.initContainers ?? []) fill(container, "init container");
  if (notes.length > 0) pod.metadata.annotations = { ...pod.metadata.annotations, [annotation]: `LimitRanger plugin set: ${notes.join("; ")}` };
}

function podErrors(spec: PodResourcesSpec, limits: readonly Limit[]): string[] {
  const containers = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  return limits.flatMap((limit) => {
    if (limit.type === "Container") return containers.flatMap(({ resources }) => outside(limit, amountsOf(resources?.requests), amountsOf(resources?.limits)));
    return limit.type === "Pod" ? outside(limit, podResources(spec, "requests"), podResources(spec, "limits")) : [];
  });
}

function claimErrors(claim: KubeObject, limits: readonly Limit[]): string[] {
  const requests = amountsOf((claim["spec"] as { resources?: { requests?: Record<string, unknown> } } | undefined)?.resources?.requests);
  return limits
    .filter(({ type }) => type === "PersistentVolumeClaim")
    .flatMap((limit) => {
      const max = sorted(limit.max).flatMap(([name, text, bound]) => {
        const request = requests[name];
        const rule = `maximum ${name} usage per ${limit.type} is ${text}`;
        return !request ? [`${rule}.  No request is specified`] : compareQuantity(request, bound) > 0 ? [`${rule}, but request is ${formatQuantity(request)}`] : [];
      });
      return [...outside({ type: limit.type, ...(limit.min && { min: limit.min }) }, requests, {}), ...max];
    });
}

const sorted = (list: Record<string, string> | undefined): [name: string, text: string, quantity: Quantity][] =>
  Object.entries(list ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => [name, formatQuantity(parseQuantity(String(value))), parseQuantity(String(value))]);

/** What is wrong by one limit, in upstream's words. */
function outside({ type, min, max, maxLimitRequestRatio }: Limit, requests: Amounts, limits: Amounts): string[] {
  const errors: string[] = [];
  for (const [name, text, bound] of sorted(min)) {
    const [request, limit] = [requests[name], limits[name]];
    const rule = `minimum ${name} usage per ${type} is ${text}`;
    if (!request) errors.push(`${rule}.  No request is specified`);
    else if (compareQuantity(request, bound) < 0) errors.push(`${rule}, but request is ${formatQuantity(request)}`);
    else if (limit && compareQuantity(limit, bound) < 0) errors.push(`${rule}, but limit is ${formatQuantity(limit)}`);
  }
  for (const [name, text, bound] of sorted(max)) {
    const [request, limit] = [requests[name], limits[name]];
    const rule = `maximum ${name} usage per ${type} is ${text}`;
    if (!limit) errors.push(`${rule}.  No limit is specified`);
    else if (compareQuantity(limit, bound) > 0) errors.push(`${rule}, but limit is ${formatQuantity(limit)}`);
    else if (request && compareQuantity(request, bound) > 0) errors.push(`${rule}, but request is ${formatQuantity(request)}`);
  }
  for (const [name, text, bound] of sorted(maxLimitRequestRatio)) {
    const [request, limit] = [requests[name] ? quantityMilliValue(requests[name]) : 0, limits[name] ? quantityMilliValue(limits[name]) : 0];
    const rule = `${name} max limit to request ratio per ${type} is ${text}`;
    if (request === 0) errors.push(`${rule}, but no request is specified or request is 0`);
    else if (limit === 0) errors.push(`${rule}, but no limit is specified or limit is 0`);
    else if ((limit / request) * 1000 > quantityMilliValue(bound)) errors.push(`${rule}, but provided ratio is ${(limit / request).toFixed(6)}`);
  }
  return errors;
}
