import type { KubeObject } from "../../api/meta.ts";
import { forbiddenError } from "../../api/status.ts";
import type { PodSpec } from "../../api/types.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

interface PriorityClass extends KubeObject {
  value: number;
  globalDefault?: boolean;
  preemptionPolicy?: string;
}

/** Priority and DefaultTolerationSeconds. Source: plugin/pkg/admission/{priority,defaulttolerationseconds}. */
export function podDefaults({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  const classes = () => store.range("/scheduling.k8s.io/priorityclasses/").map((entry) => entry.object as unknown as PriorityClass);
  return {
    name: "Priority",
    mutate({ operation, kind, object, subresource }) {
      if (operation !== "CREATE" || subresource !== undefined || kind.group !== "" || kind.resource !== "pods" || !object?.["spec"]) return;
      const spec = object["spec"] as PodSpec;
      const chosen = spec.priorityClassName ? classes().find(({ metadata }) => metadata.name === spec.priorityClassName) : classes().find(({ globalDefault }) => globalDefault);
      if (spec.priorityClassName && !chosen) throw forbiddenError(kind, object.metadata.name, `no PriorityClass with name ${spec.priorityClassName} was found`);
      if (chosen) spec.priorityClassName = chosen.metadata.name;
      spec.priority = chosen?.value ?? 0;
      spec.preemptionPolicy ??= (chosen?.preemptionPolicy as "PreemptLowerPriority" | undefined) ?? "PreemptLowerPriority";
      for (const key of ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]) {
        const tolerated = spec.tolerations?.some((toleration) => (toleration.key === key || (!toleration.key && toleration.operator === "Exists")) && (!toleration.effect || toleration.effect === "NoExecute"));
        if (!tolerated) spec.tolerations = [...(spec.tolerations ?? []), { key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 }];
      }
    },
  };
}
