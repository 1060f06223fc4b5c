import type { GroupVersionResource, KubeObject, ObjectMeta } from "../meta.ts";

/** The kinds of kubernetes-csi/external-snapshotter, whose definitions a cluster has as custom resources. */
export const snapshotGroup = "snapshot.storage.k8s.io";
const of = (resource: string): GroupVersionResource => ({ group: snapshotGroup, version: "v1", resource });
export const volumeSnapshots = of("volumesnapshots");
export const volumeSnapshotContents = of("volumesnapshotcontents");
export const volumeSnapshotClasses = of("volumesnapshotclasses");

export interface SnapshotError {
  /** RFC 3339. */
  time?: string;
  message?: string;
}

export interface VolumeSnapshot {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec: { source: { persistentVolumeClaimName?: string; volumeSnapshotContentName?: string }; volumeSnapshotClassName?: string };
  status?: {
    boundVolumeSnapshotContentName?: string;
    /** RFC 3339: the instant that the data are of. */
    creationTime?: string;
    readyToUse?: boolean;
    /** A quantity. */
    restoreSize?: string;
    error?: SnapshotError;
  };
}

export interface VolumeSnapshotContent {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec: {
    deletionPolicy: "Delete" | "Retain";
    driver: string;
    source: { volumeHandle?: string; snapshotHandle?: string };
    sourceVolumeMode?: string;
    volumeSnapshotClassName?: string;
    volumeSnapshotRef: { apiVersion?: string; kind?: string; namespace?: string; name?: string; uid?: string; resourceVersion?: string };
  };
  status?: {
    /** Nanoseconds since 1970, which a number holds to a few hundred of them. */
    creationTime?: number;
    readyToUse?: boolean;
    /** Bytes. */
    restoreSize?: number;
    snapshotHandle?: string;
    error?: SnapshotError;
  };
}

export interface VolumeSnapshotClass extends KubeObject {
  driver: string;
  deletionPolicy: "Delete" | "Retain";
}
