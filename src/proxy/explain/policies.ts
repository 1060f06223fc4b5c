import { policyKinds } from "../../api/envoy/kinds.ts";
import { keyOf } from "../../api/informer.ts";
import type { World } from "../gateway/world.ts";
import { Attachments, type Place, placesAt, type Position } from "../policies/attach.ts";

/** Policies for what one rule serves at a listener, a line each: those in force, and why others are not. */
export interface ToldPolicies {
  inForce: string[];
  others: string[];
}
export type PoliciesAt = (listener: string, route: string, rule: string) => ToldPolicies;

/** By the ids of listeners and routes that the engine knows. */
export function policiesIn(world: World): PoliciesAt {
  const all = policyKinds.map((kind) => ({ kind, attachments: new Attachments(kind, world.attached(kind), world) }));
  return (listener, route, rule) => {
    const position = positionOf(world, listener, route, rule);
    const told: ToldPolicies = { inForce: [], others: [] };
    let elsewhere = 0;
    for (const { kind, attachments } of all) {
      const places = position ? placesAt(kind === "ClientTrafficPolicy" ? { gateway: position.gateway, listener: position.listener } : position) : [];
      const winners = places.flatMap((place) => {
        const policy = attachments.winner(place);
        return policy ? [{ policy, place }] : [];
      });
      const [first, second] = winners;
      const merged = first?.policy.spec.mergeType !== undefined && second ? [first, second] : winners.slice(0, 1);
      if (first) told.inForce.push(merged.map(({ policy, place }, i) => `${i === 0 ? `${kind} ` : ""}${keyOf(policy)} for ${inWords(place)}`).join(", over "));
      for (const { policy, conflicts, missing, invalid } of attachments.policies) {
        if (merged.some((one) => one.policy === policy)) continue;
        const name = `  ${kind} ${keyOf(policy)}`;
        const own = winners.find((one) => one.policy === policy);
        const lost = conflicts.filter(({ target }) => places.includes(target));
        if (own) told.others.push(`${name}: for ${inWords(own.place)}, which is less specific than ${keyOf(merged.at(-1)!.policy)}'s`);
        else if (lost.length > 0) told.others.push(...lost.map(({ target, with: other }) => `${name}: ${inWords(target)} has ${other} already, which is older`));
        else if (missing.length + invalid.length > 0) told.others.push(`${name}: ${[...missing, ...invalid].join("; ")}`);
        else elsewhere++;
      }
    }
    if (elsewhere > 0) told.others.push(`  ${elsewhere} for other Gateways, routes or rules`);
    return told;
  };
}

/** Undefined: of a route or a listener that is no Gateway API's. */
function positionOf(world: World, listener: string, id: string, ruleName: string): Position | undefined {
  const [namespace, name, ...rest] = listener.split("/");
  const [, kind, key] = /^(HTTPRoute|GRPCRoute)\/([^~]+)(?:~\d+)?$/.exec(id) ?? [];
  const gateway = `${namespace}/${name}`;
  if (kind === undefined || key === undefined || !world.gateway(gateway)) return undefined;
  const rules = world.route(kind as "HTTPRoute", key)?.spec.rules ?? [];
  const isNamed = rules.some((rule) => "name" in rule && rule.name === ruleName);
  // A set's listeners are its Gateway's to protect.
  return { gateway, listener: rest.length === 1 ? rest[0]! : "", route: { kind, key, rule: isNamed ? ruleName : undefined } };
}

/** "HTTPRoute shop/users, rule read". */
function inWords(place: Place): string {
  const [target, section] = place.split("#") as [string, string?];
  const kind = target.slice(0, target.indexOf("/"));
  return `${kind} ${target.slice(kind.length + 1)}${section === undefined ? "" : `, ${kind === "Gateway" ? "listener" : "rule"} ${section}`}`;
}
