import { type KubeObject, timestamp } from "../../../api/meta.ts";
import { formatQuantity, parseQuantity } from "../../../api/quantity.ts";
import { resources } from "../../../api/resources.ts";
import { type VolumeSnapshot, type VolumeSnapshotClass, volumeSnapshotClasses, type VolumeSnapshotContent, volumeSnapshotContents, volumeSnapshots } from "../../../api/snapshot/types.ts";
import type { PersistentVolume, PersistentVolumeClaim } from "../../../api/types.ts";
import type { Action, Plan } from "../../action.ts";
import type { Cache } from "../../cache.ts";
import { byName } from "../../claim.ts";
import { type Controller, controller } from "../../runner.ts";
import { isOfSnapshot, referenceOf } from "../data-source.ts";
import { driverName, provisionedByAnnotation } from "../names.ts";

/**
 * What a user asks for: finds or makes the content behind a VolumeSnapshot, and shows how it stands with it.
 * Source: kubernetes-csi/external-snapshotter/pkg/common-controller/snapshot_controller.go.
 */
export const claimFinalizer = "snapshot.storage.kubernetes.io/pvc-as-source-protection";
const finalizers = ["snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection", "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"];
export const beingDeleted = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
const defaultAnnotation = "snapshot.storage.kubernetes.io/is-default-class";

export const snapshotController: Controller = controller<VolumeSnapshot>({
  name: "snapshot-controller",
  for: volumeSnapshots,
  watches: [
    { resource: volumeSnapshotContents, keys: ({ spec }: VolumeSnapshotContent) => [`${spec.volumeSnapshotRef.namespace}/${spec.volumeSnapshotRef.name}`] },
    // What waits for a claim to be bound, for a class, or for the end of a restore.
    { resource: volumeSnapshotClasses, keys: (_: VolumeSnapshotClass, cache) => cache.list<VolumeSnapshot>(volumeSnapshots).filter(({ status }) => !status?.readyToUse).map(keyOf) },
    { resource: resources.persistentVolumeClaims, keys: (claim: PersistentVolumeClaim, cache) => concernedBy(claim, cache).map(keyOf) },
  ],
  reads: [resources.persistentVolumes],
  plan: ({ object, cache, nowMs }) => planSnapshot(object, cache, nowMs),
});

const keyOf = ({ metadata }: VolumeSnapshot): string => `${metadata.namespace}/${metadata.name}`;
const concernedBy = (claim: PersistentVolumeClaim, cache: Cache): VolumeSnapshot[] =>
  cache
    .inNamespace<VolumeSnapshot>(volumeSnapshots, claim.metadata.namespace!)
    .filter(({ metadata, spec, status }) => (spec.source.persistentVolumeClaimName === claim.metadata.name && (!status?.readyToUse || claim.metadata.finalizers?.includes(claimFinalizer))) || (metadata.deletionTimestamp !== undefined && isRestoredBy(metadata.name, claim)));
const isRestoredBy = (snapshot: string, claim: PersistentVolumeClaim): boolean => isOfSnapshot(claim) && referenceOf(claim)!.name === snapshot;
const isTaken = ({ status }: VolumeSnapshot): boolean => status?.readyToUse === true;

export function planSnapshot(snapshot: VolumeSnapshot, cache: Cache, nowMs: number): Plan {
  const { namespace, name, uid } = snapshot.metadata;
  const event = (type: "Normal" | "Warning", reason: string, message: string): Action => ({ do: "event", about: snapshot as unknown as KubeObject, type, reason, message });
  const { source } = snapshot.spec;
  if (snapshot.metadata.deletionTimestamp) return planDeletion(snapshot, cache, event);
  const present = snapshot.metadata.finalizers ?? [];
  const missing = finalizers.filter((finalizer) => !present.includes(finalizer));
  if (missing.length > 0) return { actions: [update({ ...snapshot, metadata: { ...snapshot.metadata, finalizers: [...present, ...missing] } })] };

  const fail = (reason: string, message: string): Plan => {
    if (snapshot.status?.error?.message === message) return { actions: [] };
    return { actions: [writeStatus(snapshot, { ...snapshot.status, readyToUse: false, error: { time: timestamp(nowMs), message } }), event("Warning", reason, message)] };
  };

  if (source.volumeSnapshotContentName !== undefined) {
    const content = cache.get<VolumeSnapshotContent>(volumeSnapshotContents, source.volumeSnapshotContentName);
    if (!content) return fail("SnapshotContentMissing", "VolumeSnapshotContent is missing");
    if (content.spec.source.snapshotHandle === undefined) return fail("SnapshotContentMismatch", "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one");
    const owner = content.spec.volumeSnapshotRef;
    if (owner.name !== name || owner.namespace !== namespace || (owner.uid && owner.uid !== uid)) return fail("SnapshotContentMisbound", `VolumeSnapshotContent [${content.metadata.name}] is bound to a different snapshot`);
    if (!owner.uid) return { actions: [{ do: "update", resource: volumeSnapshotContents, object: { ...content, spec: { ...content.spec, volumeSnapshotRef: { ...owner, uid } } } }] };
    return follow(snapshot, content, event);
  }

  const className = snapshot.spec.volumeSnapshotClassName;
  const contentName = `snapcontent-${uid}`;
  const content = cache.get<VolumeSnapshotContent>(volumeSnapshotContents, contentName);
  if (content) {
    const plan = follow(snapshot, content, event);
    return plan.actions.length > 0 ? plan : { actions: releaseClaim(snapshot, cache) };
  }
  if (className === undefined) {
    const defaults = cache.list<VolumeSnapshotClass>(volumeSnapshotClasses).filter(({ metadata, driver }) => metadata.annotations?.[defaultAnnotation] === "true" && driver === driverName).sort(byName);
    if (defaults.length !== 1) return fail("SetDefaultSnapshotClassFailed", `Failed to set default snapshot class with error ${defaults.length === 0 ? "cannot find default snapshot class" : `${defaults.length} default snapshot classes were found`}`);
    return { actions: [update({ ...snapshot, spec: { ...snapshot.spec, volumeSnapshotClassName: defaults[0]!.metadata.name } })] };
  }
  const snapshotClass = cache.get<VolumeSnapshotClass>(volumeSnapshotClasses, className);
  if (!snapshotClass) return fail("GetSnapshotClassFailed", `Failed to get snapshot class with error volumesnapshotclass.snapshot.storage.k8s.io "${className}" not found`);
  const notMade = (why: string): Plan => fail("SnapshotContentCreationFailed", `Failed to create snapshot content with error ${why}`);
  const claimName = source.persistentVolumeClaimName!;
  const claim = cache.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, `${namespace}/${claimName}`);
  if (!claim) return notMade(`snapshot controller failed to update ${name} on API server: cannot get claim from snapshot`);
  if (claim.metadata.deletionTimestamp) return notMade(`cannot add finalizer on claim [${namespace}/${claimName}] for snapshot [${namespace}/${name}]: claim is being deleted`);
  const volume = claim.status?.phase === "Bound" ? cache.get<PersistentVolume>(resources.persistentVolumes, claim.spec?.volumeName ?? "") : undefined;
  if (!volume) return notMade(`the PVC ${claimName} is not yet bound to a PV, will not attempt to take a snapshot`);
  if (volume.metadata.annotations?.[provisionedByAnnotation] !== driverName || snapshotClass.driver !== driverName) return notMade(`cannot find CSI PersistentVolumeSource for volume ${volume.metadata.name}: only volumes of ${driverName} can be snapshotted, by classes with that driver`);
  // It must not go before it is copied.
  if (!claim.metadata.finalizers?.includes(claimFinalizer)) return { actions: [setClaimFinalizers(claim, [...(claim.metadata.finalizers ?? []), claimFinalizer])] };
  return {
    actions: [
      {
        do: "create",
        resource: volumeSnapshotContents,
        object: {
          apiVersion: snapshot.apiVersion,
          kind: "VolumeSnapshotContent",
          metadata: { name: contentName, finalizers: [contentFinalizer] },
          spec: {
            deletionPolicy: snapshotClass.deletionPolicy,
            driver: driverName,
            source: { volumeHandle: volume.metadata.name },
            sourceVolumeMode: volume.spec?.volumeMode ?? "Filesystem",
            volumeSnapshotClassName: className,
            volumeSnapshotRef: { apiVersion: snapshot.apiVersion, kind: "VolumeSnapshot", namespace, name, uid, resourceVersion: snapshot.metadata.resourceVersion },
          },
        },
        after: () => [event("Normal", "CreatingSnapshot", `Waiting for a snapshot ${namespace}/${name} to be created by the CSI driver.`)],
        orElse: (error) => [event("Warning", "CreateSnapshotContentFailed", `Error creating volume snapshot content object for snapshot ${namespace}/${name}: ${error.message}.`)],
      },
    ],
  };
}

export const contentFinalizer = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";

/** The snapshot says what its content says. */
function follow(snapshot: VolumeSnapshot, content: VolumeSnapshotContent, event: (type: "Normal" | "Warning", reason: string, message: string) => Action): Plan {
  const { status: of = {}, metadata } = content;
  const wanted: VolumeSnapshot["status"] = {
    boundVolumeSnapshotContentName: metadata.name,
    ...(of.creationTime !== undefined && { creationTime: timestamp(of.creationTime / 1e6) }),
    readyToUse: of.readyToUse ?? false,
    ...(of.restoreSize !== undefined && { restoreSize: formatQuantity({ ...parseQuantity(String(of.restoreSize)), format: "BinarySI" }) }),
    ...(of.error && { error: of.error }),
  };
  if (JSON.stringify(sorted(wanted)) === JSON.stringify(sorted(snapshot.status ?? {}))) return { actions: [] };
  const key = keyOf(snapshot);
  const told: Action[] = [];
  if (wanted.creationTime && !snapshot.status?.creationTime) told.push(event("Normal", "SnapshotCreated", `Snapshot ${key} was successfully created by the CSI driver.`));
  if (wanted.readyToUse && !isTaken(snapshot)) told.push(event("Normal", "SnapshotReady", `Snapshot ${key} is ready to use.`));
  return { actions: [writeStatus(snapshot, wanted), ...told] };
}

const sorted = (object: object): [string, unknown][] => Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1));

function planDeletion(snapshot: VolumeSnapshot, cache: Cache, event: (type: "Normal" | "Warning", reason: string, message: string) => Action): Plan {
  const { name, uid, namespace, finalizers: present = [] } = snapshot.metadata;
  const bound = cache.get<VolumeSnapshotContent>(volumeSnapshotContents, snapshot.status?.boundVolumeSnapshotContentName ?? snapshot.spec.source.volumeSnapshotContentName ?? `snapcontent-${uid}`);
  const content = bound?.spec.volumeSnapshotRef.uid === uid ? bound : undefined;
  const restoring = cache.inNamespace<PersistentVolumeClaim>(resources.persistentVolumeClaims, namespace!).some((claim) => claim.status?.phase === "Pending" && isRestoredBy(name, claim));
  if (content && restoring) return { actions: [event("Warning", "SnapshotDeletePending", "Snapshot is being used to restore a PVC")] };
  if (content && content.metadata.annotations?.[beingDeleted] !== "yes") {
    const marked: VolumeSnapshotContent = { ...content, metadata: { ...content.metadata, annotations: { ...content.metadata.annotations, [beingDeleted]: "yes" } } };
    return { actions: [{ do: "update", resource: volumeSnapshotContents, object: marked }] };
  }
  const actions: Action[] = releaseClaim(snapshot, cache);
  if (content?.spec.deletionPolicy === "Delete" && !content.metadata.deletionTimestamp) actions.push({ do: "delete", resource: volumeSnapshotContents, object: content, orElse: () => [event("Warning", "SnapshotContentObjectDeleteError", "Failed to delete snapshot content API object")] });
  const rest = present.filter((finalizer) => !finalizers.includes(finalizer));
  if (rest.length < present.length) actions.push(update({ ...snapshot, metadata: { ...snapshot.metadata, finalizers: rest } }));
  return { actions };
}

/** The claim may go when no snapshot of it is being taken any more. */
function releaseClaim(snapshot: VolumeSnapshot, cache: Cache): Action[] {
  const name = snapshot.spec.source.persistentVolumeClaimName;
  const claim = name === undefined ? undefined : cache.get<PersistentVolumeClaim>(resources.persistentVolumeClaims, `${snapshot.metadata.namespace}/${name}`);
  if (!claim?.metadata.finalizers?.includes(claimFinalizer)) return [];
  const isBusy = (other: VolumeSnapshot): boolean => other.spec.source.persistentVolumeClaimName === name && !other.metadata.deletionTimestamp && !isTaken(other) && other.status?.boundVolumeSnapshotContentName !== undefined;
  if ((!snapshot.metadata.deletionTimestamp && !isTaken(snapshot)) || cache.inNamespace<VolumeSnapshot>(volumeSnapshots, snapshot.metadata.namespace!).some(isBusy)) return [];
  return [setClaimFinalizers(claim, claim.metadata.finalizers.filter((finalizer) => finalizer !== claimFinalizer))];
}

const setClaimFinalizers = (claim: PersistentVolumeClaim, list: string[]): Action => ({ do: "update", resource: resources.persistentVolumeClaims, object: { ...claim, metadata: { ...claim.metadata, finalizers: list } } as PersistentVolumeClaim });
const update = (snapshot: VolumeSnapshot): Action => ({ do: "update", resource: volumeSnapshots, object: snapshot });
const writeStatus = (snapshot: VolumeSnapshot, status: VolumeSnapshot["status"]): Action => ({ do: "status", resource: volumeSnapshots, object: { ...snapshot, status } });
