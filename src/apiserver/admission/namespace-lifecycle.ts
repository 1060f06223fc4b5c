import type { KubeObject } from "../../api/meta.ts";
import { forbiddenError, notFoundError, StatusError } from "../../api/status.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

const immortal = new Set(["default", "kube-system", "kube-public", "wherry-system"]);

/** Nothing is created where no namespace is or where one is going. Source: plugin/pkg/admission/namespace/lifecycle. */
export function namespaceLifecycle({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  return {
    name: "NamespaceLifecycle",
    mutate({ operation, kind, namespace, name, object }) {
      if (operation !== "CREATE" || kind.scope !== "Namespaced" || namespace === undefined) return;
      const entry = store.get(`/core/namespaces/${namespace}`);
      if (!entry) throw notFoundError({ group: "", resource: "namespaces" }, namespace);
      if (!(entry.object as unknown as KubeObject).metadata.deletionTimestamp) return;
      const shown = name || (object?.metadata.generateName ?? "");
      const refused = forbiddenError(kind, shown, `unable to create new content in namespace ${namespace} because it is being terminated`);
      throw new StatusError(403, refused.reason, refused.message, { ...refused.details, causes: [{ reason: "NamespaceTerminating", message: `namespace ${namespace} is being terminated`, field: "metadata.namespace" }] });
    },
    validate({ operation, kind, name }) {
      if (operation === "DELETE" && kind.group === "" && kind.resource === "namespaces" && immortal.has(name)) throw forbiddenError(kind, name, "this namespace may not be deleted");
    },
  };
}
