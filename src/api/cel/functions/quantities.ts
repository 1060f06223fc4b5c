import { addQuantity, compareQuantity, parseQuantity, type Quantity, QuantityError, subtractQuantity } from "../../quantity.ts";
import { CelEvaluationError } from "../errors.ts";
import { Opaque } from "../values.ts";
import { declare } from "./declare.ts";

/** Source: k8s.io/apiserver/pkg/cel/library/quantity.go. */
class QuantityValue extends Opaque {
  readonly typeName = "kubernetes.Quantity";
  readonly quantity: Quantity;
  constructor(quantity: Quantity) {
    super();
    this.quantity = quantity;
  }
  override equals(other: unknown): boolean {
    return other instanceof QuantityValue && compareQuantity(this.quantity, other.quantity) === 0;
  }
}

function parse(text: string): QuantityValue {
  try {
    return new QuantityValue(parseQuantity(text));
  } catch (error) {
    if (error instanceof QuantityError) throw new CelEvaluationError(error.message);
    throw error;
  }
}
const isQuantity = (text: string): boolean => {
  try {
    parse(text);
    return true;
  } catch (error) {
    if (error instanceof CelEvaluationError) return false;
    throw error;
  }
};

const int64Max = (1n << 63n) - 1n;
/** The value as an int64, when it is one. */
function integerOf({ quantity: { amount, exponent } }: QuantityValue): bigint | undefined {
  const divisor = 10n ** BigInt(-exponent);
  if (amount % divisor !== 0n) return undefined;
  const whole = amount / divisor;
  return whole > int64Max || whole < -int64Max - 1n ? undefined : whole;
}
const whole = (value: bigint): QuantityValue => new QuantityValue({ amount: value, exponent: 0, format: "DecimalSI" });

// `sign(q)`, not `q.sign()`: so it is declared upstream, whatever its documentation says.
export const quantities = declare([
  ["quantity", "(string): kubernetes.Quantity", ([text]) => parse(text)],
  ["isQuantity", "(string): bool", ([text]) => isQuantity(text)],
  ["sign", "(kubernetes.Quantity): int", ([value]) => BigInt(value.quantity.amount === 0n ? 0 : value.quantity.amount < 0n ? -1 : 1)],
  ["isInteger", "kubernetes.Quantity.(): bool", ([value]) => integerOf(value) !== undefined],
  ["asInteger", "kubernetes.Quantity.(): int", ([value]) => {
    const integer = integerOf(value);
    if (integer === undefined) throw new CelEvaluationError("cannot convert value to integer");
    return integer;
  }],
  ["asApproximateFloat", "kubernetes.Quantity.(): double", ([value]) => Number(`${value.quantity.amount}e${value.quantity.exponent}`)],
  ["isGreaterThan", "kubernetes.Quantity.(kubernetes.Quantity): bool", ([a, b]) => compareQuantity(a.quantity, b.quantity) > 0],
  ["isLessThan", "kubernetes.Quantity.(kubernetes.Quantity): bool", ([a, b]) => compareQuantity(a.quantity, b.quantity) < 0],
  ["compareTo", "kubernetes.Quantity.(kubernetes.Quantity): int", ([a, b]) => BigInt(Math.sign(compareQuantity(a.quantity, b.quantity)))],
  ["add", "kubernetes.Quantity.(kubernetes.Quantity): kubernetes.Quantity", ([a, b]) => new QuantityValue(addQuantity(a.quantity, b.quantity))],
  ["add", "kubernetes.Quantity.(int): kubernetes.Quantity", ([a, b]) => new QuantityValue(addQuantity(a.quantity, whole(b).quantity))],
  ["sub", "kubernetes.Quantity.(kubernetes.Quantity): kubernetes.Quantity", ([a, b]) => new QuantityValue(subtractQuantity(a.quantity, b.quantity))],
  ["sub", "kubernetes.Quantity.(int): kubernetes.Quantity", ([a, b]) => new QuantityValue(subtractQuantity(a.quantity, whole(b).quantity))],
]);
