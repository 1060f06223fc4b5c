import type { PolicyKind } from "../../api/envoy/kinds.ts";

/** Fields that the kinds have for old times' sake, and what says the same now. `true`: only a value of true means anything. */
const deprecated: Record<PolicyKind, readonly [field: string, use: string, value?: true][]> = {
  SecurityPolicy: [
    ["extAuth.grpc.backendRef", "extAuth.grpc.backendRefs"],
    ["extAuth.http.backendRef", "extAuth.http.backendRefs"],
    ["targetRef", "targetRefs"],
  ],
  BackendTrafficPolicy: [
    ["compression", "compressor"],
    ["targetRef", "targetRefs"],
  ],
  ClientTrafficPolicy: [
    ["enableProxyProtocol", "proxyProtocol"],
    ["headers.preserveXRequestID", "headers.requestID"],
    ["targetRef", "targetRefs"],
    ["tls.clientValidation.optional", "tls.clientValidation.mode", true],
  ],
};

/** What a policy's Warning says of them, in Envoy Gateway's words; undefined: it has none. */
export function deprecations(kind: PolicyKind, spec: object): string | undefined {
  const found = deprecated[kind].filter(([field, , wanted]) => {
    const value = field.split(".").reduce<unknown>((at, name) => (typeof at === "object" && at !== null ? (at as Record<string, unknown>)[name] : undefined), spec);
    return wanted ? value === true : Array.isArray(value) ? value.length > 0 : value !== undefined;
  });
  return found.length === 0 ? undefined : found.map(([field, use]) => `spec.${field} is deprecated, use spec.${use} instead`).join("; ");
}
