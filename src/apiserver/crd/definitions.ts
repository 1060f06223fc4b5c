import type { CustomResourceDefinition } from "../../api/crd/definition.ts";
import { asDefinition, cleanupFinalizer, isCondition } from "../../api/crd/definition.ts";
import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { KindRegistry } from "../../api/registry.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { type Entry, type Store, type Watch } from "../../store/store.ts";
import { keyOf, objectOf, prefixOf } from "../rest/keys.ts";
import { rewrite } from "../rest/update.ts";
import type { RestDependencies } from "../rest/context.ts";
import type { CallWebhook } from "../webhooks/call.ts";
import type { Cleanup } from "./cleanup.ts";
import { lazyModule } from "../../base/lazy.ts";
import { webhookConversion } from "./convert.ts";
import { conditionsFor, loadChecks, type NamesTaken, namesOf } from "./conditions.ts";

const customKinds = lazyModule<typeof import("../../api/crd/kind.ts")>(import.meta.url, "../../api/crd/kind.ts");
const cleanups = lazyModule<typeof import("./cleanup.ts")>(import.meta.url, "./cleanup.ts");

/** Loads what serving a definition takes, which every stack does: for who has nothing else to do just now. */
export function loadCustomKinds(): void {
  customKinds();
  loadChecks();
}

/**
 * The registry follows the CustomResourceDefinitions of the store: a definition whose names are free is served at
 * the moment its write is durable, and no more when it is gone. What became of it stands in its status.
 */
export class Definitions {
  readonly #store: Store;
  readonly #registry: KindRegistry;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #rest: RestDependencies;
  readonly #call: CallWebhook;
  readonly #kind: Kind;
  readonly #builtin: readonly Kind[];
  /** By the definition's name: the entry that is followed, and the kinds that it serves. */
  readonly #followed = new Map<string, { entry: Entry; definition: CustomResourceDefinition; kinds: Kind[] }>();
  readonly #cleanups = new Map<string, Cleanup>();
  #watch: Watch | undefined;

  /** `call` reaches conversion webhooks. */
  constructor(rest: RestDependencies, call: CallWebhook) {
    this.#rest = rest;
    this.#call = call;
    this.#store = rest.store;
    this.#registry = rest.registry;
    this.#clock = rest.clock;
    this.#log = rest.log;
    this.#builtin = rest.registry.all();
    this.#kind = rest.registry.byResource("apiextensions.k8s.io", "v1", "customresourcedefinitions")!;
  }

  /** Serves what is stored, before it returns; then follows. */
  start(): void {
    const prefix = prefixOf(this.#kind);
    const entries = this.#store.range(prefix);
    const from = this.#store.revision;
    // Who has its names already comes first: a restart changes nobody's place.
    // Parsed for this once, and not frozen: of what is read here, little is kept.
    const read = entries.map((entry) => ({ entry, definition: asDefinition(JSON.parse(entry.bytes.toString()) as KubeObject) }));
    const established = ({ definition }: (typeof read)[number]) => Number(isCondition(definition, "Established"));
    for (const { entry, definition } of read.sort((a, b) => established(b) - established(a))) this.#take(entry.key.slice(prefix.length), entry, definition);
    this.#watch = this.#store.watch(prefix, from, {
      onEvents: (events) => {
        for (const { entry } of events) this.refresh(entry.key.slice(prefix.length));
      },
      onEnd: () => {
        // Too far behind: what is stored now is what counts.
        const names = new Set([...this.#followed.keys(), ...this.#store.range(prefix).map(({ key }) => key.slice(prefix.length))]);
        this.start();
        for (const name of names) this.refresh(name);
      },
    });
  }

  close(): void {
    this.#watch?.close();
    for (const cleanup of this.#cleanups.values()) cleanup.close();
  }

  /** Follows one definition as it is stored at this moment. Who writes one calls it before the answer goes out. */
  refresh(name: string): void {
    const entry = this.#store.get(keyOf(this.#kind, undefined, name));
    if (entry) this.#take(name, entry);
    else this.#drop(name);
  }

  #take(name: string, entry: Entry, read?: CustomResourceDefinition): void {
    const before = this.#followed.get(name);
    if (before?.entry === entry) return;
    const definition = read ?? asDefinition(objectOf(this.#kind, entry));
    const taken = this.#namesTaken(definition);
    const status = conditionsFor(definition, taken, this.#clock.now());
    const established = isCondition({ status }, "Established");
    const shown = withoutSchemas({ ...definition, status });
    const unchanged = before && sameServing(before.definition, shown);
    const kinds = unchanged ? before.kinds : established ? customKinds().kindsOf(shown, this.#source(name), shown.spec.conversion?.strategy === "Webhook" ? webhookConversion(shown, this.#call) : undefined) : [];
    this.#followed.set(name, { entry, definition: shown, kinds });
    if (!unchanged) {
      for (const kind of before?.kinds ?? []) if (!kinds.some((next) => next.version === kind.version && next.resource === kind.resource)) this.#registry.remove(kind.group, kind.version, kind.resource);
      for (const kind of kinds) this.#registry.add(kind);
      // A name that this definition gave up may be what another waits for.
      if (before) this.#lookAgain(definition);
    }
    if (status !== definition.status) this.#writeStatus(name, entry);
    const { metadata } = definition;
    if (metadata.deletionTimestamp && metadata.finalizers?.includes(cleanupFinalizer) && !this.#cleanups.has(name)) {
      const cleanup = new (cleanups().Cleanup)(this.#rest, this.#kind, customKinds().storageKindOf(shown, this.#source(name)), name);
      this.#cleanups.set(name, cleanup);
      cleanup.start();
    }
  }

  #drop(name: string): void {
    const before = this.#followed.get(name);
    if (!before) return;
    this.#followed.delete(name);
    this.#cleanups.get(name)?.close();
    this.#cleanups.delete(name);
    for (const kind of before.kinds) this.#registry.remove(kind.group, kind.version, kind.resource);
    this.#lookAgain(before.definition);
  }

  #lookAgain({ spec, metadata }: CustomResourceDefinition): void {
    // Taken out and put in again on the way: only those that were there before.
    const waiting = [...this.#followed].filter(([name, { definition }]) => name !== metadata.name && definition.spec.group === spec.group && !isCondition(definition, "NamesAccepted"));
    for (const [name, { entry }] of waiting) {
      this.#followed.delete(name);
      this.#take(name, entry);
    }
  }

  /** The schema is read off the bytes that the store holds anyway. */
  #source(name: string) {
    return (version: string) => {
      const followed = this.#followed.get(name);
      const spec = followed && asDefinition(followed.entry.object as KubeObject).spec;
      return spec?.versions.find((candidate) => candidate.name === version)?.schema?.openAPIV3Schema ?? {};
    };
  }

  #namesTaken(definition: CustomResourceDefinition): NamesTaken {
    const { group } = definition.spec;
    const resources = new Set<string>();
    const kinds = new Set<string>();
    for (const kind of this.#builtin) {
      if (kind.group !== group) continue;
      for (const name of [kind.resource, kind.singular, ...kind.shortNames]) resources.add(name);
      kinds.add(kind.kind).add(kind.listKind ?? `${kind.kind}List`);
    }
    for (const { definition: other } of this.#followed.values()) {
      if (other.spec.group !== group || other.metadata.name === definition.metadata.name) continue;
      const names = namesOf(other.status?.acceptedNames);
      for (const name of names.resources) resources.add(name);
      for (const name of names.kinds) kinds.add(name);
    }
    return { resources, kinds };
  }

  #writeStatus(name: string, entry: Entry): void {
    rewrite(this.#rest, this.#kind, undefined, name, false, (object) => {
      const definition = asDefinition(object);
      return { ...object, status: conditionsFor(definition, this.#namesTaken(definition), this.#clock.now()) } as unknown as KubeObject;
    }).catch((error: unknown) => {
      // Gone meanwhile, or the store is closing.
      if (this.#store.get(entry.key)) this.#log.warn("the status of a definition was not written", { name, error });
    });
  }
}

/** What is held of a definition: neither schemas, which are most of it, nor what others noted on it. */
function withoutSchemas({ apiVersion, kind, metadata, spec, status }: CustomResourceDefinition): CustomResourceDefinition {
  const named = { ...metadata };
  delete named.annotations;
  delete named.managedFields;
  const versions = spec.versions.map((version) => {
    const served = { ...version };
    delete served.schema;
    return served;
  });
  return { apiVersion, kind, metadata: named, spec: { ...spec, versions }, ...(status && { status }) };
}

/** Whether two states of a definition serve the same: everything but its status and bookkeeping. */
function sameServing(a: CustomResourceDefinition, b: CustomResourceDefinition): boolean {
  return a.metadata.uid === b.metadata.uid && a.metadata.generation === b.metadata.generation && (a.metadata.deletionTimestamp === undefined) === (b.metadata.deletionTimestamp === undefined) && isCondition(a, "Established") === isCondition(b, "Established") && JSON.stringify(a.status?.acceptedNames) === JSON.stringify(b.status?.acceptedNames);
}
