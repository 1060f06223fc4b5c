import type { HttpFilter } from "../../api/traffic.ts";
import type { Exchange, Filter } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { compilePathChange, compileReplacement } from "../path-change.ts";
import { compilePattern } from "../pattern.ts";
import { at, PolicyError } from "../policy-error.ts";
import { editedHeader } from "../request-edits.ts";

type Rewrite = Extract<HttpFilter, { type: "rewrite" }>;

const isHost = (text: string): boolean => text.length <= 255 && /^[-.\w:[\]]+$/.test(text);

/** What the upstream sees as host and path. */
export const rewrite: Filter<Rewrite> = ({ hostname, hostnameFrom, path }) => {
  if (hostname !== undefined && !isHost(hostname)) throw new PolicyError("hostname", hostname, "must be a host name");
  const change = path && at("path", () => compilePathChange(path));
  const read = hostnameFrom && at("hostnameFrom", () => hostReader(hostnameFrom));
  return (next) => (exchange, outcome) => {
    if (hostname !== undefined) exchange.host = hostname;
    const found = read?.(exchange);
    // A client could say with it what it may not say of itself.
    if (found !== undefined && !isHost(found)) return outcome.answer(exchange, localAnswer(exchange.request, "DPE", "what is to be the host is no host name", { status: 400 }));
    if (found !== undefined) exchange.host = found;
    if (change) exchange.target = change(exchange);
    next(exchange, outcome);
  };
};

function hostReader(from: NonNullable<Rewrite["hostnameFrom"]>): (exchange: Exchange) => string | undefined {
  if ("header" in from) {
    const name = from.header.toLowerCase();
    return ({ request, requestHeaders }) => editedHeader(request, requestHeaders, name);
  }
  const pattern = compilePattern(from.pattern, { whole: false }, "pattern");
  const replace = compileReplacement(pattern, from.substitution);
  return ({ request: { path } }) => (pattern.find(path, 0) ? replace(path) : undefined);
}
