import { addQuantity, compareQuantity, parseQuantity } from "../../api/quantity.ts";
import { nodeName, resources } from "../../api/resources.ts";
import type { PersistentVolume, PersistentVolumeClaim, StorageClass } from "../../api/types.ts";
import { selectorMatches } from "../../api/validation/selector.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { byName } from "../claim.ts";
import { type Controller, controller } from "../runner.ts";
import { dataSourceOf, isOfSnapshot, referenceOf } from "./data-source.ts";
import { expand } from "./expansion.ts";
import { driverName, provisionedByAnnotation, volumeProtection } from "./names.ts";
import type { VolumeStorage } from "./storage.ts";

/**
 * Binds claims to volumes, and makes volumes for classes of our own provisioner: folders of this machine.
 * The claim is the driver: first the volume says whose it is, then the claim says which is its own.
 * Source: k8s.io/kubernetes/pkg/controller/volume/persistentvolume/pv_controller.go.
 */
const boundByControllerAnnotation = "pv.kubernetes.io/bound-by-controller";
const bindCompletedAnnotation = "pv.kubernetes.io/bind-completed";
const storageProvisionerAnnotation = "volume.kubernetes.io/storage-provisioner";
const selectedNodeAnnotation = "volume.kubernetes.io/selected-node";
const defaultClassAnnotation = "storageclass.kubernetes.io/is-default-class";

export function claimController(storage: VolumeStorage): Controller {
  return controller<PersistentVolumeClaim>({
    name: "persistentvolume-controller",
    for: resources.persistentVolumeClaims,
    watches: [
      { resource: resources.persistentVolumes, keys: claimsOfVolume },
      { resource: resources.storageClasses, keys: (_: StorageClass, cache) => unboundClaims(cache).map(keyOf) },
      { resource: resources.persistentVolumeClaims, keys: clonesOf },
    ],
    // Those that are made of a snapshot have a controller that hears of snapshots.
    plan: ({ object, cache }) => (isOfSnapshot(object) ? { actions: [] } : planClaim(object, cache, storage)),
  });
}

export const unboundClaims = (cache: Cache): PersistentVolumeClaim[] => cache.list<PersistentVolumeClaim>(resources.persistentVolumeClaims).filter((claim) => claim.status?.phase !== "Bound");

/** Claims that wait for this one to be bound, to be filled with what it holds. */
function clonesOf(source: PersistentVolumeClaim, cache: Cache): string[] {
  return unboundClaims(cache).filter((claim) => claim.metadata.namespace === source.metadata.namespace && referenceOf(claim)?.kind === "PersistentVolumeClaim" && referenceOf(claim)?.name === source.metadata.name).map(keyOf);
}

export const keyOf = ({ metadata }: { metadata: { namespace?: string; name: string } }): string => `${metadata.namespace}/${metadata.name}`;

/** A bound volume wakes its claim, a free one every claim that waits. */
export function claimsOfVolume(volume: PersistentVolume, cache: Cache): string[] {
  const owner = volume.spec?.claimRef;
  if (owner) return [`${owner.namespace}/${owner.name}`];
  return unboundClaims(cache).map(keyOf);
}

/** Of several default classes the youngest, as upstream. */
export const defaultClass = (cache: Cache): StorageClass | undefined =>
  cache
    .list<StorageClass>(resources.storageClasses)
    .filter(({ metadata }) => metadata.annotations?.[defaultClassAnnotation] === "true")
    .sort((a, b) => Date.parse(b.metadata.creationTimestamp) - Date.parse(a.metadata.creationTimestamp) || byName(a, b))[0];

export function planClaim(claim: PersistentVolumeClaim, cache: Cache, storage: VolumeStorage): Plan {
  const status = (next: object): Action => ({ do: "status", resource: resources.persistentVolumeClaims, object: { ...claim, status: { ...claim.status, ...next } } });
  const event = (type: "Normal" | "Warning", reason: string, message: string): Action => ({ do: "event", about: claim, type, reason, message });
  if (claim.metadata.deletionTimestamp) return { actions: [] };
  const bound = claim.metadata.annotations?.[bindCompletedAnnotation] !== undefined;
  if (bound) {
    const volume = cache.get<PersistentVolume>(resources.persistentVolumes, claim.spec?.volumeName ?? "");
    if (!volume || volume.spec?.claimRef?.uid !== claim.metadata.uid) {
      if (claim.status?.phase === "Lost") return { actions: [] };
      return { actions: [status({ phase: "Lost" }), event("Warning", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")] };
    }
    const capacity = volume.spec.capacity ?? {};
    const growing = expand(claim, volume, cache);
    if (growing) return growing;
    const attributes = attributesRefused(claim);
    if (claim.status?.phase === "Bound" && claim.status.capacity?.["storage"] !== undefined) return { actions: attributes === undefined ? [] : [event("Warning", "VolumeModifyFailed", attributes)] };
    return { actions: [status({ phase: "Bound", accessModes: volume.spec.accessModes ?? [], capacity })] };
  }
  if (claim.spec?.storageClassName === undefined) {
    const fallback = defaultClass(cache);
    if (fallback && !claim.spec?.volumeName) return { actions: [{ do: "update", resource: resources.persistentVolumeClaims, object: { ...claim, spec: { ...claim.spec, storageClassName: fallback.metadata.name } } as PersistentVolumeClaim }] };
  }
  const volume = findVolume(claim, cache);
  if (volume) return { actions: bind(claim, volume) };
  const pending = claim.status?.phase === undefined ? [status({ phase: "Pending" })] : [];
  if (claim.spec?.volumeName) return { actions: pending };
  const storageClass = cache.get<StorageClass>(resources.storageClasses, claim.spec?.storageClassName ?? "");
  if (!claim.spec?.storageClassName) return { actions: [...pending, event("Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set")] };
  if (!storageClass) return { actions: [...pending, event("Warning", "ProvisioningFailed", `storageclass.storage.k8s.io "${claim.spec.storageClassName}" not found`)] };
  if (storageClass.volumeBindingMode === "WaitForFirstConsumer" && !claim.metadata.annotations?.[selectedNodeAnnotation]) {
    return { actions: [...pending, event("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")] };
  }
  if (storageClass.provisioner !== driverName) {
    const waiting = `Waiting for a volume to be created either by the external provisioner '${storageClass.provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
    return { actions: [...pending, event("Normal", "ExternalProvisioning", waiting)] };
  }
  return { actions: [...pending, ...provision(claim, storageClass, cache, storage)] };
}

function provision(claim: PersistentVolumeClaim, storageClass: StorageClass, cache: Cache, storage: VolumeStorage): Action[] {
  const name = `pvc-${claim.metadata.uid}`;
  const event = (type: "Normal" | "Warning", reason: string, message: string): Action => ({ do: "event", about: claim, type, reason, message });
  const failed = (why: string): Action => event("Warning", "ProvisioningFailed", `failed to provision volume with StorageClass "${storageClass.metadata.name}": ${why}`);
  if (claim.spec?.volumeMode === "Block") return [failed("volumeMode Block is not supported: volumes are folders of this machine")];
  const attributes = attributesRefused(claim);
  if (attributes !== undefined) return [failed(attributes)];
  if (claim.spec?.selector) return [failed("claim Selector is not supported")];
  const source = dataSourceOf(claim, cache);
  if (source && "foreign" in source) return [event("Warning", "UnrecognizedDataSourceKind", source.foreign)];
  if (source && "wait" in source) return [failed(source.wait)];
  const create: Action = {
    do: "create",
    resource: resources.persistentVolumes,
    object: {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name, annotations: { [provisionedByAnnotation]: driverName }, finalizers: [volumeProtection] },
      spec: {
        capacity: { storage: claim.spec?.resources?.requests?.["storage"] },
        accessModes: claim.spec?.accessModes,
        volumeMode: claim.spec?.volumeMode ?? "Filesystem",
        persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? "Delete",
        storageClassName: storageClass.metadata.name,
        claimRef: referenceTo(claim),
        local: { path: `${storage.folder}/${name}` },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [nodeName] }] }] } },
      },
    },
    after: () => [event("Normal", "ProvisioningSucceeded", `Successfully provisioned volume ${name}`), event("Normal", "SizeNotEnforced", sizeNotEnforced)],
    orElse: (error) => [failed(error.message)],
  };
  if (!source) return [create];
  // Filled before anybody can bind it; made again it is not.
  return [event("Normal", "Provisioning", `External provisioner is provisioning volume for claim "${keyOf(claim)}"`), { do: "call", run: async () => void (await storage.copy(source.from, { volume: name }, source.claim)), orElse: (error) => [failed(error.message)] }, create];
}

/** A folder has no attributes, so nothing that a class of them says could be honoured. */
const attributesRefused = (claim: PersistentVolumeClaim): string | undefined => {
  const name = (claim.spec as { volumeAttributesClassName?: string } | undefined)?.volumeAttributesClassName;
  return name ? `volumeAttributesClassName ${JSON.stringify(name)} cannot be honoured: volumes are folders of this machine and have no attributes` : undefined;
};

const sizeNotEnforced = "The volume is a folder: its size is what it was asked for, and it may grow beyond that as the disk allows";

const referenceTo = (claim: PersistentVolumeClaim) => ({ apiVersion: "v1", kind: "PersistentVolumeClaim", namespace: claim.metadata.namespace!, name: claim.metadata.name, uid: claim.metadata.uid, resourceVersion: claim.metadata.resourceVersion });

/** The volume that is meant for this claim, or else the smallest free one that satisfies it. */
export function findVolume(claim: PersistentVolumeClaim, cache: Cache): PersistentVolume | undefined {
  const wanted = claim.spec?.volumeName;
  if (wanted) {
    const volume = cache.get<PersistentVolume>(resources.persistentVolumes, wanted);
    return volume && !volume.metadata.deletionTimestamp && (volume.spec?.claimRef === undefined || isFor(volume, claim)) ? volume : undefined;
  }
  const size = parseQuantity(String(claim.spec?.resources?.requests?.["storage"] ?? "0"));
  const capacity = (volume: PersistentVolume) => addQuantity(parseQuantity("0"), parseQuantity(String(volume.spec?.capacity?.["storage"] ?? "0")));
  const fitting = cache.list<PersistentVolume>(resources.persistentVolumes).filter(
    (volume) =>
      !volume.metadata.deletionTimestamp &&
      (isFor(volume, claim) || (volume.spec?.claimRef === undefined && (volume.status?.phase ?? "Available") === "Available")) &&
      (volume.spec?.storageClassName ?? "") === (claim.spec?.storageClassName ?? "") &&
      (volume.spec?.volumeMode ?? "Filesystem") === (claim.spec?.volumeMode ?? "Filesystem") &&
      (claim.spec?.accessModes ?? []).every((mode) => volume.spec?.accessModes?.includes(mode)) &&
      (!claim.spec?.selector || selectorMatches(claim.spec.selector, volume.metadata.labels)) &&
      compareQuantity(capacity(volume), size) >= 0,
  );
  return fitting.sort((a, b) => Number(isFor(b, claim)) - Number(isFor(a, claim)) || compareQuantity(capacity(a), capacity(b)) || byName(a, b))[0];
}

/** Also true of a volume that an administrator reserved by name, which has no uid yet. */
function isFor(volume: PersistentVolume, claim: PersistentVolumeClaim): boolean {
  const owner = volume.spec?.claimRef;
  return owner !== undefined && owner.namespace === claim.metadata.namespace && owner.name === claim.metadata.name && (owner.uid === undefined || owner.uid === "" || owner.uid === claim.metadata.uid);
}

function bind(claim: PersistentVolumeClaim, volume: PersistentVolume): Action[] {
  if (volume.spec?.claimRef?.uid !== claim.metadata.uid) {
    const reserved = volume.spec?.claimRef !== undefined;
    const annotations = { ...volume.metadata.annotations, ...(!reserved && { [boundByControllerAnnotation]: "yes" }) };
    const object = { ...volume, metadata: { ...volume.metadata, annotations }, spec: { ...volume.spec, claimRef: referenceTo(claim) } } as PersistentVolume;
    // The rest follows when the cache shows that the volume is ours: another claim may have been quicker.
    return [{ do: "update", resource: resources.persistentVolumes, object }];
  }
  const provisioner = volume.metadata.annotations?.[provisionedByAnnotation];
  const annotations = {
    ...claim.metadata.annotations,
    [bindCompletedAnnotation]: "yes",
    ...(!claim.spec?.volumeName && { [boundByControllerAnnotation]: "yes" }),
    ...(provisioner && { [storageProvisionerAnnotation]: provisioner }),
  };
  return [{ do: "update", resource: resources.persistentVolumeClaims, object: { ...claim, metadata: { ...claim.metadata, annotations }, spec: { ...claim.spec, volumeName: volume.metadata.name } } as PersistentVolumeClaim }];
}
