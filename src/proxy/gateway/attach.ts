import { condition } from "./conditions.ts";
import type { CompiledGateway } from "./gateways.ts";
import { type AnyRouteObject, type Condition, gatewayGroup, type ParentReference, type RouteKind } from "./kinds.ts";
import type { CompiledListener } from "./listeners.ts";

/** One parent of a route: where it got to, and how it went. */
export interface Attachment {
  parentRef: ParentReference;
  /** The Gateway behind it. */
  gateway: string;
  /** With the host names that both sides have; [""] is every name. */
  listeners: { listener: CompiledListener; hostnames: string[] }[];
  accepted: Condition;
}

/** The Gateway that a parent means; undefined for parents of other kinds. `gatewayOfSet` finds the one of a ListenerSet. */
export function gatewayOfParent(route: AnyRouteObject, parent: ParentReference, gatewayOfSet: (key: string) => string | undefined): string | undefined {
  const { group = gatewayGroup, kind = "Gateway", namespace = route.metadata.namespace, name } = parent;
  if (group !== gatewayGroup) return undefined;
  if (kind === "Gateway") return `${namespace}/${name}`;
  return kind === "ListenerSet" ? gatewayOfSet(`${namespace}/${name}`) : undefined;
}

export function attach(kind: RouteKind, route: AnyRouteObject, parentRef: ParentReference, gateway: CompiledGateway): Attachment {
  const { kind: parentKind = "Gateway", namespace = route.metadata.namespace, name, sectionName, port } = parentRef;
  const no = (reason: string, message: string): Attachment => ({ parentRef, gateway: gateway.key, listeners: [], accepted: condition("Accepted", false, reason, message) });
  const owned = gateway.listeners.filter(({ owner }) => owner.kind === parentKind && owner.namespace === namespace && owner.name === name);
  const named = owned.filter((listener) => (sectionName === undefined || listener.name === sectionName) && (port === undefined || listener.port === port) && listener.attachable);
  if (named.length === 0) {
    const which = [sectionName === undefined ? "" : `sectionName ${sectionName}`, port === undefined ? "" : `port ${port}`].filter(Boolean).join(" and ");
    return no("NoMatchingParent", `${parentKind} ${namespace}/${name} has no listener${which ? ` with ${which}` : ""} that can be used`);
  }
  const admitted = named.filter((listener) => listener.routeKinds.includes(kind) && listener.admits(route.metadata.namespace!));
  if (admitted.length === 0) return no("NotAllowedByListeners", `allowedRoutes of ${named.map((listener) => listener.name).join(", ")} does not let a ${kind} of namespace ${route.metadata.namespace} in`);
  const hostnames = (kind === "TCPRoute" || kind === "UDPRoute" ? undefined : route.spec.hostnames)?.map((hostname) => hostname.toLowerCase()) ?? [];
  const listeners = admitted.flatMap((listener) => {
    const common = commonHostnames(listener.hostname, hostnames);
    return common.length > 0 ? [{ listener, hostnames: common }] : [];
  });
  if (listeners.length === 0) return no("NoMatchingListenerHostname", `none of the host names ${hostnames.join(", ")} is one of ${admitted.map((listener) => listener.hostname).join(", ")}`);
  return { parentRef, gateway: gateway.key, listeners, accepted: condition("Accepted", true, "Accepted", "the route is attached") };
}

/** The names that both a listener and a route answer to; [""] when neither names any. */
export function commonHostnames(listener: string, route: readonly string[]): string[] {
  if (route.length === 0) return [listener];
  if (listener === "") return [...route];
  return [...new Set(route.flatMap((hostname) => (isWithin(hostname, listener) ? [hostname] : isWithin(listener, hostname) ? [listener] : [])))];
}

/** "*.example.com" has every name below example.com in it, of any depth, and itself; not example.com. */
function isWithin(name: string, pattern: string): boolean {
  return name === pattern || (pattern.startsWith("*.") && name.endsWith(pattern.slice(1)));
}
