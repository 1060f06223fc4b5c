import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { PersistentVolume, PersistentVolumeClaim } from "../../api/types.ts";
import { SnapshotCache } from "../cache.ts";
import { planClaim } from "./claim.ts";
import { driverName } from "./names.ts";
import { plainStorage } from "./storage.ts";
import { planVolume } from "./volume.ts";

const claim = (spec: object = {}, annotations: object = {}, more: object = {}): PersistentVolumeClaim =>
  ({ apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "data", namespace: "default", uid: "c1", annotations }, spec: { accessModes: ["ReadWriteOnce"], storageClassName: "manual", resources: { requests: { storage: "2Gi" } }, ...spec }, status: { phase: "Pending" }, ...more }) as unknown as PersistentVolumeClaim;
const volume = (name: string, spec: object = {}, more: object = {}): PersistentVolume =>
  ({ apiVersion: "v1", kind: "PersistentVolume", metadata: { name, uid: name, labels: { tier: name }, annotations: {}, finalizers: ["kubernetes.io/pv-protection"] }, spec: { capacity: { storage: "5Gi" }, accessModes: ["ReadWriteOnce"], storageClassName: "manual", persistentVolumeReclaimPolicy: "Delete", ...spec }, status: { phase: "Available" }, ...more }) as unknown as PersistentVolume;
const storageClass = (name: string, more: object = {}) => ({ apiVersion: "storage.k8s.io/v1", kind: "StorageClass", metadata: { name, annotations: {} }, provisioner: driverName, reclaimPolicy: "Delete", volumeBindingMode: "Immediate", ...more }) as never;
const owner = (uid?: string, name = "data") => ({ claimRef: { namespace: "default", name, ...(uid && { uid }) } });

/** One word or two for each action. */
function told(subject: PersistentVolumeClaim, volumes: PersistentVolume[] = [], classes: never[] = []): string[] {
  const cache = new SnapshotCache([[resources.persistentVolumes, volumes], [resources.storageClasses, classes]]);
  return planClaim(subject, cache, plainStorage("/volumes")).actions.map((action) => {
    if (action.do === "event") return action.reason;
    if (action.do === "status") return `status ${(action.object as PersistentVolumeClaim).status!.phase}`;
    if (action.do === "create") return `create ${action.object.metadata.name}`;
    return action.do === "update" ? `update ${action.object.metadata.name}` : action.do;
  });
}

test("what a claim does next", () => {
  const lazy = storageClass("manual", { volumeBindingMode: "WaitForFirstConsumer" });
  const done = { "pv.kubernetes.io/bind-completed": "yes" };
  const bound = claim({ volumeName: "pv" }, done);
  const grown = (has: string) => claim({ volumeName: "pv", resources: { requests: { storage: "5Gi" } } }, done, { status: { phase: "Bound", capacity: { storage: has } } });
  const ours = (storage: string) => volume("pv", { ...owner("c1"), capacity: { storage } }, { metadata: { name: "pv", uid: "pv", annotations: { "pv.kubernetes.io/provisioned-by": driverName } } });
  const cases: [why: string, subject: PersistentVolumeClaim, volumes: PersistentVolume[], classes: never[], expected: string[]][] = [
    ["takes the smallest that is enough", claim(), [volume("big"), volume("small", { capacity: { storage: "1Gi" } }), volume("fit", { capacity: { storage: "2048Mi" } })], [], ["update fit"]],
    ["nothing of its class", claim(), [volume("other", { storageClassName: "fast" })], [], ["ProvisioningFailed"]],
    ["needs a mode that is not offered", claim({ accessModes: ["ReadWriteMany"] }), [volume("pv")], [], ["ProvisioningFailed"]],
    ["selects by label", claim({ selector: { matchLabels: { tier: "b" } } }), [volume("a"), volume("b")], [], ["update b"]],
    ["a volume reserved for it goes before a better one", claim(), [volume("fit", { capacity: { storage: "2Gi" } }), volume("reserved", owner())], [], ["update reserved"]],
    ["one that is another's", claim(), [volume("pv", owner("c2", "other"))], [], ["ProvisioningFailed"]],
    ["its own by uid: now the claim says so", claim(), [volume("pv", owner("c1"))], [], ["update data"]],
    ["asked for by name", claim({ volumeName: "small" }), [volume("small", { capacity: { storage: "1Gi" } })], [], ["update small"]],
    ["asked for by name, not there yet", claim({ volumeName: "late" }), [], [], []],
    ["bound: status", bound, [volume("pv", owner("c1"))], [], ["status Bound"]],
    ["bound and its volume gone", bound, [], [], ["status Lost", "ClaimLost"]],
    ["provisioned at once", claim(), [], [storageClass("manual")], ["create pvc-c1"]],
    ["waits for a consumer", claim(), [], [lazy], ["WaitForFirstConsumer"]],
    ["has a consumer", claim({}, { "volume.kubernetes.io/selected-node": "wherry" }), [], [lazy], ["create pvc-c1"]],
    ["somebody else's class", claim(), [], [storageClass("manual", { provisioner: "example.com/nfs" })], ["ExternalProvisioning"]],
    ["no class and no default", claim({ storageClassName: undefined }), [], [], ["FailedBinding"]],
    ["no class: the default", claim({ storageClassName: undefined }), [], [storageClass("standard", { metadata: { name: "standard", annotations: { "storageclass.kubernetes.io/is-default-class": "true" }, creationTimestamp: "" } })], ["update data"]],
    ["explicitly none", claim({ storageClassName: "" }), [], [storageClass("manual")], ["FailedBinding"]],
    ["block volumes are refused by name", claim({ volumeMode: "Block" }), [], [storageClass("manual")], ["ProvisioningFailed"]],
    ["a selector wants volumes that are there", claim({ selector: { matchLabels: { tier: "b" } } }), [], [storageClass("manual")], ["ProvisioningFailed"]],
    ["attributes are refused by name", claim({ volumeAttributesClassName: "gold" }), [], [storageClass("manual")], ["ProvisioningFailed"]],
    ["attributes of what is bound", claim({ volumeName: "pv", volumeAttributesClassName: "gold" }, done, { status: { phase: "Bound", capacity: { storage: "2Gi" } } }), [volume("pv", owner("c1"))], [], ["VolumeModifyFailed"]],
    ["filled by somebody else", claim({ dataSourceRef: { apiGroup: "example.com", kind: "Backup", name: "b" } }), [], [storageClass("manual")], ["UnrecognizedDataSourceKind"]],
    ["made of a claim that is not there", claim({ dataSource: { kind: "PersistentVolumeClaim", name: "absent" } }), [], [storageClass("manual")], ["ProvisioningFailed"]],
    ["grows: the volume first", grown("2Gi"), [ours("2Gi")], [], ["Resizing", "update pv"]],
    ["grows: then the claim has it", grown("2Gi"), [ours("5Gi")], [], ["status Bound", "VolumeResizeSuccessful"]],
    ["has grown", grown("5Gi"), [ours("5Gi")], [], []],
    ["larger than it asked for, and static", claim({ volumeName: "pv" }, done, { status: { phase: "Bound", capacity: { storage: "2Gi" } } }), [volume("pv", owner("c1"))], [], []],
    ["static, and its class promises", grown("2Gi"), [volume("pv", { ...owner("c1"), capacity: { storage: "2Gi" } })], [storageClass("manual", { allowVolumeExpansion: true })], ["ExternalExpanding"]],
  ];
  for (const [why, subject, volumes, classes, expected] of cases) assert.deepEqual(told(subject, volumes, classes), expected, why);
});

test("what becomes of a volume", async () => {
  const removed: string[] = [];
  const plan = (subject: PersistentVolume, claims: PersistentVolumeClaim[] = []) => planVolume(subject, new SnapshotCache([[resources.persistentVolumeClaims, claims]]), async (name) => void removed.push(name)).actions;
  const provisioned = { metadata: { name: "pv", uid: "pv", annotations: { "pv.kubernetes.io/provisioned-by": driverName }, finalizers: ["kubernetes.io/pv-protection"] } };
  const words = (actions: ReturnType<typeof plan>) => actions.map((action) => (action.do === "status" ? `status ${(action.object as PersistentVolume).status!.phase}` : action.do));
  const cases: [why: string, actions: ReturnType<typeof plan>, expected: string[]][] = [
    ["free", plan(volume("pv")), []],
    ["reserved by name only", plan(volume("pv", owner())), []],
    ["bound", plan(volume("pv", owner("c1")), [claim()]), ["status Bound"]],
    ["its claim is gone: reclaimed", plan(volume("pv", owner("c1"), { ...provisioned, status: { phase: "Bound" } })), ["status Released", "ifAbsent"]],
    ["its claim was made anew: still gone", plan(volume("pv", owner("c0"), provisioned), [claim()]), ["status Released", "ifAbsent"]],
    ["kept", plan(volume("pv", { ...owner("c1"), persistentVolumeReclaimPolicy: "Retain" }, provisioned)), ["status Released"]],
    ["not ours to delete", plan(volume("pv", owner("c1"), { status: { phase: "Released" } })), ["status Failed", "event"]],
    ["nor to recycle", plan(volume("pv", { ...owner("c1"), persistentVolumeReclaimPolicy: "Recycle" }, { status: { phase: "Released" } })), ["status Failed", "event"]],
    ["said once", plan(volume("pv", owner("c1"), { status: { phase: "Failed", message: 'error getting deleter volume plugin for volume "pv": no deletable volume plugin matched' } })), []],
    ["failed, and freed by hand", plan(volume("pv", {}, { status: { phase: "Failed", message: "x" } })), ["status Available"]],
    ["failed, and tried again", plan(volume("pv", owner("c1"), { ...provisioned, status: { phase: "Failed", message: "x" } })), ["ifAbsent"]],
    ["deleted while bound", plan(volume("pv", owner("c1"), { metadata: { ...provisioned.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } }), [claim()]), []],
    ["deleted while free", plan(volume("pv", {}, { metadata: { ...provisioned.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } })), ["update"]],
    ["unprotected", plan(volume("pv", {}, { metadata: { name: "pv", uid: "pv" } })), ["update"]],
  ];
  for (const [why, actions, expected] of cases) assert.deepEqual(words(actions), expected, why);
  const reclaim = plan(volume("pv", owner("c1"), provisioned)).find((action) => action.do === "ifAbsent")!;
  assert.deepEqual([reclaim.uid, reclaim.actions.map((action) => action.do)], ["c1", ["call", "delete"]], "data goes only when the server has no such claim");
  for (const action of reclaim.actions) if (action.do === "call") await action.run();
  assert.deepEqual(removed, ["pv"]);
});
