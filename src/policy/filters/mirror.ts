import type { HttpFilter } from "../../api/traffic.ts";
import type { Filter } from "../exchange.ts";
import { happens, perMillion } from "../chance.ts";

/** Sends a copy of a share of the requests to another upstream, whose answers nobody reads. May stand several times in a rule. */
export const mirror: Filter<Extract<HttpFilter, { type: "mirror" }>> = (config, { random }) => {
  const share = perMillion(config.perMillion, "perMillion");
  return (next) => (exchange, outcome) => {
    if (happens(random, share)) (exchange.mirrors ??= []).push(config.upstream);
    next(exchange, outcome);
  };
};
