import type { HttpFilter, HttpRule } from "../../api/traffic.ts";
import { condition } from "../gateway/conditions.ts";
import type { AnyRouteObject } from "../gateway/kinds.ts";
import type { CompiledRoute } from "../gateway/routes.ts";
import type { Checked } from "./operations.ts";
import { operation, type OperationRule } from "./stage-route.ts";

/** The filters that check what a scheme asks for, and in which kind's fields people say so. */
const checkers: Record<Checked, { filters: readonly string[]; field: string }> = {
  jwt: { filters: ["jwt", "oidc", "extAuth"], field: "jwt, oidc or extAuth" },
  apiKey: { filters: ["apiKey", "extAuth"], field: "apiKeyAuth or extAuth" },
  basic: { filters: ["basic", "extAuth"], field: "basicAuth or extAuth" },
  authorizer: { filters: ["extAuth"], field: "extAuth" },
};

/** What a stage says itself stands behind policies' filters; of these two kinds it is before them: a preflight brings no credentials, and rules judge before anybody asks for some. */
const first: readonly HttpFilter["type"][] = ["compress", "override", "cors", "requestRules"];
const placeOf = ({ type }: HttpFilter): number => (first.includes(type) ? first.indexOf(type) : first.length);

/** Operations that cannot be done as they are written are answered with 500, and so are those whose security nobody checks. */
export function operationsChecked(compiled: CompiledRoute, object: AnyRouteObject): CompiledRoute {
  const operations = new Map((object.spec.rules ?? []).flatMap((rule) => ((rule as OperationRule)[operation] ? [[rule.name!, (rule as OperationRule)[operation]!] as const] : [])));
  if (operations.size === 0) return compiled;
  const refused = new Map<string, string>();
  const routes = compiled.routes.map((route) => {
    if (route.type !== "http") return route;
    const rules = route.rules.map((rule): HttpRule => {
      const made = operations.get(rule.name);
      const why = made?.refusal ?? (made?.security && unchecked(made.id, made.security, rule.filters));
      if (why === undefined) return rule.filters.some(({ type }) => first.includes(type)) ? { ...rule, filters: rule.filters.toSorted((a, b) => placeOf(a) - placeOf(b)) } : rule;
      refused.set(rule.name, why);
      return { name: rule.name, matches: rule.matches, filters: [], backends: [{ weight: 1, error: { status: 500, reason: why } }] };
    });
    return { ...route, rules };
  });
  if (refused.size === 0) return compiled;
  const message = `Dropped Rule: ${[...refused].map(([name, why]) => `${name}: ${why}`).join("; ")}; requests for it are answered with 500`;
  return { ...compiled, routes, partiallyInvalid: condition("PartiallyInvalid", true, "UnsupportedValue", shortened(message)) };
}

function unchecked(id: string, security: Checked[][], filters: readonly HttpFilter[]): string | undefined {
  const present = new Set<string>(filters.map(({ type }) => type));
  if (security.some((alternative) => alternative.every((scheme) => checkers[scheme].filters.some((type) => present.has(type))))) return undefined;
  const wanted = [...new Set(security.map((alternative) => alternative.map((scheme) => checkers[scheme].field).join(" and ")))].join(", or ");
  return `${id} asks for security that nobody checks: a SecurityPolicy with ${wanted} for this route does, or the stage says security: Backend`;
}

/** A condition's message has an end. */
const lengthMax = 8_192;
const shortened = (text: string): string => (text.length <= lengthMax ? text : `${text.slice(0, lengthMax)} …`);
