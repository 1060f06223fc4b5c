import type { Kind } from "../../../api/kind.ts";
import type { KubeObject } from "../../../api/meta.ts";
import type { Amounts } from "../../../api/pod-resources.ts";
import type { KindRegistry } from "../../../api/registry.ts";
import { add, coveredNames, isInScope, type QuotaSpec, type ResourceName, type ResourceQuota, subtract, usageOf } from "../../../api/kinds/core/resourcequota-usage.ts";
import type { Entry, Store, StoreEvent } from "../../../store/store.ts";

/** What is used of one quota by what is stored. */
export interface Account {
  readonly name: string;
  readonly spec: QuotaSpec;
  readonly used: Amounts;
}

/** What a write that was admitted will use, until it is stored or has failed. */
export interface Reservation {
  readonly namespace: string;
  readonly key: string;
  /** Of a creation: by which the object is known when it is stored. */
  readonly uid: string | undefined;
  /** Of an update: the revision it replaces. */
  readonly base: number;
  readonly amounts: ReadonlyMap<Account, Amounts>;
}

interface Namespace {
  /** Which quotas these are, and how they read. */
  readonly identity: string;
  readonly accounts: readonly Account[];
  /** What has happened up to here is in the accounts. */
  readonly asOf: number;
}

/**
 * Counts what is used in namespaces that have quotas: once over all objects, then by each change of the store, with
 * what is on its way there on top. This process is the only writer, so the count is exact and no race can exceed a
 * quota; nothing is kept on disk, so no crash can leave it wrong. A namespace without quotas costs nothing.
 */
export class QuotaLedger {
  readonly #store: Store;
  readonly #registry: KindRegistry;
  readonly #namespaces = new Map<string, Namespace>();
  readonly #reservations = new Map<string, Set<Reservation>>();
  readonly #identities = new WeakMap<Entry, string>();
  #watching = false;

  constructor(store: Store, registry: KindRegistry) {
    this.#store = store;
    this.#registry = registry;
  }

  /** The accounts of the namespace's quotas, in order of names; `afresh` counts anew, so that no change that is still to be heard of is missed. */
  accounts(namespace: string, afresh = false): readonly Account[] {
    const entries = this.#store.range(`/core/resourcequotas/${namespace}/`);
    if (entries.length === 0) {
      this.#namespaces.delete(namespace);
      return noAccounts;
    }
    const identity = entries.map((entry) => this.#identityOf(entry)).join("\n");
    const known = this.#namespaces.get(namespace);
    if (known && !afresh && known.identity === identity) return known.accounts;
    return this.#count(namespace, identity, entries).accounts;
  }

  /** What writes under way will use of the account. */
  reserved(namespace: string, account: Account): Amounts {
    const total: Amounts = {};
    for (const { amounts } of this.#reservations.get(namespace) ?? []) {
      // A quota that was written meanwhile has a new account; it means the same one.
      for (const [of, amount] of amounts) if (of.name === account.name) add(total, amount, Object.keys(amount));
    }
    return total;
  }

  reserve(reservation: Reservation): void {
    const { namespace } = reservation;
    const all = this.#reservations.get(namespace);
    if (all) all.add(reservation);
    else this.#reservations.set(namespace, new Set([reservation]));
  }

  release(reservation: Reservation): void {
    const all = this.#reservations.get(reservation.namespace);
    if (all?.delete(reservation) && all.size === 0) this.#reservations.delete(reservation.namespace);
  }

  /** The spec and who it is of: a written status changes nothing here. */
  #identityOf(entry: Entry): string {
    let identity = this.#identities.get(entry);
    if (identity === undefined) {
      const { metadata, spec } = entry.object as unknown as ResourceQuota;
      this.#identities.set(entry, (identity = `${metadata.uid} ${JSON.stringify(spec ?? {})}`));
    }
    return identity;
  }

  #count(namespace: string, identity: string, entries: readonly Entry[]): Namespace {
    const { revision } = this.#store;
    if (!this.#watching) this.#store.watch("/", revision, { onEvents: (events) => this.#apply(events), onEnd: () => this.#forget() });
    this.#watching = true;
    const accounts = entries.map((entry): Account => {
      const { metadata, spec = {} } = entry.object as unknown as ResourceQuota;
      return { name: metadata.name, spec, used: {} };
    });
    for (const kind of this.#storedKinds()) {
      const concerned = accounts.filter(({ spec }) => coveredNames(kind, spec.hard ?? {}).length > 0);
      if (concerned.length === 0) continue;
      for (const entry of this.#store.range(`/${kind.group || "core"}/${kind.resource}/${namespace}/`)) for (const account of concerned) change(account, kind, entry.object as unknown as KubeObject, add);
    }
    const counted = { identity, accounts, asOf: revision };
    this.#namespaces.set(namespace, counted);
    for (const reservation of this.#reservations.get(namespace) ?? []) if (this.#isStored(reservation)) this.release(reservation);
    return counted;
  }

  #storedKinds(): Kind[] {
    const kinds = new Map<string, Kind>();
    for (const kind of this.#registry.all()) if (kind.scope === "Namespaced" && !kind.storedAs && !kinds.has(`${kind.group}/${kind.resource}`)) kinds.set(`${kind.group}/${kind.resource}`, kind);
    return [...kinds.values()];
  }

  #isStored({ key, uid, base }: Reservation): boolean {
    const entry = this.#store.get(key);
    return uid === undefined ? entry?.revision !== base : (entry?.object as unknown as KubeObject | undefined)?.metadata.uid === uid;
  }

  #apply(events: readonly StoreEvent[]): void {
    for (const { type, entry, previous } of events) {
      // "/core/pods/shop/web": what lies outside of namespaces has one part less.
      const [, group, resource, namespace, name] = entry.key.split("/");
      const found = name === undefined ? undefined : this.#namespaces.get(namespace!);
      if (!found) continue;
      // The last quota gone: nobody asks again, and nothing is kept for it.
      if (resource === "resourcequotas" && type === "delete") {
        this.#namespaces.delete(namespace!);
        continue;
      }
      if (entry.revision > found.asOf) {
        const kind: ResourceName = { group: group === "core" ? "" : group!, resource: resource! };
        for (const account of found.accounts) {
          if (previous) change(account, kind, previous.object as unknown as KubeObject, subtract);
          if (type === "put") change(account, kind, entry.object as unknown as KubeObject, add);
        }
      }
      for (const reservation of this.#reservations.get(namespace!) ?? []) {
        if (reservation.key !== entry.key) continue;
        const isIt = reservation.uid === undefined ? previous?.revision === reservation.base : (entry.object as unknown as KubeObject).metadata.uid === reservation.uid;
        if (isIt) this.release(reservation);
      }
    }
  }

  /** The store would not wait for us: everything is counted anew when next asked. */
  #forget(): void {
    this.#watching = false;
    this.#namespaces.clear();
  }
}

const noAccounts: readonly Account[] = [];

function change({ spec, used }: Account, kind: ResourceName, object: KubeObject, by: typeof add): void {
  const names = coveredNames(kind, spec.hard ?? {});
  if (names.length > 0 && isInScope(spec, kind, object)) by(used, usageOf(kind, object), names);
}
