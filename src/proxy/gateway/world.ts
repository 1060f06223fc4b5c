import { envoyResources, type HttpRouteFilterObject, type Policy, type PolicyKind, policyKinds, policyResources } from "../../api/envoy/kinds.ts";
import { type Informer, keyOf } from "../../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { type ApiObject, apiLabel, apiResource, type Deployment } from "../../api/product/kinds.ts";
import { resources } from "../../api/resources.ts";
import type { ConfigMap, Namespace, Secret, Service } from "../../api/types.ts";
import { apiOfDeployment, StageRoutes } from "../product/stage-route.ts";
import { type NamedSecrets, secretsNamed } from "../named-secrets.ts";
import type { Clock } from "../../base/clock.ts";
import { Names } from "../istio/names.ts";
import type { Watches } from "../watches.ts";
import { type AnyRouteObject, type BackendTlsPolicy, type Gateway, type GatewayClass, gatewayResources, type HttpRouteObject, type ListenerSet, type ReferenceGrant, type RouteKind, routeKinds } from "./kinds.ts";

/** What the translation reads. Keys are "NAMESPACE/NAME", or "NAME" of what has no namespace. */
export interface World {
  gatewayClass(name: string): GatewayClass | undefined;
  gateway(key: string): Gateway | undefined;
  gateways(): Gateway[];
  listenerSet(key: string): ListenerSet | undefined;
  listenerSetsOf(gateway: string): ListenerSet[];
  /** Those that stand for a stage of an API have a rule for each of its operations. */
  routes(kind: RouteKind): AnyRouteObject[];
  route(kind: RouteKind, key: string): AnyRouteObject | undefined;
  namespace(name: string): Namespace | undefined;
  service(key: string): Service | undefined;
  secret(key: string): Secret | undefined;
  configMap(key: string): ConfigMap | undefined;
  grantsIn(namespace: string): ReferenceGrant[];
  policiesOf(service: string): BackendTlsPolicy[];
  policies(): BackendTlsPolicy[];
  /** Envoy Gateway's. */
  attached(kind: PolicyKind): Policy[];
  attachedPolicy(kind: PolicyKind, key: string): Policy | undefined;
  routeFilter(key: string): HttpRouteFilterObject | undefined;
  routeFilters(): HttpRouteFilterObject[];
  apis(): ApiObject[];
  api(key: string): ApiObject | undefined;
  /** Of one API, there or not. */
  deployments(api: string): Deployment[];
  /** A Secret that a policy names, whole; "unknown": it is not read yet. Absent: there is no difference. */
  namedSecret?(key: string): Secret | "unknown" | undefined;
  /** Of a name beyond the cluster; undefined: none is known, or not yet. */
  addressesOf?(name: string): readonly string[] | undefined;
}

export const routeResources: Record<RouteKind, GroupVersionResource> = {
  HTTPRoute: gatewayResources.httpRoutes,
  GRPCRoute: gatewayResources.grpcRoutes,
  TLSRoute: gatewayResources.tlsRoutes,
  TCPRoute: gatewayResources.tcpRoutes,
  UDPRoute: gatewayResources.udpRoutes,
};

/** A world of plain objects: what tests and `wherry route explain` have. */
export class ObjectWorld implements World {
  readonly #objects = new Map<string, Map<string, KubeObject>>();

  constructor(objects: readonly KubeObject[] = []) {
    for (const object of objects) this.put(object);
  }
  put(object: KubeObject): void {
    const kind = this.#kind(object.kind);
    kind.set(keyOf(object), object);
  }
  remove(kind: string, key: string): void {
    this.#kind(kind).delete(key);
  }
  #kind<T extends KubeObject>(kind: string): Map<string, T> {
    let of = this.#objects.get(kind);
    if (!of) this.#objects.set(kind, (of = new Map()));
    return of as Map<string, T>;
  }
  #get<T>(kind: string, key: string): T | undefined {
    return this.#kind(kind).get(key) as T | undefined;
  }
  #all<T>(kind: string): T[] {
    return [...this.#kind(kind).values()] as T[];
  }
  gatewayClass = (name: string) => this.#get<GatewayClass>("GatewayClass", name);
  gateway = (key: string) => this.#get<Gateway>("Gateway", key);
  gateways = () => this.#all<Gateway>("Gateway");
  listenerSet = (key: string) => this.#get<ListenerSet>("ListenerSet", key);
  listenerSetsOf = (gateway: string) => this.#all<ListenerSet>("ListenerSet").filter((set) => gatewayOfSet(set) === gateway);
  routes = (kind: RouteKind) => this.#all<AnyRouteObject>(kind).map((route) => this.#withOperations(kind, route));
  route = (kind: RouteKind, key: string) => {
    const route = this.#get<AnyRouteObject>(kind, key);
    return route && this.#withOperations(kind, route);
  };
  readonly #stages = new StageRoutes(this);
  #withOperations(kind: RouteKind, route: AnyRouteObject): AnyRouteObject {
    return kind === "HTTPRoute" ? this.#stages.of(route as HttpRouteObject) : route;
  }
  apis = () => this.#all<ApiObject>("API");
  api = (key: string) => this.#get<ApiObject>("API", key);
  deployments = (api: string) => this.#all<Deployment>("ControllerRevision").filter((revision) => apiOfDeployment(revision) === api);
  namespace = (name: string) => this.#get<Namespace>("Namespace", name);
  service = (key: string) => this.#get<Service>("Service", key);
  secret = (key: string) => this.#get<Secret>("Secret", key);
  configMap = (key: string) => this.#get<ConfigMap>("ConfigMap", key);
  grantsIn = (namespace: string) => this.#all<ReferenceGrant>("ReferenceGrant").filter((grant) => grant.metadata.namespace === namespace);
  policies = () => this.#all<BackendTlsPolicy>("BackendTLSPolicy");
  policiesOf = (service: string) => this.policies().filter((policy) => servicesOfPolicy(policy).includes(service));
  attached = (kind: PolicyKind) => this.#all<Policy>(kind);
  attachedPolicy = (kind: PolicyKind, key: string) => this.#get<Policy>(kind, key);
  routeFilter = (key: string) => this.#get<HttpRouteFilterObject>("HTTPRouteFilter", key);
  routeFilters = () => this.#all<HttpRouteFilterObject>("HTTPRouteFilter");
}

/** "NAMESPACE/NAME" of the Gateway that a set adds listeners to. */
export function gatewayOfSet(set: ListenerSet): string {
  const { namespace, name } = set.spec.parentRef;
  return `${namespace ?? set.metadata.namespace}/${name}`;
}

export function servicesOfPolicy(policy: BackendTlsPolicy): string[] {
  return policy.spec.targetRefs.filter(({ group, kind }) => group === "" && kind === "Service").map(({ name }) => `${policy.metadata.namespace}/${name}`);
}

/** The world as the API server tells it, kept current. */
export class WatchedWorld implements World {
  readonly #classes: Informer<GatewayClass>;
  readonly #gateways: Informer<Gateway>;
  readonly #sets: Informer<ListenerSet>;
  readonly #routes: Record<RouteKind, Informer<AnyRouteObject>>;
  readonly #namespaces: Informer<Namespace>;
  readonly #services: Informer<Service>;
  readonly #secrets: Informer<Secret>;
  readonly #configMaps: Informer<ConfigMap>;
  readonly #grants: Informer<ReferenceGrant>;
  readonly #policies: Informer<BackendTlsPolicy>;
  readonly #attached: Record<PolicyKind, Informer<Policy>>;
  readonly #routeFilters: Informer<HttpRouteFilterObject>;
  readonly #named: NamedSecrets;
  readonly #apis: Informer<ApiObject>;
  readonly #deployments: Informer<Deployment>;
  readonly #stages = new StageRoutes(this);

  readonly #names: Names;

  /** `renamed` hears of names beyond the cluster whose addresses are others now. */
  constructor(watches: Watches, { clock, renamed }: { clock: Clock; renamed: (name: string) => void }) {
    this.#names = new Names({ clock, changed: renamed });
    this.#classes = watches.of("GatewayClass", gatewayResources.gatewayClasses);
    this.#gateways = watches.of("Gateway", gatewayResources.gateways);
    this.#sets = watches.of<ListenerSet>("ListenerSet", gatewayResources.listenerSets, { indexes: { gateway: (set) => [gatewayOfSet(set)] } });
    this.#routes = Object.fromEntries(routeKinds.map((kind) => [kind, watches.of<AnyRouteObject>(kind, routeResources[kind])])) as Record<RouteKind, Informer<AnyRouteObject>>;
    this.#namespaces = watches.of("Namespace", resources.namespaces);
    this.#services = watches.of("Service", resources.services);
    this.#secrets = watches.secrets();
    this.#configMaps = watches.of("ConfigMap", resources.configMaps);
    this.#grants = watches.of("ReferenceGrant", gatewayResources.referenceGrants);
    this.#policies = watches.of<BackendTlsPolicy>("BackendTLSPolicy", gatewayResources.backendTlsPolicies, { indexes: { service: servicesOfPolicy } });
    this.#attached = Object.fromEntries(policyKinds.map((kind) => [kind, watches.of<Policy>(kind, policyResources[kind])])) as Record<PolicyKind, Informer<Policy>>;
    this.#named = watches.namedSecrets();
    for (const kind of policyKinds) this.#attached[kind].onChange((_, policy, old) => this.#named.move(secretsNamed(policy), secretsNamed(old)));
    this.#routeFilters = watches.of<HttpRouteFilterObject>("HTTPRouteFilter", envoyResources.httpRouteFilters);
    this.#routeFilters.onChange((_, filter, old) => this.#named.move(secretsNamed(filter), secretsNamed(old)));
    this.#apis = watches.of("API", apiResource);
    this.#apis.onChange((_, api, old) => this.#named.move(secretsNamed(api), secretsNamed(old)));
    // Those of StatefulSets and DaemonSets are others' affair.
    this.#deployments = watches.of<Deployment>("ControllerRevision", resources.controllerRevisions, { labelSelector: apiLabel, indexes: { api: (revision) => [apiOfDeployment(revision) ?? ""] } });
  }

  gatewayClass = (name: string) => this.#classes.get(name);
  gateway = (key: string) => this.#gateways.get(key);
  gateways = () => this.#gateways.list();
  listenerSet = (key: string) => this.#sets.get(key);
  listenerSetsOf = (gateway: string) => this.#sets.byIndex("gateway", gateway);
  routes = (kind: RouteKind) => (kind === "HTTPRoute" ? this.#routes[kind].list().map((route) => this.#stages.of(route as HttpRouteObject)) : this.#routes[kind].list());
  route = (kind: RouteKind, key: string) => {
    const route = this.#routes[kind].get(key);
    return route && kind === "HTTPRoute" ? this.#stages.of(route as HttpRouteObject) : route;
  };
  apis = () => this.#apis.list();
  api = (key: string) => this.#apis.get(key);
  deployments = (api: string) => this.#deployments.byIndex("api", api);
  namespace = (name: string) => this.#namespaces.get(name);
  service = (key: string) => this.#services.get(key);
  secret = (key: string) => this.#secrets.get(key);
  configMap = (key: string) => this.#configMaps.get(key);
  grantsIn = (namespace: string) => this.#grants.inNamespace(namespace);
  policies = () => this.#policies.list();
  policiesOf = (service: string) => this.#policies.byIndex("service", service);
  attached = (kind: PolicyKind) => this.#attached[kind].list();
  attachedPolicy = (kind: PolicyKind, key: string) => this.#attached[kind].get(key);
  routeFilter = (key: string) => this.#routeFilters.get(key);
  routeFilters = () => this.#routeFilters.list();
  namedSecret = (key: string) => this.#named.get(key);
  addressesOf = (name: string) => this.#names.get(name);

  stop(): void {
    this.#names.stop();
  }
}
