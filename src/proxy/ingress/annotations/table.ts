import type { HashBy } from "../../../api/traffic.ts";
import type { Settings } from "./settings.ts";
import { bool, cookieName, headerName, headerNames, hostName, int, list, matching, oneOf, ranges, seconds, size, target, ValueError } from "./values.ts";

/** A note for the Ingress' Events: it is honoured in part, or in another way than its name lets think. */
export type Note = string | undefined;

export interface Row {
  /** Reads the value into the settings. @throws ValueError */
  read(value: string, settings: Settings): Note | void;
  /** A value that cannot be read closes the Ingress' paths: the default would let in who should not be let in. */
  protects?: true;
}

const row = <T>(parse: (text: string) => T, assign: (settings: Settings, value: T) => Note | void, protects?: true): Row => ({
  read: (text, settings) => assign(settings, parse(text)),
  ...(protects && { protects }),
});
const cors = (assign: (fields: Settings["corsFields"], text: string) => void): Row => ({ read: (text, { corsFields }) => assign(corsFields, text) });
/** Bodies that are kept to be sent again lie in memory. */
const bufferBytesMax = 16 * 1024 * 1024;
const note = (text: string): Row => ({ read: () => text });

const url = matching(/^https?:\/\/[^\s$"<>\\^`{|}]+(\$request_uri)?$/, "an address that begins with http:// or https://; of nginx's variables only $request_uri at its end");
const path = matching(/^\/[!-"$-~]*$/, "a path");
const anyText = (text: string): string => text;
const limitExcept = row(ranges, ({ limits }, value) => void (limits.except = value), true);
const allowed = row(ranges, (settings, value) => void (settings.allow = value), true);

/** Every annotation that is acted on, without its prefix: one row each. */
export const table: Readonly<Record<string, Row>> = {
  // Paths
  "rewrite-target": row(target, (settings, value) => void (settings.rewriteTarget = value)),
  "use-regex": row(bool, (settings, value) => void (settings.useRegex = value)),
  "app-root": row(path, (settings, value) => void (settings.appRoot = value)),
  "x-forwarded-prefix": row(matching(/^[\x20-\x7e]+$/, "visible characters"), (settings, value) => void (settings.forwardedPrefix = value)),
  "upstream-vhost": row(hostName, (settings, value) => void (settings.upstreamHost = value)),
  "server-alias": row(list, readAliases),

  // Redirects
  "ssl-redirect": row(bool, (settings, value) => void (settings.sslRedirect = value)),
  "force-ssl-redirect": row(bool, (settings, value) => void (settings.forceSslRedirect = value), true),
  "temporal-redirect": row(url, (settings, value) => void (settings.temporalRedirect = value), true),
  "temporal-redirect-code": row(int, (settings, value) => void (value >= 300 && value <= 307 && (settings.temporalRedirectCode = value))),
  "permanent-redirect": row(url, (settings, value) => void (settings.permanentRedirect = value), true),
  "permanent-redirect-code": row(int, (settings, value) => void (value >= 300 && value <= 308 && (settings.permanentRedirectCode = value))),
  "from-to-www-redirect": row(bool, (settings, value) => void (settings.fromToWww = value)),

  // Limits
  "limit-rps": row(int, ({ limits }, value) => void (limits.perSecond = value), true),
  "limit-rpm": row(int, ({ limits }, value) => void (limits.perMinute = value), true),
  "limit-connections": row(int, ({ limits }, value) => void (limits.connections = value), true),
  "limit-burst-multiplier": row(int, ({ limits }, value) => void (limits.burstMultiplier = value)),
  "limit-whitelist": limitExcept,
  "limit-allowlist": limitExcept,
  "rate-limit": {
    protects: true,
    read(text, { limits }) {
      limits.perSecond ||= int(text, 1);
      return "is no annotation of ingress-nginx, which would not limit anything: taken as limit-rps, so many requests a second of each client";
    },
  },
  "proxy-body-size": row(size, (settings, value) => void (settings.bodyBytes = value)),
  "client-body-buffer-size": row(size, (settings, value) => {
    settings.bufferBytes = Math.min(value, bufferBytesMax);
    return value > bufferBytesMax ? "is taken as 16m: longer bodies are not sent again to another endpoint" : undefined;
  }),
  "whitelist-source-range": allowed,
  "allowlist-source-range": allowed,
  "denylist-source-range": row(ranges, (settings, value) => void (settings.deny = value), true),

  // Upstreams
  "backend-protocol": row((text) => oneOf("HTTP", "HTTPS", "GRPC", "GRPCS")(text.toUpperCase()), readProtocol, true),
  "proxy-connect-timeout": row(seconds, (settings, value) => void (settings.connectMs = value)),
  "proxy-read-timeout": row(seconds, (settings, value) => void (settings.readMs = value)),
  "proxy-send-timeout": note("has no effect of its own: how long an upstream may be silent is what proxy-read-timeout says"),
  "proxy-next-upstream": row(words, (settings, on) => void (settings.nextUpstream = { ...settings.nextUpstream, on })),
  "proxy-next-upstream-tries": row(int, (settings, value) => void (settings.nextUpstream = { ...settings.nextUpstream, tries: value })),
  "proxy-next-upstream-timeout": row(int, (_, value) => (value === 0 ? undefined : "is not acted on: proxy-next-upstream-tries and proxy-read-timeout bound further tries")),
  "load-balance": row(oneOf("round_robin", "ewma"), (settings, value) => void (settings.balancer ??= { type: value === "ewma" ? "peakEwma" : "roundRobin" })),
  "upstream-hash-by": row(hashBy, (settings, by) => void (settings.balancer = { type: "ringHash", by })),
  "default-backend": row(matching(/^[-a-z0-9]+$/, "the name of a Service"), (settings, value) => void (settings.defaultBackend = value)),
  "custom-headers": row(matching(/^([-.a-z0-9]+\/)?[-.a-z0-9]+$/, "NAMESPACE/NAME of a ConfigMap"), (settings, value) => void (settings.customHeaders = value)),

  // Sessions
  affinity: row(oneOf("cookie"), (settings) => void (settings.affinity = true)),
  "affinity-mode": row(oneOf("balanced", "persistent"), () => {}),
  "affinity-canary-behavior": row(oneOf("sticky", "legacy"), (_, value) => (value === "legacy" ? "is not acted on: a session stays with the canary, or without it" : undefined)),
  "session-cookie-name": row(cookieName, ({ cookie }, value) => void (cookie.name = value)),
  "session-cookie-path": row(path, ({ cookie }, value) => void (cookie.path = value)),
  "session-cookie-domain": row(matching(/^\.?[-a-zA-Z0-9]+(\.[-a-zA-Z0-9]+)*$/, "a domain"), ({ cookie }, value) => void (cookie.domain = value)),
  "session-cookie-samesite": row((text) => oneOf("None", "Lax", "Strict")((text[0]?.toUpperCase() ?? "") + text.slice(1).toLowerCase()), ({ cookie }, value) => void (cookie.sameSite = value)),
  "session-cookie-conditional-samesite-none": row(bool, (_, value) => (value ? "is not acted on: SameSite=None goes to every browser, those of before 2020 as well, who take it for Strict" : undefined)),
  "session-cookie-change-on-failure": row(bool, (_, value) => (value ? undefined : "is not acted on: a session whose endpoint failed goes on with the one that answered")),
  "session-cookie-secure": row(bool, ({ cookie }, value) => void (cookie.secure = value)),
  "session-cookie-max-age": row(int, ({ cookie }, value) => void (cookie.maxAgeSeconds = value)),
  "session-cookie-expires": row(int, ({ cookie }, value) => void (cookie.maxAgeSeconds ??= value)),

  // Canaries
  canary: row(bool, ({ canary }, value) => void (canary.enabled = value)),
  "canary-weight": row(int, ({ canary }, value) => void (canary.weight = value)),
  "canary-weight-total": row(int, ({ canary }, value) => void (canary.weightTotal = value)),
  "canary-by-header": row(headerName, ({ canary }, value) => void (canary.header = value)),
  "canary-by-header-value": row(anyText, ({ canary }, value) => void (canary.headerValue = value)),
  "canary-by-header-pattern": row(anyText, ({ canary }, value) => void (canary.headerPattern = value)),
  "canary-by-cookie": row(cookieName, ({ canary }, value) => void (canary.cookie = value)),

  // Cross-origin requests
  "enable-cors": row(bool, (settings, value) => void (settings.cors = value)),
  "cors-allow-origin": cors(readOrigins),
  "cors-allow-methods": cors((fields, text) => void (fields.methods = methods(text))),
  "cors-allow-headers": cors((fields, text) => void (fields.headers = headerNames(text))),
  "cors-expose-headers": cors((fields, text) => void (fields.exposeHeaders = headerNames(text))),
  "cors-allow-credentials": cors((fields, text) => void (fields.credentials = bool(text))),
  "cors-max-age": cors((fields, text) => void (fields.maxAgeSeconds = int(text))),
};

function readAliases(settings: Settings, names: string[]): Note {
  const usable = names.filter((name) => /^(\*\.)?[-.a-z0-9]+$/i.test(name));
  settings.aliases = usable.map((name) => name.toLowerCase());
  const odd = names.filter((name) => !usable.includes(name));
  return odd.length > 0 ? `${odd.join(", ")}: names and *.NAME are served, regular expressions are not` : undefined;
}

function readProtocol(settings: Settings, name: "HTTP" | "HTTPS" | "GRPC" | "GRPCS"): void {
  settings.encrypted = name === "HTTPS" || name === "GRPCS";
  settings.protocol = { HTTP: "http1", HTTPS: "http1", GRPC: "h2c", GRPCS: "h2" }[name] as Settings["protocol"];
}

const failures = ["error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504", "http_403", "http_404", "http_429", "non_idempotent", "off"];
function words(text: string): ReadonlySet<string> {
  const found = text.split(/\s+/).filter((word) => word !== "");
  const odd = found.find((word) => !failures.includes(word));
  if (odd !== undefined || found.length === 0) throw new ValueError(`must be words of ${failures.join(", ")}`);
  return new Set(found);
}

/** nginx's variables, as far as they are known here. */
function hashBy(text: string): HashBy {
  const [, variable = ""] = /^\$\{?([a-z0-9_]+)\}?$/.exec(text) ?? [];
  if (/^(binary_)?remote_addr$/.test(variable)) return "address";
  if (variable === "host" || variable === "http_host") return { header: "host" };
  const [, kind, name] = /^(http|cookie|arg)_(\w+)$/.exec(variable) ?? [];
  if (kind === "http") return { header: name!.replaceAll("_", "-") };
  if (kind === "cookie") return { cookie: name! };
  if (kind === "arg") return { query: name! };
  throw new ValueError("must be one of $remote_addr, $host, $http_NAME, $cookie_NAME, $arg_NAME");
}

function methods(text: string): string[] {
  const found = list(text.replaceAll(" ", ","));
  if (found.length === 0 || found.some((method) => !/^[A-Za-z]+$/.test(method))) throw new ValueError("must be a list of methods");
  return found;
}

function readOrigins(fields: Settings["corsFields"], text: string): void {
  const origins = list(text);
  if (origins.includes("*")) return void (fields.origins = ["*"]);
  const odd = origins.find((origin) => !/^[a-z]+:\/\/(\*\.)?[A-Za-z0-9\-.]+(:\d+)?$/.test(origin));
  fields.origins = origins.filter((origin) => origin !== odd);
  if (odd !== undefined || origins.length === 0) throw new ValueError(`${JSON.stringify(odd ?? "")} is not an origin: SCHEME://HOST[:PORT], with *. before the host for all below it`);
}
