import { compareQuantity, parseQuantity, type Quantity, quantityMilliValue, quantityValue } from "../../../api/quantity.ts";
import type { Amounts, VerticalPodAutoscaler } from "../../../api/vpa/types.ts";

/** What a definition's schema cannot say is wrong with an autoscaler, in upstream's words. Source: admission-controller/resource/vpa/handler.go. */
export function problemOf({ spec }: VerticalPodAutoscaler, isNew: boolean): string | undefined {
  const { updatePolicy, resourcePolicy } = spec;
  if (updatePolicy) {
    if (updatePolicy.updateMode === undefined) return "updateMode is required if UpdatePolicy is used";
    if ((updatePolicy.minReplicas ?? 1) <= 0) return `minReplicas has to be positive, got ${updatePolicy.minReplicas}`;
  }
  for (const { containerName, mode, minAllowed, maxAllowed, controlledValues } of resourcePolicy?.containerPolicies ?? []) {
    if (!containerName) return "containerPolicies.ContainerName is required";
    for (const [resource, min] of Object.entries(minAllowed ?? {})) {
      const wrong = unevenly(resource, min);
      if (wrong) return `minAllowed: ${wrong}`;
      const max = maxAllowed?.[resource];
      if (max !== undefined && unevenly("", max) === undefined && compareQuantity(parseQuantity(String(max)), parseQuantity(String(min))) < 0) return `max resource for ${resource} is lower than min`;
    }
    const wrong = Object.entries(maxAllowed ?? ({} as Amounts)).map(([resource, max]) => unevenly(resource, max)).find((text) => text !== undefined);
    if (wrong) return `maxAllowed: ${wrong}`;
    if (mode === "Off" && controlledValues === "RequestsAndLimits") return "controlledValues shouldn't be specified if container scaling mode is off";
  }
  if (isNew && !spec.targetRef) return "targetRef is required. If you're using v1beta1 version of the API, please migrate to v1";
  if ((spec.recommenders ?? []).length > 1) return "the current version of VPA object shouldn't specify more than one recommenders";
  return undefined;
}

function unevenly(resource: string, amount: string | number): string | undefined {
  let quantity: Quantity;
  try {
    quantity = parseQuantity(String(amount));
  } catch (error) {
    return (error as Error).message;
  }
  const isWhole = (rounded: string) => compareQuantity(parseQuantity(rounded), quantity) === 0;
  if (resource === "cpu" && !isWhole(`${quantityMilliValue(quantity)}m`)) return `CPU [${amount}] must be a whole number of milli CPUs`;
  if (resource === "memory" && !isWhole(String(quantityValue(quantity)))) return `memory [${amount}] must be a whole number of bytes`;
  return undefined;
}

export const autoDeprecated = 'UpdateMode "Auto" is deprecated and will be removed in a future API version. Use explicit update modes like "Recreate", "Initial", or "InPlaceOrRecreate" instead. See https://github.com/kubernetes/autoscaler/issues/8424 for more details.';
