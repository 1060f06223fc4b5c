import type { TemplateStage } from "../../api/traffic-content.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import type { BackendReference } from "../gateway/kinds.ts";
import { isObject, type Json } from "./document.ts";
import { mappedAnswers, mappedRequest, mockAnswer } from "./mapping.ts";
import { NotHonoured, refuseOthers } from "./not-honoured.ts";
import { type PathTemplate, substitution } from "./template.ts";

/** What an operation comes to behind its own filters. */
export interface Integrated {
  filters: HttpFilter[];
  backendRef?: BackendReference;
  timeoutMs?: number;
}

export interface IntegrationContext {
  /** Upper case, or "ANY". */
  method: string;
  template: PathTemplate;
  variables: Readonly<Record<string, string>>;
  /** For mapping templates. */
  stage: TemplateStage;
}

/**
 * `x-amazon-apigateway-integration`: `http_proxy` and `http` to a Service, and `mock`. See "OpenAPI extensions for API Gateway" in AWS' documentation.
 * @throws NotHonoured
 */
export function readIntegration(given: Json, context: IntegrationContext): Integrated {
  if (!isObject(given)) throw new NotHonoured("x-amazon-apigateway-integration", "must be an object");
  const type = String(given["type"] ?? "").toLowerCase();
  if (type === "mock") return { filters: mockAnswer(given, context) };
  if (type === "http_proxy") return httpProxy(given, context);
  if (type === "http") return http(given, context);
  const why = { aws: "needs a service of AWS", aws_proxy: "needs a function of AWS" }[type];
  throw new NotHonoured("type", `${type === "" ? "is missing" : `${type} ${why ?? "is not known"}`}; http_proxy, http and mock are honoured`);
}

/** What is asked, and what comes of the answer, is made by templates. */
function http(given: Record<string, Json>, context: IntegrationContext): Integrated {
  const { requestTemplates, responses, passthroughBehavior, ...rest } = given;
  const called = httpProxy(rest, context);
  return { ...called, filters: [...mappedAnswers(responses, context), ...mappedRequest(requestTemplates, passthroughBehavior, context), ...called.filters] };
}

function httpProxy(given: Record<string, Json>, { method, template, variables }: IntegrationContext): Integrated {
  refuseOthers(given, ["uri", "httpMethod", "requestParameters", "timeoutInMillis", "connectionType", "responses", "cacheKeyParameters", "passthroughBehavior"]);
  const { httpMethod, connectionType, timeoutInMillis, responses, cacheKeyParameters } = given;
  if (typeof httpMethod === "string" && httpMethod.toUpperCase() !== method) throw new NotHonoured("httpMethod", `${httpMethod} is not the operation's; a request goes on with the method that it came with`);
  if (connectionType !== undefined && connectionType !== "INTERNET") throw new NotHonoured("connectionType", `${String(connectionType)} is a network of AWS`);
  if (cacheKeyParameters !== undefined && !(Array.isArray(cacheKeyParameters) && cacheKeyParameters.length === 0)) throw new NotHonoured("cacheKeyParameters", "is not honoured; the stage's cache says keyHeaders and keyQuery");
  // A proxy passes the answer as it is: what stands in `responses` is for documentation, unless it maps something.
  for (const [pattern, response] of isObject(responses) ? Object.entries(responses) : []) {
    for (const field of ["responseParameters", "responseTemplates", "contentHandling"]) if (isObject(response) && response[field] !== undefined) throw new NotHonoured(`responses.${pattern}.${field}`, "is not honoured of http_proxy");
  }
  const uri = withVariables(given["uri"], variables);
  const { host, port, path } = readUri(uri);
  const captures = new Map<string, number>();
  const headers: { name: string; value: string }[] = [];
  for (const [to, from] of isObject(given["requestParameters"]) ? Object.entries(given["requestParameters"]) : []) parameterOf(to, from, { template, variables, captures, headers });
  let value: string;
  try {
    value = substitution(path, (name) => captures.get(name) ?? undefined);
  } catch (error) {
    throw new NotHonoured("uri", `${(error as Error).message}; requestParameters must say integration.request.path.NAME`);
  }
  const isFixed = captures.size === 0 || !/\$\{\d+\}/.test(value);
  const rewrite: HttpFilter = { type: "rewrite", path: isFixed ? { type: "full", value } : { type: "regex", ...(template.pattern !== undefined && { pattern: template.pattern }), substitution: value } };
  return {
    filters: [...(headers.length > 0 ? [{ type: "requestHeaders", set: headers } satisfies HttpFilter] : []), rewrite],
    backendRef: serviceOf(host, port),
    ...(timeoutInMillis !== undefined && { timeoutMs: milliseconds(timeoutInMillis) }),
  };
}

function parameterOf(to: string, from: Json, { template, variables, captures, headers }: { template: PathTemplate; variables: IntegrationContext["variables"]; captures: Map<string, number>; headers: { name: string; value: string }[] }): void {
  const field = `requestParameters.${to}`;
  const [, kind, name] = /^integration\.request\.(path|header|querystring)\.(.+)$/.exec(to) ?? [];
  if (kind === undefined || typeof from !== "string") throw new NotHonoured(field, "is not honoured; integration.request.path, .header and .querystring are");
  const [, source, given] = /^method\.request\.(path|header|querystring)\.(.+)$/.exec(from) ?? [];
  if (kind === "path") {
    const at = source === "path" ? template.names.indexOf(given!) : -1;
    if (at < 0) throw new NotHonoured(field, `${from} is not a parameter of the path`);
    captures.set(name!, at + 1);
    return;
  }
  // It goes along anyway.
  if (source === kind && (kind === "header" ? given!.toLowerCase() === name!.toLowerCase() : given === name)) return;
  const literal = /^'(.*)'$/s.exec(from)?.[1] ?? stageVariable(from, variables);
  if (kind !== "header" || literal === undefined) throw new NotHonoured(field, `${from} is not honoured; 'text' and stageVariables.NAME for a header are`);
  headers.push({ name: name!, value: literal });
}

function withVariables(uri: Json | undefined, variables: IntegrationContext["variables"]): string {
  if (typeof uri !== "string") throw new NotHonoured("uri", "must be given");
  return uri.replace(/\$\{?stageVariables\.([A-Za-z0-9_-]+)\}?/g, (_, name: string) => variableOf(name, variables, "uri"));
}
function stageVariable(from: string, variables: IntegrationContext["variables"]): string | undefined {
  const name = /^stageVariables\.([A-Za-z0-9_-]+)$/.exec(from)?.[1];
  return name === undefined ? undefined : variableOf(name, variables, "requestParameters");
}
function variableOf(name: string, variables: IntegrationContext["variables"], field: string): string {
  if (!Object.hasOwn(variables, name)) throw new NotHonoured(field, `names the stage variable ${name}, which the stage does not have`);
  return variables[name]!;
}

function readUri(uri: string): { host: string; port: number; path: string } {
  const [, scheme, host, port, path] = /^([a-z]+):\/\/([^/:?#]+)(?::(\d{1,5}))?(\/[^?#]*)?$/i.exec(uri) ?? [];
  if (host === undefined) throw new NotHonoured("uri", `${uri} is not of the form http://SERVICE[.NAMESPACE.svc][:PORT]/PATH`);
  if (scheme!.toLowerCase() !== "http") throw new NotHonoured("uri", `${uri} is called by ${scheme}; http is honoured, which a BackendTLSPolicy of the Service encrypts`);
  return { host: host.toLowerCase(), port: Number(port ?? 80), path: path ?? "/" };
}

/** "users", "users.shop.svc" and "users.shop.svc.cluster.local". */
function serviceOf(host: string, port: number): BackendReference {
  const [, name, namespace] = /^([a-z0-9-]+)(?:\.([a-z0-9-]+)\.svc(?:\.cluster\.local)?)?$/.exec(host) ?? [];
  if (name === undefined) throw new NotHonoured("uri", `${host} is not a Service: NAME, or NAME.NAMESPACE.svc; what is beyond the cluster is not called`);
  return { name, ...(namespace !== undefined && { namespace }), port };
}

function milliseconds(value: Json): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1) throw new NotHonoured("timeoutInMillis", `${String(value)} is not a whole number above 0`);
  return value;
}
