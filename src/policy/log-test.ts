import type { LogTest } from "../api/guard.ts";
import { compilePattern } from "./pattern.ts";

/** A request that is over. */
export interface LoggedRequest {
  readonly request: { readonly method: string; readonly path: string; readonly query: string; readonly host: string; readonly scheme: string; header(name: string): string | undefined };
  readonly status: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

type Read = (of: LoggedRequest) => string | number | undefined;

/** What may be asked for, by the names of Envoy's attributes, and what it is. Headers are "request.headers[NAME]". */
export const loggedFields: Record<string, { type: "string" | "number"; read: Read }> = {
  "response.code": { type: "number", read: ({ status }) => status },
  "response.size": { type: "number", read: ({ sentBytes }) => sentBytes },
  "request.size": { type: "number", read: ({ receivedBytes }) => receivedBytes },
  "request.method": { type: "string", read: ({ request }) => request.method },
  "request.host": { type: "string", read: ({ request }) => request.header("host") ?? request.host },
  "request.scheme": { type: "string", read: ({ request }) => request.scheme },
  "request.path": { type: "string", read: ({ request: { path, query } }) => (query === "" ? path : `${path}?${query}`) },
  "request.url_path": { type: "string", read: ({ request }) => request.path },
  "request.useragent": { type: "string", read: ({ request }) => request.header("user-agent") },
  "request.referer": { type: "string", read: ({ request }) => request.header("referer") },
  "request.id": { type: "string", read: ({ request }) => request.header("x-request-id") },
};

/** As CEL has it: an error is neither true nor false, and `&&` and `||` need not care. */
type Verdict = boolean | undefined;

/** @throws PolicyError a pattern is none */
export function compileLogTest(test: LogTest): (of: LoggedRequest) => boolean {
  const compiled = compile(test);
  return (of) => compiled(of) === true;
}

function compile(test: LogTest): (of: LoggedRequest) => Verdict {
  if ("has" in test) return ({ request }) => request.header(test.has) !== undefined;
  if ("not" in test) {
    const inner = compile(test.not);
    return (of) => {
      const verdict = inner(of);
      return verdict === undefined ? undefined : !verdict;
    };
  }
  if ("all" in test || "any" in test) {
    const decisive = "any" in test;
    const terms = ("any" in test ? test.any : test.all).map(compile);
    return (of) => {
      let isUnknown = false;
      for (const term of terms) {
        const verdict = term(of);
        if (verdict === decisive) return decisive;
        isUnknown ||= verdict === undefined;
      }
      return isUnknown ? undefined : !decisive;
    };
  }
  const name = /^request\.headers\[(.*)\]$/.exec(test.field)?.[1];
  const read: Read = name === undefined ? loggedFields[test.field]!.read : ({ request }) => request.header(name);
  const holds = comparison(test.is, test.value);
  return (of) => {
    const value = read(of);
    return value === undefined ? undefined : holds(value);
  };
}

function comparison(is: Extract<LogTest, { field: string }>["is"], wanted: string | number): (value: string | number) => boolean {
  switch (is) {
    case "==":
      return (value) => value === wanted;
    case "!=":
      return (value) => value !== wanted;
    case "<":
      return (value) => value < wanted;
    case "<=":
      return (value) => value <= wanted;
    case ">":
      return (value) => value > wanted;
    case ">=":
      return (value) => value >= wanted;
    case "startsWith":
      return (value) => String(value).startsWith(String(wanted));
    case "endsWith":
      return (value) => String(value).endsWith(String(wanted));
    case "contains":
      return (value) => String(value).includes(String(wanted));
    case "matches": {
      const pattern = compilePattern(String(wanted), { whole: false }, "matches");
      return (value) => pattern.test(String(value));
    }
  }
}
