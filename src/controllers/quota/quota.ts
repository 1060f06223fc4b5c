import type { KubeObject } from "../../api/meta.ts";
import type { GroupVersionResource } from "../../api/meta.ts";
import type { Amounts } from "../../api/pod-resources.ts";
import { canonicalQuantity } from "../../api/quantity.ts";
import { resources } from "../../api/resources.ts";
import { add, coveredNames, formatUsage, isInScope, type ResourceQuota, usageOf } from "../../api/kinds/core/resourcequota-usage.ts";
import type { Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { stableJson } from "../pod-template.ts";
import { type Controller, controller } from "../runner.ts";

/** Changes of a busy namespace are reported together. */
const restMs = 200;

/**
 * Reports what is used of each ResourceQuota. The API server counts for itself when it admits; this is for those who
 * look. `kinds` gives the resources with objects in namespaces, as they are served now.
 * Source: k8s.io/kubernetes/pkg/controller/resourcequota.
 */
export function quotaController(kinds: () => readonly GroupVersionResource[]): Controller {
  return controller<ResourceQuota>({
    name: "resourcequota-controller",
    for: resources.resourceQuotas,
    watches: watched.map((resource) => ({ resource, keys: (object: KubeObject, cache: Cache) => quotasOver(resource, object.metadata.namespace ?? "", cache) })),
    restMs,
    plan: ({ object, cache }) => planQuota(object, kinds(), cache),
  });
}

/** Kinds that quotas are mostly for wake at once; others are looked at again after a while. */
const watched = [resources.pods, resources.services, resources.persistentVolumeClaims, resources.configMaps, resources.secrets];
const isWatched = ({ group, resource }: GroupVersionResource): boolean => watched.some((known) => known.group === group && known.resource === resource) || (group === "" && resource === "resourcequotas");
const lookAgainMs = 2_000;

function quotasOver(resource: GroupVersionResource, namespace: string, cache: Cache): string[] {
  return cache
    .inNamespace<ResourceQuota>(resources.resourceQuotas, namespace)
    .filter(({ spec }) => coveredNames(resource, spec?.hard ?? {}).length > 0)
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
}

export function planQuota(quota: ResourceQuota, kinds: readonly GroupVersionResource[], cache: Cache): Plan {
  if (quota.metadata.deletionTimestamp) return { actions: [] };
  const hard = Object.fromEntries(Object.entries(quota.spec?.hard ?? {}).map(([name, value]) => [name, canonicalQuantity(String(value))]));
  const used: Amounts = {};
  let looksAgain = false;
  for (const kind of kinds) {
    const names = coveredNames(kind, hard);
    if (names.length === 0) continue;
    looksAgain ||= !isWatched(kind);
    for (const object of cache.inNamespace<KubeObject>(kind, quota.metadata.namespace!)) if (isInScope(quota.spec ?? {}, kind, object)) add(used, usageOf(kind, object), names);
  }
  const status = { hard, used: formatUsage(used, Object.keys(hard)) };
  return {
    actions: stableJson(status) === stableJson(quota.status ?? {}) ? [] : [{ do: "status", resource: resources.resourceQuotas, object: { ...quota, status } }],
    ...(looksAgain && { requeueAfterMs: lookAgainMs }),
  };
}
