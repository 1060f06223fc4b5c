import type { Client, DeleteOptions, ListOptions, PatchType, WatchOptions } from "../api/client.ts";
import type { Kind } from "../api/kind.ts";
import type { KubeObject } from "../api/meta.ts";
import type { NodeAccess } from "../api/node.ts";
import type { KindRegistry } from "../api/registry.ts";
import { badRequestError, conflictError, internalError, methodNotSupportedError, notFoundError, StatusError } from "../api/status.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Entry, Store } from "../store/store.ts";
import { admissionSteps } from "./admission/index.ts";
import { createClient } from "./client.ts";
import { withConversions } from "./crd/convert.ts";
import { Definitions } from "./crd/definitions.ts";
import { terminatingError, watchWhileServed } from "./crd/serving.ts";
import { Admission, type Identity, type RestDependencies, type WriteContext } from "./rest/context.ts";
import { create } from "./rest/create.ts";
import { decode, decodeRequest } from "./rest/decode.ts";
import { type Deleted, remove, warnOfOrphans } from "./rest/delete.ts";
import { objectOf } from "./rest/keys.ts";
import { apply, patch } from "./rest/patch.ts";
import { evict } from "./rest/eviction.ts";
import { bind } from "./rest/pods.ts";
import { filterOf, list, type Listed, read } from "./rest/read.ts";
import { admitConnect } from "./rest/connect.ts";
import { hasReplicas, rescaled, scaleOf } from "./rest/scale.ts";
import { ScaleAdmission } from "./rest/scale-admission.ts";
import { admitSubresource } from "./rest/subresource-admission.ts";
import { change, rewrite, update } from "./rest/update.ts";
import { openWatch, type OpenWatch, type WatchSink } from "./rest/watch.ts";
import { type CallWebhook, createWebhookClient, type WebhookClient } from "./webhooks/call.ts";

export interface ApiOptions {
  store: Store;
  registry: KindRegistry;
  clock: Clock;
  random: Random;
  log: Log;
  /** Where ClusterIPs come from: "10.96." (default) or, in plain mode, "127.96.". */
  serviceNetwork?: string;
  /** Signs service-account tokens; without it, the token subresource is not served. The annotations are for the audit log. */
  issueToken?: (serviceAccount: KubeObject, request: unknown, annotations?: Record<string, string>) => Promise<object>;
  /** Connects in the pod network: how webhooks behind Services are reached. Without it, they are not. */
  dialPod?: NodeAccess["dial"];
  /** Names of admission steps that are left out; upstream's plugins have upstream's names. For test environments. */
  withoutAdmission?: readonly string[];
}

/** Kinds that are only ever answered, never stored (SubjectAccessReview and its family). */
export type VirtualCreate = (kind: Kind, namespace: string | undefined, body: unknown, context: WriteContext) => Promise<object> | object;

/**
 * The API without HTTP: every verb for every kind, one code path. The HTTP face and the in-process client are two
 * doors to it. Reads give entries (bytes as stored), writes give objects.
 */
export class Api {
  readonly store: Store;
  readonly registry: KindRegistry;
  readonly clock: Clock;
  readonly log: Log;
  readonly virtual = new Map<string, VirtualCreate>();
  readonly #rest: RestDependencies;
  readonly #definitions: Definitions;
  readonly #scaleAdmission: ScaleAdmission;
  readonly #webhooks: WebhookClient;
  issueToken: ApiOptions["issueToken"];

  constructor(options: ApiOptions) {
    this.store = options.store;
    this.registry = options.registry;
    this.clock = options.clock;
    this.log = options.log;
    this.issueToken = options.issueToken;
    this.#webhooks = createWebhookClient(options);
    this.#rest = { ...options, admission: new Admission(admissionSteps({ ...options, callWebhook: this.#webhooks.call }).filter(({ name }) => !options.withoutAdmission?.includes(name))) };
    this.#scaleAdmission = new ScaleAdmission(this.#rest.admission);
    this.#definitions = new Definitions(this.#rest, this.#webhooks.call);
    this.#definitions.start();
  }

  /** Admission and conversion webhooks are called by this. */
  get callWebhook(): CallWebhook {
    return this.#webhooks.call;
  }

  /** Ends what is kept open between requests. */
  close(): void {
    this.#definitions.close();
    this.#webhooks.close();
  }

  /** The in-process client; objects it gives are shared and frozen. */
  client(identity: Identity, userAgent = identity.name): Client {
    return createClient(this, identity, userAgent);
  }

  get(kind: Kind, namespace: string | undefined, name: string): Entry {
    return read(this.store, kind, namespace, name);
  }
  getSubresource(kind: Kind, namespace: string | undefined, name: string, subresource: string): object {
    if (subresource === "proxy") throw new StatusError(501, "NotImplemented", "the proxy subresource of nodes is not served: there is no kubelet API");
    if (!kind.subresources.some((known) => known.name === subresource && known.verbs.includes("get"))) throw methodNotSupportedError({ group: kind.group, resource: `${kind.resource}/${subresource}` }, "get");
    const object = objectOf(kind, this.get(kind, namespace, name));
    if (subresource !== "scale" || !kind.scale) return object;
    if (!hasReplicas(kind, object)) throw internalError(`the spec replicas field ${JSON.stringify(kind.scale.specReplicasPath)} does not exist`);
    return scaleOf(kind, object);
  }
  list(kind: Kind, options: ListOptions): Listed {
    return list(this.store, kind, options);
  }
  watch(kind: Kind, options: WatchOptions, sink: WatchSink): OpenWatch {
    return kind.custom ? watchWhileServed(this.registry, kind, sink, (guarded) => openWatch(this.store, kind, options, guarded)) : openWatch(this.store, kind, options, sink);
  }

  async create(kind: Kind, namespace: string | undefined, body: unknown, context: WriteContext, options: { name?: string; subresource?: string; shared?: boolean } = {}): Promise<object> {
    const { name, subresource } = options;
    if (kind.custom?.terminating) throw terminatingError(kind, "create");
    if (subresource === undefined) {
      // A Binding on its own names its pod.
      if (kind.resource === "bindings" && kind.group === "") return this.create(this.registry.byResource("", "v1", "pods")!, namespace, body, context, { name: boundName(body), subresource: "binding" });
      const virtual = this.virtual.get(`${kind.resource}.${kind.group}`);
      return virtual ? virtual(kind, namespace, body, context) : this.#followed(kind, () => create(this.#rest, kind, namespace, body, context, options.shared));
    }
    switch (`${kind.resource}/${subresource}`) {
      case "pods/binding":
        return bind(this.#rest, kind, namespace!, name!, decodeRequest("", "v1", "Binding", body), context);
      case "pods/eviction":
        return evict(this.#rest, kind, this.registry.byResource("policy", "v1", "poddisruptionbudgets"), namespace!, name!, decodeRequest("policy", "v1", "Eviction", body), context);
      case "serviceaccounts/token":
        if (this.issueToken) {
          const account = objectOf(kind, this.get(kind, namespace, name!));
          return this.issueToken(account, await admitSubresource(this.#rest, kind, "token", { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest" }, namespace, name!, decodeRequest("authentication.k8s.io", "v1", "TokenRequest", body), context), context.annotations);
        }
    }
    throw methodNotSupportedError({ group: kind.group, resource: `${kind.resource}/${subresource}` }, "create");
  }

  update(kind: Kind, namespace: string | undefined, name: string, body: unknown, context: WriteContext, options: { subresource?: string; shared?: boolean } = {}): Promise<object> {
    const { subresource } = options;
    const part = partOf(kind, subresource);
    if (part) return update(this.#rest, part, namespace, name, body, context, undefined, options.shared);
    if (subresource === undefined || subresource === "status") return this.#followed(kind, () => update(this.#rest, kind, namespace, name, body, context, subresource, options.shared));
    if (subresource === "scale" && kind.scale) return withConversions(this.store, kind, () => this.#scale(kind, namespace, name, "update", body, context));
    if (`${kind.resource}/${subresource}` === "namespaces/finalize") {
      const finalizers = (decode(kind, body, context, true)["spec"] as { finalizers?: string[] } | undefined)?.finalizers ?? [];
      return rewrite(this.#rest, kind, undefined, name, context.dryRun, (old) => ({ ...old, spec: { ...(old["spec"] as object), finalizers } }));
    }
    throw methodNotSupportedError({ group: kind.group, resource: `${kind.resource}/${subresource}` }, "update");
  }

  patch(kind: Kind, namespace: string | undefined, name: string, type: PatchType, body: unknown, context: WriteContext, options: { subresource?: string } = {}): Promise<object> {
    const { subresource } = options;
    const part = partOf(kind, subresource);
    if (part && type === "apply") return apply(this.#rest, part, namespace, name, body, context);
    if (part && type !== "apply") return patch(this.#rest, part, namespace, name, type, body, context);
    if (type === "apply" && (subresource === undefined || subresource === "status")) return this.#followed(kind, () => apply(this.#rest, kind, namespace, name, body, context, subresource));
    if (type !== "apply" && (subresource === undefined || subresource === "status")) return this.#followed(kind, () => patch(this.#rest, kind, namespace, name, type, body, context, subresource));
    if (subresource === "scale" && kind.scale) return withConversions(this.store, kind, () => this.#scale(kind, namespace, name, type, body, context));
    throw methodNotSupportedError({ group: kind.group, resource: `${kind.resource}/${subresource}` }, "patch");
  }

  delete(kind: Kind, namespace: string | undefined, name: string, options: DeleteOptions, context: WriteContext): Promise<Deleted> {
    return this.#followed(kind, () => remove(this.#rest, kind, namespace, name, options, context));
  }

  /** Whether this stream to a pod may be opened: throws the StatusError if not. */
  admitConnect(kind: Kind, namespace: string | undefined, name: string, subresource: string, query: URLSearchParams, user: Identity, annotations?: Record<string, string>): Promise<void> {
    return admitConnect(this.#rest, kind, namespace, name, subresource, query, user, annotations);
  }

  /** One deletion each for what the selectors choose; gives the objects as the list showed them. */
  async deleteCollection(kind: Kind, options: ListOptions, deletion: DeleteOptions, context: WriteContext): Promise<KubeObject[]> {
    filterOf(kind, options);
    warnOfOrphans(kind, deletion, context);
    const objects = this.list(kind, options).entries.map((entry) => objectOf(kind, entry));
    for (const object of objects) {
      const { uid, resourceVersion } = deletion.preconditions ?? {};
      await this.delete(kind, object.metadata.namespace, object.metadata.name, { ...deletion, preconditions: { uid: uid ?? object.metadata.uid, ...(resourceVersion !== undefined && { resourceVersion }) } }, context).catch((error: unknown) => {
        // Somebody else was faster: that is what was wanted. What the client itself demands is another matter.
        const { code } = error as { code?: number };
        const isDemanded = uid !== undefined || resourceVersion !== undefined;
        if (code !== notFoundError(kind, "").code && (isDemanded || code !== conflictError(kind, "").code)) throw error;
      });
    }
    return objects;
  }

  /** Who wrote a definition finds its kind served when the answer comes. */
  async #followed<T>(kind: Kind, write: () => Promise<T>): Promise<T> {
    if (kind.custom) return withConversions(this.store, kind, write);
    if (kind.group !== "apiextensions.k8s.io") return write();
    const written = await write();
    const { object = written } = written as { object?: unknown };
    this.#definitions.refresh((object as KubeObject).metadata.name);
    return written;
  }

  async #scale(kind: Kind, namespace: string | undefined, name: string, type: PatchType | "update", body: unknown, context: WriteContext): Promise<object> {
    return scaleOf(kind, await change({ ...this.#rest, admission: this.#scaleAdmission }, kind, namespace, name, context, undefined, (old) => rescaled(this.#rest, kind, old, type, body, context), "given"));
  }
}

/** The kind as the subresource sees it that writes a part of its objects. */
function partOf(kind: Kind, subresource: string | undefined): Kind | undefined {
  const part = subresource === undefined ? undefined : kind.parts?.[subresource];
  return part && { ...kind, ...part, part: subresource! };
}

function boundName(body: unknown): string {
  const name = (body as { metadata?: { name?: unknown } } | null)?.metadata?.name;
  if (typeof name !== "string" || name === "") throw badRequestError("name must be provided");
  return name;
}

export function createApi(options: ApiOptions): Api {
  return new Api(options);
}
