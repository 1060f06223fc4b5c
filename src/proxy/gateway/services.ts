import type { Service } from "../../api/types.ts";
import { declaredBy, isOwnTls, protocolOfName } from "../mesh/protocol.ts";
import { serviceListenerId } from "../mesh/listener-id.ts";
import { condition } from "./conditions.ts";
import type { AnyRouteObject, Condition, ParentReference, RouteKind } from "./kinds.ts";
import type { World } from "./world.ts";

/** One parent of a route that is a Service: the ports it got to, and how it went. Source: GEP-1294. */
export interface ServiceAttachment {
  parentRef: ParentReference;
  places: { listener: string; hostnames: string[]; isNamed?: boolean }[];
  accepted: Condition;
}

/** "NAMESPACE/NAME" of the Service that a parent means; undefined for parents of other kinds. */
export function serviceOfParent(route: AnyRouteObject, { group, kind, namespace, name }: ParentReference): string | undefined {
  return group === "" && kind === "Service" ? `${namespace ?? route.metadata.namespace}/${name}` : undefined;
}

/** Of two kinds of routes on one port the first serves alone. Source: GEP-1294, "Route types". */
const precedence: readonly RouteKind[] = ["GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute"];

/** Whether a port is one that a route of that kind means, named or not: a route for a whole Service does not mean ports that say that they are something else. */
function isMeant(kind: RouteKind, parent: ParentReference, { appProtocol }: Port): boolean {
  const declared = declaredBy(appProtocol);
  if (kind === "TLSRoute") return isOwnTls(appProtocol) || (isNamed(parent) && declared !== "http");
  if (kind === "TCPRoute") return declared !== "http" && (isNamed(parent) || !isOwnTls(appProtocol));
  return isNamed(parent) || declared !== "opaque";
}
const whatItSpeaks: Partial<Record<RouteKind, string>> = { TLSRoute: "TLS", TCPRoute: "something else than HTTP and TLS" };

interface Port {
  port: number;
  name: string;
  protocol: string;
  appProtocol: string | undefined;
}

/** `rivals` are the routes that name the same Service. */
export function attachToService(world: World, kind: RouteKind, route: AnyRouteObject, parentRef: ParentReference, rivals: readonly { kind: RouteKind; object: AnyRouteObject }[]): ServiceAttachment {
  const key = serviceOfParent(route, parentRef)!;
  const no = (reason: string, message: string): ServiceAttachment => ({ parentRef, places: [], accepted: condition("Accepted", false, reason, message) });
  if (!precedence.includes(kind)) return no("UnsupportedValue", `parentRefs: a ${kind} cannot be attached to a Service; ${precedence.join(", ")} can`);
  const service = world.service(key);
  if (!service) return no("NoMatchingParent", `parentRefs: Service ${key} does not exist`);
  const refusal = refusalOf(service);
  if (refusal) return no("UnsupportedValue", `parentRefs: Service ${key} ${refusal}`);
  const all = portsOf(service);
  const meant = all.filter((port) => covers(parentRef, port));
  if (meant.length === 0) return no("NoMatchingParent", `parentRefs: Service ${key} has no TCP port${parentRef.port === undefined ? "" : ` ${parentRef.port}`}${parentRef.sectionName === undefined ? "" : ` named ${parentRef.sectionName}`}; it has ${all.map(({ port, name }) => (name === "" ? port : `${port} (${name})`)).join(", ") || "none"}`);
  const spoken = meant.filter((port) => isMeant(kind, parentRef, port));
  if (spoken.length === 0) return no("NoMatchingParent", `parentRefs: no port of Service ${key} is ${whatItSpeaks[kind] ?? "HTTP"}: ${meant.map(({ port, appProtocol = "not said to be anything" }) => `${port} is ${appProtocol}`).join(", ")}${isNamed(parentRef) ? "" : "; name the port if it is"}`);
  const before = precedence.slice(0, precedence.indexOf(kind));
  const taken = (port: Port): string | undefined => {
    const rival = rivals.find((other) => before.includes(other.kind) && other.object.metadata.namespace === route.metadata.namespace && parentsOf(other.object, key).some((parent) => covers(parent, port) && isMeant(other.kind, parent, port)));
    return rival && `${rival.kind} ${rival.object.metadata.namespace}/${rival.object.metadata.name}`;
  };
  const free = spoken.filter((port) => taken(port) === undefined);
  if (free.length === 0) return no("Conflicted", `port ${spoken[0]!.port} of Service ${key} has ${taken(spoken[0]!)}, beside which no ${kind} is served`);
  const [namespace, name] = key.split("/") as [string, string];
  // Of another namespace: for the clients of that one alone.
  const consumer = route.metadata.namespace === namespace ? undefined : route.metadata.namespace!;
  const lost = spoken.filter((port) => !free.includes(port)).map(({ port }) => port);
  const notes = [
    `attached to ${free.length === 1 ? "port" : "ports"} ${free.map(({ port }) => port).join(", ")}${consumer === undefined ? "" : `, for clients in ${consumer}`}`,
    ...(lost.length > 0 ? [`not to ${lost.join(", ")}, where a ${before.length === 1 ? before[0] : "route of another kind"} is`] : []),
    ...(route.spec.hostnames?.length && kind !== "TLSRoute" ? ["hostnames mean nothing on a Service: match the header Host"] : []),
  ];
  const hostnames = kind === "TLSRoute" && route.spec.hostnames?.length ? route.spec.hostnames.map((host) => host.toLowerCase()) : [""];
  return { parentRef, places: free.map(({ port }) => ({ listener: serviceListenerId(namespace, name, port, consumer), hostnames, ...(isNamed(parentRef) && { isNamed: true }) })), accepted: condition("Accepted", true, "Accepted", notes.join("; ")) };
}

const isNamed = ({ port, sectionName }: ParentReference): boolean => port !== undefined || sectionName !== undefined;
const parentsOf = (route: AnyRouteObject, service: string): ParentReference[] => (route.spec.parentRefs ?? []).filter((parent) => serviceOfParent(route, parent) === service);
const covers = ({ port, sectionName }: ParentReference, own: Port): boolean => (port === undefined || port === own.port) && (sectionName === undefined || sectionName === own.name);

/** What has no address of its own has no front to attach to. */
function refusalOf({ spec }: Service): string | undefined {
  if (spec?.type === "ExternalName") return "is of type ExternalName: nothing of ours is called by its name";
  if (spec?.clusterIP === "None") return "is headless: its pods are called directly";
  return undefined;
}

/** `appProtocol`, or what the port's name says, as Service listeners read it. */
function portsOf({ spec }: Service): Port[] {
  return (spec?.ports ?? [])
    .filter(({ protocol = "TCP" }) => protocol === "TCP")
    .map(({ port, name = "", protocol = "TCP", appProtocol }) => ({ port, name, protocol, appProtocol: appProtocol ?? protocolOfName(name) }));
}
