import type { Place } from "./attach.ts";

/** So many of a kind a message names: it may be no longer than 32 KiB. */
const namedMax = 50;

/** Sorted, as "NAMESPACE/NAME", listeners and rules with "/SECTION" behind it. */
export interface ScopeList {
  listeners?: readonly string[];
  routes?: readonly string[];
  rules?: readonly string[];
}

/** As Envoy Gateway lists them. */
export function scopesInWords({ listeners = [], routes = [], rules = [] }: ScopeList): string {
  const labelled: [string, readonly string[]][] = [["these gateway listeners", listeners], ["these routes", routes], ["these route rules", rules]];
  return labelled.flatMap(([label, names]) => (names.length === 0 ? [] : [`${label}: [${names.slice(0, namedMax).join(" ")}${names.length > namedMax ? ` and ${names.length - namedMax} more` : ""}]`])).join(" and ");
}

/**
 * Which listeners and routes have policies of one kind below others, by what they are attached to: a route counts for a Gateway whole
 * when its parent names no listener, and else for that listener.
 */
export class Scopes {
  readonly #listeners = new Map<string, Set<string>>();
  readonly #routes = new Map<Place, Set<string>>();
  readonly #rules = new Map<Place, Set<string>>();
  readonly #merged = new Map<Place, Set<string>>();

  addListener(gateway: string, listener: string): void {
    add(this.#listeners, gateway, `${gateway}/${listener}`);
  }
  addRoute(gateway: string, listener: string | undefined, route: string): void {
    add(this.#routes, at(gateway, listener), route);
    if (listener !== undefined) add(this.#routes, `${gateway}#`, route);
  }
  /** `route` is "KIND/NAMESPACE/NAME". */
  addRule(route: Place, rule: string): void {
    add(this.#rules, route, rule);
  }
  addMerged(base: Place, route: string): void {
    add(this.#merged, base, route);
  }

  rulesOf(route: Place): string[] {
    return sorted(this.#rules.get(route));
  }
  listenersOf(gateway: string): string[] {
    return sorted(this.#listeners.get(gateway));
  }
  mergedOver(gateway: string, listener: string | undefined): ScopeList {
    return { routes: sorted(this.#merged.get(`Gateway/${at(gateway, listener)}`)) };
  }
  /** All that has its own policy below, and is not merged over this one. */
  overriding(gateway: string, listener: string | undefined): ScopeList {
    const whole = this.#routes.get(gateway) ?? [];
    const sections = this.#routes.get(listener === undefined ? `${gateway}#` : at(gateway, listener)) ?? [];
    const routes = new Set([...whole, ...sections]);
    for (const route of this.#merged.get(`Gateway/${at(gateway, listener)}`) ?? []) routes.delete(route);
    return { listeners: listener === undefined ? this.listenersOf(gateway) : [], routes: sorted(routes) };
  }
}

const at = (gateway: string, listener: string | undefined): string => (listener === undefined ? gateway : `${gateway}#${listener}`);
const sorted = (names: ReadonlySet<string> | undefined): string[] => [...(names ?? [])].sort();

function add(to: Map<string, Set<string>>, key: string, value: string): void {
  const found = to.get(key);
  if (found) found.add(value);
  else to.set(key, new Set([value]));
}
