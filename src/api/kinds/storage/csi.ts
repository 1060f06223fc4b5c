import { duplicate, type FieldError, forbidden, invalid } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { each, immutable, oneOfOptional, semanticEqual } from "../../validation/checks.ts";
import { ageOf, createdAt, flag, integer, name, text } from "../columns.ts";

function validateDriver({ spec }: KubeObject): FieldError[] {
  const audiences = new Set<string>();
  return [
    ...oneOfOptional("spec.fsGroupPolicy", spec.fsGroupPolicy, ["File", "None", "ReadWriteOnceWithFSType"]),
    ...each("spec.tokenRequests", spec.tokenRequests, ({ audience = "", expirationSeconds }, at) => {
      if (audiences.has(audience)) return [duplicate(`${at}.audience`, audience)];
      audiences.add(audience);
      if (expirationSeconds < 600) return [invalid(`${at}.expirationSeconds`, expirationSeconds, "may not specify a duration less than 10 minutes")];
      return expirationSeconds > 2 ** 32 ? [invalid(`${at}.expirationSeconds`, expirationSeconds, "may not specify a duration larger than 2^32 seconds")] : [];
    }),
    // Upstream names the list, not the entry.
    ...each("spec.volumeLifecycleModes", spec.volumeLifecycleModes, (mode) => oneOfOptional("spec.volumeLifecycleModes", mode, ["Persistent", "Ephemeral"])),
    ...(spec.nodeAllocatableUpdatePeriodSeconds < 10 ? [invalid("spec.nodeAllocatableUpdatePeriodSeconds", spec.nodeAllocatableUpdatePeriodSeconds, "must be greater than or equal to 10 seconds")] : []),
    ...(spec.serviceAccountTokenInSecrets !== undefined && (spec.tokenRequests ?? []).length === 0 ? [invalid("spec.serviceAccountTokenInSecrets", spec.serviceAccountTokenInSecrets, "serviceAccountTokenInSecrets is set but no tokenRequests are specified")] : []),
  ];
}

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
  conditionalUpdate: true,
  validate: validateDriver,
  // Upstream's path has this slip.
  validateUpdate: ({ spec }, old) => [...immutable("spec.attachedRequired", spec.attachRequired, old.spec.attachRequired), ...immutable("spec.volumeLifecycleModes", spec.volumeLifecycleModes, old.spec.volumeLifecycleModes)],
  warnings: ({ spec }, old) => ((spec.tokenRequests ?? []).length > 0 && spec.serviceAccountTokenInSecrets === undefined && !semanticEqual(spec.tokenRequests, old?.spec.tokenRequests) ? ["spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes"] : []),
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

export const csiNode: Strategy = { conditionalUpdate: true, columns: [name, integer("Drivers", ({ spec }) => (spec?.drivers ?? []).length), ageOf] };

export const volumeAttachment: Strategy = {
  conditionalUpdate: true,
  hasStatus: true,
  validateUpdate: (object, old) => immutable("spec", object.spec, old.spec),
  columns: [
    name,
    { ...text("Attacher", ({ spec }) => spec?.attacher), format: "name" },
    text("PV", ({ spec }) => spec?.source?.persistentVolumeName),
    text("Node", ({ spec }) => spec?.nodeName),
    flag("Attached", ({ status }) => status?.attached),
    ageOf,
  ],
};

export const csiStorageCapacity: Strategy = {
  conditionalUpdate: true,
  columns: [name, createdAt],
};

export const volumeAttributesClass: Strategy = {
  validateUpdate: (object, old) => ["driverName", "parameters"].filter((field) => !semanticEqual(object[field], old[field])).map((field) => forbidden(field, `updates to ${field} are forbidden.`)),
  columns: [name, text("DriverName", ({ driverName }) => driverName), ageOf],
};
