import type { StorageClass } from "../../api/types.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

const isDefault = "storageclass.kubernetes.io/is-default-class";

/** A claim that names no class gets the default one, the newest if there are several. Source: plugin/pkg/admission/storage/storageclass/setdefault. */
export function storageClass({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  return {
    name: "DefaultStorageClass",
    mutate({ operation, kind, object }) {
      if (operation !== "CREATE" || kind.group !== "" || kind.resource !== "persistentvolumeclaims" || !object) return;
      const spec = object["spec"] as { storageClassName?: string } | undefined;
      if (!spec || spec.storageClassName !== undefined) return;
      const [chosen] = store
        .range("/storage.k8s.io/storageclasses/")
        .map((entry) => entry.object as unknown as StorageClass)
        .filter(({ metadata }) => metadata.annotations?.[isDefault] === "true")
        .sort((a, b) => b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp) || (a.metadata.name < b.metadata.name ? -1 : 1));
      if (chosen) spec.storageClassName = chosen.metadata.name;
    },
  };
}
