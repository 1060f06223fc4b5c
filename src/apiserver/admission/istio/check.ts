import type { DestinationRule, ServiceEntry, Sidecar, VirtualService } from "../../../api/istio/kinds.ts";
import type { KubeObject } from "../../../api/meta.ts";
import { destinationRuleProblems } from "./destination-rule.ts";
import { securityProblems } from "./security.ts";
import { serviceEntryProblems, sidecarProblems } from "./service-entry.ts";
import { virtualServiceProblems } from "./virtual-service.ts";

/**
 * What istiod refuses of one of its objects, in its words; none for other kinds. What the definitions' own schemas and rules
 * refuse is not asked again. Source: istio/istio, pkg/config/validation.
 */
export function problemsOf(kind: string, object: KubeObject): string[] {
  const { spec } = object;
  if (!spec) return [];
  switch (kind) {
    case "VirtualService":
      return virtualServiceProblems(spec as VirtualService["spec"]);
    case "DestinationRule":
      return destinationRuleProblems(spec as DestinationRule["spec"]);
    case "ServiceEntry":
      return serviceEntryProblems(spec as ServiceEntry["spec"]);
    case "Sidecar":
      return sidecarProblems(spec as Sidecar["spec"]);
    default:
      return securityProblems(kind, spec as object, `${object.metadata.name}.${object.metadata.namespace ?? "default"}`);
  }
}
