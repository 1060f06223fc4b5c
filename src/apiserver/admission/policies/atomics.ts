import { deduce, type Shape } from "../../../api/apply/shape.ts";
import { isObject } from "../../../base/is-object.ts";

/**
 * Paths of what a configuration would replace as a whole (".spec.selector"): who means to set one field of it would
 * remove the others. Source: k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch/smd.go.
 */
export function atomicsIn(shape: Shape, value: unknown, path = ""): string[] {
  const as = deduce(shape, value);
  if (as === "scalar") return [];
  const found = as.atomic ? [path] : [];
  if ("keys" in as) return Array.isArray(value) ? [...found, ...value.flatMap((item, index) => atomicsIn(as.items, item, `${path}[${index}]`))] : [];
  if (!isObject(value)) return [];
  // Only of named fields: what lies in a map of anything is nobody's structure.
  return [...found, ...Object.keys(value).flatMap((name) => (as.fields.has(name) ? atomicsIn(as.at(name)!, value[name], `${path}.${name}`) : []))];
}
