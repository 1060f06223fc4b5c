import type { Backend, Upstream } from "../../api/traffic.ts";
import type { Settings } from "./annotations/settings.ts";
import type { Service } from "../../api/types.ts";
import type { IngressBackend, ServiceBackend } from "./kinds.ts";
import type { World } from "./world.ts";

export interface ResolvedBackend {
  backend: Backend;
  upstream?: Upstream;
  /** Why it cannot be reached. */
  unusable?: string;
}

/** "NAMESPACE/NAME" of the Service of this cluster that one of type ExternalName is another name for. */
export function aliasOf(service: Service | undefined): string | undefined {
  const [, name, namespace] = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\.cluster\.local)?\.?$/i.exec(service?.spec?.type === "ExternalName" ? (service.spec.externalName ?? "") : "") ?? [];
  return name === undefined ? undefined : `${namespace}/${name}`.toLowerCase();
}

/** The Service port that a backend means, called as the annotations say. Without it 503, as ingress-nginx answers. */
export function resolveBackend(world: World, namespace: string, { service, resource }: IngressBackend, settings: Settings): ResolvedBackend {
  const no = (unusable: string): ResolvedBackend => ({ backend: { weight: 1, error: { status: 503, reason: unusable } }, unusable });
  if (!service) return no(`backend: ${resource?.kind} ${resource?.name} is not a Service, and traffic goes to Services alone`);
  const found = world.service(`${namespace}/${service.name}`);
  if (!found) return no(`Service ${namespace}/${service.name} does not exist`);
  if (found.spec?.type === "ExternalName") return resolveAlias(world, found, service, settings, no);
  const ports = (found.spec?.ports ?? []).filter(({ protocol = "TCP" }) => protocol === "TCP");
  const { name, number } = service.port ?? {};
  const port = ports.find((candidate) => (name !== undefined ? candidate.name === name : candidate.port === number))?.port;
  if (port === undefined) return no(`Service ${namespace}/${service.name} has no port ${name ?? number}; it has ${ports.map((other) => (other.name ? `${other.name} (${other.port})` : other.port)).join(", ")}`);
  const upstream = upstreamOf(namespace, service.name, port, settings);
  return { backend: { upstream: upstream.id, weight: 1 }, upstream };
}

/** The port that is dialled is the one that the alias translates to, or the Ingress's own where it says none. Source: getEndpoints of ingress-nginx. */
function resolveAlias(world: World, { metadata, spec }: Service, { port }: ServiceBackend, settings: Settings, no: (unusable: string) => ResolvedBackend): ResolvedBackend {
  const key = aliasOf({ metadata, spec } as Service);
  const text = `Service ${metadata.namespace}/${metadata.name} is another name for ${spec?.externalName}`;
  if (key === undefined) return no(`${text}, which is no Service of this cluster: nothing outside is called`);
  const declared = spec?.ports?.find((candidate) => (port?.name !== undefined ? candidate.name === port.name : candidate.port === port?.number));
  const number = typeof declared?.targetPort === "number" && declared.targetPort > 0 ? declared.targetPort : (declared?.port ?? port?.number);
  const target = world.service(key);
  if (!target) return no(`${text}, and that Service does not exist`);
  if (target.spec?.type === "ExternalName") return no(`${text}, which is another name again`);
  if (number === undefined || !target.spec?.ports?.some((candidate) => candidate.port === number && (candidate.protocol ?? "TCP") === "TCP")) return no(`${text}, which has no port ${number ?? port?.name}`);
  const upstream = upstreamOf(target.metadata.namespace!, target.metadata.name, number, settings);
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
