import type { Client } from "../api/client.ts";
import type { KubeObject } from "../api/meta.ts";
import type { Clock } from "../base/clock.ts";
import type { Endpoint } from "../policy/upstream.ts";
import type { EndpointSource } from "./http-client.ts";
import { Watched } from "./watched.ts";

/**
 * Who is behind a Service: the ready addresses of its EndpointSlices, followed as they change. For clients that balance
 * themselves, and for programs outside the cluster's network that cannot ask its names.
 *
 *   const users = await discover({ client, namespace: "ecommerce", service: "user-service" });
 *   const http = createHttpClient({ url: "http://user-service", endpoints: users, balancer: { type: "leastRequest" } });
 */
export interface DiscoveryOptions {
  client: Client;
  namespace: string;
  service: string;
  /** The name of the port, where the Service has several; the first one else. */
  port?: string;
  clock?: Clock;
  onError?: (error: unknown) => void;
}

export interface Discovery extends EndpointSource {
  current(): readonly Endpoint[];
  /** @throws NoInstanceError there is none now */
  pick(): Endpoint;
  stop(): Promise<void>;
}

export class NoInstanceError extends Error {
  /** As an answer of a service: 503. */
  readonly statusCode = 503;
  constructor(service: string) {
    super(`no healthy instances for service: ${service}`);
    this.name = "NoInstanceError";
  }
}

export const slices = { group: "discovery.k8s.io", version: "v1", resource: "endpointslices" };
export const serviceLabel = "kubernetes.io/service-name";

export interface SliceObject extends KubeObject {
  addressType: string;
  endpoints?: { addresses: string[]; conditions?: { ready?: boolean | null; serving?: boolean | null; terminating?: boolean | null } }[] | null;
  ports?: { name?: string | null; port?: number | null }[] | null;
}

/** Resolves with the first list; a Service without endpoints, or one that is not there yet, has none. */
export async function discover({ client, namespace, service, port, clock, onError }: DiscoveryOptions): Promise<Discovery> {
  const listeners = new Set<(endpoints: readonly Endpoint[]) => void>();
  let current: readonly Endpoint[] = [];
  let text = "[]";
  let next = 0;
  const watched = new Watched({
    client,
    resource: slices,
    namespace,
    labelSelector: `${serviceLabel}=${service}`,
    ...(clock && { clock }),
    ...(onError && { onError }),
    onChange(objects) {
      const found = endpointsOf(objects as SliceObject[], port);
      const foundText = JSON.stringify(found);
      if (foundText === text) return;
      [current, text] = [found, foundText];
      for (const listener of listeners) listener(current);
    },
  });
  await watched.synced;
  return {
    current: () => current,
    onChange(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    pick() {
      const endpoint = current[next++ % Math.max(1, current.length)];
      if (!endpoint) throw new NoInstanceError(service);
      return endpoint;
    },
    stop: () => watched.stop(),
  };
}

/** Each address once, in a steady order. Absent `ready` means ready (EndpointConditions). */
function endpointsOf(objects: readonly SliceObject[], portName: string | undefined): Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const { addressType, endpoints, ports } of objects) {
    const chosen = (ports ?? []).find(({ name }) => portName === undefined || name === portName)?.port;
    if (chosen === undefined || chosen === null) continue;
    for (const { addresses, conditions } of endpoints ?? []) {
      const ip = addresses[0];
      if (conditions?.ready === false || ip === undefined) continue;
      const key = addressType === "IPv6" ? `[${ip}]:${chosen}` : `${ip}:${chosen}`;
      found.set(key, { ip, port: chosen, key });
    }
  }
  return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}
