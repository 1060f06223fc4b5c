/** What Wherry claims of Gateway API v1.6.1: the suite runs a test when all that it needs is claimed. */
export interface Claim {
  profiles: string[];
  features: string[];
  /** The file that the report is written to, beside this one. */
  report: string;
}

const profiles = ["GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP"];

const features = [
  "Gateway",
  "ReferenceGrant",
  "HTTPRoute",
  "GRPCRoute",
  "TLSRoute",
  "TCPRoute",
  "UDPRoute",
  ...["Port8080", "StaticAddresses", "HTTPListenerIsolation", "HTTPSListenerDetectMisdirectedRequests", "AddressEmpty", "BackendClientCertificate", "FrontendClientCertificateValidation", "FrontendClientCertificateValidationInsecureFallback"].map((name) => `Gateway${name}`),
  "ListenerSet",
  ...["MethodMatching", "QueryParamMatching", "ResponseHeaderModification", "BackendRequestHeaderModification", "HostRewrite", "PathRewrite", "PortRedirect", "SchemeRedirect", "PathRedirect", "303RedirectStatusCode", "307RedirectStatusCode", "308RedirectStatusCode"].map((name) => `HTTPRoute${name}`),
  ...["RequestMirror", "RequestMultipleMirrors", "RequestPercentageMirror", "RequestTimeout", "BackendTimeout", "ParentRefPort", "DestinationPortMatching", "NamedRouteRule", "CORS", "BackendProtocolH2C", "BackendProtocolWebSocket", "Retry", "RetryBackendTimeout", "RetryConnectionError"].map((name) => `HTTPRoute${name}`),
  "GRPCRouteNamedRouteRule",
  "TLSRouteModeTerminate",
  "TLSRouteModeMixed",
  "BackendTLSPolicy",
  "BackendTLSPolicySANValidation",
];

export const gateway: Claim = { profiles, features, report: "report.yaml" };

/** Routes attached to Services. */
export const mesh: Claim = {
  profiles: ["MESH-HTTP", "MESH-GRPC"],
  features: [
    "Mesh",
    "HTTPRoute",
    "GRPCRoute",
    ...["ClusterIPMatching", "ConsumerRoute", "HTTPRouteRewritePath", "HTTPRouteSchemeRedirect", "HTTPRouteRedirectPort", "HTTPRouteRedirectPath", "HTTPRouteBackendRequestHeaderModification", "HTTPRouteQueryParamMatching", "HTTPRouteNamedRouteRule"].map((name) => `Mesh${name}`),
    ...features.filter((name) => name.startsWith("HTTPRoute") && name !== "HTTPRoute"),
  ],
  report: "mesh-report.yaml",
};
