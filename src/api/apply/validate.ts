import { isObject } from "../../base/is-object.ts";
import { printElement } from "./path-element.ts";
import { deduce, ListElementError, type Shape } from "./shape.ts";

/**
 * What is wrong with a configuration by its schema, as upstream prints it: `.spec.replicas: expected numeric …`.
 * Empty when nothing is.
 * Source: sigs.k8s.io/structured-merge-diff/v6/typed/validate.go.
 */
export function validateConfig(shape: Shape, value: unknown, path = ""): string[] {
  const as = deduce(shape, value);
  if (value === null || value === undefined) return [];
  const at = (message: string) => [path === "" ? message : `${path}: ${message}`];
  if (as === "scalar") {
    const is = typeof value;
    switch (shape.scalar) {
      case "number":
        return is === "number" ? [] : at(`expected numeric (int or float), got ${goType(value)}`);
      case "string":
        return is === "string" ? [] : at(`expected string, got &value.valueUnstructured{Value:${goSyntax(value)}}`);
      case "boolean":
        return is === "boolean" ? [] : at(`expected boolean, got ${goValue(value)}`);
      default:
        return is === "object" ? at(`expected any scalar, got ${goValue(value)}`) : [];
    }
  }
  if ("keys" in as) {
    if (!Array.isArray(value)) return at(`expected list, got ${goValue(value)}`);
    const errors: string[] = [];
    const seen = new Set<string>();
    for (const [index, item] of value.entries()) {
      let element = `i:${index}`;
      if (!as.atomic) {
        try {
          element = as.elementOf(item);
        } catch (error) {
          if (!(error instanceof ListElementError)) throw error;
          return [...errors, ...at(`element ${index}: ${error.message}`)];
        }
        if (seen.has(element)) errors.push(...at(`duplicate entries for key ${printElement(element)}`));
        seen.add(element);
      }
      errors.push(...validateConfig(as.items, item, path + printElement(element)));
    }
    return errors;
  }
  if (!isObject(value)) return at(`expected map, got ${goValue(value)}`);
  const errors: string[] = [];
  for (const name of Object.keys(value)) {
    const below = as.at(name);
    if (below) errors.push(...validateConfig(below, value[name], `${path}.${name}`));
    else return [...errors, `${path}.${name}: field not declared in schema`];
  }
  return errors;
}

const goType = (value: unknown): string => (Array.isArray(value) ? "[]interface {}" : typeof value === "object" ? "map[string]interface {}" : typeof value === "boolean" ? "bool" : typeof value === "number" ? (Number.isInteger(value) ? "int64" : "float64") : "string");

/** As `%v` prints a value. */
function goValue(value: unknown): string {
  if (Array.isArray(value)) return `&{[${value.map(inner).join(" ")}]}`;
  if (isObject(value)) return `&{${inner(value)}}`;
  return `&{${String(value)}}`;
}
function inner(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inner).join(" ")}]`;
  if (isObject(value)) return `map[${Object.keys(value).sort().map((key) => `${key}:${inner(value[key])}`).join(" ")}]`;
  return value === null ? "<nil>" : String(value);
}

/** As `%#v` prints one. */
function goSyntax(value: unknown): string {
  if (Array.isArray(value)) return `[]interface {}{${value.map(goSyntax).join(", ")}}`;
  if (isObject(value)) return `map[string]interface {}{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${goSyntax(value[key])}`).join(", ")}}`;
  return value === null ? "interface {}(nil)" : typeof value === "string" ? JSON.stringify(value) : String(value);
}
