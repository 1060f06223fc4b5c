import type { Backend, HeaderChange, HttpFilter, HttpMatch, HttpRule, PathChange, Retry } from "../../api/traffic.ts";
import { parseDuration } from "../gateway/duration.ts";
import type { Destination, Headers, HttpMatchRequest, HttpRoute } from "../../api/istio/kinds.ts";
import { compileMatch, type MatchContext, quoted } from "./matches.ts";

export interface RuleContext extends MatchContext {
  /** Where a destination leads. */
  resolve(destination: Destination, at: string): { upstream: string } | { error: { status: number; reason: string } };
}

/** One entry of `http`, at its place, as rules of the engine with that name: one, or one for each match where what is done depends on what matched. None when it never fits. */
export function compileHttpRoute(route: HttpRoute, name: string, at: string, context: RuleContext): HttpRule[] {
  const matches = (route.match?.length ? route.match : [{}]).map((match, i) => ({ match, compiled: compileMatch(match, context, `${at}.match[${i}]`) })).filter(({ compiled }) => compiled.length > 0);
  if (matches.length === 0) return [];
  const make = (of: HttpMatch[], match: HttpMatchRequest, suffix: string): HttpRule => ({ name: name + suffix, matches: of, ...actionOf(route, match, context, at) });
  const isByMatch = route.rewrite?.uri !== undefined || route.redirect?.prefixRewrite !== undefined;
  if (!isByMatch || matches.length === 1) return [make(matches.flatMap(({ compiled }) => compiled), matches[0]!.match, "")];
  return matches.map(({ match, compiled }, i) => make(compiled, match, `/${match.name ?? i}`));
}

function actionOf(route: HttpRoute, match: HttpMatchRequest, context: RuleContext, at: string): Omit<HttpRule, "name" | "matches"> {
  const { report } = context;
  const filters: HttpFilter[] = [...corsOf(route), ...faultOf(route, context, at), ...headerFilters(route.headers, context, `${at}.headers`)];
  if (route.redirect) return { filters: [...filters, redirectOf(route.redirect, match, context, `${at}.redirect`)], backends: [] };
  if (route.directResponse) {
    const { status, body } = route.directResponse;
    const text = body?.string ?? (body?.bytes === undefined ? undefined : Buffer.from(body.bytes, "base64").toString("utf8"));
    return { filters: [...filters, { type: "respond", status, ...(text !== undefined && { body: text }) }], backends: [] };
  }
  if (route.delegate) {
    const { namespace, name } = route.delegate;
    report.analysis("IST0101", `${at}.delegate: Referenced delegate not found: "${namespace ? `${namespace}/` : ""}${name}"`);
    return { filters, backends: [unserved("the route is delegated to what is not there")] };
  }
  const path = rewritten(route, match, context, at);
  const hostname = route.rewrite?.authority;
  if (path || hostname) filters.push({ type: "rewrite", ...(hostname && { hostname }), ...(path && { path }) });
  filters.push(...mirrorsOf(route, context, at));
  const targets = route.route ?? [];
  const backends = targets.map(({ destination, weight = 0, headers }, i): Backend => {
    const own = headerFilters(headers, context, `${at}.route[${i}].headers`);
    // One alone gets everything, whatever its weight.
    const share = targets.length === 1 ? 1 : weight;
    if (!destination) return { ...unserved("the route has no destination"), weight: share };
    return { ...context.resolve(destination, `${at}.route[${i}].destination`), weight: share, ...(own.length > 0 && { filters: own }) };
  });
  const { timeout, retries } = route;
  if (retries?.retryRemoteLocalities) report.field(`${at}.retries.retryRemoteLocalities`, "one machine is one locality");
  if (retries?.retryIgnorePreviousHosts === false) report.field(`${at}.retries.retryIgnorePreviousHosts`, "another endpoint is taken where there is one");
  return {
    filters,
    backends,
    ...((timeout || retries?.perTryTimeout) && { timeouts: { ...(timeout && { requestMs: parseDuration(timeout) }), ...(retries?.perTryTimeout && { backendMs: parseDuration(retries.perTryTimeout) }) } }),
    retry: retryOf(route, context, at),
  };
}

/** A request that must not fall to a route further down, as if this one were not there. */
export const unserved = (reason: string): Backend => ({ error: { status: 503, reason }, weight: 1 });

// What may be tried again.

/** What Istio does where nothing is said. */
export const usualRetry: Retry = { attempts: 2, backoffMs: 25, statuses: [], on: ["connect"] };
const from500 = Array.from({ length: 100 }, (_, i) => 500 + i);
/** Envoy's words for failures, in ours. */
const retryWords: Record<string, { on: NonNullable<Retry["on"]>; statuses?: number[] }> = {
  "5xx": { on: ["connect", "reset", "timeout", "status"], statuses: from500 },
  "gateway-error": { on: ["connect", "reset", "timeout", "status"], statuses: [502, 503, 504] },
  reset: { on: ["connect", "reset", "timeout"] },
  "reset-before-request": { on: ["connect"] },
  "connect-failure": { on: ["connect"] },
  "refused-stream": { on: ["connect"] },
  "retriable-4xx": { on: ["status"], statuses: [409] },
  // Says only that numbers beside it count.
  "retriable-status-codes": { on: [] },
};

function retryOf({ retries }: HttpRoute, { report }: RuleContext, at: string): Retry {
  if (!retries) return usualRetry;
  const { attempts = 0, backoff, retryOn } = retries;
  const base = { attempts, backoffMs: backoff ? parseDuration(backoff) : usualRetry.backoffMs };
  if (!retryOn) return { ...base, statuses: [], on: ["connect"] };
  const on = new Set<NonNullable<Retry["on"]>[number]>();
  const statuses = new Set<number>();
  for (const word of retryOn.split(",").map((text) => text.trim()).filter((text) => text !== "")) {
    const known = retryWords[word];
    const status = /^\d{3}$/.test(word) ? Number(word) : undefined;
    if (status !== undefined) statuses.add(status);
    else if (!known) report.field(`${at}.retries.retryOn`, `${word} is not looked at`);
    for (const type of known?.on ?? []) on.add(type);
    for (const code of known?.statuses ?? []) statuses.add(code);
  }
  if (statuses.size > 0) on.add("status");
  // Whoever names the failures means all methods, as Envoy does.
  return { ...base, statuses: [...statuses], on: [...on], unsafe: true };
}

// What is changed on the way.

function headerFilters(headers: Headers | undefined, context: RuleContext, at: string): HttpFilter[] {
  const request = headerChange(headers?.request, context, `${at}.request`);
  const response = headerChange(headers?.response, context, `${at}.response`);
  return [...(request ? [{ type: "requestHeaders" as const, ...request }] : []), ...(response ? [{ type: "responseHeaders" as const, ...response }] : [])];
}

function headerChange(operations: Headers["request"], { report }: RuleContext, at: string): HeaderChange | undefined {
  const pairs = (of: Record<string, string> | undefined, field: string) =>
    Object.entries(of ?? {}).flatMap(([name, value]) => {
      if (/%[A-Z_]+(\([^)]*\))?(:\d+)?%/.test(value)) report.field(`${at}.${field}.${name}`, `${value} stands as it is: Envoy's command operators are not known here`);
      return [{ name: name.toLowerCase() === ":authority" ? "host" : name, value: value.replaceAll("%%", "%") }];
    });
  const set = pairs(operations?.set, "set");
  const add = pairs(operations?.add, "add");
  const remove = operations?.remove ?? [];
  if (set.length + add.length + remove.length === 0) return undefined;
  return { ...(set.length > 0 && { set }), ...(add.length > 0 && { add }), ...(remove.length > 0 && { remove }) };
}

function rewritten({ rewrite }: HttpRoute, match: HttpMatchRequest, { report }: RuleContext, at: string): PathChange | undefined {
  if (!rewrite) return undefined;
  const { uri, uriRegexRewrite } = rewrite;
  if (uriRegexRewrite?.match !== undefined) {
    const text = uriRegexRewrite.rewrite ?? "";
    if (/\$(\d|\{\d)/.test(text)) report.field(`${at}.rewrite.uriRegexRewrite.rewrite`, "a group is written \\1; $1 is taken for one as well");
    const substitution = text.replace(/\\(\d|\\)/g, (_, sign: string) => (sign === "\\" ? "\\" : `\${${sign}}`));
    return { type: "regex", pattern: uriRegexRewrite.match, substitution, each: true };
  }
  return uri === undefined ? undefined : replacing(uri, match);
}

/** What matched is replaced, character by character: the prefix, or the whole path where it was asked for otherwise. */
function replacing(by: string, { uri, ignoreUriCase }: HttpMatchRequest): PathChange {
  if (uri?.exact !== undefined || uri?.regex !== undefined) return { type: "full", value: by };
  return { type: "regex", pattern: `^${quoted(uri?.prefix ?? "/")}`, substitution: by, each: true, ...(ignoreUriCase && { ignoreCase: true }) };
}

function redirectOf({ uri, prefixRewrite, authority, port, derivePort, scheme, redirectCode = 301 }: NonNullable<HttpRoute["redirect"]>, match: HttpMatchRequest, context: RuleContext, at: string): HttpFilter {
  if (uri?.includes("%PREFIX()%")) context.report.field(`${at}.uri`, "%PREFIX()% stands as it is");
  const [, hostname, written] = /^(.*?)(?::(\d+))?$/.exec(authority ?? "")!;
  const usual = scheme === "https" ? 443 : 80;
  const derived = derivePort === "FROM_REQUEST_PORT" ? context.port : derivePort === "FROM_PROTOCOL_DEFAULT" || hostname ? usual : undefined;
  const finalPort = port ?? (written === undefined ? derived : Number(written));
  const path: PathChange | undefined = uri === undefined ? (prefixRewrite === undefined ? undefined : replacing(prefixRewrite, match)) : { type: "full", value: uri };
  return { type: "redirect", ...(scheme && { scheme }), ...(hostname && { hostname }), ...(finalPort !== undefined && { port: finalPort }), ...(path && { path }), status: redirectCode };
}

const perMillion = (percent: number): number => Math.round(percent * 10_000);

function mirrorsOf(route: HttpRoute, context: RuleContext, at: string): HttpFilter[] {
  const { mirror, mirrors, mirrorPercentage, mirrorPercent, mirror_percent } = route;
  const all = mirrors?.length ? mirrors.map(({ destination, percentage }, i) => ({ destination, percent: percentage?.value ?? 100, at: `${at}.mirrors[${i}]` })) : [{ destination: mirror, percent: mirrorPercentage ? (mirrorPercentage.value ?? 0) : (mirrorPercent ?? mirror_percent ?? 100), at: `${at}.mirror` }];
  return all.flatMap(({ destination, percent, at: place }) => {
    if (!destination) return [];
    const resolved = context.resolve(destination, place);
    return "upstream" in resolved ? [{ type: "mirror" as const, upstream: resolved.upstream, perMillion: perMillion(percent) }] : [];
  });
}

/** By gRPC's names. Source: google.rpc.Code. */
const grpcCodes = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"];

function faultOf({ fault }: HttpRoute, { report }: RuleContext, at: string): HttpFilter[] {
  if (!fault) return [];
  const { delay, abort } = fault;
  if (delay?.exponentialDelay !== undefined) report.field(`${at}.fault.delay.exponentialDelay`, "is not honoured, as in Istio");
  if (abort?.http2Error !== undefined) report.field(`${at}.fault.abort.http2Error`, "is not honoured, as in Istio");
  const grpc = abort?.grpcStatus === undefined ? -1 : /^\d+$/.test(abort.grpcStatus) ? Number(abort.grpcStatus) : grpcCodes.indexOf(abort.grpcStatus.toUpperCase());
  if (abort?.grpcStatus !== undefined && grpc < 0) report.field(`${at}.fault.abort.grpcStatus`, `${abort.grpcStatus} is no status of gRPC; nothing is aborted`);
  const held = delay?.fixedDelay ? { ms: parseDuration(delay.fixedDelay), perMillion: perMillion(delay.percentage ? (delay.percentage.value ?? 0) : (delay.percent ?? 0)) } : undefined;
  // Without a percentage nothing is: that is Istio's rule for both.
  const ended = abort && (abort.httpStatus !== undefined || grpc >= 0) ? { status: abort.httpStatus ?? 503, ...(grpc >= 0 && { grpcStatus: grpc }), perMillion: perMillion(abort.percentage?.value ?? 0) } : undefined;
  return held || ended ? [{ type: "fault", ...(held && { delay: held }), ...(ended && { abort: ended }) }] : [];
}

function corsOf({ corsPolicy }: HttpRoute): HttpFilter[] {
  if (!corsPolicy) return [];
  const { allowOrigin = [], allowOrigins = [], allowMethods = [], allowHeaders = [], exposeHeaders = [], maxAge, allowCredentials = false, unmatchedPreflights } = corsPolicy;
  const patterns = allowOrigins.flatMap(({ prefix, regex }) => (prefix !== undefined ? [`${quoted(prefix)}.*`] : regex !== undefined ? [regex] : []));
  return [
    {
      type: "cors",
      origins: [...allowOrigin, ...allowOrigins.flatMap(({ exact }) => exact ?? [])],
      ...(patterns.length > 0 && { originPatterns: patterns }),
      methods: allowMethods,
      headers: allowHeaders,
      exposeHeaders,
      maxAgeSeconds: maxAge ? Math.floor(parseDuration(maxAge) / 1000) : 5,
      credentials: allowCredentials,
      ...(unmatchedPreflights !== "IGNORE" && { passesUnmatched: true }),
    },
  ];
}
