import type { Schema } from "../schema.ts";
import { Checker } from "./checker.ts";
import { CelCompileError, CelEvaluationError } from "./errors.ts";
import { estimate } from "./estimate.ts";
import { assemble, Evaluation, type Step } from "./evaluator.ts";
import { fromJson } from "./from-json.ts";
import { parse } from "./parser.ts";
import type { CelProgram, CelType, CompileOptions } from "./program.ts";
import { typeOfSchema } from "./schema-type.ts";
import { selects } from "./selects.ts";
import { toJson } from "./to-json.ts";
import { type Type, types } from "./types.ts";

const typeOfVariable = (type: CelType, root: boolean): Type => (typeof type === "string" ? types[type] : (typeOfSchema(type, root) ?? types.dyn));

/** See `compileCel` of program.ts, which loads this file when it is first called. */
export function compile(expression: string, options: CompileOptions): CelProgram {
  const { root, source } = parse(expression);
  const roots = new Set(options.roots);
  const variables = new Map(Object.entries(options.variables).map(([name, type]) => [name, typeOfVariable(type, roots.has(name))]));
  for (const [name, type] of Object.entries(options.types ?? {})) variables.set(name, type);
  const checker = new Checker(source, { variables, ...(options.structs && { structs: options.structs }) });
  const type = checker.check(root);
  source.throwProblems();
  let step: Step | undefined;
  const assembleOnce = (): Step => (step ??= assemble(root));
  try {
    // Conversions of literals are made now: one that can never succeed is a mistake of the text.
    assembleOnce();
  } catch (error) {
    if (error instanceof CelEvaluationError) throw new CelCompileError(`program instantiation failed: ${error.message}`);
    throw error;
  }
  if (options.result !== "any" && type.kind !== options.result) throw new CelCompileError(`must evaluate to ${options.result}`);
  let estimated: number | undefined;
  const schemaOf = (name: string): Schema | undefined => {
    const declared = options.variables[name];
    return typeof declared === "object" ? declared : undefined;
  };
  const program: CelProgram = {
    variables: checker.used,
    selects: (variable, field) => selects(root, variable, field),
    type,
    get estimatedCost() {
      return (estimated ??= estimate(root));
    },
    evaluate: (activation, budget) => toJson(program.evaluateRaw(activation, budget)),
    evaluateRaw(activation, budget) {
      const step = assembleOnce();
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
