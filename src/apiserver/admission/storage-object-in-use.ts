import type { AdmissionStep } from "../rest/context.ts";

const finalizers: Readonly<Record<string, string>> = { persistentvolumeclaims: "kubernetes.io/pvc-protection", persistentvolumes: "kubernetes.io/pv-protection" };

/** Claims and volumes that are in use stay until they are not: the finalizer is there from the first moment. Source: plugin/pkg/admission/storage/storageobjectinuseprotection. */
export function storageObjectInUse(): AdmissionStep {
  return {
    name: "StorageObjectInUseProtection",
    mutate({ operation, kind, subresource, object }) {
      const finalizer = kind.group === "" ? finalizers[kind.resource] : undefined;
      if (operation !== "CREATE" || subresource !== undefined || !finalizer || !object || object.metadata.finalizers?.includes(finalizer)) return;
      object.metadata.finalizers = [...(object.metadata.finalizers ?? []), finalizer];
    },
  };
}
