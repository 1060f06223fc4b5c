import type { HttpFilter, HttpMatch, HttpRule } from "../../api/traffic.ts";
import { condition } from "../gateway/conditions.ts";
import type { AnyRouteObject } from "../gateway/kinds.ts";
import type { CompiledRoute } from "../gateway/routes.ts";
import type { World } from "../gateway/world.ts";
import { Guards, policyFilters } from "./guards.ts";
import { isOfRefused, type Operation } from "./operations.ts";
import type { AskedScheme, Checked } from "./security.ts";
import { operation, type OperationRule } from "./stage-route.ts";

/** In which fields of a SecurityPolicy, and of a stage, people say who checks what a scheme asks for. */
const checkers: Record<Checked, { field: string; ofStage?: string }> = {
  jwt: { field: "jwt, oidc or extAuth", ofStage: "authorizers" },
  apiKey: { field: "apiKeyAuth or extAuth", ofStage: "plans" },
  basic: { field: "basicAuth or extAuth" },
  authorizer: { field: "extAuth", ofStage: "authorizers" },
};

/** What a stage says itself stands behind policies' filters; of these kinds it is before them: a preflight brings no credentials, rules judge before anybody asks for some, and what an API says of refusals it says of theirs, too. */
const first: readonly HttpFilter["type"][] = ["compress", "override", "gatewayResponses", "cors", "requestRules"];
const placeOf = ({ type }: HttpFilter): number => (first.includes(type) ? first.indexOf(type) : first.length);

/**
 * What stages say of who may ask is put where it belongs. Operations that cannot be done as they are written are answered with 500, and so
 * are those whose security nobody checks. `seen` hears of what stages name.
 */
export function operationsChecked(compiled: CompiledRoute, object: AnyRouteObject, world: World, seen: (what: string) => void): CompiledRoute {
  const operations = new Map((object.spec.rules ?? []).flatMap((rule) => ((rule as OperationRule)[operation] ? [[rule.name!, (rule as OperationRule)[operation]!] as const] : [])));
  if (operations.size === 0) return compiled;
  const guards = new Guards(world, object.metadata.namespace!, seen);
  const upstreams = new Map(compiled.upstreams.map((upstream) => [upstream.id, upstream]));
  const refused = new Map<string, string>();
  const routes = compiled.routes.map((route) => {
    if (route.type !== "http") return route;
    const rules = route.rules.map((rule): HttpRule => {
      const made = operations.get(rule.name);
      const present = new Set<string>(rule.filters.map(({ type }) => type));
      const guard = made?.guarded && guards.of(made.guarded, present);
      const why = made?.refusal ?? (made?.guarded?.security && unchecked(made.id, made.guarded.security, present)) ?? guard?.refusal;
      if (why === undefined) {
        for (const need of guard?.needs ?? []) upstreams.set(need.id, need);
        const filters = guard ? guarded(rule, made!, guard) : rule.filters;
        return filters.some(({ type }) => first.includes(type)) ? { ...rule, filters: filters.toSorted((a, b) => placeOf(a) - placeOf(b)) } : filters === rule.filters ? rule : { ...rule, filters };
      }
      refused.set(rule.name, why);
      return { name: rule.name, matches: rule.matches, filters: rule.filters.filter(isOfRefused), backends: [{ weight: 1, error: { status: 500, reason: why } }] };
    });
    return { ...route, rules: leftToOthers(rules, refused, operations) };
  });
  const served = { ...compiled, routes, upstreams: [...upstreams.values()] };
  if (refused.size === 0) return served;
  const message = `Dropped Rule: ${toldTogether([...refused].map(([name, why]) => ({ name, why, id: operations.get(name)?.id ?? name })))}; requests for it are answered with 500`;
  return { ...served, partiallyInvalid: condition("PartiallyInvalid", true, "UnsupportedValue", message) };
}

/** By chance nobody is sent to what a canary refuses: the other stages there answer, and so they do for the rest of its path, or it would be "another method". */
function leftToOthers(rules: HttpRule[], refused: ReadonlyMap<string, string>, operations: ReadonlyMap<string, Operation>): HttpRule[] {
  const wrong = rules.filter(({ name, matches }) => refused.has(name) && matches.some(({ sample }) => sample));
  if (wrong.length === 0) return rules;
  const pathOf = ({ path }: HttpMatch): string => `${path.type} ${path.value}`;
  const paths = new Set(wrong.flatMap(({ matches }) => matches.map(pathOf)));
  const isLeft = ({ name, matches }: HttpRule): boolean => refused.has(name) || (operations.get(name)?.isOther === true && matches.some((match) => paths.has(pathOf(match))));
  return rules.map((rule) => (isLeft(rule) ? { ...rule, matches: rule.matches.map((match) => ({ ...match, ...(match.sample && { sample: { ...match.sample, perMillion: 0 } }) })) } : rule));
}

/** What is the same of several operations is said once; of many, the first ones: `wherry route explain` says why of each. */
function toldTogether(refused: readonly { name: string; why: string; id: string }[]): string {
  const groups = new Map<string, { names: string[]; why: string }>();
  for (const { name, why, id } of refused) {
    const ofAll = why.startsWith(`${id} `) ? `each ${why.slice(id.length + 1)}` : why.replace(/^[A-Z]+ \/\S*: /, "");
    const group = groups.get(ofAll);
    if (!group) groups.set(ofAll, { names: [name], why });
    else Object.assign(group, { names: [...group.names, name], why: ofAll });
  }
  const all = [...groups.values()];
  const told = all.slice(0, reasonsMax).map(({ names, why }) => `${atMost(names, namesMax)}: ${shortened(why)}`);
  const untold = all.slice(reasonsMax).flatMap(({ names }) => names);
  return [...told, ...(untold.length > 0 ? [`${atMost(untold, namesMax)}: for other reasons, which wherry route explain tells`] : [])].join("; ");
}
const atMost = (names: readonly string[], max: number): string => (names.length <= max ? names.join(", ") : `${names.slice(0, max).join(", ")} and ${names.length - max} more`);

/** Behind what policies say, and what the stage says of everybody. */
function guarded({ filters }: HttpRule, { filters: own, guardAt = 0 }: Operation, { before, after }: { before: HttpFilter[]; after: HttpFilter[] }): HttpFilter[] {
  // A policy that is refused has left nothing.
  if (before.length + after.length === 0 || filters.length < own.length) return filters;
  const at = filters.length - own.length + guardAt;
  return [...filters.slice(0, at), ...before, ...filters.slice(at), ...after];
}

function unchecked(id: string, security: AskedScheme[][], present: ReadonlySet<string>): string | undefined {
  if (security.some((alternative) => alternative.every(({ checked, own }) => own !== undefined || policyFilters[checked].some((type) => present.has(type))))) return undefined;
  const wanted = [...new Set(security.map((alternative) => alternative.map(({ checked }) => checkers[checked].field).join(" and ")))].join(", or ");
  const ofStage = [...new Set(security.flatMap((alternative) => alternative.flatMap(({ checked, own }) => (own ? [] : (checkers[checked].ofStage ?? [])))))];
  const more = ofStage.length === 0 ? "" : `, or the stage's ${ofStage.join(" and ")}`;
  return `${id} asks for security that nobody checks: a SecurityPolicy with ${wanted} for this route does${more}, or the stage says security: Backend`;
}

/** A condition is for people. */
const reasonsMax = 5;
const namesMax = 5;
const reasonMax = 400;
const shortened = (text: string): string => (text.length <= reasonMax ? text : `${text.slice(0, reasonMax)} …`);
