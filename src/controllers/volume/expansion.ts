import { compareQuantity, parseQuantity } from "../../api/quantity.ts";
import { resources } from "../../api/resources.ts";
import type { PersistentVolume, PersistentVolumeClaim, StorageClass } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { driverName, provisionedByAnnotation } from "./names.ts";

const storageOf = (list: object | undefined): string => String((list as Record<string, unknown> | undefined)?.["storage"] ?? "0");
const isLess = (one: string, other: string): boolean => compareQuantity(parseQuantity(one), parseQuantity(other)) < 0;
const growing = ["Resizing", "FileSystemResizePending"];

/**
 * A bound claim that asks for more than it has: the volume says so first, then the claim has it. A folder needs nothing
 * done on the node, so FileSystemResizePending never comes. Undefined: nothing to do.
 * Source: kubernetes-csi/external-resizer/pkg/controller/controller.go.
 */
export function expand(claim: PersistentVolumeClaim, volume: PersistentVolume, cache: Cache): Plan | undefined {
  const [wanted, offered, had] = [storageOf(claim.spec?.resources?.requests), storageOf(volume.spec?.capacity), storageOf(claim.status?.capacity)];
  const event = (type: "Normal" | "Warning", reason: string, message: string): Action => ({ do: "event", about: claim, type, reason, message });
  const status = (next: object): Action => ({ do: "status", resource: resources.persistentVolumeClaims, object: { ...claim, status: { ...claim.status, ...next } } });
  const isOurs = volume.metadata.annotations?.[provisionedByAnnotation] === driverName;
  const conditions = (claim.status?.conditions ?? []) as { type: string }[];
  if (claim.status?.phase === "Bound" && isLess(had, wanted) && isLess(offered, wanted)) {
    const storageClass = cache.get<StorageClass>(resources.storageClasses, claim.spec?.storageClassName ?? "");
    if (!isOurs) {
      // Bound volumes may be larger than asked for, and are static more often than not: only a class that promises to grow them does.
      return (storageClass as { allowVolumeExpansion?: boolean } | undefined)?.allowVolumeExpansion ? { actions: [event("Normal", "ExternalExpanding", "waiting for an external controller to expand this PVC")] } : undefined;
    }
    const object = { ...volume, spec: { ...volume.spec, capacity: { ...volume.spec?.capacity, storage: wanted } } } as PersistentVolume;
    return { actions: [event("Normal", "Resizing", `External resizer is resizing volume ${volume.metadata.name}`), { do: "update", resource: resources.persistentVolumes, object }] };
  }
  if (!isOurs || claim.status?.phase !== "Bound" || !isLess(had, offered) || had === "0") return undefined;
  const done = status({ capacity: { ...claim.status.capacity, storage: offered }, conditions: conditions.filter(({ type }) => !growing.includes(type)) });
  return { actions: [done, event("Normal", "VolumeResizeSuccessful", "Resize volume succeeded")] };
}
