import type { Client } from "../../api/client.ts";
import type { EdgeBinding } from "../../api/network.ts";
import { resources, systemNamespace } from "../../api/resources.ts";
import type { EdgeListener, HttpRoute, Route, TrafficSnapshot } from "../../api/traffic.ts";
import type { ConfigMap } from "../../api/types.ts";
import { gatewayResources } from "../gateway/kinds.ts";
import { listServed, readObjects, trafficOf } from "./cluster.ts";

/** One way in: where a name of an Ingress or a Gateway is reached on this machine. */
export interface Door {
  /** Lower case; "*.example.com"; "" for every name. */
  name: string;
  scheme: "http" | "https" | "tls" | "tcp" | "udp";
  address: string;
  /** As its object has it; 80 or 443 of an Ingress. */
  port: number;
  /** Where it is bound. Undefined: nowhere, or not yet. */
  boundPort: number | undefined;
  /** Why not at `port`: "EACCES", "EADDRINUSE". */
  code?: string;
  /** As somebody types it. */
  url: string;
  /** "Ingress/NAMESPACE/NAME", "Gateway/NAMESPACE/NAME", "ListenerSet/NAMESPACE/NAME". */
  object: string;
  /** Nothing is attached there. */
  isEmpty?: boolean;
}

export async function readDoors(client: Client): Promise<Door[]> {
  const some = await Promise.all([resources.ingresses, gatewayResources.gateways].map(async (resource) => (await listServed(client, resource, { limit: 1 })).length > 0));
  if (!some.includes(true)) return [];
  const [objects, published] = await Promise.all([readObjects(client), client.get<ConfigMap>(resources.configMaps, systemNamespace, "wherry-addresses").catch(() => undefined)]);
  const edges = JSON.parse(published?.data?.["edges"] ?? "[]") as EdgeBinding[];
  return doorsOf(trafficOf(objects).traffic, edges);
}

const schemes = { HTTP: "http", HTTPS: "https", TLS: "tls", TCP: "tcp", UDP: "udp" } as const;
const usualPorts = { "ingress/http": 80, "ingress/https": 443 } as const;

/** Every name at every listener, once. */
export function doorsOf({ listeners, routes }: TrafficSnapshot, edges: readonly EdgeBinding[]): Door[] {
  const attached = new Map<string, { route: Route; hostnames: readonly string[] }[]>();
  for (const route of routes) {
    for (const { listener, hostnames } of route.attachments) attached.set(listener, [...(attached.get(listener) ?? []), { route, hostnames }]);
  }
  const doors = new Map<string, Door>();
  for (const listener of listeners) {
    const { id, address, protocol } = listener;
    const isIngress = id in usualPorts;
    const port = isIngress ? usualPorts[id as keyof typeof usualPorts] : listener.port;
    const edge = edges.find((binding) => binding.address === address && binding.port === port && binding.protocol === (protocol === "UDP" ? "UDP" : "TCP"));
    const at = { scheme: schemes[protocol], address, port, boundPort: edge?.boundPort, ...(edge?.code !== undefined && { code: edge.code }) };
    const urlAt = (name: string): string => urlOf({ ...at, name });
    const here = attached.get(id) ?? [];
    if (here.length === 0 && !isIngress) doors.set(id, { name: listener.hostname ?? "", ...at, url: urlAt(listener.hostname ?? ""), object: gatewayOf(id), isEmpty: true });
    for (const { route, hostnames } of here) {
      const object = isIngress ? route.id.split("/").slice(0, 3).join("/") : gatewayOf(id);
      if (isIngress && !isWayIn(listener, route, routes)) continue;
      for (const name of hostnames) {
        const key = `${at.scheme} ${name} ${address} ${port} ${isIngress ? object : ""}`;
        if (!doors.has(key)) doors.set(key, { name, ...at, url: urlAt(name), object });
      }
    }
  }
  return [...doors.values()];
}

/** "Gateway/NAMESPACE/NAME" of "NAMESPACE/NAME/LISTENER", or the set that adds the listener. */
function gatewayOf(id: string): string {
  const [namespace, gateway, ...rest] = id.split("/");
  return rest.length === 1 ? `Gateway/${namespace}/${gateway}` : `ListenerSet/${rest[0]}/${rest[1]}`;
}

/** An Ingress is served both ways. The one that leads to the other is not shown, nor TLS with a certificate that nobody trusts. */
function isWayIn({ id }: EdgeListener, route: Route, routes: readonly Route[]): boolean {
  const plain = id === "ingress/http" ? route : routes.find((other) => other.id === `${route.id}/http`);
  const sendsOn = plain !== undefined && (plain as HttpRoute).rules.some(({ filters }) => filters.some((filter) => filter.type === "redirect" && filter.scheme === "https" && filter.hostname === undefined));
  return (id === "ingress/https") === sendsOn;
}

function urlOf({ name, scheme, address, port, boundPort = port }: Pick<Door, "name" | "scheme" | "address" | "port" | "boundPort">): string {
  const usual = { http: 80, https: 443, tls: 443, tcp: undefined, udp: undefined }[scheme];
  return `${scheme}://${name === "" ? address : name}${boundPort === usual ? "" : `:${boundPort}`}`;
}
