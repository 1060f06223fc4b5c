import type { Client } from "../../api/client.ts";
import { type Condition, type GroupVersionResource, type KubeObject, withCondition } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { EndpointSlice, Service } from "../../api/types.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { NodeAccess } from "../../api/node.ts";
import type { Entry, Watch } from "../../store/store.ts";
import type { Api } from "../api.ts";
import { type Identity, systemIdentity } from "../rest/context.ts";
import type { DialDependencies } from "../webhooks/service-target.ts";
import { priorityOf } from "./priorities.ts";
import type { ForeignServer, FrontProxy } from "./proxy.ts";

const apiServices: GroupVersionResource = { group: "apiregistration.k8s.io", version: "v1", resource: "apiservices" };
const prefix = "/apiregistration.k8s.io/apiservices/";
const automanaged = "kube-aggregator.kubernetes.io/automanaged";

export interface AggregatorOptions {
  api: Api;
  client: Client;
  clock: Clock;
  random: Random;
  log: Log;
  dialPod?: NodeAccess["dial"];
  /** The authority that foreign servers believe, and what it signed for us. Made when first needed. */
  frontProxy: () => Promise<{ ca: string } & FrontProxy>;
  /** PEM: who may be a client of ours. */
  clientCa: string;
}

/** A group and version that another API server serves. */
export interface Foreign {
  readonly name: string;
  readonly group: string;
  readonly version: string;
  readonly groupPriorityMinimum: number;
  readonly versionPriority: number;
  readonly server: ForeignServer;
  /** Its status says so. */
  readonly available: boolean;
  /** Its APIResourceList as last seen. */
  readonly resources: readonly LegacyResource[];
}
export interface LegacyResource {
  name: string;
  singularName: string;
  namespaced: boolean;
  group?: string;
  version?: string;
  kind: string;
  verbs: string[];
  shortNames?: string[];
  categories?: string[];
}

interface APIService extends KubeObject {
  spec: { group?: string; version?: string; groupPriorityMinimum: number; versionPriority: number; service?: { namespace: string; name: string; port?: number }; caBundle?: string; insecureSkipTLSVerify?: boolean };
  status?: { conditions?: Condition[] };
}

/** Upstream's resync of availability, and how soon a server that failed is asked again. */
const recheckMs = 30_000;
const retryMs = 2_000;
const checkTimeoutMs = 5_000;

/**
 * Who serves which group and version. Every group of our own has its APIService, which says `Local`; one that names a
 * Service makes us pass its requests on, with the caller's identity in headers that only our certificate may set.
 * Source: k8s.io/kube-aggregator/pkg/{apiserver,controllers}.
 */
export class Aggregator {
  readonly #options: AggregatorOptions;
  readonly #dial: DialDependencies;
  readonly #foreign = new Map<string, Foreign & { entry: Entry; timer: Timer | undefined }>();
  #watch: Watch | undefined;
  #unsubscribe: () => void = () => {};
  #registering: Promise<void> = Promise.resolve();
  #pending = false;
  #proxy: Promise<{ ca: string } & FrontProxy> | undefined;
  #closed = false;
  /** Moves when discovery does. */
  generation = 1;

  constructor(options: AggregatorOptions) {
    this.#options = options;
    this.#dial = { store: options.api.store, random: options.random, ...(options.dialPod && { dialPod: options.dialPod }) };
  }

  /** Follows the APIServices of the store at once; resolves when those of our own groups are there. */
  async start(): Promise<void> {
    this.#follow();
    this.#unsubscribe = this.#options.api.registry.onChange(() => void this.#register());
    await Promise.all([this.#publishAuthentication(), this.#register()]);
  }

  /** Resolves when there is an APIService for all that is served at this moment. */
  registered(): Promise<void> {
    return this.#register();
  }

  close(): void {
    this.#closed = true;
    this.#watch?.close();
    this.#unsubscribe();
    for (const { timer } of this.#foreign.values()) timer?.cancel();
  }

  /** Of a path below /apis, or of its OpenAPI document: the foreign server that serves it. Costs one comparison while there is none. */
  match(path: string): Foreign | undefined {
    if (this.#foreign.size === 0) return undefined;
    const [, root, group, version] = (path.startsWith("/openapi/v3/") ? path.slice("/openapi/v3".length) : path).split("/");
    return root === "apis" && group && version ? this.#foreign.get(`${version}.${group}`) : undefined;
  }
  list(): Foreign[] {
    return [...this.#foreign.values()];
  }
  get dial(): DialDependencies {
    return this.#dial;
  }
  frontProxy(): Promise<{ ca: string } & FrontProxy> {
    return (this.#proxy ??= this.#options.frontProxy());
  }

  /** GET by one of our own parts. Rejects with a StatusError. */
  async get(path: string, user: Identity = systemIdentity("controllers")): Promise<unknown> {
    const found = this.match(path);
    if (!found) throw new StatusError(404, "NotFound", "the server could not find the requested resource");
    if (!found.available) throw new StatusError(503, "ServiceUnavailable", "the server is currently unable to handle the request");
    const { ask } = await import("./proxy.ts");
    const { code, body } = await ask(this.#dial, found.server, await this.frontProxy(), path, user, { timeoutMs: 30_000, bytesMax: limits.webhookResponseBytesMax });
    const answer = JSON.parse(body.toString()) as { kind?: string };
    if (code !== 200) throw answer.kind === "Status" ? StatusError.from(answer as never) : new StatusError(code, "Unknown", `the server responded with the status code ${code}`);
    return answer;
  }

  #follow(): void {
    const { store } = this.#options.api;
    const from = store.revision;
    for (const entry of store.range(prefix)) this.#take(entry.key.slice(prefix.length), entry);
    this.#watch = store.watch(prefix, from, {
      onEvents: (events) => {
        for (const { entry, type } of events) this.#take(entry.key.slice(prefix.length), type === "delete" ? undefined : entry);
      },
      onEnd: () => {
        for (const name of this.#foreign.keys()) if (!store.get(prefix + name)) this.#take(name, undefined);
        this.#follow();
      },
    });
  }

  #take(name: string, entry: Entry | undefined): void {
    const before = this.#foreign.get(name);
    const object = entry?.object as unknown as APIService | undefined;
    if (!object?.spec.service) {
      before?.timer?.cancel();
      if (this.#foreign.delete(name)) this.generation++;
      // Ours again, or one that somebody deleted and that we still serve.
      void this.#register();
      return;
    }
    const { group = "", version = "", groupPriorityMinimum, versionPriority, service, caBundle, insecureSkipTLSVerify } = object.spec;
    const sameServer = before !== undefined && JSON.stringify((before.entry.object as unknown as APIService).spec) === JSON.stringify(object.spec);
    const available = object.status?.conditions?.some(({ type, status }) => type === "Available" && status === "True") ?? false;
    const server: ForeignServer = { service: { ...service }, ...(caBundle !== undefined && { caBundle }), ...(insecureSkipTLSVerify && { insecureSkipTLSVerify }) };
    this.#foreign.set(name, { name, group, version, groupPriorityMinimum, versionPriority, server, available, resources: before?.resources ?? [], entry: entry!, timer: before?.timer });
    this.generation++;
    if (!sameServer) this.#checkIn(name, 0);
  }

  #checkIn(name: string, ms: number): void {
    const found = this.#foreign.get(name);
    if (!found || this.#closed) return;
    found.timer?.cancel();
    found.timer = this.#options.clock.setTimer(ms, () => {
      this.#check(name)
        .catch((error: unknown) => this.#options.log.debug("an APIService was not checked", { name, error: (error as Error).message }))
        .finally(() => this.#checkIn(name, this.#foreign.get(name)?.available ? recheckMs : retryMs));
    });
  }

  async #check(name: string): Promise<void> {
    const found = this.#foreign.get(name)!;
    const condition = await this.#availability(found);
    if (this.#closed || this.#foreign.get(name)?.server !== found.server) return;
    const object = found.entry.object as unknown as APIService;
    const conditions = withCondition(object.status?.conditions, condition, this.#options.clock.now());
    if (conditions === object.status?.conditions) return;
    await this.#options.client.update(apiServices, undefined, name, { ...object, status: { ...object.status, conditions } }, { subresource: "status" }).catch((error: StatusError) => {
      if (error.code !== 404 && error.code !== 409) throw error;
    });
  }

  async #availability(found: Foreign): Promise<Condition> {
    const { store } = this.#options.api;
    const { name, namespace, port = 443 } = found.server.service;
    const no = (reason: string, message: string): Condition => ({ type: "Available", status: "False", reason, message });
    const service = store.get(`/core/services/${namespace}/${name}`)?.object as unknown as Service | undefined;
    if (!service) return no("ServiceNotFound", `service/${name} in ${JSON.stringify(namespace)} is not present`);
    if (service.spec?.type === "ClusterIP" || service.spec?.type === undefined) {
      const servicePort = service.spec?.ports?.find((candidate) => candidate.port === port);
      if (!servicePort) return no("ServicePortError", `service/${name} in ${JSON.stringify(namespace)} is not listening on port ${port}`);
      const slices = store.range(`/discovery.k8s.io/endpointslices/${namespace}/`).map((entry) => entry.object as unknown as EndpointSlice).filter(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === name);
      if (slices.length === 0) return no("EndpointsNotFound", `cannot find endpointslices for service/${name} in ${JSON.stringify(namespace)}`);
      const reachable = slices.some((slice) => slice.ports?.some((candidate) => (candidate.name ?? "") === (servicePort.name ?? "")) && slice.endpoints?.some(({ conditions }) => conditions?.ready !== false));
      if (!reachable) return no("MissingEndpoints", `endpointslices for service/${name} in ${JSON.stringify(namespace)} have no addresses with port name ${JSON.stringify(servicePort.name ?? "")}`);
    }
    const path = `/apis/${found.group}/${found.version}`;
    const url = `https://${name}.${namespace}.svc:${port}${path}`;
    try {
      const { ask } = await import("./proxy.ts");
      const { code, body } = await ask(this.#dial, found.server, await this.frontProxy(), path, { name: "system:kube-aggregator", groups: ["system:masters"] }, { timeoutMs: checkTimeoutMs, bytesMax: limits.webhookResponseBytesMax });
      if (code < 200 || code > 299) return no("FailedDiscoveryCheck", `failing or missing response from ${url}: bad status from ${url}: ${code}`);
      const list = JSON.parse(body.toString()) as { resources?: LegacyResource[] };
      const kept = this.#foreign.get(found.name);
      if (kept && JSON.stringify(kept.resources) !== JSON.stringify(list.resources ?? [])) {
        this.#foreign.set(found.name, { ...kept, resources: list.resources ?? [] });
        this.generation++;
      }
    } catch (error) {
      return no("FailedDiscoveryCheck", `failing or missing response from ${url}: Get ${JSON.stringify(url)}: ${(error as Error).message}`);
    }
    return { type: "Available", status: "True", reason: "Passed", message: "all checks passed" };
  }

  /** An APIService for every group and version that we serve, and none of ours for those that we no longer do. Runs one after the other. */
  #register(): Promise<void> {
    if (this.#pending || this.#closed) return this.#registering;
    this.#pending = true;
    this.#registering = this.#registering
      .then(() => {
        this.#pending = false;
        return this.#closed ? undefined : this.#registerNow();
      })
      .catch((error: unknown) => this.#options.log.warn("APIServices were not registered", { error: (error as Error).message }));
    return this.#registering;
  }

  async #registerNow(): Promise<void> {
    const { api, client, clock } = this.#options;
    const served = new Map<string, { group: string; version: string; custom: boolean }>();
    for (const { group, version, custom } of api.registry.all()) served.set(`${version}.${group}`, { group, version, custom: custom !== undefined });
    const there = new Map(api.store.range(prefix).map((entry) => [entry.key.slice(prefix.length), entry.object as unknown as APIService]));
    const swallow = (error: StatusError) => {
      if (![404, 409].includes(error.code)) throw error;
    };
    const available = { type: "Available", status: "True", reason: "Local", message: "Local APIServices are always available" } as const;
    await Promise.all([
      ...[...served].filter(([name]) => !there.has(name)).map(async ([name, { group, version, custom }]) => {
        const object = { apiVersion: "apiregistration.k8s.io/v1", kind: "APIService", metadata: { name, labels: { [automanaged]: custom ? "true" : "onstart" } }, spec: { ...(group !== "" && { group }), version, ...priorityOf(group, version, custom) } };
        const made = await client.create<APIService>(apiServices, undefined, object).catch(swallow);
        if (made) await client.update(apiServices, undefined, name, { ...made, status: { conditions: withCondition([], available, clock.now()) } }, { subresource: "status" }).catch(swallow);
      }),
      ...[...there].map(async ([name, object]) => {
        if (object.spec.service) return;
        if (!served.has(name)) return object.metadata.labels?.[automanaged] === undefined ? undefined : client.delete(apiServices, undefined, name).catch(swallow);
        const conditions = withCondition(object.status?.conditions, available, clock.now());
        if (conditions !== object.status?.conditions) await client.update(apiServices, undefined, name, { ...object, status: { ...object.status, conditions } }, { subresource: "status" }).catch(swallow);
        return undefined;
      }),
    ]);
  }

  /** By what is in it, foreign servers prove to themselves that a request is ours. */
  async #publishAuthentication(): Promise<void> {
    const { client, clientCa } = this.#options;
    const name = "extension-apiserver-authentication";
    const data = {
      "client-ca-file": clientCa,
      "requestheader-allowed-names": '["front-proxy-client"]',
      "requestheader-client-ca-file": (await this.frontProxy()).ca,
      "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
      "requestheader-group-headers": '["X-Remote-Group"]',
      "requestheader-uid-headers": '["X-Remote-Uid"]',
      "requestheader-username-headers": '["X-Remote-User"]',
    };
    const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "kube-system" }, data };
    // Foreign servers bind themselves to this role to read it.
    await client.create(resources.roles, "kube-system", { metadata: { name: `${name}-reader` }, rules: [{ apiGroups: [""], resources: ["configmaps"], resourceNames: [name], verbs: ["get", "list", "watch"] }] }).catch((error: StatusError) => {
      if (error.reason !== "AlreadyExists") throw error;
    });
    const old = await client.get<KubeObject & { data?: object }>(resources.configMaps, "kube-system", name).catch(() => undefined);
    if (!old) await client.create(resources.configMaps, "kube-system", object);
    else if (JSON.stringify(old.data) !== JSON.stringify(data)) await client.update(resources.configMaps, "kube-system", name, { ...old, data });
  }
}
