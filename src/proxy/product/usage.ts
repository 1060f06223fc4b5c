import type { Policy } from "../../api/envoy/kinds.ts";
import { type ApiObject, type ApiStage, type ApiUsage, routeNameOf } from "../../api/product/kinds.ts";
import { timeText } from "../../api/scalars.ts";
import type { QuotaCount } from "../../policy/quotas/counters.ts";
import { gatewayOfSet, type World } from "../gateway/world.ts";
import { Attachments, placeOf } from "../policies/attach.ts";

/** So many of a policy or plan are told, those that used most. */
const toldMax = 100;

/** Whose counts are a stage's. */
export interface UsageSource {
  named: Pick<ApiUsage, "policy" | "plan">;
  /** What their ids begin with. */
  prefix: string;
  /** Whether what stands behind it is the stage's, for which operation, and how much there may be. */
  read(rest: string): Pick<ApiUsage, "operation" | "limit"> | undefined;
}

/** The stage's plans, and the BackendTrafficPolicies with quotas that are in force for its route: its own, its operations' and its Gateways'. */
export function usageSources(world: World, api: ApiObject, stage: ApiStage): UsageSource[] {
  const { namespace, name } = api.metadata;
  const route = `${namespace}/${routeNameOf(name, stage.name)}`;
  const plans = (stage.plans ?? []).filter(({ quota, operations = [] }) => quota ?? operations.find((one) => one.quota));
  return [
    ...plans.map((plan): UsageSource => ({ named: { plan: plan.name }, prefix: `plan/${route}/${plan.name}/`, read: (rest) => (rest === "" ? limited(plan.quota?.requests) : { operation: rest, ...limited(plan.operations?.find(({ operation }) => operation === rest)?.quota?.requests) }) })),
    ...policiesFor(world, route, stage).map(({ metadata, spec }): UsageSource => ({
      named: { policy: metadata.namespace === namespace ? metadata.name : `${metadata.namespace}/${metadata.name}` },
      prefix: `policy/${metadata.namespace}/${metadata.name}/`,
      // "global/0", or where each route has a count of its own, "global/0 HTTPRoute/shop/pets.prod".
      read: (rest) => (!rest.includes(" ") || rest.endsWith(` HTTPRoute/${route}`) ? limited((spec as Limits).rateLimit?.global?.rules?.[Number(/^global\/(\d+)/.exec(rest)?.[1])]?.limit?.requests) : undefined),
    })),
  ];
}
type Limits = { rateLimit?: { global?: { rules?: { limit?: { requests?: number } }[] } } };
/** What was counted of one that is no more has none. */
const limited = (requests: number | undefined): Pick<ApiUsage, "limit"> => (requests === undefined ? {} : { limit: requests });

const hasQuota = ({ spec }: Pick<Policy, "spec">): boolean => (spec as { rateLimit?: { global?: unknown } }).rateLimit?.global != null;

function policiesFor(world: World, route: string, stage: ApiStage): Policy[] {
  const all = world.attached("BackendTrafficPolicy");
  if (!all.some(hasQuota)) return [];
  const attachments = new Attachments("BackendTrafficPolicy", all, world);
  const own = placeOf("HTTPRoute", route);
  const rules = [undefined, ...attachments.policies.flatMap(({ places }) => places.filter((place) => place.startsWith(`${own}#`)).map((place) => place.slice(own.length + 1)))];
  const found = new Map<string, Policy>();
  for (const { gateway, listener } of listenersOf(world, route.slice(0, route.indexOf("/")), stage)) {
    for (const rule of rules) {
      const effective = attachments.at({ gateway, listener, route: { kind: "HTTPRoute", key: route, rule } });
      // Counts have the name of the nearest policy that says it.
      const policy = effective && hasQuota(effective) ? effective.policies.find(hasQuota) : undefined;
      if (policy) found.set(`${policy.metadata.namespace}/${policy.metadata.name}`, policy);
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, policy]) => policy);
}

/** A set's listeners are its Gateway's to protect, as a whole. */
function listenersOf(world: World, own: string, { parentRefs }: ApiStage): { gateway: string; listener: string }[] {
  return parentRefs.flatMap(({ kind = "Gateway", namespace = own, name, sectionName, port }) => {
    const key = `${namespace}/${name}`;
    if (kind === "ListenerSet") {
      const set = world.listenerSet(key);
      return set ? [{ gateway: gatewayOfSet(set), listener: "" }] : [];
    }
    const listeners = kind === "Gateway" ? (world.gateway(key)?.spec.listeners ?? []) : [];
    return listeners.filter((one) => (sectionName === undefined || one.name === sectionName) && (port === undefined || one.port === port)).map((listener) => ({ gateway: key, listener: listener.name }));
  });
}

/** What is told of it: the most used first. */
export function usageOf({ named, prefix, read }: UsageSource, counts: readonly QuotaCount[]): ApiUsage[] {
  return counts
    .flatMap((one) => {
      const of = read(one.id.slice(prefix.length));
      return of ? [{ ...one, of }] : [];
    })
    .sort((a, b) => b.count - a.count || (a.key < b.key ? -1 : 1))
    .slice(0, toldMax)
    .map(({ unit, key, count, endMs, of }) => ({ ...named, ...of, unit, key, count, until: timeText(endMs) }));
}
