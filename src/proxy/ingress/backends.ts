import type { Backend, Upstream } from "../../api/traffic.ts";
import type { Settings } from "./annotations/settings.ts";
import type { IngressBackend } from "./kinds.ts";
import type { World } from "./world.ts";

export interface ResolvedBackend {
  backend: Backend;
  upstream?: Upstream;
  /** Why it cannot be reached. */
  unusable?: string;
}

/** The Service port that a backend means, called as the annotations say. Without it 503, as ingress-nginx answers. */
export function resolveBackend(world: World, namespace: string, { service, resource }: IngressBackend, settings: Settings): ResolvedBackend {
  const no = (unusable: string): ResolvedBackend => ({ backend: { weight: 1, error: { status: 503, reason: unusable } }, unusable });
  if (!service) return no(`backend: ${resource?.kind} ${resource?.name} is not a Service, and traffic goes to Services alone`);
  const found = world.service(`${namespace}/${service.name}`);
  if (!found) return no(`Service ${namespace}/${service.name} does not exist`);
  if (found.spec?.type === "ExternalName") return no(`Service ${namespace}/${service.name} is of type ExternalName, to which no traffic goes: it would lead anywhere`);
  const ports = (found.spec?.ports ?? []).filter(({ protocol = "TCP" }) => protocol === "TCP");
  const { name, number } = service.port ?? {};
  const port = ports.find((candidate) => (name !== undefined ? candidate.name === name : candidate.port === number))?.port;
  if (port === undefined) return no(`Service ${namespace}/${service.name} has no port ${name ?? number}; it has ${ports.map((other) => (other.name ? `${other.name} (${other.port})` : other.port)).join(", ")}`);
  const upstream = upstreamOf(namespace, service.name, port, settings);
  return { backend: { upstream: upstream.id, weight: 1 }, upstream };
}

/** One for each way in which a Service port is called: mostly one. */
function upstreamOf(namespace: string, service: string, port: number, { protocol, encrypted, connectMs, balancer }: Settings): Upstream {
  const ways = [...(protocol === "http1" ? [] : [protocol]), ...(encrypted ? ["tls"] : []), ...(connectMs === 5_000 ? [] : [`connect=${connectMs}`]), ...(balancer ? [JSON.stringify(balancer)] : [])];
  return {
    id: ["Ingress", namespace, service, port, ...ways].join("/"),
    namespace,
    service,
    port,
    protocol,
    connectMs,
    ...(balancer && { balancer }),
    // nginx does not ask whose certificate it is either, unless proxy-ssl-verify says so, which closes the Ingress.
    ...(encrypted && { tls: { serverName: `${service}.${namespace}.svc`, verify: false } }),
  };
}
