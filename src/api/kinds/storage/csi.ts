import type { Strategy } from "../../kind.ts";
import { immutable } from "../../validation/checks.ts";
import { ageOf, flag, integer, name, text } from "../columns.ts";

/** What storage drivers tell of themselves. Source: k8s.io/kubernetes/pkg/apis/storage/v1/defaults.go. */
export const csiDriver: Strategy = {
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.attachRequired ??= true;
    spec.podInfoOnMount ??= false;
    spec.storageCapacity ??= false;
    spec.fsGroupPolicy ??= "ReadWriteOnceWithFSType";
    if ((spec.volumeLifecycleModes ?? []).length === 0) spec.volumeLifecycleModes = ["Persistent"];
    spec.requiresRepublish ??= false;
    spec.seLinuxMount ??= false;
  },
  validateUpdate: (object, old) => ["attachRequired", "volumeLifecycleModes"].flatMap((field) => immutable(`spec.${field}`, object.spec[field], old.spec[field])),
  columns: [
    name,
    flag("AttachRequired", ({ spec }) => spec?.attachRequired ?? true),
    flag("PodInfoOnMount", ({ spec }) => spec?.podInfoOnMount),
    flag("StorageCapacity", ({ spec }) => spec?.storageCapacity),
    text("TokenRequests", ({ spec }) => (spec?.tokenRequests ?? []).map((request: { audience: string }) => request.audience).join(","), "<unset>"),
    flag("RequiresRepublish", ({ spec }) => spec?.requiresRepublish),
    text("Modes", ({ spec }) => (spec?.volumeLifecycleModes ?? []).join(","), "<none>"),
    ageOf,
  ],
};

export const csiNode: Strategy = { columns: [name, integer("Drivers", ({ spec }) => (spec?.drivers ?? []).length), ageOf] };

export const volumeAttachment: Strategy = {
  hasStatus: true,
  validateUpdate: (object, old) => immutable("spec", object.spec, old.spec),
  columns: [
    name,
    text("Attacher", ({ spec }) => spec?.attacher),
    text("PV", ({ spec }) => spec?.source?.persistentVolumeName),
    text("Node", ({ spec }) => spec?.nodeName),
    flag("Attached", ({ status }) => status?.attached),
    ageOf,
  ],
};

export const csiStorageCapacity: Strategy = {
  columns: [name, text("StorageClassName", ({ storageClassName }) => storageClassName), text("Capacity", ({ capacity }) => String(capacity ?? ""), "<unset>")],
};

export const volumeAttributesClass: Strategy = {
  validateUpdate: (object, old) => ["driverName", "parameters"].flatMap((field) => immutable(field, object[field], old[field])),
  columns: [name, text("DriverName", ({ driverName }) => driverName), ageOf],
};
