import { type Policy, type PolicyKind, policyKinds } from "../../api/envoy/kinds.ts";
import type { HttpRule } from "../../api/traffic.ts";
import { checkRule } from "../../policy/route-table.ts";
import type { CompiledListener } from "../gateway/listeners.ts";
import type { World } from "../gateway/world.ts";
import { type AttachedPolicy, type AttachedTarget, Attachments, effectiveSpec, type Place, placeOf, type Position } from "./attach.ts";
import { backendTrafficEffect } from "./backend-traffic.ts";
import { clientTrafficEffect } from "./client-traffic.ts";
import { type Effect, inOrder, type Refusal } from "./effect.ts";
import { notHonoured } from "./fields.ts";
import { judged, judgedListener } from "./judged.ts";
import { clientRefusals, withClientPolicy } from "./listeners.ts";
import { References } from "./references.ts";
import { securityEffect } from "./security.ts";

/** What policies of a route's requests come to; of a ClientTrafficPolicy, listeners ask. */
const effects: Partial<Record<PolicyKind, (spec: object, references: References, policies: readonly Policy[]) => Effect>> = { SecurityPolicy: securityEffect, BackendTrafficPolicy: backendTrafficEffect };

/** All that is in force for the requests of one rule at one listener. */
export interface RuleEffect extends Omit<Effect, "refused"> {
  /** Names the policies as they are: what has the same is the same. */
  key: string;
  /** Names those that say how backends are called, in whatever version: what is known of the endpoints stays over a change. */
  upstreamKey: string;
  /** Why nothing that the policies are for may be served. */
  refusal: string | undefined;
}

/**
 * Envoy Gateway's policies, where they are in force, and what they come to. Pure but for its memory: attachments are worked out
 * anew when a policy or something that can be a target came, went or changed its labels.
 */
export class PolicyBook {
  readonly #world: World;
  readonly #attachments = new Map<PolicyKind, Attachments>();
  readonly #effects = new Map<string, RuleEffect>();
  /** Policies by what they name, "KIND/NAMESPACE/NAME"; and how often that was otherwise. */
  readonly #naming = new Map<string, Set<string>>();
  readonly #turns = new Map<string, number>();
  /** By the versions of those who say it together: what was asked for since the last look, and before. */
  #refused = { now: new Map<string, readonly Refusal[]>(), before: new Map<string, readonly Refusal[]>() };
  #isDue = true;
  #places: ReadonlyMap<Place, string> = new Map();

  constructor(world: World) {
    this.#world = world;
  }

  /** Something is otherwise that policies are about. */
  changed(kind: string): void {
    this.#isDue = true;
    // What they may name is otherwise, and nobody knows whose.
    if (kind === "ReferenceGrant") this.#refused = { now: new Map(), before: new Map() };
  }

  /** So is something that policies may name: a Secret, a Service, "Name" and a host name. */
  namedChanged(kind: string, key: string): void {
    for (const policy of this.#naming.get(`${kind}/${key}`) ?? []) {
      this.#turns.set(policy, (this.#turns.get(policy) ?? 0) + 1);
      this.#isDue = true;
    }
  }
  /** What a policy's fields name, which is to be heard of from now on. */
  #references(kind: PolicyKind, policies: readonly Policy[]): References {
    return new References(this.#world, kind, policies[0]!.metadata.namespace!, (what) => {
      const naming = this.#naming.get(what) ?? new Set();
      this.#naming.set(what, naming);
      for (const policy of policies) naming.add(idOf(policy));
    });
  }
  #version(policy: Policy): string {
    const turns = this.#turns.get(idOf(policy));
    return `${idOf(policy)}@${policy.metadata.uid}.${policy.metadata.generation}${turns === undefined ? "" : `.${turns}`}`;
  }

  /** Looks at them anew. Places whose policies are others now, or are otherwise. */
  refresh(): Place[] {
    if (!this.#isDue) return [];
    this.#isDue = false;
    this.#effects.clear();
    this.#refused = { now: new Map(), before: this.#refused.now };
    const places = new Map<Place, string>();
    for (const kind of policyKinds) {
      const attachments = new Attachments(kind, this.#world.attached(kind), this.#world);
      this.#attachments.set(kind, attachments);
      for (const { policy, places: own } of attachments.policies) for (const place of own) places.set(place, `${places.get(place) ?? ""} ${this.#version(policy)}`);
    }
    const before = this.#places;
    this.#places = places;
    return [...new Set([...before.keys(), ...places.keys()])].filter((place) => before.get(place) !== places.get(place));
  }

  /** Undefined: no policy has anything to say there. */
  at(position: Position): RuleEffect | undefined {
    const found = Object.entries(effects).flatMap(([kind, effectOf]) => {
      const effective = this.#attachments.get(kind as PolicyKind)?.at(position);
      return effective ? [{ kind: kind as PolicyKind, effectOf, ...effective }] : [];
    });
    if (found.length === 0) return undefined;
    const key = found.flatMap(({ policies }) => policies.map((policy) => this.#version(policy))).join("+");
    let known = this.#effects.get(key);
    if (known) return known;
    const made = found.map(({ kind, effectOf, spec, policies }) => {
      const references = this.#references(kind, policies);
      const { refused, ...rest } = judged(spec, references, (part) => effectOf(part, references, policies));
      const all = [...notHonoured(kind, spec), ...refused];
      return { ...rest, policies, refusal: all.length === 0 ? undefined : `${policies.map(({ metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`).join(" over ")}: ${all.map(({ field, why }) => `spec.${field} ${why}`).join("; ")}` };
    });
    const refusal = made.map((one) => one.refusal).find((text) => text !== undefined);
    known = {
      key,
      filters: inOrder(made.flatMap(({ filters = [] }) => filters)),
      rule: Object.assign({}, ...made.map(({ rule }) => rule)) as NonNullable<Effect["rule"]>,
      upstream: Object.assign({}, ...made.map(({ upstream }) => upstream)) as NonNullable<Effect["upstream"]>,
      upstreamKey: made.flatMap(({ upstream, policies }) => (upstream ? policies.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`) : [])).join("+"),
      // Who is not served makes nobody be asked.
      needs: refusal === undefined ? made.flatMap(({ needs = [] }) => needs) : [],
      refusal,
    };
    this.#effects.set(key, known);
    return known;
  }

  /** A listener as a ClientTrafficPolicy has it. */
  atListener(compiled: CompiledListener): CompiledListener {
    const kind = "ClientTrafficPolicy";
    const effective = this.#attachments.get(kind)?.at({ gateway: compiled.gateway, listener: compiled.owner.kind === "Gateway" ? compiled.name : "" });
    if (!effective || !compiled.edge) return compiled;
    const [policy] = effective.policies as [Policy];
    const refused = this.refusals(kind, this.policies(kind).find((attached) => attached.policy === policy)!.targets.filter(({ problem }) => !problem), [policy]) ?? [{ field: "targetRefs", why: "name what is not known yet" }];
    const { edge } = compiled;
    return withClientPolicy(compiled, judgedListener(policy.spec, (spec) => clientTrafficEffect(spec, this.#references(kind, [policy]), edge)), refused.length === 0 ? undefined : `${idOf(policy).replace("/", " ")}: ${refused.map(({ field, why }) => `spec.${field} ${why}`).join("; ")}`);
  }

  policies(kind: PolicyKind): readonly AttachedPolicy[] {
    return this.#attachments.get(kind)?.policies ?? [];
  }

  /** Over whose policy one of a route would be merged there. */
  base(kind: PolicyKind, position: Position): ReturnType<Attachments["base"]> {
    return this.#attachments.get(kind)?.base(position);
  }

  /** Why what these say together cannot be done as it is written; of a ClientTrafficPolicy, at these targets. Undefined: it is not known yet. */
  refusals(kind: PolicyKind, targets: readonly AttachedTarget[], policies: readonly Policy[]): readonly Refusal[] | undefined {
    if (kind === "ClientTrafficPolicy") {
      const references = this.#references(kind, policies);
      const all = clientRefusals(this.#world, this.#attachments.get(kind)!, policies[0]!, targets.map(({ kind: target, key, section }) => placeOf(target, key, section)), references);
      return references.isPending ? undefined : all;
    }
    const key = `${kind} ${policies.map((policy) => this.#version(policy)).join("+")}`;
    let known = this.#refused.now.get(key) ?? this.#refused.before.get(key);
    if (!known) {
      const spec = effectiveSpec(policies);
      const references = this.#references(kind, policies);
      const effectOf = effects[kind];
      const { refused = [] } = effectOf ? judged(spec, references, (part) => effectOf(part, references, policies)) : {};
      if (references.isPending) return undefined;
      known = [...notHonoured(kind, spec), ...refused];
    }
    this.#refused.now.set(key, known);
    return known;
  }
}

const idOf = ({ kind, metadata }: Policy): string => `${kind}/${metadata.namespace}/${metadata.name}`;

/** The rule as it is served where these policies are in force; `called` gives the id under which a backend is called then. */
export function withPolicies(rule: HttpRule, effect: RuleEffect, called: (upstream: string) => string): HttpRule {
  if (effect.refusal !== undefined) return refusing(rule, effect.refusal);
  const { timeouts, ...more } = effect.rule ?? {};
  const made: HttpRule = {
    ...more,
    ...rule,
    ...((timeouts || rule.timeouts) && { timeouts: { ...timeouts, ...rule.timeouts } }),
    filters: [...(effect.filters ?? []), ...rule.filters],
    backends: rule.backends.map((backend) => (backend.upstream === undefined ? backend : { ...backend, upstream: called(backend.upstream) })),
  };
  const wrong = checkRule(made);
  return wrong ? refusing(rule, wrong.message) : made;
}

/** Never served unprotected. */
function refusing(rule: HttpRule, reason: string): HttpRule {
  return { name: rule.name, matches: rule.matches, filters: [], backends: [{ weight: 1, error: { status: 500, reason } }] };
}
