import type { PolicyKind } from "../../api/envoy/kinds.ts";
import type { Backend, Upstream } from "../../api/traffic.ts";
import { isGranted } from "./grants.ts";
import type { BackendReference, RouteKind } from "./kinds.ts";
import type { Unusable } from "./certificates.ts";
import type { World } from "./world.ts";

/** What a route's references to Services came to. */
export interface ResolvedBackend {
  backend: Backend;
  /** The Service port it goes to, if there is one. */
  upstream?: Pick<Upstream, "id" | "namespace" | "service" | "port"> & { /** Policies'. */ settings?: Partial<Upstream>; /** "NAMESPACE/NAME+…". */ policies?: string };
  unusable?: Unusable;
}

export const upstreamId = (namespace: string, service: string, port: number): string => `${namespace}/${service}/${port}`;

/** The share of what cannot be resolved is answered with 500, as Gateway API says. */
export function resolveBackend(world: World, from: { group?: string; kind: RouteKind | PolicyKind | "HTTPRouteFilter"; namespace: string; needsNoGrant?: boolean }, reference: BackendReference): ResolvedBackend {
  const { group = "", kind = "Service", namespace = from.namespace, name, port, weight = 1 } = reference;
  const no = (reason: string, message: string): ResolvedBackend => ({ backend: { weight, error: { status: 500, reason: message } }, unusable: { reason, message } });
  if (group !== "" || kind !== "Service") return no("InvalidKind", `backendRefs: ${group === "" ? "core" : group}/${kind} ${name} is not a kind that traffic can go to; Service is`);
  if (!from.needsNoGrant && !isGranted(world, from, { group, kind, namespace, name })) return no("RefNotPermitted", `backendRefs: no ReferenceGrant in ${namespace} lets a ${from.kind} of ${from.namespace} name Service ${name}`);
  const service = world.service(`${namespace}/${name}`);
  if (!service) return no("BackendNotFound", `backendRefs: Service ${namespace}/${name} does not exist`);
  if (service.spec?.type === "ExternalName") return no("UnsupportedValue", `backendRefs: Service ${namespace}/${name} is of type ExternalName, to which no traffic goes: it would lead anywhere`);
  if (port === undefined) return no("BackendNotFound", `backendRefs: Service ${name} needs a port`);
  const protocol = from.kind === "UDPRoute" ? "UDP" : "TCP";
  if (!service.spec?.ports?.some((candidate) => candidate.port === port && (candidate.protocol ?? "TCP") === protocol)) return no("BackendNotFound", `backendRefs: Service ${namespace}/${name} has no ${protocol} port ${port}; it has ${(service.spec?.ports ?? []).map((other) => `${other.port}/${other.protocol ?? "TCP"}`).join(", ")}`);
  return { backend: { upstream: upstreamId(namespace, name, port), weight }, upstream: { id: upstreamId(namespace, name, port), namespace, service: name, port } };
}
