import type { KubeObject } from "../../api/meta.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

const label = "wherry.dev/mesh";

/** How pods call others, where their namespace says it for all of them. A pod that says it itself has the last word. */
export function meshLabel({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  return {
    name: "MeshLabel",
    mutate({ operation, kind, object, namespace, subresource }) {
      if (operation !== "CREATE" || subresource !== undefined || kind.group !== "" || kind.resource !== "pods" || !object || namespace === undefined) return;
      const said = (store.get(`/core/namespaces/${namespace}`)?.object as KubeObject | undefined)?.metadata.labels?.[label];
      if (said === undefined || object.metadata.labels?.[label] !== undefined) return;
      object.metadata.labels = { ...object.metadata.labels, [label]: said };
    },
  };
}
