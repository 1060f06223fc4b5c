import { asDefinition, cleanupFinalizer } from "../../api/crd/definition.ts";
import type { Kind } from "../../api/kind.ts";
import { type Condition, type KubeObject, withCondition } from "../../api/meta.ts";
import type { Entry, Watch } from "../../store/store.ts";
import { Admission, type RestDependencies, systemIdentity, type WriteContext } from "../rest/context.ts";
import { remove } from "../rest/delete.ts";
import { prefixOf } from "../rest/keys.ts";
import { rewrite } from "../rest/update.ts";

/**
 * Takes the objects of a definition that is being deleted, waits for those with finalizers of their own, and lets the
 * definition go.
 * Source: k8s.io/apiextensions-apiserver/pkg/controller/finalizer/crd_finalizer.go.
 */
export class Cleanup {
  readonly #rest: RestDependencies;
  readonly #definitions: Kind;
  readonly #kind: Kind;
  readonly #name: string;
  readonly #prefix: string;
  #watch: Watch | undefined;
  #running = false;
  #again = false;
  #over = false;

  /** `kind`: as which the objects are stored. */
  constructor(rest: RestDependencies, definitions: Kind, kind: Kind, name: string) {
    // Whoever judges deletions judged that of the definition.
    this.#rest = { ...rest, admission: new Admission([]) };
    this.#definitions = definitions;
    this.#kind = kind;
    this.#name = name;
    this.#prefix = prefixOf(kind);
  }

  start(): void {
    const { store } = this.#rest;
    this.#watch = store.watch(this.#prefix, store.revision, { onEvents: () => this.#look(), onEnd: () => this.#look() });
    this.#look();
  }

  close(): void {
    this.#over = true;
    this.#watch?.close();
  }

  #look(): void {
    this.#again = true;
    if (this.#running || this.#over) return;
    this.#running = true;
    void this.#run().then(() => (this.#running = false));
  }

  async #run(): Promise<void> {
    try {
      while (this.#again && !this.#over) {
        this.#again = false;
        await this.#takeAll();
      }
    } catch (error) {
      if (!this.#over) this.#rest.log.warn("the objects of a definition were not all deleted", { name: this.#name, error });
    }
  }

  async #takeAll(): Promise<void> {
    const { store } = this.#rest;
    const entries = store.range(this.#prefix);
    const fresh = entries.filter((entry) => (entry.object as KubeObject).metadata.deletionTimestamp === undefined);
    if (fresh.length > 0) {
      await this.#condition("InstanceDeletionInProgress", "CustomResource deletion is in progress", "True");
      await Promise.all(fresh.map((entry) => this.#take(entry)));
    }
    if (store.count(this.#prefix) === 0) await this.#letGo();
  }

  async #take(entry: Entry): Promise<void> {
    const { namespace, name } = (entry.object as KubeObject).metadata;
    const context: WriteContext = { user: systemIdentity("definitions"), fieldManager: "crd-finalizer", fieldValidation: "Ignore", dryRun: false, warnings: [] };
    await remove(this.#rest, this.#kind, namespace, name, { propagationPolicy: "Background" }, context).catch((error: { code?: number }) => {
      if (error.code !== 404) throw error;
    });
  }

  #condition(reason: string, message: string, status: Condition["status"]): Promise<unknown> {
    return this.#rewrite((object) => ({ ...object, status: { ...object["status"], conditions: withCondition(asDefinition(object).status?.conditions, { type: "Terminating", status, reason, message }, this.#rest.clock.now()) } }));
  }

  async #letGo(): Promise<void> {
    await this.#rewrite((object) => {
      const finalizers = (object.metadata.finalizers ?? []).filter((finalizer) => finalizer !== cleanupFinalizer);
      const { finalizers: _, ...metadata } = object.metadata;
      const conditions = withCondition(asDefinition(object).status?.conditions, { type: "Terminating", status: "False", reason: "InstanceDeletionCompleted", message: "removed all instances" }, this.#rest.clock.now());
      return { ...object, metadata: { ...metadata, ...(finalizers.length > 0 && { finalizers }) }, status: { ...object["status"], conditions } } as KubeObject;
    });
    this.close();
  }

  async #rewrite(next: (object: KubeObject) => KubeObject): Promise<void> {
    await rewrite(this.#rest, this.#definitions, undefined, this.#name, false, next).catch((error: { code?: number }) => {
      if (error.code !== 404) throw error;
    });
  }
}
