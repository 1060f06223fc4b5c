import type { HttpFilter } from "../../api/traffic.ts";
import type { Exchange, Filter, HeaderEdits } from "../exchange.ts";
import { isConnectionHeader, mergeEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { compileFields, compileHeaderFields, compileParts, headerValue, type Mapping, readsBody } from "../mapped-value.ts";
import { compilePathNames } from "../path-names.ts";
import { at, PolicyError } from "../policy-error.ts";
import { asLeft } from "../request-edits.ts";
import { bytesOf, dateOf, reasonOf, setByTemplates } from "./request-template.ts";
import { parametersOf } from "../values.ts";

type Config = Extract<HttpFilter, { type: "requestParameters" }>;

/** Of a client's headers, these go on where it is closed: what the body is, what is accepted, who asks with what, traces, and what every gateway says anew. */
const passing = new Set(["accept", "accept-encoding", "accept-language", "content-encoding", "content-language", "content-type", "expect", "host", "user-agent", "traceparent", "tracestate", "x-request-id", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"]);

const methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"];

/** What a client gives as one element of a path is nothing that leads out of it. */
const climbs = /(?:^|\/)\.\.?(?:[/?;]|$)/;
class ClimbingError extends Error {}

/** Method, headers, query and path for the upstream, made of the request's: API Gateway's parameter mappings. */
export const requestParameters: Filter<Config> = (config, tools) => {
  const { closed, method, stage } = config;
  if (method !== undefined && !methods.includes(method)) throw new PolicyError("method", method, `supported values: ${methods.join(", ")}`);
  const bytesMax = bytesOf(config.bytesMax);
  const headers = compileHeaderFields(config.headers, "headers");
  const query = compileFields(config.query, "query");
  const target = config.target && at("target", () => compileParts(config.target!, (value, part) => ("text" in part ? value : "path" in part && part.rest ? value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(value))));
  const wantsBody = [...(config.headers ?? []), ...(config.query ?? [])].some(({ from }) => readsBody(from)) || readsBody(config.target ?? []);
  const pathOf = compilePathNames(config.path);

  const apply = (exchange: Exchange, body: string): void => {
    // An answer to HEAD has no body, and one to another method has.
    if (method !== undefined && exchange.request.method !== "HEAD") exchange.method = method;
    const request = asLeft(exchange);
    const from: Mapping = { exchange, request, path: pathOf(exchange), body, stage, nowMs: dateOf(tools) };
    const parameters = parametersOf(request.query);
    const own = setByTemplates.get(exchange);
    if (closed) for (const name of new Set(parameters.keys())) if (!own?.query.has(name)) parameters.delete(name);
    for (const { name, do: how, value, isOurs } of query) {
      if (own?.query.has(name)) continue;
      const found = how === "remove" ? [] : value(from);
      if (how === "remove" || (how === "set" && (found.length > 0 || isOurs))) parameters.delete(name);
      for (const one of found) parameters.append(name, one);
    }
    const edits = { remove: [] as string[], set: [] as [string, string][], add: [] as [string, string][] };
    for (const { name, do: how, value, isOurs } of headers) {
      if (own?.headers.has(name)) continue;
      const found = how === "remove" ? [] : value(from);
      if (how === "remove" || (how === "set" && isOurs && found.length === 0)) edits.remove.push(name);
      else if (found.length > 0) edits[how].push([name, headerValue(found)]);
    }
    if (closed) edits.remove.push(...foreign(exchange, edits));
    if (edits.remove.length + edits.set.length + edits.add.length > 0) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, edits);
    if (closed || query.length > 0) exchange.query = parameters.toString();
    if (!target) return;
    const path = target(from)[0]!;
    if (climbs.test(path)) throw new ClimbingError();
    const left = exchange.query ?? request.query;
    exchange.target = `${path.startsWith("/") ? path : `/${path}`}${left === "" ? "" : `${path.includes("?") ? "&" : "?"}${left}`}`;
  };

  return (next) => (exchange, outcome) => {
    const go = (body: string): void => {
      try {
        apply(exchange, body);
      } catch (error) {
        if (error instanceof ClimbingError) return outcome.answer(exchange, localAnswer(exchange.request, "TF", "a value that is an element of the path would lead elsewhere", { status: 400, body: "a value cannot be part of a path\n" }));
        return outcome.answer(exchange, localAnswer(exchange.request, "TF", reasonOf(error), { body: "the request could not be transformed\n" }));
      }
      next(exchange, outcome);
    };
    if (!wantsBody) return go("");
    exchange.readBody(bytesMax, (bytes) => go(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8")));
  };
};

/** What the client said and nobody here has named. */
function foreign({ request, requestHeaders }: Exchange, edits: HeaderEdits): string[] {
  if (!request.headers) throw new PolicyError("closed", true, "needs to know all headers");
  const named = new Set([...(requestHeaders ? [...requestHeaders.set, ...requestHeaders.add] : []), ...edits.set, ...edits.add].map(([name]) => name));
  const names = new Set(request.headers().map(([name]) => name));
  return [...names].filter((name) => !passing.has(name) && !named.has(name) && !isConnectionHeader(name));
}
