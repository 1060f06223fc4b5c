import { type LabelSelector, selectorMatches } from "../api/validation/selector.ts";
import type { GroupVersionResource, ObjectMeta, OwnerReference } from "../api/meta.ts";
import type { Action } from "./action.ts";
import type { Cache } from "./cache.ts";

/**
 * Which children belong to an owner: those it controls and selects. Others that it selects and nobody controls are
 * adopted; those it controls and no longer selects are released.
 * Source: k8s.io/kubernetes/pkg/controller/controller_ref_manager.go.
 */
export interface Claim<T> {
  claimed: T[];
  actions: Action[];
}

interface Child {
  metadata: ObjectMeta;
}

export interface ClaimOptions<T> {
  /** Which of the selected belong to the owner; the others are neither kept nor adopted. Default: all. */
  adoptable?: (child: T) => boolean;
  /** Put on what is adopted, taken off what is released. */
  finalizer?: string;
}

export function claimChildren<T extends Child>(
  cache: Cache,
  resource: GroupVersionResource,
  ownerResource: GroupVersionResource,
  owner: { metadata: ObjectMeta; spec?: { selector?: LabelSelector | undefined } | undefined },
  reference: OwnerReference,
  { adoptable = () => true, finalizer }: ClaimOptions<T> = {},
): Claim<T> {
  const claimed: T[] = [];
  const actions: Action[] = [];
  const ownerGoes = owner.metadata.deletionTimestamp !== undefined;
  const fits = (child: T): boolean => selectorMatches(owner.spec?.selector, child.metadata.labels) && adoptable(child);
  for (const child of cache.ownedBy<T>(resource, owner.metadata.uid)) {
    if (fits(child)) claimed.push(child);
    else if (!ownerGoes && !child.metadata.deletionTimestamp) {
      const ownerReferences = (child.metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner.metadata.uid);
      actions.push(ownersPatch(resource, child, ownerReferences, finalizer && child.metadata.finalizers?.includes(finalizer) ? child.metadata.finalizers.filter((other) => other !== finalizer) : undefined));
    }
  }
  const adoptions = ownerGoes
    ? []
    : cache
        .orphansIn<T>(resource, owner.metadata.namespace!)
        .filter((child) => !child.metadata.deletionTimestamp && fits(child))
        .map((child) => ownersPatch(resource, child, [...(child.metadata.ownerReferences ?? []), reference], finalizer && [...new Set([...(child.metadata.finalizers ?? []), finalizer])]));
  // A child adopted by an owner that is gone already would be garbage: the server is asked, not the cache.
  if (adoptions.length > 0) actions.push({ do: "ifPresent", resource: ownerResource, object: owner, actions: adoptions });
  return { claimed: claimed.sort(byName), actions };
}

/** Guarded by the child's revision: two owners that adopt at the same time must not both succeed. */
function ownersPatch(resource: GroupVersionResource, child: Child, ownerReferences: OwnerReference[], finalizers: string[] | "" | undefined): Action {
  const { uid, resourceVersion } = child.metadata;
  return { do: "patch", resource, object: child, patch: { metadata: { uid, resourceVersion, ownerReferences: ownerReferences.length > 0 ? ownerReferences : null, ...(finalizers && { finalizers: finalizers.length > 0 ? finalizers : null }) } } };
}

/** Caches come in no order that means anything; plans must not depend on it. */
export const byName = (a: Child, b: Child): number => (a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0);
