import { lazyModule } from "../../base/lazy.ts";
import type { Schema } from "../schema.ts";
import type { CostBudget } from "./budget.ts";
import type { Type } from "./types.ts";

export { CostBudget, PER_CALL_LIMIT, PER_REQUEST_LIMIT } from "./budget.ts";
export { CelBudgetError, CelCompileError, CelEvaluationError } from "./errors.ts";

/** What is known of a variable: a schema makes fields checked and typed; "dyn" is anything. */
export type CelType = Schema | "dyn" | "bool" | "string" | "int" | "double" | "timestamp" | "duration";

export interface CompileOptions {
  variables: Readonly<Record<string, CelType>>;
  result: "bool" | "string" | "any";
  /** The variables whose schema is that of a whole resource: their kind, apiVersion and name are seen whatever it says. */
  roots?: readonly string[];
  /** Variables of types that no schema says, such as the authorizer. */
  types?: Readonly<Record<string, Type>>;
  /** What `Name{…}` may make. */
  structs?: (name: string) => Type | undefined;
}

export interface CelProgram {
  /**
   * JSON values in (whole numbers become ints, or by schema), CEL values made JSON again out. Spends from the budget
   * what it cost, also when it fails; stops by itself at PER_CALL_LIMIT.
   * @throws CelEvaluationError ("no such key: foo"), or CelBudgetError: "operation cancelled: actual cost limit
   * exceeded" of this call, "validation failed due to running out of cost budget, …" of the budget
   */
  evaluate(activation: Readonly<Record<string, unknown>>, budget: CostBudget): unknown;
  /** The same without making JSON of the result. */
  evaluateRaw(activation: Readonly<Record<string, unknown>>, budget: CostBudget): unknown;
  /** Which variables the expression names: "oldSelf" makes a transition rule. */
  readonly variables: ReadonlySet<string>;
  /** Whether the expression selects this field of this variable: `claims.email`. */
  selects(variable: string, field: string): boolean;
  /** The type of the result. */
  readonly type: Type;
  /** Worst-case cost by the sizes that the schema allows (maxLength, maxItems, maxProperties …); may be Infinity. */
  readonly estimatedCost: number;
}

const engine = lazyModule<typeof import("./engine.ts")>(import.meta.url, "./engine.ts");

/**
 * Synchronous, and cheap to import: parser, checker and libraries are loaded by the first call.
 * @throws CelCompileError, and nothing else; its message begins with "ERROR: <input>:" for what the expression says,
 * and is "must evaluate to bool" for one of another result
 */
export function compileCel(expression: string, options: CompileOptions): CelProgram {
  return engine().compile(expression, options);
}
