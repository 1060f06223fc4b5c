import { childrenOf, type Fields, isEmpty, nodeOf, noFields } from "./fields.ts";
import type { PathElement } from "./path-element.ts";
import type { Shape } from "./shape.ts";

/**
 * A set as it reads after a custom resource's schema has changed: of a list or map that became one field, whoever
 * owned a part owns the whole. Sets of atomic fields that became granular stay as they are.
 * Source: sigs.k8s.io/structured-merge-diff/v6/typed/reconcile_schema.go.
 */
export function reconciled(set: Fields, shape: Shape): Fields {
  let result: Record<PathElement, Fields> | undefined;
  for (const element in set) {
    const node = set[element]!;
    if (element === "." || isEmpty(node)) continue;
    const below = element[0] === "f" ? shape.map?.at(element.slice(2)) : shape.list?.items;
    if (!below || isUnknown(below)) continue;
    const atomic = below.map ? below.map.atomic : !below.scalar && below.list!.atomic;
    const next = atomic ? noFields : nodeOf(node["."] !== undefined, reconciled(childrenOf(node), below))!;
    if (next !== node) (result ??= { ...set })[element] = next;
  }
  return result ?? set;
}

/** Nothing is said of what lies in such a value, so nothing can have changed. */
const isUnknown = ({ map }: Shape): boolean => map !== undefined && map.fields.size === 0 && map.element?.scalar === "any";
