import { type KubeObject, timestamp } from "../../../api/meta.ts";
import { quantityValue } from "../../../api/quantity.ts";
import { resources } from "../../../api/resources.ts";
import { type VolumeSnapshot, type VolumeSnapshotContent, volumeSnapshotContents, volumeSnapshots } from "../../../api/snapshot/types.ts";
import type { PersistentVolume } from "../../../api/types.ts";
import type { Action, Plan } from "../../action.ts";
import type { Cache } from "../../cache.ts";
import { type Controller, controller } from "../../runner.ts";
import { driverName } from "../names.ts";
import type { VolumeStorage } from "../storage.ts";
import { contentFinalizer } from "./snapshot.ts";

/**
 * What is stored: takes the snapshot that a content stands for, and removes it with the content.
 * Source: kubernetes-csi/external-snapshotter/pkg/sidecar-controller/snapshot_controller.go.
 */
export function snapshotContentController(storage: VolumeStorage): Controller {
  return controller<VolumeSnapshotContent>({
    name: "csi-snapshotter",
    for: volumeSnapshotContents,
    watches: [{ resource: volumeSnapshots, keys: (snapshot: VolumeSnapshot) => [snapshot.spec.source.volumeSnapshotContentName ?? `snapcontent-${snapshot.metadata.uid}`] }],
    reads: [resources.persistentVolumes],
    plan: ({ object, cache, nowMs }) => planContent(object, cache, storage, nowMs),
  });
}

/** A handle is the name of a folder: whoever writes one into a content gets no other path by it. */
const handleName = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

export function planContent(content: VolumeSnapshotContent, cache: Cache, storage: VolumeStorage, nowMs: number): Plan {
  if (content.spec.driver !== driverName) return { actions: [] };
  const { deletionTimestamp, finalizers = [], uid } = content.metadata;
  const { source, volumeSnapshotRef: owner, deletionPolicy } = content.spec;
  const event = (type: "Normal" | "Warning", reason: string, message: string): Action => ({ do: "event", about: content as unknown as KubeObject, type, reason, message });
  const status = (next: VolumeSnapshotContent["status"]): Action => ({ do: "status", resource: volumeSnapshotContents, object: { ...content, status: next } });
  const failed = (reason: string, message: string): Action[] => (content.status?.error?.message === message ? [] : [status({ ...content.status, readyToUse: false, error: { time: timestamp(nowMs), message } }), event("Warning", reason, message)]);
  const handle = source.snapshotHandle ?? content.status?.snapshotHandle;

  if (deletionTimestamp) {
    if (!finalizers.includes(contentFinalizer)) return { actions: [] };
    const snapshot = cache.get<VolumeSnapshot>(volumeSnapshots, `${owner.namespace}/${owner.name}`);
    // Deleted from below: it stays for as long as it is somebody's.
    if (snapshot && snapshot.metadata.uid === owner.uid && !snapshot.metadata.deletionTimestamp) return { actions: [] };
    const free = withFinalizers(content, finalizers.filter((finalizer) => finalizer !== contentFinalizer));
    const stored = deletionPolicy === "Delete" ? (handle ?? `snapshot-${uid}`) : undefined;
    if (stored === undefined || !handleName.test(stored)) return { actions: [free] };
    return { actions: [{ do: "call", run: () => storage.removeSnapshot(stored), orElse: () => [event("Warning", "SnapshotDeleteError", "Failed to delete snapshot")] }, free] };
  }
  if (!finalizers.includes(contentFinalizer)) return { actions: [withFinalizers(content, [...finalizers, contentFinalizer])] };
  if (content.status?.readyToUse) return { actions: [] };

  if (source.snapshotHandle !== undefined) {
    if (!handleName.test(source.snapshotHandle)) return { actions: failed("SnapshotContentCheckandUpdateFailed", `Failed to check and update snapshot content: ${JSON.stringify(source.snapshotHandle)} is no snapshot handle of ${driverName}`) };
    let isThere = false;
    return {
      actions: [
        {
          do: "call",
          run: async () => void (isThere = await storage.hasSnapshot(source.snapshotHandle!)),
          after: () => (isThere ? [status({ snapshotHandle: source.snapshotHandle!, readyToUse: true })] : failed("SnapshotContentCheckandUpdateFailed", `Failed to check and update snapshot content: snapshot ${source.snapshotHandle} is not there`)),
        },
      ],
    };
  }
  const name = source.volumeHandle!;
  const volume = cache.get<PersistentVolume>(resources.persistentVolumes, name);
  if (!volume) return { actions: failed("SnapshotCreationFailed", `Failed to create snapshot: persistentvolume ${JSON.stringify(name)} not found`) };
  const claim = volume.spec?.claimRef;
  const taken = `snapshot-${uid}`;
  let atMs = 0;
  return {
    actions: [
      {
        do: "call",
        run: async () => void (atMs = await storage.copy({ volume: name }, { snapshot: taken }, claim && { namespace: claim.namespace!, name: claim.name! })),
        after: () => [status({ snapshotHandle: taken, creationTime: atMs * 1e6, readyToUse: true, restoreSize: quantityValue(String(volume.spec?.capacity?.["storage"] ?? "0")) })],
        orElse: (error) => failed("SnapshotCreationFailed", `Failed to create snapshot: ${error.message}`),
      },
    ],
  };
}

function withFinalizers(content: VolumeSnapshotContent, finalizers: string[]): Action {
  const object: VolumeSnapshotContent = { ...content, metadata: { ...content.metadata, finalizers } };
  return { do: "update", resource: volumeSnapshotContents, object };
}
