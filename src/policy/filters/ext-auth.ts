import type { HttpFilter } from "../../api/traffic.ts";
import { checkMethod, decodeCheck, encodeCheck, type HeaderOption } from "../ext-auth/check.ts";
import type { Exchange, Filter, Handler, LocalAnswer, Outcome, RequestView, SideAnswer, SideRequest } from "../exchange.ts";
import { isConnectionHeader, isHeaderName, isHeaderValue, mergeEdits } from "../header-edits.ts";
import { isGrpc, localAnswer } from "../local-answer.ts";
import { PolicyError } from "../policy-error.ts";
import { SmoothWeights } from "../weighted.ts";
import { asLeft } from "../request-edits.ts";
import { parametersOf } from "../values.ts";

type Config = Extract<HttpFilter, { type: "extAuth" }>;

const answerBytesMax = 1024 * 1024;

/** What an answer comes to. */
type Verdict = { allow: (exchange: Exchange) => void } | { deny: LocalAnswer } | { error: string };

/**
 * Asks a program whether a request may go, and waits for what it says. Whatever keeps it from saying so keeps the request from going,
 * unless it fails open. Sources: Envoy's ext_authz filter, over HTTP and gRPC; envoyproxy/gateway ext_auth_types.go.
 */
export const extAuth: Filter<Config> = (config, tools) => {
  const { upstreams, protocol, timeoutMs, bodyBytesMax, failOpen = false, statusOnError = 403, headersToBackend = [], pathPrefix, pathOverride } = config;
  if (upstreams.length === 0) throw new PolicyError("upstreams", upstreams, "must name somebody to ask");
  if (!(timeoutMs > 0)) throw new PolicyError("timeoutMs", timeoutMs, "must be above 0");
  if (!Number.isInteger(statusOnError) || statusOnError < 400 || statusOnError > 599) throw new PolicyError("statusOnError", statusOnError, "must be between 400 and 599");
  if (bodyBytesMax !== undefined && !(bodyBytesMax > 0)) throw new PolicyError("bodyBytesMax", bodyBytesMax, "must be above 0");
  for (const [name, value] of Object.entries({ pathPrefix, pathOverride })) if (value !== undefined && !/^\/[\x21-\x7e]*$/.test(value)) throw new PolicyError(name, value, "must be a path that begins with '/'");
  const toBackend = headersToBackend.map((name, i) => {
    if (!isHeaderName(name) || isConnectionHeader(name) || name.toLowerCase() === "host") throw new PolicyError(`headersToBackend[${i}]`, name, "must be the name of a header that a backend may be told");
    return name.toLowerCase();
  });
  const turns = new SmoothWeights(upstreams.map(({ weight }) => weight));
  const ask = protocol === "grpc" ? overGrpc(config, tools.dateMs ?? Date.now) : overHttp(config);
  const judge = protocol === "grpc" ? grpcVerdict : (answer: SideAnswer, request: RequestView) => httpVerdict(answer, request, toBackend);

  return (next) => (exchange, outcome) => {
    const request = asLeft(exchange);
    const judged = (verdict: Verdict): void => {
      if ("deny" in verdict) return outcome.answer(exchange, verdict.deny);
      if ("error" in verdict) return failed(verdict.error, exchange, outcome, next);
      verdict.allow(exchange);
      exchange.caller = { ...exchange.caller, isGranted: true };
      next(exchange, outcome);
    };
    const failed = (why: string, ...[on, out, go]: [Exchange, Outcome, Handler]): void => {
      if (failOpen) return go(on, out);
      out.answer(on, localAnswer(request, "UAEX", `whoever says who may is not to be had: ${why}`, { status: statusOnError }));
    };
    // Nobody says for himself what only the other side may say.
    if (toBackend.length > 0) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, { remove: toBackend, set: [], add: [] });
    const start = (body: Uint8Array | undefined): void => {
      if (!tools.call) return failed("there is nobody to ask", exchange, outcome, next);
      const call = tools.call({ upstream: upstreams[turns.next()]!.upstream, timeoutMs, bytesMax: answerBytesMax, ...ask(request, body) }, (answer, reason) => judged(answer ? judge(answer, request) : { error: reason }));
      exchange.onEnd(() => call.cancel());
    };
    if (bodyBytesMax === undefined) start(undefined);
    else exchange.readBody(bodyBytesMax, start);
  };
};

type Asked = Pick<SideRequest, "method" | "target" | "host" | "headers" | "body">;

/** Headers that the gateway itself writes: what a client says in them is not what a backend will hear. */
const ofGateway: Record<string, (request: RequestView) => string> = {
  "x-forwarded-for": ({ client }) => client,
  "x-forwarded-proto": ({ scheme }) => scheme,
  "x-forwarded-host": ({ host }) => host,
  "x-forwarded-port": ({ port }) => String(port),
};
const headerOf = (request: RequestView, name: string): string | undefined => (Object.hasOwn(ofGateway, name) ? ofGateway[name]!(request) : request.header(name));

/** Envoy sends Host, method, path, Content-Length and Authorization whatever is configured. */
function overHttp({ pathPrefix = "", pathOverride, headers = [] }: Config): (request: RequestView, body: Uint8Array | undefined) => Asked {
  const names = [...new Set(["authorization", ...headers.map((name) => name.toLowerCase())])].filter((name) => !isConnectionHeader(name) && name !== "host" && name !== "content-length");
  const prefix = pathPrefix.replace(/\/$/, "");
  return (request, body) => {
    const { method, host, query } = request;
    const told = names.flatMap((name): [string, string][] => {
      const value = headerOf(request, name);
      return value === undefined ? [] : [[name, value]];
    });
    return { method, host, target: pathOverride ?? `${prefix}${request.path}${query === "" ? "" : `?${query}`}`, headers: told, ...(body && { body }) };
  };
}

function overGrpc({ headers, context = {}, timeoutMs }: Config, now: () => number): (request: RequestView, body: Uint8Array | undefined) => Asked {
  const named = headers && new Set(headers.map((name) => name.toLowerCase()));
  return (request, body) => {
    const all: (readonly [string, string])[] = [[":method", request.method], [":authority", request.host], [":path", request.query === "" ? request.path : `${request.path}?${request.query}`], [":scheme", request.scheme], ...(request.headers?.() ?? []).filter(([name]) => !Object.hasOwn(ofGateway, name)), ...Object.keys(ofGateway).map((name): [string, string] => [name, headerOf(request, name)!])];
    const told = named ? all.filter(([name]) => named.has(name)) : all;
    return {
      method: "POST",
      target: checkMethod,
      host: request.host,
      headers: [["content-type", "application/grpc"], ["te", "trailers"], ["grpc-timeout", `${Math.min(Math.ceil(timeoutMs), 99_999_999)}m`], ["user-agent", "wherry"]],
      body: encodeCheck({ request, headers: told, body, context, now: now() }),
    };
  };
}

function httpVerdict(answer: SideAnswer, request: RequestView, toBackend: readonly string[]): Verdict {
  const { status, headers, body } = answer;
  if (status >= 500) return { error: `it answered ${status}` };
  if (status !== 200) return { deny: denial(request, status, headers, body) };
  const set = toBackend.flatMap((name): [string, string][] => {
    const values = headers.filter(([known]) => known === name).map(([, value]) => value);
    return values.length === 0 ? [] : [[name, values.join(name === "cookie" ? "; " : ", ")]];
  });
  const wrong = set.find(([, value]) => !isHeaderValue(value));
  if (wrong) return { error: `${wrong[0]} of its answer cannot be a header` };
  return { allow: (exchange) => (exchange.requestHeaders = mergeEdits(exchange.requestHeaders, { remove: [], set, add: [] })) };
}

function grpcVerdict({ status, headers, body }: SideAnswer, request: RequestView): Verdict {
  const grpcStatus = headers.find(([name]) => name === "grpc-status")?.[1];
  if (status !== 200 || grpcStatus !== "0") return { error: status !== 200 ? `it answered ${status}` : `its call ended with status ${grpcStatus ?? "unknown"}` };
  let check: ReturnType<typeof decodeCheck>;
  try {
    check = decodeCheck(body);
  } catch (error) {
    return { error: (error as Error).message };
  }
  const wrong = [...check.headers, ...check.responseHeaders].find(({ name, value }) => !mayBeSet(name) || !isHeaderValue(value));
  if (wrong) return { error: `it wants header ${JSON.stringify(wrong.name)}, which it may not set` };
  const wrongGone = check.remove.find((name) => !mayBeSet(name));
  if (wrongGone !== undefined) return { error: `it wants header ${JSON.stringify(wrongGone)} removed, which it may not` };
  if (check.code !== 0) {
    // As Envoy has it: what is no status of HTTP denies as well.
    const answered = check.status >= 200 && check.status <= 599 ? check.status : 403;
    return { deny: denial(request, answered, check.headers.map(({ name, value }) => [name, value]), Buffer.from(check.body), check.message) };
  }
  return {
    allow(exchange) {
      exchange.requestHeaders = mergeEdits(exchange.requestHeaders, editsOf(check.headers, check.remove));
      if (check.responseHeaders.length > 0) exchange.responseHeaders = mergeEdits(exchange.responseHeaders, editsOf(check.responseHeaders, []));
      if (check.setQuery.length + check.removeQuery.length > 0) changeQuery(exchange, check.setQuery, check.removeQuery);
    },
  };
}
const mayBeSet = (name: string): boolean => isHeaderName(name) && !isConnectionHeader(name) && name !== "host" && !Object.hasOwn(ofGateway, name);
const editsOf = (options: readonly HeaderOption[], remove: readonly string[]) => ({
  remove,
  set: options.flatMap(({ name, value, isAdded }): [string, string][] => (isAdded ? [] : [[name, value]])),
  add: options.flatMap(({ name, value, isAdded }): [string, string][] => (isAdded ? [[name, value]] : [])),
});
function changeQuery(exchange: Exchange, set: readonly (readonly [string, string])[], remove: readonly string[]): void {
  const params = parametersOf(exchange.query ?? exchange.request.query);
  for (const name of remove) params.delete(name);
  for (const [name, value] of set) params.set(name, value);
  exchange.query = params.toString();
  exchange.target = exchange.query === "" ? exchange.request.path : `${exchange.request.path}?${exchange.query}`;
}

/** What the other side answers goes to the client; a gRPC client gets it in the shape that it understands. */
function denial(request: RequestView, status: number, given: readonly (readonly [name: string, value: string])[], body: Uint8Array, message = ""): LocalAnswer {
  const headers = given.filter(([name, value]) => isHeaderName(name) && !isConnectionHeader(name) && isHeaderValue(value)).map(([name, value]): [string, string] => [name, value]);
  const reason = `whoever says who may says no${message === "" ? "" : `: ${message}`}`;
  if (isGrpc(request) && status >= 400) return localAnswer(request, "UAEX", reason, { status, headers: headers.filter(([name]) => name !== "content-type" && !name.startsWith("grpc-")) });
  return { status, headers, body: "", bytes: body, flag: "UAEX", reason };
}
