import type { Client, ListOptions } from "../../api/client.ts";
import { envoyResources, policyResources } from "../../api/envoy/kinds.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { apiResource } from "../../api/product/kinds.ts";
import { resources, systemNamespace } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { TrafficSnapshot } from "../../api/traffic.ts";
import { type HealthReport, healthConfigMap } from "../../api/traffic-health.ts";
import type { ConfigMap, EndpointSlice, Service } from "../../api/types.ts";
import { type AddressBook } from "../gateway/gateways.ts";
import { gatewayResources } from "../gateway/kinds.ts";
import { Translator } from "../gateway/translate.ts";
import { ObjectWorld, routeResources } from "../gateway/world.ts";
import type { Ingress } from "../ingress/kinds.ts";
import { ports, Translator as IngressTranslator } from "../ingress/translate.ts";
import { ObjectWorld as IngressWorld } from "../ingress/world.ts";
import { watched } from "../istio/world.ts";
import { type AskedRequest, type EndpointsOf, explain, type Explained, type Upstreams } from "./explain.ts";
import { istioTraffic } from "./istio.ts";
import { policiesIn } from "./policies.ts";
import { explainService, serviceOf } from "./service.ts";

const read: Record<string, GroupVersionResource> = {
  GatewayClass: gatewayResources.gatewayClasses,
  Gateway: gatewayResources.gateways,
  ListenerSet: gatewayResources.listenerSets,
  ...routeResources,
  API: apiResource,
  ControllerRevision: resources.controllerRevisions,
  ReferenceGrant: gatewayResources.referenceGrants,
  BackendTLSPolicy: gatewayResources.backendTlsPolicies,
  ...policyResources,
  HTTPRouteFilter: envoyResources.httpRouteFilters,
  Namespace: resources.namespaces,
  Service: resources.services,
  Secret: resources.secrets,
  ConfigMap: resources.configMaps,
  EndpointSlice: resources.endpointSlices,
  Ingress: resources.ingresses,
  IngressClass: resources.ingressClasses,
  // Subsets are pods by their labels.
  Pod: resources.pods,
  ...watched,
};

/** Reads everything that decides about a request, and explains it. */
export async function explainInCluster(client: Client, asked: AskedRequest): Promise<Explained> {
  return explainObjects(await readObjects(client), asked);
}

/** All that decides about requests; each object says its kind. */
export async function readObjects(client: Client): Promise<KubeObject[]> {
  const lists = await Promise.all(Object.entries(read).map(async ([kind, resource]) => (await listServed(client, resource)).map((object) => ({ ...object, kind }))));
  return lists.flat();
}

/** There is none of what is not served: its definition may be gone, or not there yet. */
export async function listServed(client: Client, resource: GroupVersionResource, options: ListOptions = {}): Promise<KubeObject[]> {
  const list = await client.list<KubeObject>(resource, options).catch((error: unknown) => {
    if (!(error instanceof StatusError && error.code === 404)) throw error;
  });
  return list?.items ?? [];
}

/** As {@link explainInCluster}, of objects that each say their kind. */
export function explainObjects(objects: readonly KubeObject[], asked: AskedRequest): Explained {
  const { traffic: compiled, wrong } = trafficOf(objects);
  const traffic = { ...compiled, upstreams: withHealth(compiled.upstreams, objects) };
  const service = serviceOf(objects, asked);
  const explained = service ? explainService(service, traffic, asked, endpointsIn(objects)) : explain(traffic, asked, endpointsIn(objects), policiesIn(new ObjectWorld(objects)));
  return wrong.length === 0 ? explained : { ...explained, text: `${explained.text}\nroutes that are not served as they are written:\n${wrong.join("\n")}\n` };
}

/** What the engine would be told of these objects, and what their authors are told. */
export function trafficOf(objects: readonly KubeObject[]): { traffic: TrafficSnapshot; wrong: string[] } {
  const world = new ObjectWorld(objects);
  const translator = new Translator(world, addressesOfStatuses);
  for (const object of objects) translator.changed(object.kind!, object.metadata.namespace === undefined ? object.metadata.name : `${object.metadata.namespace}/${object.metadata.name}`);
  const { statuses } = translator.flush();
  const { snapshot, notes } = ingressTraffic(objects);
  const mesh = istioTraffic(objects);
  const traffic = translator.snapshot();
  const refused = statuses.flatMap((status) => ("parents" in status ? status.parents.flatMap(({ parentRef, conditions }) => conditions.filter((entry) => entry.status === "False").map(({ type, reason, message }) => `  ${status.kind}/${status.key} at ${parentRef.name}: ${type} is False, ${reason}: ${message}`)) : []));
  return {
    traffic: { revision: 0, listeners: [...traffic.listeners, ...snapshot.listeners], routes: [...traffic.routes, ...snapshot.routes, ...mesh.snapshot.routes], upstreams: [...traffic.upstreams, ...snapshot.upstreams, ...mesh.snapshot.upstreams] },
    wrong: [...refused, ...notes, ...mesh.notes],
  };
}

/** What Ingresses come to, at the ports that their statuses tell, and what they are told. */
function ingressTraffic(objects: readonly KubeObject[]): { snapshot: TrafficSnapshot; notes: string[] } {
  const translator = new IngressTranslator(new IngressWorld(objects), { certificate: "", key: "" });
  const ingresses = objects.filter(({ kind }) => kind === "Ingress") as Ingress[];
  const [http, https] = ingresses.flatMap(({ status }) => status?.loadBalancer?.ingress?.[0]?.ports ?? []);
  const bound = { http: http?.port ?? ports.http, https: https?.port ?? ports.https };
  translator.bound = bound;
  for (const { metadata } of ingresses) translator.changed("Ingress", `${metadata.namespace}/${metadata.name}`);
  const notes = translator.flush().told.flatMap(({ key, notes: all }) => all.filter(({ type }) => type === "Warning").map(({ reason, message }) => `  Ingress/${key}: ${reason}: ${message}`));
  const snapshot = translator.snapshot();
  return { snapshot: { ...snapshot, listeners: snapshot.listeners.map((listener) => ({ ...listener, port: listener.id === "ingress/http" ? bound.http : bound.https })) }, notes };
}

/** Addresses are as the statuses say: who serves has chosen them. */
const addressesOfStatuses: AddressBook = {
  addressOf: (gateway) => {
    const value = gateway.status?.addresses?.[0]?.value;
    return value === undefined ? { reason: "AddressNotUsable", message: "the Gateway has no address yet" } : { value };
  },
  bindingOf: ({ address, port, protocol }) => ({ address, port, protocol: protocol === "UDP" ? "UDP" : "TCP", boundPort: port }),
};

/** What `wherry` has published of checks. */
function withHealth(upstreams: TrafficSnapshot["upstreams"], objects: readonly KubeObject[]): Upstreams {
  if (!upstreams.some(({ check }) => check)) return upstreams;
  const published = objects.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.namespace === systemNamespace && metadata.name === healthConfigMap) as ConfigMap | undefined;
  const reports = JSON.parse(published?.data?.["endpoints"] ?? "[]") as HealthReport[];
  return upstreams.map((upstream) => (upstream.check ? { ...upstream, health: reports.filter((report) => report.upstream === upstream.id) } : upstream));
}

function endpointsIn(objects: readonly KubeObject[]): EndpointsOf {
  const slices = objects.filter(({ kind }) => kind === "EndpointSlice") as (EndpointSlice & KubeObject)[];
  const services = objects.filter(({ kind }) => kind === "Service") as (Service & KubeObject)[];
  return (namespace, service, port) => {
    const declared = services.find(({ metadata }) => metadata.namespace === namespace && metadata.name === service)?.spec?.ports?.find((candidate) => candidate.port === port);
    return slices
      .filter(({ metadata }) => metadata.namespace === namespace && metadata.labels?.["kubernetes.io/service-name"] === service)
      .flatMap(({ ports, endpoints }) => (ports ?? []).filter(({ name }) => (name ?? "") === (declared?.name ?? "")).flatMap((target) => (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false).flatMap(({ addresses }) => addresses.map((ip) => `${ip}:${target.port}`))));
  };
}
