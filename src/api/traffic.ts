import type { Guard } from "./guard.ts";

/**
 * What the traffic engine is told: listeners, routes and upstreams, compiled from Gateway API, Ingress and (later)
 * mesh kinds. Plain JSON: it crosses process borders. Whatever is wrong in an object was found by its compiler and
 * told in the object's status; what stands here can be served.
 *
 *   Gateway, Ingress ─▶ EdgeListener      who is listened to, and with which certificates
 *   HTTPRoute, …     ─▶ Route             which request goes where; names the listeners it is attached to
 *   Service port     ─▶ Upstream          how its endpoints are called; the endpoints come with the NetSnapshot
 *
 * A worker gets a whole {@link TrafficSnapshot} when it starts, and then {@link TrafficPatch}es: the cost of a change
 * must not grow with the number of routes.
 */
export interface TrafficSnapshot {
  /** Grows with every patch. */
  revision: number;
  /**
   * 32 hexadecimal digits. Session cookies are keyed with it: the same in all workers and after a restart, or clients would
   * lose their endpoints. Absent: the worker makes one up, and sessions end with it.
   */
  sessionKey?: string;
  listeners: EdgeListener[];
  routes: Route[];
  upstreams: Upstream[];
  /** Absent: none. */
  guards?: Guard[];
}

/** Applied at once, all or nothing to a request: first what is removed, then what is put; ids are the objects' own. */
export interface TrafficPatch {
  revision: number;
  /** What is not put is gone: the first patch of a compiler that has just started. Each says so of its own objects alone. */
  whole?: boolean;
  /** Whose objects `whole` means: Ingresses' ids begin with "Ingress/", their listeners' with "ingress/http"; Istio's objects' with "istio:". Absent: all. */
  scope?: "gateway" | "ingress" | "acme" | "istio";
  put: { listeners?: EdgeListener[]; routes?: Route[]; upstreams?: Upstream[]; guards?: Guard[] };
  remove: { listeners?: string[]; routes?: string[]; upstreams?: string[]; guards?: string[] };
}

/**
 * One listener of a Gateway. Several may share an address and port, when their host names or protocols differ; they
 * then share one socket, and the most specific host name wins (exact, then the longest wildcard, then none).
 */
export interface EdgeListener {
  /** "NAMESPACE/GATEWAY/LISTENER"; Ingresses have "ingress/http" and "ingress/https". */
  id: string;
  /** Where it is bound, on the machine. */
  address: string;
  port: number;
  protocol: "HTTP" | "HTTPS" | "TLS" | "TCP" | "UDP";
  /** Lower case; "*.example.com" for a wildcard; absent: every name. */
  hostname?: string;
  tls?: ListenerTls;
  /** Bounds that differ from the defaults of `base/limits.ts`. */
  limits?: ListenerLimits;
}

export interface ListenerTls {
  /** "passthrough": the connection goes on encrypted, by its server name. */
  mode: "terminate" | "passthrough";
  /** PEM. The first that fits the server name is shown, else the first. */
  certificates: { certificate: string; key: string }[];
  /** PEM of the authorities of client certificates. `optional`: connections without a valid one are let in. */
  clientValidation?: { authorities: string; optional: boolean };
  minVersion?: "TLSv1.2" | "TLSv1.3";
  maxVersion?: "TLSv1.2" | "TLSv1.3";
  ciphers?: string;
}

export interface ListenerLimits {
  headerBytesMax?: number;
  bodyBytesMax?: number;
  headersMs?: number;
  idleMs?: number;
}

/** One route object, as far as it is attached. */
export type Route = HttpRoute | StreamRoute;

interface RouteBase {
  /** "HTTPRoute/NAMESPACE/NAME". */
  id: string;
  /** Seconds since the epoch: of two routes that are otherwise equal the older wins, then the lesser id. */
  createdAt: number;
  /**
   * Where it is attached, with the host names that are left after both sides' names were intersected; "" is every name.
   * A listener is a Gateway's or Ingresses', or a Service's: see `serviceListenerId` in proxy/mesh.
   */
  attachments: {
    listener: string;
    hostnames: string[];
    /** Of a Service: the route names the port, so HTTP is spoken there, whatever the Service says. */
    isNamed?: boolean;
  }[];
}

export interface HttpRoute extends RouteBase {
  type: "http";
  /** gRPC is HTTP whose errors go into trailers. */
  grpc?: boolean;
  rules: HttpRule[];
}

export interface HttpRule {
  /** For logs and `wherry route explain`. */
  name: string;
  /** Any of them; within one, all conditions. At least one. */
  matches: HttpMatch[];
  /** In order. */
  filters: HttpFilter[];
  backends: Backend[];
  timeouts?: {
    /** The whole exchange, from the request's head to the answer's end; 0 for none. */
    requestMs?: number;
    /** One try, to the answer's head. */
    backendMs?: number;
    /** Without a byte of the answer, or of an upgraded connection; the listener's bounds unless said. */
    silenceMs?: number;
  };
  retry?: Retry;
  /** The same client goes to the same endpoint. */
  persistence?: Persistence;
}

export interface HttpMatch {
  /**
   * `prefix` goes by path elements: "/a" and "/a/" both match "/a", "/a/" and "/a/b", and not "/ab". `regex` (RE2) must
   * match the whole path, as Envoy's; with `partial` it need only be found in it, as nginx's `location ~`: the compiler writes
   * the "^" itself. Of two regular expressions the longer one goes first.
   */
  path: { type: "exact" | "prefix" | "regex"; value: string; /** ingress-nginx matches regardless of case. */ ignoreCase?: boolean; /** Only of `regex`. */ partial?: boolean };
  method?: string;
  /** Names in lower case. */
  headers?: ValueMatch[];
  query?: ValueMatch[];
  /** Names are case-sensitive. */
  cookies?: ValueMatch[];
  /** Addresses of the only clients that it is for. */
  clients?: string[];
  /**
   * Goes before everything else that matches on the same host name, highest first; 0 unless said. For canaries, mesh, and
   * ingress-nginx, who orders the regular expressions of a host by their length.
   */
  priority?: number;
}

/** Of a repeated query parameter or cookie the first counts. */
export interface ValueMatch {
  name: string;
  /** `regex` (RE2) must match the whole value. */
  type: "exact" | "regex" | "prefix" | "present";
  value: string;
  /** The opposite; so what is absent matches. */
  not?: boolean;
}

/**
 * Where a request may go, by weight. `error` instead of a Service: the reference is wrong, and its share of the requests
 * is answered with that status.
 */
export interface Backend {
  /** Id of an {@link Upstream}. */
  upstream?: string;
  error?: { status: number; reason: string };
  weight: number;
  /** Only for what goes to this backend. */
  filters?: HttpFilter[];
}

export interface HeaderChange {
  set?: { name: string; value: string }[];
  add?: { name: string; value: string }[];
  remove?: string[];
}

/** Each type is one file in `policy/filters/`, with its meaning and its bounds. */
export type HttpFilter =
  | ({ type: "requestHeaders" } & HeaderChange)
  | ({ type: "responseHeaders" } & HeaderChange)
  | { type: "redirect"; scheme?: string; hostname?: string; port?: number; path?: PathChange; status: number }
  | { type: "rewrite"; hostname?: string; path?: PathChange }
  | { type: "mirror"; upstream: string; /** Of a million requests. */ perMillion: number }
  | { type: "cors"; origins: string[]; methods: string[]; headers: string[]; exposeHeaders: string[]; maxAgeSeconds: number; credentials: boolean; /** RE2; must match a whole origin. */ originPatterns?: string[]; /** Preflights of other origins go on, instead of being answered without a grant. */ passesUnmatched?: boolean }
  | { type: "fault"; delay?: { ms: number; perMillion: number }; abort?: { status: number; grpcStatus?: number; perMillion: number } }
  | { type: "respond"; status: number; headers?: { name: string; value: string }[]; body?: string }
  | {
      type: "rateLimit";
      requests: number;
      periodMs: number;
      /**
       * As nginx's `limit_req … burst=N nodelay`: so many more at once than the one that is due. A bucket of N tokens, as
       * Envoy has it, is a burst of N - 1.
       */
      burst: number;
      by: "route" | "client" | { header: string };
      /** All filters that say the same here and are otherwise equal count together, whatever their rule and route. */
      share?: string;
      /** 429 unless said; ingress-nginx answers 503. */
      status?: number;
      /** Clients that are not limited, as addresses or CIDRs. */
      except?: string[];
    }
  | { type: "concurrency"; max: number; by: "route" | "client"; /** As of rateLimit. */ share?: string; /** 503 unless said. */ status?: number; except?: string[] }
  /** Denied is denied; else, where somebody is allowed, nobody else is. 403. */
  | { type: "sourceRanges"; allow?: string[]; deny?: string[] }
  | { type: "bodyLimit"; bytes: number }
  | {
      type: "cache";
      /** In Cache-Status; "wherry" unless said. */
      name?: string;
      /** Of answers that do not say how long they are good for. 0: by HTTP's own rules alone. */
      ttlSeconds?: number;
      /** Of all that is kept, and of one answer; 64 MB and 1 MB unless said. */
      bytesMax?: number;
      entryBytesMax?: number;
      /** What makes requests different besides host and path: these parameters (absent: the whole query), these headers. */
      key?: { query?: string[]; headers?: string[] };
      staleWhileRevalidateSeconds?: number;
      staleIfErrorSeconds?: number;
      /** A client's Cache-Control makes nobody ask the upstream. */
      ignoresClients?: boolean;
      /** As of rateLimit. */
      share?: string;
    };

/**
 * Gateway API's two ways, and one with captures (`$1` or `${1}`). `regex` without a `pattern` takes the captures of the match
 * that chose the rule. When the pattern is found, the substitution is the whole new path, as with nginx's `rewrite`, where it
 * may end with arguments (`/x?a=$1`; the request's own follow, unless it ends with "?"); with `each` every place that matches is
 * replaced, as Envoy does it. When it is not found, the path stays.
 */
export type PathChange =
  | { type: "full"; value: string }
  | { type: "prefix"; value: string }
  | { type: "regex"; pattern?: string; substitution: string; ignoreCase?: boolean; each?: boolean };

export interface Retry {
  /** After the first try. */
  attempts: number;
  /** At least so long before a further try; it doubles, up to `backoffMaxMs` (ten times it, unless said), with up to half of it more. */
  backoffMs: number;
  backoffMaxMs?: number;
  /** Answers that are tried again, besides failed connections and tries that timed out. */
  statuses: number[];
  /** Which failures; all by default. */
  on?: ("connect" | "reset" | "timeout" | "status")[];
  /** Also requests that are not idempotent. */
  unsafe?: boolean;
  /** Of a body that is kept to be sent again; `gatewayRetryBodyBytes` of `base/limits.ts` unless said. Longer ones are tried once. */
  bodyBytesMax?: number;
}

export interface Persistence {
  type: "cookie" | "header" | "address";
  /** Of the cookie or header. */
  name: string;
  /** Absent: as long as the browser's session. Of `address`: forgotten after so long a silence, three hours unless said. */
  maxAgeSeconds?: number;
  /** Of the cookie; "/" unless said. */
  path?: string;
  /** Of the cookie: only over TLS. */
  secure?: boolean;
  /** Of the cookie: also sent to the names below it. */
  domain?: string;
  sameSite?: "None" | "Lax" | "Strict";
}

/** One Service port, or a part of its endpoints: one pool, one breaker and one list of ejected endpoints, whatever the number of routes to it. */
export interface Upstream {
  /** "NAMESPACE/SERVICE/PORT". */
  id: string;
  namespace: string;
  service: string;
  port: number;
  /** It is called by nobody: what it says holds for the upstreams of Gateways and Ingresses to this Service port, where they say nothing of their own. */
  isPolicy?: boolean;
  /** Only those of the Service's endpoints that have one of these addresses: a subset. Absent: all. */
  addresses?: string[];
  /** Instead of a Service's: where a name beyond the cluster leads. */
  endpoints?: { ip: string; port: number; weight?: number }[];
  /** How it is spoken to: `h2` is TLS with ALPN, `h2c` prior knowledge. */
  protocol: "http1" | "h2c" | "h2";
  /** BackendTLSPolicy: with it the connection is encrypted and the certificate checked. */
  tls?: { serverName: string; /** PEM; absent: what the system trusts. */ authorities?: string; /** Any of these must be in the certificate. */ altNames?: string[]; certificate?: { certificate: string; key: string }; /** Encrypted, and whoever answers is believed: as ingress-nginx speaks HTTPS. */ verify?: false };
  /** The policy names something that is not there: every request is answered with this. */
  error?: { status: number; reason: string };
  balancer?: Balancer;
  connectMs?: number;
  idleMs?: number;
  breaker?: Breaker;
  outlier?: Outlier;
  /**
   * An endpoint that comes to others gets its share of the requests little by little: from `minPercent` (10) of its weight to all of it.
   * `aggression` (1) above 1 gives more at first. Not of `ringHash` and `maglev`, whose clients would move at every step.
   */
  slowStart?: { windowMs: number; minPercent?: number; aggression?: number };
  /** The share of tries that may be further tries. */
  retryBudget?: { percent: number; minPerSecond: number; /** Over which the share is reckoned; ten seconds unless said. */ intervalMs?: number };
}

/** Each type is one file in `policy/balancers/`. */
export type Balancer =
  | { type: "roundRobin" }
  | { type: "leastRequest" }
  | { type: "peakEwma" }
  | { type: "random" }
  | { type: "ringHash"; by: HashBy }
  | { type: "maglev"; by: HashBy };

/** A request without it goes anywhere. A cookie with `maxAgeSeconds` (0: the browser's session) is given to clients that have none. */
export type HashBy = "address" | { header: string } | { cookie: string; maxAgeSeconds?: number } | { query: string };

export interface Breaker {
  connectionsMax?: number;
  /** Requests that wait for a connection. */
  pendingMax?: number;
  requestsMax?: number;
  retriesMax?: number;
  /**
   * The whole upstream is left alone after so many failures in a row (no connection, no head in time, 5xx), for `openMs`; then
   * `trials` requests are let through (one unless said): when they succeed it is closed again, when one fails it stays open as long once more.
   */
  circuit?: { consecutiveFailures: number; openMs: number; trials?: number };
}

/** Passive: endpoints that fail real requests are left out for a while. */
export interface Outlier {
  /** In a row; 0 for never. */
  consecutive5xx: number;
  consecutiveGatewayErrors?: number;
  /** Where said, no connection and no head in time count only here; else they count as gateway errors. */
  consecutiveLocalFailures?: number;
  intervalMs: number;
  /** Times the number of ejections so far; one is forgotten with each interval that an endpoint stays. */
  baseEjectionMs: number;
  /** 300 s unless said. */
  maxEjectionMs?: number;
  /** Never more than this share of the endpoints, and never the last one. */
  maxEjectionPercent: number;
  /** Below this share of healthy endpoints all are used: better than overloading the rest. 0 for never. */
  panicPercent?: number;
}

/** TLSRoute, TCPRoute, UDPRoute: a connection, or the datagrams of one client, to one endpoint. */
export interface StreamRoute extends RouteBase {
  type: "tls" | "tcp" | "udp";
  backends: Backend[];
  /** Addresses of the only clients that it is for. */
  clients?: string[];
  /** Of those with one name on one listener the highest goes first, then the oldest; 0 unless said. */
  priority?: number;
  /** On a Service: whom no route fits goes to its own endpoints, instead of nowhere. */
  passesUnmatched?: boolean;
}
