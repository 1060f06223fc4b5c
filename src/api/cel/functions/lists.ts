import { CelEvaluationError } from "../errors.ts";
import { compare, Duration, equal } from "../values.ts";
import { type Declaration, declare } from "./declare.ts";
import { functionOf } from "./standard.ts";

/** Source: k8s.io/apiserver/pkg/cel/library/lists.go. */
const ordered = ["int", "uint", "double", "bool", "duration", "timestamp", "string", "bytes"];
const summed: Record<string, unknown> = { int: 0n, double: 0, duration: new Duration(0n) };

const extreme = (name: string, keep: (order: number) => boolean): Declaration["2"] => ([list]) => {
  if (list.length === 0) throw new CelEvaluationError(`${name} called on empty list`);
  return list.reduce((best: unknown, value: unknown) => (keep(orderOf(value, best)) ? value : best));
};
const orderOf = (a: unknown, b: unknown): number => {
  const order = compare(a, b);
  if (order === undefined) throw new CelEvaluationError("no such overload");
  return order;
};

/** A list of anything may hold what cannot be added to the rest. */
function alike(one: unknown, other: unknown): [unknown, unknown] {
  if ((Object(one) as object).constructor !== (Object(other) as object).constructor) throw new CelEvaluationError("no such overload");
  return [one, other];
}

export const lists = declare([
  ...ordered.flatMap((type): Declaration[] => [
    ["isSorted", `list<${type}>.(): bool`, ([list]) => list.every((value: unknown, at: number) => at === 0 || orderOf(list[at - 1], value) <= 0)],
    ["min", `list<${type}>.(): ${type}`, extreme("min", (order) => order < 0)],
    ["max", `list<${type}>.(): ${type}`, extreme("max", (order) => order > 0)],
  ]),
  ...["int", "uint", "double", "duration"].map((type): Declaration => {
    const add = functionOf("_+_", type);
    const zero = functionOf(type, "int");
    return ["sum", `list<${type}>.(): ${type}`, ([list], frame) => list.reduce((sum: unknown, value: unknown) => add(alike(sum, value), frame), summed[type] ?? zero([0n], frame))];
  }),
  ["indexOf", "list<T>.(T): int", ([list, value]) => BigInt(list.findIndex((element: unknown) => equal(element, value)))],
  ["lastIndexOf", "list<T>.(T): int", ([list, value]) => BigInt(list.findLastIndex((element: unknown) => equal(element, value)))],
  ["sets.contains", "(list<T>, list<T>): bool", ([list, part]) => part.every((value: unknown) => list.some((element: unknown) => equal(element, value)))],
  ["sets.intersects", "(list<T>, list<T>): bool", ([list, other]) => other.some((value: unknown) => list.some((element: unknown) => equal(element, value)))],
  ["sets.equivalent", "(list<T>, list<T>): bool", ([a, b]) => [[a, b], [b, a]].every(([list, other]) => list.every((value: unknown) => other.some((element: unknown) => equal(element, value))))],
]);
