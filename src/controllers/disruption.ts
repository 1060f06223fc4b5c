import { type Condition, controllerOf, withCondition } from "../api/meta.ts";
import { resources } from "../api/resources.ts";
import type { Deployment, Pod, PodDisruptionBudget, ReplicaSet, ReplicationController, StatefulSet } from "../api/types.ts";
import { formatSelector, selectorMatches } from "../api/validation/selector.ts";
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
  reads: [resources.replicaSets, resources.deployments, resources.statefulSets, resources.replicationControllers],
  plan: ({ object, cache, nowMs }) => planDisruption(object, cache, nowMs),
});

/** How long an evicted pod may take until its deletion is seen; after that its eviction is taken to have failed. */
const deletionMs = 2 * 60 * 1000;

export function planDisruption(budget: PodDisruptionBudget, cache: Cache, nowMs: number): Plan {
  if (budget.metadata.deletionTimestamp) return { actions: [] };
  const { selector, minAvailable, maxUnavailable } = budget.spec ?? {};
  const pods = cache.inNamespace<Pod>(resources.pods, budget.metadata.namespace!).filter((pod) => !isFinished(pod) && selectorMatches(selector, pod.metadata.labels));
  const { disruptedPods, overdue, nextMs } = disruptedOf(budget, pods, nowMs);
  const events = overdue.map((pod): Action => ({ do: "event", about: pod, type: "Warning", reason: "NotDeleted", message: `Pod was expected by PDB ${budget.metadata.namespace}/${budget.metadata.name} to be deleted but it wasn't` }));
  const generation = budget.metadata.generation ?? 0;
  const written = (status: Status, said: Action[]): Plan => ({
    actions: stableJson(status) === stableJson(budget.status ?? {}) ? [] : [...said, ...events, { do: "status", resource: resources.podDisruptionBudgets, object: { ...budget, status } }],
    ...(nextMs !== undefined && { requeueAfterMs: Math.max(1, nextMs) }),
  });
  const conditionsWith = (status: "True" | "False", reason: string, message: string, observedGeneration: number): Condition[] => withCondition((budget.status?.conditions ?? []) as Condition[], { type: "DisruptionAllowed", status, reason, message, observedGeneration }, nowMs);

  // A number of pods that must stay says nothing of how many there should be; everything else is a share of that.
  const expected = typeof minAvailable === "number" && maxUnavailable === undefined ? { count: pods.length, unmanaged: false } : wantedPods(pods, cache);
  if (typeof expected === "string") {
    // Nobody may go while it is not known how many there should be.
    const status = { ...budget.status, disruptionsAllowed: 0, conditions: conditionsWith("False", "SyncFailed", expected, budget.status?.observedGeneration ?? 0) } as Status;
    return written(status, [{ do: "event", about: budget, type: "Warning", reason: "CalculateExpectedPodCountFailed", message: `Failed to calculate the number of expected pods: ${expected}` }]);
  }
  const expectedPods = expected.count;
  const currentHealthy = pods.filter((pod) => isReady(pod) && !isTerminating(pod) && disruptedPods[pod.metadata.name] === undefined).length;
  const desiredHealthy = maxUnavailable !== undefined ? Math.max(0, expectedPods - scaledValue(maxUnavailable, expectedPods, true)) : scaledValue(minAvailable ?? 1, expectedPods, true);
  const disruptionsAllowed = expectedPods === 0 ? 0 : Math.max(0, currentHealthy - desiredHealthy);
  const conditions = disruptionsAllowed > 0 ? conditionsWith("True", "SufficientPods", "", generation) : conditionsWith("False", "InsufficientPods", "", generation);
  const status = { currentHealthy, desiredHealthy, expectedPods, disruptionsAllowed, observedGeneration: generation, conditions, ...(Object.keys(disruptedPods).length > 0 && { disruptedPods }) } as Status;
  const said: Action[] = [];
  if (pods.length === 0 && budget.status?.observedGeneration === undefined) said.push({ do: "event", about: budget, type: "Normal", reason: "NoPods", message: "No matching pods found" });
  if (expected.unmanaged) said.push({ do: "event", about: budget, type: "Warning", reason: "UnmanagedPods", message: unmanagedText(formatSelector(selector)) });
  return written(status, said);
}

type Status = NonNullable<PodDisruptionBudget["status"]>;

const unmanagedText = (selector: string): string =>
  `Pods selected by this PodDisruptionBudget (selector: ${selector}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.`;

/** Pods that were evicted and whose deletion the cache does not show yet; those that should have gone by now; when to look again. */
function disruptedOf(budget: PodDisruptionBudget, pods: readonly Pod[], nowMs: number): { disruptedPods: Record<string, string>; overdue: Pod[]; nextMs: number | undefined } {
  const disruptedPods: Record<string, string> = {};
  const overdue: Pod[] = [];
  let nextMs: number | undefined;
  for (const pod of pods) {
    const sinceText = budget.status?.disruptedPods?.[pod.metadata.name] as string | undefined;
    if (sinceText === undefined || isTerminating(pod)) continue;
    const leftMs = Date.parse(sinceText) + deletionMs - nowMs;
    if (leftMs <= 0) overdue.push(pod);
    else {
      disruptedPods[pod.metadata.name] = sinceText;
      nextMs = Math.min(nextMs ?? Infinity, leftMs);
    }
  }
  return { disruptedPods, overdue, nextMs };
}

/** What the pods' owners are asked to run, each owner once; or why that cannot be told. */
function wantedPods(pods: readonly Pod[], cache: Cache): { count: number; unmanaged: boolean } | string {
  const owners = new Map<string, number>();
  let unmanaged = false;
  for (const pod of pods) {
    const owner = controllerOf(pod);
    if (!owner) {
      unmanaged = true;
      continue;
    }
    const key = `${pod.metadata.namespace}/${owner.name}`;
    switch (owner.kind) {
      case "StatefulSet":
      case "ReplicationController": {
        const set = cache.get<StatefulSet | ReplicationController>(owner.kind === "StatefulSet" ? resources.statefulSets : resources.replicationControllers, key);
        if (set?.metadata.uid !== owner.uid) return notFound(pod);
        owners.set(set.metadata.uid, wantedReplicas(set));
        break;
      }
      case "ReplicaSet": {
        const set = cache.get<ReplicaSet>(resources.replicaSets, key);
        if (set?.metadata.uid !== owner.uid) return notFound(pod);
        const above = controllerOf(set);
        const deployment = above?.kind === "Deployment" ? cache.get<Deployment>(resources.deployments, `${pod.metadata.namespace}/${above.name}`) : undefined;
        owners.set((deployment ?? set).metadata.uid, wantedReplicas(deployment ?? set));
        break;
      }
      default:
        return unscalable[owner.kind] ? `${unscalable[owner.kind]} does not implement the scale subresource` : notFound(pod);
    }
  }
  return { count: [...owners.values()].reduce((sum, replicas) => sum + replicas, 0), unmanaged };
}
const notFound = (pod: Pod): string => `found no controllers for pod ${JSON.stringify(pod.metadata.name)}`;
const unscalable: Record<string, string> = { Job: "jobs.batch", DaemonSet: "daemonsets.apps" };
