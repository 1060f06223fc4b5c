import type { Entry, Store } from "../../../store/store.ts";
import type { Binding, Policy } from "./definitions.ts";

/** A policy with what need not be made for each request, and the bindings that put it to work. */
export interface Hook<P extends Policy, B extends Binding, C> {
  readonly policy: P;
  readonly compiled: C;
  readonly bindings: readonly B[];
}

/**
 * Policies and bindings, by name. They are read from the store with every request, so that a change holds for the
 * next one; what was compiled is kept while the generation stays.
 */
export class Catalogue<P extends Policy, B extends Binding, C> {
  readonly #store: Store;
  readonly #resource: string;
  readonly #compile: (policy: P) => C;
  #seen: readonly Entry[] = [];
  #hooks: readonly Hook<P, B, C>[] = [];
  #compiled = new Map<string, C>();

  /** `resource` is the plural of the policies: "validatingadmissionpolicies". */
  constructor(store: Store, resource: string, compile: (policy: P) => C) {
    this.#store = store;
    this.#resource = resource;
    this.#compile = compile;
  }

  hooks(): readonly Hook<P, B, C>[] {
    const policies = this.#store.range(`/admissionregistration.k8s.io/${this.#resource}/`);
    if (policies.length === 0) return [];
    const bindings = this.#store.range(`/admissionregistration.k8s.io/${this.#resource.replace(/ies$/, "ybindings")}/`);
    const entries = [...policies, ...bindings];
    if (entries.length === this.#seen.length && entries.every((entry, index) => entry.revision === this.#seen[index]!.revision)) return this.#hooks;
    this.#seen = entries;
    const byPolicy = Map.groupBy(bindings.map((entry) => entry.object as unknown as B), ({ spec }) => spec.policyName);
    const compiled = new Map<string, C>();
    this.#hooks = policies.flatMap((entry) => {
      const policy = entry.object as unknown as P;
      const bound = byPolicy.get(policy.metadata.name);
      // A policy without a binding does nothing, and costs nothing.
      if (!bound) return [];
      const key = `${policy.metadata.uid} ${policy.metadata.generation}`;
      const ready = this.#compiled.get(key) ?? this.#compile(policy);
      compiled.set(key, ready);
      return [{ policy, compiled: ready, bindings: bound }];
    });
    this.#compiled = compiled;
    return this.#hooks;
  }
}
