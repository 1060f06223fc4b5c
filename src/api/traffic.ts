import type { AccessFilterConfig } from "./traffic-access.ts";
import type { AnswerFilterConfig } from "./traffic-answers.ts";
import type { ContentFilter } from "./traffic-content.ts";
import type { Guard, TokenRule } from "./guard.ts";
import type { AdmissionFilter, HealthCheck } from "./traffic-health.ts";
import type { EdgeListener, TextMatch } from "./traffic-listeners.ts";

export type { ClientValidation, EarlyChange, EdgeListener, ListenerLimits, ListenerManners, ListenerTls, TextMatch } from "./traffic-listeners.ts";

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
  /** What several of its rules would repeat: see `keySet` of `apiKey`. */
  keySets?: Record<string, KeySet>;
}

/** `sha256` of each key, in hexadecimal digits. */
export type KeySet = readonly { client: string; sha256: string; plan?: string }[];

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
  /** Of a million clients so many, always the same: told apart by the value of a header where they have it, else by their address. A greater share has those of a lesser one. */
  sample?: { perMillion: number; seed: string; header?: string };
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
  | AdmissionFilter
  | AccessFilterConfig
  | AnswerFilterConfig
  | ContentFilter
  | ({ type: "requestHeaders" } & HeaderChange)
  | ({ type: "responseHeaders" } & HeaderChange)
  | { type: "redirect"; scheme?: string; hostname?: string; port?: number; path?: PathChange; status: number }
  | { type: "rewrite"; hostname?: string; /** Of the request, instead: what stands in a header, or the path with what the pattern (RE2) finds replaced, `${1}` for its groups. It stays where there is nothing of it. */ hostnameFrom?: { header: string } | { pattern: string; substitution: string }; path?: PathChange }
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
  | { type: "quota"; /** All that a request is meant by count it; one without room refuses it. */ rules: QuotaRule[] }
  | { type: "concurrency"; max: number; by: "route" | "client"; /** As of rateLimit. */ share?: string; /** 503 unless said. */ status?: number; except?: string[] }
  /** Denied is denied; else, where somebody is allowed, nobody else is. 403. */
  | { type: "sourceRanges"; allow?: string[]; deny?: string[] }
  | { type: "bodyLimit"; bytes: number }
  | {
      /** See policy/filters/oidc.ts. */
      type: "oidc";
      issuer: string;
      clientId: string;
      clientSecret: string;
      /** Who is asked at addresses that begin so ("https://login.example.com"); without `origin`, at all. `isVerified`: by TLS, whose certificate is looked at. */
      upstreams: { upstream: string; origin?: string; isVerified?: boolean }[];
      /** What is not said is read from the issuer's own document. */
      endpoints?: { authorization?: string; token?: string; endSession?: string };
      /** %REQ(x-forwarded-proto)% and %REQ(:authority)% stand for the request's. */
      redirectUrl: string;
      logoutPath: string;
      scopes: string[];
      resources?: string[];
      /** Names end with `suffix` unless they are given. */
      cookies: { suffix: string; idToken?: string; accessToken?: string; domain?: string; sameSite?: "Lax" | "Strict" | "None" };
      /** Tokens are made new when they end. */
      refresh: boolean;
      /** Of tokens that do not say it. 0: until the ID token ends. */
      defaultTokenMs?: number;
      defaultRefreshMs: number;
      /** So long may a login take. */
      flowMs: number;
      forwardAccessToken?: boolean;
      forwardIdTokenHeader?: string;
      /** Requests with one of these headers get 401, and are not sent to log in. */
      denyRedirect?: ({ name: string } & TextMatch)[];
      /** A request with a token at one of these places goes on. */
      passThrough?: Pick<TokenRule, "headers" | "params" | "cookies">[];
    }
  | {
      type: "extAuth";
      /** Who is asked, in their shares. */
      upstreams: { upstream: string; weight: number }[];
      /** `grpc`: envoy.service.auth.v3.Authorization. */
      protocol: "http" | "grpc";
      /** HTTP: before the request's own path; or instead of it and its query. */
      pathPrefix?: string;
      pathOverride?: string;
      /** Of the request's headers: over HTTP Authorization and these, over gRPC these, or all where it does not say. */
      headers?: string[];
      /** HTTP: of the answer, into the request that may go. A client's own are removed in any case. */
      headersToBackend?: string[];
      /** The body is told too, up to so many bytes; longer ones are answered with 413. */
      bodyBytesMax?: number;
      timeoutMs: number;
      /** Requests go while nobody says whether they may. */
      failOpen?: boolean;
      /** 403 unless said. */
      statusOnError?: number;
      /** gRPC: context_extensions. */
      context?: Record<string, string>;
    }
  /** Who changes something comes from a page of this host, or of one of these origins, which are written as cors'. */
  | { type: "csrf"; origins: string[]; /** Of a million requests so many are let through and told of in the log. */ shadowPerMillion?: number }
  /** Anybody whom one of the providers vouches for; `optional`: and who shows no token, `failOpen`: and whose token is not believed. */
  | { type: "jwt"; providers: TokenProvider[]; optional?: boolean; failOpen?: boolean }
  | {
      type: "apiKey";
      keys: KeySet;
      /** Those of the route's {@link HttpRoute.keySets}, and none of `keys`. */
      keySet?: string;
      /** The first that holds something counts; names of headers in any case. */
      from: ({ in: "header" | "query" | "cookie"; name: string } | { /** What an authorizer has said: `usageIdentifierKey`. */ in: "authorizer"; name: string })[];
      clientHeader?: string;
      /** The key does not go on. */
      sanitise?: boolean;
    }
  /** `sha1`: of the password, in base64, as `htpasswd -s` writes it. */
  | { type: "basic"; users: { name: string; sha1: string }[]; userHeader?: string }
  | { type: "authorise"; rules: AccessRule[]; otherwise: "allow" | "deny" }
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
      /** As of rateLimit. What a purge names. */
      share?: string;
      /** What was kept under another one is not given: another version of an API has its own answers. */
      epoch?: string;
      /** What stands behind it changes requests or answers, which the gateway's own request would go without: what is stale is fetched with a client. */
      fetchesWithClients?: boolean;
    };

/** Who vouches for tokens; a provider's keys are `jwks`, or are asked for when the first token of its comes. */
export interface TokenProvider extends Omit<TokenRule, "jwksUri" | "spaceDelimited"> {
  name: string;
  keys?: {
    /** Id of an {@link Upstream}. */
    upstream: string;
    host: string;
    /** Path and query. */
    target: string;
    /** What is there is this issuer's own document (OpenID Connect Discovery 1.0), which says where its keys are: on the same host. */
    issuer?: string;
    /** They are asked for again after so long; five minutes unless said. */
    cacheMs?: number;
    /** After a failure; a second unless said. */
    retryMs?: number;
  };
}

/** Fits when all that it says fits; of what it has a list of, any. The first that fits decides. */
export interface AccessRule {
  /** For the log. */
  name: string;
  action: "allow" | "deny";
  /** Addresses or CIDRs. */
  clients?: string[];
  methods?: string[];
  path?: { type: "exact" | "prefix" | "regex"; value: string; not?: boolean };
  /** All of these headers. */
  headers?: { name: string; values: string[] }[];
  /** Of a token that the provider vouches for: all of these scopes and claims. "a.b" is `b` within `a`. `isList`: one of the claim's. */
  token?: { provider: string; scopes?: string[]; claims?: { name: string; values: string[]; isList?: boolean }[] };
}

/** How much of what, in which time, for whom. */
export interface QuotaRule {
  /** Everybody's: see `FilterTools.quota`. */
  id: string;
  /** Each route has a count of its own. */
  perRoute?: boolean;
  limit: number;
  unit: "second" | "minute" | "hour" | "day" | "week" | "month" | "year";
  /**
   * A bucket of `limit` that fills again over a unit's time, lent to the workers and forgotten at the end, instead of calendar windows
   * that are counted one by one and kept.
   */
  isLocal?: boolean;
  /** What requests must have; absent: all are meant. */
  when?: {
    /** Any of them. */
    methods?: { method: string; not?: boolean }[];
    path?: { type: "exact" | "prefix" | "regex"; value: string; not?: boolean };
    headers?: ValueMatch[];
    query?: ValueMatch[];
    clients?: { ranges: string[]; not?: boolean }[];
  };
  /** Each value has a count of its own; a request that has none of it is not meant. Absent: all together. */
  by?: ("client" | { header: string } | { query: string })[];
  /** 1 and 0 unless said. What an answer costs is counted at its end, and felt by those that come next. */
  cost?: { request?: number; response?: number };
  /** It counts, and refuses nobody. */
  isShadow?: boolean;
  /** X-RateLimit headers on answers. */
  hasHeaders?: boolean;
}

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
  /** So old a connection gets no more requests; 0 for no bound. */
  connectionAgeMs?: number;
  /** TCP's keepalive, after so long a silence. */
  keepAliveSeconds?: number;
  /** Connections begin by saying whose they are (HAProxy's PROXY protocol), and are each client's own. Of HTTP/1.1. */
  proxyProtocol?: "v1" | "v2";
  breaker?: Breaker;
  outlier?: Outlier;
  check?: HealthCheck;
  /**
   * Below this share of endpoints that are well all are used: better than overloading the rest. 0 for never, also when none is left;
   * absent: only then.
   */
  panicPercent?: number;
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
  /** Instead of `retriesMax`: further tries may be this share of all requests under way, and so many in any case. */
  retriesShare?: { percent: number; least: number };
  /** A connection gets so many requests, and ends. */
  connectionRequestsMax?: number;
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
  /** One may be in any case, though it be more than that share; also the last one. */
  ejectsOne?: boolean;
  /**
   * Also whoever fails this share of its requests within an interval, when it had `minRequests`, and so had as many others as
   * `minEndpoints` says, itself included.
   */
  failurePercent?: { threshold: number; minRequests: number; minEndpoints: number };
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
