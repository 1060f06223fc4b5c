import type { HttpRoute } from "../../api/traffic.ts";
import { readServiceListenerId } from "./listener-id.ts";

interface Attached {
  /** Routes for all clients. */
  readonly producer: Set<string>;
  /** Routes by the namespace of the clients. */
  readonly consumers: Map<string, Set<string>>;
  /** Routes that name the port: what is spoken there is HTTP, whatever the Service says. */
  readonly named: Set<string>;
}

/** Which Service ports have routes, and for whom. What the routes say is the route table's. */
export class ServiceRoutes {
  /** By `servicePortKey`. */
  readonly #ports = new Map<string, Attached>();
  readonly #attachments = new Map<string, HttpRoute["attachments"]>();

  /** Returns whether other ports have routes now than before. */
  put(route: HttpRoute): boolean {
    const left = this.#take(route.id);
    let changed = false;
    const here = route.attachments.filter(({ listener }) => readServiceListenerId(listener));
    for (const { listener, isNamed } of here) {
      const { key, consumer } = readServiceListenerId(listener)!;
      let attached = this.#ports.get(key);
      if (!attached) {
        this.#ports.set(key, (attached = { producer: new Set(), consumers: new Map(), named: new Set() }));
        changed ||= !left.delete(key);
      }
      if (isNamed) attached.named.add(route.id);
      if (consumer === undefined) attached.producer.add(route.id);
      else if (attached.consumers.has(consumer)) attached.consumers.get(consumer)!.add(route.id);
      else attached.consumers.set(consumer, new Set([route.id]));
    }
    if (here.length > 0) this.#attachments.set(route.id, here);
    return changed || left.size > 0;
  }
  /** The same. */
  remove(id: string): boolean {
    return this.#take(id).size > 0;
  }

  /** Returns the ports that have none any more. */
  #take(id: string): Set<string> {
    const left = new Set<string>();
    for (const { listener } of this.#attachments.get(id) ?? []) {
      const { key, consumer } = readServiceListenerId(listener)!;
      const attached = this.#ports.get(key);
      if (!attached) continue;
      attached.named.delete(id);
      if (consumer === undefined) attached.producer.delete(id);
      else if (attached.consumers.get(consumer)?.delete(id) && attached.consumers.get(consumer)!.size === 0) attached.consumers.delete(consumer);
      if (attached.producer.size > 0 || attached.consumers.size > 0) continue;
      this.#ports.delete(key);
      left.add(key);
    }
    this.#attachments.delete(id);
    return left;
  }

  has(key: string): boolean {
    return this.#ports.has(key);
  }
  isNamed(key: string): boolean {
    return (this.#ports.get(key)?.named.size ?? 0) > 0;
  }

  /**
   * The routes that hold for a client, as the id of their listener: those of its own namespace, else those that are for all;
   * never both. Undefined: none does. Source: GEP-1294, "Multiple routes for a Service".
   */
  listenerFor(key: string, id: string, clientNamespace: string | undefined): string | undefined {
    const attached = this.#ports.get(key);
    if (!attached) return undefined;
    if (clientNamespace !== undefined && attached.consumers.has(clientNamespace)) return `${id}/${clientNamespace}`;
    return attached.producer.size > 0 ? id : undefined;
  }
}
