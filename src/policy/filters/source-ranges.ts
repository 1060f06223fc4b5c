import type { HttpFilter } from "../../api/traffic.ts";
import { AddressRanges } from "../addresses.ts";
import type { Filter } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";

/** Who is denied is refused; where somebody is allowed, so is everybody else. As nginx's deny and allow in this order. */
export const sourceRanges: Filter<Extract<HttpFilter, { type: "sourceRanges" }>> = (config) => {
  const deny = new AddressRanges(config.deny ?? [], "deny");
  const allow = config.allow && new AddressRanges(config.allow, "allow");
  return (next) => (exchange, outcome) => {
    const { client } = exchange.request;
    if (!deny.includes(client) && (!allow || allow.includes(client))) return next(exchange, outcome);
    outcome.answer(exchange, localAnswer(exchange.request, "AD", `access denied to ${client}`));
  };
};
