import type { AccessRule, HttpFilter } from "../../api/traffic.ts";
import { AddressRanges } from "../addresses.ts";
import type { Exchange, Filter, RequestView } from "../exchange.ts";
import { localAnswer } from "../local-answer.ts";
import { readings } from "../path-readings.ts";
import { compilePattern } from "../pattern.ts";
import { at, PolicyError } from "../policy-error.ts";
import { asLeft } from "../request-edits.ts";
import { claimAt } from "../tokens/claims.ts";
import type { Claims } from "../tokens/verify.ts";

type Test = (exchange: Exchange) => boolean;

/** Who may do what: the first rule that fits decides, and where none does, `otherwise`. What is not known of a request fits nothing. */
export const authorise: Filter<Extract<HttpFilter, { type: "authorise" }>> = ({ rules, otherwise }) => {
  const compiled = rules.map((rule, i) => at(`rules[${i}]`, () => ({ isAllowed: isAllowing(rule.action, "action"), name: rule.name, fits: compileRule(rule) })));
  const isAllowedElse = isAllowing(otherwise, "otherwise");
  return (next) => (exchange, outcome) => {
    const rule = compiled.find(({ fits }) => fits(exchange));
    if (rule ? rule.isAllowed : isAllowedElse) return next(exchange, outcome);
    const answer = localAnswer(exchange.request, "PD", "RBAC: access denied");
    answer.reason += rule ? ` by rule ${rule.name}` : ": no rule allows it";
    outcome.answer(exchange, answer);
  };
};

function isAllowing(action: string, field: string): boolean {
  if (action !== "allow" && action !== "deny") throw new PolicyError(field, action, "supported values: allow, deny");
  return action === "allow";
}

function compileRule({ action, clients, methods, path, headers = [], token }: AccessRule): Test {
  const tests: Test[] = [];
  if (methods) tests.push(({ request }) => methods.includes(request.method));
  if (path) tests.push(compilePath(path, action === "deny"));
  if (clients) {
    const ranges = new AddressRanges(clients, "clients");
    tests.push(({ request }) => ranges.includes(request.client));
  }
  for (const { name, values } of headers) {
    const lower = name.toLowerCase();
    tests.push((exchange) => fitsHeader(asLeft(exchange), lower, values, action === "deny"));
  }
  if (token) {
    const { provider, scopes = [], claims = [] } = token;
    tests.push(({ caller }) => {
      const known = caller?.jwt?.get(provider);
      return known !== undefined && hasScopes(known, scopes) && claims.every((claim) => hasClaim(known, claim));
    });
  }
  return (exchange) => tests.every((test) => test(exchange));
}

/** Of a header that is there more than once, all together must be allowed, and any is denied: which one a program takes is its own matter. */
function fitsHeader(request: RequestView, name: string, values: readonly string[], isDenying: boolean): boolean {
  const value = request.header(name);
  if (value === undefined) return false;
  return values.includes(value) || (isDenying && value.split(",").some((part) => values.includes(part.trim())));
}

/**
 * Elements of the path, as Gateway API has them: "/a" is "/a" and "/a/b", and not "/ab". Where whoever is behind may read the path in another
 * way, all readings must be allowed, and any is denied.
 */
function compilePath({ type, value, not = false }: NonNullable<AccessRule["path"]>, isDenying: boolean): Test {
  const fits = ((): ((path: string) => boolean) => {
    if (type === "exact") return (path) => path === value;
    if (type === "regex") {
      const pattern = compilePattern(value, { whole: true }, "path.value");
      return (path) => pattern.test(path);
    }
    if (type !== "prefix") throw new PolicyError("path.type", type, "supported values: exact, prefix, regex");
    const prefix = value.replace(/\/$/, "");
    return (path) => path === prefix || path.startsWith(`${prefix}/`);
  })();
  const isMeant = (path: string): boolean => fits(path) !== not;
  return ({ request: { path } }) => {
    return isDenying ? readings(path).some(isMeant) : readings(path).every(isMeant);
  };
}

/** RFC 8693 §4.2: names with spaces between; some issuers have a list, or call it "scp". */
function hasScopes(claims: Claims, wanted: readonly string[]): boolean {
  if (wanted.length === 0) return true;
  const given = ["scope", "scp"].flatMap((name) => {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
    return typeof value === "string" ? value.split(" ") : Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
  });
  return wanted.every((scope) => given.includes(scope));
}

function hasClaim(claims: Claims, { name, values, isList = false }: { name: string; values: string[]; isList?: boolean }): boolean {
  const value = claimAt(claims, name);
  if (isList) return Array.isArray(value) && value.some((one) => typeof one === "string" && values.includes(one));
  return typeof value === "string" && values.includes(value);
}
