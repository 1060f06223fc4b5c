import { isObject } from "../../base/is-object.ts";
import { childrenOf, type Fields, isEmpty } from "./fields.ts";
import { fieldElement } from "./path-element.ts";
import { deduce, type Shape, untyped } from "./shape.ts";

/**
 * The value without the fields of a set. What nothing is left of becomes null; the value is not changed.
 * Source: sigs.k8s.io/structured-merge-diff/v6/typed/remove.go.
 */
export function removeFields(shape: Shape, value: unknown, set: Fields): unknown {
  const as = deduce(shape, value);
  if (as === "scalar") return value;
  if (as.atomic) return null;
  if ("keys" in as) {
    if (!Array.isArray(value)) return null;
    const items: unknown[] = [];
    for (const item of value) {
      const node = set[as.elementOf(item)];
      if (node === undefined) items.push(item);
      else if (!isMember(node)) items.push(removeFields(as.items, item, node));
    }
    return items.length > 0 ? items : null;
  }
  if (!isObject(value)) return null;
  const map: Record<string, unknown> = { ...value };
  for (const name of Object.keys(value)) {
    const node = set[fieldElement(name)];
    if (node === undefined) continue;
    if (isMember(node)) delete map[name];
    else map[name] = removeFields(as.at(name) ?? untyped, value[name], node);
  }
  return Object.keys(map).length > 0 ? map : null;
}

/**
 * Of the value, the fields of a set and nothing else: what a manager applied.
 * Source: as above, with shouldExtract; k8s.io/apimachinery/pkg/util/managedfields/extract.go.
 */
export function extractFields(shape: Shape, value: unknown, set: Fields): unknown {
  const as = deduce(shape, value);
  if (as === "scalar" || as.atomic) return value;
  if ("keys" in as) {
    if (!Array.isArray(value)) return null;
    const items = value.flatMap((item) => {
      const node = set[as.elementOf(item)];
      return node === undefined ? [] : [extractFields(as.items, item, childrenOf(node))];
    });
    return items.length > 0 ? items : null;
  }
  if (!isObject(value)) return null;
  const map: Record<string, unknown> = {};
  for (const name of Object.keys(value)) {
    const node = set[fieldElement(name)];
    if (node !== undefined) map[name] = extractFields(as.at(name) ?? untyped, value[name], childrenOf(node));
  }
  return Object.keys(map).length > 0 ? map : null;
}

const isMember = (node: Fields): boolean => node["."] !== undefined || isEmpty(node);
