import type { HttpMatch, ValueMatch } from "../api/traffic.ts";
import type { RequestView } from "./exchange.ts";
import { hash } from "./hash.ts";
import { compilePattern } from "./pattern.ts";
import { at, PolicyError } from "./policy-error.ts";
import { cookieValue, queryValue } from "./values.ts";

/** One thing besides the path that a request must have. */
export interface Condition {
  test(request: RequestView): boolean;
  /** For `wherry route explain`: what was asked for, and what there was. */
  describe(request: RequestView): string;
}

/** All conditions of a match besides its path: null when there are none. @throws PolicyError */
export function compileConditions(match: HttpMatch): readonly Condition[] | null {
  const { method } = match;
  const conditions: Condition[] = [];
  if (method !== undefined) conditions.push({ test: (request) => request.method === method, describe: (request) => `method is ${request.method}, not ${method}` });
  if (match.clients) {
    const clients = new Set(match.clients);
    conditions.push({ test: (request) => clients.has(request.client), describe: (request) => `the client ${request.client} is none of those that it is for` });
  }
  if (match.sample) conditions.push(compileSample(match.sample));
  const add = (field: "headers" | "query" | "cookies", word: string, read: (request: RequestView, name: string) => string | undefined) => {
    const seen = new Set<string>();
    for (const [i, wanted] of (match[field] ?? []).entries()) {
      const name = field === "headers" ? wanted.name.toLowerCase() : wanted.name;
      if (name === "") throw new PolicyError(`${field}[${i}].name`, name, "must not be empty");
      // Gateway API: of several entries with one name the first counts; one that must not match is another thing to ask.
      const key = `${name}${wanted.not ? " not" : ""}`;
      if (seen.has(key)) continue;
      seen.add(key);
      const test = at(`${field}[${i}]`, () => compileValue(wanted));
      conditions.push({
        test: (request) => test(read(request, name)),
        describe(request) {
          const value = read(request, name);
          return `${word} ${wanted.name} is ${value === undefined ? "absent" : JSON.stringify(value)}, ${shown(wanted)}`;
        },
      });
    }
  };
  add("headers", "header", (request, name) => request.header(name));
  add("query", "query parameter", (request, name) => queryValue(request.query, name));
  add("cookies", "cookie", (request, name) => cookieValue(request.header("cookie"), name));
  return conditions.length > 0 ? conditions : null;
}

function compileSample({ perMillion, seed, header }: NonNullable<HttpMatch["sample"]>): Condition {
  if (!Number.isInteger(perMillion) || perMillion < 0 || perMillion > 1_000_000) throw new PolicyError("sample.perMillion", perMillion, "must be between 0 and 1000000");
  const name = header?.toLowerCase();
  const shown = (request: RequestView): string | undefined => (name === undefined ? undefined : request.header(name));
  const within = (perMillion / 1_000_000) * 2 ** 32;
  return {
    // A header cannot say somebody's address: the two are not hashed alike.
    test(request) {
      const value = shown(request);
      return hash(value === undefined ? `${seed}|${request.client}` : `${seed}=${value}`) < within;
    },
    describe: (request) => `${shown(request) === undefined ? `the client ${request.client}` : `who has this header ${header}`} is not among the ${perMillion / 10_000} % that it is for`,
  };
}

function compileValue(wanted: ValueMatch): (value: string | undefined) => boolean {
  const test = positive(wanted);
  return wanted.not ? (value) => !test(value) : test;
}

function positive({ type, value: wanted }: ValueMatch): (value: string | undefined) => boolean {
  switch (type) {
    case "present":
      return (value) => value !== undefined;
    case "exact":
      return (value) => value === wanted;
    case "prefix":
      return (value) => value !== undefined && value.startsWith(wanted);
    case "regex": {
      const pattern = compilePattern(wanted, { whole: true }, "value");
      return (value) => value !== undefined && pattern.test(value);
    }
    default:
      throw new PolicyError("type", type, "supported values: exact, prefix, present, regex");
  }
}

function shown({ type, value, not }: ValueMatch): string {
  if (type === "present") return not ? "must be absent" : "must be there";
  const how = { exact: "be", prefix: "begin with", regex: "match" }[type];
  return `must ${not ? "not " : ""}${how} ${JSON.stringify(value)}`;
}
