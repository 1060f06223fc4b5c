import type { Client } from "../../api/client.ts";
import { splitKey } from "../../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { StatusError } from "../../api/status.ts";
import { Backoff } from "../../base/backoff.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { withTimes } from "./conditions.ts";
import { type Condition, controllerName, gatewayResources, type RouteStatus } from "./kinds.ts";
import type { WantedStatus } from "./translate.ts";
import { routeResources, type World } from "./world.ts";

const writesAtOnceMax = 8;

/**
 * Brings statuses to what the translation says: the latest for each object, a few at a time, and only what differs.
 * What other controllers wrote about a route's other parents stays.
 */
export class StatusWriter {
  readonly #client: Client;
  readonly #world: World;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #wanted = new Map<string, WantedStatus>();
  /** Failed, and tried again after a while unless something newer is wanted by then. */
  readonly #again = new Map<string, WantedStatus>();
  readonly #writing = new Set<string>();
  readonly #backoff = new Map<string, Backoff>();
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor({ client, world, clock, log }: { client: Client; world: World; clock: Clock; log: Log }) {
    this.#client = client;
    this.#world = world;
    this.#clock = clock;
    this.#log = log;
  }

  want(statuses: readonly WantedStatus[]): void {
    for (const status of statuses) {
      const id = `${status.kind}/${status.key}`;
      this.#again.delete(id);
      this.#wanted.set(id, status);
    }
    this.#next();
  }

  /** Resolves when nothing is being written any more; what still waits is given up. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wanted.clear();
    if (this.#writing.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #next(): void {
    for (const [id, status] of this.#wanted) {
      if (this.#writing.size >= writesAtOnceMax) return;
      if (this.#writing.has(id)) continue;
      this.#wanted.delete(id);
      this.#writing.add(id);
      void this.#write(id, status).finally(() => {
        this.#writing.delete(id);
        if (this.#stopped && this.#writing.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
        else this.#next();
      });
    }
  }

  async #write(id: string, status: WantedStatus): Promise<void> {
    const { resource, object } = this.#subject(status);
    if (!object) return void this.#backoff.delete(id);
    const next = statusOf(status, object, new Date(this.#clock.now()).toISOString().replace(/\.\d+Z$/, "Z"));
    if (JSON.stringify(next) === JSON.stringify({ ...object["status"] })) return void this.#backoff.delete(id);
    const { namespace, name } = splitKey(status.key);
    try {
      await this.#client.update(resource, namespace, name, { ...object, status: next }, { subresource: "status", fieldManager: "wherry-gateway" });
      this.#backoff.delete(id);
    } catch (error) {
      if (this.#stopped || (error instanceof StatusError && error.code === 404)) return;
      const backoff = this.#backoff.get(id) ?? new Backoff(20, 5_000);
      this.#backoff.set(id, backoff);
      // A conflict is news that the watch brings in a moment; anything else is told.
      if (!(error instanceof StatusError && error.code === 409)) this.#log.warn("a status was not written", { object: id, error: (error as Error).message });
      if (this.#wanted.has(id)) return;
      this.#again.set(id, status);
      this.#clock.setTimer(backoff.next(), () => {
        if (this.#stopped || this.#again.get(id) !== status) return;
        this.#again.delete(id);
        this.#wanted.set(id, status);
        this.#next();
      });
    }
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
    case "BackendTLSPolicy": {
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
