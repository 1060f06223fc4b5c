import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../../api/resources.ts";
import { type VolumeSnapshot, type VolumeSnapshotContent, volumeSnapshotClasses, volumeSnapshotContents, volumeSnapshots } from "../../../api/snapshot/types.ts";
import type { Action } from "../../action.ts";
import { SnapshotCache } from "../../cache.ts";
import { dataSourceOf } from "../data-source.ts";
import { driverName } from "../names.ts";
import { plainStorage } from "../storage.ts";
import { planContent } from "./content.ts";
import { beingDeleted, claimFinalizer, contentFinalizer, planSnapshot } from "./snapshot.ts";

const finalizers = ["snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection", "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"];
const meta = (name: string, more: object = {}) => ({ name, namespace: "default", uid: `${name}-uid`, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z", ...more });
const snapshot = (spec: object = {}, more: object = {}, metadata: object = {}): VolumeSnapshot =>
  ({ apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshot", metadata: meta("s", { finalizers, ...metadata }), spec: { source: { persistentVolumeClaimName: "data" }, volumeSnapshotClassName: "standard", ...spec }, ...more }) as VolumeSnapshot;
const content = (spec: object = {}, more: object = {}, metadata: object = {}): VolumeSnapshotContent =>
  ({ apiVersion: "snapshot.storage.k8s.io/v1", kind: "VolumeSnapshotContent", metadata: { ...meta("snapcontent-s-uid", { finalizers: [contentFinalizer], ...metadata }), namespace: undefined }, spec: { deletionPolicy: "Delete", driver: driverName, source: { volumeHandle: "pv" }, volumeSnapshotRef: { namespace: "default", name: "s", uid: "s-uid" }, ...spec }, ...more }) as unknown as VolumeSnapshotContent;
const snapshotClass = (name: string, more: object = {}) => ({ metadata: { ...meta(name), namespace: undefined, annotations: { "snapshot.storage.kubernetes.io/is-default-class": "true" } }, driver: driverName, deletionPolicy: "Delete", ...more });
const claim = (more: object = {}, metadata: object = {}) => ({ metadata: meta("data", { finalizers: [claimFinalizer], ...metadata }), spec: { volumeName: "pv", resources: { requests: { storage: "1Gi" } } }, status: { phase: "Bound", capacity: { storage: "1Gi" } }, ...more });
const volume = (annotations: object = { "pv.kubernetes.io/provisioned-by": driverName }) => ({ metadata: { ...meta("pv"), namespace: undefined, annotations }, spec: { capacity: { storage: "1Gi" }, claimRef: { namespace: "default", name: "data" } } });

interface World {
  snapshots?: object[];
  contents?: object[];
  classes?: object[];
  claims?: object[];
  volumes?: object[];
}
const cacheOf = ({ snapshots = [], contents = [], classes = [snapshotClass("standard")], claims = [claim()], volumes = [volume()] }: World): SnapshotCache =>
  new SnapshotCache([[volumeSnapshots, snapshots as never], [volumeSnapshotContents, contents as never], [volumeSnapshotClasses, classes as never], [resources.persistentVolumeClaims, claims as never], [resources.persistentVolumes, volumes as never]]);
const words = (actions: readonly Action[]): string[] => actions.map((action) => (action.do === "event" ? action.reason : action.do === "call" ? "call" : "object" in action ? `${action.do} ${action.object.metadata.name}` : action.do));

test("what a snapshot does next", () => {
  const taken = content({}, { status: { readyToUse: true, creationTime: 1_767_225_600_000_000_000, restoreSize: 1 << 30, snapshotHandle: "snapshot-x" } });
  const ready = { status: { boundVolumeSnapshotContentName: "snapcontent-s-uid", creationTime: "2026-01-01T00:00:00Z", readyToUse: true, restoreSize: "1Gi" } };
  const failed = (message: string) => ({ status: { readyToUse: false, error: { time: "2026-01-01T00:00:00Z", message } } });
  const going = { deletionTimestamp: "2026-01-01T00:00:00Z" };
  const cases: [why: string, subject: VolumeSnapshot, world: World, expected: string[]][] = [
    ["is protected first", snapshot({}, {}, { finalizers: [] }), {}, ["update s"]],
    ["takes the default class", snapshot({ volumeSnapshotClassName: undefined }), {}, ["update s"]],
    ["no default class", snapshot({ volumeSnapshotClassName: undefined }), { classes: [] }, ["status s", "SetDefaultSnapshotClassFailed"]],
    ["two default classes", snapshot({ volumeSnapshotClassName: undefined }), { classes: [snapshotClass("a"), snapshotClass("b")] }, ["status s", "SetDefaultSnapshotClassFailed"]],
    ["a class that is not there", snapshot(), { classes: [] }, ["status s", "GetSnapshotClassFailed"]],
    ["no claim", snapshot(), { claims: [] }, ["status s", "SnapshotContentCreationFailed"]],
    ["a claim that is not bound", snapshot(), { claims: [claim({ status: { phase: "Pending" } })] }, ["status s", "SnapshotContentCreationFailed"]],
    ["said once", snapshot({}, failed("Failed to create snapshot content with error the PVC data is not yet bound to a PV, will not attempt to take a snapshot")), { claims: [claim({ status: { phase: "Pending" } })] }, []],
    ["somebody else's volume", snapshot(), { volumes: [volume({})] }, ["status s", "SnapshotContentCreationFailed"]],
    ["somebody else's class", snapshot(), { classes: [snapshotClass("standard", { driver: "example.com/x" })] }, ["status s", "SnapshotContentCreationFailed"]],
    ["the claim must stay", snapshot(), { claims: [claim({}, { finalizers: [] })] }, ["update data"]],
    ["now its content", snapshot(), {}, ["create snapcontent-s-uid"]],
    ["follows its content", snapshot(), { contents: [content()] }, ["status s"]],
    ["the content is taken", snapshot(), { contents: [taken] }, ["status s", "SnapshotCreated", "SnapshotReady"]],
    ["the claim may go", snapshot({}, ready), { contents: [taken] }, ["update data"]],
    ["but not while another is taken", snapshot({}, ready), { contents: [taken], snapshots: [{ ...snapshot({}, { status: { boundVolumeSnapshotContentName: "snapcontent-o" } }), metadata: meta("o") }] }, []],
    ["rests", snapshot({}, ready), { contents: [taken], claims: [claim({}, { finalizers: [] })] }, []],
    ["a content by name, missing", snapshot({ source: { volumeSnapshotContentName: "c" } }), {}, ["status s", "SnapshotContentMissing"]],
    ["a content by name, of another", snapshot({ source: { volumeSnapshotContentName: "c" } }), { contents: [content({ source: { snapshotHandle: "h" }, volumeSnapshotRef: { namespace: "default", name: "other" } }, {}, { name: "c" })] }, ["status s", "SnapshotContentMisbound"]],
    ["a content by name, bound", snapshot({ source: { volumeSnapshotContentName: "c" } }), { contents: [content({ source: { snapshotHandle: "h" }, volumeSnapshotRef: { namespace: "default", name: "s" } }, {}, { name: "c" })] }, ["update c"]],
    ["deleted: tells its content", snapshot({}, ready, going), { contents: [taken] }, ["update snapcontent-s-uid"]],
    ["deleted: its content goes, then itself", snapshot({}, ready, going), { contents: [{ ...taken, metadata: { ...taken.metadata, annotations: { [beingDeleted]: "yes" } } }], claims: [] }, ["delete snapcontent-s-uid", "update s"]],
    ["deleted, and what it stored is kept", snapshot({}, ready, going), { contents: [content({ deletionPolicy: "Retain" }, {}, { annotations: { [beingDeleted]: "yes" } })], claims: [] }, ["update s"]],
    ["deleted while a claim is made of it", snapshot({}, ready, going), { contents: [taken], claims: [claim({ spec: { dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "s" } }, status: { phase: "Pending" } })] }, ["SnapshotDeletePending"]],
  ];
  for (const [why, subject, world, expected] of cases) assert.deepEqual(words(planSnapshot(subject, cacheOf(world), Date.parse("2026-01-01T00:00:00Z")).actions), expected, why);
});

test("what a content does next, and what goes with it", async () => {
  const removed: string[] = [];
  const storage = { ...plainStorage("/volumes"), removeSnapshot: async (handle: string) => void removed.push(handle) };
  const going = { deletionTimestamp: "2026-01-01T00:00:00Z" };
  const cases: [why: string, subject: VolumeSnapshotContent, world: World, expected: string[]][] = [
    ["somebody else's driver", content({ driver: "example.com/x" }), {}, []],
    ["is taken", content(), { snapshots: [snapshot()] }, ["call"]],
    ["is taken once", content({}, { status: { readyToUse: true } }), {}, []],
    ["of a volume that is gone", content(), { volumes: [] }, ["status snapcontent-s-uid", "SnapshotCreationFailed"]],
    ["a handle that is a path", content({ source: { snapshotHandle: "../x" } }), {}, ["status snapcontent-s-uid", "SnapshotContentCheckandUpdateFailed"]],
    ["deleted while it is somebody's", content({}, {}, going), { snapshots: [snapshot()] }, []],
    ["deleted, and the snapshot is made anew", content({}, {}, going), { snapshots: [snapshot({}, {}, { uid: "other" })] }, ["call", "update snapcontent-s-uid"]],
    ["deleted, and kept", content({ deletionPolicy: "Retain" }, {}, going), {}, ["update snapcontent-s-uid"]],
    ["deleted, with a handle that is a path", content({ source: { snapshotHandle: ".." } }, {}, going), {}, ["update snapcontent-s-uid"]],
  ];
  for (const [why, subject, world, expected] of cases) assert.deepEqual(words(planContent(subject, cacheOf(world), storage, 0).actions), expected, why);
  const { actions } = planContent(content({}, { status: { snapshotHandle: "snapshot-x" } }, going), cacheOf({}), storage, 0);
  for (const action of actions) if (action.do === "call") await action.run();
  assert.deepEqual(removed, ["snapshot-x"]);
});

test("what a new volume is filled with, or why not", () => {
  const wants = (dataSource: object, size = "1Gi") => claim({ spec: { dataSource, resources: { requests: { storage: size } } }, status: { phase: "Pending" } }, { name: "new" }) as never;
  const of = { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "s" };
  const ready = snapshot({}, { status: { readyToUse: true, restoreSize: "1Gi", boundVolumeSnapshotContentName: "snapcontent-s-uid" } });
  const taken = content({}, { status: { snapshotHandle: "h" } });
  const cases: [why: string, subject: never, world: World, expected: unknown][] = [
    ["a snapshot", wants(of), { snapshots: [ready], contents: [taken] }, { from: { snapshot: "h" } }],
    ["one that is not there", wants(of), {}, /volumesnapshots.snapshot.storage.k8s.io "s" not found/],
    ["one that is not ready", wants(of), { snapshots: [snapshot()] }, /snapshot s is not Ready/],
    ["a content that is another's", wants(of), { snapshots: [ready], contents: [content({ volumeSnapshotRef: { uid: "other" } })] }, /is not bound/],
    ["too small", wants(of, "1Mi"), { snapshots: [ready], contents: [taken] }, /requested volume size 1048576 is less than the size 1073741824/],
    ["a claim", wants({ kind: "PersistentVolumeClaim", name: "data" }), {}, { from: { volume: "pv" }, claim: { namespace: "default", name: "data" } }],
    ["a claim that is larger", wants({ kind: "PersistentVolumeClaim", name: "data" }, "1Mi"), {}, /requested 1048576 but source is 1073741824/],
    ["a claim that is not bound", wants({ kind: "PersistentVolumeClaim", name: "data" }), { claims: [claim({ status: { phase: "Pending" } })] }, /must have a status of Bound/],
    ["what nobody here fills", wants({ apiGroup: "example.com", kind: "Backup", name: "b" }), {}, { foreign: "The datasource for this PVC does not match any registered VolumePopulator" }],
    ["another namespace", wants({ ...of, namespace: "other" }), {}, /ReferenceGrants/],
  ];
  for (const [why, subject, world, expected] of cases) {
    const found = dataSourceOf(subject, cacheOf(world)) as { wait?: string };
    if (expected instanceof RegExp) assert.match(found.wait ?? "", expected, why);
    else assert.deepEqual(found, expected, why);
  }
});
