import type { KubeObject } from "../../api/meta.ts";
import { forbiddenError } from "../../api/status.ts";
import type { PodSpec } from "../../api/types.ts";
import type { ApiOptions } from "../api.ts";
import type { AdmissionStep } from "../rest/context.ts";

interface PriorityClass extends KubeObject {
  value?: number;
  globalDefault?: boolean;
  preemptionPolicy?: PodSpec["preemptionPolicy"];
}

/** A pod's class becomes its number; only one class may be the default. Source: plugin/pkg/admission/priority. */
export function priority({ store }: Pick<ApiOptions, "store">): AdmissionStep {
  const classes = () => store.range("/scheduling.k8s.io/priorityclasses/").map((entry) => entry.object as unknown as PriorityClass);
  /** Two defaults cannot be made, but can have been there: the lower one counts. */
  const defaultClass = () => classes().reduce<PriorityClass | undefined>((least, candidate) => (candidate.globalDefault && (!least || (candidate.value ?? 0) < (least.value ?? 0)) ? candidate : least), undefined);
  return {
    name: "Priority",
    mutate({ operation, kind, object, old, subresource }) {
      if (subresource !== undefined || kind.group !== "" || kind.resource !== "pods" || !object?.["spec"]) return;
      const spec = object["spec"] as PodSpec;
      if (operation === "UPDATE") {
        const before = old!["spec"] as PodSpec;
        if (before.priority !== undefined) spec.priority ??= before.priority;
        if (before.preemptionPolicy !== undefined) spec.preemptionPolicy ??= before.preemptionPolicy;
      }
      if (operation !== "CREATE") return;
      const name = object.metadata.name || object.metadata.generateName || "";
      const chosen = spec.priorityClassName ? classes().find(({ metadata }) => metadata.name === spec.priorityClassName) : defaultClass();
      if (spec.priorityClassName && !chosen) throw forbiddenError(kind, name, `no PriorityClass with name ${spec.priorityClassName} was found`);
      const value = chosen?.value ?? 0;
      const policy = chosen ? (chosen.preemptionPolicy ?? "PreemptLowerPriority") : "PreemptLowerPriority";
      if (spec.priority !== undefined && spec.priority !== value) throw forbiddenError(kind, name, `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`);
      if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy) throw forbiddenError(kind, name, `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`);
      if (chosen) spec.priorityClassName = chosen.metadata.name;
      spec.priority = value;
      spec.preemptionPolicy = policy;
    },
    validate({ operation, kind, name, object }) {
      if ((operation !== "CREATE" && operation !== "UPDATE") || kind.group !== "scheduling.k8s.io" || kind.resource !== "priorityclasses" || !object?.["globalDefault"]) return;
      const present = defaultClass();
      if (present && present.metadata.name !== object.metadata.name) throw forbiddenError(kind, object.metadata.name || name, `PriorityClass ${present.metadata.name} is already marked as default. Only one default can exist`);
    },
  };
}
