import type { Compiled, Composition } from "../../../api/cel/composition.ts";
import type { CostBudget } from "../../../api/cel/program.ts";
import type { NamedExpression } from "./definitions.ts";
import { evaluate, ExpressionError } from "./expressions.ts";

export const compileConditions = (composition: Composition, conditions: readonly NamedExpression[] | undefined): readonly (readonly [string, Compiled])[] => (conditions ?? []).map(({ expression }) => [expression, composition.compile(expression, { result: "bool", without: "variables" })]);

/**
 * Whether all hold. One that is false decides, whatever the others do.
 * Source: k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go.
 * @throws ExpressionError, OutOfBudget
 */
export function allHold(conditions: readonly (readonly [string, Compiled])[], activation: Readonly<Record<string, unknown>>, budget: CostBudget): boolean {
  const errors: string[] = [];
  for (const [expression, program] of conditions) {
    try {
      if (evaluate(program, expression, activation, budget) !== true) return false;
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      errors.push(error.message);
    }
  }
  if (errors.length > 0) throw new ExpressionError(errors.length === 1 ? errors[0]! : `[${errors.join(", ")}]`);
  return true;
}
