import { keyOf } from "../../api/informer.ts";
import type { Condition } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { ControllerRevision, DaemonSet, Node, Pod } from "../../api/types.ts";
import { isEmptySelector, selectorMatches } from "../../api/validation/selector.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { byName, claimChildren } from "../claim.ts";
import { scaledValue } from "../deployment/replicas.ts";
import { finishedAtMs } from "../job/backoff.ts";
import { createPod, deletePod } from "../pod-actions.ts";
import { controllerReference, stableJson } from "../pod-template.ts";
import { isAvailable, isFinished, isReady, isTerminating, nextAvailableInMs } from "../pods.ts";
import { hashIn, revisionLabel, revisionsOf, truncateHistory } from "../revision.ts";
import { controller } from "../runner.ts";
import { belongs, nodeOf, podOf } from "./pod.ts";

/**
 * One pod on each node that fits; during a roll-out with `maxSurge` two.
 * Source: k8s.io/kubernetes/pkg/controller/daemon/{daemon_controller,update}.go.
 */
export const daemonSetController = controller<DaemonSet>({
  name: "daemonset-controller",
  for: resources.daemonSets,
  owns: { kind: "DaemonSet", resources: [resources.pods, resources.controllerRevisions] },
  watches: [
    { resource: resources.nodes, keys: (_node: Node, cache) => cache.list<DaemonSet>(resources.daemonSets).map(keyOf) },
    { resource: resources.pods, keys: selectingSets },
  ],
  plan: ({ object, cache, nowMs }) => planDaemonSet(object, cache, nowMs),
});

/** A failed pod is replaced this long after its end: whatever made it fail must not make a hundred more a second. */
const failedRestMs = 10_000;

interface Rollout {
  set: DaemonSet;
  hash: string;
  nowMs: number;
  /** Every node, with this set's pods there, the oldest first. */
  places: readonly Place[];
}
interface Place {
  node: Node;
  runs: boolean;
  stays: boolean;
  pods: Pod[];
}
interface Steps {
  delete: Pod[];
  createOn: string[];
  events: Action[];
  waitMs?: number;
}

export function planDaemonSet(set: DaemonSet, cache: Cache, nowMs: number): Plan {
  if (isEmptySelector(set.spec?.selector)) {
    return { actions: [{ do: "event", about: set, type: "Warning", reason: "SelectingAll", message: "This daemon set is selecting all pods. A non-empty selector is required." }] };
  }
  if (set.metadata.deletionTimestamp) return { actions: [] };
  const reference = controllerReference(set, "apps/v1", "DaemonSet");
  const { claimed: pods, actions: podClaims } = claimChildren<Pod>(cache, resources.pods, resources.daemonSets, set, reference);
  const { claimed: known, actions: revisionClaims } = claimChildren<ControllerRevision>(cache, resources.controllerRevisions, resources.daemonSets, set, reference);
  if (podClaims.length + revisionClaims.length > 0) return { actions: [...podClaims, ...revisionClaims] };
  const revisions = revisionsOf(set, known, (name) => cache.get(resources.controllerRevisions, name) !== undefined);
  if (revisions.actions.length > 0) return { actions: revisions.actions };

  const oldestFirst = (a: Pod, b: Pod): number => Number(!a.spec?.nodeName) - Number(!b.spec?.nodeName) || Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp) || byName(a, b);
  const standing = pods.filter((pod) => !(isFinished(pod) && isTerminating(pod))).sort(oldestFirst);
  const nodes = cache.list<Node>(resources.nodes).sort(byName);
  const places = nodes.map((node) => ({ node, ...belongs(set, node), pods: standing.filter((pod) => nodeOf(pod) === node.metadata.name) }));
  const rollout: Rollout = { set, hash: hashIn(set, revisions.update.name), nowMs, places };
  const lost = standing.filter((pod) => !pod.spec?.nodeName && !isTerminating(pod) && !nodes.some((node) => node.metadata.name === nodeOf(pod)));
  let steps = manage(rollout, lost);
  // One thing after the other: roll-outs go on when every node has what it should have.
  if (steps.delete.length + steps.createOn.length === 0 && set.spec?.updateStrategy?.type !== "OnDelete") steps = { ...steps, ...roll(rollout) };

  const actions: Action[] = [...steps.events];
  if (steps.delete.length > 0) actions.push({ do: "batch", actions: steps.delete.map((pod) => deletePod(set, pod)) });
  if (steps.createOn.length > 0) actions.push({ do: "batch", slowStart: true, actions: steps.createOn.map((node) => createPod(set, podOf(set, node, rollout.hash))) });
  const live = new Set([revisions.update.name, ...pods.map((pod) => `${set.metadata.name}-${hashOf(pod)}`)]);
  const status = statusOf(rollout, revisions.collisionCount);
  if (stableJson(status) !== stableJson(set.status ?? {})) actions.push({ do: "status", resource: resources.daemonSets, object: { ...set, status } });
  actions.push(...truncateHistory(set, known, live));
  const waits = [nextAvailableInMs(standing, set.spec?.minReadySeconds ?? 0, nowMs), steps.waitMs].filter((ms) => ms !== undefined);
  return { actions, ...(waits.length > 0 && { requeueAfterMs: Math.max(1, Math.min(...waits)) }) };
}

const hashOf = (pod: Pod): string => pod.metadata.labels?.[revisionLabel] ?? "";
const surges = ({ spec }: DaemonSet): boolean => spec?.updateStrategy?.type !== "OnDelete" && scaledValue(spec?.updateStrategy?.rollingUpdate?.maxSurge, 100, true) > 0;
const available = ({ set, nowMs }: Rollout, pod: Pod): boolean => isAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs);

/** What is missing, too many, out of place or has ended. */
function manage(rollout: Rollout, lost: readonly Pod[]): Steps {
  const { set, hash, nowMs } = rollout;
  const steps: Steps = { delete: [...lost], createOn: [], events: [] };
  for (const { node, runs, stays, pods } of rollout.places) {
    if (runs && pods.length === 0) {
      steps.createOn.push(node.metadata.name);
      continue;
    }
    const standing = pods.filter((pod) => !isTerminating(pod));
    if (!stays) {
      steps.delete.push(...standing);
      continue;
    }
    const running: Pod[] = [];
    for (const pod of standing) {
      const { phase } = pod.status ?? {};
      const found = `Found ${phase?.toLowerCase()} daemon pod ${pod.metadata.namespace}/${pod.metadata.name} on node ${node.metadata.name}`;
      const restMs = phase === "Failed" ? finishedAtMs(pod) + failedRestMs - nowMs : 0;
      if (restMs > 0) {
        steps.waitMs = Math.min(steps.waitMs ?? Infinity, restMs);
        continue;
      }
      if (phase === "Failed") steps.events.push({ do: "event", about: set, type: "Warning", reason: "FailedDaemonPod", message: `${found}, will try to kill it` });
      if (phase === "Succeeded") steps.events.push({ do: "event", about: set, type: "Normal", reason: "SucceededDaemonPod", message: `${found}, will try to delete it` });
      (isFinished(pod) ? steps.delete : running).push(pod);
    }
    if (!surges(set)) {
      steps.delete.push(...running.slice(1));
      continue;
    }
    const [latest, ...moreLatest] = running.filter((pod) => hashOf(pod) === hash);
    const [old, ...moreOld] = running.filter((pod) => hashOf(pod) !== hash);
    steps.delete.push(...moreLatest, ...moreOld);
    if (latest && old && (!isReady(old) || available(rollout, latest))) steps.delete.push(old);
  }
  return steps;
}

/** Which old pods make way, or where new ones come beside them. */
function roll(rollout: Rollout): Partial<Steps> {
  const { set, hash } = rollout;
  const desired = rollout.places.filter(({ runs }) => runs).length;
  const { maxSurge, maxUnavailable } = set.spec?.updateStrategy?.rollingUpdate ?? {};
  const surge = scaledValue(maxSurge, desired, true);
  const missing = Math.max(scaledValue(maxUnavailable, desired, true), surge === 0 ? 1 : 0);
  const places = rollout.places
    .filter(({ pods }) => pods.length > 0)
    .map(({ node, runs, pods }) => {
      const standing = pods.filter((pod) => !isTerminating(pod));
      return { node, runs, latest: standing.find((pod) => hashOf(pod) === hash), old: standing.find((pod) => hashOf(pod) !== hash) };
    });
  // An old pod that is of no use goes whatever the limits say; the others only as far as they allow.
  if (surge === 0) {
    const broken = places.filter(({ latest, old }) => old && !latest && !available(rollout, old));
    const unavailable = broken.length + places.filter(({ latest, old }) => (latest ? old !== undefined || !available(rollout, latest) : old === undefined)).length;
    const candidates = places.filter(({ latest, old }) => old && !latest && available(rollout, old));
    return { delete: [...broken, ...candidates.slice(0, Math.max(0, missing - unavailable))].map(({ old }) => old!) };
  }
  const both = places.filter(({ latest, old }) => latest && old);
  const waiting = both.filter(({ latest }) => !available(rollout, latest!));
  const onlyOld = places.filter(({ latest, old }) => old && !latest);
  const broken = onlyOld.filter(({ old }) => !available(rollout, old!));
  const candidates = onlyOld.filter(({ old, runs }) => runs && available(rollout, old!));
  // Where it should not run any more, it stays until as many as should run are available elsewhere.
  const misplaced = onlyOld.filter(({ old, runs }) => !runs && available(rollout, old!));
  const spare = Math.max(0, places.filter(({ latest, old }) => (old ?? latest) && available(rollout, (old ?? latest)!)).length - desired);
  return {
    delete: [...both.filter((place) => !waiting.includes(place)), ...broken.filter(({ runs }) => !runs), ...misplaced.slice(0, spare)].map(({ old }) => old!),
    createOn: [...broken.filter(({ runs }) => runs), ...candidates.slice(0, Math.max(0, surge - waiting.length))].map(({ node }) => node.metadata.name),
  };
}

function statusOf(rollout: Rollout, collisionCount: number | undefined): NonNullable<DaemonSet["status"]> {
  const { set, hash, places } = rollout;
  const wanted = places.filter(({ runs }) => runs);
  // With two pods on a node the oldest speaks for it.
  const first = wanted.flatMap(({ pods }) => pods.slice(0, 1));
  const availableCount = first.filter((pod) => isReady(pod) && available(rollout, pod)).length;
  const counts = {
    updatedNumberScheduled: first.filter((pod) => hashOf(pod) === hash).length,
    numberAvailable: availableCount,
    numberUnavailable: wanted.length - availableCount,
    observedGeneration: set.metadata.generation ?? 0,
    collisionCount: collisionCount ?? set.status?.collisionCount ?? 0,
  };
  const conditions = (set.status?.conditions ?? []) as Condition[];
  return {
    currentNumberScheduled: first.length,
    desiredNumberScheduled: wanted.length,
    numberMisscheduled: places.filter(({ runs, pods }) => !runs && pods.length > 0).length,
    numberReady: first.filter(isReady).length,
    ...Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0)),
    ...(conditions.length > 0 && { conditions: conditions as never }),
  };
}

/** An orphan wakes those who may want to adopt it. */
function selectingSets(pod: Pod, cache: Cache): string[] {
  if (pod.metadata.ownerReferences?.some((owner) => owner.controller)) return [];
  return cache.inNamespace<DaemonSet>(resources.daemonSets, pod.metadata.namespace!).filter((set) => selectorMatches(set.spec?.selector, pod.metadata.labels)).map(keyOf);
}
