import type { GroupVersionResource, KubeObject, OwnerReference } from "../../api/meta.ts";

/**
 * Who owns whom, over all kinds: objects by uid, and under every owner's uid (known or not) its dependents.
 * Source of the idea: k8s.io/kubernetes/pkg/controller/garbagecollector/graph_builder.go.
 */
export interface GraphNode {
  readonly resource: GroupVersionResource;
  readonly object: KubeObject;
}

export const foregroundFinalizer = "foregroundDeletion";
export const orphanFinalizer = "orphan";

export const ownersOf = (object: KubeObject): readonly OwnerReference[] => object.metadata.ownerReferences ?? [];
export const waitsFor = (object: KubeObject, finalizer: string): boolean => object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers ?? []).includes(finalizer);

export class OwnerGraph {
  readonly #nodes = new Map<string, GraphNode>();
  readonly #dependents = new Map<string, Set<string>>();

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }
  dependentsOf(uid: string): GraphNode[] {
    return [...(this.#dependents.get(uid) ?? [])].flatMap((dependent) => this.#nodes.get(dependent) ?? []);
  }
  get size(): number {
    return this.#nodes.size;
  }

  /** Takes in a change, and gives the uids that must be looked at because of it. */
  observe(resource: GroupVersionResource, object: KubeObject | undefined, old: KubeObject | undefined): string[] {
    const { uid } = (object ?? old)!.metadata;
    const before = this.#nodes.get(uid)?.object;
    if (object) this.#nodes.set(uid, { resource, object });
    else this.#nodes.delete(uid);
    for (const owner of before ? ownersOf(before) : []) this.#unlink(owner.uid, uid);
    for (const owner of object ? ownersOf(object) : []) this.#link(owner.uid, uid);
    if (!object) {
      // Dependents have lost an owner; owners that wait for their dependents have one less to wait for.
      return [...(this.#dependents.get(uid) ?? []), ...this.#waitingOwners(before)];
    }
    const look: string[] = [];
    const doubtful = ({ uid: owner }: OwnerReference): boolean => {
      const known = this.#nodes.get(owner)?.object;
      return known === undefined || waitsFor(known, foregroundFinalizer) || (known.metadata.namespace !== undefined && known.metadata.namespace !== object.metadata.namespace);
    };
    if (ownersOf(object).some(doubtful)) look.push(uid);
    if (waitsFor(object, orphanFinalizer)) look.push(uid);
    if (waitsFor(object, foregroundFinalizer)) look.push(...(this.#dependents.get(uid) ?? []), uid);
    const released = before && (ownersOf(before).length !== ownersOf(object).length || ownersOf(before).some((owner, index) => owner.uid !== ownersOf(object)[index]!.uid || owner.blockOwnerDeletion !== ownersOf(object)[index]!.blockOwnerDeletion));
    if (released) look.push(uid, ...this.#waitingOwners(before));
    return [...new Set(look)];
  }

  #waitingOwners(object: KubeObject | undefined): string[] {
    return (object ? ownersOf(object) : []).map((owner) => owner.uid).filter((uid) => {
      const owner = this.#nodes.get(uid)?.object;
      return owner !== undefined && (waitsFor(owner, foregroundFinalizer) || waitsFor(owner, orphanFinalizer));
    });
  }
  #link(owner: string, dependent: string): void {
    let dependents = this.#dependents.get(owner);
    if (!dependents) this.#dependents.set(owner, (dependents = new Set()));
    dependents.add(dependent);
  }
  #unlink(owner: string, dependent: string): void {
    const dependents = this.#dependents.get(owner);
    dependents?.delete(dependent);
    if (dependents?.size === 0) this.#dependents.delete(owner);
  }
}
