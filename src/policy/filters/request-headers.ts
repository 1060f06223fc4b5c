import type { HeaderChange } from "../../api/traffic.ts";
import type { Filter } from "../exchange.ts";
import { compileEdits, mergeEdits } from "../header-edits.ts";
import { PolicyError } from "../policy-error.ts";

/** Sets, adds and removes headers of the request. `host` may be set, which is a rewrite of the host. */
export const requestHeaders: Filter<HeaderChange> = (config) => {
  const all = compileEdits(config);
  for (const field of ["add", "remove"] as const) {
    const index = (config[field] ?? []).findIndex((entry) => (typeof entry === "string" ? entry : entry.name).toLowerCase() === "host");
    if (index >= 0) throw new PolicyError(`${field}[${index}]`, "host", "a request has exactly one host; it can only be set");
  }
  const host = all.set.find(([name]) => name === "host")?.[1];
  if (host !== undefined && !/^[-.\w:[\]]+$/.test(host)) throw new PolicyError("set", host, "must be a host name");
  const edits = { ...all, set: all.set.filter(([name]) => name !== "host") };
  const isEmpty = edits.set.length + edits.add.length + edits.remove.length === 0;
  return (next) => (exchange, outcome) => {
    if (!isEmpty) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, edits);
    if (host !== undefined) exchange.host = host;
    next(exchange, outcome);
  };
};
