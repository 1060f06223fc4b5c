import { listOf, mapOf, opaque, optionalOf, param, type Type, typeOf, types } from "../types.ts";
import { CelMap, Duration, Opaque, Optional, Timestamp, TypeValue, Uint } from "../values.ts";

/** What a function may use of the evaluation that calls it. */
export interface Frame {
  /** Elements made that the cost does not count: bounds memory. @throws CelBudgetError */
  work(elements: number): void;
}

export interface Overload {
  readonly name: string;
  readonly member: boolean;
  /** A member's receiver comes first. */
  readonly params: readonly Type[];
  readonly result: Type;
  /** Throws CelEvaluationError. */
  readonly call: (args: readonly any[], frame: Frame) => unknown;
}

/** `["sum", "list<int>.(): int", implementation]`: the receiver, if any, before the dot. */
export type Declaration = readonly [name: string, signature: string, call: Overload["call"]];

export const declare = (declarations: readonly Declaration[]): Overload[] =>
  declarations.map(([name, signature, call]) => {
    const match = /^(?:(.+)\.)?\((.*)\): (.+)$/.exec(signature)!;
    const receiver = match[1] === undefined ? [] : [readType(match[1])];
    return { name, member: match[1] !== undefined, params: [...receiver, ...splitTypes(match[2]!).map(readType)], result: readType(match[3]!), call };
  });

function splitTypes(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at <= text.length; at++) {
    const character = text[at];
    if (character === "<") depth++;
    else if (character === ">") depth--;
    else if ((character === "," || character === undefined) && depth === 0) {
      const part = text.slice(start, at).trim();
      if (part) parts.push(part);
      start = at + 1;
    }
  }
  return parts;
}

/** "list<T>", "map<string, dyn>", "kubernetes.Quantity". */
function readType(text: string): Type {
  const inner = /^(\w+)<(.*)>$/.exec(text);
  if (inner) {
    const [first, second] = splitTypes(inner[2]!).map(readType) as [Type, Type];
    return inner[1] === "map" ? mapOf(first, second) : { list: listOf, optional: optionalOf, type: typeOf }[inner[1] as "list"](first);
  }
  if (/^[A-Z]$/.test(text)) return param(text);
  return (types as Record<string, Type>)[text] ?? opaque(text);
}

/** Whether a value is of the type, as deep as overloads differ. */
export function accepts(type: Type, value: unknown): boolean {
  switch (type.kind) {
    case "bool":
      return typeof value === "boolean";
    case "int":
      return typeof value === "bigint";
    case "double":
      return typeof value === "number";
    case "string":
      return typeof value === "string";
    case "uint":
      return value instanceof Uint;
    case "bytes":
      return value instanceof Uint8Array;
    case "null":
      return value === null;
    case "timestamp":
      return value instanceof Timestamp;
    case "duration":
      return value instanceof Duration;
    case "list":
      return Array.isArray(value) && (value.length === 0 || accepts(type.params![0]!, value[0]));
    case "map":
    case "object":
      return value instanceof CelMap;
    case "optional":
      return value instanceof Optional;
    case "type":
      return value instanceof TypeValue;
    case "opaque":
      return value instanceof Opaque && value.typeName === type.name;
    default:
      return true;
  }
}
