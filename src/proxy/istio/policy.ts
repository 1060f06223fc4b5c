import type { Balancer, Breaker, HashBy, Outlier, Upstream } from "../../api/traffic.ts";
import { parseDuration } from "../gateway/duration.ts";
import type { ClientTls, ConnectionPool, LoadBalancer, OutlierDetection, PortPolicy, TrafficPolicy } from "../../api/istio/kinds.ts";
import type { Report } from "./report.ts";

/** A policy with where it stands, for what is told of it. */
export interface PolicyAt {
  policy: TrafficPolicy;
  at: string;
}

/** Each part with where it was said. */
export type Merged = { [Part in keyof PortPolicy]?: { value: NonNullable<PortPolicy[Part]>; at: string } } & { retryBudget?: { value: NonNullable<TrafficPolicy["retryBudget"]>; at: string } };

const parts = ["loadBalancer", "connectionPool", "outlierDetection", "tls"] as const;

/**
 * What holds for one port: each part of a later policy (the subset's) goes before the same part of an earlier one (the whole
 * rule's); what is said for the port stands alone, and nothing is inherited there. Source: istio.io, TrafficPolicy.
 */
export function mergePolicies(policies: readonly PolicyAt[], port: number): Merged {
  let merged: Merged = {};
  for (const { policy, at } of policies) {
    const next: Merged = { ...merged };
    for (const part of parts) if (policy[part]) Object.assign(next, { [part]: { value: policy[part], at: `${at}.${part}` } });
    if (policy.retryBudget) next.retryBudget = { value: policy.retryBudget, at: `${at}.retryBudget` };
    const index = (policy.portLevelSettings ?? []).findIndex((settings) => settings.port?.number === port);
    const own = policy.portLevelSettings?.[index];
    if (own) for (const part of parts) if (own[part]) Object.assign(next, { [part]: { value: own[part], at: `${at}.portLevelSettings[${index}].${part}` } });
        else delete next[part];
    merged = next;
  }
  return merged;
}

type Settings = Pick<Upstream, "balancer" | "breaker" | "connectMs" | "idleMs" | "outlier" | "retryBudget" | "tls" | "error" | "protocol" | "slowStart">;

/** What is read besides the policy. */
export interface PolicyContext {
  protocol: Upstream["protocol"];
  /** The whole name that is called, for TLS. */
  host: string;
  /** The files of a Secret beside the rule. */
  secret(name: string): { certificate: string | undefined; key: string | undefined; authorities: string | undefined } | undefined;
  report: Report;
}

export function settingsOf(merged: Merged, context: PolicyContext): Settings {
  const { report } = context;
  const pool = merged.connectionPool;
  const upgraded = pool?.value.http?.h2UpgradePolicy === "UPGRADE" && context.protocol === "http1" ? "h2c" : context.protocol;
  const secured = merged.tls ? tlsOf(merged.tls.value, context, merged.tls.at) : {};
  const balancer = merged.loadBalancer && balancerOf(merged.loadBalancer.value, report, merged.loadBalancer.at);
  const settings: Settings = {
    protocol: secured.tls && upgraded === "h2c" ? "h2" : upgraded,
    ...(balancer && { balancer }),
    ...(merged.loadBalancer && slowStartOf(merged.loadBalancer.value)),
    ...(pool && poolOf(pool.value, report, pool.at)),
    ...(merged.outlierDetection && { outlier: outlierOf(merged.outlierDetection.value, report, merged.outlierDetection.at) }),
    ...(merged.outlierDetection?.value.minHealthPercent && { panicPercent: merged.outlierDetection.value.minHealthPercent }),
    ...secured,
  };
  if (merged.retryBudget) {
    const { percent = 20, minRetryConcurrency, budgetInterval } = merged.retryBudget.value;
    settings.retryBudget = { percent, minPerSecond: minRetryConcurrency ?? 3, ...(budgetInterval && { intervalMs: parseDuration(budgetInterval) }) };
  }
  return settings;
}

function slowStartOf({ warmup, warmupDurationSecs }: LoadBalancer): Pick<Upstream, "slowStart"> {
  const duration = warmup?.duration ?? warmupDurationSecs;
  if (duration === undefined) return {};
  return { slowStart: { windowMs: parseDuration(duration), ...(warmup?.minimumPercent !== undefined && { minPercent: warmup.minimumPercent }), ...(warmup?.aggression !== undefined && { aggression: warmup.aggression }) } };
}

function balancerOf(balancer: LoadBalancer, report: Report, at: string): Balancer | undefined {
  const { simple, consistentHash } = balancer;
  if (balancer.localityLbSetting) report.field(`${at}.localityLbSetting`, "one machine is one locality");
  if (balancer.zoneAwareLbSetting) report.field(`${at}.zoneAwareLbSetting`, "one machine is one zone");
  if (consistentHash) return hashOf(consistentHash, report, `${at}.consistentHash`);
  switch (simple) {
    case "LEAST_REQUEST":
    case "LEAST_CONN":
      return { type: "leastRequest" };
    case "RANDOM":
      return { type: "random" };
    case "PASSTHROUGH":
      report.field(`${at}.simple`, "PASSTHROUGH is served as ROUND_ROBIN: the address that was dialled is the Service's");
      return { type: "roundRobin" };
    default:
      return { type: "roundRobin" };
  }
}

function hashOf(hash: NonNullable<LoadBalancer["consistentHash"]>, report: Report, at: string): Balancer {
  const { httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName, ringHash, maglev, minimumRingSize } = hash;
  if (ringHash?.minimumRingSize ?? minimumRingSize) report.field(`${at}.${ringHash ? "ringHash." : ""}minimumRingSize`, "the ring has a size of its own");
  if (maglev?.tableSize) report.field(`${at}.maglev.tableSize`, "the table has a size of its own");
  if (httpCookie?.attributes?.length) report.field(`${at}.httpCookie.attributes`, "the cookie has none but its own");
  if (httpCookie?.path && httpCookie.path !== "/") report.field(`${at}.httpCookie.path`, "the cookie holds for /");
  const ttl = httpCookie?.ttl === undefined ? undefined : Math.ceil(parseDuration(httpCookie.ttl) / 1000);
  const by: HashBy = httpHeaderName
    ? { header: httpHeaderName.toLowerCase() }
    : httpCookie
      ? { cookie: httpCookie.name, ...(ttl !== undefined && { maxAgeSeconds: ttl }) }
      : httpQueryParameterName
        ? { query: httpQueryParameterName }
        : "address";
  if (by === "address" && useSourceIp !== true) report.field(at, "says by what; the client's address is taken");
  return { type: maglev ? "maglev" : "ringHash", by };
}

function poolOf({ tcp, http }: ConnectionPool, report: Report, at: string): Pick<Upstream, "breaker" | "connectMs" | "idleMs" | "connectionAgeMs"> {
  const untold = (field: string, given: unknown, why: string) => given === undefined || report.field(`${at}.${field}`, why);
  untold("tcp.tcpKeepalive", tcp?.tcpKeepalive, "endpoints are on this machine, where a connection does not die unseen");
  untold("tcp.idleTimeout", tcp?.idleTimeout, "http.idleTimeout is what holds for HTTP; connections that are not HTTP are not ended");
  untold("http.maxConcurrentStreams", http?.maxConcurrentStreams, "the endpoint's own limit holds");
  untold("http.http2KeepAlive", http?.http2KeepAlive, "endpoints are on this machine, where a connection does not die unseen");
  if (http?.useClientProtocol) report.field(`${at}.http.useClientProtocol`, "the Service's port says what its endpoints speak");
  if (http?.h2UpgradePolicy === "DO_NOT_UPGRADE") report.field(`${at}.http.h2UpgradePolicy`, "DO_NOT_UPGRADE is what is done anyway");
  const breaker: Breaker = {
    ...(tcp?.maxConnections && { connectionsMax: tcp.maxConnections }),
    ...(http?.http1MaxPendingRequests && { pendingMax: http.http1MaxPendingRequests }),
    ...(http?.http2MaxRequests && { requestsMax: http.http2MaxRequests }),
    ...(http?.maxRetries && { retriesMax: http.maxRetries }),
    ...(http?.maxRequestsPerConnection && { connectionRequestsMax: http.maxRequestsPerConnection }),
  };
  return {
    ...(Object.keys(breaker).length > 0 && { breaker }),
    ...(tcp?.connectTimeout && { connectMs: parseDuration(tcp.connectTimeout) }),
    ...(http?.idleTimeout && { idleMs: parseDuration(http.idleTimeout) }),
    ...(tcp?.maxConnectionDuration && { connectionAgeMs: parseDuration(tcp.maxConnectionDuration) }),
  };
}

/** Defaults are Istio's. */
function outlierOf(detection: OutlierDetection, report: Report, at: string): Outlier {
  const { splitExternalLocalOriginErrors, consecutiveLocalOriginFailures = 5, consecutiveGatewayErrors, consecutive5xxErrors = 5, consecutiveErrors, interval, baseEjectionTime, maxEjectionPercent = 10 } = detection;
  if (detection.outlierDetectionHttpErrorCodes?.length) report.field(`${at}.outlierDetectionHttpErrorCodes`, "failures are the 5xx");
  return {
    consecutive5xx: consecutive5xxErrors,
    ...((consecutiveGatewayErrors ?? consecutiveErrors) !== undefined && { consecutiveGatewayErrors: consecutiveGatewayErrors ?? consecutiveErrors! }),
    ...(splitExternalLocalOriginErrors && { consecutiveLocalFailures: consecutiveLocalOriginFailures }),
    intervalMs: interval ? parseDuration(interval) : 10_000,
    baseEjectionMs: baseEjectionTime ? parseDuration(baseEjectionTime) : 30_000,
    maxEjectionPercent,
  };
}

/** Whoever asks for TLS never gets less: what cannot be had is answered with 503. */
function tlsOf(tls: ClientTls, { host, secret, report }: PolicyContext, at: string): Pick<Upstream, "tls" | "error"> {
  const { mode = "DISABLE", credentialName, sni, subjectAltNames, insecureSkipVerify } = tls;
  if (mode === "DISABLE") return {};
  if (mode === "ISTIO_MUTUAL") {
    report.field(`${at}.mode`, "ISTIO_MUTUAL: there is no proxy beside the endpoints; the Service's listener and they are on one machine, and what it sends them is not encrypted");
    return {};
  }
  const refuse = (field: string, why: string): Pick<Upstream, "error"> => {
    report.field(`${at}.${field}`, `${why}; requests are answered with 503`);
    return { error: { status: 503, reason: `${at}.${field}: ${why}` } };
  };
  for (const field of ["clientCertificate", "privateKey", "caCertificates", "caCrl"] as const) if (tls[field]) return refuse(field, "there is no proxy beside the pod that could read its files; use credentialName");
  const files = credentialName ? secret(credentialName) : undefined;
  if (credentialName && !files) return refuse("credentialName", `Secret ${credentialName} does not exist`);
  if (mode === "MUTUAL" && (!files?.certificate || !files.key)) return refuse("credentialName", "MUTUAL needs a Secret with tls.crt and tls.key");
  return {
    tls: {
      serverName: sni ?? host,
      ...(files?.authorities && { authorities: files.authorities }),
      ...(subjectAltNames?.length && { altNames: subjectAltNames }),
      ...(mode === "MUTUAL" && { certificate: { certificate: files!.certificate!, key: files!.key! } }),
      ...(insecureSkipVerify && { verify: false as const }),
    },
  };
}
