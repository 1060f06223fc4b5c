import { listOf, type Type, types } from "./types.ts";
import { CelMap } from "./values.ts";

/**
 * What mutating expressions make: `Object{spec: Object.spec{replicas: 3}}`, the fields that an object shall have,
 * and `[JSONPatch{op: "add", path: "/a", value: 1}]`.
 * Source: k8s.io/apiserver/pkg/cel/mutation.
 */
const patchFields: Record<string, Type> = { op: types.string, path: types.string, from: types.string, value: types.dyn };
const jsonPatch: Type = { kind: "object", name: "JSONPatch", field: (name) => (Object.hasOwn(patchFields, name) ? patchFields[name] : undefined) };

export const structsOfMutations = (name: string): Type | undefined => (name === "JSONPatch" ? jsonPatch : name === "Object" || name.startsWith("Object.") ? { kind: "object", name } : undefined);

export const mutationResults = { ApplyConfiguration: structsOfMutations("Object")!, JSONPatch: listOf(jsonPatch) };

/** What says the wrong type at a field: `Object.spec{selector: Object.spec.template{}}`. Undefined: nothing. */
export function misnamed(value: unknown, expected = "Object"): string | undefined {
  if (Array.isArray(value)) {
    for (const element of value) {
      const wrong = misnamed(element, expected);
      if (wrong !== undefined) return wrong;
    }
  }
  if (!(value instanceof CelMap) || value.typeName === undefined) return undefined;
  if (value.typeName !== expected) return `unexpected type name ${JSON.stringify(value.typeName)}, expected ${JSON.stringify(expected)}, which matches field name path from root Object type`;
  for (const key of value.keys()) {
    const wrong = misnamed(value.get(key), `${expected}.${String(key)}`);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}
