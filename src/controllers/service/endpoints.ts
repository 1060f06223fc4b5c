import { resources } from "../../api/resources.ts";
import type { Endpoints, Service } from "../../api/types.ts";
import { splitKey } from "../../api/informer.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { stableJson } from "../pod-template.ts";
import type { Controller } from "../runner.ts";
import { type Backend, type BackendGroup, backendsOf, hasBackends, headlessLabel, isHeadless, podReference, servicesOfPod } from "./backends.ts";

const managedByLabel = "endpoints.kubernetes.io/managed-by";
const manager = "endpoint-controller";
const addressesMax = 1000;

/**
 * The older form of EndpointSlices, one object a Service, which many clients still read.
 * Source: k8s.io/kubernetes/pkg/controller/endpoint/endpoints_controller.go.
 */
export const endpointsController: Controller = {
  name: "endpoint-controller",
  for: resources.services,
  watches: [
    { resource: resources.pods, keys: servicesOfPod },
    { resource: resources.endpoints, keys: ({ metadata }: Endpoints) => (metadata.labels?.[managedByLabel] === manager ? [`${metadata.namespace}/${metadata.name}`] : []) },
  ],
  restMs: 100,
  workers: 64,
  plan: ({ key, object, cache }) => planEndpoints(key, object as Service | undefined, cache),
};

export function planEndpoints(key: string, service: Service | undefined, cache: Cache): Plan {
  const existing = cache.get<Endpoints>(resources.endpoints, key);
  // Endpoints have no owner reference: they go with the Service of their name.
  if (!service) return { actions: existing?.metadata.labels?.[managedByLabel] === manager ? [{ do: "delete", resource: resources.endpoints, object: existing }] : [] };
  if (service.metadata.deletionTimestamp || !hasBackends(service)) return { actions: [] };
  const subsets = backendsOf(service, cache).flatMap((group) => subsetOf(group, service.spec?.publishNotReadyAddresses === true)).slice(0, addressesMax);
  const { [headlessLabel]: _, ...labels } = service.metadata.labels ?? {};
  const metadata = { labels: { ...labels, [managedByLabel]: manager, ...(isHeadless(service) && { [headlessLabel]: "" }) } };
  if (!existing) {
    const action: Action = { do: "create", resource: resources.endpoints, object: { apiVersion: "v1", kind: "Endpoints", metadata: { ...splitKey(key), ...metadata } as { name: string }, ...(subsets.length > 0 && { subsets }) } };
    return { actions: [action] };
  }
  if (stableJson([subsets, metadata.labels]) === stableJson([existing.subsets ?? [], existing.metadata.labels ?? {}])) return { actions: [] };
  const { subsets: __, ...rest } = existing;
  return { actions: [{ do: "update", resource: resources.endpoints, object: { ...rest, ...(subsets.length > 0 && { subsets }), metadata: { ...existing.metadata, ...metadata } } as Endpoints }] };
}

type Subset = NonNullable<Endpoints["subsets"]>[number];

function subsetOf({ ports, backends }: BackendGroup, publishNotReady: boolean): Subset[] {
  const listed = backends.filter(({ terminating }) => publishNotReady || !terminating);
  if (listed.length === 0) return [];
  const address = ({ pod, hostname }: Backend) => ({ ip: pod.status!.podIP!, ...(hostname && { hostname }), ...(pod.spec?.nodeName && { nodeName: pod.spec.nodeName }), targetRef: podReference(pod) });
  const byIp = (a: { ip: string }, b: { ip: string }): number => (a.ip < b.ip ? -1 : 1);
  const addresses = listed.filter(({ ready }) => ready).map(address).sort(byIp);
  const notReadyAddresses = listed.filter(({ ready }) => !ready).map(address).sort(byIp);
  // A single unnamed port has no name here, as one always wrote it.
  const named = ports.map(({ name, ...port }) => ({ ...(name && { name }), ...port }));
  return [{ ...(addresses.length > 0 && { addresses }), ...(notReadyAddresses.length > 0 && { notReadyAddresses }), ...(named.length > 0 && { ports: named }) } as Subset];
}
