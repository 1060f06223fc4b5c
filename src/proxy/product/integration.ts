import type { ApiStage } from "../../api/product/kinds.ts";
import type { RequestParametersFilter, TemplateStage } from "../../api/traffic-content.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import type { BackendReference } from "../gateway/kinds.ts";
import { isObject, type Json, textIn } from "./json.ts";
import { mappedAnswers, mappedRequest, mockAnswer, proxiedAnswers } from "./mapping.ts";
import { NotHonoured, refuseOthers } from "./not-honoured.ts";
import { type MappedRequest, readRequestParameters, variableOf } from "./parameters.ts";
import { pathNames, type PathTemplate, substitution } from "./template.ts";

/** What an operation comes to behind its own filters. */
export interface Integrated {
  filters: HttpFilter[];
  backendRef?: BackendReference;
  timeoutMs?: number;
  /** `cacheKeyParameters`: instead of the stage's. */
  cacheKey?: { keyQuery: string[]; keyHeaders: string[] };
}

export interface IntegrationContext {
  /** Upper case, or "ANY". */
  method: string;
  template: PathTemplate;
  variables: Readonly<Record<string, string>>;
  /** For mapping templates. */
  stage: TemplateStage;
  /** Which Services uris mean that are not of the cluster. */
  backends?: ApiStage["backends"];
  /** To a Service as the request came, but for the stage's path. */
  passed(backendRef: BackendReference): Integrated;
}

/** Fields of an integration that say nothing of how a request is served. */
export const ignoredFields = ["type", "payloadFormatVersion", "cacheNamespace", "responseTransferMode"] as const;
/** Fields that are read, of each type. */
export const integrationFields = {
  http_proxy: ["uri", "httpMethod", "requestParameters", "responseParameters", "timeoutInMillis", "connectionType", "connectionId", "integrationTarget", "responses", "cacheKeyParameters", "passthroughBehavior"],
  http: ["uri", "httpMethod", "requestParameters", "requestTemplates", "passthroughBehavior", "timeoutInMillis", "connectionType", "connectionId", "integrationTarget", "responses", "cacheKeyParameters"],
  mock: ["requestTemplates", "passthroughBehavior", "responses", "httpMethod", "timeoutInMillis"],
  aws_proxy: ["uri", "httpMethod", "passthroughBehavior", "timeoutInMillis", "responses", "cacheKeyParameters", "credentials", "contentHandling"],
} as const;

/**
 * `x-amazon-apigateway-integration`: `http_proxy` and `http` to a Service, `mock`, and `aws_proxy` where the stage says which Service is
 * meant. See "OpenAPI extensions for API Gateway" in AWS' documentation.
 * @throws NotHonoured
 */
export function readIntegration(given: Json, context: IntegrationContext): Integrated {
  if (!isObject(given)) throw new NotHonoured("x-amazon-apigateway-integration", "must be an object");
  const type = textIn(given["type"] ?? "").toLowerCase();
  if (type === "mock") return mock(given, context);
  if (type === "http_proxy") return httpProxy(given, context);
  if (type === "http") return http(given, context);
  if (type === "aws_proxy") return awsProxy(given, context);
  const why = type === "aws" ? "needs a service of AWS" : undefined;
  throw new NotHonoured("type", `${type === "" ? "is missing" : `${type} ${why ?? "is not known"}`}; http_proxy, http and mock are honoured`);
}

function mock(given: Record<string, Json>, context: IntegrationContext): Integrated {
  refuse(given, "mock");
  return { filters: mockAnswer(given, context) };
}

/** What is asked, and what comes of the answer, is made by templates. */
function http(given: Record<string, Json>, context: IntegrationContext): Integrated {
  refuse(given, "http");
  const { requestTemplates, responses, passthroughBehavior } = given;
  const called = call(given, context, true);
  return { ...called, filters: [...mappedAnswers(responses, context), ...mappedRequest(requestTemplates, passthroughBehavior, context, methodOf(given["httpMethod"], context)), ...called.filters] };
}

function httpProxy(given: Record<string, Json>, context: IntegrationContext): Integrated {
  refuse(given, "http_proxy");
  // A proxy passes the answer as it is: what stands in `responses` is for documentation, unless it maps something.
  for (const [pattern, response] of isObject(given["responses"]) ? Object.entries(given["responses"]) : []) {
    for (const field of ["responseParameters", "responseTemplates", "contentHandling"]) if (isObject(response) && response[field] !== undefined && response[field] !== null && Object.keys(response[field]).length > 0) throw new NotHonoured(`responses.${pattern}.${field}`, "is not honoured of http_proxy");
  }
  const called = call(given, context, false);
  return { ...called, filters: [...proxiedAnswers(given["responseParameters"], context), ...called.filters] };
}

/** Only where the stage names a Service in place of the function: it gets the request as it came, and not an event. */
function awsProxy(given: Record<string, Json>, context: IntegrationContext): Integrated {
  const uri = withVariables(given["uri"], context.variables);
  const backendRef = backendOf(uri, context);
  if (!backendRef) throw new NotHonoured("type", "aws_proxy needs a function of AWS, unless one of the stage's backends says which Service is meant by its uri; http_proxy, http and mock are honoured");
  refuse(given, "aws_proxy");
  const { timeoutInMillis } = given;
  return { ...context.passed(backendRef), ...(timeoutInMillis !== undefined && { timeoutMs: milliseconds(timeoutInMillis) }), ...cacheKeyOf(given["cacheKeyParameters"]) };
}

function refuse(given: Record<string, Json>, type: keyof typeof integrationFields): void {
  const { credentials, tlsConfig, contentHandling } = given;
  if (credentials !== undefined && credentials !== null && !integrationFields[type].some((field) => field === "credentials")) throw new NotHonoured("credentials", "are a role of AWS");
  if (tlsConfig !== undefined) throw new NotHonoured("tlsConfig", "is not honoured; a BackendTLSPolicy of the Service says how it is encrypted");
  if (contentHandling !== undefined && contentHandling !== null && !integrationFields[type].some((field) => field === "contentHandling")) throw new NotHonoured("contentHandling", "is not honoured; bodies go on byte by byte");
  refuseOthers(given, [...integrationFields[type], ...ignoredFields, "credentials", "contentHandling"]);
}

/** To a Service, by the uri. `closed`: of the request only what is mapped goes along. */
function call(given: Record<string, Json>, context: IntegrationContext, closed: boolean): Integrated {
  const { template, variables, stage } = context;
  const { httpMethod, connectionType, timeoutInMillis, cacheKeyParameters } = given;
  const uri = withVariables(given["uri"], variables);
  const named = backendOf(uri, context);
  if (!named && connectionType !== undefined && connectionType !== "INTERNET") throw new NotHonoured("connectionType", `${textIn(connectionType)} is a network of AWS; one of the stage's backends may say which Service is meant by the uri`);
  const { backendRef, path } = named ? { backendRef: named, path: pathOf(uri) } : serviceIn(uri);
  const parameters = readRequestParameters(given["requestParameters"], { template, variables });
  return {
    filters: requestFilters(path, parameters, template, stage, closed, methodOf(httpMethod, context)),
    backendRef,
    ...(timeoutInMillis !== undefined && { timeoutMs: milliseconds(timeoutInMillis) }),
    ...cacheKeyOf(cacheKeyParameters),
  };
}

/** Undefined: as it came. HEAD is what it is, for its answers have no bodies; and ANY may be HEAD. */
function methodOf(given: Json | undefined, { method }: IntegrationContext): RequestParametersFilter["method"] {
  if (given === undefined || given === null) return undefined;
  const wanted = textIn(given).toUpperCase();
  if (wanted === method || wanted === "ANY") return undefined;
  if (!["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"].includes(wanted)) throw new NotHonoured("httpMethod", `${textIn(given)} is not a method that another one can become`);
  if (method === "ANY" || method === "HEAD" || method === "TRACE") throw new NotHonoured("httpMethod", `${wanted} is not what a request of ${method} can become`);
  return wanted as RequestParametersFilter["method"];
}

function requestFilters(path: string, { headers, query, path: names, target }: MappedRequest, template: PathTemplate, stage: TemplateStage, closed: boolean, method: RequestParametersFilter["method"]): HttpFilter[] {
  // What a header or parameter is mapped to under its own name goes along anyway.
  const goesAlong = (name: string, from: RequestParametersFilter["headers"], kind: "header" | "query"): boolean => !closed && from!.length === 1 && kind in from![0]! && (from![0] as unknown as Record<string, string>)[kind]!.toLowerCase() === name.toLowerCase();
  const ownHeaders = headers.filter((field) => (field.do ?? "set") !== "set" || !goesAlong(field.name, field.from as never, "header"));
  const ownQuery = query.filter((field) => (field.do ?? "set") !== "set" || !goesAlong(field.name, field.from as never, "query"));
  const captured = (name: string): number | undefined => {
    const part = names.get(name) ?? { path: name };
    const at = "path" in part ? template.names.indexOf(part.path) : -1;
    return at < 0 ? undefined : at + 1;
  };
  // The path is put together where it has more in it than the request's own path can give.
  const isMade = target !== undefined || [...names.values()].some((part) => !("path" in part));
  const made = target ?? (isMade ? madePath(path, names, template) : undefined);
  const isFixed = [...ownHeaders, ...ownQuery].every(({ do: how = "set", from }) => how === "set" && from.every((part) => "text" in part)) && ownQuery.length === 0;
  const filters: HttpFilter[] = [];
  if (isFixed && !closed && !made && !method) {
    if (ownHeaders.length > 0) filters.push({ type: "requestHeaders", set: ownHeaders.map(({ name, from }) => ({ name, value: from.map((part) => ("text" in part ? part.text : "")).join("") })) });
  } else {
    filters.push({ type: "requestParameters", ...(method && { method }), ...(ownHeaders.length > 0 && { headers: ownHeaders }), ...(ownQuery.length > 0 && { query: ownQuery }), ...(made && { target: made }), ...(closed && { closed }), ...pathNames(template), stage });
  }
  if (made) return filters;
  let value: string;
  try {
    value = substitution(path, captured);
  } catch (error) {
    throw new NotHonoured("uri", `${(error as Error).message}; requestParameters must say integration.request.path.NAME`);
  }
  const isOwn = /\$\{\d+\}/.test(value);
  filters.push({ type: "rewrite", path: isOwn ? { type: "regex", ...(template.pattern !== undefined && { pattern: template.pattern }), substitution: value } : { type: "full", value } });
  return filters;
}

function madePath(path: string, names: MappedRequest["path"], template: PathTemplate): NonNullable<RequestParametersFilter["target"]> {
  const parts: NonNullable<RequestParametersFilter["target"]> = [];
  let end = 0;
  for (const found of path.matchAll(/\{([^{}/]*?)\+?\}/g)) {
    if (found.index > end) parts.push({ text: path.slice(end, found.index) });
    const name = found[1]!;
    const part = names.get(name) ?? (template.names.includes(name) ? { path: name } : undefined);
    if (!part) throw new NotHonoured("uri", `{${name}} is given by nothing; requestParameters must say integration.request.path.NAME`);
    parts.push(part);
    end = found.index + found[0].length;
  }
  if (end < path.length) parts.push({ text: path.slice(end) });
  return parts;
}

/** Of a cached operation: exactly these, besides host and path. */
function cacheKeyOf(given: Json | undefined): Pick<Integrated, "cacheKey"> {
  if (given === undefined || given === null) return {};
  if (!Array.isArray(given)) throw new NotHonoured("cacheKeyParameters", "must be a list");
  if (given.length === 0) return {};
  const key = { keyQuery: [] as string[], keyHeaders: [] as string[] };
  for (const one of given) {
    const [, place, name] = /^(?:method|integration)\.request\.(path|querystring|header|multivaluequerystring|multivalueheader)\.(.+)$/.exec(textIn(one)) ?? [];
    if (place === undefined) throw new NotHonoured("cacheKeyParameters", `${textIn(one)} is not honoured; method.request.path, .querystring and .header are`);
    if (place !== "path") key[place.endsWith("header") ? "keyHeaders" : "keyQuery"].push(name!);
  }
  return { cacheKey: key };
}

function withVariables(uri: Json | undefined, variables: IntegrationContext["variables"]): string {
  if (typeof uri !== "string") throw new NotHonoured("uri", "must be given");
  return uri.replace(/\$\{stageVariables\.([A-Za-z0-9_-]+)\}|\$stageVariables\.([A-Za-z0-9_]+)/g, (_, braced: string | undefined, plain: string) => variableOf(braced ?? plain, variables, "uri"));
}

/** The Service that the stage says is meant: the longest beginning of the uri counts, whole elements of it. */
function backendOf(uri: string, { backends = [] }: IntegrationContext): BackendReference | undefined {
  const fits = backends.filter(({ uri: begin }) => uri === begin || (uri.startsWith(begin) && (/[/:]$/.test(begin) || /^[/:?{]/.test(uri.slice(begin.length)))));
  return fits.sort((a, b) => b.uri.length - a.uri.length)[0]?.backendRef;
}
/** An ARN has none. */
const pathOf = (uri: string): string => /^[a-z]+:\/\/[^/?#]*(\/[^?#]*)?/i.exec(uri)?.[1] ?? "/";

function serviceIn(uri: string): { backendRef: BackendReference; path: string } {
  const [, scheme, host, port, path] = /^([a-z]+):\/\/([^/:?#]+)(?::(\d{1,5}))?(\/[^?#]*)?$/i.exec(uri) ?? [];
  if (host === undefined) throw new NotHonoured("uri", `${uri} is not of the form http://SERVICE[.NAMESPACE.svc][:PORT]/PATH`);
  if (scheme!.toLowerCase() !== "http") throw new NotHonoured("uri", `${uri} is called by ${scheme}; http is honoured, which a BackendTLSPolicy of the Service encrypts, or one of the stage's backends says which Service is meant`);
  return { backendRef: serviceOf(host.toLowerCase(), Number(port ?? 80)), path: path ?? "/" };
}

/** "users", "users.shop.svc" and "users.shop.svc.cluster.local". */
function serviceOf(host: string, port: number): BackendReference {
  const [, name, namespace] = /^([a-z0-9-]+)(?:\.([a-z0-9-]+)\.svc(?:\.cluster\.local)?)?$/.exec(host) ?? [];
  if (name === undefined) throw new NotHonoured("uri", `${host} is not a Service: NAME, or NAME.NAMESPACE.svc; what is beyond the cluster is not called, unless one of the stage's backends says which Service is meant`);
  return { name, ...(namespace !== undefined && { namespace }), port };
}

function milliseconds(value: Json): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1) throw new NotHonoured("timeoutInMillis", `${textIn(value)} is not a whole number above 0`);
  return value;
}
