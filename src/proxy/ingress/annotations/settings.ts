import type { Balancer, HttpFilter, Persistence, Upstream } from "../../../api/traffic.ts";

/** What the annotations of one Ingress come to, with ingress-nginx's defaults. Times in milliseconds. */
export interface Settings {
  /** Why none of its paths may be served: something that protects them cannot be honoured. */
  closed?: string;
  rewriteTarget: string;
  useRegex: boolean;
  /** Only where the host has a certificate of its own. */
  sslRedirect: boolean;
  forceSslRedirect: boolean;
  appRoot?: string;
  temporalRedirect?: string;
  temporalRedirectCode: number;
  permanentRedirect?: string;
  permanentRedirectCode: number;
  fromToWww: boolean;
  limits: { perSecond: number; perMinute: number; connections: number; burstMultiplier: number; except: string[] };
  /** 0: none. */
  bodyBytes: number;
  /** Of a body that is kept to be sent again. */
  bufferBytes?: number;
  connectMs: number;
  /** To the head of the answer, and between two pieces of it. */
  readMs: number;
  nextUpstream: { on: ReadonlySet<string>; tries: number };
  protocol: Upstream["protocol"];
  encrypted: boolean;
  affinity: boolean;
  cookie: Pick<Persistence, "name" | "maxAgeSeconds" | "path" | "secure" | "domain" | "sameSite">;
  canary: Canary;
  cors?: boolean;
  corsFields: Omit<Extract<HttpFilter, { type: "cors" }>, "type">;
  allow?: string[];
  deny?: string[];
  upstreamHost?: string;
  forwardedPrefix?: string;
  /** "NAMESPACE/NAME" of a ConfigMap. */
  customHeaders?: string;
  aliases: string[];
  /** Name of a Service. */
  defaultBackend?: string;
  balancer?: Balancer;
}

export interface Canary {
  enabled: boolean;
  weight: number;
  weightTotal: number;
  header?: string;
  headerValue?: string;
  headerPattern?: string;
  cookie?: string;
}

/** Sources: internal/ingress/controller/config/config.go and the annotations' own packages, ingress-nginx 1.15. */
export const defaultSettings = (): Settings => ({
  rewriteTarget: "",
  useRegex: false,
  sslRedirect: true,
  forceSslRedirect: false,
  temporalRedirectCode: 302,
  permanentRedirectCode: 301,
  fromToWww: false,
  limits: { perSecond: 0, perMinute: 0, connections: 0, burstMultiplier: 5, except: [] },
  bodyBytes: 1024 * 1024,
  connectMs: 5_000,
  readMs: 60_000,
  nextUpstream: { on: new Set(["error", "timeout"]), tries: 3 },
  protocol: "http1",
  encrypted: false,
  affinity: false,
  cookie: { name: "INGRESSCOOKIE" },
  canary: { enabled: false, weight: 0, weightTotal: 100 },
  corsFields: {
    origins: ["*"],
    methods: ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"],
    headers: ["DNT", "Keep-Alive", "User-Agent", "X-Requested-With", "If-Modified-Since", "Cache-Control", "Content-Type", "Range", "Authorization"],
    exposeHeaders: [],
    maxAgeSeconds: 1_728_000,
    credentials: true,
  },
  aliases: [],
});
