import { envoyGroup, type Policy, type PolicyKind, type PolicyTarget, type TargetSelector } from "../../api/envoy/kinds.ts";
import { applyMergePatch } from "../../api/patch/merge.ts";
import { labelSelectorOf } from "../../api/selectors.ts";
import { byAge } from "../gateway/gateways.ts";
import { isGranted } from "../gateway/grants.ts";
import { gatewayGroup } from "../gateway/kinds.ts";
import type { World } from "../gateway/world.ts";

/** What a policy of a kind may be attached to. A ListenerSet's listeners are its Gateway's to protect. */
const targetKinds: Record<PolicyKind, readonly string[]> = {
  SecurityPolicy: ["Gateway", "HTTPRoute", "GRPCRoute"],
  BackendTrafficPolicy: ["Gateway", "HTTPRoute", "GRPCRoute"],
  ClientTrafficPolicy: ["Gateway"],
};

/** "KIND/NAMESPACE/NAME", of a listener or rule with "#SECTION" behind it. */
export type Place = string;
export const placeOf = (kind: string, key: string, section?: string): Place => `${kind}/${key}${section === undefined ? "" : `#${section}`}`;

/** Where a request is when policies are asked about it, most specific first. */
export interface Position {
  gateway: string;
  listener: string;
  route?: { kind: string; key: string; rule: string | undefined };
}

/** Where policies for it may be, the most specific first. */
export function placesAt({ gateway, listener, route }: Position): Place[] {
  return [
    ...(route ? [...(route.rule === undefined ? [] : [placeOf(route.kind, route.key, route.rule)]), placeOf(route.kind, route.key)] : []),
    placeOf("Gateway", gateway, listener),
    placeOf("Gateway", gateway),
  ];
}

/** What is in force somewhere, and whose policies said so: the most specific first, more than one where they are merged. */
export interface Effective {
  spec: Policy["spec"];
  policies: readonly Policy[];
}

/** Something that is there and that a policy names or selects, and what of that came to nothing, as Envoy Gateway says it. */
export interface AttachedTarget {
  kind: string;
  /** "NAMESPACE/NAME". */
  key: string;
  section: string | undefined;
  problem: { reason: "Conflicted" | "TargetNotFound" | "Invalid"; message: string } | undefined;
}

/** What became of one policy. */
export interface AttachedPolicy {
  policy: Policy;
  targets: AttachedTarget[];
  /** Where it is in force as far as others of its kind let it. */
  places: Place[];
  /** Targets that an older policy has. */
  conflicts: { target: Place; with: string }[];
  /** Targets that are not there, or that a policy of its kind cannot have, in words. */
  missing: string[];
  invalid: string[];
}

/**
 * Policies of one kind, and where they are. A place has one policy, the oldest; a more specific place's takes the whole place of
 * a more general one's, unless it says that it is to be merged over its listener's or Gateway's (`mergeType`).
 *
 *   rule ▶ route ▶ listener ▶ Gateway
 */
export class Attachments {
  readonly #winners = new Map<Place, Policy>();
  readonly policies: readonly AttachedPolicy[];

  constructor(kind: PolicyKind, policies: readonly Policy[], world: World) {
    this.policies = [...policies].sort(byAge).map((policy) => this.#attach(kind, policy, world));
  }

  #attach(kind: PolicyKind, policy: Policy, world: World): AttachedPolicy {
    const attached: AttachedPolicy = { policy, targets: [], places: [], conflicts: [], missing: [], invalid: [] };
    const namespace = policy.metadata.namespace!;
    const is = targetKinds[kind];
    for (const [i, { group, kind: target, name, sectionName }] of referencesOf(policy).entries()) {
      const key = `${namespace}/${name}`;
      const found: AttachedTarget = { kind: target, key, section: sectionName, problem: undefined };
      if (group !== gatewayGroup || !is.includes(target)) {
        const message = `targetRefs[${i}]: a ${kind} has no effect on ${group === "" ? "core" : group}/${target}; ${is.join(", ")} may be named`;
        attached.invalid.push(message);
        attached.targets.push({ ...found, problem: { reason: "Invalid", message } });
        continue;
      }
      const sections = sectionsOf(world, target, key);
      if (!sections) {
        // Whoever else looks after it says so.
        attached.missing.push(`${target} ${key} does not exist`);
        continue;
      }
      attached.targets.push(found);
      if (sectionName !== undefined && !sections.includes(sectionName)) {
        found.problem = { reason: "TargetNotFound", message: `No section name ${sectionName} found for ${target} ${key}` };
        attached.missing.push(found.problem.message);
      } else this.#claim(attached, kind, found);
    }
    for (const [i, selector] of (policy.spec.targetSelectors ?? []).entries()) {
      if ((selector.group ?? gatewayGroup) !== gatewayGroup || !is.includes(selector.kind)) {
        attached.invalid.push(`targetSelectors[${i}]: a ${kind} has no effect on ${selector.group ?? gatewayGroup}/${selector.kind}; ${is.join(", ")} may be selected`);
        continue;
      }
      for (const key of selected(world, selector, kind, namespace)) {
        if (attached.targets.some((target) => target.kind === selector.kind && target.key === key && target.section === undefined)) continue;
        const found: AttachedTarget = { kind: selector.kind, key, section: undefined, problem: undefined };
        attached.targets.push(found);
        this.#claim(attached, kind, found);
      }
    }
    return attached;
  }
  #claim(attached: AttachedPolicy, kind: PolicyKind, target: AttachedTarget): void {
    const place = placeOf(target.kind, target.key, target.section);
    const winner = this.#winners.get(place);
    if (winner === attached.policy) return;
    if (winner) {
      attached.conflicts.push({ target: place, with: `${winner.metadata.namespace}/${winner.metadata.name}` });
      target.problem = { reason: "Conflicted", message: `Unable to target ${inWords(kind, target)}, another ${kind} has already attached to it` };
      return;
    }
    this.#winners.set(place, attached.policy);
    attached.places.push(place);
  }

  /** Of a route's requests at a listener; without a route, of the listener itself. */
  at(position: Position): Effective | undefined {
    const policies = this.chain(position);
    return policies.length === 0 ? undefined : { spec: effectiveSpec(policies), policies };
  }
  /** Whose word counts there, the most specific first: nobody's, one's, or what two say together. */
  chain(position: Position): Policy[] {
    const [first] = placesAt(position).flatMap((place) => this.#winners.get(place) ?? []);
    if (!first) return [];
    const base = first.spec.mergeType === undefined ? undefined : this.base(position);
    return base && base.policy !== first ? [first, base.policy] : [first];
  }
  /** Over whom a route's or rule's policy is merged there: the listener's or the Gateway's, whichever is closer. */
  base({ gateway, listener }: Position): { place: Place; policy: Policy } | undefined {
    for (const place of placesAt({ gateway, listener })) {
      const policy = this.#winners.get(place);
      if (policy) return { place, policy };
    }
    return undefined;
  }
  /** Who has it. */
  winner(place: Place): Policy | undefined {
    return this.#winners.get(place);
  }
}

export function referencesOf({ spec: { targetRef, targetRefs = [] } }: Policy): PolicyTarget[] {
  return targetRef ? [targetRef, ...targetRefs] : targetRefs;
}

/** The names of a Gateway's listeners, or of a route's rules; undefined: it is not there. */
function sectionsOf(world: World, kind: string, key: string): string[] | undefined {
  if (kind === "Gateway") return world.gateway(key)?.spec.listeners?.map(({ name }) => name);
  const route = world.route(kind as "HTTPRoute", key);
  return route && (route.spec.rules ?? []).flatMap((rule) => ("name" in rule && typeof rule.name === "string" ? [rule.name] : []));
}

/** A place as Envoy Gateway calls it when it is taken. */
function inWords(policy: PolicyKind, { kind, key, section }: AttachedTarget): string {
  const name = key.slice(key.indexOf("/") + 1);
  if (section === undefined) return `${kind} ${name}`;
  if (policy === "ClientTrafficPolicy") return `section of ${name}`;
  if (kind !== "Gateway") return `RouteRule ${name}/${section}`;
  return `Listener ${policy === "BackendTrafficPolicy" ? key : name}/${section}`;
}

/** Those of other namespaces need a ReferenceGrant there. */
function selected(world: World, selector: TargetSelector, kind: PolicyKind, own: string): string[] {
  const { matchLabels, matchExpressions, namespaces } = selector;
  const fits = labelSelectorOf({ ...(matchLabels && { matchLabels }), ...(matchExpressions && { matchExpressions }) })!;
  const inNamespaces = namespaces?.selector && labelSelectorOf(namespaces.selector);
  const isLetIn = (namespace: string): boolean => (namespaces?.from === "All" ? true : namespaces?.from === "Selector" ? (inNamespaces?.matches(world.namespace(namespace)?.metadata.labels ?? {}) ?? false) : namespace === own);
  const objects = selector.kind === "Gateway" ? world.gateways() : world.routes(selector.kind as "HTTPRoute");
  const isLent = (namespace: string, name: string): boolean => isGranted(world, { group: envoyGroup, kind, namespace: own }, { group: gatewayGroup, kind: selector.kind, namespace, name });
  return objects.filter(({ metadata }) => isLetIn(metadata.namespace!) && fits.matches(metadata.labels ?? {}) && isLent(metadata.namespace!, metadata.name)).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).sort();
}

/** What one policy says, or two together. */
export function effectiveSpec([first, second]: readonly Policy[]): Policy["spec"] {
  return second ? merged(second.spec, first!.spec) : first!.spec;
}
/** As RFC 7396 has it: what the more specific one says, field by field, over the other; lists are taken whole. Targets are nobody's. */
function merged(base: Policy["spec"], over: Policy["spec"]): Policy["spec"] {
  const { targetRef: _one, targetRefs: _refs, targetSelectors: _selectors, mergeType: _type, ...rest } = base;
  return applyMergePatch(rest, over) as Policy["spec"];
}
