import type { Backend, HttpFilter, HttpRoute, HttpRule } from "../api/traffic.ts";
import type { Exchange, Filter, FilterTools, Handler, LocalAnswer, RequestView } from "./exchange.ts";
import { filters } from "./filters/index.ts";
import type { Flag } from "./flags.ts";
import { localAnswer } from "./local-answer.ts";
import { at, PolicyError } from "./policy-error.ts";
import { sessionIn, SessionNames, upstreamPartOf } from "./session-token.ts";
import { SmoothWeights } from "./weighted.ts";
import { secretParameters } from "./secret-names.ts";

/** Where one request goes: to an upstream, or nowhere. */
export interface Choice {
  /** Id of the upstream. */
  readonly upstream: string | undefined;
  /** Instead of an upstream: what this share of the requests is answered with. */
  readonly error: { readonly status: number; readonly flag: Flag; readonly reason: string } | undefined;
  /** The backend's own filters; null when it has none. */
  readonly handler: ((next: Handler) => Handler) | null;
}

/** What is left of a rule when it has been read: what a request needs, and nothing else. */
export interface CompiledRule {
  readonly route: HttpRoute;
  readonly rule: HttpRule;
  readonly index: number;
  /**
   * All of it, filters and choice of the backend: `exchange.upstream` is set before it is forwarded. null: nothing is
   * configured that would look at the exchange, and {@link choose} is all there is to do; no exchange need be made.
   */
  readonly handler: Handler | null;
  /** The same, and a handler in any case. */
  readonly serve: Handler;
  /** The backend of one request, by weight, exact over a cycle. The request is looked at only where sessions are kept. */
  choose(request: RequestView | undefined): Choice;
  /** Whether the groups of the match's regular expression are wanted. */
  readonly wantsCaptures: boolean;
  /** Parameters of its requests that the access log leaves out, besides those that are called so. */
  readonly secrets: readonly string[];
}

const noBackend: Choice = { upstream: undefined, error: { status: 500, flag: "NC", reason: "the rule has no backend" }, handler: null };
const noWeight: Choice = { upstream: undefined, error: { status: 500, flag: "NC", reason: "all backends of the rule have weight 0" }, handler: null };

/** @throws PolicyError naming a field of the rule */
export function compileRule(route: HttpRoute, index: number, tools: FilterTools): CompiledRule {
  const rule = route.rules[index]!;
  const ruleFilters = compileFilters(rule.filters, "filters", tools);
  const choices = rule.backends.map((backend, i) => at(`backends[${i}]`, () => compileBackend(backend, i, tools)));
  const chooseByWeight = compileWeights(rule.backends, choices, tools);
  const choose = compileSessions(rule, choices, tools, chooseByWeight);
  const all = [...rule.filters, ...rule.backends.flatMap((backend) => backend.filters ?? [])];
  refuseMisfits(rule, all);
  const isPlain = ruleFilters.length === 0 && choices.every(({ handler }) => handler === null);
  const serve = ruleFilters.reduceRight((next, filter) => filter(next), chooser(choose, choices));
  return {
    route,
    rule,
    index,
    handler: isPlain ? null : serve,
    serve,
    choose,
    secrets: secretParameters(rule),
    wantsCaptures: all.some((filter) => "path" in filter && filter.path?.type === "regex" && filter.path.pattern === undefined),
  };
}

function compileFilters(list: readonly HttpFilter[], place: string, tools: FilterTools): ((next: Handler) => Handler)[] {
  return list.map((config, i) =>
    at(`${place}[${i}]`, () => {
      const filter = filters[config.type] as Filter<HttpFilter> | undefined;
      if (!filter) throw new PolicyError("type", config.type, `supported values: ${Object.keys(filters).join(", ")}`);
      return filter(config, within(tools, `${place}[${i}]/${JSON.stringify(config)}`));
    }),
  );
}

/** Tools whose names are those of one place in the route. */
export function within(tools: FilterTools, place: string): FilterTools {
  const { keep, limiter } = tools;
  return {
    ...tools,
    ...(keep && { keep: (key, make) => keep(`${place}/${key}`, make) }),
    ...(limiter && { limiter: (id, rate) => limiter(`${place}/${id}`, rate) }),
  };
}

function compileBackend(backend: Backend, index: number, tools: FilterTools): Choice {
  const { upstream, error, weight } = backend;
  if (!Number.isInteger(weight) || weight < 0 || weight > 1_000_000) throw new PolicyError("weight", weight, "must be between 0 and 1000000");
  if ((upstream === undefined) === (error === undefined)) throw new PolicyError("upstream", upstream, "exactly one of upstream and error must be given");
  const own = compileFilters(backend.filters ?? [], "filters", within(tools, `backends[${index}]`));
  return {
    upstream,
    error: error && { status: error.status, flag: "NC", reason: error.reason },
    // What goes to a wrong reference meets no filters: they were meant for its upstream.
    handler: own.length === 0 || error ? null : (next) => own.reduceRight((inner, filter) => filter(inner), next),
  };
}

function compileWeights(backends: readonly Backend[], choices: readonly Choice[], tools: FilterTools): () => Choice {
  if (choices.length === 0) return () => noBackend;
  const weights = backends.map(({ weight }) => weight);
  if (weights.every((weight) => weight === 0)) return () => noWeight;
  const withWeight = choices.filter((_, i) => weights[i]! > 0);
  if (withWeight.length === 1) return () => withWeight[0]!;
  // The cycle goes on over a change of the route: 100 changes a second must not give everything to the first.
  const make = () => new SmoothWeights(weights);
  const turns = tools.keep ? tools.keep(`weights/${weights.join(",")}`, make) : make();
  return () => choices[turns.next()]!;
}

/** A session holds on to its upstream as well, as long as that has a weight. Source: Gateway API, GEP-1619. */
function compileSessions({ persistence, backends }: HttpRule, choices: readonly Choice[], tools: FilterTools, byWeight: () => Choice): CompiledRule["choose"] {
  const upstreams = new Map<string, Choice>();
  if (persistence && persistence.type !== "address" && tools.sessionKey !== undefined && choices.length > 1) {
    const names = new SessionNames(tools.sessionKey);
    for (const [i, { upstream, weight }] of backends.entries()) if (upstream !== undefined && weight > 0) upstreams.set(names.name(upstream), choices[i]!);
  }
  if (upstreams.size < 2) return byWeight;
  return (request) => {
    const session = request && sessionIn(request, persistence!);
    return (session !== undefined && upstreams.get(upstreamPartOf(session))) || byWeight();
  };
}

/** The end of a rule's chain: the backend, its filters, and off. */
function chooser(choose: CompiledRule["choose"], choices: readonly Choice[]): Handler {
  const forward: Handler = (exchange, outcome) => outcome.forward(exchange);
  const handlers = new Map(choices.map((choice) => [choice, choice.handler ? choice.handler(forward) : null]));
  return (exchange, outcome) => {
    const choice = choose(exchange.request);
    if (choice.error) return outcome.answer(exchange, answerOf(choice, exchange));
    exchange.upstream = choice.upstream;
    const handler = handlers.get(choice);
    if (handler) handler(exchange, outcome);
    else outcome.forward(exchange);
  };
}

function answerOf({ error }: Choice, { request }: Exchange): LocalAnswer {
  return localAnswer(request, error!.flag, error!.reason, { status: error!.status });
}

/** Combinations that mean nothing. */
function refuseMisfits({ matches }: HttpRule, all: readonly HttpFilter[]): void {
  const prefix = all.find((filter) => "path" in filter && filter.path?.type === "prefix");
  const wrong = matches.findIndex(({ path }) => path.type === "regex");
  if (prefix && wrong >= 0) throw new PolicyError(`matches[${wrong}].path.type`, "regex", `a ${prefix.type} filter replaces the prefix, and this match has none`);
  const captures = all.find((filter) => "path" in filter && filter.path?.type === "regex" && filter.path.pattern === undefined);
  const plain = matches.findIndex(({ path }) => path.type !== "regex");
  if (captures && plain >= 0) throw new PolicyError(`matches[${plain}].path.type`, matches[plain]!.path.type, `a ${captures.type} filter takes the captures of the match, and this match has none`);
  if (all.some(({ type }) => type === "redirect") && all.some(({ type }) => type === "rewrite")) {
    throw new PolicyError("filters", "redirect", "cannot be combined with a rewrite filter");
  }
}
