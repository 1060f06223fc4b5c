import type { MappedField, MappedPart } from "../../api/traffic-content.ts";
import { isObject, type Json } from "./json.ts";
import { NotHonoured } from "./not-honoured.ts";
import type { PathTemplate } from "./template.ts";

export interface ParameterContext {
  template: PathTemplate;
  variables: Readonly<Record<string, string>>;
}

/** What `requestParameters` of an integration comes to. */
export interface MappedRequest {
  headers: MappedField[];
  query: MappedField[];
  /** Names in the uri's path. */
  path: Map<string, MappedPart>;
  /** `overwrite:path`. */
  target?: MappedPart[];
}

/** `$context` as far as there is something to say. Others are AWS' own: accounts, roles, functions. */
const contextNames = /^(?:apiId|stage|resourcePath|operationName|path|httpMethod|protocol|domainName|domainPrefix|requestId|extendedRequestId|requestTime|requestTimeEpoch|identity\.(?:sourceIp|userAgent|user|apiKeyId)|authorizer(?:\.[A-Za-z0-9_-]+)+|error\.(?:message|messageString|responseType|validationErrorString))$/;

/**
 * REST APIs write "integration.request.header.NAME": "method.request.querystring.NAME", HTTP APIs "append:header.NAME":
 * "$request.querystring.NAME". Both are read, also side by side.
 * @throws NotHonoured
 */
export function readRequestParameters(given: Json | undefined, context: ParameterContext): MappedRequest {
  const mapped: MappedRequest = { headers: [], query: [], path: new Map() };
  if (given === undefined) return mapped;
  if (!isObject(given)) throw new NotHonoured("requestParameters", "must be an object");
  for (const [to, from] of Object.entries(given)) {
    const field = `requestParameters.${to}`;
    if (typeof from !== "string") throw new NotHonoured(field, "must be a text");
    const [, kind, name] = /^integration\.request\.(path|header|querystring|multivalueheader|multivaluequerystring)\.(.+)$/.exec(to) ?? [];
    if (kind !== undefined) {
      const part = sourceOf(from, field, context);
      if (kind === "path") mapped.path.set(name!, part);
      else (kind.endsWith("header") ? mapped.headers : mapped.query).push({ name: name!, from: [part] });
      continue;
    }
    const [, verb, place, own] = /^(append|overwrite|remove):(header|querystring)\.(.+)$/.exec(to) ?? [];
    if (verb !== undefined) (place === "header" ? mapped.headers : mapped.query).push({ name: own!, ...wordOf(verb), from: verb === "remove" ? [] : selection(from, field, context) });
    else if (to === "overwrite:path") mapped.target = selection(from, field, context);
    else throw new NotHonoured(field, "is not honoured; integration.request.path, .header and .querystring are, and append:, overwrite: and remove: of header and querystring, and overwrite:path");
  }
  return mapped;
}

/** `responseParameters` of a response of a REST API: "method.response.header.NAME". @throws NotHonoured */
export function readResponseHeaders(given: Json | undefined, at: string, context: ParameterContext): MappedField[] {
  if (given === undefined) return [];
  if (!isObject(given)) throw new NotHonoured(at, "must be an object");
  return Object.entries(given).map(([to, from]) => {
    const field = `${at}.${to}`;
    const name = /^method\.response\.(?:header|multivalueheader)\.(.+)$/.exec(to)?.[1];
    if (name === undefined || typeof from !== "string") throw new NotHonoured(field, "is not honoured; method.response.header.NAME is");
    return { name, from: [responseSource(from, field, context)] };
  });
}

/** `responseParameters` of a gateway response: "gatewayresponse.header.NAME". @throws NotHonoured */
export function readGatewayHeaders(given: Json | undefined, at: string, context: ParameterContext): MappedField[] {
  if (given === undefined) return [];
  if (!isObject(given)) throw new NotHonoured(at, "must be an object");
  return Object.entries(given).map(([to, from]) => {
    const field = `${at}.${to}`;
    const name = /^gatewayresponse\.header\.(.+)$/.exec(to)?.[1];
    if (name === undefined || typeof from !== "string") throw new NotHonoured(field, "is not honoured; gatewayresponse.header.NAME is");
    return { name, from: [sourceOf(from, field, context)] };
  });
}

/** Of an HTTP API's `responseParameters`, for one status: headers, and another status. @throws NotHonoured */
export function readResponseChanges(given: Json, at: string, context: ParameterContext): { headers: MappedField[]; status?: number } {
  if (!isObject(given)) throw new NotHonoured(at, "must be an object");
  let status: number | undefined;
  const headers: MappedField[] = [];
  for (const [to, from] of Object.entries(given)) {
    const field = `${at}.${to}`;
    if (typeof from !== "string" && typeof from !== "number") throw new NotHonoured(field, "must be a text");
    const [, verb, name] = /^(append|overwrite|remove):header\.(.+)$/.exec(to) ?? [];
    if (verb !== undefined) headers.push({ name: name!, ...wordOf(verb), from: verb === "remove" ? [] : selection(String(from), field, context) });
    else if (to === "overwrite:statuscode") {
      status = Number(from);
      if (!Number.isInteger(status) || status < 200 || status > 599) throw new NotHonoured(field, `${String(from)} is not a fixed status`);
    } else throw new NotHonoured(field, "is not honoured; append:, overwrite: and remove: of header are, and overwrite:statuscode");
  }
  return { headers, ...(status !== undefined && { status }) };
}

const wordOf = (verb: string): Pick<MappedField, "do"> => ({ do: verb === "append" ? "add" : verb === "remove" ? "remove" : "set" });

/** A REST API's source of one value. */
function sourceOf(from: string, field: string, context: ParameterContext): MappedPart {
  const common = commonSource(from, field, context);
  if (common) return common;
  const [, place, name] = /^method\.request\.(path|querystring|header|multivaluequerystring|multivalueheader)\.(.+)$/.exec(from) ?? [];
  if (place === "path") return pathPart(name!, field, from, context);
  if (place === "header" || place === "multivalueheader") return { header: name! };
  if (place !== undefined) return { query: name!, ...(place === "multivaluequerystring" && { all: true }) };
  const body = bodyPart(from, "method.request.body");
  if (body) return body;
  throw new NotHonoured(field, `${from} is not honoured; 'text', stageVariables.NAME, context.NAME and method.request.path, .querystring, .header and .body are`);
}

function responseSource(from: string, field: string, context: ParameterContext): MappedPart {
  const common = commonSource(from, field, context);
  if (common) return common;
  const name = /^integration\.response\.(?:header|multivalueheader)\.(.+)$/.exec(from)?.[1];
  if (name !== undefined) return { responseHeader: name };
  const body = bodyPart(from, "integration.response.body");
  if (body) return body;
  throw new NotHonoured(field, `${from} is not honoured; 'text', stageVariables.NAME, context.NAME and integration.response.header and .body are`);
}

function commonSource(from: string, field: string, { variables }: ParameterContext): MappedPart | undefined {
  const text = /^'(.*)'$/s.exec(from)?.[1];
  if (text !== undefined) return { text };
  const [, variable] = /^\$?stageVariables\.([A-Za-z0-9_-]+)$/.exec(from) ?? [];
  if (variable !== undefined) return { text: variableOf(variable, variables, field) };
  const context = /^\$?context\.(.+)$/.exec(from)?.[1];
  return context === undefined ? undefined : contextPart(context, field);
}

function contextPart(name: string, field: string): MappedPart {
  if (!contextNames.test(name)) throw new NotHonoured(field, `context.${name} is known to AWS alone`);
  return { context: name };
}
function pathPart(name: string, field: string, from: string, { template }: ParameterContext): MappedPart {
  if (!template.names.includes(name)) throw new NotHonoured(field, `${from} is not a parameter of the path`);
  return { path: name, ...(template.hasRest && template.names.at(-1) === name && { rest: true }) };
}
function bodyPart(from: string, prefix: string): MappedPart | undefined {
  if (from === prefix) return { body: "" };
  if (!from.startsWith(`${prefix}.`)) return undefined;
  const path = from.slice(prefix.length + 1);
  return { body: path.startsWith("$") ? path : `$.${path}` };
}

export function variableOf(name: string, variables: ParameterContext["variables"], field: string): string {
  if (!Object.hasOwn(variables, name)) throw new NotHonoured(field, `names the stage variable ${name}, which the stage does not have`);
  return variables[name]!;
}

/** An HTTP API's value: texts with `$request.…`, or `${request.…}` where several stand side by side. */
function selection(from: string, field: string, context: ParameterContext): MappedPart[] {
  const parts: MappedPart[] = [];
  let end = 0;
  for (const found of from.matchAll(/\$\{([A-Za-z][^{}]*)\}|\$((?:request|response|context|stageVariables)\.[A-Za-z0-9_$.[\]'*-]+)/g)) {
    if (found.index > end) parts.push({ text: from.slice(end, found.index) });
    parts.push(selected((found[1] ?? found[2])!, field, context));
    end = found.index + found[0].length;
  }
  if (end < from.length || parts.length === 0) parts.push({ text: from.slice(end) });
  // In REST's way a fixed text stands in quotes; here it need not.
  const [only] = parts;
  return parts.length === 1 && "text" in only! ? [{ text: /^'(.*)'$/s.exec(only.text)?.[1] ?? only.text }] : parts;
}

function selected(expression: string, field: string, context: ParameterContext): MappedPart {
  const [, variable] = /^stageVariables\.([A-Za-z0-9_-]+)$/.exec(expression) ?? [];
  if (variable !== undefined) return { text: variableOf(variable, context.variables, field) };
  const [, of] = /^context\.(.+)$/.exec(expression) ?? [];
  if (of !== undefined) return contextPart(of, field);
  if (expression === "request.path") return { context: "path" };
  const [, place, name] = /^request\.(header|querystring|path)\.(.+)$/.exec(expression) ?? [];
  if (place === "header") return { header: name! };
  if (place === "querystring") return { query: name!, all: true };
  if (place === "path") return pathPart(name!, field, `$${expression}`, context);
  const header = /^response\.header\.(.+)$/.exec(expression)?.[1];
  if (header !== undefined) return { responseHeader: header };
  const body = bodyPart(expression, "request.body") ?? bodyPart(expression, "response.body");
  if (body) return body;
  throw new NotHonoured(field, `$${expression} is not honoured; $request.header, .querystring, .path and .body, $response.header and .body, $context and $stageVariables are`);
}
