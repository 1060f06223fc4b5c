import { type Condition, controllerOf, withCondition } from "../api/meta.ts";
import { resources } from "../api/resources.ts";
import type { Deployment, Pod, PodDisruptionBudget, ReplicaSet, StatefulSet } from "../api/types.ts";
import { selectorMatches } from "../api/validation/selector.ts";
import type { Action, Plan } from "./action.ts";
import type { Cache } from "./cache.ts";
import { scaledValue, wantedReplicas } from "./deployment/replicas.ts";
import { stableJson } from "./pod-template.ts";
import { isFinished, isReady, isTerminating } from "./pods.ts";
import { controller } from "./runner.ts";

/**
 * How many pods of a budget may be evicted right now: what the eviction subresource goes by.
 * Source: k8s.io/kubernetes/pkg/controller/disruption/disruption.go.
 */
export const disruptionController = controller<PodDisruptionBudget>({
  name: "controllermanager",
  for: resources.podDisruptionBudgets,
  watches: [
    {
      resource: resources.pods,
      keys: (pod: Pod, cache) =>
        cache
          .inNamespace<PodDisruptionBudget>(resources.podDisruptionBudgets, pod.metadata.namespace!)
          .filter((budget) => selectorMatches(budget.spec?.selector, pod.metadata.labels))
          .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
    },
  ],
  reads: [resources.replicaSets, resources.deployments, resources.statefulSets],
  plan: ({ object, cache, nowMs }) => planDisruption(object, cache, nowMs),
});

export function planDisruption(budget: PodDisruptionBudget, cache: Cache, nowMs: number): Plan {
  if (budget.metadata.deletionTimestamp) return { actions: [] };
  const { selector, minAvailable, maxUnavailable } = budget.spec ?? {};
  const pods = cache.inNamespace<Pod>(resources.pods, budget.metadata.namespace!).filter((pod) => !isFinished(pod) && selectorMatches(selector, pod.metadata.labels));
  const { disruptedPods, recheckAtMs } = stillToGo(budget, pods, nowMs);
  const currentHealthy = pods.filter((pod) => isReady(pod) && !isTerminating(pod) && disruptedPods?.[pod.metadata.name] === undefined).length;
  // A number of pods that must stay says nothing of how many there should be; everything else is a share of that.
  const expectedPods = typeof minAvailable === "number" ? pods.length : wantedPods(pods, cache);
  const desiredHealthy = maxUnavailable !== undefined ? Math.max(0, expectedPods - scaledValue(maxUnavailable, expectedPods, true)) : scaledValue(minAvailable ?? 1, expectedPods, true);
  const disruptionsAllowed = expectedPods === 0 ? 0 : Math.max(0, currentHealthy - desiredHealthy);
  const condition = { type: "DisruptionAllowed", ...(disruptionsAllowed > 0 ? { status: "True" as const, reason: "SufficientPods" } : { status: "False" as const, reason: "InsufficientPods" }), message: "", observedGeneration: budget.metadata.generation ?? 0 };
  const conditions = withCondition((budget.status?.conditions ?? []) as Condition[], condition, nowMs);
  const status = { ...(disruptedPods && { disruptedPods }), currentHealthy, desiredHealthy, expectedPods, disruptionsAllowed, observedGeneration: budget.metadata.generation ?? 0, conditions };
  const actions: Action[] = [];
  if (pods.length === 0 && budget.status?.observedGeneration === undefined) actions.push({ do: "event", about: budget, type: "Normal", reason: "NoPods", message: "No matching pods found" });
  if (stableJson(status) !== stableJson(budget.status)) actions.push({ do: "status", resource: resources.podDisruptionBudgets, object: { ...budget, status } });
  return { actions, ...(recheckAtMs !== undefined && { requeueAfterMs: recheckAtMs - nowMs }) };
}

/** How long an eviction may take to show on its pod before it counts as not done. */
const deletionTimeoutMs = 2 * 60_000;

/** Pods that the API server has let go and that the cache still shows as if nothing were: they are healthy no more. */
function stillToGo(budget: PodDisruptionBudget, pods: readonly Pod[], nowMs: number): { disruptedPods?: Record<string, string>; recheckAtMs?: number } {
  const evicted = (budget.status as { disruptedPods?: Record<string, string> } | undefined)?.disruptedPods ?? {};
  const left = pods.filter((pod) => evicted[pod.metadata.name] !== undefined && !isTerminating(pod)).map(({ metadata }) => [metadata.name, evicted[metadata.name]!] as const);
  const fresh = left.filter(([, at]) => Date.parse(at) + deletionTimeoutMs > nowMs);
  return fresh.length === 0 ? {} : { disruptedPods: Object.fromEntries(fresh), recheckAtMs: Math.min(...fresh.map(([, at]) => Date.parse(at) + deletionTimeoutMs)) };
}

/** What the pods' owners are asked to run, each owner once. */
function wantedPods(pods: readonly Pod[], cache: Cache): number {
  const owners = new Map<string, number>();
  for (const pod of pods) {
    const owner = controllerOf(pod);
    const key = `${pod.metadata.namespace}/${owner?.name}`;
    if (owner?.kind === "StatefulSet") {
      const set = cache.get<StatefulSet>(resources.statefulSets, key);
      if (set) owners.set(set.metadata.uid, wantedReplicas(set));
    } else if (owner?.kind === "ReplicaSet") {
      const set = cache.get<ReplicaSet>(resources.replicaSets, key);
      const above = set && controllerOf(set);
      const deployment = above?.kind === "Deployment" ? cache.get<Deployment>(resources.deployments, `${pod.metadata.namespace}/${above.name}`) : undefined;
      if (set) owners.set((deployment ?? set).metadata.uid, wantedReplicas(deployment ?? set));
    }
  }
  return [...owners.values()].reduce((sum, replicas) => sum + replicas, 0);
}
