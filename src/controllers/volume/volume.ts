import { resources } from "../../api/resources.ts";
import type { PersistentVolume, PersistentVolumeClaim, Pod } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { isFinished } from "../pods.ts";
import { type Controller, controller } from "../runner.ts";
import { ephemeralClaimName } from "./ephemeral.ts";
import { driverName, provisionedByAnnotation, volumeProtection } from "./names.ts";

/**
 * The phase of a volume, and what becomes of it when its claim is gone.
 * `removeFolder` deletes what a volume of our own provisioner holds.
 */
export function volumeController(removeFolder: (volumeName: string) => Promise<void>): Controller {
  return controller<PersistentVolume>({
    name: "persistentvolume-reclaim-controller",
    for: resources.persistentVolumes,
    watches: [
      {
        resource: resources.persistentVolumeClaims,
        keys: (claim: PersistentVolumeClaim, cache) => (claim.spec?.volumeName ? [claim.spec.volumeName] : cache.list<PersistentVolume>(resources.persistentVolumes).filter(({ spec }) => spec?.claimRef?.name === claim.metadata.name && spec.claimRef.namespace === claim.metadata.namespace).map(({ metadata }) => metadata.name)),
      },
    ],
    plan: ({ object, cache }) => planVolume(object, cache, removeFolder),
  });
}

export function planVolume(volume: PersistentVolume, cache: Cache, removeFolder: (volumeName: string) => Promise<void>): Plan {
  const { name, finalizers = [], deletionTimestamp, annotations } = volume.metadata;
  const owner = volume.spec?.claimRef;
  const claim = owner && cache.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, `${owner.namespace}/${owner.name}`);
  const owned = claim !== undefined && owner?.uid === claim.metadata.uid;
  // Created by a claim that the cache does not show yet? A claim is in the store before anything bears its uid.
  const phase = !owner || !owner.uid ? "Available" : owned ? "Bound" : "Released";
  const actions: Action[] = [];
  if (!deletionTimestamp && !finalizers.includes(volumeProtection)) return { actions: [setFinalizers(resources.persistentVolumes, volume, [...finalizers, volumeProtection])] };
  if (deletionTimestamp) {
    if (phase === "Bound" || !finalizers.includes(volumeProtection)) return { actions };
    return { actions: [setFinalizers(resources.persistentVolumes, volume, finalizers.filter((finalizer) => finalizer !== volumeProtection))] };
  }
  // What could not be reclaimed stays Failed until somebody frees it.
  const hasFailed = phase === "Released" && volume.status?.phase === "Failed";
  const { reason: _, message: __, ...lasting } = volume.status ?? {};
  const say = (next: object): Action => ({ do: "status", resource: resources.persistentVolumes, object: { ...volume, status: { ...lasting, ...next } } });
  if (volume.status?.phase !== phase && !hasFailed) actions.push(say({ phase }));
  if (phase !== "Released") return { actions };
  const fail = (reason: string, message: string): Action[] => (hasFailed && volume.status?.message === message ? [] : [say({ phase: "Failed", reason, message }), { do: "event", about: volume, type: "Warning", reason, message }]);
  const policy = volume.spec?.persistentVolumeReclaimPolicy;
  const isOurs = annotations?.[provisionedByAnnotation] === driverName;
  // One status at a time: this one wakes the next.
  if (actions.length > 0 && !(policy === "Delete" && isOurs)) return { actions };
  if (policy === "Recycle") return { actions: fail("VolumeFailedRecycle", "No recycler plugin found for the volume!") };
  if (policy !== "Delete") return { actions };
  if (!isOurs) return { actions: fail("VolumeFailedDelete", `error getting deleter volume plugin for volume ${JSON.stringify(name)}: no deletable volume plugin matched`) };
  const reclaim: Action[] = [{ do: "call", run: () => removeFolder(name), orElse: (error) => fail("VolumeFailedDelete", error.message) }, { do: "delete", resource: resources.persistentVolumes, object: volume }];
  // Data goes only when the server itself says that the claim is gone.
  actions.push({ do: "ifAbsent", namespace: owner!.namespace!, resources: [resources.persistentVolumeClaims], uid: owner!.uid!, actions: reclaim });
  return { actions };
}

const claimProtection = "kubernetes.io/pvc-protection";

/** A claim that a pod uses stays until the pod is through. Source: k8s.io/kubernetes/pkg/controller/volume/pvcprotection. */
export const claimProtectionController = controller<PersistentVolumeClaim>({
  name: "persistentvolumeclaim-protection-controller",
  for: resources.persistentVolumeClaims,
  watches: [{ resource: resources.pods, keys: (pod: Pod) => claimNames(pod).map((name) => `${pod.metadata.namespace}/${name}`) }],
  plan: ({ object, cache }) => {
    const { finalizers = [], deletionTimestamp, namespace, name } = object.metadata;
    const has = finalizers.includes(claimProtection);
    if (!deletionTimestamp) return { actions: has ? [] : [setFinalizers(resources.persistentVolumeClaims, object, [...finalizers, claimProtection])] };
    const used = cache.inNamespace<Pod>(resources.pods, namespace!).some((pod) => pod.spec?.nodeName && !isFinished(pod) && claimNames(pod).includes(name));
    return { actions: has && !used ? [setFinalizers(resources.persistentVolumeClaims, object, finalizers.filter((finalizer) => finalizer !== claimProtection))] : [] };
  },
});

const claimNames = (pod: Pod): string[] => (pod.spec?.volumes ?? []).flatMap((volume) => (volume.persistentVolumeClaim ? [volume.persistentVolumeClaim.claimName] : volume.ephemeral ? [ephemeralClaimName(pod, volume)] : []));

function setFinalizers(resource: typeof resources.persistentVolumes | typeof resources.persistentVolumeClaims, object: PersistentVolume | PersistentVolumeClaim, finalizers: string[]): Action {
  return { do: "update", resource, object: { ...object, metadata: { ...object.metadata, finalizers } } as PersistentVolume };
}
