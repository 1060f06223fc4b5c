import { resources } from "../../api/resources.ts";
import type { PersistentVolumeClaim, Pod } from "../../api/types.ts";
import type { Action } from "../action.ts";
import { isFinished } from "../pods.ts";
import { controller } from "../runner.ts";

/** The claim behind a generic ephemeral volume of a pod. */
export const ephemeralClaimName = (pod: Pod, volume: { name: string }): string => `${pod.metadata.name}-${volume.name}`;

/** Why a claim of the right name is not this pod's; undefined if it is. Source: k8s.io/component-helpers/storage/ephemeral. */
export function notOwned(pod: Pod, claim: PersistentVolumeClaim): string | undefined {
  if (claim.metadata.ownerReferences?.some(({ uid, controller: isController }) => isController && uid === pod.metadata.uid)) return undefined;
  return `PVC ${claim.metadata.namespace}/${claim.metadata.name} was not created for pod ${pod.metadata.namespace}/${pod.metadata.name} (pod is not owner)`;
}

/**
 * Makes the claims of generic ephemeral volumes; the garbage collector takes them away with their pod.
 * Source: k8s.io/kubernetes/pkg/controller/volume/ephemeral/controller.go.
 */
export const ephemeralVolumeController = controller<Pod>({
  name: "ephemeral-volume-controller",
  for: resources.pods,
  owns: { kind: "Pod", resources: [resources.persistentVolumeClaims] },
  plan: ({ object: pod, cache }) => {
    if (pod.metadata.deletionTimestamp || isFinished(pod)) return { actions: [] };
    const actions = (pod.spec?.volumes ?? []).flatMap((volume): Action[] => {
      const template = volume.ephemeral?.volumeClaimTemplate;
      if (!template) return [];
      const name = ephemeralClaimName(pod, volume);
      const failed = (why: string): Action => ({ do: "event", about: pod, type: "Warning", reason: "FailedBinding", message: `ephemeral volume ${volume.name}: ${why}` });
      const claim = cache.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, `${pod.metadata.namespace}/${name}`);
      if (claim) {
        const foreign = notOwned(pod, claim);
        return foreign === undefined ? [] : [failed(foreign)];
      }
      const { labels, annotations } = (template.metadata ?? {}) as { labels?: object; annotations?: object };
      const owner = { apiVersion: "v1", kind: "Pod", name: pod.metadata.name, uid: pod.metadata.uid, controller: true, blockOwnerDeletion: true };
      return [
        {
          do: "create",
          resource: resources.persistentVolumeClaims,
          object: { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name, namespace: pod.metadata.namespace!, ...(labels && { labels }), ...(annotations && { annotations }), ownerReferences: [owner] }, spec: template.spec },
          orElse: (error) => [failed(error.message)],
        },
      ];
    });
    return { actions };
  },
});
