import { isObject } from "../../base/is-object.ts";
import { childrenOf, type Fields, isEmpty, nodeOf, noFields } from "./fields.ts";
import { fieldElement, type PathElement } from "./path-element.ts";
import { grouped } from "./compare.ts";
import { deduce, type Shape, untyped } from "./shape.ts";

/**
 * The fields that a configuration states: its leaves, the keys of its maps and the elements of its lists.
 * Source: sigs.k8s.io/structured-merge-diff/v6/typed/tofieldset.go.
 */
export function fieldSetOf(shape: Shape, value: unknown): Fields {
  return childrenOf(stated(shape, value));
}

/** The tree that stands for the value in the set around it; undefined when there is nothing to own. */
function stated(shape: Shape, value: unknown): Fields | undefined {
  const as = deduce(shape, value);
  if (as === "scalar" || as.atomic) return noFields;
  const children: Record<PathElement, Fields> = {};
  if ("keys" in as) {
    if (!Array.isArray(value)) return undefined;
    for (const [element, items] of grouped(as, value)) children[element] = items.length > 1 ? noFields : nodeOf(true, childrenOf(stated(as.items, items[0])))!;
    return nodeOf(false, children);
  }
  if (!isObject(value)) return undefined;
  for (const name of Object.keys(value)) {
    const item = value[name];
    if (item === undefined) continue;
    const inner = stated(as.at(name) ?? untyped, item);
    const itself = item === null || (isObject(item) && Object.keys(item).length === 0) || !as.fields.has(name);
    const node = itself ? nodeOf(true, inner === undefined ? noFields : childrenOf(inner)) : inner;
    if (node) children[fieldElement(name)] = node;
  }
  return nodeOf(false, children);
}

/** The set with every named field that something lies below as a member of its own; keys of maps stay as they are. */
export function withNamedFields(set: Fields, shape: Shape | undefined): Fields {
  const result: Record<PathElement, Fields> = {};
  for (const element in set) {
    const node = set[element]!;
    if (element === "." || isEmpty(node)) {
      result[element] = node;
      continue;
    }
    const name = element.slice(2);
    const below = element[0] === "f" ? shape?.map?.at(name) : element[0] === "k" ? shape?.list?.items : undefined;
    const named = element[0] === "f" && (shape?.map?.fields.has(name) ?? false);
    result[element] = nodeOf(named || node["."] !== undefined, withNamedFields(childrenOf(node), below))!;
  }
  return result;
}
