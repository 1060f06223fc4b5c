import type { Client } from "../../api/client.ts";
import { policyResources } from "../../api/envoy/kinds.ts";
import { splitKey } from "../../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { timeText } from "../../api/scalars.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { LatestWriter } from "../latest-writer.ts";
import { withTimes } from "./conditions.ts";
import { type Condition, controllerName, gatewayResources, type RouteStatus } from "./kinds.ts";
import type { WantedStatus } from "./translate.ts";
import { routeResources, type World } from "./world.ts";

/**
 * Brings statuses to what the translation says, and only what differs. What other controllers wrote about a route's other
 * parents stays.
 */
export class StatusWriter {
  readonly #client: Client;
  readonly #world: World;
  readonly #clock: Clock;
  readonly #writer: LatestWriter<WantedStatus>;

  constructor({ client, world, clock, log }: { client: Client; world: World; clock: Clock; log: Log }) {
    this.#client = client;
    this.#world = world;
    this.#clock = clock;
    this.#writer = new LatestWriter({ clock, log, write: (_id, status) => this.#write(status) });
  }

  want(statuses: readonly WantedStatus[]): void {
    for (const status of statuses) this.#writer.want(`${status.kind}/${status.key}`, status);
  }
  /** Whose status it is; undefined when it is gone. */
  subject(status: WantedStatus): KubeObject | undefined {
    return this.#subject(status).object;
  }
  stop(): Promise<void> {
    return this.#writer.stop();
  }

  async #write(status: WantedStatus): Promise<void> {
    const { resource, object } = this.#subject(status);
    if (!object) return;
    const next = statusOf(status, object, timeText(this.#clock.now()));
    if (JSON.stringify(next) === JSON.stringify({ ...object["status"] })) return;
    const { namespace, name } = splitKey(status.key);
    await this.#client.update(resource, namespace, name, { ...object, status: next }, { subresource: "status", fieldManager: "wherry-gateway" });
  }

  #subject({ kind, key }: WantedStatus): { resource: GroupVersionResource; object: KubeObject | undefined } {
    const world = this.#world;
    switch (kind) {
      case "GatewayClass":
        return { resource: gatewayResources.gatewayClasses, object: world.gatewayClass(key) };
      case "Gateway":
        return { resource: gatewayResources.gateways, object: world.gateway(key) };
      case "ListenerSet":
        return { resource: gatewayResources.listenerSets, object: world.listenerSet(key) };
      case "BackendTLSPolicy":
        return { resource: gatewayResources.backendTlsPolicies, object: world.policies().find(({ metadata }) => `${metadata.namespace}/${metadata.name}` === key) };
      case "SecurityPolicy":
      case "BackendTrafficPolicy":
      case "ClientTrafficPolicy":
        return { resource: policyResources[kind], object: world.attachedPolicy(kind, key) };
      default:
        return { resource: routeResources[kind], object: world.route(kind, key) };
    }
  }
}

/** The whole status, in the order of fields in which the API server keeps it. */
function statusOf(wanted: WantedStatus, { metadata: { generation }, status: present }: KubeObject, now: string): object {
  const timed = (next: readonly Condition[], old: readonly Condition[] | undefined) => withTimes(next, old, generation, now);
  const listeners = (next: { name: string; conditions: Condition[] }[]) => next.map((listener) => ({ ...listener, conditions: timed(listener.conditions, present?.listeners?.find(({ name }: { name: string }) => name === listener.name)?.conditions) }));
  const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
  switch (wanted.kind) {
    case "GatewayClass":
      return { ...present, conditions: timed(wanted.conditions, present?.conditions) };
    case "Gateway": {
      const { conditions, addresses, attachedListenerSets } = wanted;
      return { ...present, addresses, attachedListenerSets, conditions: timed(conditions, present?.conditions), listeners: listeners(wanted.listeners) };
    }
    case "ListenerSet":
      return { ...present, conditions: timed(wanted.conditions, present?.conditions), listeners: listeners(wanted.listeners) };
    case "BackendTLSPolicy":
    case "SecurityPolicy":
    case "BackendTrafficPolicy":
    case "ClientTrafficPolicy": {
      type Ancestors = typeof wanted.ancestors;
      const old: Ancestors = present?.ancestors ?? [];
      const own = wanted.ancestors.map((entry) => ({ ...entry, conditions: timed(entry.conditions, old.find((other) => other.controllerName === controllerName && same(other.ancestorRef, entry.ancestorRef))?.conditions) }));
      return { ...present, ancestors: [...old.filter((entry) => entry.controllerName !== controllerName), ...own] };
    }
    default: {
      const old: RouteStatus["parents"] = present?.parents ?? [];
      const own = wanted.parents.map((entry) => ({ ...entry, conditions: timed(entry.conditions, old.find((other) => other.controllerName === controllerName && same(other.parentRef, entry.parentRef))?.conditions) }));
      return { ...present, parents: [...old.filter((entry) => entry.controllerName !== controllerName), ...own] };
    }
  }
}
