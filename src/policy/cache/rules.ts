import { controlOf, type Directives, httpDate, parseDirectives, seconds } from "./directives.ts";

/** Of a response, as a shared cache sees it. Names in lower case; repeated fields joined by ", ". */
export interface Fields {
  get(name: string): string | undefined;
}

/** What is kept of the moment: milliseconds since the epoch. */
export interface Times {
  /** The request was sent. */
  askedAt: number;
  /** The head came. */
  answeredAt: number;
}

/** RFC 9110 §15.1: what may be kept though nothing says for how long. */
const heuristicStatuses = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);
/** What is understood, which `must-understand` asks for; without 206 and 304, which are parts. Others are kept where it is said for how long. */
const finalStatuses = new Set([...heuristicStatuses, 302, 303, 307, 400, 403, 500, 502, 503, 504]);
/** They say something of this one request, by what is in no key: who asks, on which condition, with how much. */
const ofOne = new Set([401, 407, 412, 416, 417, 421, 431]);
const heuristicMaxMs = 86_400_000;

/** May this be kept by a cache that many share? Source: RFC 9111 §3. */
export function isStorable(request: { method: string; cacheControl: string | undefined; isAuthorized: boolean; hasCookies: boolean }, status: number, fields: Fields, defaultTtlMs: number): boolean {
  if (request.method !== "GET" || parseDirectives(request.cacheControl).has("no-store")) return false;
  const { directives, isTargeted } = controlOf(fields);
  const isUnderstood = finalStatuses.has(status);
  const isOnlyUnderstood = directives.has("must-understand");
  if ((directives.has("no-store") && !(isOnlyUnderstood && isUnderstood)) || directives.has("private")) return false;
  if (status < 200 || ofOne.has(status) || status === 206 || status === 304 || (isOnlyUnderstood && !isUnderstood)) return false;
  // §3.5: what somebody had to prove to be somebody for is everybody's only when it says so.
  if (request.isAuthorized && !directives.has("public") && !directives.has("must-revalidate") && !directives.has("s-maxage")) return false;
  // Nor what a program says nothing of: cookies may have told it who asks.
  const isSaid = directives.has("public") || directives.has("max-age") || directives.has("s-maxage") || (!isTargeted && fields.get("expires") !== undefined);
  if (request.hasCookies && !isSaid) return false;
  if ((fields.get("vary") ?? "").split(",").some((name) => name.trim() === "*")) return false;
  // What is set for one client is hardly meant for the next one.
  if (fields.get("set-cookie") !== undefined && !directives.has("public") && !directives.has("s-maxage")) return false;
  return isSaid || heuristicStatuses.has(status) && (hasValidator(fields) || defaultTtlMs > 0);
}

export const hasValidator = (fields: Fields): boolean => fields.get("etag") !== undefined || fields.get("last-modified") !== undefined;

/** How long it is fresh, counted from its generation. Source: RFC 9111 §4.2.1, §4.2.2. */
export function lifetimeMs(status: number, fields: Fields, answeredAt: number, defaultTtlMs: number): number {
  const { directives, isTargeted } = controlOf(fields);
  // What is no number says nothing that one should rely on.
  const shared = seconds(directives, "s-maxage") ?? seconds(directives, "max-age");
  if (shared !== undefined) return Number.isNaN(shared) ? 0 : shared * 1000;
  const date = httpDate(fields.get("date"), answeredAt) ?? answeredAt;
  const expires = isTargeted ? undefined : fields.get("expires");
  if (expires !== undefined) return Math.max(0, (httpDate(expires, answeredAt) ?? date) - date);
  if (defaultTtlMs > 0) return defaultTtlMs;
  if (!heuristicStatuses.has(status) && !directives.has("public")) return 0;
  const modified = httpDate(fields.get("last-modified"), answeredAt);
  return modified === undefined ? 0 : Math.min(heuristicMaxMs, Math.max(0, (date - modified) / 10));
}

/** How old it was when it came. Source: RFC 9111 §4.2.3. */
export function initialAgeMs(fields: Fields, { askedAt, answeredAt }: Times): number {
  const date = httpDate(fields.get("date"), answeredAt) ?? answeredAt;
  const apparent = Math.max(0, answeredAt - date);
  const told = fields.get("age")?.split(",")[0]!.trim() ?? "";
  const value = /^\d+$/.test(told) ? Number(told) * 1000 : 0;
  return Math.max(apparent, value + (answeredAt - askedAt));
}

/** Of a kept response: what a request may get of it. */
export type Use = "fresh" | "stale" | "validate";

export interface Freshness {
  ageMs: number;
  lifetimeMs: number;
  directives: Directives;
}

/**
 * Whether it may be given as it is (RFC 9111 §4.2.4, §5.2.1). `stale` is not fresh, and may be given where nobody says that it must be
 * validated: while a newer one is fetched, or instead of an error (RFC 5861).
 */
export function useOf({ ageMs, lifetimeMs: lifetime, directives }: Freshness, request: Directives): Use {
  if (directives.has("no-cache") || request.has("no-cache")) return "validate";
  const maxAge = seconds(request, "max-age");
  const minFresh = seconds(request, "min-fresh");
  const maxStale = request.get("max-stale");
  if (maxAge !== undefined && !(ageMs <= maxAge * 1000)) return "validate";
  const left = lifetime - ageMs - (minFresh !== undefined && minFresh >= 0 ? minFresh * 1000 : 0);
  if (left > 0) return "fresh";
  if (directives.has("must-revalidate") || directives.has("proxy-revalidate") || directives.has("s-maxage")) return "validate";
  if (maxStale !== undefined) {
    const allowed = maxStale === "" ? Number.POSITIVE_INFINITY : (seconds(request, "max-stale") ?? 0) * 1000;
    if (-left <= allowed) return "fresh";
  }
  return minFresh !== undefined && lifetime > ageMs ? "validate" : "stale";
}

/** How long after its end it may still be given, for `stale-while-revalidate` or `stale-if-error`. Source: RFC 5861. */
export function staleMs(directives: Directives, name: "stale-while-revalidate" | "stale-if-error", unless: number): number {
  const told = seconds(directives, name);
  return told === undefined ? unless : Number.isNaN(told) ? 0 : told * 1000;
}

/** A conditional request's answer from what is kept: true is 304 (RFC 9110 §13.2.2: If-None-Match goes first). */
export function isUnchanged(request: Fields, kept: Fields, nowMs: number): boolean {
  const tags = request.get("if-none-match");
  if (tags !== undefined) {
    if (tags.trim() === "*") return true;
    const own = kept.get("etag");
    return own !== undefined && entityTags(tags).some((tag) => weak(tag) === weak(own));
  }
  const since = httpDate(request.get("if-modified-since"), nowMs);
  const modified = httpDate(kept.get("last-modified"), nowMs) ?? httpDate(kept.get("date"), nowMs);
  return since !== undefined && modified !== undefined && modified <= since;
}
const weak = (tag: string): string => tag.replace(/^W\//, "");
const entityTags = (text: string): string[] => text.match(/(?:W\/)?"[^"]*"/g) ?? [];

/** Of a whole body that is kept: the one range that is asked for; undefined: give all of it. Source: RFC 9110 §14. */
export function rangeOf(request: Fields, kept: Fields, length: number, nowMs: number): { from: number; to: number } | "unsatisfiable" | undefined {
  const found = /^bytes=(\d*)-(\d*)$/.exec(request.get("range")?.trim() ?? "");
  if (!found || (found[1] === "" && found[2] === "")) return undefined;
  const condition = request.get("if-range");
  if (condition !== undefined && condition !== kept.get("etag") && (condition.startsWith('"') || condition.startsWith("W/") || httpDate(condition, nowMs) === undefined || httpDate(condition, nowMs) !== httpDate(kept.get("last-modified"), nowMs))) return undefined;
  if (condition?.startsWith("W/")) return undefined;
  const [from, to] = found[1] === "" ? [Math.max(0, length - Number(found[2])), length] : [Number(found[1]), found[2] === "" ? length : Math.min(length, Number(found[2]) + 1)];
  if (found[1] !== "" && found[2] !== "" && Number(found[2]) < Number(found[1])) return undefined;
  return from >= length || (found[1] === "" && Number(found[2]) === 0) ? "unsatisfiable" : { from, to };
}
