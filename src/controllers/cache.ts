import { type Informers, type Lister, keyOf } from "../api/informer.ts";
import { controllerOf, type GroupVersionResource, type KubeObject, type ObjectMeta } from "../api/meta.ts";

/** What a plan may look at: the informers' caches, or in tests a few objects written down. */
export interface Cache {
  get<T = KubeObject>(resource: GroupVersionResource, key: string): T | undefined;
  list<T = KubeObject>(resource: GroupVersionResource): T[];
  inNamespace<T = KubeObject>(resource: GroupVersionResource, namespace: string): T[];
  /** Those whose controller is the object with this uid. */
  ownedBy<T = KubeObject>(resource: GroupVersionResource, uid: string): T[];
  /** Those of a namespace that no controller owns: candidates for adoption. */
  orphansIn<T = KubeObject>(resource: GroupVersionResource, namespace: string): T[];
}

export const controllerIndex = "controller uid";
const orphanOf = (namespace: string): string => `none in ${namespace}`;
export const controllerIndexValues = (object: { metadata: ObjectMeta }): string[] => [controllerOf(object)?.uid ?? orphanOf(object.metadata.namespace ?? "")];

export class InformerCache implements Cache {
  readonly #informers: Pick<Informers, "for">;
  constructor(informers: Pick<Informers, "for">) {
    this.#informers = informers;
  }
  #of<T>(resource: GroupVersionResource): Lister<T> {
    return this.#informers.for<any>(resource);
  }
  get<T>(resource: GroupVersionResource, key: string): T | undefined {
    return this.#of<T>(resource).get(key);
  }
  list<T>(resource: GroupVersionResource): T[] {
    return this.#of<T>(resource).list();
  }
  inNamespace<T>(resource: GroupVersionResource, namespace: string): T[] {
    return this.#of<T>(resource).inNamespace(namespace);
  }
  ownedBy<T>(resource: GroupVersionResource, uid: string): T[] {
    return this.#of<T>(resource).byIndex(controllerIndex, uid);
  }
  orphansIn<T>(resource: GroupVersionResource, namespace: string): T[] {
    return this.#of<T>(resource).byIndex(controllerIndex, orphanOf(namespace));
  }
}

/** A cache of objects written down: `new SnapshotCache([[resources.pods, [pod]]])`. */
export class SnapshotCache implements Cache {
  readonly #objects: [GroupVersionResource, readonly { metadata: ObjectMeta }[]][];
  constructor(objects: [GroupVersionResource, readonly { metadata: ObjectMeta }[]][]) {
    this.#objects = objects;
  }
  list<T>(resource: GroupVersionResource): T[] {
    return this.#objects.filter(([of]) => of.resource === resource.resource && of.group === resource.group).flatMap(([, items]) => items) as T[];
  }
  #where<T>(resource: GroupVersionResource, fits: (object: { metadata: ObjectMeta }) => boolean): T[] {
    return (this.list(resource) as { metadata: ObjectMeta }[]).filter(fits) as T[];
  }
  get<T>(resource: GroupVersionResource, key: string): T | undefined {
    return this.#where<T>(resource, (object) => keyOf(object) === key)[0];
  }
  inNamespace<T>(resource: GroupVersionResource, namespace: string): T[] {
    return this.#where<T>(resource, (object) => object.metadata.namespace === namespace);
  }
  ownedBy<T>(resource: GroupVersionResource, uid: string): T[] {
    return this.#where<T>(resource, (object) => controllerOf(object)?.uid === uid);
  }
  orphansIn<T>(resource: GroupVersionResource, namespace: string): T[] {
    return this.#where<T>(resource, (object) => controllerOf(object) === undefined && object.metadata.namespace === namespace);
  }
}
