import type { KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { labelSelectorOf } from "../../api/selectors.ts";
import type { Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { stableJson } from "../pod-template.ts";
import { type Controller, controller } from "../runner.ts";

interface ClusterRole extends KubeObject {
  rules?: object[] | null;
  aggregationRule?: { clusterRoleSelectors?: Parameters<typeof labelSelectorOf>[0][] } | null;
}

/**
 * Writes into an aggregated ClusterRole the rules of those its selectors choose, so that who looks sees what counts
 * and who aggregates an aggregate gets the whole. Source: k8s.io/kubernetes/pkg/controller/clusterroleaggregation.
 */
export const clusterRoleAggregationController: Controller = controller<ClusterRole>({
  name: "clusterrole-aggregation-controller",
  for: resources.clusterRoles,
  watches: [{ resource: resources.clusterRoles, keys: (_: ClusterRole, cache: Cache) => cache.list<ClusterRole>(resources.clusterRoles).filter((role) => role.aggregationRule).map((role) => role.metadata.name) }],
  plan: ({ object, cache }) => planAggregation(object, cache),
});

export function planAggregation(role: ClusterRole, cache: Cache): Plan {
  if (!role.aggregationRule || role.metadata.deletionTimestamp) return { actions: [] };
  const selectors = (role.aggregationRule.clusterRoleSelectors ?? []).map((selector) => labelSelectorOf(selector));
  const chosen = cache
    .list<ClusterRole>(resources.clusterRoles)
    .filter(({ metadata }) => metadata.name !== role.metadata.name && selectors.some((selector) => selector?.matches(metadata.labels ?? {})))
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const rules = [...new Map(chosen.flatMap((other) => other.rules ?? []).map((rule) => [stableJson(rule), rule])).values()];
  if (stableJson(rules) === stableJson(role.rules ?? [])) return { actions: [] };
  // The revision makes it a conflict when the role moved on: rules must not come back that were just taken away.
  return { actions: [{ do: "patch", resource: resources.clusterRoles, object: role as KubeObject & { metadata: { uid: string; resourceVersion: string } }, patch: { metadata: { resourceVersion: role.metadata.resourceVersion }, rules } }] };
}
