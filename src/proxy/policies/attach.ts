import type { Policy, PolicyKind, PolicyTarget, TargetSelector } from "../../api/envoy/kinds.ts";
import { applyMergePatch } from "../../api/patch/merge.ts";
import { labelSelectorOf } from "../../api/selectors.ts";
import { byAge } from "../gateway/gateways.ts";
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

/** What became of one policy. */
export interface AttachedPolicy {
  policy: Policy;
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
 * a more general one's, unless it says that it is to be merged (`mergeType`).
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
    const attached: AttachedPolicy = { policy, places: [], conflicts: [], missing: [], invalid: [] };
    const { namespace } = policy.metadata;
    for (const [i, { group, kind: target, name, sectionName }] of referencesOf(policy).entries()) {
      if (group !== gatewayGroup || !targetKinds[kind].includes(target)) {
        attached.invalid.push(`targetRefs[${i}]: a ${kind} has no effect on ${group === "" ? "core" : group}/${target}; ${targetKinds[kind].join(", ")} may be named`);
        continue;
      }
      const key = `${namespace}/${name}`;
      const section = sectionsOf(world, target, key);
      if (!section) attached.missing.push(`${target} ${key} does not exist`);
      else if (sectionName !== undefined && !section.includes(sectionName)) attached.missing.push(`${target} ${key} has no ${target === "Gateway" ? "listener" : "rule"} ${sectionName}`);
      else this.#claim(attached, placeOf(target, key, sectionName));
    }
    for (const [i, selector] of (policy.spec.targetSelectors ?? []).entries()) {
      if ((selector.group ?? gatewayGroup) !== gatewayGroup || !targetKinds[kind].includes(selector.kind)) {
        attached.invalid.push(`targetSelectors[${i}]: a ${kind} has no effect on ${selector.group ?? gatewayGroup}/${selector.kind}; ${targetKinds[kind].join(", ")} may be selected`);
        continue;
      }
      for (const key of selected(world, selector, namespace!)) this.#claim(attached, placeOf(selector.kind, key));
    }
    return attached;
  }
  #claim(attached: AttachedPolicy, place: Place): void {
    const winner = this.#winners.get(place);
    if (winner === attached.policy) return;
    if (winner) return void attached.conflicts.push({ target: place, with: `${winner.metadata.namespace}/${winner.metadata.name}` });
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
    const found = placesAt(position).flatMap((place) => this.#winners.get(place) ?? []);
    return found.slice(0, found[0]?.spec.mergeType === undefined ? 1 : 2);
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

function selected(world: World, selector: TargetSelector, own: string): string[] {
  const { matchLabels, matchExpressions, namespaces } = selector;
  const fits = labelSelectorOf({ ...(matchLabels && { matchLabels }), ...(matchExpressions && { matchExpressions }) })!;
  const inNamespaces = namespaces?.selector && labelSelectorOf(namespaces.selector);
  const isLetIn = (namespace: string): boolean => (namespaces?.from === "All" ? true : namespaces?.from === "Selector" ? (inNamespaces?.matches(world.namespace(namespace)?.metadata.labels ?? {}) ?? false) : namespace === own);
  const objects = selector.kind === "Gateway" ? world.gateways() : world.routes(selector.kind as "HTTPRoute");
  return objects.filter(({ metadata }) => isLetIn(metadata.namespace!) && fits.matches(metadata.labels ?? {})).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).sort();
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
