import { resources } from "../../api/resources.ts";
import type { Deployment, ReplicaSet } from "../../api/types.ts";
import type { Action } from "../action.ts";
import { controllerReference, hashOf, sameTemplate, templateHashLabel } from "../pod-template.ts";
import { desiredAnnotation, maxAnnotation, maxSurge, wantedReplicas } from "./replicas.ts";

/**
 * Revisions: which ReplicaSet is the new one, its number, and the annotations that `kubectl rollout history` and
 * `undo` read.
 * Source: k8s.io/kubernetes/pkg/controller/deployment/{sync.go,util/deployment_util.go}.
 */
export const revisionAnnotation = "deployment.kubernetes.io/revision";
const historyAnnotation = "deployment.kubernetes.io/revision-history";
const historyCharactersMax = 2000;
/** What belongs to the Deployment alone. */
const notCopied = new Set(["kubectl.kubernetes.io/last-applied-configuration", revisionAnnotation, historyAnnotation, desiredAnnotation, maxAnnotation, "deprecated.deployment.rollback.to"]);

export const revisionOf = (object: { metadata: { annotations?: Record<string, string> } }): number => Number(object.metadata.annotations?.[revisionAnnotation] ?? 0) || 0;
export const oldestFirst = (a: ReplicaSet, b: ReplicaSet): number =>
  Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp) || (a.metadata.name < b.metadata.name ? -1 : 1);

/** The set whose template is the Deployment's; of several (after a race) the oldest. */
export const findNewSet = (deployment: Deployment, sets: readonly ReplicaSet[]): ReplicaSet | undefined => [...sets].sort(oldestFirst).find((set) => sameTemplate(set.spec?.template, deployment.spec?.template));

/** The annotations that a set should have as revision `number`. */
export function setAnnotations(deployment: Deployment, set: Pick<ReplicaSet, "metadata"> | undefined, number: number): Record<string, string> {
  const annotations = { ...set?.metadata.annotations };
  for (const [key, value] of Object.entries(deployment.metadata.annotations ?? {})) if (!notCopied.has(key)) annotations[key] = value;
  const old = annotations[revisionAnnotation];
  if ((Number(old ?? 0) || 0) < number) {
    annotations[revisionAnnotation] = String(number);
    // After an undo a set is a second time the new one: its former numbers are kept.
    if (set && old !== undefined) {
      let history = [...(annotations[historyAnnotation]?.split(",") ?? []), old].filter((entry) => entry !== "");
      while (history.join(",").length > historyCharactersMax) history = history.slice(1);
      annotations[historyAnnotation] = history.join(",");
    }
  }
  return annotations;
}
export function replicasAnnotations(deployment: Deployment): Record<string, string> {
  const wanted = wantedReplicas(deployment);
  return { [desiredAnnotation]: String(wanted), [maxAnnotation]: String(wanted + maxSurge(deployment)) };
}

/** The set for the present template, yet to be created with `replicas` pods. */
export function newReplicaSet(deployment: Deployment, revision: number, replicas: number): ReplicaSet {
  const template = deployment.spec!.template!;
  const hash = hashOf(template, deployment.status?.collisionCount);
  const labels = { ...template.metadata?.labels, [templateHashLabel]: hash };
  const { selector, minReadySeconds } = deployment.spec!;
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace!,
      labels,
      annotations: { ...setAnnotations(deployment, undefined, revision), ...replicasAnnotations(deployment) },
      ownerReferences: [controllerReference(deployment, "apps/v1", "Deployment")],
    },
    spec: {
      replicas,
      ...(minReadySeconds && { minReadySeconds }),
      selector: { ...selector, matchLabels: { ...selector?.matchLabels, [templateHashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  } as unknown as ReplicaSet;
}

/** Deletes the oldest revisions that hold no pods, down to the limit. */
export function cleanUp(deployment: Deployment, oldSets: readonly ReplicaSet[]): Action[] {
  const limit = deployment.spec?.revisionHistoryLimit;
  if (limit === undefined || limit === 2 ** 31 - 1) return [];
  const candidates = oldSets.filter((set) => !set.metadata.deletionTimestamp).sort((a, b) => revisionOf(a) - revisionOf(b) || oldestFirst(a, b));
  return candidates
    .slice(0, Math.max(0, candidates.length - limit))
    .filter((set) => wantedReplicas(set) === 0 && (set.status?.replicas ?? 0) === 0 && (set.metadata.generation ?? 0) <= (set.status?.observedGeneration ?? 0))
    .map((set) => ({ do: "delete", resource: resources.replicaSets, object: set, options: { propagationPolicy: "Background" } }));
}
