import type { PolicyKind } from "../../api/envoy/kinds.ts";
import { quantityValue } from "../../api/quantity.ts";
import type { TextMatch } from "../../api/traffic.ts";
import type { Refusal } from "./effect.ts";
import { instead, wordsFor } from "./instead.ts";

/**
 * The fields of `spec` that are honoured, lists as "[]"; one that ends in ".*" means all below it. Whatever else is set is refused:
 * so a field that a later version of the kind brings is never passed over. docs/reference/policy-fields.md says the same in words.
 */
const targets = ["targetRef.*", "targetRefs[].*", "targetSelectors[].*"];
const mergeable = [...targets, "mergeType"];
export const honoured: Record<PolicyKind, readonly string[]> = {
  SecurityPolicy: [
    ...mergeable, "cors.*",
    ...["http.backendRef.*", "http.backendRefs[].*", "http.path", "http.pathOverride", "http.headersToBackend[]", "grpc.backendRef.*", "grpc.backendRefs[].*", "headersToExtAuth[]", "bodyToExtAuth.maxRequestBytes", "timeout", "failOpen", "statusOnError", "contextExtensions[].*"].map((field) => `extAuth.${field}`),
    ...["issuer", "authorizationEndpoint", "tokenEndpoint", "endSessionEndpoint", "backendRef.*", "backendRefs[].*"].map((field) => `oidc.provider.${field}`),
    ...["clientID", "clientIDRef.*", "clientSecret.*", "cookieNames.*", "cookieConfig.sameSite", "cookieDomain", "scopes[]", "resources[]", "redirectURL", "logoutPath", "forwardAccessToken", "forwardIDToken.header", "defaultTokenTTL", "refreshToken", "defaultRefreshTokenTTL", "csrfTokenTTL", "passThroughAuthHeader", "denyRedirect.headers[].*", "disableTokenEncryption"].map((field) => `oidc.${field}`),
    "csrf.*",
    "apiKeyAuth.credentialRefs[].*",
    "apiKeyAuth.extractFrom[].*",
    "apiKeyAuth.forwardClientIDHeader",
    "apiKeyAuth.sanitize",
    "basicAuth.users.*",
    "basicAuth.forwardUsernameHeader",
    "jwt.optional",
    "jwt.failOpen",
    ...["name", "issuer", "audiences[]", "localJWKS.type", "localJWKS.inline", "localJWKS.valueRef.*", "claimToHeaders[].*", "extractFrom.headers[].*", "extractFrom.params[]", "extractFrom.cookies[]"].map((field) => `jwt.providers[].${field}`),
    ...["uri", "cacheDuration", "failedRefetchDuration", "backendRef.*", "backendRefs[].*"].map((field) => `jwt.providers[].remoteJWKS.${field}`),
    "authorization.defaultAction",
    ...["name", "action", "operation.methods[]", "operation.path.*", "principal.clientCIDRs[]", "principal.headers[].*", "principal.jwt.provider", "principal.jwt.scopes[]", "principal.jwt.claims[].*"].map((field) => `authorization.rules[].${field}`),
  ],
  BackendTrafficPolicy: [
    ...mergeable,
    "timeout.tcp.connectTimeout",
    "timeout.http.requestTimeout",
    "timeout.http.connectionIdleTimeout",
    "timeout.http.maxConnectionDuration",
    "tcpKeepalive.*",
    "bandwidthLimit.response.limit.*",
    "httpUpgrade[].type",
    "proxyProtocol.version",
    "timeout.http.maxStreamDuration",
    "timeout.http.streamIdleTimeout",
    ...["compression", "compressor"].flatMap((list) => [`${list}[].type`, `${list}[].minContentLength`, `${list}[].gzip.*`, `${list}[].brotli.*`, `${list}[].zstd.*`]),
    "responseOverride[].*",
    "requestBuffer.limit",
    "routingType",
    "retry.numRetries",
    "retry.retryOn.triggers[]",
    "retry.retryOn.httpStatusCodes[]",
    "retry.perRetry.timeout",
    "retry.perRetry.backOff.*",
    "faultInjection.*",
    "rateLimit.type",
    ...["rateLimit.local", "rateLimit.global"].flatMap((scope) => ["clientSelectors[].*", "limit.requests", "limit.unit", "cost.request.from", "cost.request.number", "cost.response.from", "cost.response.number", "shared", "shadowMode", "xRateLimitHeaders"].map((field) => `${scope}.rules[].${field}`)),
    "circuitBreaker.maxConnections",
    "circuitBreaker.maxPendingRequests",
    "circuitBreaker.maxParallelRequests",
    "circuitBreaker.maxParallelRetries",
    "circuitBreaker.maxRequestsPerConnection",
    "circuitBreaker.retryBudget.*",
    "admissionControl.*",
    "healthCheck.panicThreshold",
    "healthCheck.passive.*",
    ...["type", "interval", "timeout", "initialJitter", "unhealthyThreshold", "healthyThreshold", "http.*", "tcp.*", "grpc.*", "overrides.*"].map((field) => `healthCheck.active.${field}`),
    "loadBalancer.type",
    "loadBalancer.slowStart.window",
    "loadBalancer.consistentHash.type",
    "loadBalancer.consistentHash.header.name",
    "loadBalancer.consistentHash.headers[].name",
    "loadBalancer.consistentHash.cookie.name",
    "loadBalancer.consistentHash.cookie.ttl",
    "loadBalancer.consistentHash.queryParams[].name",
  ],
  ClientTrafficPolicy: [
    ...targets,
    "tls.minVersion",
    "tls.maxVersion",
    "tls.ciphers[]",
    "tls.alpnProtocols[]",
    "tls.ecdhCurves[]",
    "tls.signatureAlgorithms[]",
    "tls.session.*",
    "tls.clientValidation.crl.*",
    "tls.clientValidation.optional",
    "tls.clientValidation.mode",
    "tls.clientValidation.caCertificateRefs[].*",
    "tls.clientValidation.certificateHashes[]",
    "tls.clientValidation.spkiHashes[]",
    "tls.clientValidation.subjectAltNames.dnsNames[].*",
    "tls.clientValidation.subjectAltNames.emailAddresses[].*",
    "tls.clientValidation.subjectAltNames.ipAddresses[].*",
    "tls.clientValidation.subjectAltNames.uris[].*",
    "timeout.http.*",
    "timeout.tcp.*",
    "connection.connectionLimit.*",
    "headers.maxRequestHeaderLimit",
    "headers.withUnderscoresAction",
    "headers.requestID",
    "headers.preserveXRequestID",
    "headers.enableEnvoyHeaders",
    "headers.earlyRequestHeaders.*",
    "headers.lateResponseHeaders.*",
    "headers.xForwardedClientCert.*",
    "clientIPDetection.xForwardedFor.*",
    "clientIPDetection.customHeader.*",
    "clientIPDetection.directSourceIP.*",
    "path.*",
    "headers.disableRateLimitHeaders",
    "headers.host.stripTrailingHostDot",
    "http1.disableSafeMaxConnectionDuration",
    "http1.ignoredUpgradeTypes[].*",
    "http1.enableTrailers",
    "http1.preserveHeaderCase",
    "http1.http10.*",
    "grpc.enableWeb",
    "http2.maxConcurrentStreams",
    "http2.onInvalidMessage",
    "http2.initialStreamWindowSize",
    "http2.initialConnectionWindowSize",
    "enableProxyProtocol",
    "proxyProtocol.*",
    "scheme",
    "healthCheck.path",
    "tcpKeepalive.*",
  ],
};

/** What the schemas fill in beside fields that are set, and what is done anyway: it is no wish. Other values are. */
const defaults: Record<PolicyKind, Readonly<Record<string, unknown>>> = {
  SecurityPolicy: {},
  BackendTrafficPolicy: { "loadBalancer.consistentHash.tableSize": 65537 },
  ClientTrafficPolicy: { "connection.maxAcceptPerSocketEvent": 1 },
};

/** Envoy Gateway's way to look at a text. */
export interface StringMatch {
  type?: "Exact" | "Prefix" | "Suffix" | "RegularExpression";
  value: string;
}
const matchTypes = { Exact: "exact", Prefix: "prefix", Suffix: "suffix", RegularExpression: "regex" } as const;
export const stringMatch = ({ type = "Exact", value }: StringMatch): TextMatch => ({ type: matchTypes[type], value });

/** Of a quantity, or a number of bytes. */
export const bytesOf = (size: string | number): number => (typeof size === "number" ? size : quantityValue(size));

/** Fields that are set and not honoured. */
export function notHonoured(kind: PolicyKind, spec: object): Refusal[] {
  return fieldsBeyond(honoured[kind], spec, defaults[kind], instead[kind]);
}

/** Fields that are set, to something else than is `filledIn`, and that `known` does not have; `words` say why. */
export function fieldsBeyond(known: readonly string[], spec: object, filledIn: Readonly<Record<string, unknown>> = {}, words: Readonly<Record<string, string>> = {}): Refusal[] {
  const refused: Refusal[] = [];
  const { fields, wholes, above } = readFields(known);
  const isWhole = (shape: string): boolean => {
    for (let end = shape.length; end > 0; end = shape.lastIndexOf(".", end - 1)) if (wholes.has(shape.slice(0, end))) return true;
    return false;
  };
  const look = (value: unknown, shape: string, at: string): void => {
    if (fields.has(shape) || isWhole(shape)) return;
    if (Object.hasOwn(filledIn, shape) && filledIn[shape] === value) return;
    if (Array.isArray(value)) return value.forEach((item, i) => look(item, `${shape}[]`, `${at}[${i}]`));
    if (typeof value === "object" && value !== null && Object.keys(value).length > 0 && (shape === "" || above.has(shape) || [...Object.keys(filledIn), ...Object.keys(words)].some((field) => field.startsWith(`${shape}.`)))) {
      for (const [name, inner] of Object.entries(value)) look(inner, shape === "" ? name : `${shape}.${name}`, at === "" ? name : `${at}.${name}`);
      return;
    }
    refused.push({ field: at, why: wordsFor(words, shape) });
  };
  look(spec, "", "");
  return refused;
}

/** Of a list of fields: those that end themselves, those of which everything below is known (".*"), and all that lie above any. */
interface KnownFields {
  fields: ReadonlySet<string>;
  wholes: ReadonlySet<string>;
  above: ReadonlySet<string>;
}
const read = new WeakMap<readonly string[], KnownFields>();
function readFields(known: readonly string[]): KnownFields {
  let found = read.get(known);
  if (found) return found;
  const above = new Set<string>();
  for (const entry of known) for (let end = entry.lastIndexOf("."); end > 0; end = entry.lastIndexOf(".", end - 1)) above.add(entry.slice(0, end));
  found = { fields: new Set(known.filter((entry) => !entry.endsWith(".*"))), wholes: new Set(known.flatMap((entry) => (entry.endsWith(".*") ? entry.slice(0, -2) : []))), above };
  read.set(known, found);
  return found;
}
