import { parseQuantity } from "../../../quantity.ts";
import type { KubeObject } from "../../../meta.ts";

type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

/**
 * The quality of service that a pod's requests and limits buy, fixed when it is made. Only CPU and memory count.
 * Source: k8s.io/kubernetes/pkg/apis/core/helper/qos.
 */
export function qosClass(pod: KubeObject): QosClass {
  const holders: { requests?: Record<string, string>; limits?: Record<string, string> }[] = pod.spec?.resources
    ? [pod.spec.resources]
    : [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].map((container) => container.resources ?? {});
  let any = false;
  let guaranteed = holders.length > 0;
  for (const { requests = {}, limits = {} } of holders) {
    for (const resource of ["cpu", "memory"]) {
      const request = amountOf(requests[resource]);
      const limit = amountOf(limits[resource]);
      if (request !== undefined || limit !== undefined) any = true;
      if (limit === undefined || (request ?? limit) !== limit) guaranteed = false;
    }
  }
  return guaranteed ? "Guaranteed" : any ? "Burstable" : "BestEffort";
}

/** A comparable form; zero and nonsense (which validation reports) count as absent. */
function amountOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    const { amount, exponent } = parseQuantity(String(text));
    return amount <= 0n ? undefined : String(amount * 10n ** BigInt(exponent + 9));
  } catch {
    return undefined;
  }
}
