import type { HttpMatch, HttpRule, Persistence, Route, ValueMatch } from "../../api/traffic.ts";
import { checkRule } from "../../policy/route-table.ts";
import type { Attachment } from "./attach.ts";
import { type ResolvedBackend, resolveBackend } from "./backends.ts";
import type { Unusable } from "./certificates.ts";
import { condition } from "./conditions.ts";
import { parseDuration } from "./duration.ts";
import { compileFilters } from "./filters.ts";
import { narrowed, narrows, narrowsNoBackend } from "./route-filter.ts";
import type { AnyRouteObject, BackendReference, Condition, GrpcRouteRule, HttpRouteRule, RouteFilter, RouteKind, SessionPersistence, StreamRouteRule } from "./kinds.ts";
import type { ServiceAttachment } from "./services.ts";
import { underPolicies } from "../policies/routes.ts";
import type { PolicyBook } from "../policies/book.ts";
import { operationsChecked } from "../product/checked.ts";
import { operation, type OperationRule } from "../product/stage-route.ts";
import type { World } from "./world.ts";

export interface CompiledRoute {
  /** None when it is attached nowhere; several where policies differ between the listeners. */
  routes: Route[];
  /** The Service ports it leads to. */
  upstreams: NonNullable<ResolvedBackend["upstream"]>[];
  resolvedRefs: Condition;
  /** Rules that are not served as they stand: a condition of its own, or, when it is all of them, Accepted is false. */
  refused: Condition | undefined;
  partiallyInvalid: Condition | undefined;
}

type From = Parameters<typeof resolveBackend>[1];

/** As far as it is attached to Gateways. `seen` hears of what its stage names besides backends: "Secret/NAMESPACE/NAME". */
export function compileRoute(world: World, kind: RouteKind, object: AnyRouteObject, attachments: readonly Attachment[], policies: PolicyBook, seen: (what: string) => void = () => {}): CompiledRoute {
  const served = attachments.flatMap(({ listeners }) => listeners.filter(({ listener }) => listener.edge));
  const places = served.map(({ listener, hostnames }) => ({ listener: listener.id, hostnames }));
  const compiled = compile(world, kind, object, places, { kind, namespace: object.metadata.namespace! }, "");
  return operationsChecked(underPolicies(compiled, kind, object, new Map(served.map(({ listener }) => [listener.id, listener])), policies), object, world, seen);
}

/** As far as it is attached to Services. Its clients may call whom they like, so nobody must grant where a route of theirs leads. */
export function compileServiceRoute(world: World, kind: RouteKind, object: AnyRouteObject, attachments: readonly ServiceAttachment[]): CompiledRoute {
  // A Service named by two parents, with and without port, is one place.
  const places = new Map(attachments.flatMap(({ places: all }) => all).map((place) => [place.listener, place]));
  for (const { places: all } of attachments) for (const place of all) if (place.isNamed) places.set(place.listener, place);
  return compile(world, kind, object, [...places.values()], { kind, namespace: object.metadata.namespace!, needsNoGrant: true }, "@services");
}

/** What a route asks for, wherever it is attached. */
function compile(world: World, kind: RouteKind, object: AnyRouteObject, places: Route["attachments"], from: From, suffix: string): CompiledRoute {
  const rules = object.spec.rules ?? [];
  const problems: { refused: Unusable[]; unresolved: Unusable[] } = { refused: [], unresolved: [] };
  const upstreams = new Map<string, NonNullable<ResolvedBackend["upstream"]>>();
  const use = (resolved: ResolvedBackend): ResolvedBackend => {
    if (resolved.upstream) upstreams.set(resolved.upstream.id, resolved.upstream);
    if (resolved.unusable) problems.unresolved.push(resolved.unusable);
    return resolved;
  };
  const base = {
    id: `${kind}/${object.metadata.namespace}/${object.metadata.name}${suffix}`,
    createdAt: Math.floor(Date.parse(object.metadata.creationTimestamp) / 1000),
    attachments: places,
  };
  let route: Route;
  if (kind === "HTTPRoute" || kind === "GRPCRoute") {
    const compiled = rules.flatMap((rule, index) => {
      const { matches, invalid } = kind === "HTTPRoute" ? httpMatches(rule as HttpRouteRule) : grpcMatches(rule as GrpcRouteRule);
      if (invalid) {
        problems.refused.push(invalid);
        return [];
      }
      if (!mayEnd((rule as HttpRouteRule).sessionPersistence)) {
        problems.refused.push({ reason: "UnsupportedValue", message: `rules[${index}].sessionPersistence.absoluteTimeout: a session ends by the age of its cookie, so by a cookie with lifetimeType Permanent alone` });
        return [];
      }
      const own = (rule as HttpRouteRule).filters;
      const made = httpRule(world, from, rule as HttpRouteRule, index, own ? narrowed(world, from.namespace, own, matches) : matches, use, problems);
      const wrong = checkRule(made);
      if (!wrong) return [made];
      problems.refused.push({ reason: "UnsupportedValue", message: `rules[${index}].${wrong.message}` });
      return [];
    });
    route = { ...base, type: "http", ...(kind === "GRPCRoute" && { grpc: true }), rules: compiled };
  } else {
    const backends = rules.flatMap((rule) => (rule as StreamRouteRule).backendRefs ?? []).map((reference) => use(resolveBackend(world, from, reference)).backend);
    route = { ...base, type: kind === "TLSRoute" ? "tls" : kind === "TCPRoute" ? "tcp" : "udp", backends };
  }
  const { refused, unresolved } = problems;
  const whole = refused.length > 0 && (route.type !== "http" || route.rules.length === 0 || refused.some(({ reason }) => reason === "IncompatibleFilters"));
  return {
    routes: base.attachments.length > 0 && !whole ? [route] : [],
    upstreams: [...upstreams.values()],
    resolvedRefs: unresolved.length > 0 ? condition("ResolvedRefs", false, unresolved[0]!.reason, [...new Set(unresolved.map(({ message }) => message))].join("; ")) : condition("ResolvedRefs", true, "ResolvedRefs", "all references are resolved"),
    refused: whole ? condition("Accepted", false, refused[0]!.reason, refused.map(({ message }) => message).join("; ")) : undefined,
    partiallyInvalid: refused.length > 0 && !whole ? condition("PartiallyInvalid", true, refused[0]!.reason, `Dropped Rule: ${refused.map(({ message }) => message).join("; ")}`) : undefined,
  };
}

function httpRule(world: World, from: From, rule: HttpRouteRule, index: number, matches: HttpMatch[], use: (resolved: ResolvedBackend) => ResolvedBackend, problems: { refused: Unusable[]; unresolved: Unusable[] }): HttpRule {
  const filters = filtersOf(world, from, rule.filters, use, problems);
  const backends = (rule.backendRefs ?? []).map((reference: BackendReference & { filters?: RouteFilter[] }) => {
    const { backend } = use(resolveBackend(world, from, reference));
    const own = reference.filters?.length ? filtersOf(world, from, reference.filters, use, problems) : undefined;
    if (own && !own.error && narrows(world, from.namespace, reference.filters!)) {
      problems.unresolved.push({ reason: "InvalidKind", message: narrowsNoBackend });
      own.error = { status: 500, reason: narrowsNoBackend };
    }
    return { ...backend, ...(own?.error && { upstream: undefined, error: own.error }), ...(own && { filters: own.filters }) };
  });
  const { timeouts, retry, sessionPersistence, [operation]: made } = rule as OperationRule;
  if (made) filters.filters.push(...made.filters);
  return {
    name: rule.name ?? String(index),
    matches,
    // A rule whose filter is missing must not go on as if there were none.
    filters: filters.error ? [{ type: "respond", status: filters.error.status }] : filters.filters,
    backends: filters.error ? [] : backends,
    ...(timeouts && { timeouts: { ...(timeouts.request && { requestMs: parseDuration(timeouts.request) }), ...(timeouts.backendRequest && { backendMs: parseDuration(timeouts.backendRequest) }) } }),
    // The experimental field says nothing of a number of tries that is not given; one is what people expect.
    ...(retry && { retry: { attempts: retry.attempts ?? 1, backoffMs: retry.backoff ? parseDuration(retry.backoff) : 0, statuses: retry.codes ?? [] } }),
    ...(sessionPersistence && { persistence: persistenceOf(sessionPersistence) }),
  };
}

function filtersOf(world: World, from: From, filters: readonly RouteFilter[] | undefined, use: (resolved: ResolvedBackend) => ResolvedBackend, problems: { refused: Unusable[]; unresolved: Unusable[] }) {
  const compiled = compileFilters(world, from, filters ?? []);
  for (const resolved of compiled.mirrored) use(resolved);
  if (compiled.unresolved) problems.unresolved.push(compiled.unresolved);
  if (compiled.refused) problems.refused.push(compiled.refused);
  const wrong = compiled.refused ?? compiled.unresolved;
  return { filters: compiled.filters, error: wrong && { status: 500, reason: wrong.message } };
}

const valueMatch = ({ type, name, value }: { type?: string; name: string; value: string }): ValueMatch => ({ name, type: type === "RegularExpression" ? "regex" : "exact", value });
/** Of several conditions on one name the first counts. */
const firstOfName = (matches: ValueMatch[]): ValueMatch[] => matches.filter((match, index) => matches.findIndex(({ name }) => name === match.name) === index);
const headerMatches = (matches: readonly { type?: string; name: string; value: string }[]): ValueMatch[] => firstOfName(matches.map((match) => valueMatch({ ...match, name: match.name.toLowerCase() })));

function httpMatches({ matches, [operation]: made }: OperationRule): { matches: HttpMatch[]; invalid?: Unusable } {
  if (made) return { matches: made.matches };
  const all = matches?.length ? matches : [{}];
  const types = { Exact: "exact", PathPrefix: "prefix", RegularExpression: "regex" } as const;
  return {
    matches: all.map(({ path, method, headers, queryParams }) => ({
      path: { type: types[path?.type ?? "PathPrefix"], value: path?.value ?? "/" },
      ...(method && { method }),
      ...(headers?.length && { headers: headerMatches(headers) }),
      ...(queryParams?.length && { query: firstOfName(queryParams.map(valueMatch)) }),
    })),
  };
}

/** gRPC's method is HTTP's path: /SERVICE/METHOD. */
function grpcMatches({ matches }: GrpcRouteRule): { matches: HttpMatch[]; invalid?: Unusable } {
  const all = matches?.length ? matches : [{}];
  return {
    matches: all.map(({ method, headers }) => ({
      path: grpcPath(method ?? {}),
      ...(headers?.length && { headers: headerMatches(headers) }),
    })),
  };
}

function grpcPath({ type = "Exact", service, method }: { type?: string; service?: string; method?: string }): HttpMatch["path"] {
  if (type === "RegularExpression") return { type: "regex", value: `/${service ?? "[^/]+"}/${method ?? "[^/]+"}` };
  if (service === undefined && method === undefined) return { type: "prefix", value: "/" };
  if (method === undefined) return { type: "prefix", value: `/${service}` };
  if (service === undefined) return { type: "regex", value: `/[^/]+/${method.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}` };
  return { type: "exact", value: `/${service}/${method}` };
}

/** Whether the session ends when it is to: what the client brings back does not say how old it is. */
const mayEnd = (sessions: SessionPersistence | undefined): boolean => sessions?.absoluteTimeout === undefined || (sessions.type !== "Header" && sessions.cookieConfig?.lifetimeType === "Permanent");

function persistenceOf({ type = "Cookie", sessionName, absoluteTimeout, cookieConfig }: SessionPersistence): Persistence {
  const maxAge = cookieConfig?.lifetimeType === "Permanent" && absoluteTimeout ? { maxAgeSeconds: Math.ceil(parseDuration(absoluteTimeout) / 1000) } : {};
  return type === "Header" ? { type: "header", name: sessionName?.toLowerCase() ?? "x-wherry-session" } : { type: "cookie", name: sessionName ?? "wherry-session", ...maxAge };
}
