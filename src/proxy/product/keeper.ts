import type { Client } from "../../api/client.ts";
import { splitKey } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import { type ApiObject, apiResource, type ApiStatus, purgeAnnotation, routeNameOf } from "../../api/product/kinds.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import { timeText } from "../../api/scalars.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { withTimes } from "../gateway/conditions.ts";
import { type Gateway, gatewayResources, type HttpRouteObject, type RouteStatus } from "../gateway/kinds.ts";
import type { World } from "../gateway/world.ts";
import type { RuleCount } from "../../policy/tally.ts";
import type { QuotaCount } from "../../policy/quotas/counters.ts";
import { LatestWriter } from "../latest-writer.ts";
import { type Plan, planOf, type Seen, stable, urlOfStage } from "./plan.ts";
import { purged } from "./purge.ts";
import { mayBeRivals, rivalOf } from "./rivals.ts";
import { apiOfName, stageOf } from "./stage-route.ts";
import { usageOf, usageSources } from "./usage.ts";

const fieldManager = "wherry-api";
/** Of a document that is YAML. */
const valuesMax = 200_000;
/** How old what is told of quotas may be. */
const usageMs = 5_000;

export interface KeeperOptions {
  client: Client;
  world: World;
  clock: Clock;
  log: Log;
  /** Where a Gateway is found that has no host name. */
  addressOf(gateway: Gateway): string | undefined;
  /** What has been counted of quotas whose ids begin so; absent: nobody counts. */
  usage?(prefix: string): Promise<QuotaCount[]>;
  /** What rules of a stage have refused, and would have. Absent: nobody serves. */
  ruleCounts?(share: string): Promise<RuleCount[]>;
  /** Empties what all workers keep under a cache's name, of it what begins with a path; how many answers went. Absent: nobody serves. */
  purge?(cache: string, prefix: string): Promise<number>;
  /** What is wrong with an API, whole: for Events. */
  tell(api: ApiObject, problems: readonly string[]): void;
}

/** Keeps the deployments, routes and statuses of APIs: what an API says, the others follow. */
export class Keeper {
  readonly #options: KeeperOptions;
  readonly #writer: LatestWriter<undefined>;
  /** What was written last of each route, and what generation that came to. */
  readonly #applied = new Map<string, { text: string; generation: number | undefined }>();
  readonly #parents = new Map<string, RouteStatus["parents"]>();
  readonly #timers = new Map<string, Timer>();
  readonly #purges = new Map<string, { uid: string; purge: NonNullable<ApiStatus["purge"]> }>();
  /** APIs of which another one answers something. */
  readonly #rivalled = new Set<string>();
  #isStarted = false;

  constructor(options: KeeperOptions) {
    this.#options = options;
    const { clock, log } = options;
    this.#writer = new LatestWriter({ clock, log, write: (key) => this.#keep(key) });
  }

  /** The world is known. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#all();
  }
  stop(): Promise<void> {
    this.#isStarted = false;
    for (const timer of this.#timers.values()) timer.cancel();
    return this.#writer.stop();
  }

  /** Something is there, is otherwise, or is gone. */
  changed(kind: string, key: string, object: KubeObject | undefined): void {
    if (!this.#isStarted) return;
    switch (kind) {
      case "API":
        if (!object) this.#purges.delete(key);
        return this.#wantAmongRivals(key);
      case "ControllerRevision":
        return this.#wantAmongRivals(apiOfName(key));
      case "HTTPRoute":
        if (!object) this.#parents.delete(key);
        // Named as a stage's would be: its own, or somebody else's.
        return this.#want(object ? (stageOf(object)?.api ?? apiOfName(key)) : apiOfName(key));
      case "ConfigMap":
        for (const { metadata, spec } of this.#options.world.apis()) if (`${metadata.namespace}/${spec.documentFrom?.configMapKeyRef.name}` === key) this.#want(`${metadata.namespace}/${metadata.name}`);
        return;
      case "Gateway":
      case "BackendTrafficPolicy":
        return this.#all();
    }
  }
  /** What a route's status is to say. */
  told(route: string, parents: RouteStatus["parents"]): void {
    const object = this.#options.world.route("HTTPRoute", route);
    const api = object && stageOf(object)?.api;
    if (api === undefined) return;
    this.#parents.set(route, parents);
    this.#want(api);
  }

  #all(): void {
    for (const { metadata } of this.#options.world.apis()) this.#want(`${metadata.namespace}/${metadata.name}`);
  }
  /** Others may have been in its way, or it in theirs. */
  #wantAmongRivals(key: string): void {
    const { world } = this.#options;
    const api = world.api(key);
    this.#want(key);
    for (const other of this.#rivalled) this.#want(other);
    for (const other of api ? world.apis() : []) if (other !== api && mayBeRivals(api!, other)) this.#want(`${other.metadata.namespace}/${other.metadata.name}`);
  }
  #want(api: string): void {
    if (this.#isStarted && this.#options.world.api(api)) this.#writer.want(api, undefined);
  }

  async #keep(key: string): Promise<void> {
    const { client, world, clock, tell } = this.#options;
    const api = world.api(key);
    if (!api || api.metadata.deletionTimestamp) return;
    const { namespace, name } = splitKey(key) as { namespace: string; name: string };
    const seen = await this.#seen(api);
    let plan = planOf(seen);
    if (plan.deploy) {
      await client.create(resources.controllerRevisions, namespace, plan.deploy, { fieldManager }).catch((error: unknown) => {
        // Too large: what was deployed before stays, and people are told why.
        if (!(error instanceof StatusError && (error.code === 413 || error.code === 422))) throw error;
        plan = planOf({ ...seen, refused: `it cannot be deployed: ${error.message}` });
      });
    }
    for (const route of plan.routes) await this.#apply(route);
    for (const { metadata } of plan.remove.routes) await client.delete(gatewayResources.httpRoutes, namespace, metadata.name, { preconditions: { uid: metadata.uid } }).catch(gone);
    for (const { metadata } of plan.remove.deployments) await client.delete(resources.controllerRevisions, namespace, metadata.name, { preconditions: { uid: metadata.uid } }).catch(gone);
    tell(api, plan.problems);
    const now = timeText(clock.now());
    const conditions = withTimes(plan.status.conditions, api.status?.conditions, api.metadata.generation, now);
    const purge = await this.#purge(api, now);
    const status = { ...plan.status, conditions, ...(purge && { purge }), stages: await Promise.all(plan.status.stages!.map((stage) => this.#withUsage(api, stage))) };
    if (stable(status) === stable(api.status)) return;
    await client.patch(apiResource, namespace, name, { metadata: { uid: api.metadata.uid }, status: { ...status, ...(purge && { purge: { ...purge, message: purge.message ?? null } }) } }, { type: "merge", subresource: "status", fieldManager });
  }

  /** What was done is remembered: the watch may bring the status that says so later than something else. */
  async #purge(api: ApiObject, now: string): Promise<ApiStatus["purge"]> {
    const { purge } = this.#options;
    const { uid, annotations } = api.metadata;
    const key = `${api.metadata.namespace}/${api.metadata.name}`;
    const known = this.#purges.get(key);
    const done = known?.uid === uid ? known.purge : undefined;
    if (done && done.requested === annotations?.[purgeAnnotation]) return done;
    const made = purge ? await purged(api, purge, now) : api.status?.purge;
    if (made) this.#purges.set(key, { uid, purge: made });
    return made;
  }

  /** Quotas are counted without anybody changing an object: they are looked at again after a while. */
  async #withUsage(api: ApiObject, stage: NonNullable<ApiStatus["stages"]>[number]): Promise<typeof stage> {
    const { world, clock, usage, ruleCounts } = this.#options;
    const settings = api.spec.stages?.find(({ name }) => name === stage.name);
    const sources = usage && settings ? usageSources(world, api, settings) : [];
    const { namespace, name } = api.metadata;
    const rules = ruleCounts && settings?.rules?.length ? await ruleCounts(`api/${namespace}/${routeNameOf(name, stage.name)}`) : undefined;
    if (sources.length === 0 && !rules) return stage;
    const key = `${namespace}/${name}`;
    this.#timers.get(key)?.cancel();
    if (this.#isStarted) this.#timers.set(key, clock.setTimer(usageMs, () => this.#want(key)));
    const counted = await Promise.all(sources.map(async (source) => usageOf(source, await usage!(source.prefix))));
    return { ...stage, ...(sources.length > 0 && { usage: counted.flat() }), ...(rules && { rules }) };
  }

  async #seen(api: ApiObject): Promise<Seen> {
    const { world, addressOf } = this.#options;
    const { namespace, name } = api.metadata;
    this.#rivalled.delete(`${namespace}/${name}`);
    const own = world.routes("HTTPRoute").filter((route) => stageOf(route)?.api === `${namespace}/${name}`) as HttpRouteObject[];
    const named = (api.spec.stages ?? []).flatMap((stage) => (world.route("HTTPRoute", `${namespace}/${routeNameOf(name, stage.name)}`) as HttpRouteObject | undefined) ?? []);
    const routes = [...new Map([...own, ...named].map((route) => [route.metadata.name, route])).values()];
    return {
      api,
      document: await this.#document(api),
      deployments: world.deployments(`${namespace}/${name}`),
      routes,
      parents: new Map(routes.flatMap(({ metadata }) => (this.#parents.has(`${namespace}/${metadata.name}`) ? [[metadata.name, this.#parents.get(`${namespace}/${metadata.name}`)!] as const] : []))),
      urlOf: (stage) => urlOfStage(stage, namespace!, world.gateway, addressOf),
      rivalOf: (stage, operations) => {
        const rival = rivalOf(world, api, stage, operations);
        if (rival !== undefined) this.#rivalled.add(`${namespace}/${name}`);
        return rival;
      },
    };
  }

  async #document({ metadata: { namespace }, spec: { document, documentFrom } }: ApiObject): Promise<Seen["document"]> {
    if (document) return { value: document };
    const { name, key } = documentFrom!.configMapKeyRef;
    const configMap = this.#options.world.configMap(`${namespace}/${name}`);
    const text = configMap?.data?.[key];
    if (text === undefined) return { problem: configMap ? `ConfigMap ${name} has no key ${key}` : `ConfigMap ${name} does not exist` };
    try {
      const { parseCoreYaml } = await import("../../api/yaml.ts");
      const value = parseCoreYaml(text);
      if (!isWithin(value, valuesMax)) return { problem: `ConfigMap ${name}: ${key} has more than ${valuesMax} values, its aliases written out` };
      return typeof value === "object" && value !== null && !Array.isArray(value) ? { value: value as Record<string, unknown> } : { problem: `ConfigMap ${name}: ${key} is not an object` };
    } catch (error) {
      return { problem: `ConfigMap ${name}: ${key}: ${(error as Error).message}` };
    }
  }

  /** Only where it is not so already: whoever changed it since is overruled. */
  async #apply(route: Plan["routes"][number]): Promise<void> {
    const { client, world } = this.#options;
    const { namespace, name } = route.metadata;
    const key = `${namespace}/${name}`;
    const text = JSON.stringify(route);
    const known = this.#applied.get(key);
    const present = world.route("HTTPRoute", key);
    if (present && known?.text === text && known.generation === present.metadata.generation) return;
    const { metadata } = await client.patch<KubeObject>(gatewayResources.httpRoutes, namespace, name, route, { type: "apply", force: true, fieldManager });
    this.#applied.set(key, { text, generation: metadata.generation });
  }
}

/** A text of a few lines may stand for more than any memory holds. */
function isWithin(value: unknown, max: number): boolean {
  const left = [value];
  for (let count = 0; left.length > 0; count++) {
    if (count > max) return false;
    const next = left.pop();
    if (typeof next === "object" && next !== null) for (const inner of Object.values(next)) left.push(inner);
  }
  return true;
}

const gone = (error: unknown): void => {
  if (!(error instanceof StatusError && (error.code === 404 || error.code === 409))) throw error;
};
