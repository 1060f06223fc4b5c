import type { Schema } from "../schema.ts";
import type { CostBudget } from "./budget.ts";
import { Checker } from "./checker.ts";
import { CelCompileError, CelEvaluationError } from "./errors.ts";
import { estimate } from "./estimate.ts";
import { assemble, Evaluation, type Step } from "./evaluator.ts";
import { fromJson } from "./from-json.ts";
import { parse } from "./parser.ts";
import { typeOfSchema } from "./schema-type.ts";
import { toJson } from "./to-json.ts";
import { type Type, types } from "./types.ts";

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
  /** The type of the result. */
  readonly type: Type;
  /** Worst-case cost by the sizes that the schema allows (maxLength, maxItems, maxProperties …); may be Infinity. */
  readonly estimatedCost: number;
}

const typeOfVariable = (type: CelType, root: boolean): Type => (typeof type === "string" ? types[type] : (typeOfSchema(type, root) ?? types.dyn));

/**
 * Synchronous, and cheap to import: the engine of patterns alone is loaded, at the first pattern.
 * @throws CelCompileError, and nothing else; its message begins with "ERROR: <input>:" for what the expression says,
 * and is "must evaluate to bool" for one of another result
 */
export function compileCel(expression: string, options: CompileOptions): CelProgram {
  const { root, source } = parse(expression);
  const roots = new Set(options.roots);
  const variables = new Map(Object.entries(options.variables).map(([name, type]) => [name, typeOfVariable(type, roots.has(name))]));
  for (const [name, type] of Object.entries(options.types ?? {})) variables.set(name, type);
  const checker = new Checker(source, { variables, ...(options.structs && { structs: options.structs }) });
  const type = checker.check(root);
  source.throwProblems();
  if (options.result !== "any" && type.kind !== options.result) throw new CelCompileError(`must evaluate to ${options.result}`);
  let step: Step | undefined;
  let estimated: number | undefined;
  const schemaOf = (name: string): Schema | undefined => {
    const declared = options.variables[name];
    return typeof declared === "object" ? declared : undefined;
  };
  const program: CelProgram = {
    variables: checker.used,
    type,
    get estimatedCost() {
      return (estimated ??= estimate(root));
    },
    evaluate: (activation, budget) => toJson(program.evaluateRaw(activation, budget)),
    evaluateRaw(activation, budget) {
      step ??= assemble(root);
      const read = new Map<string, unknown>();
      const evaluation = new Evaluation((name) => {
        if (!read.has(name)) read.set(name, Object.hasOwn(activation, name) ? fromVariable(name, activation[name]) : undefined);
        return read.get(name);
      });
      const fromVariable = (name: string, value: unknown): unknown => {
        const declared = options.variables[name];
        if ((declared === "timestamp" || declared === "duration") && typeof value === "string") return fromJson(value, { type: "string", format: declared === "timestamp" ? "date-time" : "duration" });
        if (declared === "double" && typeof value === "number") return value;
        return fromJson(value, schemaOf(name), roots.has(name));
      };
      try {
        return step(evaluation);
      } catch (error) {
        throw evaluationError(error);
      } finally {
        budget.spend(evaluation.cost);
      }
    },
  };
  return program;
}

/** Text or lists that no memory holds are the expression's fault. */
function evaluationError(error: unknown): unknown {
  return error instanceof RangeError ? new CelEvaluationError(`value is too large: ${error.message}`) : error;
}
