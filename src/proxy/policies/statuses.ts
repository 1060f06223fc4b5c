import { type Policy, type PolicyKind, policyKinds } from "../../api/envoy/kinds.ts";
import { condition } from "../gateway/conditions.ts";
import { type Condition, controllerName, gatewayGroup, type ParentReference } from "../gateway/kinds.ts";
import type { AttachedPolicy, AttachedTarget, Place } from "./attach.ts";
import type { PolicyBook } from "./book.ts";
import { deprecations } from "./deprecated.ts";
import { Scopes, scopesInWords } from "./scopes.ts";

/** Where a route is attached: a parent of it, and the listeners behind that. */
export interface RouteParent {
  parentRef: ParentReference;
  gateway: string;
  /** `position` is "" for a listener of a ListenerSet, which has no policy of its own. */
  listeners: readonly { name: string; position: string }[];
}

/** What lies around the policies. */
export interface Surroundings {
  /** Of a route, "KIND/NAMESPACE/NAME". */
  attachmentsOf(route: Place): readonly RouteParent[];
  isOurs(gateway: string): boolean;
  /** What of Service ports cannot be done as BackendTrafficPolicies say together, "NAMESPACE/NAME+…", fields of `spec` first. */
  unusable(policies: string): readonly string[];
}

export interface PolicyStatus {
  kind: PolicyKind;
  key: string;
  notes: string[];
  ancestors: { ancestorRef: ParentReference; controllerName: string; conditions: Condition[] }[];
}

/** As policies of a kind are called in messages, of a route's and of a Gateway's. */
const others: Record<PolicyKind, { route: string; gateway: string }> = {
  SecurityPolicy: { route: "securityPolicies", gateway: "securityPolicies" },
  BackendTrafficPolicy: { route: "backendTrafficPolicy", gateway: "backendTrafficPolicies" },
  ClientTrafficPolicy: { route: "", gateway: "" },
};

/** So many the kinds have room for. */
const ancestorsMax = 16;

/**
 * What the statuses of Envoy Gateway's policies say, as it writes them (test/conformance/policy-statuses.test.ts asks it): one entry for
 * each Gateway or listener that a policy names, and for each parent of each route that it names; where it is merged, one for each
 * listener too. What has been told and is as it was is not told again: a change costs what it changes, and a look at every policy.
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
      const all = this.#book.policies(kind);
      const scopes = this.#scopes(kind, all, around);
      return all.flatMap((attached): PolicyStatus[] => {
        const { policy, conflicts, missing } = attached;
        const key = `${policy.metadata.namespace}/${policy.metadata.name}`;
        const ancestors = this.#ancestors(kind, attached, scopes, around);
        // Something that it names is not read yet.
        if (!ancestors) return [];
        const status: PolicyStatus = { kind, key, notes: [...new Set([...conflicts.map(({ target, with: other }) => `${target} has ${kind} ${other} already, which is older`), ...missing, ...ancestors.problems])], ancestors: ancestors.entries };
        const text = JSON.stringify(status);
        if (this.#told.get(`${kind}/${key}`) === text) return [];
        this.#told.set(`${kind}/${key}`, text);
        return [status];
      });
    });
  }

  /** Whose requests are whose to say, for what lies above it to be told. */
  #scopes(kind: PolicyKind, all: readonly AttachedPolicy[], around: Surroundings): Scopes {
    const scopes = new Scopes();
    for (const { policy, targets } of all) {
      for (const target of targets) {
        const { kind: targetKind, key, section, problem } = target;
        if (targetKind === "Gateway") {
          if (section !== undefined && !problem && around.isOurs(key)) scopes.addListener(key, section);
          continue;
        }
        if (problem?.reason === "Invalid") continue;
        const route = `${targetKind}/${key}`;
        if (section !== undefined && !problem) scopes.addRule(route, section);
        for (const parent of around.attachmentsOf(route)) {
          scopes.addRoute(parent.gateway, parent.parentRef.kind === "ListenerSet" ? undefined : parent.parentRef.sectionName, key);
          if (problem || policy.spec.mergeType === undefined) continue;
          for (const { base, refused } of this.#mergings(kind, policy, target, parent)) if (base && refused?.length === 0) scopes.addMerged(base.place, key);
        }
      }
    }
    return scopes;
  }

  /** What a policy that is to be merged comes to at each listener behind a route's parent. `refused` is undefined while it is not known. */
  #mergings(kind: PolicyKind, policy: Policy, { kind: targetKind, key, section }: AttachedTarget, { gateway, listeners }: RouteParent) {
    const route = { kind: targetKind, key, rule: section };
    return listeners.map(({ name, position }) => {
      const base = this.#book.base(kind, { gateway, listener: position, route });
      return { name, base, refused: this.#book.refusals(kind, [], base ? [policy, base.policy] : [policy]) };
    });
  }

  /** Undefined: it is not known yet. */
  #ancestors(kind: PolicyKind, { policy, targets }: AttachedPolicy, scopes: Scopes, around: Surroundings): { entries: PolicyStatus["ancestors"]; problems: string[] } | undefined {
    const ancestors = new Ancestors();
    const warning = deprecations(kind, policy.spec);
    let isPending = false;
    // Of several that tell one ancestor something the most general one has the last word.
    for (const target of targets.toSorted((a, b) => generality(a) - generality(b))) {
      const { kind: targetKind, key, section, problem } = target;
      const isRoute = targetKind.endsWith("Route");
      const parents = isRoute ? around.attachmentsOf(`${targetKind}/${key}`) : [];
      const references = isRoute ? parents.map(({ parentRef }) => referenceOf(key, parentRef)) : targetKind !== "Gateway" || around.isOurs(key) ? [referenceTo(targetKind, key, section)] : [];
      const told = references.map((reference) => ancestors.of(reference));
      if (problem) {
        for (const one of told) one.wrong(problem.reason, problem.message);
        continue;
      }
      if (policy.spec.mergeType === undefined || !isRoute) {
        const refused = told.length === 0 ? [] : this.#book.refusals(kind, [target], [policy]);
        isPending ||= refused === undefined;
        if (refused?.length) for (const one of told) one.wrong("Invalid", refusalsInWords(refused));
        else if (kind === "BackendTrafficPolicy") for (const why of around.unusable(nameOf(policy))) for (const one of told) one.wrong("Invalid", `spec.${why}`);
      } else {
        for (const [i, parent] of parents.entries()) {
          for (const { name, base, refused } of this.#mergings(kind, policy, target, parent)) {
            isPending ||= refused === undefined;
            const listener = ancestors.of({ ...references[i]!, sectionName: name });
            const other = base && nameOf(base.policy);
            const unusable = kind === "BackendTrafficPolicy" ? around.unusable([policy, ...(base ? [base.policy] : [])].map(nameOf).join("+")).map((why) => `spec.${why}`) : [];
            // Also what stands for all listeners is not accepted then.
            const wrong = refused?.length ? [refusalsInWords(refused, other)] : unusable;
            for (const message of wrong) for (const one of new Set([listener, told[i]!])) one.wrong("Invalid", message);
            if (wrong.length === 0 && base) listener.set(condition("Merged", true, "Merged", `Merged with policy ${other}`));
          }
        }
      }
      for (const one of told) {
        one.accept();
        if (warning !== undefined) one.set(condition("Warning", true, "DeprecatedField", warning));
      }
      for (const wanted of isRoute ? overriddenRoute(kind, target, scopes) : overriddenGateway(kind, target, scopes)) for (const one of told) one.set(wanted);
    }
    return isPending ? undefined : { entries: ancestors.entries(), problems: ancestors.problems() };
  }
}

const generality = ({ kind, section }: AttachedTarget): number => (kind.endsWith("Route") ? 0 : 2) + (section === undefined ? 1 : 0);
const nameOf = ({ metadata }: Policy): string => `${metadata.namespace}/${metadata.name}`;

function overriddenRoute(kind: PolicyKind, { kind: targetKind, key, section }: AttachedTarget, scopes: Scopes): Condition[] {
  const rules = section === undefined ? scopes.rulesOf(`${targetKind}/${key}`) : [];
  return rules.length === 0 ? [] : [condition("Overridden", true, "Overridden", `This policy is being overridden by other ${others[kind].route} for ${scopesInWords({ rules })}`)];
}

function overriddenGateway(kind: PolicyKind, { key, section }: AttachedTarget, scopes: Scopes): Condition[] {
  if (kind === "ClientTrafficPolicy") {
    const sections = section === undefined ? scopes.listenersOf(key).map((listener) => listener.slice(key.length + 1)) : [];
    return sections.length === 0 ? [] : [condition("Overridden", true, "Overridden", `There are existing ClientTrafficPolicies that are overriding these sections [${sections.join(" ")}]`)];
  }
  const [merged, overridden] = [scopesInWords(scopes.mergedOver(key, section)), scopesInWords(scopes.overriding(key, section))];
  return [
    ...(merged === "" ? [] : [condition("Merged", true, "Merged", `This policy is being merged by other ${others[kind].gateway} for ${merged}`)]),
    ...(overridden === "" ? [] : [condition("Overridden", true, "Overridden", `This policy is being overridden by other ${others[kind].gateway} for ${overridden}`)]),
  ];
}

const refusalsInWords = (refused: readonly { field: string; why: string }[], other?: string): string => `${refused.map(({ field, why }) => `spec.${field} ${why}`).join("; ")}${other === undefined ? "" : ` (merged with policy ${other})`}; what the policy is for is answered with 500`;

function referenceTo(kind: string, key: string, sectionName: string | undefined): ParentReference {
  const [namespace, name] = key.split("/") as [string, string];
  return { group: gatewayGroup, kind, namespace, name, ...(sectionName !== undefined && { sectionName }) };
}
/** A route's parent as an ancestor, whole. */
function referenceOf(route: string, { kind = "Gateway", namespace = route.slice(0, route.indexOf("/")), name, sectionName }: ParentReference): ParentReference {
  return referenceTo(kind, `${namespace}/${name}`, sectionName);
}

/** One ancestor's conditions. What is wrong stays wrong, whatever else is told; of several things that are, all are. */
class Ancestor {
  readonly reference: ParentReference;
  readonly #conditions = new Map<string, Condition>();
  readonly #wrong: { reason: string; messages: Set<string> } = { reason: "", messages: new Set() };

  constructor(reference: ParentReference) {
    this.reference = reference;
  }
  set(wanted: Condition): void {
    this.#conditions.set(wanted.type, wanted);
  }
  wrong(reason: string, message: string): void {
    this.#wrong.reason = reason;
    this.#wrong.messages.add(message);
    this.set(condition("Accepted", false, reason, [...this.#wrong.messages].join("; ")));
  }
  accept(): void {
    if (!this.#conditions.has("Accepted")) this.set(condition("Accepted", true, "Accepted", "Policy has been accepted."));
  }
  problems(): string[] {
    return this.#wrong.reason === "Conflicted" ? [] : [...this.#wrong.messages];
  }
  conditions(): Condition[] {
    return ["Accepted", "Merged", "Overridden", "Warning", "Aggregated"].flatMap((type) => this.#conditions.get(type) ?? []);
  }
  get isTold(): boolean {
    return this.#conditions.size > 0;
  }
  /** What is wrong is told first where there is not room for all. */
  get rank(): number {
    return this.#conditions.get("Accepted")?.status === "False" ? 0 : this.#conditions.has("Overridden") ? 1 : 2;
  }
}

class Ancestors {
  readonly #all = new Map<string, Ancestor>();

  of(reference: ParentReference): Ancestor {
    const { kind, namespace, name, sectionName = "" } = reference;
    const id = `${kind}/${namespace}/${name}#${sectionName}`;
    let found = this.#all.get(id);
    if (!found) this.#all.set(id, (found = new Ancestor(reference)));
    return found;
  }
  problems(): string[] {
    return [...this.#all.values()].flatMap((one) => one.problems());
  }
  entries(): PolicyStatus["ancestors"] {
    let all = [...this.#all.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, one]) => (one.isTold ? [one] : []));
    if (all.length > ancestorsMax) {
      all = all.sort((a, b) => a.rank - b.rank).slice(0, ancestorsMax);
      all.at(-1)!.set(condition("Aggregated", true, "Aggregated", `Ancestors have been truncated because the number of policy ancestors exceeds ${ancestorsMax}.`));
    }
    return all.map((one) => ({ ancestorRef: one.reference, controllerName, conditions: one.conditions() }));
  }
}
