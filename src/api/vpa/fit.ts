import type { Pod } from "../types.ts";
import { amountsOf, type Sizes, sizesOf } from "./amounts.ts";
import { type Amounts, type ContainerRecommendation, policyOf, type ResourceName, resourceNames, type VerticalPodAutoscaler } from "./types.ts";

/** What a namespace's LimitRanges allow, all together. */
export interface Bounds {
  container?: Bound;
  pod?: Bound;
}
interface Bound {
  min: Sizes;
  max: Sizes;
  /** Limits of containers that have none. */
  default: Sizes;
}

/** A recommendation as it can be for one pod. */
export interface Fitted {
  target: Sizes;
  lowerBound: Sizes;
  upperBound: Sizes;
  /** "cpu capped to maxAllowed" */
  notes: string[];
}

export interface ContainerSizes {
  /** Index in spec.containers. */
  index: number;
  requests: Amounts;
  limits: Amounts;
  notes: string[];
}

/** The lowest of all maxima, the highest of all minima. Source: utils/limitrange/limit_range_calculator.go. */
export function boundsOf(ranges: readonly { spec?: { limits?: { type: string; min?: object; max?: object; default?: object }[] } }[]): Bounds {
  const bounds: Bounds = {};
  for (const { type, ...item } of ranges.flatMap(({ spec }) => spec?.limits ?? [])) {
    if (type !== "Container" && type !== "Pod") continue;
    const bound = (bounds[type === "Pod" ? "pod" : "container"] ??= { min: {}, max: {}, default: {} });
    for (const name of resourceNames) {
      const [min, max, standard] = [item.min, item.max, item.default].map((list) => sizesOf(list as Record<string, unknown>)[name]);
      if (min !== undefined) bound.min[name] = Math.max(bound.min[name] ?? 0, min);
      if (max !== undefined) bound.max[name] = Math.min(bound.max[name] ?? Infinity, max);
      if (standard !== undefined) bound.default[name] = Math.min(bound.default[name] ?? Infinity, standard);
    }
  }
  return bounds;
}

/** What a container has: of one that runs what is in force, else what it asks for. */
export function currentSizes(pod: Pod, container: string): { requests: Sizes; limits: Sizes } {
  const status = pod.status?.containerStatuses?.find(({ name }) => name === container) as { resources?: { requests?: object; limits?: object } } | undefined;
  const { requests, limits } = status?.resources ?? pod.spec!.containers.find(({ name }) => name === container)?.resources ?? {};
  return { requests: sizesOf(requests as Record<string, unknown>), limits: sizesOf(limits as Record<string, unknown>) };
}

/**
 * An autoscaler's recommendation as this pod can have it: within LimitRanges, the policy, and for "RequestsOnly" the
 * container's limits. By container; those without a recommendation are not there.
 * Source: k8s.io/autoscaler/vertical-pod-autoscaler/pkg/utils/vpa/capping.go.
 */
export function fit(vpa: VerticalPodAutoscaler, pod: Pod, bounds: Bounds): Map<string, Fitted> {
  const said = new Map((vpa.status?.recommendation?.containerRecommendations ?? []).map((one) => [one.containerName ?? "", fittedOf(one)]));
  if (bounds.pod) for (const part of ["upperBound", "target", "lowerBound"] as const) for (const name of resourceNames) withinPod(pod, said, part, name, bounds.pod);
  const fitted = new Map<string, Fitted>();
  for (const { name: container } of pod.spec!.containers) {
    const recommendation = said.get(container);
    if (!recommendation) continue;
    const policy = policyOf(vpa, container);
    const { requests, limits } = currentSizes(pod, container);
    const [minAllowed, maxAllowed] = [sizesOf(policy?.minAllowed), sizesOf(policy?.maxAllowed)];
    const notes: string[] = [];
    const cap = (sizes: Sizes, note: (text: string) => void) => {
      const clamp = (name: ResourceName, min: number | undefined, max: number | undefined, low: string, high: string) => {
        if (min && sizes[name]! < min) {
          sizes[name] = min;
          note(`${name} ${low}`);
        }
        if (max && sizes[name]! > max) {
          sizes[name] = max;
          note(`${name} ${high}`);
        }
      };
      const names = resourceNames.filter((name) => sizes[name] !== undefined);
      for (const name of names) {
        if (!bounds.container) break;
        const { min, max, default: standard } = bounds.container;
        const least = Math.max(boundaryRequest(requests[name], limits[name], min[name], standard[name]), min[name] ?? 0);
        clamp(name, least, boundaryRequest(requests[name], limits[name], max[name], standard[name]), "capped to fit Min in container LimitRange", "capped to fit Max in container LimitRange");
      }
      for (const name of names) clamp(name, minAllowed[name], maxAllowed[name], "capped to minAllowed", "capped to maxAllowed");
      if (policy?.controlledValues === "RequestsOnly") for (const name of names) clamp(name, undefined, limits[name], "", "capped to container limit");
    };
    cap(recommendation.target, (text) => notes.push(text));
    cap(recommendation.lowerBound, () => {});
    cap(recommendation.upperBound, () => {});
    fitted.set(container, { ...recommendation, notes });
  }
  return fitted;
}

const fittedOf = ({ target, lowerBound, upperBound }: ContainerRecommendation): Fitted => ({ target: sizesOf(target), lowerBound: sizesOf(lowerBound), upperBound: sizesOf(upperBound), notes: [] });

/** The request at which the limit, kept in proportion, is `boundary`; 0: there is none. */
function boundaryRequest(request: number | undefined, limit: number | undefined, boundary: number | undefined, standard: number | undefined): number {
  const effective = limit || standard;
  if (!effective || boundary === undefined) return 0;
  return request ? Math.floor((request * boundary) / effective) : boundary;
}

/** Scales a pod's containers so that together they are what a LimitRange of type Pod allows. */
function withinPod(pod: Pod, said: ReadonlyMap<string, Fitted>, part: "target" | "lowerBound" | "upperBound", name: ResourceName, bound: Bound): void {
  const containers = pod.spec!.containers.map(({ name: container }) => ({ sizes: said.get(container)?.[part], now: currentSizes(pod, container) }));
  let [limits, requests] = [0, 0];
  for (const { sizes, now } of containers) {
    const request = (sizes ? sizes[name] : now.requests[name]) ?? 0;
    limits += proportionalLimit(now.limits[name], now.requests[name], request, bound.default[name]) ?? 0;
    requests += request;
  }
  const [min, max] = [bound.min[name] ?? 0, bound.max[name] ?? Infinity];
  if ((min <= limits && min <= requests && max >= limits) || limits === 0) return;
  const scale = min > requests ? { by: min / requests, round: Math.ceil } : { by: (max < limits ? max : min) / limits, round: Math.floor };
  for (const { sizes } of containers) if (sizes?.[name] !== undefined) sizes[name] = scale.round(sizes[name] * scale.by);
}

/** The limit that is to the recommended request what the old one was to the old request; undefined: none is set. */
function proportionalLimit(limit: number | undefined, request: number | undefined, recommended: number | undefined, standard: number | undefined): number | undefined {
  const original = limit || standard;
  if (!original || !recommended) return undefined;
  return !request || request === original ? recommended : Math.floor((original * recommended) / request);
}

/**
 * Requests and limits of the containers that are recommended something; the others stay as they are.
 * Source: admission-controller/resource/pod/recommendation/recommendation_provider.go.
 */
export function sizesFor(vpa: VerticalPodAutoscaler, pod: Pod, bounds: Bounds): ContainerSizes[] {
  const fitted = fit(vpa, pod, bounds);
  return pod.spec!.containers.flatMap(({ name: container }, index) => {
    const recommendation = fitted.get(container);
    if (!recommendation) return [];
    const now = currentSizes(pod, container);
    const limits: Sizes = {};
    if (policyOf(vpa, container)?.controlledValues !== "RequestsOnly") {
      for (const name of resourceNames) {
        const limit = proportionalLimit(now.limits[name], now.requests[name], recommendation.target[name], bounds.container?.default[name]);
        if (limit !== undefined) limits[name] = limit;
      }
    }
    return [{ index, requests: amountsOf(recommendation.target), limits: amountsOf(limits), notes: recommendation.notes }];
  });
}
