import { keyOf } from "../../api/informer.ts";
import { resources } from "../../api/resources.ts";
import type { Pod, ReplicaSet, ReplicationController } from "../../api/types.ts";
import { selectorMatches } from "../../api/validation/selector.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { planReplicaSet, sameStatus } from "../replicaset.ts";
import { controller } from "../runner.ts";

/**
 * What Deployments came after: the engine is the ReplicaSet's.
 * Source: k8s.io/kubernetes/pkg/controller/replication/{replication_controller,conversion}.go.
 */
export const replicationController = controller<ReplicationController>({
  name: "replication-controller",
  for: resources.replicationControllers,
  owns: { kind: "ReplicationController", resources: [resources.pods] },
  watches: [{ resource: resources.pods, keys: selectingControllers }],
  plan: ({ object, cache, nowMs }) => planReplication(object, cache, nowMs),
});

export function planReplication(owner: ReplicationController, cache: Cache, nowMs: number): Plan {
  const asSet = { ...owner, spec: { ...owner.spec, selector: { matchLabels: owner.spec?.selector ?? {} } } } as unknown as ReplicaSet;
  const { actions, ...rest } = planReplicaSet(asSet, cache, nowMs, { resource: resources.replicationControllers, apiVersion: "v1", kind: "ReplicationController" });
  return { actions: actions.flatMap((action) => ownStatus(owner, action)), ...rest };
}

/** A status goes back on the object as it is, without what only a ReplicaSet's says. */
function ownStatus(owner: ReplicationController, action: Action): Action[] {
  if (action.do === "batch" && action.orElse) return [{ ...action, orElse: (error) => action.orElse!(error).flatMap((failed) => ownStatus(owner, failed)) }];
  if (action.do !== "status") return [action];
  const { terminatingReplicas: _, ...status } = action.object.status as Record<string, unknown>;
  return sameStatus(status, owner.status) ? [] : [{ ...action, object: { ...owner, status } }];
}

/** An orphan wakes those who may want to adopt it. */
function selectingControllers(pod: Pod, cache: Cache): string[] {
  if (pod.metadata.ownerReferences?.some((reference) => reference.controller)) return [];
  return cache
    .inNamespace<ReplicationController>(resources.replicationControllers, pod.metadata.namespace!)
    .filter((owner) => selectorMatches({ matchLabels: owner.spec?.selector ?? {} }, pod.metadata.labels))
    .map(keyOf);
}
