import type { TokenRule } from "../../api/guard.ts";
import type { RequestView } from "../exchange.ts";
import { parametersOf } from "../values.ts";

/** Where a token may stand in a request; one of `header`, `param` and `cookie` is set. */
export interface Place {
  header?: string;
  param?: string;
  cookie?: string;
  tokens(request: Pick<RequestView, "header" | "query">): readonly string[];
}

const none: readonly string[] = [];
/** The names of schemes are the same in capitals (RFC 9110 §11.1), and some readers take a tab for the blank behind them. */
const begins = (value: string, prefix: string): boolean => value.slice(0, prefix.length).replaceAll("\t", " ").toLowerCase() === prefix.toLowerCase();
const inHeader = (name: string, prefix: string): Place => ({
  header: name,
  tokens: (request) => {
    const value = request.header(name);
    // Two of them would be joined, and are no token then.
    return value === undefined || !begins(value, prefix) ? none : [value.slice(prefix.length).trim()];
  },
});
/** With or without its scheme. */
const inHeaderAlone = (name: string): Place => ({
  header: name,
  tokens: (request) => {
    const value = request.header(name)?.replace(/^bearer[ \t]+/i, "").trim() ?? "";
    return value === "" ? none : [value];
  },
});
const inParam = (name: string): Place => ({ param: name, tokens: ({ query }) => (query.includes(name) || query.includes("%") ? parametersOf(query).getAll(name) : none) });
const inCookie = (name: string): Place => ({ cookie: name, tokens: (request) => (request.header("cookie") ?? "").split(/[;,]\s*/).flatMap((pair) => (pair.startsWith(`${name}=`) ? [pair.slice(name.length + 1)] : [])) });
const bearer: Place = {
  header: "authorization",
  tokens: (request) => {
    const found = /^bearer[ \t]+(.*)$/i.exec(request.header("authorization") ?? "");
    return found ? [found[1]!.trim()] : none;
  },
};

/** Those that are named are the only ones; without any, those of RFC 6750. */
export function placesOf({ headers = [], params = [], cookies = [] }: Pick<TokenRule, "headers" | "params" | "cookies">): Place[] {
  if (headers.length + params.length + cookies.length === 0) return [bearer, inParam("access_token")];
  return [...headers.map(({ name, prefix, isOptional }) => (isOptional ? inHeaderAlone(name) : inHeader(name, prefix))), ...params.map(inParam), ...cookies.map(inCookie)];
}

