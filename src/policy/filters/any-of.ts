import type { AnyOfFilter } from "../../api/traffic-access.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import type { Exchange, Filter, FilterTools, Handler, LocalAnswer, Outcome } from "../exchange.ts";
import { at, PolicyError } from "../policy-error.ts";
import { asLeft, dropCookies, dropParams, editHeaders } from "../request-edits.ts";
import { type Place, placesOf } from "../tokens/places.ts";
import { filters } from "./index.ts";

/** What filters leave on an exchange for those behind them. */
const fields = ["host", "target", "query", "requestHeaders", "responseHeaders", "caller", "notes"] as const satisfies (keyof Exchange)[];
/** Refusals of somebody who may be known in another way: no key, no token, not allowed by who says who may. */
const refusals = new Set(["NA", "JWT", "UAEX", "PD", "OIDC"]);

/**
 * Ways to be known, one of which is enough: they are tried in turn, and whom none knows gets the refusal that says most. Each begins where
 * the filters before have left the request: what one that refuses has done to it is undone. What is shown for another way than the one
 * that was enough does not go on: nobody has judged it, and a program behind might take it for judged.
 */
export const anyOf: Filter<AnyOfFilter> = ({ of }, tools) => {
  if (of.length === 0) throw new PolicyError("of", of, "must have at least one entry");
  const ways = of.map((list, i) => at(`of[${i}]`, () => list.map((filter, j) => at(`[${j}]`, () => compiled(filter, { ...tools, ...(tools.keep && { keep: (key, make) => tools.keep!(`${i}.${j}/${key}`, make) }) })))));
  const shown = of.map((list) => list.flatMap(placesIn));
  const others = shown.map((own, i) => shown.flatMap((places, j) => (i === j ? [] : places.filter((place) => !own.some((one) => one.header === place.header && one.param === place.param && one.cookie === place.cookie)))));
  return (next) => {
    const accepted = new WeakMap<Outcome, Outcome>();
    const handlers = ways.map((list, i) => {
      const accept: Handler = (exchange, outcome) => {
        drop(exchange, others[i]!);
        next(exchange, accepted.get(outcome)!);
      };
      return list.reduceRight((inner, wrap) => wrap(inner), accept);
    });
    return (exchange, outcome) => {
      const before = fields.map((field) => exchange[field]);
      const notes = exchange.notes && [...exchange.notes];
      let best: LocalAnswer | undefined;
      const from = (i: number): void => {
        const trial: Outcome = {
          forward: (on) => outcome.forward(on),
          answer: (on, answer) => {
            if (!refusals.has(answer.flag)) return outcome.answer(on, answer);
            if (!best || answer.status > best.status) best = answer;
            if (i + 1 === handlers.length) return outcome.answer(on, best);
            Object.assign(exchange, Object.fromEntries(fields.map((field, k) => [field, before[k]])), { notes: notes && [...notes] });
            from(i + 1);
          },
        };
        accepted.set(trial, outcome);
        handlers[i]!(exchange, trial);
      };
      from(0);
    };
  };
};

/** Where somebody shows what a filter knows him by. */
function placesIn(filter: HttpFilter): Place[] {
  const one = (where: string, name: string): Place[] => {
    if (where === "header") return [{ header: name.toLowerCase(), tokens: (request) => request.header(name.toLowerCase()) === undefined ? [] : [""] }];
    if (where === "query") return [{ param: name, tokens: () => [""] }];
    return where === "cookie" ? [{ cookie: name, tokens: () => [""] }] : [];
  };
  switch (filter.type) {
    case "jwt":
      return filter.providers.flatMap(placesOf);
    case "basic":
      return one("header", "authorization");
    case "apiKey":
      return filter.from.flatMap(({ in: where, name }) => one(where, name));
    case "authorizer":
      return filter.identity.flatMap(({ in: where, name }) => one(where, name));
    default:
      return [];
  }
}

function drop(exchange: Exchange, places: readonly Place[]): void {
  const there = places.filter((place) => place.tokens(asLeft(exchange)).length > 0);
  const named = (field: "header" | "param" | "cookie"): string[] => there.flatMap((place) => place[field] ?? []);
  editHeaders(exchange, { remove: named("header") });
  dropParams(exchange, named("param"));
  dropCookies(exchange, named("cookie"));
}

function compiled<C extends HttpFilter>(filter: C, tools: FilterTools): (next: Handler) => Handler {
  if (!Object.hasOwn(filters, filter.type)) throw new PolicyError("type", filter.type, "is no filter");
  return (filters[filter.type] as unknown as Filter<C>)(filter, tools);
}
