import type { PodSpec } from "../../api/types.ts";
import type { AdmissionStep } from "../rest/context.ts";

const troubles = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const toleratedSeconds = 300;

/** A pod bears a node in trouble for five minutes, unless it says otherwise. Source: plugin/pkg/admission/defaulttolerationseconds. */
export function defaultTolerationSeconds(): AdmissionStep {
  return {
    name: "DefaultTolerationSeconds",
    mutate({ operation, kind, object, subresource }) {
      if ((operation !== "CREATE" && operation !== "UPDATE") || subresource !== undefined || kind.group !== "" || kind.resource !== "pods" || !object?.["spec"]) return;
      const spec = object["spec"] as PodSpec;
      for (const key of troubles) {
        const tolerated = spec.tolerations?.some((toleration) => (toleration.key === key || (!toleration.key && toleration.operator === "Exists")) && (!toleration.effect || toleration.effect === "NoExecute"));
        if (!tolerated) spec.tolerations = [...(spec.tolerations ?? []), { key, operator: "Exists", effect: "NoExecute", tolerationSeconds: toleratedSeconds }];
      }
    },
  };
}
