import type { PolicyKind } from "../../api/envoy/kinds.ts";
import type { Refusal } from "./effect.ts";

/**
 * The fields of `spec` that are honoured, lists as "[]"; one that ends in ".*" means all below it. Whatever else is set is refused:
 * so a field that a later version of the kind brings is never passed over. docs/reference/policy-fields.md says the same in words.
 */
const targets = ["targetRef.*", "targetRefs[].*", "targetSelectors[].*"];
const mergeable = [...targets, "mergeType"];
export const honoured: Record<PolicyKind, readonly string[]> = {
  SecurityPolicy: [...mergeable, "cors.*"],
  BackendTrafficPolicy: [
    ...mergeable,
    "timeout.tcp.connectTimeout",
    "timeout.http.requestTimeout",
    "timeout.http.connectionIdleTimeout",
    "retry.numRetries",
    "retry.retryOn.triggers[]",
    "retry.retryOn.httpStatusCodes[]",
    "retry.perRetry.timeout",
    "retry.perRetry.backOff.*",
    "faultInjection.*",
    "circuitBreaker.maxConnections",
    "circuitBreaker.maxPendingRequests",
    "circuitBreaker.maxParallelRequests",
    "circuitBreaker.maxParallelRetries",
    "healthCheck.panicThreshold",
    "healthCheck.passive.consecutive5XxErrors",
    "healthCheck.passive.consecutiveGatewayErrors",
    "healthCheck.passive.consecutiveLocalOriginFailures",
    "healthCheck.passive.splitExternalLocalOriginErrors",
    "healthCheck.passive.interval",
    "healthCheck.passive.baseEjectionTime",
    "healthCheck.passive.maxEjectionPercent",
    "loadBalancer.type",
    "loadBalancer.slowStart.window",
    "loadBalancer.consistentHash.type",
    "loadBalancer.consistentHash.header.name",
    "loadBalancer.consistentHash.cookie.name",
    "loadBalancer.consistentHash.cookie.ttl",
    "loadBalancer.consistentHash.queryParams[].name",
  ],
  ClientTrafficPolicy: targets,
};

/** Fields that are set and not honoured. */
export function notHonoured(kind: PolicyKind, spec: object): Refusal[] {
  const known = honoured[kind];
  const refused: Refusal[] = [];
  const look = (value: unknown, shape: string, at: string): void => {
    if (known.some((entry) => (entry.endsWith(".*") ? shape.startsWith(entry.slice(0, -1)) || shape === entry.slice(0, -2) : shape === entry))) return;
    if (Array.isArray(value)) return value.forEach((item, i) => look(item, `${shape}[]`, `${at}[${i}]`));
    if (typeof value === "object" && value !== null && Object.keys(value).length > 0 && known.some((entry) => entry.startsWith(`${shape}${shape === "" ? "" : "."}`))) {
      for (const [name, inner] of Object.entries(value)) look(inner, shape === "" ? name : `${shape}.${name}`, at === "" ? name : `${at}.${name}`);
      return;
    }
    refused.push({ field: at, why: "is not honoured here" });
  };
  look(spec, "", "");
  return refused;
}
