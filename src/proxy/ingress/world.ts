import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { ConfigMap, EndpointSlice, Secret, Service } from "../../api/types.ts";
import type { Ingress, IngressClass } from "./kinds.ts";
import { hasReady, serviceOf } from "./readiness.ts";

/** What the translation reads. Keys are "NAMESPACE/NAME", or "NAME" of a class. */
export interface World {
  ingress(key: string): Ingress | undefined;
  ingresses(): Ingress[];
  ingressClass(name: string): IngressClass | undefined;
  service(key: string): Service | undefined;
  secret(key: string): Secret | undefined;
  configMap(key: string): ConfigMap | undefined;
  /** Whether a Service has an endpoint that takes connections. */
  isReady(service: string): boolean;
}

/** A world of plain objects, for tests. */
export class ObjectWorld implements World {
  readonly #objects = new Map<string, KubeObject>();

  constructor(objects: readonly KubeObject[] = []) {
    for (const object of objects) this.put(object);
  }
  put(object: KubeObject): void {
    this.#objects.set(`${object.kind}/${keyOf(object)}`, object);
  }
  remove(kind: string, key: string): void {
    this.#objects.delete(`${kind}/${key}`);
  }
  #get<T>(kind: string, key: string): T | undefined {
    return this.#objects.get(`${kind}/${key}`) as T | undefined;
  }
  ingress = (key: string) => this.#get<Ingress>("Ingress", key);
  ingresses = () => [...this.#objects.values()].filter(({ kind }) => kind === "Ingress") as Ingress[];
  ingressClass = (name: string) => this.#get<IngressClass>("IngressClass", name);
  service = (key: string) => this.#get<Service>("Service", key);
  secret = (key: string) => this.#get<Secret>("Secret", key);
  isReady = (service: string) => hasReady(([...this.#objects.values()].filter(({ kind }) => kind === "EndpointSlice") as unknown as EndpointSlice[]).filter((slice) => serviceOf(slice) === service));
  configMap = (key: string) => this.#get<ConfigMap>("ConfigMap", key);
}
