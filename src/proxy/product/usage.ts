import { referencesOf } from "../policies/attach.ts";
import type { ApiObject, ApiUsage } from "../../api/product/kinds.ts";
import { routeNameOf } from "../../api/product/kinds.ts";
import type { QuotaCount } from "../../policy/quotas/counters.ts";
import type { World } from "../gateway/world.ts";

/** So many of a stage are told, those that used most. */
const toldMax = 100;

/** The BackendTrafficPolicies for a stage's route that have quotas. */
export function quotaPolicies(world: World, api: ApiObject, stage: string): string[] {
  const { namespace, name } = api.metadata;
  const route = routeNameOf(name, stage);
  return world
    .attached("BackendTrafficPolicy")
    .filter((policy) => policy.metadata.namespace === namespace && (policy.spec as { rateLimit?: { global?: unknown } }).rateLimit?.global !== undefined && referencesOf(policy).some((target) => target.kind === "HTTPRoute" && target.name === route))
    .map(({ metadata }) => metadata.name)
    .sort();
}

/** What is told of it: the most used first. */
export function usageOf(policy: string, counts: readonly QuotaCount[]): ApiUsage[] {
  return counts
    .toSorted((a, b) => b.count - a.count || (a.key < b.key ? -1 : 1))
    .slice(0, toldMax)
    .map(({ unit, key, count, endMs }) => ({ policy, unit, key, count, until: new Date(endMs).toISOString().replace(/\.\d+Z$/, "Z") }));
}
