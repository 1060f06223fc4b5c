import { isIP } from "node:net";
import type { AdmissionFilter, HealthCheck, HttpAsk, TcpAsk } from "../../api/traffic-health.ts";
import type { Outlier, Upstream } from "../../api/traffic.ts";
import { parseDuration } from "../gateway/duration.ts";
import type { Refusal } from "./effect.ts";

export interface HealthSpec {
  active?: Active;
  passive?: Passive;
  panicThreshold?: number;
}
interface Active {
  type: string;
  interval?: string;
  timeout?: string;
  initialJitter?: string;
  unhealthyThreshold?: number;
  healthyThreshold?: number;
  http?: { path: string; method?: string; hostname?: string; expectedStatuses?: number[]; retriableStatuses?: number[]; expectedResponse?: Payload; requestBody?: Payload };
  tcp?: { send?: Payload; receive?: Payload };
  grpc?: { service?: string };
  overrides?: { port?: number };
}
interface Payload {
  type: string;
  text?: string;
  binary?: string;
}
interface Passive {
  consecutive5XxErrors?: number;
  consecutiveGatewayErrors?: number;
  consecutiveLocalOriginFailures?: number;
  splitExternalLocalOriginErrors?: boolean;
  interval?: string;
  baseEjectionTime?: string;
  maxEjectionPercent?: number;
  alwaysEjectOneEndpoint?: boolean;
  failurePercentageThreshold?: number;
}

/** Envoy's, whether the policy says it or not. */
const panicPercent = 50;
/** Fifty requests in the interval, of at least five endpoints: Envoy's, for which the kind has no fields. */
const failureShare = { minRequests: 50, minEndpoints: 5 };
const intervalMsMin = 100;
const timeoutMsMax = 60_000;

export function healthOf({ active, passive, panicThreshold }: HealthSpec, refused: Refusal[]): Pick<Upstream, "check" | "outlier" | "panicPercent"> {
  return { panicPercent: panicThreshold ?? panicPercent, ...(passive && { outlier: outlierOf(passive) }), ...(active && { check: checkOf(active, refused) }) };
}

/** Defaults are the kind's own. */
function outlierOf(passive: Passive): Outlier {
  const { consecutive5XxErrors = 5, consecutiveGatewayErrors = 0, consecutiveLocalOriginFailures = 5, splitExternalLocalOriginErrors = false, interval = "3s", baseEjectionTime = "30s", maxEjectionPercent = 10, alwaysEjectOneEndpoint, failurePercentageThreshold } = passive;
  return {
    consecutive5xx: consecutive5XxErrors,
    consecutiveGatewayErrors,
    ...(splitExternalLocalOriginErrors && { consecutiveLocalFailures: consecutiveLocalOriginFailures }),
    intervalMs: parseDuration(interval),
    baseEjectionMs: parseDuration(baseEjectionTime),
    maxEjectionPercent,
    ...(alwaysEjectOneEndpoint && { ejectsOne: true }),
    ...(failurePercentageThreshold !== undefined && { failurePercent: { threshold: failurePercentageThreshold, ...failureShare } }),
  };
}

function checkOf(active: Active, refused: Refusal[]): HealthCheck {
  const at = "healthCheck.active";
  const { interval = "3s", timeout = "1s", initialJitter, unhealthyThreshold = 3, healthyThreshold = 1, overrides } = active;
  const [intervalMs, timeoutMs] = [parseDuration(interval), parseDuration(timeout)];
  if (intervalMs < intervalMsMin) refused.push({ field: `${at}.interval`, why: "must be at least 100ms" });
  if (timeoutMs <= 0 || timeoutMs > timeoutMsMax) refused.push({ field: `${at}.timeout`, why: "must be more than 0s, and no more than 1m" });
  return {
    ask: askOf(active, at, refused),
    intervalMs,
    timeoutMs,
    ...(initialJitter !== undefined && { initialJitterMs: parseDuration(initialJitter) }),
    unhealthyThreshold,
    healthyThreshold,
    ...(overrides?.port !== undefined && { port: overrides.port }),
  };
}

function askOf({ type, http, tcp, grpc }: Active, at: string, refused: Refusal[]): HealthCheck["ask"] {
  if (type === "GRPC") return { type: "grpc", service: grpc?.service ?? "" };
  if (type === "TCP") return tcpOf(tcp ?? {}, at, refused);
  if (type !== "HTTP" || !http) refused.push({ field: `${at}.type`, why: `${JSON.stringify(type)} is not honoured; supported values: GRPC, HTTP, TCP` });
  return httpOf(http ?? { path: "/" }, at, refused);
}

function httpOf({ path, method = "GET", hostname, expectedStatuses = [], retriableStatuses, expectedResponse, requestBody }: NonNullable<Active["http"]>, at: string, refused: Refusal[]): HttpAsk {
  if (!/^\/[\x21-\x7e]*$/.test(path)) refused.push({ field: `${at}.http.path`, why: `${JSON.stringify(path)} is no path` });
  const name = method.toUpperCase();
  if (!/^[A-Z]+$/.test(name) || name === "CONNECT") refused.push({ field: `${at}.http.method`, why: `${JSON.stringify(method)} is not honoured` });
  if (hostname !== undefined && !isAuthority(hostname)) refused.push({ field: `${at}.http.hostname`, why: `${JSON.stringify(hostname)} is no host name` });
  const body = bytesOf(requestBody, `${at}.http.requestBody`, refused);
  const expect = bytesOf(expectedResponse, `${at}.http.expectedResponse`, refused);
  return {
    type: "http",
    method: name,
    path,
    ...(hostname !== undefined && { host: hostname }),
    statuses: expectedStatuses.length > 0 ? expectedStatuses : [200],
    ...(retriableStatuses && retriableStatuses.length > 0 && { retriable: retriableStatuses }),
    ...(body !== undefined && { body }),
    ...(expect !== undefined && { expect }),
  };
}
const isAuthority = (text: string): boolean => /^[A-Za-z0-9._-]+(:\d{1,5})?$/.test(text) || isIP(text.replace(/^\[(.*)\](:\d{1,5})?$/, "$1")) === 6;

function tcpOf({ send, receive }: NonNullable<Active["tcp"]>, at: string, refused: Refusal[]): TcpAsk {
  const [sent, expect] = [bytesOf(send, `${at}.tcp.send`, refused), bytesOf(receive, `${at}.tcp.receive`, refused)];
  return { type: "tcp", ...(sent !== undefined && { send: sent }), ...(expect !== undefined && { expect }) };
}

/** In base64; undefined for nothing. */
function bytesOf(payload: Payload | undefined, field: string, refused: Refusal[]): string | undefined {
  if (!payload) return undefined;
  const { type, text, binary } = payload;
  if (type === "Text" && text !== undefined) return text === "" ? undefined : Buffer.from(text, "utf8").toString("base64");
  if (type === "Binary" && binary !== undefined) {
    const bytes = Buffer.from(binary, "base64");
    if (bytes.toString("base64").replace(/=+$/, "") === binary.replace(/=+$/, "")) return bytes.length === 0 ? undefined : bytes.toString("base64");
  }
  refused.push({ field, why: "is neither text nor base64" });
  return undefined;
}

export interface AdmissionSpec {
  samplingWindow?: string;
  minSuccessRate?: number;
  rejectionAggression?: number;
  minRequestRate?: number;
  maxRejectionPercent?: number;
  successCriteria?: { http?: { statusCodes?: number[] }; grpc?: { statusCodes?: string[] } };
}
/** In the order of their numbers. */
const grpcStatuses = ["Ok", "Cancelled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"];

/** Defaults are the kind's own. Of the window whole seconds count. */
export function admissionOf({ samplingWindow = "30s", minSuccessRate = 95, rejectionAggression = 1, minRequestRate = 0, maxRejectionPercent = 80, successCriteria = {} }: AdmissionSpec, refused: Refusal[]): AdmissionFilter {
  const { http, grpc } = successCriteria;
  for (const [i, name] of (grpc?.statusCodes ?? []).entries()) if (!grpcStatuses.includes(name)) refused.push({ field: `admissionControl.successCriteria.grpc.statusCodes[${i}]`, why: `${JSON.stringify(name)} is no status of gRPC` });
  return {
    type: "admission",
    windowMs: Math.max(1, Math.floor(parseDuration(samplingWindow) / 1_000)) * 1_000,
    successPercent: minSuccessRate,
    aggression: rejectionAggression,
    minPerSecond: minRequestRate,
    rejectionPercentMax: maxRejectionPercent,
    ...(http?.statusCodes?.length && { statuses: http.statusCodes }),
    ...(grpc?.statusCodes?.length && { grpcStatuses: grpc.statusCodes.map((name) => grpcStatuses.indexOf(name)) }),
  };
}

/** An HTTP check that names no host asks for the route's, where that is one name. */
export function withHost(upstream: Partial<Upstream>, host: string | undefined): Partial<Upstream> {
  const { check } = upstream;
  if (check?.ask.type !== "http" || check.ask.host !== undefined || host === undefined) return upstream;
  return { ...upstream, check: { ...check, ask: { ...check.ask, host } } };
}
