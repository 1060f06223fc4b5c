import { type Condition, controllerOf } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Deployment, Pod, ReplicaSet } from "../../api/types.ts";
import { isEmptySelector } from "../../api/validation/selector.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { claimChildren } from "../claim.ts";
import { controllerReference, sameTemplate } from "../pod-template.ts";
import { isFinished } from "../pods.ts";
import { sameStatus } from "../replicaset.ts";
import { controller } from "../runner.ts";
import { desiredAnnotation, isRollingUpdate, isSaturated, maxUnavailable, newSetReplicas, proportionalSizes, totalOf, totalWanted, wantedReplicas, withReplicas } from "./replicas.ts";
import { cleanUp, findNewSet, newReplicaSet, oldestFirst, replicasAnnotations, revisionAnnotation, revisionOf, setAnnotations } from "./revision.ts";
import { countStatus, deadlineSeconds, type DeploymentStatus, findCondition, isComplete, newCondition, rolloutStatus, setCondition } from "./status.ts";

/**
 * Moves a Deployment's pods from template to template, one ReplicaSet a template. A plan takes one step: what it
 * changes wakes it again.
 * Source: k8s.io/kubernetes/pkg/controller/deployment/{deployment_controller,sync,rolling,recreate}.go.
 */
export const deploymentController = controller<Deployment>({
  name: "deployment-controller",
  for: resources.deployments,
  owns: { kind: "Deployment", resources: [resources.replicaSets] },
  watches: [{ resource: resources.pods, keys: recreatedDeployment }],
  plan: ({ object, cache, nowMs }) => planDeployment(object, cache, nowMs),
});

/** Everything the steps below look at. */
interface Rollout {
  deployment: Deployment;
  cache: Cache;
  nowMs: number;
  /** All sets, the new one (if it exists) among them. */
  all: ReplicaSet[];
  old: ReplicaSet[];
  newSet: ReplicaSet | undefined;
  conditions: Condition[];
}

export function planDeployment(deployment: Deployment, cache: Cache, nowMs: number): Plan {
  if (isEmptySelector(deployment.spec?.selector)) {
    return { actions: [{ do: "event", about: deployment, type: "Warning", reason: "SelectingAll", message: "This deployment is selecting all pods. A non-empty selector is required." }] };
  }
  const { claimed: all, actions: claims } = claimChildren<ReplicaSet>(cache, resources.replicaSets, resources.deployments, deployment, controllerReference(deployment, "apps/v1", "Deployment"));
  if (claims.length > 0) return { actions: claims };
  const newSet = findNewSet(deployment, all);
  const old = all.filter((set) => set !== newSet);
  const rollout: Rollout = { deployment, cache, nowMs, all, old, newSet, conditions: pausedConditions(deployment, nowMs) };

  if (deployment.metadata.deletionTimestamp) return { actions: statusOnly(rollout) };
  if (deployment.spec?.paused || withReplicas(all).some((set) => set.metadata.annotations?.[desiredAnnotation] !== undefined && set.metadata.annotations[desiredAnnotation] !== String(wantedReplicas(deployment)))) {
    const known = newSet ? knownSet(rollout, newSet) : undefined;
    if (known?.actions) return { actions: known.actions };
    return { actions: [...scale(rollout), ...(deployment.spec?.paused ? cleanUp(deployment, old) : []), ...statusOnly(rollout)] };
  }
  return isRollingUpdate(deployment) ? rollingUpdate(rollout) : recreate(rollout);
}

function pausedConditions({ spec, status }: Deployment, nowMs: number): Condition[] {
  const conditions = (status?.conditions ?? []) as Condition[];
  const current = findCondition(conditions, "Progressing");
  // A failed roll-out stays failed: pausing must not hide it.
  if (deadlineSeconds({ spec } as Deployment) === undefined || current?.reason === "ProgressDeadlineExceeded") return conditions;
  const pausedBefore = current?.reason === "DeploymentPaused";
  if (spec?.paused && !pausedBefore) return setCondition(conditions, newCondition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", nowMs));
  if (!spec?.paused && pausedBefore) return setCondition(conditions, newCondition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", nowMs));
  return conditions;
}

function writeStatus({ deployment }: Rollout, status: DeploymentStatus): Action[] {
  return sameStatus(status, deployment.status) ? [] : [{ do: "status", resource: resources.deployments, object: { ...deployment, status } }];
}
const statusOnly = (rollout: Rollout): Action[] => writeStatus(rollout, countStatus(rollout.deployment, rollout.all, rollout.newSet, rollout.conditions, rollout.nowMs));

/** Ends every step of a roll-out: where it stands. */
function withStatus(rollout: Rollout, actions: Action[]): Plan {
  const { status, requeueAfterMs } = rolloutStatus(rollout.deployment, rollout.all, rollout.newSet, rollout.conditions, rollout.nowMs);
  return { actions: [...actions, ...writeStatus(rollout, status)], ...(requeueAfterMs !== undefined && { requeueAfterMs }) };
}

function rollingUpdate(rollout: Rollout): Plan {
  const { deployment, all, old } = rollout;
  const created = ensureNewSet(rollout);
  if (created.actions) return { actions: created.actions };
  const newSet = created.set;
  const size = wantedReplicas(newSet);
  const wanted = wantedReplicas(deployment);
  if (size !== wanted) {
    const next = size > wanted ? wanted : newSetReplicas(deployment, all, size);
    if (next !== size) return withStatus(rollout, scaleSet(deployment, newSet, next));
  }
  const shrunk = shrinkOldSets(rollout, newSet);
  if (shrunk.length > 0) return withStatus(rollout, shrunk);
  return withStatus(rollout, isComplete(deployment, deployment.status) ? cleanUp(deployment, old) : []);
}

/** First those old pods that do not work anyway, then as many working ones as may be missed. */
function shrinkOldSets({ deployment, all, old }: Rollout, newSet: ReplicaSet): Action[] {
  const sets = withReplicas(old).sort(oldestFirst);
  if (sets.length === 0) return [];
  const available = (set: ReplicaSet): number => set.status?.availableReplicas ?? 0;
  const minAvailable = wantedReplicas(deployment) - maxUnavailable(deployment);
  const newUnavailable = wantedReplicas(newSet) - available(newSet);
  const downMax = totalWanted(all) - minAvailable - newUnavailable;
  if (downMax <= 0) return [];
  const sizes = new Map(sets.map((set) => [set, wantedReplicas(set)]));
  const shrink = (set: ReplicaSet, by: number): number => {
    sizes.set(set, sizes.get(set)! - by);
    return by;
  };
  let unhealthy = 0;
  for (const set of sets) if (sizes.get(set)! > available(set)) unhealthy += shrink(set, Math.min(downMax - unhealthy, sizes.get(set)! - available(set)));
  const spare = totalOf(all, "availableReplicas") - minAvailable;
  let healthy = 0;
  for (const set of sets) if (spare > healthy) healthy += shrink(set, Math.min(sizes.get(set)!, spare - healthy));
  return sets.flatMap((set) => scaleSet(deployment, set, sizes.get(set)!));
}

function recreate(rollout: Rollout): Plan {
  const { deployment, cache, old } = rollout;
  const down = withReplicas(old).flatMap((set) => scaleSet(deployment, set, 0));
  if (down.length > 0) return withStatus(rollout, down);
  // Old pods must be gone, not only told to go, before the first new one starts.
  if (old.some((set) => cache.ownedBy<Pod>(resources.pods, set.metadata.uid).some((pod) => !isFinished(pod)))) return withStatus(rollout, []);
  const created = ensureNewSet(rollout);
  if (created.actions) return { actions: created.actions };
  const up = scaleSet(deployment, created.set, wantedReplicas(deployment));
  if (up.length > 0) return withStatus(rollout, up);
  return withStatus(rollout, isComplete(deployment, deployment.status) ? cleanUp(deployment, old) : []);
}

type NewSet = { set: ReplicaSet; actions?: undefined } | { actions: Action[] };
function ensureNewSet(rollout: Rollout): NewSet {
  return rollout.newSet ? knownSet(rollout, rollout.newSet) : { actions: createSet(rollout) };
}

const nextRevision = (old: readonly ReplicaSet[]): number => Math.max(0, ...old.map(revisionOf)) + 1;

/** The new set exists: its annotations, and the Deployment's revision, must say so. */
function knownSet(rollout: Rollout, newSet: ReplicaSet): NewSet {
  const { deployment, old, conditions, nowMs } = rollout;
  const annotations = setAnnotations(deployment, newSet, nextRevision(old));
  const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
  const sameAnnotations = Object.keys(annotations).every((key) => newSet.metadata.annotations?.[key] === annotations[key]);
  if (!sameAnnotations || (newSet.spec?.minReadySeconds ?? 0) !== minReadySeconds) {
    const object = { ...newSet, metadata: { ...newSet.metadata, annotations }, spec: { ...newSet.spec!, minReadySeconds } };
    return { actions: [{ do: "update", resource: resources.replicaSets, object }] };
  }
  if (deadlineSeconds(deployment) !== undefined && !findCondition(conditions, "Progressing")) {
    rollout.conditions = setCondition(conditions, newCondition("Progressing", "True", "FoundNewReplicaSet", `Found new replica set "${newSet.metadata.name}"`, nowMs));
  }
  const revision = annotations[revisionAnnotation]!;
  if (deployment.metadata.annotations?.[revisionAnnotation] !== revision) return { actions: [setRevision(deployment, revision)] };
  return { set: newSet };
}

/** By /status, where annotations do not count as a new generation. */
const setRevision = (deployment: Deployment, revision: string): Action => ({ do: "patch", resource: resources.deployments, object: deployment, subresource: "status", patch: { metadata: { annotations: { [revisionAnnotation]: revision } } } });

function createSet(rollout: Rollout): Action[] {
  const { deployment, cache, old, all, conditions, nowMs } = rollout;
  const draft = newReplicaSet(deployment, nextRevision(old), 0);
  const { name, namespace } = draft.metadata;
  const replicas = newSetReplicas(deployment, all, 0);
  const taken = cache.get<ReplicaSet>(resources.replicaSets, `${namespace}/${name}`);
  if (taken && !(controllerOf(taken)?.uid === deployment.metadata.uid && sameTemplate(taken.spec?.template, deployment.spec?.template))) {
    // Another template has this hash: count up and take the next name.
    const status = { ...deployment.status, collisionCount: (deployment.status?.collisionCount ?? 0) + 1 } as DeploymentStatus;
    return [{ do: "status", resource: resources.deployments, object: { ...deployment, status } }];
  }
  const set = { ...draft, spec: { ...draft.spec!, replicas } };
  const status = (progressing: Condition, newSet?: ReplicaSet): Action[] => {
    const list = deadlineSeconds(deployment) === undefined ? conditions : setCondition(conditions, progressing);
    return writeStatus(rollout, countStatus(deployment, newSet ? [...all, newSet] : all, newSet, list, nowMs));
  };
  const failed = (error: Error): string => `Failed to create new replica set "${name}": ${error.message}`;
  return [
    {
      do: "create",
      resource: resources.replicaSets,
      object: set as never,
      after: () => (replicas > 0 ? [scalingEvent(deployment, name, 0, replicas)] : []),
      orElse: (error) => [
        { do: "event", about: deployment, type: "Warning", reason: "ReplicaSetCreateError", message: failed(error) },
        ...status(newCondition("Progressing", "False", "ReplicaSetCreateError", failed(error), nowMs)),
      ],
    },
    ...status(newCondition("Progressing", "True", "NewReplicaSetCreated", `Created new replica set "${name}"`, nowMs), set),
    setRevision(deployment, String(nextRevision(old))),
  ];
}

/** The number of replicas was changed, during a roll-out or while paused. */
function scale({ deployment, all, old, newSet }: Rollout): Action[] {
  const wanted = wantedReplicas(deployment);
  const active = withReplicas(all);
  const latest = active.length === 0 ? (newSet ?? [...old].sort(oldestFirst).at(-1)) : active.length === 1 ? active[0] : undefined;
  if (latest) return scaleSet(deployment, latest, wanted);
  if (isSaturated(deployment, newSet)) return withReplicas(old).flatMap((set) => scaleSet(deployment, set, 0));
  if (!isRollingUpdate(deployment)) return [];
  return [...proportionalSizes(deployment, active)].flatMap(([set, size]) => scaleSet(deployment, set, size));
}

function scaleSet(deployment: Deployment, set: ReplicaSet, size: number): Action[] {
  const from = wantedReplicas(set);
  const annotations = { ...set.metadata.annotations, ...replicasAnnotations(deployment) };
  const sameAnnotations = Object.keys(annotations).every((key) => set.metadata.annotations?.[key] === annotations[key]);
  if (size === from && sameAnnotations) return [];
  const object = { ...set, metadata: { ...set.metadata, annotations }, spec: { ...set.spec!, replicas: size } };
  return [{ do: "update", resource: resources.replicaSets, object, after: () => (size === from ? [] : [scalingEvent(deployment, set.metadata.name, from, size)]) }];
}

const scalingEvent = (deployment: Deployment, name: string, from: number, to: number): Action => ({
  do: "event",
  about: deployment,
  type: "Normal",
  reason: "ScalingReplicaSet",
  message: `Scaled ${to > from ? "up" : "down"} replica set ${name} from ${from} to ${to}`,
});

/** A Recreate roll-out waits for the last old pod, so its end must wake the Deployment. */
function recreatedDeployment(pod: Pod, cache: Cache): string[] {
  const owner = controllerOf(pod);
  if (owner?.kind !== "ReplicaSet") return [];
  const set = cache.get<ReplicaSet>(resources.replicaSets, `${pod.metadata.namespace}/${owner.name}`);
  const name = set && controllerOf(set)?.name;
  const key = `${pod.metadata.namespace}/${name}`;
  const deployment = name === undefined ? undefined : cache.get<Deployment>(resources.deployments, key);
  return deployment && !isRollingUpdate(deployment) ? [key] : [];
}
