import type { HttpFilter } from "../../api/traffic.ts";
import type { Exchange, Filter } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { compilePathChange } from "../path-change.ts";
import { at, PolicyError } from "../policy-error.ts";

type Config = Extract<HttpFilter, { type: "redirect" }>;

const statuses = [301, 302, 303, 307, 308];

/**
 * Answers with another address. The port: as configured; else the usual one of the configured scheme; else the one that was
 * dialled; and it is left out where it is the usual one. Source: Gateway API, HTTPRequestRedirectFilter.
 */
export const redirect: Filter<Config> = (config) => {
  const { status } = config;
  if (!statuses.includes(status)) throw new PolicyError("status", status, `supported values: ${statuses.join(", ")}`);
  const locationOf = compileLocation(config);
  return () => (exchange, outcome) => {
    const location = locationOf(exchange);
    outcome.answer(exchange, localAnswer(exchange.request, "DR", `redirected to ${location}`, { status, headers: [["location", location]] }));
  };
};

/** Where it leads. @throws PolicyError */
export function compileLocation(config: Omit<Config, "type">): (exchange: Exchange) => string {
  const { scheme, hostname, port } = config;
  if (scheme !== undefined && !/^[a-z][a-z0-9+.-]*$/.test(scheme)) throw new PolicyError("scheme", scheme, "must be a scheme in lower case");
  const change = config.path && at("path", () => compilePathChange(config.path!));
  const usualPort = (name: string) => ({ http: 80, https: 443 })[name];
  return (exchange) => {
    const { request } = exchange;
    const target = change ? change(exchange) : request.query === "" ? request.path : `${request.path}?${request.query}`;
    const host = hostname ?? request.host;
    // A request of HTTP/1.0 need not name a host: then only the path can be told. Two slashes would begin a host name.
    if (host === "") return target.replace(/^\/+/, "/");
    const finalScheme = scheme ?? request.scheme;
    const finalPort = port ?? (scheme === undefined ? request.port : (usualPort(scheme) ?? request.port));
    return `${finalScheme}://${host}${finalPort === usualPort(finalScheme) ? "" : `:${finalPort}`}${target}`;
  };
}
