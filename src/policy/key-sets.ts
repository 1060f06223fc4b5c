import type { HttpFilter, HttpRoute, HttpRule, KeySet } from "../api/traffic.ts";

/** Shorter ones stay where they are read. */
const sharedMin = 8;

/**
 * Keys that several rules of a route have in common, as the same array, said once: a plan with a thousand keys is in force for each of
 * five hundred operations. The route itself where there are none.
 */
export function withKeySets(route: HttpRoute): HttpRoute {
  const uses = new Map<KeySet, number>();
  for (const rule of route.rules) mapKeys(rule, (filter) => (uses.set(filter.keys, (uses.get(filter.keys) ?? 0) + 1), filter));
  const names = new Map([...uses].filter(([keys, count]) => count > 1 && keys.length >= sharedMin).map(([keys], i) => [keys, String(i)]));
  if (names.size === 0) return route;
  const named = (filter: ApiKeyFilter): ApiKeyFilter => {
    const keySet = names.get(filter.keys);
    return keySet === undefined ? filter : { ...filter, keys: [], keySet };
  };
  return { ...route, rules: route.rules.map((rule) => mapKeys(rule, named)), keySets: Object.fromEntries([...names].map(([keys, name]) => [name, keys])) };
}

/** The other way: each rule has its keys, those of one set as the same array. A set that is not there is empty: nobody is let in. */
export function withoutKeySets(route: HttpRoute): HttpRoute {
  const { keySets, ...rest } = route;
  if (!keySets) return route;
  const whole = ({ keySet, ...filter }: ApiKeyFilter): ApiKeyFilter => (keySet === undefined ? filter : { ...filter, keys: Object.hasOwn(keySets, keySet) ? keySets[keySet]! : [] });
  return { ...rest, rules: route.rules.map((rule) => mapKeys(rule, whole)) };
}

type ApiKeyFilter = Extract<HttpFilter, { type: "apiKey" }>;

/** The rule itself where nothing is otherwise. */
function mapKeys(rule: HttpRule, map: (filter: ApiKeyFilter) => ApiKeyFilter): HttpRule {
  const filters = mapFilters(rule.filters, map);
  const backends = rule.backends.map((backend) => {
    const own = backend.filters && mapFilters(backend.filters, map);
    return own === backend.filters ? backend : { ...backend, filters: own! };
  });
  const isSame = filters === rule.filters && backends.every((backend, i) => backend === rule.backends[i]);
  return isSame ? rule : { ...rule, filters, backends };
}

function mapFilters(filters: HttpFilter[], map: (filter: ApiKeyFilter) => ApiKeyFilter): HttpFilter[] {
  const mapped = filters.map((filter): HttpFilter => {
    if (filter.type === "apiKey") return map(filter);
    if (filter.type !== "anyOf") return filter;
    const of = filter.of.map((way) => mapFilters(way, map));
    return of.every((way, i) => way === filter.of[i]) ? filter : { ...filter, of };
  });
  return mapped.every((filter, i) => filter === filters[i]) ? filters : mapped;
}
