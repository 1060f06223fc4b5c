import { resources } from "../api/resources.ts";
import type { ControllerRevision, PodTemplateSpec } from "../api/types.ts";
import type { ObjectMeta } from "../api/meta.ts";
import type { Action, Draft } from "./action.ts";
import { controllerReference, hashOf, stableJson } from "./pod-template.ts";

/**
 * Revisions of a StatefulSet's or DaemonSet's template, kept as ControllerRevisions: `kubectl rollout history` and
 * `undo` read them, and pods are rebuilt from them.
 * Source: k8s.io/kubernetes/pkg/controller/{history/controller_history.go,statefulset/stateful_set_utils.go,daemon/update.go}.
 */
export const revisionLabel = "controller-revision-hash";
const hashLabels = { StatefulSet: "controller.kubernetes.io/hash", DaemonSet: revisionLabel };

export interface RevisionOwner {
  kind: string;
  metadata: ObjectMeta;
  spec?: { template?: unknown; revisionHistoryLimit?: number | undefined } | undefined;
  status?: { collisionCount?: number | undefined; currentRevision?: string | undefined } | undefined;
}

/** A patch that puts the template into a set: what `kubectl rollout undo` sends back. */
const dataOf = (owner: RevisionOwner): object => ({ spec: { template: { ...(owner.spec!.template as object), $patch: "replace" } } });

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

/** Which revision pods should reach, and which they come from. `known` belongs to the owner. */
export function revisionsOf(owner: RevisionOwner, known: readonly ControllerRevision[], taken: (name: string) => boolean): Revisions {
  const sorted = [...known].sort((a, b) => a.revision - b.revision || (a.metadata.name < b.metadata.name ? -1 : 1));
  const data = dataOf(owner);
  const text = stableJson(data);
  const equal = sorted.findLast((revision) => stableJson(revision.data) === text);
  const latest = sorted.at(-1);
  const number = (latest?.revision ?? 0) + 1;
  const actions: Action[] = [];
  const template = owner.spec!.template as PodTemplateSpec;
  let name = equal?.metadata.name;
  let collisionCount = owner.status?.collisionCount ?? 0;
  if (equal && equal !== latest) {
    actions.push({ do: "update", resource: resources.controllerRevisions, object: { ...equal, revision: number } as ControllerRevision });
  } else if (!equal) {
    for (;;) {
      name = `${owner.metadata.name}-${hashOf(data, collisionCount || undefined)}`;
      if (!taken(`${owner.metadata.namespace}/${name}`)) break;
      collisionCount++;
    }
    const labels = { ...template.metadata?.labels, [hashLabels[owner.kind as keyof typeof hashLabels]]: hashIn(owner, name) };
    const draft: Draft = {
      apiVersion: "apps/v1",
      kind: "ControllerRevision",
      metadata: { name, namespace: owner.metadata.namespace!, labels, ...(owner.metadata.annotations && { annotations: owner.metadata.annotations }), ownerReferences: [controllerReference(owner, "apps/v1", owner.kind)] },
      data,
      revision: number,
    };
    actions.push({ do: "create", resource: resources.controllerRevisions, object: draft });
  }
  const update = { name: name!, template };
  const current = sorted.find((revision) => revision.metadata.name === owner.status?.currentRevision);
  return { update, current: current ? { name: current.metadata.name, template: templateOf(current) } : update, actions, ...(collisionCount > 0 && { collisionCount }) };
}

/** The part of a revision's name that tells it from the others. */
export const hashIn = (owner: { metadata: { name: string } }, revisionName: string): string => revisionName.slice(owner.metadata.name.length + 1);

/** Old revisions beyond the limit that no pod is of. */
export function truncateHistory(owner: RevisionOwner, known: readonly ControllerRevision[], live: ReadonlySet<string>): Action[] {
  const limit = owner.spec?.revisionHistoryLimit ?? 10;
  const unused = known.filter((revision) => !live.has(revision.metadata.name) && !revision.metadata.deletionTimestamp).sort((a, b) => a.revision - b.revision);
  return unused.slice(0, Math.max(0, unused.length - limit)).map((object) => ({ do: "delete", resource: resources.controllerRevisions, object }));
}
