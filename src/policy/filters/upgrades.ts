import type { UpgradesFilter } from "../../api/traffic-answers.ts";
import type { Filter } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { PolicyError } from "../policy-error.ts";

const isToken = /^[-!#$%&'*+.^_`|~\w]+(?:\/[-!#$%&'*+.^_`|~\w]+)?$/;

/** Connections are upgraded to these protocols and no other. An upstream may choose of what is asked for, so all of it has to be among them. */
export const upgrades: Filter<UpgradesFilter> = ({ protocols }) => {
  for (const [i, protocol] of protocols.entries()) if (!isToken.test(protocol)) throw new PolicyError(`protocols[${i}]`, protocol, "must be the name of a protocol");
  const known = new Set(protocols.map((protocol) => protocol.toLowerCase()));
  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    const asked = request.header("upgrade");
    if (asked === undefined || !/(?:^|,)[ \t]*upgrade[ \t]*(?:,|$)/i.test(request.header("connection") ?? "")) return next(exchange, outcome);
    const unknown = asked.toLowerCase().split(",").map((one) => one.trim()).find((one) => one !== "" && !known.has(one));
    if (unknown === undefined) return next(exchange, outcome);
    outcome.answer(exchange, localAnswer(request, "AD", `no connection is upgraded to ${unknown}`, { status: 403 }));
  };
};
