import { resources } from "../../api/resources.ts";
import type { EndpointSlice, Node, Service } from "../../api/types.ts";
import type { Action, Plan } from "../action.ts";
import type { Cache } from "../cache.ts";
import { byName } from "../claim.ts";
import { controllerReference, stableJson } from "../pod-template.ts";
import { controller } from "../runner.ts";
import { type Backend, type BackendPort, backendsOf, hasBackends, headlessLabel, isHeadless, podReference, serviceNameLabel, servicesOfPod } from "./backends.ts";

const managedByLabel = "endpointslice.kubernetes.io/managed-by";
const manager = "endpointslice-controller.k8s.io";
const endpointsMax = 100;

/**
 * A Service's pods as EndpointSlices: what the data plane and every mesh read. An endpoint stays in the slice that
 * holds it, so that a change rewrites one slice.
 * Source: k8s.io/endpointslice/{reconciler,utils}.go.
 */
export const endpointSliceController = controller<Service>({
  name: "endpoint-slice-controller",
  for: resources.services,
  owns: { kind: "Service", resources: [resources.endpointSlices] },
  watches: [{ resource: resources.pods, keys: servicesOfPod }],
  reads: [resources.nodes],
  restMs: 75,
  workers: 64,
  plan: ({ object, cache }) => planEndpointSlices(object, cache),
});

type Endpoint = NonNullable<EndpointSlice["endpoints"]>[number];

export function planEndpointSlices(service: Service, cache: Cache): Plan {
  if (service.metadata.deletionTimestamp || !hasBackends(service)) return { actions: [] };
  const existing = cache
    .inNamespace<EndpointSlice>(resources.endpointSlices, service.metadata.namespace!)
    .filter(({ metadata }) => metadata.labels?.[serviceNameLabel] === service.metadata.name && metadata.labels[managedByLabel] === manager && !metadata.deletionTimestamp)
    .sort(byName);
  const groups = backendsOf(service, cache);
  // Watchers find a slice as soon as the Service exists, empty as long as no pod does.
  if (groups.length === 0) groups.push({ ports: [], backends: [] });
  const actions: Action[] = [];
  const free = new Set(existing);
  for (const { ports, backends } of groups) {
    const own = existing.filter((slice) => free.has(slice) && stableJson(portsOf(slice)) === stableJson(ports));
    if (own.length === 0 && free.size > 0 && groups.length === 1) own.push(existing.find((slice) => free.has(slice))!);
    for (const slice of own) free.delete(slice);
    actions.push(...packed(service, ports, own, new Map(backends.map((backend) => [backend.pod.metadata.uid, endpointOf(backend, cache)]))));
  }
  for (const slice of free) actions.push({ do: "delete", resource: resources.endpointSlices, object: slice });
  return { actions };
}

const portsOf = (slice: EndpointSlice): BackendPort[] => (slice.ports ?? []).map(({ name, protocol, port, appProtocol }) => ({ name: name ?? "", protocol: protocol ?? "TCP", port: port!, ...(appProtocol && { appProtocol }) }));

function endpointOf({ pod, ready, serving, terminating, hostname }: Backend, cache: Cache): Endpoint {
  const nodeName = pod.spec?.nodeName;
  const zone = nodeName && cache.get<Node>(resources.nodes, nodeName)?.metadata.labels?.["topology.kubernetes.io/zone"];
  return { addresses: [pod.status!.podIP!], conditions: { ready, serving, terminating }, ...(hostname && { hostname }), ...(nodeName && { nodeName }), ...(zone && { zone }), targetRef: podReference(pod) };
}

/** Endpoints into the slices that hold them already, new ones where there is room, the rest into new slices. */
function packed(service: Service, ports: BackendPort[], own: readonly EndpointSlice[], wanted: Map<string, Endpoint>): Action[] {
  const rest = new Map(wanted);
  const filled = own.map((slice) => {
    const endpoints = (slice.endpoints ?? []).flatMap(({ targetRef }) => {
      const endpoint = targetRef?.uid === undefined ? undefined : rest.get(targetRef.uid);
      if (endpoint) rest.delete(targetRef!.uid!);
      return endpoint ? [endpoint] : [];
    });
    return { slice, endpoints };
  });
  const take = (room: number): Endpoint[] => {
    const taken = [...rest].slice(0, room);
    for (const [uid] of taken) rest.delete(uid);
    return taken.map(([, endpoint]) => endpoint);
  };
  for (const entry of filled) entry.endpoints.push(...take(endpointsMax - entry.endpoints.length));
  const kept = filled.filter(({ endpoints }, index) => endpoints.length > 0 || (wanted.size === 0 && index === 0));
  const actions: Action[] = filled.filter((entry) => !kept.includes(entry)).map(({ slice }) => ({ do: "delete", resource: resources.endpointSlices, object: slice }));
  const shape = { metadata: { labels: labelsOf(service), annotations: annotationsOf(service) }, ports: ports.length > 0 ? ports : undefined };
  for (const { slice, endpoints } of kept) {
    const now = { metadata: { labels: slice.metadata.labels ?? {}, annotations: slice.metadata.annotations ?? {} }, ports: portsOf(slice).length > 0 ? portsOf(slice) : undefined };
    if (stableJson([endpoints, shape]) === stableJson([slice.endpoints ?? [], now])) continue;
    const { ports: _, ...object } = slice;
    actions.push({ do: "update", resource: resources.endpointSlices, object: { ...object, ...(shape.ports && { ports: shape.ports }), endpoints, metadata: { ...slice.metadata, ...shape.metadata } } as EndpointSlice });
  }
  while (rest.size > 0 || (kept.length === 0 && actions.every((action) => action.do !== "create"))) {
    actions.push({
      do: "create",
      resource: resources.endpointSlices,
      object: {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { generateName: `${service.metadata.name}-`, namespace: service.metadata.namespace!, ...shape.metadata, ownerReferences: [controllerReference(service, "v1", "Service")] },
        addressType: "IPv4",
        ...(shape.ports && { ports: shape.ports }),
        endpoints: take(endpointsMax),
      },
    });
  }
  return actions;
}

function labelsOf(service: Service): Record<string, string> {
  const { [headlessLabel]: _, ...labels } = service.metadata.labels ?? {};
  return { ...labels, [serviceNameLabel]: service.metadata.name, [managedByLabel]: manager, ...(isHeadless(service) && { [headlessLabel]: "" }) };
}
const annotationsOf = (service: Service): Record<string, string> => {
  const { "kubectl.kubernetes.io/last-applied-configuration": _, ...annotations } = service.metadata.annotations ?? {};
  return annotations;
};
