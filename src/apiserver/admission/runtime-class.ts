import type { KubeObject } from "../../api/meta.ts";
import { forbiddenError } from "../../api/status.ts";
import type { PodSpec } from "../../api/types.ts";
import { semanticEqual } from "../../api/validation/checks.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionRequest, AdmissionStep } from "../rest/context.ts";

interface RuntimeClass extends KubeObject {
  overhead?: { podFixed?: Record<string, string> };
  scheduling?: { nodeSelector?: Record<string, string>; tolerations?: NonNullable<PodSpec["tolerations"]> };
}

/** What a pod's RuntimeClass costs, and where it is. Source: plugin/pkg/admission/runtimeclass. */
export function runtimeClass({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  const refused = ({ kind, object }: AdmissionRequest, why: string) => forbiddenError(kind, object!.metadata.name || object!.metadata.generateName || "", why);
  const specOf = ({ operation, kind, subresource, object }: AdmissionRequest): PodSpec | undefined => (operation === "CREATE" && subresource === undefined && kind.group === "" && kind.resource === "pods" ? (object?.["spec"] as PodSpec | undefined) : undefined);
  const classOf = (request: AdmissionRequest, { runtimeClassName }: PodSpec): RuntimeClass | undefined => {
    if (runtimeClassName === undefined) return undefined;
    const found = store.get(`/node.k8s.io/runtimeclasses/${runtimeClassName}`)?.object as unknown as RuntimeClass | undefined;
    if (!found) throw refused(request, `pod rejected: RuntimeClass ${JSON.stringify(runtimeClassName)} not found`);
    return found;
  };
  const mismatch = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
  return {
    name: "RuntimeClass",
    mutate(request) {
      const spec = specOf(request);
      const chosen = spec && classOf(request, spec);
      if (!spec || !chosen) return;
      const { overhead, scheduling } = chosen;
      if (overhead) {
        if (Object.keys(spec.overhead ?? {}).length > 0 && !semanticEqual(spec.overhead, overhead.podFixed)) throw refused(request, mismatch);
        if (overhead.podFixed) spec.overhead = { ...overhead.podFixed };
      }
      for (const [key, value] of Object.entries(scheduling?.nodeSelector ?? {})) {
        const asked = (spec.nodeSelector as Record<string, string> | undefined)?.[key];
        if (asked !== undefined && asked !== value) throw refused(request, `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${asked}`);
        spec.nodeSelector = { ...spec.nodeSelector, [key]: value };
      }
      const added = (scheduling?.tolerations ?? []).filter((toleration) => !spec.tolerations?.some((present) => semanticEqual(present, toleration)));
      if (added.length > 0) spec.tolerations = [...(spec.tolerations ?? []), ...added];
    },
    validate(request) {
      const spec = specOf(request);
      if (!spec) return;
      const overhead = classOf(request, spec)?.overhead;
      if (overhead && !semanticEqual(overhead.podFixed ?? {}, spec.overhead ?? {})) throw refused(request, mismatch);
      if (!overhead && spec.overhead !== undefined) throw refused(request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    },
  };
}
