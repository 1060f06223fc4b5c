import type { Balancer, Breaker, HashBy, HttpFilter, HttpRule, Retry, Upstream } from "../../api/traffic.ts";
import { parseDuration } from "../gateway/duration.ts";
import type { Policy } from "../../api/envoy/kinds.ts";
import { answerFilters } from "./backend-answers.ts";
import { admissionOf, type AdmissionSpec, healthOf, type HealthSpec } from "./backend-health.ts";
import { type BackendConnectionSpec, connectionOf } from "./backend-connection.ts";
import type { Effect, Refusal } from "./effect.ts";
import { rateLimitFilters, type RateLimitSpec } from "./rate-limit.ts";
import type { References } from "./references.ts";

interface BackendTrafficSpec extends BackendConnectionSpec {
  timeout?: { tcp?: { connectTimeout?: string }; http?: { requestTimeout?: string; connectionIdleTimeout?: string; maxConnectionDuration?: string; maxStreamDuration?: string; streamIdleTimeout?: string } };
  retry?: { numRetries?: number; retryOn?: { triggers?: string[]; httpStatusCodes?: number[] }; perRetry?: { timeout?: string; backOff?: { baseInterval?: string; maxInterval?: string } } };
  faultInjection?: { delay?: { fixedDelay: string; percentage?: number }; abort?: { httpStatus?: number; grpcStatus?: number; percentage?: number } };
  circuitBreaker?: { maxConnections?: number; maxPendingRequests?: number; maxParallelRequests?: number; maxParallelRetries?: number; maxRequestsPerConnection?: number; retryBudget?: { percent: { numerator: number; denominator?: number }; minRetryConcurrency?: number } };
  admissionControl?: AdmissionSpec;
  healthCheck?: HealthSpec;
  loadBalancer?: { type: string; slowStart?: { window: string }; consistentHash?: ConsistentHash };
  rateLimit?: RateLimitSpec;
  routingType?: string;
}
interface ConsistentHash {
  type: string;
  header?: { name: string };
  headers?: { name: string }[];
  cookie?: { name: string; ttl?: string };
  queryParams?: { name: string }[];
}

/** A BackendTrafficPolicy for the requests of one rule, and for how its backends are called. */
export function backendTrafficEffect(spec: object, references: References, policies: readonly Policy[]): Effect {
  const { timeout, retry, faultInjection, circuitBreaker, admissionControl, healthCheck, loadBalancer, rateLimit, routingType } = spec as BackendTrafficSpec;
  const refused: Refusal[] = [];
  const upstream: Partial<Upstream> = {
    ...connectionOf(spec, refused),
    ...(circuitBreaker && { breaker: breakerOf(circuitBreaker) }),
    ...(healthCheck && healthOf(healthCheck, refused)),
    ...(loadBalancer && balancerOf(loadBalancer, refused)),
  };
  // Endpoints are whom the data plane calls; a Service's own address would hide them from balancers and breakers.
  if (routingType !== undefined && routingType !== "Endpoint") refused.push({ field: "routingType", why: `${routingType} is not honoured: endpoints are called` });
  const filters = [...answerFilters(spec, references, refused), ...(rateLimit ? rateLimitFilters(rateLimit, policies, refused) : []), ...(faultInjection ? [faultOf(faultInjection)] : []), ...(admissionControl ? [admissionOf(admissionControl, refused)] : [])];
  return {
    ...(filters.length > 0 && { filters }),
    rule: {
      ...timeoutsOf(timeout?.http, retry?.perRetry?.timeout),
      ...(retry && { retry: retryOf(retry, refused) }),
    },
    ...(Object.keys(upstream).length > 0 && { upstream }),
    refused,
  };
}

function timeoutsOf({ requestTimeout, maxStreamDuration, streamIdleTimeout }: NonNullable<NonNullable<BackendTrafficSpec["timeout"]>["http"]> = {}, perTry: string | undefined): Pick<HttpRule, "timeouts"> {
  // Whichever ends first ends it; 0 is none.
  const whole = [requestTimeout, maxStreamDuration].flatMap((text) => (text === undefined ? [] : [parseDuration(text)]));
  const bounds = whole.filter((ms) => ms > 0);
  const timeouts = {
    ...(whole.length > 0 && { requestMs: bounds.length > 0 ? Math.min(...bounds) : 0 }),
    ...(perTry !== undefined && { backendMs: parseDuration(perTry) }),
    ...(streamIdleTimeout !== undefined && { silenceMs: parseDuration(streamIdleTimeout) }),
  };
  return Object.keys(timeouts).length > 0 ? { timeouts } : {};
}

/** Percentages are of a hundred, with fractions. */
const perMillion = (percentage = 100): number => Math.round(percentage * 10_000);

function faultOf({ delay, abort }: NonNullable<BackendTrafficSpec["faultInjection"]>): HttpFilter {
  return {
    type: "fault",
    ...(delay && { delay: { ms: parseDuration(delay.fixedDelay), perMillion: perMillion(delay.percentage) } }),
    ...(abort && { abort: { status: abort.httpStatus ?? 200, ...(abort.grpcStatus !== undefined && { grpcStatus: abort.grpcStatus }), perMillion: perMillion(abort.percentage) } }),
  };
}

/** Envoy's names for what happened. Source: envoyproxy.io, router filter, x-envoy-retry-on. */
const triggers: Record<string, { on: NonNullable<Retry["on"]>[number]; statuses?: number[] }> = {
  "5xx": { on: "status", statuses: range(500, 599) },
  "gateway-error": { on: "status", statuses: [502, 503, 504] },
  reset: { on: "reset" },
  "reset-before-request": { on: "connect" },
  "connect-failure": { on: "connect" },
  "retriable-4xx": { on: "status", statuses: [409] },
  "refused-stream": { on: "connect" },
  "retriable-status-codes": { on: "status" },
};

/**
 * Envoy asks for no method: what a policy names by itself is tried again whatever it is, a POST too. Of a policy that names nothing,
 * which nobody has thought of writes for, what may have been done already is left alone unless doing it twice is doing it once.
 */
function retryOf({ numRetries = 2, retryOn, perRetry }: NonNullable<BackendTrafficSpec["retry"]>, refused: Refusal[]): Retry {
  const named = retryOn?.triggers ?? ["connect-failure", "refused-stream", "retriable-status-codes"];
  const on = new Set<NonNullable<Retry["on"]>[number]>();
  const statuses = new Set<number>(named.includes("retriable-status-codes") || !retryOn?.triggers ? (retryOn?.httpStatusCodes ?? (retryOn?.triggers ? [] : [503])) : []);
  for (const [i, name] of named.entries()) {
    const trigger = Object.hasOwn(triggers, name) ? triggers[name]! : undefined;
    if (!trigger) {
      refused.push({ field: `retry.retryOn.triggers[${i}]`, why: `${JSON.stringify(name)} is not honoured; supported values: ${Object.keys(triggers).join(", ")}` });
      continue;
    }
    on.add(trigger.on);
    // Envoy's 5xx is also what has no answer at all.
    if (name === "5xx" || name === "gateway-error") for (const other of ["connect", "reset", "timeout"] as const) on.add(other);
    for (const status of trigger.statuses ?? []) statuses.add(status);
  }
  const { baseInterval = "25ms", maxInterval } = perRetry?.backOff ?? {};
  return { attempts: numRetries, backoffMs: parseDuration(baseInterval), ...(maxInterval && { backoffMaxMs: parseDuration(maxInterval) }), statuses: [...statuses].sort((a, b) => a - b), on: [...on], ...(retryOn && { unsafe: true }) };
}
function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

function breakerOf({ maxConnections, maxPendingRequests, maxParallelRequests, maxParallelRetries, maxRequestsPerConnection, retryBudget }: NonNullable<BackendTrafficSpec["circuitBreaker"]>): Breaker {
  return {
    ...(maxConnections !== undefined && { connectionsMax: maxConnections }),
    ...(maxPendingRequests !== undefined && { pendingMax: maxPendingRequests }),
    ...(maxParallelRequests !== undefined && { requestsMax: maxParallelRequests }),
    ...(maxParallelRetries !== undefined && { retriesMax: maxParallelRetries }),
    // 0 is what Envoy takes for no bound.
    ...(maxRequestsPerConnection && { connectionRequestsMax: maxRequestsPerConnection }),
    ...(retryBudget && { retriesShare: { percent: (retryBudget.percent.numerator * 100) / (retryBudget.percent.denominator ?? 100), least: retryBudget.minRetryConcurrency ?? 3 } }),
  };
}

function balancerOf({ type, slowStart, consistentHash }: NonNullable<BackendTrafficSpec["loadBalancer"]>, refused: Refusal[]): Pick<Upstream, "balancer" | "slowStart"> {
  const window = slowStart && { slowStart: { windowMs: parseDuration(slowStart.window) } };
  const simple: Record<string, Balancer> = { RoundRobin: { type: "roundRobin" }, LeastRequest: { type: "leastRequest" }, Random: { type: "random" } };
  if (Object.hasOwn(simple, type)) return { balancer: simple[type]!, ...window };
  const by = type === "ConsistentHash" && consistentHash ? hashBy(consistentHash) : undefined;
  if (by) return { balancer: { type: "maglev", by } };
  refused.push({ field: type === "ConsistentHash" ? "loadBalancer.consistentHash" : "loadBalancer.type", why: `${JSON.stringify(consistentHash?.type ?? type)} is not honoured` });
  return {};
}
function hashBy({ type, header, headers, cookie, queryParams }: ConsistentHash): HashBy | undefined {
  if (type === "SourceIP") return "address";
  if (type === "Header" && header) return { header: header.name.toLowerCase() };
  if (type === "Headers" && headers?.length === 1) return { header: headers[0]!.name.toLowerCase() };
  if (type === "Cookie" && cookie) return { cookie: cookie.name, ...(cookie.ttl !== undefined && { maxAgeSeconds: Math.ceil(parseDuration(cookie.ttl) / 1000) }) };
  if (type === "QueryParams" && queryParams?.length === 1) return { query: queryParams[0]!.name };
  return undefined;
}
