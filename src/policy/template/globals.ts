import type { TemplateStage } from "../../api/traffic-content.ts";
import type { Exchange, RequestView } from "../exchange.ts";
import { decoded } from "../path-names.ts";
import { JsonPath } from "./json-path.ts";
import { Host, jsonOf, type Members, newMembers, putMember, textOf, type Work } from "./values.ts";
import { parametersOf } from "../values.ts";

/** What templates have, by the names that AWS API Gateway has made known: `$input`, `$context`, `$stageVariables`, `$util`. */
export interface Globals {
  names: Record<string, unknown>;
  /** What `#set($context.requestOverride.header.x = …)` has left. */
  overrides: { requestHeaders: Members; query: Members; path: Members; responseHeaders: Members; response: Members };
}

const pathsMax = 500;
const paths = new Map<string, JsonPath>();
function pathOf(source: string, work: Work): JsonPath {
  let path = paths.get(source);
  if (!path) {
    try {
      path = new JsonPath(source);
    } catch (error) {
      return work.fail((error as Error).message);
    }
    if (paths.size >= pathsMax) paths.clear();
    paths.set(source, path);
  }
  return path;
}

/** `body`: of the request, or of the answer. `request`: as the filters before this one have left it, and none behind it. */
export function globalsOf(exchange: Exchange, request: RequestView, body: string, path: ReadonlyMap<string, string>, stage: TemplateStage | undefined, nowMs: number, error?: Record<string, string>): Globals {
  let parsed: unknown;
  let isParsed = false;
  const json = (work: Work): unknown => {
    if (isParsed) return parsed;
    work.step(1 + (body.length >> 4));
    try {
      parsed = body.trim() === "" ? {} : JSON.parse(body);
    } catch {
      work.fail("$input: the body is not JSON");
    }
    isParsed = true;
    return parsed;
  };
  const overrides: Globals["overrides"] = { requestHeaders: newMembers(), query: newMembers(), path: newMembers(), responseHeaders: newMembers(), response: newMembers() };
  putMember(overrides.response, "header", overrides.responseHeaders);

  let all: Members | undefined;
  const parameters = (): Members => (all ??= members({ path: members(Object.fromEntries(path)), querystring: queryOf(request.query), header: headersOf(request) }));
  const input = new Host(
    { body: () => (body === "" ? "{}" : body) },
    {
      body: () => (body === "" ? "{}" : body),
      path: ([given = "$"], work) => pathOf(textOf(given, work), work).find(json(work), work),
      json: ([given = "$"], work) => {
        const found = pathOf(textOf(given, work), work).find(json(work), work);
        return found === undefined ? '""' : jsonOf(found, work);
      },
      params: (given, work) => {
        const known = parameters();
        if (given.length === 0) return known;
        const name = textOf(given[0], work);
        const [inPath, inQuery] = [known["path"] as Members, known["querystring"] as Members];
        // Path, then query, then header, as API Gateway looks.
        return own(inPath, name) ?? own(inQuery, name) ?? request.header(name.toLowerCase()) ?? "";
      },
    },
  );
  const user = exchange.caller;
  const claims = user?.jwt?.values().next().value as object | undefined;
  const context = members({
    apiId: stage?.apiId ?? "",
    stage: stage?.name ?? "",
    resourcePath: stage?.resourcePath ?? request.path,
    operationName: stage?.operationName ?? "",
    path: request.path,
    httpMethod: request.method,
    protocol: "HTTP/1.1",
    domainName: request.host,
    domainPrefix: request.host.split(".")[0]!,
    requestId: exchange.requestId ?? "",
    extendedRequestId: exchange.requestId ?? "",
    requestTimeEpoch: nowMs,
    requestTime: clfTime(nowMs),
    identity: members({ sourceIp: request.client, userAgent: request.header("user-agent") ?? "", ...(user?.apiKey && { apiKeyId: user.apiKey.client }), ...(user?.basic !== undefined && { user: user.basic }) }),
    authorizer: members({ ...user?.authorizer?.context, ...(user?.authorizer?.principalId !== undefined && { principalId: user.authorizer.principalId }), ...(claims && { claims, ...("sub" in claims && { principalId: claims.sub }) }) }),
    requestOverride: members({ header: overrides.requestHeaders, querystring: overrides.query, path: overrides.path }),
    responseOverride: overrides.response,
    ...(error && { error: members(error) }),
  });
  return { names: { input, context, stageVariables: members(stage?.variables ?? {}), util }, overrides };
}

function members(of: object): Members {
  const result = newMembers();
  for (const [name, value] of Object.entries(of)) putMember(result, name, value);
  return result;
}
const own = (of: Members, name: string): unknown => (Object.hasOwn(of, name) ? of[name] : undefined);

/** Of a repeated parameter the last counts, as there. */
function queryOf(query: string): Members {
  const result = newMembers();
  if (query !== "") for (const [name, value] of parametersOf(query)) putMember(result, name, value);
  return result;
}
/** Never what a hop is told alone. */
function headersOf(request: RequestView): Members {
  const result = newMembers();
  for (const [name, value] of request.headers?.() ?? []) putMember(result, name, Object.hasOwn(result, name) ? `${String(result[name])}, ${value}` : value);
  return result;
}
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/** "09/Apr/2015:12:34:56 +0000". */
function clfTime(ms: number): string {
  const [, year, month, day, time] = /^(\d+)-(\d\d)-(\d\d)T(\d\d:\d\d:\d\d)/.exec(new Date(ms).toISOString())!;
  return `${day}/${months[Number(month) - 1]}/${year}:${time} +0000`;
}

const util = new Host(
  {},
  {
    // As Java's commons-text: quotes, slashes, controls, and what is not ASCII.
    escapeJavaScript: (given, work) => work.made(textOf(given[0], work).replace(/["'\\/\b\f\n\r\t]|[^ -~]/g, (char) => shortEscapes[char] ?? `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`)),
    parseJson: ([given], work) => {
      const text = textOf(given, work);
      work.step(1 + (text.length >> 4));
      try {
        return JSON.parse(text) as unknown;
      } catch {
        return work.fail("$util.parseJson: that is not JSON");
      }
    },
    urlEncode: ([given], work) => work.made(new URLSearchParams([["", textOf(given, work).toWellFormed()]]).toString().slice(1)),
    urlDecode: ([given], work) => work.made(decoded(textOf(given, work).replaceAll("+", " "))),
    base64Encode: ([given], work) => work.made(Buffer.from(textOf(given, work)).toString("base64")),
    base64Decode: ([given], work) => work.made(Buffer.from(textOf(given, work), "base64").toString("utf8")),
  },
);
const shortEscapes: Record<string, string> = { '"': '\\"', "'": "\\'", "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
