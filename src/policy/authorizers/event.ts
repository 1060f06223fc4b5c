import type { AuthorizerFilter } from "../../api/traffic-access.ts";
import type { Exchange, RequestView } from "../exchange.ts";
import { parametersOf } from "../values.ts";

/** What an event is made of. */
export interface EventSource {
  exchange: Exchange;
  request: RequestView;
  /** As the document has it: without the stage's own. */
  path: string;
  arn: string;
  /** Decoded. */
  parameters: ReadonlyMap<string, string>;
  /** Of the identity sources, in their order. */
  identity: readonly string[];
  nowMs: number;
}

/**
 * The request as an authorizer is told of it. What only AWS has (accounts, resource ids) is the name of what stands in its place here: an
 * account is a namespace. Sources: AWS API Gateway's developer guide, "Input to an API Gateway Lambda authorizer", and payload formats 1.0
 * and 2.0 of HTTP APIs.
 */
export function eventOf(config: AuthorizerFilter, source: EventSource): object {
  const { arn, identity } = source;
  if (config.event === "token") return { type: "TOKEN", methodArn: arn, authorizationToken: identity[0] };
  return config.event === "request" ? requestEvent(config, source) : requestEvent2(config, source);
}

function requestEvent({ stage, arn: own }: AuthorizerFilter, { exchange, request, path, arn, parameters, identity, nowMs }: EventSource): object {
  const headers = multi(request.headers?.() ?? []);
  const query = multi([...parametersOf(request.query)]);
  return {
    version: "1.0",
    type: "REQUEST",
    methodArn: arn,
    identitySource: identity.join(","),
    authorizationToken: identity[0] ?? null,
    resource: stage.resourcePath,
    path,
    httpMethod: request.method,
    headers: last(headers),
    multiValueHeaders: headers,
    queryStringParameters: last(query),
    multiValueQueryStringParameters: query,
    pathParameters: Object.fromEntries(parameters),
    stageVariables: stage.variables ?? {},
    requestContext: {
      accountId: accountIn(own),
      apiId: stage.apiId,
      domainName: request.host,
      httpMethod: request.method,
      identity: { sourceIp: request.client, userAgent: request.header("user-agent") ?? null, ...(exchange.caller?.apiKey && { apiKeyId: exchange.caller.apiKey.client }) },
      path: request.path,
      protocol: "HTTP/1.1",
      requestId: exchange.requestId ?? "",
      requestTimeEpoch: nowMs,
      resourcePath: stage.resourcePath,
      stage: stage.name,
      ...(stage.operationName !== undefined && { operationName: stage.operationName }),
    },
  };
}

function requestEvent2({ stage, arn: own }: AuthorizerFilter, { exchange, request, path, arn, parameters, identity, nowMs }: EventSource): object {
  const { cookie, ...headers } = joined(request.headers?.() ?? []);
  return {
    version: "2.0",
    type: "REQUEST",
    routeArn: arn,
    identitySource: identity,
    routeKey: `${request.method} ${stage.resourcePath}`,
    rawPath: request.path,
    rawQueryString: request.query,
    ...(cookie !== undefined && { cookies: cookie.split(/; */) }),
    headers,
    queryStringParameters: joined([...parametersOf(request.query)]),
    pathParameters: Object.fromEntries(parameters),
    stageVariables: stage.variables ?? {},
    requestContext: {
      accountId: accountIn(own),
      apiId: stage.apiId,
      domainName: request.host,
      http: { method: request.method, path, protocol: "HTTP/1.1", sourceIp: request.client, userAgent: request.header("user-agent") ?? "" },
      requestId: exchange.requestId ?? "",
      routeKey: `${request.method} ${stage.resourcePath}`,
      stage: stage.name,
      timeEpoch: nowMs,
    },
  };
}

const accountIn = (arn: string): string => arn.split(":")[4]!;

type Pairs = readonly (readonly [name: string, value: string])[];
/** No name of a client's is a field of the object itself. */
const record = <T>(): Record<string, T> => Object.create(null) as Record<string, T>;
function multi(pairs: Pairs): Record<string, string[]> {
  const result = record<string[]>();
  for (const [name, value] of pairs) (result[name] ??= []).push(value);
  return result;
}
function last(values: Record<string, string[]>): Record<string, string> {
  const result = record<string>();
  for (const [name, all] of Object.entries(values)) result[name] = all.at(-1)!;
  return result;
}
function joined(pairs: Pairs): Record<string, string> {
  const result = record<string>();
  for (const [name, value] of pairs) result[name] = result[name] === undefined ? value : `${result[name]}${name === "cookie" ? "; " : ","}${value}`;
  return result;
}
