import type { AdmissionStep } from "../rest/context.ts";

const notReady = { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" };

/** A new node takes no pods until the node controller has seen that it is ready. Source: plugin/pkg/admission/nodetaint. */
export function nodeTaint(): AdmissionStep {
  return {
    name: "TaintNodesByCondition",
    mutate({ operation, kind, object, subresource }) {
      if (operation !== "CREATE" || subresource !== undefined || kind.group !== "" || kind.resource !== "nodes" || !object) return;
      const spec = (object["spec"] ??= {}) as { taints?: { key: string; effect: string }[] };
      if (spec.taints?.some(({ key, effect }) => key === notReady.key && effect === notReady.effect)) return;
      spec.taints = [...(spec.taints ?? []), { ...notReady }];
    },
  };
}
