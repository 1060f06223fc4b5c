import type { HttpMatch, HttpRoute, HttpRule } from "../api/traffic.ts";
import { systemRandom } from "../base/random.ts";
import { compileConditions } from "./conditions.ts";
import type { FilterTools, RequestView } from "./exchange.ts";
import { hostFits, HostIndex } from "./host-index.ts";
import { type Indexed, pathFits, PathIndex } from "./path-index.ts";
import { withoutKeySets } from "./key-sets.ts";
import { compilePattern } from "./pattern.ts";
import { at, PolicyError } from "./policy-error.ts";
import { compileRule, type CompiledRule, within } from "./rule.ts";

/**
 * Which rule a request falls to. By listener, then host name (exact, longer wildcards before shorter, none), then the match's
 * `priority`, then as Gateway API has it: exact path, longest prefix, regular expression (the longer first); method; number of
 * headers (cookies are headers) and of query parameters; age of the route; its id; order within it.
 *
 * A host name whose routes do not fit gives way to the next less specific one: names say which rules go first, not
 * which there are.
 *
 * One route is put or removed in time proportional to it, whatever the table holds, and a request sees it whole or not at all.
 */
export class RouteTable {
  readonly #listeners = new Map<string, HostIndex<HostRoutes>>();
  readonly #routes = new Map<string, Placed>();
  readonly #tools: FilterTools;

  constructor(tools: FilterTools) {
    this.#tools = tools;
  }

  /** Number of routes. */
  get size(): number {
    return this.#routes.size;
  }
  has(id: string): boolean {
    return this.#routes.has(id);
  }

  /**
   * Puts a route in place of the one with the same id. What its filters have counted goes on where their configuration stays.
   * @throws PolicyError the route cannot be served; the table is as it was
   */
  put(told: HttpRoute): void {
    const route = withoutKeySets(told);
    const before = this.#routes.get(route.id);
    const kept = new Map<string, unknown>();
    const shared = new Set<string>();
    let candidates: Candidate[];
    try {
      candidates = route.rules.flatMap((_, i) => at(`rules[${i}]`, () => this.#compileRule(route, i, before?.kept, kept, shared)));
    } catch (error) {
      this.#release(shared);
      throw error;
    }
    if (before) this.#withdraw(before);
    const places: HostRoutes[] = [];
    for (const { listener, hostnames } of route.attachments) {
      for (const hostname of new Set(hostnames)) {
        const routes = this.#hostRoutes(listener, hostname.toLowerCase());
        for (const candidate of candidates) routes.put(candidate);
        places.push(routes);
      }
    }
    this.#routes.set(route.id, { candidates, places, kept, shared });
  }

  remove(id: string): void {
    const placed = this.#routes.get(id);
    if (!placed) return;
    this.#withdraw(placed);
    this.#routes.delete(id);
  }

  find(listener: string, request: RequestView): Found | NotFound {
    const hosts = this.#listeners.get(listener);
    if (!hosts) return noHost;
    const candidate = hosts.search(request.host, request, findHere);
    if (!candidate) return hosts.find(request.host) ? noMatch : noHost;
    if (!candidate.rule.wantsCaptures) return candidate;
    return { rule: candidate.rule, match: candidate.match, captures: candidate.path.pattern!.groups(request.path) };
  }

  /**
   * Every match that is attached to the listener, those first that go first, and why it does not serve this request, or that it
   * does. For people; it looks at all of them.
   */
  *explain(listener: string, request: RequestView): Generator<Explanation> {
    let chosen = false;
    const all = [...(this.#listeners.get(listener)?.entries() ?? [])].sort(([a], [b]) => bySpecificity(a, b));
    for (const [hostname, routes] of all) {
      for (const candidate of [...routes].sort(byPrecedence)) {
        const why = whyNot(hostname, candidate, request);
        const base = { route: candidate.rule.route.id, rule: candidate.rule.rule.name, match: candidate.match, hostname };
        if (why !== undefined) yield { ...base, chosen: false, reason: why };
        else if (chosen) yield { ...base, chosen: false, reason: "it fits too, but those above go first" };
        else yield { ...base, chosen: true, reason: "it fits, and goes first" };
        chosen ||= why === undefined;
      }
    }
  }

  #compileRule(route: HttpRoute, index: number, old: ReadonlyMap<string, unknown> | undefined, kept: Map<string, unknown>, shared: Set<string>): Candidate[] {
    // A rule that moves within its route is still the same one, as long as its name tells it from the others.
    const { name } = route.rules[index]!;
    const isNamed = name !== "" && route.rules.filter((other) => other.name === name).length === 1;
    const place = isNamed ? `name ${name}` : `index ${index}`;
    const keep = <T>(key: string, make: () => T): T => {
      const value = (kept.get(key) ?? old?.get(key) ?? make()) as T;
      kept.set(key, value);
      return value;
    };
    const rule = compileRule(route, index, within({ ...this.#tools, route: route.id, keep, shared: (key, make) => this.#share(key, make, shared) }, `${route.id}/${place}`));
    if (rule.rule.matches.length === 0) throw new PolicyError("matches", [], "must have at least one entry");
    return rule.rule.matches.map((match, i) => at(`matches[${i}]`, () => compileMatch(rule, match, i)));
  }

  #hostRoutes(listener: string, hostname: string): HostRoutes {
    let hosts = this.#listeners.get(listener);
    if (!hosts) this.#listeners.set(listener, (hosts = new HostIndex()));
    let routes = hosts.get(hostname);
    if (!routes) hosts.set(hostname, (routes = new HostRoutes(listener, hostname)));
    return routes;
  }

  /** What routes count together, and how many of them do. */
  readonly #together = new Map<string, { value: unknown; users: number }>();

  #share<T>(key: string, make: (limiter: FilterTools["limiter"]) => T, mine: Set<string>): T {
    let found = this.#together.get(key);
    if (!found) this.#together.set(key, (found = { value: make(this.#tools.limiter), users: 0 }));
    if (!mine.has(key)) found.users++;
    mine.add(key);
    return found.value as T;
  }
  #release(shared: ReadonlySet<string>): void {
    for (const key of shared) if (--this.#together.get(key)!.users === 0) this.#together.delete(key);
  }

  #withdraw({ candidates, places, shared }: Placed): void {
    this.#release(shared);
    for (const routes of places) {
      for (const candidate of candidates) routes.remove(candidate);
      if (!routes.isEmpty) continue;
      const hosts = this.#listeners.get(routes.listener);
      hosts?.delete(routes.hostname);
      if (hosts?.size === 0) this.#listeners.delete(routes.listener);
    }
  }
}

/** What is wrong with a route, by the field; undefined when it can be served. For compilers, who say it in a status. */
export function checkRoute(route: HttpRoute): PolicyError | undefined {
  try {
    new RouteTable({ random: systemRandom, nowMs: () => 0, setTimer: () => ({ cancel() {} }) }).put(route);
    return undefined;
  } catch (error) {
    if (error instanceof PolicyError) return error;
    throw error;
  }
}

/** The same of one rule, by its field, for those who can do without it. */
export function checkRule(rule: HttpRule): PolicyError | undefined {
  const wrong = checkRoute({ id: "", type: "http", createdAt: 0, attachments: [], rules: [rule] });
  return wrong && new PolicyError(wrong.field.replace(/^rules\[0\]\./, ""), wrong.value, wrong.reason);
}

export interface Found {
  readonly rule: CompiledRule;
  readonly match: HttpMatch;
  /** Where the rule wants them. */
  readonly captures: readonly string[] | undefined;
}

/** No route: 404 with flag NR. */
export interface NotFound {
  readonly rule?: undefined;
  /** `host`: no route of this listener has a name that fits; `match`: some have, and none of their rules fits. */
  readonly why: "host" | "match";
}

export interface Explanation {
  /** Its id. */
  route: string;
  /** Its name. */
  rule: string;
  match: HttpMatch;
  hostname: string;
  chosen: boolean;
  reason: string;
}

const noHost: NotFound = { why: "host" };
const noMatch: NotFound = { why: "match" };

interface Placed {
  candidates: readonly Candidate[];
  places: readonly HostRoutes[];
  kept: ReadonlyMap<string, unknown>;
  shared: ReadonlySet<string>;
}

/** One match of one rule, which is also what is found where nothing was captured. */
interface Candidate extends Indexed, Found {
  readonly matchIndex: number;
  readonly priority: number;
  readonly headers: number;
  readonly query: number;
}

function compileMatch(rule: CompiledRule, given: HttpMatch, matchIndex: number): Candidate {
  const match = normalMatch(given);
  const { type, value, ignoreCase = false, partial = false } = match.path;
  if (type !== "regex" && !value.startsWith("/")) throw new PolicyError("path.value", value, "must begin with '/'");
  if (partial && type !== "regex") throw new PolicyError("path.partial", partial, "only a regular expression can be found in a part of the path");
  if (type !== "exact" && type !== "prefix" && type !== "regex") throw new PolicyError("path.type", type, "supported values: exact, prefix, regex");
  return {
    rule,
    match,
    matchIndex,
    captures: undefined,
    priority: match.priority ?? 0,
    headers: (match.headers?.length ?? 0) + (match.cookies?.length ?? 0),
    query: match.query?.length ?? 0,
    path: {
      type,
      value: type === "prefix" && value.endsWith("/") ? value.slice(0, -1) : value,
      ignoreCase,
      pattern: type === "regex" ? compilePattern(value, { whole: !partial, ignoreCase }, "path.value") : undefined,
    },
    conditions: compileConditions(match),
  };
}

/** With its path written as {@link RequestView.path} is: "/café" and "/%7euser" mean "/caf%C3%A9" and "/~user". */
function normalMatch(match: HttpMatch): HttpMatch {
  const { type, value } = match.path;
  if (type === "regex" || /^[!-$&-~]*$/.test(value)) return match;
  // Half of a surrogate pair is no character, and has no bytes.
  if (/\p{Surrogate}/u.test(value)) throw new PolicyError("path.value", value, "must be Unicode text");
  const encoded = value.replace(/[^!-~]+/gu, (text) => encodeURIComponent(text));
  const normal = encoded.replace(/%([0-9a-f]{2})/gi, (escape, digits: string) => {
    const char = String.fromCharCode(Number.parseInt(digits, 16));
    return /[A-Za-z0-9._~-]/.test(char) ? char : escape.toUpperCase();
  });
  return { ...match, path: { ...match.path, value: normal } };
}

/** The routes of one host name on one listener: one index a priority, highest first. */
class HostRoutes {
  readonly listener: string;
  readonly hostname: string;
  readonly #levels: { priority: number; index: PathIndex<Candidate> }[] = [];

  constructor(listener: string, hostname: string) {
    this.listener = listener;
    this.hostname = hostname;
  }
  get isEmpty(): boolean {
    return this.#levels.length === 0;
  }

  put(candidate: Candidate): void {
    const { priority } = candidate;
    let place = this.#levels.findIndex((level) => level.priority <= priority);
    if (place < 0) place = this.#levels.length;
    if (this.#levels[place]?.priority !== priority) this.#levels.splice(place, 0, { priority, index: new PathIndex(withinPath) });
    this.#levels[place]!.index.put(candidate);
  }

  remove(candidate: Candidate): void {
    const place = this.#levels.findIndex((level) => level.priority === candidate.priority);
    if (place < 0) return;
    const { index } = this.#levels[place]!;
    index.remove(candidate);
    if (index.size === 0) this.#levels.splice(place, 1);
  }

  find(request: RequestView): Candidate | undefined {
    for (let i = 0; i < this.#levels.length; i++) {
      const candidate = this.#levels[i]!.index.find(request);
      if (candidate) return candidate;
    }
    return undefined;
  }

  *[Symbol.iterator](): Generator<Candidate> {
    for (const { index } of this.#levels) yield* index;
  }
}

const findHere = (routes: HostRoutes, request: RequestView): Candidate | undefined => routes.find(request);

const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Of two matches that share a path, or are both patterns: which goes first. Never 0 for two different ones. */
function withinPath(a: Candidate, b: Candidate): number {
  const patterns = a.path.pattern && b.path.pattern ? b.path.value.length - a.path.value.length : 0;
  return (
    patterns ||
    Number(b.match.method !== undefined) - Number(a.match.method !== undefined) ||
    b.headers - a.headers ||
    b.query - a.query ||
    a.rule.route.createdAt - b.rule.route.createdAt ||
    text(a.rule.route.id, b.rule.route.id) ||
    a.rule.index - b.rule.index ||
    a.matchIndex - b.matchIndex
  );
}

const pathRank = { exact: 0, prefix: 1, regex: 2 };

/** All of one host name. */
function byPrecedence(a: Candidate, b: Candidate): number {
  const rank = b.priority - a.priority || pathRank[a.path.type] - pathRank[b.path.type];
  return rank || (a.path.type === "prefix" ? b.path.value.length - a.path.value.length : 0) || withinPath(a, b);
}

function bySpecificity(a: string, b: string): number {
  const rank = (name: string) => (name === "" ? 2 : name.startsWith("*.") ? 1 : 0);
  return rank(a) - rank(b) || b.length - a.length || text(a, b);
}

function whyNot(hostname: string, candidate: Candidate, request: RequestView): string | undefined {
  if (!hostFits(hostname, request.host)) return `host is ${request.host || "absent"}, not ${hostname}`;
  const { path, conditions } = candidate;
  if (!pathFits(candidate, request.path)) {
    const how = { exact: "is not", prefix: "does not begin with", regex: candidate.match.path.partial ? "does not contain" : "does not match" }[path.type];
    return `path ${request.path} ${how} ${candidate.match.path.value}`;
  }
  return conditions?.find((condition) => !condition.test(request))?.describe(request);
}
