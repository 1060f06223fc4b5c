import type { HttpFilter } from "../../api/traffic.ts";
import type { Filter, HeaderEdits, RequestView } from "../exchange.ts";
import { mergeEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { compilePattern } from "../pattern.ts";
import { PolicyError } from "../policy-error.ts";

type Config = Extract<HttpFilter, { type: "cors" }>;

/**
 * Cross-origin requests. Preflights are answered here with 200, also those that are not allowed, which then have none of the
 * headers: it is the browser that refuses. Other requests go on, and only the rule says what their answers grant: what the
 * upstream granted is taken away. Sources: Gateway API, HTTPCORSFilter; Fetch §3.2.
 */
export const cors: Filter<Config> = (config) => {
  const named = compileOrigins(config.origins);
  const patterns = (config.originPatterns ?? []).map((source, i) => compilePattern(source, { whole: true }, `originPatterns[${i}]`));
  const allowed = (origin: string): boolean => named(origin) || patterns.some((pattern) => pattern.test(origin));
  const { credentials, exposeHeaders } = config;
  if (!(config.maxAgeSeconds >= 0)) throw new PolicyError("maxAgeSeconds", config.maxAgeSeconds, "must not be negative");
  // "*" may stand in an answer only where no credentials are allowed.
  const anyOrigin = config.origins.includes("*") && !credentials;
  const granted: [string, string][] = [];
  if (credentials) granted.push(["access-control-allow-credentials", "true"]);
  // With credentials an asterisk would be a header of that name: there is no way to say "all".
  const exposed = exposeHeaders.includes("*") ? (credentials ? [] : ["*"]) : exposeHeaders;
  if (exposed.length > 0) granted.push(["access-control-expose-headers", exposed.join(", ")]);
  const vary: [string, string][] = anyOrigin ? [] : [["vary", "Origin"]];
  const refused: HeaderEdits = { remove: ["access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"], set: [], add: vary };
  const grant = (origin: string): [string, string][] => [["access-control-allow-origin", anyOrigin ? "*" : origin], ...granted];

  const preflight = (request: RequestView, origin: string): [string, string][] => {
    const headers = grant(origin);
    const wantedMethod = request.header("access-control-request-method");
    const wantedHeaders = request.header("access-control-request-headers");
    const methods = config.methods.includes("*") ? (credentials ? wantedMethod : "*") : config.methods.join(", ");
    const names = config.headers.includes("*") ? (credentials ? wantedHeaders : "*") : config.headers.join(", ");
    if (methods) headers.push(["access-control-allow-methods", methods]);
    if (names) headers.push(["access-control-allow-headers", names]);
    headers.push(["access-control-max-age", String(config.maxAgeSeconds)]);
    return headers;
  };

  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    const origin = request.header("origin");
    const isAllowed = origin !== undefined && allowed(origin);
    const isPassed = !isAllowed && config.passesUnmatched === true;
    if (!isPassed && origin !== undefined && request.method === "OPTIONS" && request.header("access-control-request-method") !== undefined) {
      const headers = isAllowed ? preflight(request, origin) : [];
      return outcome.answer(exchange, localAnswer(request, "DR", isAllowed ? "CORS preflight" : "CORS preflight of an origin that is not allowed", { status: 200, headers: [...headers, ...vary] }));
    }
    const edits = isAllowed ? { ...refused, set: grant(origin) } : refused;
    exchange.responseHeaders = exchange.responseHeaders ? mergeEdits(edits, exchange.responseHeaders) : edits;
    next(exchange, outcome);
  };
};

/**
 * "*", "https://shop.example.com", "https://*.example.com" (any number of labels), "http://localhost:3000". A port that is
 * the usual one of its scheme may be written or left out.
 */
export function compileOrigins(origins: readonly string[]): (origin: string) => boolean {
  if (origins.includes("*")) return () => true;
  const exact = new Set<string>();
  const wildcards: { start: string; end: string }[] = [];
  for (const [i, origin] of origins.entries()) {
    const plain = plainOrigin(origin);
    if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/.test(plain) || plain.split("*").length > 2) throw new PolicyError(`origins[${i}]`, origin, "must be '*' or SCHEME://HOST[:PORT], with at most one '*' in the host");
    const star = plain.indexOf("*");
    if (star < 0) exact.add(plain);
    else wildcards.push({ start: plain.slice(0, star), end: plain.slice(star + 1) });
  }
  return (origin) => {
    const plain = plainOrigin(origin);
    if (exact.has(plain)) return true;
    return wildcards.some(({ start, end }) => {
      if (!plain.startsWith(start) || !plain.endsWith(end) || plain.length <= start.length + end.length) return false;
      // The asterisk stands for a part of the host, not for one with a port behind it: "https://*" is no other port's.
      return !/[:/]/.test(plain.slice(start.length, plain.length - end.length));
    });
  };
}

function plainOrigin(origin: string): string {
  return origin.toLowerCase().replace(/^(http:\/\/.+):80$|^(https:\/\/.+):443$/, "$1$2");
}
