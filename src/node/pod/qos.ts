import type { PodSpec } from "../../api/types.ts";

/** Guaranteed: every container has equal requests and limits of cpu and memory. BestEffort: none has any. */
export function qosClass(spec: PodSpec): "Guaranteed" | "Burstable" | "BestEffort" {
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const quantities = containers.flatMap(({ resources }) =>
    (["cpu", "memory"] as const).map((name) => ({ request: resources?.requests?.[name], limit: resources?.limits?.[name] })),
  );
  if (quantities.every(({ request, limit }) => request === undefined && limit === undefined)) return "BestEffort";
  return quantities.every(({ request, limit }) => limit !== undefined && (request === undefined || String(request) === String(limit))) ? "Guaranteed" : "Burstable";
}
