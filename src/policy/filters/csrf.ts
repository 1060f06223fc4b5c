import type { HttpFilter } from "../../api/traffic.ts";
import { happens, perMillion } from "../chance.ts";
import type { Filter, RequestView } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { at } from "../policy-error.ts";
import { compileOrigins } from "./cors.ts";

/** As Envoy has it: what does not change anything needs no proof. */
const changing = new Set(["POST", "PUT", "PATCH", "DELETE"]);

/**
 * A browser that is made to ask for a change by a page of another site says whose page it is: in Origin, or else in Referer. Who says
 * nothing is refused, since only browsers carry somebody's cookies about, and these say it. Sources: Fetch §3.2; OWASP, CSRF; Envoy, csrf.
 */
export const csrf: Filter<Extract<HttpFilter, { type: "csrf" }>> = ({ origins, shadowPerMillion = 0 }, { random }) => {
  const shadow = perMillion(shadowPerMillion, "shadowPerMillion");
  const isAllowed = at("origins", () => compileOrigins(origins));
  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    if (!changing.has(request.method)) return next(exchange, outcome);
    const origin = originOf(request);
    if (origin !== undefined && (isOwn(origin, request) || isAllowed(origin))) return next(exchange, outcome);
    if (shadow > 0 && happens(random, shadow)) {
      (exchange.notes ??= []).push("csrf: Invalid origin");
      return next(exchange, outcome);
    }
    outcome.answer(exchange, localAnswer(request, "XO", "Invalid origin"));
  };
};

/** "SCHEME://HOST[:PORT]" of the page; undefined: nobody says. "null" of a page that hides itself is nobody's. */
function originOf(request: RequestView): string | undefined {
  const origin = request.header("origin");
  if (origin !== undefined) return /^[a-z][a-z0-9+.-]*:\/\/[^/?#\s,]+$/i.test(origin) ? origin : undefined;
  const referer = URL.parse(request.header("referer") ?? "");
  return referer && /^https?:$/.test(referer.protocol) ? referer.origin : undefined;
}

/** Who ends TLS before us is not seen here: so a page that came by it may ask without it, and not the other way round. */
function isOwn(origin: string, request: RequestView): boolean {
  const [scheme, authority] = origin.toLowerCase().split("://") as [string, string];
  if (scheme !== "https" && scheme !== request.scheme) return false;
  const usual = scheme === "https" ? /:443$/ : /:80$/;
  const own = (request.header("host") ?? request.host).toLowerCase();
  return authority.replace(usual, "") === own.replace(usual, "");
}
