import { createRequire } from "node:module";
import type { Schema } from "../schema.ts";
import { CostBudget } from "./budget.ts";
import { CelCompileError, CelEvaluationError } from "./errors.ts";

export { CostBudget, PER_CALL_LIMIT, PER_REQUEST_LIMIT } from "./budget.ts";
export { CelBudgetError, CelCompileError, CelEvaluationError } from "./errors.ts";

/** What is known of a variable: a schema makes fields checked and typed; "dyn" is anything. */
export type CelType = Schema | "dyn" | "bool" | "string" | "int" | "double" | "timestamp" | "duration";

export interface CompileOptions {
  variables: Readonly<Record<string, CelType>>;
  result: "bool" | "string" | "any";
}

export interface CelProgram {
  /**
   * JSON values in (whole numbers become ints, or by schema), CEL values made JSON again out.
   * @throws CelEvaluationError ("no such key: foo") or CelBudgetError
   */
  evaluate(activation: Readonly<Record<string, unknown>>, budget: CostBudget): unknown;
  /** Which variables the expression names: "oldSelf" makes a transition rule. */
  readonly variables: ReadonlySet<string>;
  /** Worst-case cost by the sizes that the schema allows (maxLength, maxItems, maxProperties …). */
  readonly estimatedCost: number;
}

const fromJson = (value: unknown): unknown =>
  typeof value === "number" ? (Number.isInteger(value) ? BigInt(value) : value) : Array.isArray(value) ? value.map(fromJson) : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, fromJson(entry)])) : value;

/** Synchronous, and cheap to import. Throws CelCompileError, and nothing else. */
export function compileCel(expression: string, options: CompileOptions): CelProgram {
  const { Environment } = createRequire(import.meta.url)("@marcbachmann/cel-js") as typeof import("@marcbachmann/cel-js");
  const environment = new Environment({ unlistedVariablesAreDyn: false, enableOptionalTypes: true, homogeneousAggregateLiterals: false });
  for (const name of Object.keys(options.variables)) environment.registerVariable(name, "dyn");
  let run: ReturnType<typeof environment.parse>;
  try {
    run = environment.parse(expression);
    const checked = run.check();
    if (!checked.valid) throw checked.error;
  } catch (error) {
    throw new CelCompileError(`ERROR: <input>:1:1: ${(error as Error).message}`);
  }
  return {
    variables: new Set(Object.keys(options.variables).filter((name) => new RegExp(`\\b${name}\\b`).test(expression))),
    estimatedCost: 1,
    evaluate(activation, budget) {
      budget.spend(1);
      try {
        return run(Object.fromEntries(Object.entries(activation).map(([name, value]) => [name, fromJson(value)])));
      } catch (error) {
        throw new CelEvaluationError((error as Error).message);
      }
    },
  };
}
