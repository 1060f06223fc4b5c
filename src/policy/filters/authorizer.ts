import type { AuthorizerFilter, IdentitySource } from "../../api/traffic-access.ts";
import { lazyModule } from "../../base/lazy.ts";
import { readAnswer, type Verdict } from "../authorizers/answer.ts";
import { eventOf } from "../authorizers/event.ts";
import { type Ask, type Asked, KeptVerdicts } from "../authorizers/kept.ts";
import { resourceOf } from "../authorizers/resources.ts";
import type { Filter, RequestView } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { compilePathNames } from "../path-names.ts";
import { readings } from "../path-readings.ts";
import { compilePattern } from "../pattern.ts";
import { at, PolicyError } from "../policy-error.ts";
import { asLeft } from "../request-edits.ts";
import { parametersOf } from "../values.ts";

const crypto = lazyModule<typeof import("node:crypto")>(import.meta.url, "node:crypto");
const ttlSecondsMax = 3_600;
const answerBytesMax = 128 * 1024;
/** A longer token is none that anybody makes. */
const identityCharsMax = 16_384;

/**
 * Asks a program who somebody is and what he may do, keeps what it says of him, and judges each request by it. Whatever keeps it from
 * saying so keeps the request from going: 500. Who is denied gets 403; who shows nothing to be known by, 401, and nobody is asked.
 */
export const authorizer: Filter<AuthorizerFilter> = (config, tools) => {
  const { name, upstream, host, target, event, simple = false, identity, ttlSeconds, timeoutMs, arn, base = "", share } = config;
  if (!["token", "request", "request2"].includes(event)) throw new PolicyError("event", event, "supported values: token, request, request2");
  if (event === "token" && (identity.length !== 1 || identity[0]!.in !== "header")) throw new PolicyError("identity", identity, "must be one header where the program is told a token");
  if (simple && event !== "request2") throw new PolicyError("simple", simple, "is of payload format 2.0 alone");
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 0 || ttlSeconds > ttlSecondsMax) throw new PolicyError("ttlSeconds", ttlSeconds, `must be a whole number between 0 and ${ttlSecondsMax}`);
  if (!(timeoutMs > 0)) throw new PolicyError("timeoutMs", timeoutMs, "must be above 0");
  if (!/^\/[\x21-\x7e]*$/.test(target)) throw new PolicyError("target", target, "must be a path that begins with '/'");
  if (arn.split(":").length !== 6) throw new PolicyError("arn", arn, "must have six parts with colons between");
  const pattern = config.validation === undefined ? undefined : compilePattern(config.validation, { whole: true }, "validation");
  const reads = identity.map((source, i) => at(`identity[${i}]`, () => readerOf(source, config)));
  const pathOf = compilePathNames(config.path);
  const now = tools.dateMs ?? Date.now;
  const isKept = ttlSeconds > 0 && identity.length > 0;
  const make = (): KeptVerdicts => new KeptVerdicts();
  // Another program, or another way of asking it, says something else.
  const key = `authorizer/${JSON.stringify([share, name, upstream, host, target, event, simple, identity, config.validation, ttlSeconds, arn])}`;
  const kept = tools.shared ? tools.shared(key, make) : tools.keep ? tools.keep("authorizer", make) : make();
  tools.shelves?.add(share, kept);

  return (next) => (exchange, outcome) => {
    const request = asLeft(exchange);
    const refuse = (status: 401 | 403 | 500, reason: string): void => {
      const body = { 401: "Unauthorized\n", 403: "User is not authorized to access this resource\n", 500: "Internal server error\n" }[status];
      outcome.answer(exchange, localAnswer(request, "UAEX", `authorizer ${name}: ${reason}`, { status, body, ...(status === 401 && { headers: [["www-authenticate", `Bearer realm="${request.host.replaceAll(/[^\w.:[\]-]/g, "")}"`]] }) }));
    };
    const values: string[][] = [];
    for (const [i, read] of reads.entries()) {
      const found = read(request).filter((value) => value !== "");
      if (found.length === 0) return refuse(401, `the request has no ${identity[i]!.in} ${identity[i]!.name}`);
      values.push(found);
    }
    if (JSON.stringify(values).length > identityCharsMax) return refuse(401, "what it is to be known by is too long");
    if (pattern && !pattern.test(values[0]![0]!)) return refuse(401, "its token does not look like one");
    const path = pathBehind(base, request.path);
    const resource = `${arn}/${request.method}${path}`;
    const judge = (asked: Asked): void => {
      if ("unauthorised" in asked) return refuse(401, "it says that this is nobody");
      if ("error" in asked) return refuse(500, asked.error);
      if (!readings(path).every((reading) => asked.verdict.allows(resourceOf(`${arn}/${request.method}${reading}`)))) return refuse(403, `it does not allow ${request.method} ${path}`);
      const { principalId, context, usageIdentifierKey } = asked.verdict;
      exchange.caller = { ...exchange.caller, authorizer: { ...(principalId !== undefined && { principalId }), context, ...(usageIdentifierKey !== undefined && { usageIdentifierKey }) } };
      next(exchange, outcome);
    };
    const ask: Ask = (then) => {
      if (!tools.call) return void then({ error: "there is nobody to ask" }, 0);
      const body = Buffer.from(JSON.stringify(eventOf(config, { exchange, request, path, arn: resource, parameters: pathOf(exchange), identity: values.map((all) => all.join(",")), nowMs: now() })));
      return tools.call({ upstream, method: "POST", target, host, headers: [["content-type", "application/json"], ["accept", "application/json"]], body, timeoutMs, bytesMax: answerBytesMax }, (answer, reason) => {
        if (!answer) return then({ error: reason }, 0);
        if (answer.status === 401) return then({ unauthorised: true }, 0);
        if (answer.status !== 200) return then({ error: `it answered ${answer.status}` }, 0);
        let verdict: Verdict;
        try {
          verdict = readAnswer(answer.body, simple);
        } catch (error) {
          return then({ error: (error as Error).message }, 0);
        }
        then({ verdict }, answer.body.length);
      });
    };
    // Others may wait for what is said of the same one.
    const leave = isKept ? kept.of(digestOf(values), ttlSeconds * 1000, tools.nowMs, ask, judge) : leaving(ask(judge));
    if (leave) exchange.onEnd(leave);
  };
};

const leaving = (call: { cancel(): void } | undefined): (() => void) | undefined => call && (() => call.cancel());

/** Whoever is asked about is kept by a hash: what lets him in stands nowhere. No two lists of texts have the same JSON. */
const digestOf = (values: readonly (readonly string[])[]): string => crypto().createHash("sha256").update(JSON.stringify(values)).digest("base64");

function pathBehind(base: string, path: string): string {
  const left = base !== "" && path.startsWith(base) ? path.slice(base.length) : path;
  return left.startsWith("/") ? left : `/${left}`;
}

/** All values: of a name that is repeated the program behind may take another than the one that was judged. */
function readerOf(source: IdentitySource, { stage }: AuthorizerFilter): (request: RequestView) => string[] {
  const { name } = source;
  if (name === "") throw new PolicyError("name", name, "must not be empty");
  const single = (value: string | undefined): string[] => (value === undefined ? [] : [value]);
  switch (source.in) {
    case "header": {
      const lower = name.toLowerCase();
      return (request) => single(request.header(lower));
    }
    case "query":
      return ({ query }) => parametersOf(query).getAll(name);
    case "fixed":
      return () => [source.value];
    case "context": {
      const read = Object.hasOwn(contexts, name) ? contexts[name]! : undefined;
      if (!read) throw new PolicyError("name", name, `supported values: ${Object.keys(contexts).join(", ")}`);
      return (request) => single(read(request, stage));
    }
    default:
      throw new PolicyError("in", (source as { in: string }).in, "supported values: header, query, context, fixed");
  }
}

/** What `$context` has before anybody is known. */
const contexts: Record<string, (request: RequestView, stage: AuthorizerFilter["stage"]) => string | undefined> = {
  path: ({ path }) => path,
  httpMethod: ({ method }) => method,
  domainName: ({ host }) => host,
  resourcePath: (_, { resourcePath }) => resourcePath,
  routeKey: ({ method }, { resourcePath }) => `${method} ${resourcePath}`,
  stage: (_, { name }) => name,
  apiId: (_, { apiId }) => apiId,
  "identity.sourceIp": ({ client }) => client,
  "identity.userAgent": (request) => request.header("user-agent"),
};
export const identityContexts: readonly string[] = Object.keys(contexts);
