import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import type { labelSelectorOf } from "../../api/selectors.ts";

type LabelSelector = NonNullable<Parameters<typeof labelSelectorOf>[0]>;

/** Gateway API v1.6 as far as the data plane reads it; see gateway-api.sigs.k8s.io for the meaning of each field. */
export const gatewayGroup = "gateway.networking.k8s.io";
/** How GatewayClasses name Wherry. */
export const controllerName = "wherry.dev/gateway-controller";

const resource = (name: string, version = "v1"): GroupVersionResource => ({ group: gatewayGroup, version, resource: name });
export const gatewayResources = {
  gatewayClasses: resource("gatewayclasses"),
  gateways: resource("gateways"),
  listenerSets: resource("listenersets"),
  httpRoutes: resource("httproutes"),
  grpcRoutes: resource("grpcroutes"),
  tlsRoutes: resource("tlsroutes"),
  tcpRoutes: resource("tcproutes"),
  udpRoutes: resource("udproutes"),
  referenceGrants: resource("referencegrants", "v1beta1"),
  backendTlsPolicies: resource("backendtlspolicies"),
} as const;

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
  observedGeneration?: number;
  lastTransitionTime?: string;
}

export interface Reference {
  group?: string;
  kind?: string;
  namespace?: string;
  name: string;
}

export interface GatewayClass extends KubeObject {
  spec: { controllerName: string; parametersRef?: Reference };
  status?: { conditions?: Condition[]; supportedFeatures?: { name: string }[] };
}

export interface AllowedRoutes {
  namespaces?: { from?: "All" | "Same" | "Selector" | "None"; selector?: LabelSelector };
  kinds?: { group?: string; kind: string }[];
}

export interface Listener {
  name: string;
  hostname?: string;
  port: number;
  protocol: string;
  tls?: { mode?: "Terminate" | "Passthrough"; certificateRefs?: Reference[]; options?: Record<string, string> };
  allowedRoutes?: AllowedRoutes;
}

export interface FrontendValidation {
  caCertificateRefs?: Reference[];
  mode?: "AllowValidOnly" | "AllowInsecureFallback";
}

export interface Gateway extends KubeObject {
  spec: {
    gatewayClassName: string;
    defaultScope?: "All" | "None";
    listeners?: Listener[];
    addresses?: { type?: string; value?: string }[];
    infrastructure?: { labels?: Record<string, string>; annotations?: Record<string, string>; parametersRef?: Reference };
    allowedListeners?: { namespaces?: { from?: "All" | "Same" | "Selector" | "None"; selector?: LabelSelector } };
    tls?: {
      backend?: { clientCertificateRef?: Reference };
      frontend?: { default?: { validation?: FrontendValidation }; perPort?: { port: number; tls?: { validation?: FrontendValidation } }[] };
    };
  };
  status?: GatewayStatus;
}

export interface GatewayStatus {
  addresses?: { type: string; value: string }[];
  conditions?: Condition[];
  listeners?: ListenerStatus[];
  attachedListenerSets?: number;
}

export interface ListenerStatus {
  name: string;
  supportedKinds: { group: string; kind: string }[];
  attachedRoutes: number;
  conditions: Condition[];
}

export interface ListenerSet extends KubeObject {
  spec: { parentRef: Reference; listeners: Listener[] };
  status?: { conditions?: Condition[]; listeners?: ListenerStatus[] };
}

export interface ParentReference extends Reference {
  sectionName?: string;
  port?: number;
}

export interface BackendReference extends Reference {
  port?: number;
  weight?: number;
}

export interface RouteStatus {
  parents: { parentRef: ParentReference; controllerName: string; conditions: Condition[] }[];
}

export interface RouteObject<Rule> extends KubeObject {
  spec: { parentRefs?: ParentReference[]; useDefaultGateways?: "All" | "None"; hostnames?: string[]; rules?: Rule[] };
  status?: RouteStatus;
}

export interface PathModifier {
  type: "ReplaceFullPath" | "ReplacePrefixMatch";
  replaceFullPath?: string;
  replacePrefixMatch?: string;
}

interface NameValue {
  name: string;
  value: string;
}

export interface HeaderModifier {
  set?: NameValue[];
  add?: NameValue[];
  remove?: string[];
}

export interface RouteFilter {
  type: string;
  requestHeaderModifier?: HeaderModifier;
  responseHeaderModifier?: HeaderModifier;
  requestMirror?: { backendRef: BackendReference; percent?: number; fraction?: { numerator: number; denominator?: number } };
  requestRedirect?: { scheme?: string; hostname?: string; path?: PathModifier; port?: number; statusCode?: number };
  urlRewrite?: { hostname?: string; path?: PathModifier };
  cors?: { allowOrigins?: string[]; allowCredentials?: boolean; allowMethods?: string[]; allowHeaders?: string[]; exposeHeaders?: string[]; maxAge?: number };
  extensionRef?: Reference;
}

export interface SessionPersistence {
  sessionName?: string;
  absoluteTimeout?: string;
  type?: "Cookie" | "Header";
  cookieConfig?: { lifetimeType?: "Session" | "Permanent" };
}

interface TypedMatch extends NameValue {
  type?: "Exact" | "RegularExpression";
}

export interface HttpRouteRule {
  name?: string;
  matches?: { path?: { type?: "Exact" | "PathPrefix" | "RegularExpression"; value?: string }; headers?: TypedMatch[]; queryParams?: TypedMatch[]; method?: string }[];
  filters?: RouteFilter[];
  backendRefs?: (BackendReference & { filters?: RouteFilter[] })[];
  timeouts?: { request?: string; backendRequest?: string };
  retry?: { codes?: number[]; attempts?: number; backoff?: string };
  sessionPersistence?: SessionPersistence;
}

export interface GrpcRouteRule {
  name?: string;
  matches?: { method?: { type?: "Exact" | "RegularExpression"; service?: string; method?: string }; headers?: TypedMatch[] }[];
  filters?: RouteFilter[];
  backendRefs?: (BackendReference & { filters?: RouteFilter[] })[];
  sessionPersistence?: SessionPersistence;
}

export interface StreamRouteRule {
  name?: string;
  backendRefs?: BackendReference[];
}

export type HttpRouteObject = RouteObject<HttpRouteRule>;
export type GrpcRouteObject = RouteObject<GrpcRouteRule>;
export type StreamRouteObject = RouteObject<StreamRouteRule>;
export type AnyRouteObject = HttpRouteObject | GrpcRouteObject | StreamRouteObject;

/** In the order in which kinds are listed in status. */
export const routeKinds = ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"] as const;
export type RouteKind = (typeof routeKinds)[number];

export interface ReferenceGrant extends KubeObject {
  spec: { from: { group: string; kind: string; namespace: string }[]; to: { group: string; kind: string; name?: string }[] };
}

export interface BackendTlsPolicy extends KubeObject {
  spec: {
    targetRefs: { group: string; kind: string; name: string; sectionName?: string }[];
    validation: { caCertificateRefs?: Reference[]; wellKnownCACertificates?: string; hostname: string; subjectAltNames?: { type: "Hostname" | "URI"; hostname?: string; uri?: string }[] };
    options?: Record<string, string>;
  };
  status?: { ancestors?: { ancestorRef: ParentReference; controllerName: string; conditions: Condition[] }[] };
}
