import type { GroupVersionResource, KubeObject } from "../meta.ts";

/** Istio's kinds as far as they are read; see istio.io/latest/docs/reference/config for the meaning of each field. */
const networking = (resource: string): GroupVersionResource => ({ group: "networking.istio.io", version: "v1", resource });
export const istioResources = {
  virtualServices: networking("virtualservices"),
  destinationRules: networking("destinationrules"),
  serviceEntries: networking("serviceentries"),
  sidecars: networking("sidecars"),
  telemetries: { group: "telemetry.istio.io", version: "v1", resource: "telemetries" },
} as const;

/** Where mesh-wide objects stand. */
export const rootNamespace = "istio-system";

export interface StringMatch {
  exact?: string;
  prefix?: string;
  regex?: string;
}

export interface Destination {
  host: string;
  subset?: string;
  port?: { number?: number };
}

interface HeaderOperations {
  set?: Record<string, string>;
  add?: Record<string, string>;
  remove?: string[];
}

export interface Headers {
  request?: HeaderOperations;
  response?: HeaderOperations;
}

export interface HttpMatchRequest {
  name?: string;
  uri?: StringMatch;
  scheme?: StringMatch;
  method?: StringMatch;
  authority?: StringMatch;
  headers?: Record<string, StringMatch>;
  withoutHeaders?: Record<string, StringMatch>;
  queryParams?: Record<string, StringMatch>;
  port?: number;
  sourceLabels?: Record<string, string>;
  sourceNamespace?: string;
  gateways?: string[];
  ignoreUriCase?: boolean;
  statPrefix?: string;
}

interface Percent {
  value?: number;
}

export interface HttpRouteDestination {
  destination?: Destination;
  weight?: number;
  headers?: Headers;
}

export interface HttpRoute {
  name?: string;
  match?: HttpMatchRequest[];
  route?: HttpRouteDestination[];
  redirect?: { uri?: string; prefixRewrite?: string; authority?: string; port?: number; derivePort?: "FROM_PROTOCOL_DEFAULT" | "FROM_REQUEST_PORT"; scheme?: string; redirectCode?: number };
  directResponse?: { status: number; body?: { string?: string; bytes?: string } };
  delegate?: { name?: string; namespace?: string };
  rewrite?: { uri?: string; authority?: string; uriRegexRewrite?: { match?: string; rewrite?: string } };
  timeout?: string;
  retries?: { attempts?: number; perTryTimeout?: string; retryOn?: string; retryRemoteLocalities?: boolean; retryIgnorePreviousHosts?: boolean; backoff?: string };
  fault?: {
    delay?: { fixedDelay?: string; exponentialDelay?: string; percent?: number; percentage?: Percent };
    abort?: { httpStatus?: number; grpcStatus?: string; http2Error?: string; percentage?: Percent };
  };
  mirror?: Destination;
  mirrors?: { destination?: Destination; percentage?: Percent }[];
  mirrorPercent?: number;
  mirror_percent?: number;
  mirrorPercentage?: Percent;
  corsPolicy?: { allowOrigin?: string[]; allowOrigins?: StringMatch[]; allowMethods?: string[]; allowHeaders?: string[]; exposeHeaders?: string[]; maxAge?: string; allowCredentials?: boolean; unmatchedPreflights?: string };
  headers?: Headers;
}

/** Of `tcp`, and with `sniHosts` of `tls`. */
export interface StreamMatch {
  sniHosts?: string[];
  destinationSubnets?: string[];
  sourceSubnet?: string;
  port?: number;
  sourceLabels?: Record<string, string>;
  sourceNamespace?: string;
  gateways?: string[];
}

export interface StreamRoute {
  match?: StreamMatch[];
  route?: { destination?: Destination; weight?: number }[];
}

export interface VirtualService extends KubeObject {
  spec: {
    hosts?: string[];
    gateways?: string[];
    http?: HttpRoute[];
    tls?: StreamRoute[];
    tcp?: StreamRoute[];
    exportTo?: string[];
  };
  status?: IstioStatus;
}

export interface LoadBalancer {
  simple?: "UNSPECIFIED" | "LEAST_CONN" | "RANDOM" | "PASSTHROUGH" | "ROUND_ROBIN" | "LEAST_REQUEST";
  consistentHash?: {
    httpHeaderName?: string;
    httpCookie?: { name: string; path?: string; ttl?: string; attributes?: object[] };
    useSourceIp?: boolean;
    httpQueryParameterName?: string;
    ringHash?: { minimumRingSize?: number };
    maglev?: { tableSize?: number };
    minimumRingSize?: number;
  };
  localityLbSetting?: object;
  zoneAwareLbSetting?: object;
  warmup?: { duration?: string; minimumPercent?: number; aggression?: number };
  warmupDurationSecs?: string;
}

export interface ConnectionPool {
  tcp?: { maxConnections?: number; connectTimeout?: string; tcpKeepalive?: object; maxConnectionDuration?: string; idleTimeout?: string };
  http?: {
    http1MaxPendingRequests?: number;
    http2MaxRequests?: number;
    maxRequestsPerConnection?: number;
    maxRetries?: number;
    idleTimeout?: string;
    h2UpgradePolicy?: "DEFAULT" | "DO_NOT_UPGRADE" | "UPGRADE";
    useClientProtocol?: boolean;
    maxConcurrentStreams?: number;
    http2KeepAlive?: object;
  };
}

export interface OutlierDetection {
  splitExternalLocalOriginErrors?: boolean;
  consecutiveLocalOriginFailures?: number;
  consecutiveGatewayErrors?: number;
  consecutive5xxErrors?: number;
  consecutiveErrors?: number;
  interval?: string;
  baseEjectionTime?: string;
  maxEjectionPercent?: number;
  minHealthPercent?: number;
  outlierDetectionHttpErrorCodes?: number[];
}

export interface ClientTls {
  mode?: "DISABLE" | "SIMPLE" | "MUTUAL" | "ISTIO_MUTUAL";
  clientCertificate?: string;
  privateKey?: string;
  caCertificates?: string;
  caCrl?: string;
  credentialName?: string;
  subjectAltNames?: string[];
  sni?: string;
  insecureSkipVerify?: boolean;
}

/** What may be said for one port. */
export interface PortPolicy {
  loadBalancer?: LoadBalancer;
  connectionPool?: ConnectionPool;
  outlierDetection?: OutlierDetection;
  tls?: ClientTls;
}

export interface TrafficPolicy extends PortPolicy {
  portLevelSettings?: (PortPolicy & { port?: { number?: number } })[];
  tunnel?: object;
  proxyProtocol?: object;
  retryBudget?: { percent?: number; minRetryConcurrency?: number; budgetInterval?: string };
}

export interface Subset {
  name: string;
  labels?: Record<string, string>;
  trafficPolicy?: TrafficPolicy;
}

export interface DestinationRule extends KubeObject {
  spec: { host: string; trafficPolicy?: TrafficPolicy; subsets?: Subset[]; exportTo?: string[]; workloadSelector?: { matchLabels?: Record<string, string> } };
  status?: IstioStatus;
}

export interface ServiceEntry extends KubeObject {
  spec: {
    hosts: string[];
    addresses?: string[];
    ports?: { number: number; protocol?: string; name: string; targetPort?: number }[];
    location?: "MESH_EXTERNAL" | "MESH_INTERNAL";
    resolution?: "NONE" | "STATIC" | "DNS" | "DNS_ROUND_ROBIN" | "DYNAMIC_DNS";
    endpoints?: { address?: string; ports?: Record<string, number>; labels?: Record<string, string>; network?: string; locality?: string; weight?: number; serviceAccount?: string }[];
    workloadSelector?: { labels?: Record<string, string> };
    exportTo?: string[];
    subjectAltNames?: string[];
  };
  status?: IstioStatus;
}

export interface Sidecar extends KubeObject {
  spec: {
    workloadSelector?: { labels?: Record<string, string> };
    ingress?: object[];
    egress?: { port?: object; bind?: string; captureMode?: string; hosts?: string[] }[];
    inboundConnectionPool?: object;
    outboundTrafficPolicy?: { mode?: "REGISTRY_ONLY" | "ALLOW_ANY"; egressProxy?: object };
  };
  status?: IstioStatus;
}

export interface Telemetry extends KubeObject {
  spec: {
    selector?: object;
    targetRef?: object;
    targetRefs?: object[];
    accessLogging?: { disabled?: boolean; filter?: { expression?: string }; match?: { mode?: string }; providers?: object[] }[];
    metrics?: object[];
    tracing?: object[];
  };
  status?: IstioStatus;
}

/** meta.istio.io/v1alpha1. */
export interface IstioStatus {
  conditions?: IstioCondition[];
  validationMessages?: ValidationMessage[];
  observedGeneration?: number | string;
}

export interface IstioCondition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
  lastTransitionTime?: string;
}

export interface ValidationMessage {
  type: { name: string; code: string };
  level: "ERROR" | "WARNING" | "INFO";
  documentationUrl: string;
}
