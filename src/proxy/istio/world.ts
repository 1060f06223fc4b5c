import { type Informer, keyOf } from "../../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { Pod, Secret, Service } from "../../api/types.ts";
import type { Clock } from "../../base/clock.ts";
import { securityResources } from "../../api/istio/security.ts";
import { type DestinationRule, istioResources, type ServiceEntry, type Sidecar, type Telemetry, type VirtualService } from "../../api/istio/kinds.ts";
import type { Watches } from "../watches.ts";
import { Names } from "./names.ts";

/** What the translation reads. Keys are "NAMESPACE/NAME". */
export interface World {
  virtualServices(): VirtualService[];
  destinationRules(): DestinationRule[];
  serviceEntries(): ServiceEntry[];
  sidecars(): Sidecar[];
  telemetries(): Telemetry[];
  /** AuthorizationPolicies, PeerAuthentications and RequestAuthentications. */
  securityPolicies(): KubeObject[];
  services(): Service[];
  service(key: string): Service | undefined;
  secret(key: string): Secret | undefined;
  /** Of one namespace, or of all. */
  pods(namespace?: string): Pod[];
  /** The IPv4 addresses of a name beyond the cluster; undefined: they are not known yet, or there is none. */
  addressesOf(name: string): readonly string[] | undefined;
}

/** Istio's kinds that are watched, with what they are read from. */
export const watched: Record<string, GroupVersionResource> = {
  VirtualService: istioResources.virtualServices,
  DestinationRule: istioResources.destinationRules,
  ServiceEntry: istioResources.serviceEntries,
  Sidecar: istioResources.sidecars,
  Telemetry: istioResources.telemetries,
  AuthorizationPolicy: securityResources.authorizationPolicies,
  PeerAuthentication: securityResources.peerAuthentications,
  RequestAuthentication: securityResources.requestAuthentications,
};
const securityKinds = ["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"];

/** Istio's definitions let `spec` be left out. */
const says = ({ spec }: KubeObject): boolean => spec !== undefined;

/** A world of plain objects: what tests and `wherry route explain` have. */
export class ObjectWorld implements World {
  readonly #objects = new Map<string, KubeObject>();
  readonly #names: Readonly<Record<string, readonly string[]>>;

  /** `names`: what is known of names beyond the cluster. */
  constructor(objects: readonly KubeObject[] = [], names: Readonly<Record<string, readonly string[]>> = {}) {
    this.#names = names;
    for (const object of objects) this.put(object);
  }
  put(object: KubeObject): void {
    this.#objects.set(`${object.kind}/${keyOf(object)}`, object);
  }
  remove(kind: string, key: string): void {
    this.#objects.delete(`${kind}/${key}`);
  }
  #all<T>(kind: string): T[] {
    return [...this.#objects.values()].filter((object) => object.kind === kind) as T[];
  }
  virtualServices = () => this.#all<VirtualService>("VirtualService").filter(says);
  destinationRules = () => this.#all<DestinationRule>("DestinationRule").filter(says);
  serviceEntries = () => this.#all<ServiceEntry>("ServiceEntry").filter(says);
  sidecars = () => this.#all<Sidecar>("Sidecar").filter(says);
  telemetries = () => this.#all<Telemetry>("Telemetry").filter(says);
  securityPolicies = () => securityKinds.flatMap((kind) => this.#all<KubeObject>(kind));
  services = () => this.#all<Service>("Service");
  service = (key: string) => this.#objects.get(`Service/${key}`) as Service | undefined;
  secret = (key: string) => this.#objects.get(`Secret/${key}`) as Secret | undefined;
  pods = (namespace?: string) => this.#all<Pod>("Pod").filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace);
  addressesOf = (name: string) => this.#names[name];
}

/** The world as the API server tells it, kept current. */
export class WatchedWorld implements World {
  readonly #kinds: Map<string, Informer<KubeObject>>;
  readonly #services: Informer<Service>;
  readonly #secrets: Informer<Secret>;
  readonly #pods: Informer<Pod>;
  readonly #names: Names;

  /** `renamed` hears of names beyond the cluster whose addresses are others now. */
  constructor(watches: Watches, { clock, renamed }: { clock: Clock; renamed: (name: string) => void }) {
    this.#names = new Names({ clock, changed: renamed });
    this.#kinds = new Map(Object.entries(watched).map(([kind, resource]) => [kind, watches.of(kind, resource)]));
    this.#services = watches.of("Service", resources.services);
    this.#secrets = watches.secrets();
    this.#pods = watches.of("Pod", resources.pods);
  }

  #list<T>(kind: string): T[] {
    return this.#kinds.get(kind)!.list().filter(says) as T[];
  }
  /** One of Istio's objects. */
  object = (kind: string, key: string) => this.#kinds.get(kind)?.get(key);
  virtualServices = () => this.#list<VirtualService>("VirtualService");
  destinationRules = () => this.#list<DestinationRule>("DestinationRule");
  serviceEntries = () => this.#list<ServiceEntry>("ServiceEntry");
  sidecars = () => this.#list<Sidecar>("Sidecar");
  telemetries = () => this.#list<Telemetry>("Telemetry");
  securityPolicies = () => securityKinds.flatMap((kind) => this.#kinds.get(kind)!.list());
  services = () => this.#services.list();
  service = (key: string) => this.#services.get(key);
  secret = (key: string) => this.#secrets.get(key);
  pods = (namespace?: string) => (namespace === undefined ? this.#pods.list() : this.#pods.inNamespace(namespace));
  addressesOf = (name: string) => this.#names.get(name);

  stop(): void {
    this.#names.stop();
  }
}
