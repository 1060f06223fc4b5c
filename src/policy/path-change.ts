import type { PathChange } from "../api/traffic.ts";
import type { Exchange } from "./exchange.ts";
import { compilePattern, type Pattern } from "./pattern.ts";
import { PolicyError } from "./policy-error.ts";

/** What the path and query of a request become: a target as it stands in a request line. */
export type PathChanger = (exchange: Exchange) => string;

// What may stand in a target: visible ASCII, without what would end it or begin a fragment.
const targetText = /^[!-"$-~]*$/;

/** Redirects and rewrites alike. @throws PolicyError */
export function compilePathChange(change: PathChange): PathChanger {
  switch (change.type) {
    case "full": {
      const value = checked(change.value === "" ? "/" : change.value, "value");
      if (!value.startsWith("/")) throw new PolicyError("value", value, "must begin with '/'");
      return (exchange) => withQuery(value, queryOf(exchange));
    }
    case "prefix": {
      const value = checked(change.value, "value").replace(/\/$/, "");
      if (value !== "" && !value.startsWith("/")) throw new PolicyError("value", change.value, "must begin with '/'");
      return (exchange) => {
        const { request, match } = exchange;
        const rest = request.path.slice(match ? prefixLength(match.path) : 0);
        // With the slash taken off the prefix, what follows it begins with one, if anything follows.
        return withQuery(value + rest || "/", queryOf(exchange));
      };
    }
    case "regex":
      return compileRegexChange(change);
    default:
      throw new PolicyError("type", (change as PathChange).type, "supported values: full, prefix, regex");
  }
}

const queryOf = ({ query, request }: Exchange): string => query ?? request.query;

function prefixLength({ type, value }: { type: string; value: string }): number {
  if (type === "regex") return 0;
  return type === "prefix" && value.endsWith("/") ? value.length - 1 : value.length;
}

function checked(text: string, field: string): string {
  if (!targetText.test(text)) throw new PolicyError(field, text, "must be characters that may stand in a path");
  return text;
}

/** The request's query goes along, unless the configuration brings its own. */
function withQuery(path: string, query: string): string {
  return query === "" || path.includes("?") ? path : `${path}?${query}`;
}

function compileRegexChange({ pattern: source, substitution, ignoreCase, each }: Extract<PathChange, { type: "regex" }>): PathChanger {
  const parts = partsOf(checked(substitution, "substitution"));
  if (each && source === undefined) throw new PolicyError("each", each, "needs a pattern of its own");
  const pattern = source === undefined ? undefined : compilePattern(source, { whole: false, ignoreCase }, "pattern");
  // nginx: a "?" at the end means that the request's own arguments are left out.
  const dropsQuery = substitution.endsWith("?");
  return (exchange) => {
    const { request: { path }, captures } = exchange;
    const query = queryOf(exchange);
    const old = query === "" ? path : `${path}?${query}`;
    if (each) return withQuery(rooted(replaceEach(pattern!, path, parts)), query);
    const groups = pattern ? pattern.groups(path) : captures;
    if (!groups) return old;
    const target = rooted(fill(parts, groups));
    if (dropsQuery) return target.slice(0, -1);
    if (query === "") return target;
    return `${target}${target.includes("?") ? "&" : "?"}${query}`;
  };
}

/** A target that a capture of nothing left without its slash is one all the same. */
function rooted(target: string): string {
  return target.startsWith("/") ? target : `/${target}`;
}

/** Each place where the pattern is found, as `substitution` has it. */
export function compileReplacement(pattern: Pattern, substitution: string): (text: string) => string {
  const parts = partsOf(checked(substitution, "substitution"));
  return (text) => replaceEach(pattern, text, parts);
}

function replaceEach(pattern: Pattern, path: string, parts: readonly (string | number)[]): string {
  let result = "";
  let end = 0;
  for (let from = 0; from <= path.length; ) {
    const found = pattern.find(path, from);
    if (!found) break;
    const isNothing = found.start === found.end;
    // A match of nothing does not count right behind another, and must not be found for ever.
    if (!isNothing || found.start > end || end === 0) {
      result += path.slice(end, found.start) + fill(parts, found.groups);
      end = found.end;
    }
    from = isNothing ? found.end + 1 : found.end;
  }
  return result + path.slice(end);
}

/** "/a/$1" and "/a/${1}" → ["/a/", 1]. A "$" before anything else is itself. */
function partsOf(substitution: string): (string | number)[] {
  const parts: (string | number)[] = [];
  let end = 0;
  for (const match of substitution.matchAll(/\$(?:(\d)|\{(\d{1,2})\})/g)) {
    parts.push(substitution.slice(end, match.index), Number(match[1] ?? match[2]));
    end = match.index + match[0].length;
  }
  parts.push(substitution.slice(end));
  return parts.filter((part) => part !== "");
}

function fill(parts: readonly (string | number)[], groups: readonly string[]): string {
  let text = "";
  for (const part of parts) text += typeof part === "string" ? part : (groups[part] ?? "");
  return text;
}
