import type { HttpFilter } from "../../api/traffic.ts";
import type { Filter } from "../exchange.ts";
import { compilePathChange } from "../path-change.ts";
import { at, PolicyError } from "../policy-error.ts";

/** What the upstream sees as host and path. */
export const rewrite: Filter<Extract<HttpFilter, { type: "rewrite" }>> = ({ hostname, path }) => {
  if (hostname !== undefined && !/^[-.\w:[\]]+$/.test(hostname)) throw new PolicyError("hostname", hostname, "must be a host name");
  const change = path && at("path", () => compilePathChange(path));
  return (next) => (exchange, outcome) => {
    if (hostname !== undefined) exchange.host = hostname;
    if (change) exchange.target = change(exchange);
    next(exchange, outcome);
  };
};
