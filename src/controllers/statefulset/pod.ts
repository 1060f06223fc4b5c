import type { OwnerReference } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { PersistentVolumeClaim, Pod, PodTemplateSpec, StatefulSet, Volume } from "../../api/types.ts";
import type { Action, Draft } from "../action.ts";
import type { Cache } from "../cache.ts";
import { controllerReference, podFromTemplate } from "../pod-template.ts";
import { revisionLabel } from "../revision.ts";

/**
 * A StatefulSet's pods have names, numbers and claims of their own.
 * Source: k8s.io/kubernetes/pkg/controller/statefulset/{stateful_set_utils,stateful_pod_control}.go.
 */
export const podNameLabel = "statefulset.kubernetes.io/pod-name";
export const podIndexLabel = "apps.kubernetes.io/pod-index";

/** 3 of "web-3" for the set "web"; -1 when the name is not of that form. */
export function ordinalOf(set: StatefulSet, pod: { metadata: { name: string } }): number {
  const match = /^(.*)-(\d+)$/.exec(pod.metadata.name);
  return match && match[1] === set.metadata.name ? Number(match[2]) : -1;
}

export const claimName = (template: { metadata?: { name?: string } }, set: StatefulSet, ordinal: number): string => `${template.metadata?.name}-${set.metadata.name}-${ordinal}`;

export function podOf(set: StatefulSet, revision: { name: string; template: PodTemplateSpec }, ordinal: number): Draft {
  const name = `${set.metadata.name}-${ordinal}`;
  const pod = podFromTemplate(revision.template, set.metadata.namespace!, controllerReference(set, "apps/v1", "StatefulSet"));
  const claims = (set.spec?.volumeClaimTemplates ?? []).map((template): Volume => ({ name: template.metadata!.name!, persistentVolumeClaim: { claimName: claimName(template, set, ordinal), readOnly: false } }));
  const claimed = new Set(claims.map((volume) => volume.name));
  const volumes = [...claims, ...((revision.template.spec?.volumes ?? []) as Volume[]).filter((volume) => !claimed.has(volume.name))];
  return {
    ...pod,
    metadata: { ...pod.metadata, name, labels: { ...pod.metadata.labels, [podNameLabel]: name, [podIndexLabel]: String(ordinal), [revisionLabel]: revision.name } },
    spec: { ...revision.template.spec, hostname: name, ...(set.spec?.serviceName && { subdomain: set.spec.serviceName }), ...(volumes.length > 0 && { volumes }) },
  };
}

/** The claims that the pod of this ordinal needs and that do not exist yet. */
export function createClaims(set: StatefulSet, ordinal: number, cache: Cache): Action[] {
  return (set.spec?.volumeClaimTemplates ?? []).flatMap((template): Action[] => {
    const name = claimName(template, set, ordinal);
    if (cache.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, `${set.metadata.namespace}/${name}`)) return [];
    const owners = claimOwners(set, undefined, false, []);
    const object: Draft = {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: {
        name,
        namespace: set.metadata.namespace!,
        labels: { ...template.metadata?.labels, ...set.spec?.selector?.matchLabels },
        ...(template.metadata?.annotations && { annotations: template.metadata.annotations }),
        ...(owners.length > 0 && { ownerReferences: owners }),
      },
      spec: template.spec,
    };
    const pod = `${set.metadata.name}-${ordinal}`;
    return [
      {
        do: "create",
        resource: resources.persistentVolumeClaims,
        object,
        after: () => [{ do: "event", about: set, type: "Normal", reason: "SuccessfulCreate", message: `create Claim ${name} Pod ${pod} in StatefulSet ${set.metadata.name} success` }],
        orElse: (error) => [{ do: "event", about: set, type: "Warning", reason: "FailedCreate", message: `create Claim ${name} for Pod ${pod} in StatefulSet ${set.metadata.name} failed error: ${error.message}` }],
      },
    ];
  });
}

/**
 * Who owns a claim, by the set's retention policy: the set, if claims shall go with it; the pod, if it is being scaled
 * away and claims shall go then. The garbage collector does the rest.
 */
function claimOwners(set: StatefulSet, pod: Pod | undefined, condemned: boolean, present: readonly OwnerReference[]): OwnerReference[] {
  const { whenDeleted = "Retain", whenScaled = "Retain" } = set.spec?.persistentVolumeClaimRetentionPolicy ?? {};
  const others = present.filter(({ uid, kind, name }) => uid !== set.metadata.uid && !(kind === "Pod" && ordinalOf(set, { metadata: { name } }) >= 0));
  const reference = ({ metadata }: { metadata: { name: string; uid: string } }, apiVersion: string, kind: string): OwnerReference => ({ apiVersion, kind, name: metadata.name, uid: metadata.uid });
  return [
    ...others,
    ...(whenDeleted === "Delete" && !(condemned && whenScaled === "Delete") ? [reference(set, "apps/v1", "StatefulSet")] : []),
    ...(condemned && whenScaled === "Delete" && pod ? [reference(pod, "v1", "Pod")] : []),
  ];
}

/** Changes the owners of a pod's claims where the policy, or the pod's fate, has changed. */
export function syncClaimOwners(set: StatefulSet, pod: Pod, condemned: boolean, cache: Cache): Action[] {
  return (set.spec?.volumeClaimTemplates ?? []).flatMap((template): Action[] => {
    const claim = cache.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, `${set.metadata.namespace}/${claimName(template, set, ordinalOf(set, pod))}`);
    if (!claim || claim.metadata.deletionTimestamp) return [];
    const present = claim.metadata.ownerReferences ?? [];
    const wanted = claimOwners(set, pod, condemned, present);
    const uids = (owners: readonly OwnerReference[]): string => owners.map(({ uid }) => uid).sort().join();
    if (uids(wanted) === uids(present)) return [];
    return [{ do: "patch", resource: resources.persistentVolumeClaims, object: claim, patch: { metadata: { resourceVersion: claim.metadata.resourceVersion, ownerReferences: wanted.length > 0 ? wanted : null } } }];
  });
}

export function createPod(set: StatefulSet, draft: Draft, ordinal: number, cache: Cache): Action[] {
  const name = draft.metadata.name!;
  return [
    ...createClaims(set, ordinal, cache),
    {
      do: "create",
      resource: resources.pods,
      object: draft,
      after: () => [{ do: "event", about: set, type: "Normal", reason: "SuccessfulCreate", message: `create Pod ${name} in StatefulSet ${set.metadata.name} successful` }],
      orElse: (error) => [{ do: "event", about: set, type: "Warning", reason: "FailedCreate", message: `create Pod ${name} in StatefulSet ${set.metadata.name} failed error: ${error.message}` }],
    },
  ];
}

export function deletePod(set: StatefulSet, pod: Pod): Action {
  return {
    do: "delete",
    resource: resources.pods,
    object: pod,
    after: () => [{ do: "event", about: set, type: "Normal", reason: "SuccessfulDelete", message: `delete Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} successful` }],
    orElse: (error) => [{ do: "event", about: set, type: "Warning", reason: "FailedDelete", message: `delete Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} failed error: ${error.message}` }],
  };
}
