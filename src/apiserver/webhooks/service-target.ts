import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { NodeAccess } from "../../api/node.ts";
import type { EndpointSlice, Service } from "../../api/types.ts";
import { randomInt, type Random } from "../../base/random.ts";
import type { Store } from "../../store/store.ts";

export interface ServiceReference {
  namespace: string;
  name: string;
  /** Of the Service, not of its pods. Default: 443. */
  port?: number;
}

export interface DialDependencies {
  store: Store;
  random: Random;
  /** A connection inside the pod network; without it no Service can be reached. */
  dialPod?: NodeAccess["dial"];
}

/**
 * A connection to an endpoint of the Service that is ready: where several are, any of them, and the next when one
 * does not accept. Endpoints that are pods are dialled in the pod network, others from this process.
 * Throws errors with the texts of upstream's service resolver and of Go's net.
 * Source: k8s.io/apiserver/pkg/util/proxy/proxy.go.
 */
export async function dialService({ store, random, dialPod }: DialDependencies, { namespace, name, port = 443 }: ServiceReference): Promise<Duplex> {
  const service = store.get(`/core/services/${namespace}/${name}`)?.object as unknown as Service | undefined;
  if (!service) throw new Error(`service ${JSON.stringify(name)} not found`);
  if (service.spec?.type === "ExternalName") return dialHost(service.spec.externalName ?? "", port);
  if (service.spec?.clusterIP === "None") throw new Error(`cannot route to service with ClusterIP "None"`);
  const servicePort = service.spec?.ports?.find((candidate) => candidate.port === port);
  if (!servicePort) throw new Error(`no service port ${port} found for service ${JSON.stringify(name)}`);

  const endpoints = store
    .range(`/discovery.k8s.io/endpointslices/${namespace}/`)
    .map((entry) => entry.object as unknown as EndpointSlice)
    .filter(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === name)
    .flatMap((slice) => {
      const target = slice.ports?.find((candidate) => (candidate.name ?? "") === (servicePort.name ?? ""))?.port;
      return target === undefined ? [] : (slice.endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false).map((endpoint) => ({ endpoint, target }));
    });
  if (endpoints.length === 0) throw new Error(`no endpoints available for service ${JSON.stringify(name)}`);

  const first = randomInt(random, endpoints.length);
  let failure: unknown;
  for (let turn = 0; turn < endpoints.length; turn++) {
    const { endpoint, target } = endpoints[(first + turn) % endpoints.length]!;
    const pod = endpoint.targetRef?.kind === "Pod" ? endpoint.targetRef : undefined;
    try {
      if (!pod) return await dialHost(endpoint.addresses?.[0] ?? "", target);
      if (!dialPod) throw new Error(`dial tcp ${endpoint.addresses?.[0]}:${target}: the pod network is not there`);
      return await dialPod({ namespace, name: pod.name!, uid: pod.uid ?? "" }, target);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** Rejects with the error of the system, whose text {@link dialText} gives. */
export function dialHost(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    socket.once("error", (error) => reject(new Error(dialText(host, port, error))));
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
  });
}

const systemTexts: Record<string, string> = {
  ECONNREFUSED: "connect: connection refused",
  EHOSTUNREACH: "connect: no route to host",
  ENETUNREACH: "connect: network is unreachable",
  ETIMEDOUT: "i/o timeout",
};

/** As Go's net.OpError prints it. */
function dialText(host: string, port: number, error: NodeJS.ErrnoException & { address?: string }): string {
  if (error.code === "ENOTFOUND" || error.code === "EAI_AGAIN") return `dial tcp: lookup ${host}: ${error.code === "ENOTFOUND" ? "no such host" : "server misbehaving"}`;
  // Both families were tried: what the last one said.
  const last = error instanceof AggregateError ? (error.errors.at(-1) as NodeJS.ErrnoException & { address?: string }) : error;
  return `dial tcp ${last.address ?? host}:${port}: ${systemTexts[last.code ?? ""] ?? last.message}`;
}
