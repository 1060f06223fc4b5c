import type { OwnerReference } from "../../api/meta.ts";
import { type GraphNode, foregroundFinalizer, type OwnerGraph, orphanFinalizer, ownersOf, waitsFor } from "./graph.ts";

/**
 * What to do about one object. Pure: whether an owner that the graph does not know really is absent was asked of
 * the server before, and comes in as `ownerState`.
 * Source: k8s.io/kubernetes/pkg/controller/garbagecollector/garbagecollector.go.
 */
export type OwnerState =
  /** It exists. */
  | "solid"
  /** Nothing of that kind, name and uid exists. */
  | "absent"
  /** It is being deleted in the foreground and waits for this object. */
  | "waiting"
  /** It exists in another namespace, where a reference does not reach: as good as absent, but worth a warning. */
  | "elsewhere"
  /** The dependent has no namespace and the owner has: there is no telling which is meant, so nothing is deleted. */
  | "unresolvable";

export type GarbageStep =
  | { step: "delete"; node: GraphNode; propagationPolicy: "Background" | "Foreground" | "Orphan" }
  | { step: "setOwners"; node: GraphNode; ownerReferences: OwnerReference[] }
  | { step: "dropFinalizer"; node: GraphNode; finalizer: string }
  | { step: "warnForeign"; node: GraphNode; owner: OwnerReference };

export function planGarbage(node: GraphNode, graph: OwnerGraph, ownerState: (owner: OwnerReference) => OwnerState): GarbageStep[] {
  const { object } = node;
  const { uid, finalizers = [], deletionTimestamp } = object.metadata;
  const dependents = graph.dependentsOf(uid);

  if (waitsFor(object, orphanFinalizer)) {
    const freed = dependents.map((dependent): GarbageStep => ({ step: "setOwners", node: dependent, ownerReferences: ownersOf(dependent.object).filter((owner) => owner.uid !== uid) }));
    return freed.length > 0 ? freed : [{ step: "dropFinalizer", node, finalizer: orphanFinalizer }];
  }
  if (waitsFor(object, foregroundFinalizer)) {
    // Dependents that block go first; each is looked at by itself, and its end wakes this object again.
    const blocking = dependents.filter((dependent) => ownersOf(dependent.object).some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true));
    return blocking.length > 0 ? [] : [{ step: "dropFinalizer", node, finalizer: foregroundFinalizer }];
  }
  if (deletionTimestamp || ownersOf(object).length === 0) return [];

  const states = ownersOf(object).map((owner) => ({ owner, state: ownerState(owner) }));
  const warnings = states.filter(({ state }) => state === "elsewhere" || state === "unresolvable").map(({ owner }): GarbageStep => ({ step: "warnForeign", node, owner }));
  if (states.some(({ state }) => state === "unresolvable")) return warnings;
  const solid = states.filter(({ state }) => state === "solid");
  if (solid.length === states.length) return [];
  if (solid.length > 0) return [...warnings, { step: "setOwners", node, ownerReferences: solid.map(({ owner }) => owner) }];
  const waiting = states.some(({ state }) => state === "waiting");
  const propagationPolicy = (waiting && dependents.length > 0) || finalizers.includes(foregroundFinalizer) ? "Foreground" : finalizers.includes(orphanFinalizer) ? "Orphan" : "Background";
  return [...warnings, { step: "delete", node, propagationPolicy }];
}
