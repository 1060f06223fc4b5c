/** What Wherry claims of Gateway API v1.6.1: the suite runs a test when all that it needs is claimed. */
export const profiles = ["GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP"];

export const features = [
  "Gateway",
  "ReferenceGrant",
  "HTTPRoute",
  "GRPCRoute",
  "TLSRoute",
  "TCPRoute",
  "UDPRoute",
  ...["Port8080", "StaticAddresses", "HTTPListenerIsolation", "HTTPSListenerDetectMisdirectedRequests", "InfrastructurePropagation", "AddressEmpty", "BackendClientCertificate", "FrontendClientCertificateValidation", "FrontendClientCertificateValidationInsecureFallback"].map((name) => `Gateway${name}`),
  "ListenerSet",
  ...["MethodMatching", "QueryParamMatching", "ResponseHeaderModification", "BackendRequestHeaderModification", "HostRewrite", "PathRewrite", "PortRedirect", "SchemeRedirect", "PathRedirect", "303RedirectStatusCode", "307RedirectStatusCode", "308RedirectStatusCode"].map((name) => `HTTPRoute${name}`),
  ...["RequestMirror", "RequestMultipleMirrors", "RequestPercentageMirror", "RequestTimeout", "BackendTimeout", "ParentRefPort", "DestinationPortMatching", "NamedRouteRule", "CORS", "BackendProtocolH2C", "BackendProtocolWebSocket", "Retry", "RetryBackendTimeout", "RetryConnectionError"].map((name) => `HTTPRoute${name}`),
  "GRPCRouteNamedRouteRule",
  "TLSRouteModeTerminate",
  "TLSRouteModeMixed",
  "BackendTLSPolicy",
  "BackendTLSPolicySANValidation",
];
