import { CelEvaluationError } from "../errors.ts";
import { CelMap, Duration, isNumber, Optional, plainNumber, Timestamp } from "../values.ts";
import { declare } from "./declare.ts";

/** Source: cel-go's cel/library.go, OptionalTypes. */
const isZero = (value: unknown): boolean =>
  value === null ||
  value === false ||
  value === "" ||
  (isNumber(value) && Number(plainNumber(value)) === 0) ||
  ((Array.isArray(value) || value instanceof Uint8Array) && value.length === 0) ||
  (value instanceof CelMap && value.size === 0) ||
  ((value instanceof Duration || value instanceof Timestamp) && value.nanos === 0n);

export const optionals = declare([
  ["optional.of", "(T): optional<T>", ([value]) => new Optional(value)],
  ["optional.ofNonZeroValue", "(T): optional<T>", ([value]) => (isZero(value) ? Optional.none : new Optional(value))],
  ["optional.none", "(): optional<T>", () => Optional.none],
  ["hasValue", "optional<T>.(): bool", ([optional]) => optional.value !== undefined],
  ["value", "optional<T>.(): T", ([optional]) => {
    if (optional.value === undefined) throw new CelEvaluationError("optional.none() dereference");
    return optional.value;
  }],
  ["or", "optional<T>.(optional<T>): optional<T>", ([optional, other]) => (optional.value === undefined ? other : optional)],
  ["orValue", "optional<T>.(T): T", ([optional, other]) => (optional.value === undefined ? other : optional.value)],
]);
