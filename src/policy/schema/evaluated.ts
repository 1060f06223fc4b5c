import { isObject } from "../../base/is-object.ts";
import { memberReader, type Node, type Reading } from "./node.ts";
import type { Run } from "./run.ts";

/**
 * Which members or items a schema has looked at, itself or by those of the same value that hold: what `unevaluatedProperties`
 * and `unevaluatedItems` leave out. Asked for where these stand alone, so that all other schemas pay nothing for it.
 * Source: JSON Schema core 2020-12 §11. True: all of them.
 */
export function evaluatedNames(reading: Reading, value: Record<string, unknown>, run: Run): ReadonlySet<string> | true {
  const seen = new Set<string>();
  const own = (node: Node, isFirst: boolean): boolean => {
    if (typeof node.schema === "boolean") return false;
    const { schema } = node;
    if (schema["additionalProperties"] !== undefined || (!isFirst && schema["unevaluatedProperties"] !== undefined)) return true;
    if (isObject(schema["properties"])) for (const name of Object.keys(schema["properties"])) if (Object.hasOwn(value, name)) seen.add(name);
    for (const { pattern } of node.patterns) for (const name of Object.keys(value)) if (pattern.test(name)) seen.add(name);
    return false;
  };
  return visit(reading, reading.node, value, run, own, true) || seen;
}

export function evaluatedItems(reading: Reading, value: readonly unknown[], run: Run): ReadonlySet<number> | true {
  const seen = new Set<number>();
  const own = (node: Node, isFirst: boolean): boolean => {
    if (typeof node.schema === "boolean") return false;
    const { schema } = node;
    const isOld = Array.isArray(schema["items"]);
    if (schema[isOld ? "additionalItems" : "items"] !== undefined || (!isFirst && schema["unevaluatedItems"] !== undefined)) return true;
    const first = schema[isOld ? "items" : "prefixItems"];
    if (Array.isArray(first)) for (let i = 0; i < first.length; i++) seen.add(i);
    if (schema["contains"] !== undefined) {
      const { check } = reading.nodeOf(schema["contains"]);
      for (const [i, item] of value.entries()) if (run.tries(check, item)) seen.add(i);
    }
    return false;
  };
  return visit(reading, reading.node, value, run, own, true) || seen;
}

function visit(reading: Reading, node: Node, value: unknown, run: Run, own: (node: Node, isFirst: boolean) => boolean, isFirst: boolean): boolean {
  if (typeof node.schema === "boolean" || !run.step()) return false;
  if (own(node, isFirst)) return true;
  const { schema } = node;
  const into = (inner: Node): boolean => visit(reading, inner, value, run, own, false);
  const holds = (inner: Node): boolean => run.tries(inner.check, value);
  const ofList = (keyword: string): Node[] => (Array.isArray(schema[keyword]) ? schema[keyword].map((inner) => reading.nodeOf(inner)) : []);
  let isAll = false;
  if (schema["$ref"] !== undefined) isAll = into(reading.resolve(schema["$ref"])) || isAll;
  for (const inner of ofList("allOf")) isAll = into(inner) || isAll;
  for (const inner of [...ofList("anyOf"), ...ofList("oneOf")]) if (holds(inner)) isAll = into(inner) || isAll;
  if (schema["if"] !== undefined) {
    const condition = reading.nodeOf(schema["if"]);
    const isMet = holds(condition);
    if (isMet) isAll = into(condition) || isAll;
    const branch = schema[isMet ? "then" : "else"];
    if (branch !== undefined) isAll = into(reading.nodeOf(branch)) || isAll;
  }
  if (isObject(schema["dependentSchemas"]) && isObject(value)) {
    for (const [name, inner] of Object.entries(schema["dependentSchemas"])) if (memberReader(name)(value) !== undefined) isAll = into(reading.nodeOf(inner)) || isAll;
  }
  return isAll;
}
