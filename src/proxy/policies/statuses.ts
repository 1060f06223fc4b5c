import { type Policy, type PolicyKind, policyKinds } from "../../api/envoy/kinds.ts";
import { condition } from "../gateway/conditions.ts";
import { type Condition, controllerName, gatewayGroup, type ParentReference } from "../gateway/kinds.ts";
import { type AttachedPolicy, type Place, type Position, referencesOf } from "./attach.ts";
import type { PolicyBook } from "./book.ts";

/** What lies around the policies. */
export interface Surroundings {
  /** What a route, "KIND/NAMESPACE/NAME", is attached to; a listener of a ListenerSet is "", for it has no policy of its own. */
  attachmentsOf(route: Place): readonly { parentRef: ParentReference; gateway: string; listeners: readonly string[] }[];
  isOurs(gateway: string): boolean;
  /** Whose requests come by a Gateway or a listener of it. */
  routesAt(place: Place): readonly Place[];
}

export interface PolicyStatus {
  kind: PolicyKind;
  key: string;
  notes: string[];
  ancestors: { ancestorRef: ParentReference; controllerName: string; conditions: Condition[] }[];
}

/** Whom a policy's status is told to, and who is in force there together: more than one where they are merged. */
interface Ancestor {
  reference: ParentReference;
  chains: (readonly Policy[])[];
}

/** So many places a message names: it may be no longer than 32 KiB. */
const namedMax = 50;

/**
 * What the statuses of Envoy Gateway's policies say: each ancestor is told of what is in force there, so a policy that is merged into
 * what lies above it is judged with that. What has been told and is as it was is not told again: a change costs what it changes, and
 * a look at every policy.
 */
export class PolicyStatuses {
  readonly #book: PolicyBook;
  readonly #told = new Map<string, string>();
  /** Something may have to be told: a policy, whom policies are told to, or where they are. */
  isDue = false;

  constructor(book: PolicyBook) {
    this.#book = book;
  }

  /** A policy came, is otherwise or went: what it is now is told in any case. */
  changed(kind: string, key: string): void {
    this.#told.delete(`${kind}/${key}`);
    this.isDue = true;
  }

  take(around: Surroundings): PolicyStatus[] {
    if (!this.isDue) return [];
    this.isDue = false;
    return policyKinds.flatMap((kind) => {
      const all = this.#book.policies(kind).map((attached) => ({ attached, ancestors: this.#ancestors(kind, attached, around) }));
      const overrides = this.#overrides(kind);
      const merged = mergedOver(all);
      return all.flatMap(({ attached, ancestors }): PolicyStatus[] => {
        const { policy } = attached;
        const key = `${policy.metadata.namespace}/${policy.metadata.name}`;
        const below = overridden(attached, overrides, around);
        const told = ancestors.map(({ reference, chains }) => ({ ancestorRef: reference, controllerName, conditions: this.#conditions(kind, attached, chains, below, merged.get(policy)) }));
        // Something that it names is not read yet.
        if (told.some(({ conditions }) => conditions === undefined)) return [];
        const entries = told as PolicyStatus["ancestors"];
        const notes = new Set(entries.flatMap(({ conditions }) => conditions.flatMap(({ type, status, message }) => (type === "Accepted" && status === "False" ? [message] : []))));
        const status: PolicyStatus = { kind, key, notes: [...notes], ancestors: entries };
        const text = JSON.stringify(status);
        if (this.#told.get(`${kind}/${key}`) === text) return [];
        this.#told.set(`${kind}/${key}`, text);
        return [status];
      });
    });
  }

  /**
   * The Gateways, and listeners of them, that a policy is about. Of one that is about a route, those that the route is attached to; of
   * one that has no place, where it was meant to be, as far as that is ours to say.
   */
  #ancestors(kind: PolicyKind, { policy, places }: AttachedPolicy, around: Surroundings): Ancestor[] {
    const found = new Map<string, Ancestor>();
    const add = (gateway: string, sectionName: string | undefined, positions: readonly Position[]): void => {
      if (!around.isOurs(gateway)) return;
      const id = `${gateway}#${sectionName ?? ""}`;
      const [namespace, name] = gateway.split("/") as [string, string];
      const ancestor = found.get(id) ?? { reference: { group: gatewayGroup, kind: "Gateway", namespace, name, ...(sectionName !== undefined && { sectionName }) }, chains: [] };
      found.set(id, ancestor);
      if (policy.spec.mergeType === undefined || places.length === 0) return;
      for (const position of positions) ancestor.chains.push(this.#book.chain(kind, position));
    };
    for (const place of places.length > 0 ? places : referencesOf(policy).map(({ kind: target, name, sectionName }) => `${target}/${policy.metadata.namespace}/${name}${sectionName === undefined ? "" : `#${sectionName}`}`)) {
      const [target, section] = place.split("#") as [string, string | undefined];
      const slash = target.indexOf("/");
      const [targetKind, key] = [target.slice(0, slash), target.slice(slash + 1)];
      if (targetKind === "Gateway") add(key, section, section === undefined ? [] : [{ gateway: key, listener: section }]);
      else for (const { gateway, parentRef, listeners } of around.attachmentsOf(target)) add(gateway, parentRef.sectionName, listeners.map((listener) => ({ gateway, listener, route: { kind: targetKind, key, rule: section } })));
    }
    return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { reference, chains }]) => ({ reference, chains: chains.length === 0 ? [[policy]] : chains }));
  }

  /** Undefined: it is not known yet. */
  #conditions(kind: PolicyKind, attached: AttachedPolicy, chains: Ancestor["chains"], below: readonly Place[], merged: ReadonlySet<Place> | undefined): Condition[] | undefined {
    const { places, conflicts, missing, invalid } = attached;
    const rivals = conflicts.map(({ target, with: other }) => `${target} has ${kind} ${other} already, which is older`);
    if (places.length === 0 && invalid.length > 0) return [condition("Accepted", false, "Invalid", invalid.join("; "))];
    if (places.length === 0 && missing.length > 0) return [condition("Accepted", false, "TargetNotFound", missing.join("; "))];
    if (places.length === 0 && conflicts.length > 0) return [condition("Accepted", false, "Conflicted", rivals.join("; "))];
    const refused = new Set<string>();
    const bases = new Set<string>();
    for (const chain of chains) {
      const [, base] = chain;
      if (base) bases.add(`${base.metadata.namespace}/${base.metadata.name}`);
      const found = this.#book.refusals(kind, attached, chain);
      if (!found) return undefined;
      for (const { field, why } of found) refused.add(`spec.${field} ${why}`);
    }
    const over = bases.size === 0 ? "" : ` (merged with policy ${[...bases].sort().join(", ")})`;
    if (refused.size > 0) return [condition("Accepted", false, "Invalid", `${[...refused].join("; ")}${over}; what the policy is for is answered with 500`)];
    const mergings = [...(bases.size === 0 ? [] : [`Merged with policy ${[...bases].sort().join(", ")}`]), ...(merged ? [`This policy is being merged by other policies of its kind for: ${listed([...merged].sort())}`] : [])];
    const rest = below.filter((place) => !merged?.has(place));
    return [
      condition("Accepted", true, "Accepted", ["Policy has been accepted.", ...invalid, ...missing, ...rivals].join(" ")),
      ...(mergings.length > 0 ? [condition("Merged", true, "Merged", mergings.join(". "))] : []),
      ...(rest.length > 0 ? [condition("Overridden", true, "Overridden", `This policy is being overridden by other policies of its kind for: ${listed(rest)}`)] : []),
    ];
  }

  /** Places whose policies take the whole place of what lies above them: of routes, and sections by what they are sections of. */
  #overrides(kind: PolicyKind): Overrides {
    const overrides: Overrides = { routes: new Set(), sections: new Map() };
    for (const { policy, places } of this.#book.policies(kind)) {
      if (policy.spec.mergeType !== undefined) continue;
      for (const place of places) {
        const [target, section] = place.split("#") as [string, string | undefined];
        if (!target.startsWith("Gateway/")) overrides.routes.add(target);
        if (section !== undefined) overrides.sections.set(target, [...(overrides.sections.get(target) ?? []), place]);
      }
    }
    return overrides;
  }
}

interface Overrides {
  routes: Set<Place>;
  sections: Map<Place, Place[]>;
}

/** More specific places that do not merge this one in. */
function overridden({ places }: AttachedPolicy, { routes, sections }: Overrides, around: Surroundings): Place[] {
  const own = places.flatMap((place) => sections.get(place) ?? []).filter((place) => !places.includes(place));
  const ofGateways = places.filter((place) => place.startsWith("Gateway/")).flatMap((place) => around.routesAt(place).filter((route) => routes.has(route)).sort());
  return [...own.sort(), ...ofGateways];
}

/** By the policy that others are merged over: their places. */
function mergedOver(all: readonly { attached: AttachedPolicy; ancestors: readonly Ancestor[] }[]): Map<Policy, Set<Place>> {
  const found = new Map<Policy, Set<Place>>();
  for (const { attached, ancestors } of all) {
    for (const [, base] of ancestors.flatMap(({ chains }) => chains)) {
      if (!base) continue;
      const places = found.get(base) ?? new Set();
      found.set(base, places);
      for (const place of attached.places) places.add(place);
    }
  }
  return found;
}

const listed = (places: readonly Place[]): string => (places.length <= namedMax ? places.join(", ") : `${places.slice(0, namedMax).join(", ")} and ${places.length - namedMax} more`);
