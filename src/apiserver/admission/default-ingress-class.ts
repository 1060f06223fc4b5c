import type { KubeObject } from "../../api/meta.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

const isDefault = "ingressclass.kubernetes.io/is-default-class";

/** An Ingress that names no class gets the default one, the newest if there are several. Source: plugin/pkg/admission/network/defaultingressclass. */
export function defaultIngressClass({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  return {
    name: "DefaultIngressClass",
    mutate({ operation, kind, object, subresource }) {
      if (operation !== "CREATE" || subresource !== undefined || kind.group !== "networking.k8s.io" || kind.resource !== "ingresses" || !object) return;
      const spec = (object["spec"] ??= {}) as { ingressClassName?: string };
      if (spec.ingressClassName !== undefined || object.metadata.annotations?.["kubernetes.io/ingress.class"] !== undefined) return;
      const defaults = store
        .range("/networking.k8s.io/ingressclasses/")
        .map((entry) => entry.object as unknown as KubeObject)
        .filter(({ metadata }) => metadata.annotations?.[isDefault] === "true")
        .sort((a, b) => b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp) || (a.metadata.name < b.metadata.name ? -1 : 1));
      if (defaults[0]) spec.ingressClassName = defaults[0].metadata.name;
    },
  };
}
