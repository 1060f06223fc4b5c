import type { Compiled } from "../../../api/cel/composition.ts";
import { CelBudgetError, CelEvaluationError, type CostBudget } from "../../../api/cel/program.ts";
import { CelMap } from "../../../api/cel/values.ts";

/** What went wrong with one expression, in upstream's words. */
export class ExpressionError extends Error {}
/** Nothing more is evaluated for this binding. */
export class OutOfBudget extends Error {
  constructor() {
    super("validation failed due to running out of cost budget, no further validation rules will be run");
  }
}

/** @throws ExpressionError, OutOfBudget */
export const evaluate = (program: Compiled, expression: string, activation: Readonly<Record<string, unknown>>, budget: CostBudget): unknown => evaluateRaw(program, expression, activation, budget, true);

/** The value as the expression has it, or as JSON. @throws ExpressionError, OutOfBudget */
export function evaluateRaw(program: Compiled, expression: string, activation: Readonly<Record<string, unknown>>, budget: CostBudget, json = false): unknown {
  if (program instanceof Error) throw new ExpressionError(`compilation error: compilation failed: ${program.message}`);
  try {
    return json ? program.evaluate(activation, budget) : program.evaluateRaw(activation, budget);
  } catch (error) {
    if (budget.remaining < 0) throw new OutOfBudget();
    throw new ExpressionError(`expression '${expression}' resulted in error: ${(error as Error).message}`);
  }
}

/** `variables.name`: evaluated when first asked, once for a request. */
export class LazyVariables extends CelMap {
  override readonly typeName = "kubernetes.variables";
  readonly #compiled: ReadonlyMap<string, Compiled>;
  readonly #activation: () => Readonly<Record<string, unknown>>;
  readonly #budget: CostBudget;
  readonly #values = new Map<string, unknown>();

  constructor(compiled: ReadonlyMap<string, Compiled>, activation: () => Readonly<Record<string, unknown>>, budget: CostBudget) {
    super();
    this.#compiled = compiled;
    this.#activation = activation;
    this.#budget = budget;
  }
  get size(): number {
    return this.#compiled.size;
  }
  keys(): Iterable<unknown> {
    return this.#compiled.keys();
  }
  override has(key: unknown): boolean {
    return this.#compiled.has(key as string);
  }
  get(key: unknown): unknown {
    const name = key as string;
    const program = this.#compiled.get(name);
    if (!program) return undefined;
    if (!this.#values.has(name)) this.#values.set(name, this.#evaluate(name, program));
    return this.#values.get(name);
  }
  #evaluate(name: string, program: Compiled): unknown {
    if (program instanceof Error) throw new CelEvaluationError(`composited variable ${JSON.stringify(name)} fails to compile: compilation failed: ${program.message}`);
    try {
      return program.evaluateRaw(this.#activation(), this.#budget);
    } catch (error) {
      if (error instanceof CelEvaluationError || (error instanceof CelBudgetError && this.#budget.remaining >= 0)) throw new CelEvaluationError(`composited variable ${JSON.stringify(name)} fails to evaluate: ${error.message}`);
      throw error;
    }
  }
}
