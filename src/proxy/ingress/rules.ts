import type { Backend, HttpFilter, HttpMatch, HttpRule, Retry, ValueMatch } from "../../api/traffic.ts";
import type { Settings } from "./annotations/settings.ts";

/** One path of one host, with all that its rules need. */
export interface Place {
  name: string;
  /** "NAMESPACE/NAME/UID" of the Ingress, whose limits are of all its paths and hosts together. */
  owner: string;
  path: string;
  settings: Settings;
  matches: readonly HttpMatch[];
  backend: Backend;
  canary?: { settings: Settings; backend: Backend };
  /** Headers of the ConfigMap that custom-headers names. */
  responseHeaders: readonly { name: string; value: string }[];
  /** Why it answers 503. */
  closed: string | undefined;
}

export interface Scheme {
  scheme: "http" | "https";
  /** Whether the host has a certificate of its own: then ssl-redirect applies. */
  hasCertificate: boolean;
  httpsPort: number;
}

/** Those of a path: one, or one for each way in which a canary is chosen, those first that go first. */
export function rulesOf(place: Place, scheme: Scheme): HttpRule[] {
  const { settings, closed } = place;
  if (closed !== undefined) return [{ name: place.name, matches: [...place.matches], filters: [unavailable], backends: [] }];
  const filters = filtersOf(place, scheme);
  const last = filters.at(-1)?.type;
  const ends = last === "respond" || last === "redirect";
  const rule = (name: string, condition: Partial<HttpMatch>, backends: Backend[]): HttpRule => ({
    name,
    matches: place.matches.map((match) => ({ ...match, ...condition })),
    filters,
    backends: ends ? [] : backends,
    ...(!ends && { timeouts: { backendMs: settings.readMs, silenceMs: settings.readMs }, ...retryOf(settings), ...persistenceOf(settings, place.path, scheme) }),
  });
  return choicesOf(place).map(({ suffix, condition, backends }) => rule(place.name + suffix, condition, backends));
}

const unavailable: HttpFilter = { type: "respond", status: 503, body: "503 Service Temporarily Unavailable\n" };

interface CanaryChoice {
  suffix: string;
  condition: Partial<HttpMatch>;
  backends: Backend[];
}

/** Header before cookie before weight. Source: route_to_alternative_balancer of balancer.lua. */
function choicesOf({ backend, canary }: Place): CanaryChoice[] {
  if (!canary) return [{ suffix: "", condition: {}, backends: [backend] }];
  const { header, headerValue, headerPattern, cookie, weight, weightTotal } = canary.settings.canary;
  const main = [{ ...backend, weight: 1 }];
  const other = [{ ...canary.backend, weight: 1 }];
  const choices: CanaryChoice[] = [];
  const byHeader = (suffix: string, match: Omit<ValueMatch, "name">, backends: Backend[]) => choices.push({ suffix, condition: { headers: [{ name: header!.toLowerCase(), ...match }] }, backends });
  if (header !== undefined) {
    if (headerValue) byHeader(" canary by header", { type: "exact", value: headerValue }, other);
    else if (headerPattern) byHeader(" canary by header", { type: "regex", value: `(?s:.*)(?:${headerPattern})(?s:.*)` }, other);
    else {
      byHeader(" canary by header", { type: "exact", value: "always" }, other);
      byHeader(" no canary by header", { type: "exact", value: "never" }, main);
    }
  }
  if (cookie !== undefined) {
    choices.push({ suffix: " canary by cookie", condition: { cookies: [{ name: cookie, type: "exact", value: "always" }] }, backends: other });
    choices.push({ suffix: " no canary by cookie", condition: { cookies: [{ name: cookie, type: "exact", value: "never" }] }, backends: main });
  }
  const total = Math.max(100, weightTotal);
  const share = Math.min(weight, total);
  const weighted = [{ ...backend, weight: total - share }, { ...canary.backend, weight: share }].filter((one) => one.weight > 0);
  return [...choices, { suffix: "", condition: {}, backends: weighted }];
}

/** In the order of nginx's phases: size, redirects, preflights, limits, addresses, and at last what the upstream sees. */
function filtersOf(place: Place, { scheme, hasCertificate, httpsPort }: Scheme): HttpFilter[] {
  const { settings } = place;
  const filters: HttpFilter[] = [];
  if (settings.bodyBytes > 0) filters.push({ type: "bodyLimit", bytes: settings.bodyBytes });
  const redirected = redirectOf(settings);
  if (redirected) return [...filters, redirected];
  if (settings.cors) filters.push({ type: "cors", ...settings.corsFields });
  if (scheme === "http" && (settings.forceSslRedirect || (settings.sslRedirect && hasCertificate))) return [...filters, toHttps(httpsPort)];
  filters.push(...limitsOf(settings, place.owner));
  if (settings.allow || settings.deny) filters.push({ type: "sourceRanges", ...(settings.allow && { allow: settings.allow }), ...(settings.deny && { deny: settings.deny }) });
  const isRewritten = settings.rewriteTarget !== "" && settings.rewriteTarget !== place.path;
  // Only with a rewrite, as ingress-nginx has it.
  if (isRewritten && settings.forwardedPrefix !== undefined) filters.push({ type: "requestHeaders", set: [{ name: "X-Forwarded-Prefix", value: settings.forwardedPrefix }] });
  if (place.responseHeaders.length > 0) filters.push({ type: "responseHeaders", set: [...place.responseHeaders] });
  if (isRewritten || settings.upstreamHost !== undefined) {
    filters.push({
      type: "rewrite",
      ...(settings.upstreamHost !== undefined && { hostname: settings.upstreamHost }),
      ...(isRewritten && { path: { type: "regex", pattern: place.path, substitution: settings.rewriteTarget, ignoreCase: true } }),
    });
  }
  return filters;
}

const toHttps = (port: number): HttpFilter => ({ type: "redirect", scheme: "https", ...(port !== 443 && { port }), status: 308 });

function redirectOf({ temporalRedirect, temporalRedirectCode, permanentRedirect, permanentRedirectCode }: Settings): HttpFilter | undefined {
  const to = temporalRedirect ?? permanentRedirect;
  if (to === undefined) return undefined;
  const status = temporalRedirect !== undefined ? temporalRedirectCode : permanentRedirectCode;
  const origin = /^(https?):\/\/([^/:]+)(?::(\d+))?\$request_uri$/.exec(to);
  if (!origin) return { type: "respond", status, headers: [{ name: "Location", value: to }] };
  const [, scheme, hostname, port] = origin as unknown as [string, string, string, string?];
  return { type: "redirect", scheme, hostname, ...(port !== undefined && { port: Number(port) }), status };
}

function limitsOf({ limits: { perSecond, perMinute, connections, burstMultiplier, except } }: Settings, share: string): HttpFilter[] {
  const common = { by: "client", share, status: 503, ...(except.length > 0 && { except }) } as const;
  const filters: HttpFilter[] = [];
  if (perSecond > 0) filters.push({ type: "rateLimit", requests: perSecond, periodMs: 1_000, burst: perSecond * burstMultiplier, ...common });
  if (perMinute > 0) filters.push({ type: "rateLimit", requests: perMinute, periodMs: 60_000, burst: perMinute * burstMultiplier, ...common });
  if (connections > 0) filters.push({ type: "concurrency", max: connections, ...common });
  return filters;
}

/** nginx tries as often as there are servers when it is not told a number; here is a bound. */
const triesMax = 10;

function retryOf({ nextUpstream: { on, tries }, bufferBytes }: Settings): { retry?: Retry } {
  const attempts = (tries === 0 ? triesMax : tries) - 1;
  if (on.has("off") || attempts < 1) return {};
  const statuses = [...on].flatMap((word) => (word.startsWith("http_") ? [Number(word.slice(5))] : []));
  const kinds: NonNullable<Retry["on"]> = [];
  if (on.has("error")) kinds.push("connect", "reset");
  else if (on.has("invalid_header")) kinds.push("reset");
  if (on.has("timeout")) kinds.push("timeout");
  if (statuses.length > 0) kinds.push("status");
  return kinds.length === 0 ? {} : { retry: { attempts, backoffMs: 0, statuses, on: kinds, ...(on.has("non_idempotent") && { unsafe: true }), ...(bufferBytes !== undefined && { bodyBytesMax: bufferBytes }) } };
}

/** Over TLS the cookie is for TLS alone, unless it is said otherwise. */
function persistenceOf({ affinity, cookie }: Settings, path: string, { scheme }: Scheme): { persistence?: HttpRule["persistence"] } {
  return affinity ? { persistence: { type: "cookie", ...cookie, secure: cookie.secure ?? scheme === "https", path: cookie.path ?? (/^\/[-\w./~]*$/.test(path) ? path : "/") } } : {};
}
