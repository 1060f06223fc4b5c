import type { Backend, EdgeListener, HttpMatch, HttpRoute, HttpRule, StreamRoute, TrafficSnapshot, Upstream } from "../../api/traffic.ts";
import type { HealthReport } from "../../api/traffic-health.ts";
import { systemRandom } from "../../base/random.ts";
import type { RequestView } from "../../policy/exchange.ts";
import { HostIndex } from "../../policy/host-index.ts";
import { RouteTable } from "../../policy/route-table.ts";
import { hostOf, normalPath } from "../http/target.ts";
import { describeFilter } from "./filters.ts";
import type { PoliciesAt } from "./policies.ts";
import { type Verdict, verdictOf } from "./verdict.ts";

/** What somebody would send. */
export interface AskedRequest {
  /** http, https; an address of 127.0.0.0/8 as its host means the listeners there, and the Host header names the host. */
  url: string;
  method: string;
  headers: readonly [name: string, value: string][];
  /** Namespace of the pod that sends it, where its host is a Service's; "default" unless said. */
  from?: string;
}

export interface Explained {
  /** An endpoint would answer, or the rule itself. */
  served: boolean;
  text: string;
}

/** Endpoints that are ready, as "IP:PORT", of one Service port. */
export type EndpointsOf = (namespace: string, service: string, port: number) => string[];

/** A malformed question: the message says what is wrong. */
export class AskedError extends Error {}

/**
 * Which listener, route, rule, filters, backend and endpoints would serve a request, and why each other candidate would not, in
 * words. It asks the code that serves requests, with what it is told: no worker is asked.
 */
export function explain({ listeners, routes, upstreams }: Omit<TrafficSnapshot, "upstreams"> & { upstreams: Upstreams }, asked: AskedRequest, endpointsOf: EndpointsOf, policiesAt?: PoliciesAt): Explained {
  const { request, address } = readRequest(asked);
  const lines = [`${request.method} ${request.scheme}://${request.host}${isUsualPort(request) ? "" : `:${request.port}`}${request.path}${request.query === "" ? "" : `?${request.query}`}`];
  const others: string[] = [];
  const candidates = new Map<string, EdgeListener[]>();
  for (const listener of listeners) {
    const why = whyNotThere(listener, request, address);
    if (why !== undefined) others.push(`  ${listener.id}: ${why}`);
    else candidates.set(listener.address, [...(candidates.get(listener.address) ?? []), listener]);
  }
  let served = false;
  if (candidates.size === 0) lines.push("", `nobody listens: no ${request.scheme === "https" ? "HTTPS or TLS" : "HTTP"} listener has port ${request.port}${address === undefined ? "" : ` at ${address}`}`);
  for (const [at, sharing] of candidates) {
    const byHost = new HostIndex<EdgeListener>();
    for (const listener of sharing) byHost.set(listener.hostname ?? "", listener);
    const listener = byHost.find(request.host);
    lines.push("");
    for (const other of sharing) {
      if (other !== listener) others.push(`  ${other.id}: ${listener && fits(other.hostname, request.host) ? `its host name ${other.hostname ?? "(any)"} is less specific than ${listener.hostname}` : `host is ${request.host}, not ${other.hostname}`}`);
    }
    if (!listener) {
      lines.push(`at ${at}:${request.port} no listener has this host name: ${request.scheme === "https" ? "the handshake fails" : "404, flag NR"}`);
      continue;
    }
    lines.push(row("listener", `${listener.id} at ${at}:${listener.port} (${listener.protocol}, ${listener.hostname ?? "any host name"})`));
    if (listener.refusal !== undefined) {
      lines.push(row("answer", listener.protocol === "TLS" ? `connections are reset: ${listener.refusal}` : `500, flag NC: ${listener.refusal}`));
      continue;
    }
    const told = listener.protocol === "TLS" ? explainStream(listener, routes, request, upstreams, endpointsOf) : explainHttp(listener, routes, request, upstreams, endpointsOf, policiesAt);
    lines.push(...told.lines);
    served ||= told.served;
  }
  if (others.length > 0) lines.push("", "other listeners:", ...others);
  return { served, text: `${lines.join("\n")}\n` };
}

export const row = (name: string, value: string): string => `${name.padEnd(10)}${value}`;
const isUsualPort = ({ scheme, port }: RequestView): boolean => port === (scheme === "https" ? 443 : 80);
const fits = (hostname: string | undefined, host: string): boolean => hostname === undefined || hostname === host || (hostname.startsWith("*.") && host.endsWith(hostname.slice(1)));

export function readRequest({ url, method, headers }: AskedRequest): { request: RequestView; address: string | undefined } {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new AskedError(`${url} is not a URL; for example http://shop.example.com:8080/users`);
  }
  const scheme = parsed.protocol.slice(0, -1);
  if (scheme !== "http" && scheme !== "https") throw new AskedError(`${url}: http and https can be explained`);
  if (!/^[A-Z][A-Z0-9-]*$/.test(method)) throw new AskedError(`${method} is not a method that is let in: methods are capitals`);
  const values = new Map<string, string>();
  for (const [name, value] of headers) values.set(name.toLowerCase(), values.has(name.toLowerCase()) ? `${values.get(name.toLowerCase())}, ${value}` : value);
  const authority = values.get("host") ?? parsed.host;
  const host = hostOf(authority);
  if (host === undefined) throw new AskedError(`${authority} is not a host`);
  values.set("host", authority);
  // Not URL's own path, which is already another one: what curl --path-as-is would send.
  const target = /^[a-z]+:\/\/[^/?#]*([^?#]*)/i.exec(url)![1]!;
  const path = normalPath(target === "" ? "/" : target);
  if (path === undefined) throw new AskedError(`the path ${target} is refused with 400: nobody behind the gateway could be sure to read it as the gateway does`);
  const port = parsed.port === "" ? (scheme === "https" ? 443 : 80) : Number(parsed.port);
  const address = parsed.hostname.startsWith("127.") ? parsed.hostname : undefined;
  return { request: { method, scheme, host, port, path, query: parsed.search.slice(1), client: "127.0.0.1", header: (name) => values.get(name) }, address };
}

function whyNotThere(listener: EdgeListener, { scheme, port }: RequestView, address: string | undefined): string | undefined {
  const spoken = scheme === "https" ? ["HTTPS", "TLS"] : ["HTTP"];
  if (!spoken.includes(listener.protocol)) return `it speaks ${listener.protocol}`;
  if (listener.port !== port) return `its port is ${listener.port}, not ${port}`;
  if (address !== undefined && listener.address !== address) return `its address is ${listener.address}, not ${address}`;
  return undefined;
}

type Told = { lines: string[]; served: boolean };
/** `health`: what checks have found, where there are any. */
export type Upstreams = (Upstream & { health?: HealthReport[] })[];

export function explainHttp(listener: Pick<EdgeListener, "id">, routes: TrafficSnapshot["routes"], request: RequestView, upstreams: Upstreams, endpointsOf: EndpointsOf, policiesAt?: PoliciesAt): Told {
  const table = new RouteTable({ random: systemRandom, nowMs: () => 0, setTimer: () => ({ cancel() {} }) });
  const attached = routes.filter((route): route is HttpRoute => route.type === "http" && route.attachments.some((attachment) => attachment.listener === listener.id));
  for (const route of attached) table.put(route);
  const lines: string[] = [];
  const others: { route: string; host: string; what: string; reason: string }[] = [];
  let policies: ReturnType<PoliciesAt> | undefined;
  let served = false;
  for (const { route, rule: name, match, hostname, chosen, reason } of table.explain(listener.id, request)) {
    if (!chosen) {
      others.push({ route, host: hostname, what: `${name} (${describeMatch(match)}${hostname === "" ? "" : `, host ${hostname}`})`, reason });
      continue;
    }
    // By what was found, not by name: two rules may have the same.
    const found = table.find(listener.id, request);
    const rule = found.rule!.rule;
    policies = policiesAt?.(listener.id, route, name);
    const inForce = (policies?.inForce ?? []).map((text, i) => row(i === 0 ? "policies" : "", text));
    lines.push(row("route", route), row("rule", `${name}: ${describeMatch(match)}${hostname === "" ? "" : `, host ${hostname}`}`), ...inForce, ...describeRule(rule, upstreams, endpointsOf, verdictOf(rule.filters, request, "match" in found ? { match: found.match, captures: found.captures } : { match: undefined, captures: undefined })));
    served = hasEndpoint(rule.backends, upstreams, endpointsOf) || rule.filters.some(({ type }) => type === "redirect" || type === "respond");
  }
  if (lines.length === 0) lines.push(row("route", attached.length === 0 ? "none is attached to this listener: 404, flag NR" : "none fits: 404, flag NR"));
  if (others.length > 0) lines.push("", "other rules, in the order in which they are asked:", ...othersTold(others));
  if (policies && policies.others.length > 0) lines.push("", "other policies:", ...policies.others);
  return { lines, served };
}

/**
 * Of a route with many rules that have another host it is said once, and of those that have another path too: an API has a rule for
 * each operation, and who asks wants to know of those that nearly fit.
 */
function othersTold(others: readonly { route: string; host: string; what: string; reason: string }[]): string[] {
  const groups = new Map<string, number>();
  const whyOf = ({ reason }: (typeof others)[number]): string | undefined => (reason.startsWith("host is ") ? reason : reason.startsWith("path ") ? "path" : undefined);
  const keyOf = (one: (typeof others)[number]): string => JSON.stringify([one.route, one.host, whyOf(one)]);
  for (const one of others) if (whyOf(one) !== undefined) groups.set(keyOf(one), (groups.get(keyOf(one)) ?? 0) + 1);
  const told = new Set<string>();
  return others.flatMap((one) => {
    const key = keyOf(one);
    const count = groups.get(key) ?? 1;
    const isPath = whyOf(one) === "path";
    if (count < (isPath ? pathsTold : 3)) return [`  ${one.route} ${one.what}: ${one.reason}`];
    if (told.has(key)) return [];
    told.add(key);
    return [`  ${one.route} ${count} rules${one.host === "" ? "" : ` (host ${one.host})`}: ${isPath ? "their paths are others" : one.reason}`];
  });
}
/** So many rules of a route, and they are not told one by one. */
const pathsTold = 5;

/** By server name alone; of several with one name the oldest. */
function explainStream(listener: EdgeListener, routes: TrafficSnapshot["routes"], request: RequestView, upstreams: Upstreams, endpointsOf: EndpointsOf): Told {
  const byHost = new HostIndex<StreamRoute[]>();
  const attached = routes.filter((route): route is StreamRoute => route.type === "tls" && route.attachments.some((attachment) => attachment.listener === listener.id));
  const older = (a: StreamRoute, b: StreamRoute): number => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
  for (const route of attached) {
    for (const { listener: id, hostnames } of route.attachments) if (id === listener.id) for (const hostname of hostnames) byHost.set(hostname, [...(byHost.get(hostname) ?? []), route].sort(older));
  }
  const chosen = byHost.find(request.host)?.[0];
  const others = attached.filter((route) => route !== chosen).map((route) => `  ${route.id}: ${byHost.find(request.host)?.includes(route) ? `${chosen!.id} is older` : `server name is ${request.host}, not ${route.attachments.flatMap(({ hostnames }) => hostnames).join(" or ")}`}`);
  const lines = chosen ? [row("route", `${chosen.id}, by the server name alone: ${listener.tls?.mode === "passthrough" ? "the connection goes on encrypted" : "decrypted here"}`), ...describeBackends(chosen.backends, upstreams, endpointsOf)] : [row("route", "none has this server name: the connection is reset")];
  if (others.length > 0) lines.push("", "other routes:", ...others);
  return { lines, served: chosen !== undefined && hasEndpoint(chosen.backends, upstreams, endpointsOf) };
}

function hasEndpoint(backends: readonly Backend[], upstreams: Upstreams, endpointsOf: EndpointsOf): boolean {
  return backends.some(({ upstream: id, weight }) => {
    const upstream = weight > 0 ? upstreams.find((candidate) => candidate.id === id) : undefined;
    return upstream !== undefined && !upstream.error && usedOf(upstream, endpointsAt(upstream, endpointsOf)).length > 0;
  });
}

/** Those of a Service, or of a part of it, or beyond the cluster. */
function endpointsAt({ namespace, service, port, addresses, endpoints }: Upstreams[number], endpointsOf: EndpointsOf): string[] {
  if (endpoints) return endpoints.map((endpoint) => `${endpoint.ip}:${endpoint.port}`);
  const all = endpointsOf(namespace, service, port);
  return addresses ? all.filter((endpoint) => addresses.includes(endpoint.slice(0, endpoint.lastIndexOf(":")))) : all;
}

/** Those of the endpoints that get requests, by what checks have found; ejections are each worker's own. */
function usedOf({ check, health = [], panicPercent }: Upstreams[number], endpoints: readonly string[]): readonly string[] {
  if (!check) return endpoints;
  const well = endpoints.filter((endpoint) => health.find(({ key }) => key === endpoint)?.isWell !== false);
  const isPanic = well.length === 0 ? panicPercent !== 0 : well.length < (endpoints.length * (panicPercent ?? 0)) / 100;
  return isPanic ? endpoints : well;
}

/** One line for each endpoint that is checked: what was found, and since when. */
function describeHealth(upstream: Upstreams[number], endpoints: readonly string[]): string[] {
  if (!upstream.check) return [`  ${endpoints.join(", ")}`];
  const used = usedOf(upstream, endpoints);
  const found = endpoints.map((endpoint) => {
    const report = upstream.health?.find(({ key }) => key === endpoint);
    if (!report || report.isWell === null) return `  ${endpoint}: not checked yet`;
    return `  ${endpoint}: ${report.isWell ? "well" : "unwell"} since ${new Date(report.since * 1000).toISOString().slice(0, 19)}Z: ${report.reason.replace(`${endpoint}: `, "")}`;
  });
  const unwell = endpoints.filter((endpoint) => upstream.health?.find(({ key }) => key === endpoint)?.isWell === false).length;
  if (used.length === 0) return [...found, "  none is well, and panicThreshold is 0: 503, flag UH"];
  return unwell > 0 && used.length === endpoints.length ? [...found, "  panic: too few are well, and all are used"] : found;
}

function describeRule(rule: HttpRule, upstreams: Upstreams, endpointsOf: EndpointsOf, verdict: Verdict | undefined): string[] {
  const { filters, timeouts, retry, persistence, backends } = rule;
  const lines = filters.flatMap(describeFilter).map((line, i) => row(i === 0 ? "filters" : "", line));
  if (verdict) lines.push(row("as asked", `${verdict.answer.status}, flag ${verdict.answer.flag}, by ${verdict.by}: ${verdict.answer.reason}`));
  if (timeouts) lines.push(row("timeouts", [timeouts.requestMs === undefined ? "" : `request ${timeouts.requestMs} ms`, timeouts.backendMs === undefined ? "" : `each try ${timeouts.backendMs} ms`, timeouts.silenceMs === undefined ? "" : `silence ${timeouts.silenceMs} ms`].filter(Boolean).join(", ")));
  if (retry) lines.push(row("retries", `${retry.attempts}${retry.statuses.length > 0 ? `, also after ${retry.statuses.join(", ")}` : ""}`));
  if (persistence) lines.push(row("sessions", `by ${persistence.type}${persistence.name === "" ? "" : ` ${persistence.name}`}`));
  if (filters.some(({ type }) => type === "redirect" || type === "respond")) return [...lines, row("answer", "the rule's own: flag DR")];
  return [...lines, ...describeBackends(backends, upstreams, endpointsOf)];
}

function describeBackends(backends: readonly Backend[], upstreams: Upstreams, endpointsOf: EndpointsOf): string[] {
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return [row("backends", backends.length === 0 ? "none: 500, flag NC" : "all have weight 0: 500, flag NC")];
  return backends.flatMap(({ upstream: id, error, weight, filters = [] }, i) => {
    const name = i === 0 ? "backends" : "";
    const share = backends.length === 1 ? "" : `${weight} of ${total}: `;
    if (error) return [row(name, `${share}${error.status}, flag NC: ${error.reason}`)];
    const upstream = upstreams.find((candidate) => candidate.id === id);
    if (!upstream) return [row(name, `${share}${id}, which is not known`)];
    const endpoints = endpointsAt(upstream, endpointsOf);
    const what = `${upstream.endpoints ? "ServiceEntry" : "Service"} ${upstream.namespace}/${upstream.service} port ${upstream.port}${upstream.addresses ? `, subset ${/\/([^/]*)@/.exec(upstream.id)?.[1]}` : ""}`;
    const how = [upstream.protocol === "http1" ? "" : upstream.protocol, upstream.tls ? `TLS to ${upstream.tls.serverName}` : "", upstream.error ? `every request is answered with ${upstream.error.status}: ${upstream.error.reason}` : "", upstream.breaker ? `breaker ${JSON.stringify(upstream.breaker)} in each worker` : "", upstream.check ? `checked ${JSON.stringify(upstream.check)}` : "", upstream.outlier ? `ejections ${JSON.stringify(upstream.outlier)} in each worker` : ""].filter(Boolean);
    return [
      row(name, `${share}${what}${how.length > 0 ? ` (${how.join(", ")})` : ""}`),
      ...(endpoints.length === 0 ? ["  no endpoint is ready: 503, flag UH"] : describeHealth(upstream, endpoints)).map((line) => row("", line)),
      ...filters.flatMap(describeFilter).map((line) => row("", `  ${line}`)),
    ];
  });
}

function describeMatch({ path, method, headers = [], query = [], cookies = [], clients, sample, priority }: HttpMatch): string {
  const how = { exact: "path is", prefix: "path begins with", regex: path.partial ? "path contains" : "path matches" }[path.type];
  const values = (what: string, list: typeof headers) => list.map(({ name, type, value, not }) => `${what} ${name} ${not ? "not " : ""}${type}${value === "" ? "" : ` ${value}`}`);
  return [`${how} ${path.value}`, ...(method === undefined ? [] : [`method ${method}`]), ...values("header", headers), ...values("query", query), ...values("cookie", cookies), ...(clients ? [`client one of ${clients.length} pods`] : []), ...(sample ? [`${sample.perMillion / 10_000} % of the clients, by ${sample.header === undefined ? "address" : `header ${sample.header}`}`] : []), ...(priority ? [`priority ${priority}`] : [])].join(", ");
}
