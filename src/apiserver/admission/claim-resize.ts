import type { KubeObject } from "../../api/meta.ts";
import { compareQuantity, parseQuantity } from "../../api/quantity.ts";
import { forbiddenError } from "../../api/status.ts";
import type { StorageClass } from "../../api/types.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

const classKey = "volume.beta.kubernetes.io/storage-class";
const sizeOf = (claim: KubeObject) => parseQuantity(String((claim["spec"] as { resources?: { requests?: { storage?: string } } } | undefined)?.resources?.requests?.storage ?? "0"));
const classOf = (claim: KubeObject): string => claim.metadata.annotations?.[classKey] ?? (claim["spec"] as { storageClassName?: string } | undefined)?.storageClassName ?? "";

/** A claim grows only where its class allows that. Source: plugin/pkg/admission/storage/persistentvolume/resize. */
export function claimResize({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  return {
    name: "PersistentVolumeClaimResize",
    validate({ operation, kind, name, subresource, object, old }) {
      if (operation !== "UPDATE" || subresource !== undefined || kind.group !== "" || kind.resource !== "persistentvolumeclaims") return;
      if (compareQuantity(sizeOf(object!), sizeOf(old!)) <= 0) return;
      if ((old!["status"] as { phase?: string } | undefined)?.phase !== "Bound") throw forbiddenError(kind, name, "Only bound persistent volume claims can be expanded");
      const className = classOf(object!);
      const storageClass = className === "" || className !== classOf(old!) ? undefined : (store.get(`/storage.k8s.io/storageclasses/${className}`)?.object as unknown as (StorageClass & { allowVolumeExpansion?: boolean }) | undefined);
      if (!storageClass?.allowVolumeExpansion) throw forbiddenError(kind, name, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize");
    },
  };
}
