import { STATUS_CODES } from "node:http";
import type { Destination, Headers, HttpRoute, VirtualService } from "../../../api/istio/kinds.ts";
import { domainProblems, exportToProblems, isLabel, percentProblems, portProblems, quoted, regexProblems, stringMatchProblems, subsetNameProblems } from "./common.ts";

export function virtualServiceProblems(spec: VirtualService["spec"]): string[] {
  return [...problems(spec)];
}

function* problems({ hosts = [], gateways = [], http = [], tls = [], tcp = [], exportTo }: VirtualService["spec"]): Generator<string> {
  const isDelegate = hosts.length === 0;
  if (isDelegate) {
    if (gateways.length > 0) yield "delegate virtual service must have no gateways specified";
    if (tls.length > 0) yield "delegate virtual service must have no tls route specified";
    if (tcp.length > 0) yield "delegate virtual service must have no tcp route specified";
  }
  const isForMesh = gateways.length === 0 || gateways.includes("mesh");
  let areValid = true;
  for (const host of hosts) {
    const wrong = [...domainProblems(host)];
    if (wrong.length === 0 && isForMesh && host === "*") wrong.push("wildcard host * is not allowed for virtual services bound to the mesh gateway");
    if (wrong.length > 0) areValid = false;
    yield* wrong;
  }
  if (areValid) for (const [i, host] of hosts.entries()) for (const other of hosts.slice(i + 1)) if (overlap(host, other)) yield `duplicate hosts in virtual service: ${host} & ${other}`;
  if (http.length + tls.length + tcp.length === 0) yield "http, tcp or tls must be provided in virtual service";
  for (const route of http) yield* routeProblems(route, isDelegate);
  for (const { match = [], route = [] } of tls as StreamRoute[]) {
    if (match.length === 0) yield "TLS route must have at least one match condition";
    if (route.length === 0) yield "TLS route is required";
    yield* weightProblems(route);
  }
  for (const { route = [] } of tcp as StreamRoute[]) {
    if (route.length === 0) yield "TCP route is required";
    yield* weightProblems(route);
  }
  yield* exportToProblems(exportTo);
}

interface StreamRoute {
  match?: object[];
  route?: Weighted[];
}
interface Weighted {
  destination?: Destination;
  weight?: number;
}

/** One is the other, or a pattern that covers it. */
function overlap(a: string, b: string): boolean {
  const covers = (pattern: string, host: string): boolean => pattern.startsWith("*") && (pattern === "*" || host.endsWith(pattern.slice(1)));
  return a === b || covers(a, b) || covers(b, a);
}

function* routeProblems(route: HttpRoute, isDelegate: boolean): Generator<string> {
  const { redirect, directResponse, fault, rewrite, mirror, mirrors = [], delegate, match = [], route: targets = [], retries, corsPolicy, headers } = route;
  if (delegate && !isDelegate) {
    if (redirect) yield `root HTTP route ${route.name ?? ""} must not specify redirect`;
    if (route.route) yield `root HTTP route ${route.name ?? ""} must not specify route`;
    if (directResponse) yield `root HTTP route ${route.name ?? ""} must not specify direct_response`;
  } else {
    if (delegate) yield "delegate HTTP route cannot contain delegate";
    if (redirect) {
      if (targets.length > 0) yield "HTTP route cannot contain both route and redirect";
      if (fault) yield "HTTP route cannot contain both fault and redirect";
      if (rewrite) yield "HTTP route rule cannot contain both rewrite and redirect";
      if (directResponse) yield "HTTP route rule cannot contain both direct_response and redirect";
    } else if (directResponse) {
      if (targets.length > 0) yield "HTTP route cannot contain both route and direct_response";
      if (fault) yield "HTTP route cannot contain both fault and direct_response";
      if (rewrite) yield "HTTP route rule cannot contain both rewrite and direct_response";
    } else if (targets.length === 0) yield "HTTP route, redirect or direct_response is required";
    if (mirror && mirrors.length > 0) yield "HTTP route cannot contain both mirror and mirrors";
  }
  for (const { uri, scheme, method, authority, headers: wanted = {}, withoutHeaders = {}, queryParams = {}, port, sourceNamespace } of match) {
    for (const [name, value] of Object.entries(wanted)) {
      yield* headerNameProblems(name);
      yield* stringMatchProblems(value, "headers");
    }
    for (const [name, value] of Object.entries(withoutHeaders)) {
      yield* headerNameProblems(name);
      yield* stringMatchProblems(value, "withoutHeaders");
    }
    yield* stringMatchProblems(uri, "uri");
    yield* stringMatchProblems(scheme, "scheme");
    yield* stringMatchProblems(method, "method");
    yield* stringMatchProblems(authority, "authority");
    for (const value of Object.values(queryParams)) yield* stringMatchProblems(value, "queryParams");
    if (port) yield* portProblems(port);
    if (sourceNamespace && !isLabel(sourceNamespace)) yield `sourceNamespace match ${sourceNamespace} is invalid`;
  }
  yield* operationProblems(headers);
  for (const { exact, prefix, regex } of corsPolicy?.allowOrigins ?? []) {
    if ((exact ?? prefix ?? regex ?? "") === "") yield "'' is not a valid match type for CORS allow origins";
    else yield* stringMatchProblems(regex === undefined ? undefined : { regex }, "corsPolicy.allowOrigins");
  }
  for (const method of corsPolicy?.allowMethods ?? []) if (!corsMethods.includes(method)) yield `${quoted(method)} is not a supported HTTP method`;
  yield* faultProblems(fault);
  if ((route.mirrorPercent ?? route.mirror_percent ?? 0) > 100) yield `mirror_percent must have a max value of 100 (it has ${route.mirrorPercent ?? route.mirror_percent})`;
  const share = route.mirrorPercentage?.value ?? 0;
  if (share > 100) yield `mirror_percentage must have a max value of 100 (it has ${share.toFixed(6)})`;
  if (share < 0) yield `mirror_percentage must have a min value of 0 (it has ${share.toFixed(6)})`;
  yield* destinationProblems(mirror);
  for (const { destination, percentage } of mirrors) {
    yield* destinationProblems(destination);
    const value = percentage?.value ?? 0;
    if (value > 100) yield `mirror percentage must have a max value of 100 (it has ${value.toFixed(6)})`;
    if (value < 0) yield `mirror percentage must have a min value of 0 (it has ${value.toFixed(6)})`;
  }
  yield* redirectProblems(redirect);
  if (directResponse) yield* statusProblems(directResponse.status);
  yield* retryProblems(retries);
  yield* rewriteProblems(rewrite);
  yield* authorityProblems(route);
  for (const { headers: own } of targets) yield* operationProblems(own);
  yield* weightProblems(targets);
}

const corsMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

function* weightProblems(targets: readonly Weighted[]): Generator<string> {
  let total = 0;
  for (const { destination, weight = 0 } of targets) {
    if (!destination) yield "destination is required";
    yield* destinationProblems(destination);
    if (weight < 0) yield `weight ${weight} < 0`;
    total += weight;
  }
  if (targets.length > 1 && total === 0) yield "total destination weight = 0";
}

function* destinationProblems(destination: Destination | undefined): Generator<string> {
  if (!destination) return;
  const { host, subset, port } = destination;
  if (host === "*") yield `invalid destination host ${host}`;
  else yield* domainProblems(host);
  if (subset) yield* subsetNameProblems(subset);
  if (port) yield* portProblems(port.number ?? 0);
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
function* headerNameProblems(name: string): Generator<string> {
  if (name === "") yield "header name cannot be empty";
}
/** `authority`: of requests that name may be changed. */
function* operationNameProblems(name: string, authority: boolean): Generator<string> {
  if (name === "") yield "header name cannot be empty";
  else if (authority && /^(:authority|host)$/i.test(name)) return;
  else if (name.startsWith(":") || name.toLowerCase() === "host") yield `invalid header ${quoted(name)}: header cannot have operations on it`;
  else if (!token.test(name)) yield `header name ${quoted(name)} is not a valid header name`;
}
function* operationProblems(headers: Headers | undefined): Generator<string> {
  for (const [of, authority] of [[headers?.request, true], [headers?.response, false]] as const) {
    for (const name of [...Object.keys(of?.add ?? {}), ...Object.keys(of?.set ?? {})]) yield* operationNameProblems(name, authority);
    for (const name of of?.remove ?? []) yield* operationNameProblems(name, false);
  }
}

function* authorityProblems({ rewrite, headers }: HttpRoute): Generator<string> {
  let current = rewrite?.authority ?? "";
  for (const [name, value] of [...Object.entries(headers?.request?.set ?? {}), ...Object.entries(headers?.request?.add ?? {})]) {
    if (!/^(:authority|host)$/i.test(name)) continue;
    if (current !== "") return yield `authority header cannot be set multiple times: have ${quoted(current)}, attempting to set ${quoted(value)}`;
    current = value;
  }
}

function* faultProblems(fault: HttpRoute["fault"]): Generator<string> {
  if (!fault) return;
  const { abort, delay } = fault;
  if (!abort && !delay) yield "HTTP fault injection must have an abort and/or a delay";
  yield* percentProblems(abort?.percentage);
  if (abort?.grpcStatus !== undefined && !grpcStatuses.includes(abort.grpcStatus)) yield `gRPC status ${quoted(abort.grpcStatus)} is not supported. See https://github.com/grpc/grpc/blob/master/doc/statuscodes.md for a list of supported codes, for example 'NOT_FOUND'`;
  if (abort?.http2Error !== undefined) yield "HTTP/2 abort fault injection not supported yet";
  if (abort?.httpStatus !== undefined) yield* statusProblems(abort.httpStatus);
  yield* percentProblems(delay?.percentage);
  if (delay?.exponentialDelay !== undefined) yield "exponentialDelay not supported yet";
}
const grpcStatuses = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"];

function* statusProblems(status: number): Generator<string> {
  if (status < 200 || status > 600) yield `HTTP status ${status} is not in range 200-599`;
}

function* redirectProblems(redirect: HttpRoute["redirect"]): Generator<string> {
  if (!redirect) return;
  const { uri, prefixRewrite, authority, port, derivePort, scheme, redirectCode } = redirect;
  if (!uri && !prefixRewrite && !authority && port === undefined && !derivePort && !scheme) return yield "redirect must specify URI, authority, scheme, or port";
  if (redirectCode && (redirectCode < 300 || redirectCode > 399)) return yield `${redirectCode} is not a valid redirect code, must be 3xx`;
  if (scheme && scheme !== "http" && scheme !== "https") return yield 'invalid redirect scheme, must be "http" or "https"';
  if (port) yield* portProblems(port);
}

/** Envoy's words, of HTTP and of gRPC. */
const retryPolicies = ["5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream", "retriable-status-codes", "retriable-headers", "envoy-ratelimited", "http3-post-connect-failure", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

function* retryProblems(retries: HttpRoute["retries"]): Generator<string> {
  if (!retries) return;
  const { attempts = 0, perTryTimeout, retryOn, retryRemoteLocalities } = retries;
  if (attempts < 0) yield "attempts cannot be negative";
  if (attempts === 0 && (perTryTimeout !== undefined || retryOn || retryRemoteLocalities !== undefined)) yield "http retry policy configured when attempts are set to 0 (disabled)";
  for (const policy of retryOn ? retryOn.split(",") : []) if (!(policy in STATUS_CODES) && !retryPolicies.includes(policy)) yield `${quoted(policy)} is not a valid retryOn policy`;
}

function* rewriteProblems(rewrite: HttpRoute["rewrite"]): Generator<string> {
  if (!rewrite) return;
  const { uri, authority, uriRegexRewrite } = rewrite;
  if (uri && uriRegexRewrite) return yield "rewrite may only contain one of URI or UriRegexRewrite";
  if (!uri && !uriRegexRewrite && !authority) return yield "rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or UriRegexRewrite may be specified";
  if (!uriRegexRewrite) return;
  if (!uriRegexRewrite.match || !uriRegexRewrite.rewrite) return yield "UriRegexRewrite has errors\nUriRegexRewrite requires both Rewrite and Match fields to be specified";
  for (const problem of regexProblems(uriRegexRewrite.match, "HTTPRewrite.UriRegexRewrite.Match")) yield `UriRegexRewrite has errors\n${problem}`;
}
