import type { HttpFilter, HttpMatch } from "../../api/traffic.ts";
import { systemRandom } from "../../base/random.ts";
import type { Exchange, Filter, FilterTools, LocalAnswer, RequestView } from "../../policy/exchange.ts";
import { filters as compilers } from "../../policy/filters/index.ts";

export interface Verdict {
  /** Type of the filter. */
  by: string;
  answer: LocalAnswer;
}

/** What these say hangs on nothing but the request, whoever sends it and however often. */
const judged: { readonly [T in HttpFilter["type"]]?: (filter: Extract<HttpFilter, { type: T }>, request: RequestView) => HttpFilter | undefined } = {
  cors: (filter) => filter,
  csrf: (filter) => filter,
  apiKey: (filter) => filter,
  basic: (filter) => filter,
  // Keys that are elsewhere are not asked for: of who shows a token nothing is said then.
  jwt: (filter, { header, query }) => (filter.providers.every(({ keys }) => !keys) || (header("authorization") === undefined && header("cookie") === undefined && query === "") ? filter : undefined),
  // Addresses are not those of here.
  authorise: (filter) => (filter.rules.every(({ clients }) => !clients) ? filter : undefined),
  validate: (filter) => {
    const parameters = { ...filter };
    delete parameters.body;
    return parameters;
  },
};
/** What stands behind one of these has to know who asks, which others find out. */
const unknown = new Set<HttpFilter["type"]>(["oidc", "extAuth", "authorizer", "anyOf", "jwt", "authorise"]);

/** The filter that would answer this request before anybody is asked, as far as that can be said without sending it. */
export function verdictOf(all: readonly HttpFilter[], request: RequestView, found: { match: HttpMatch | undefined; captures: readonly string[] | undefined }): Verdict | undefined {
  const tools: FilterTools = { random: systemRandom, nowMs: () => performance.now(), setTimer: () => ({ cancel() {} }) };
  const exchange: Exchange = { request, ...found, host: undefined, target: undefined, query: undefined, caller: undefined, requestHeaders: undefined, responseHeaders: undefined, upstream: undefined, mirrors: undefined, bodyBytesMax: undefined, onResponse() {}, onEnd() {}, readBody() {}, replaceBody() {}, hold: () => true, takeAnswer() {} };
  for (const filter of all) {
    const config = (judged[filter.type] as ((filter: HttpFilter, request: RequestView) => HttpFilter | undefined) | undefined)?.(filter, request);
    if (!config) {
      if (unknown.has(filter.type)) return undefined;
      continue;
    }
    let [hasPassed, answer]: [boolean, LocalAnswer | undefined] = [false, undefined];
    const handler = (compilers[config.type] as Filter<HttpFilter>)(config, tools)(() => void (hasPassed = true));
    handler(exchange, { forward() {}, answer: (_, given) => void (answer = given) });
    if (answer) return { by: filter.type, answer };
    // It has yet to look something up.
    if (!hasPassed) return undefined;
  }
  return undefined;
}
