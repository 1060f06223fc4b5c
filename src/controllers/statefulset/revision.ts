import { resources } from "../../api/resources.ts";
import type { ControllerRevision, PodTemplateSpec, StatefulSet } from "../../api/types.ts";
import type { Action, Draft } from "../action.ts";
import { controllerReference, hashOf, stableJson } from "../pod-template.ts";

/**
 * Revisions of a StatefulSet's template, kept as ControllerRevisions: `kubectl rollout history` and `undo` read
 * them, and pods are rebuilt from them.
 * Source: k8s.io/kubernetes/pkg/controller/{history/controller_history.go,statefulset/stateful_set_utils.go}.
 */
export const revisionLabel = "controller-revision-hash";
const hashLabel = "controller.kubernetes.io/hash";

/** A patch that puts the template into a set: what `kubectl rollout undo` sends back. */
const dataOf = (set: StatefulSet): object => ({ spec: { template: { ...set.spec!.template, $patch: "replace" } } });

export function templateOf(revision: { data?: unknown }): PodTemplateSpec {
  const { $patch: _, ...template } = (revision.data as { spec: { template: PodTemplateSpec & { $patch?: string } } }).spec.template;
  return template;
}

export interface Revisions {
  current: { name: string; template: PodTemplateSpec };
  update: { name: string; template: PodTemplateSpec };
  /** What must be written before pods can be made. */
  actions: Action[];
  collisionCount?: number;
}

/** Which revision pods should reach, and which they come from. `known` belongs to the set. */
export function revisionsOf(set: StatefulSet, known: readonly ControllerRevision[], taken: (name: string) => boolean): Revisions {
  const sorted = [...known].sort((a, b) => a.revision - b.revision || (a.metadata.name < b.metadata.name ? -1 : 1));
  const data = dataOf(set);
  const text = stableJson(data);
  const equal = sorted.findLast((revision) => stableJson(revision.data) === text);
  const latest = sorted.at(-1);
  const number = (latest?.revision ?? 0) + 1;
  const actions: Action[] = [];
  let name = equal?.metadata.name;
  let collisionCount = set.status?.collisionCount ?? 0;
  if (equal && equal !== latest) {
    actions.push({ do: "update", resource: resources.controllerRevisions, object: { ...equal, revision: number } as ControllerRevision });
  } else if (!equal) {
    for (;;) {
      name = `${set.metadata.name}-${hashOf(data, collisionCount || undefined)}`;
      if (!taken(`${set.metadata.namespace}/${name}`)) break;
      collisionCount++;
    }
    const labels = { ...set.spec!.template?.metadata?.labels, [hashLabel]: name.slice(set.metadata.name.length + 1) };
    const draft: Draft = {
      apiVersion: "apps/v1",
      kind: "ControllerRevision",
      metadata: { name, namespace: set.metadata.namespace!, labels, ...(set.metadata.annotations && { annotations: set.metadata.annotations }), ownerReferences: [controllerReference(set, "apps/v1", "StatefulSet")] },
      data,
      revision: number,
    };
    actions.push({ do: "create", resource: resources.controllerRevisions, object: draft });
  }
  const update = { name: name!, template: set.spec!.template as PodTemplateSpec };
  const current = sorted.find((revision) => revision.metadata.name === set.status?.currentRevision);
  return { update, current: current ? { name: current.metadata.name, template: templateOf(current) } : update, actions, ...(collisionCount > 0 && { collisionCount }) };
}

/** Old revisions beyond the limit that no pod is of. */
export function truncateHistory(set: StatefulSet, known: readonly ControllerRevision[], live: ReadonlySet<string>): Action[] {
  const limit = set.spec?.revisionHistoryLimit ?? 10;
  const unused = known.filter((revision) => !live.has(revision.metadata.name) && !revision.metadata.deletionTimestamp).sort((a, b) => a.revision - b.revision);
  return unused.slice(0, Math.max(0, unused.length - limit)).map((object) => ({ do: "delete", resource: resources.controllerRevisions, object }));
}
