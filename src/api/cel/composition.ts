import { policyVariables, variablesType } from "./policy-variables.ts";
import { type CelProgram, CelCompileError, type CelType, compileCel, type CompileOptions } from "./program.ts";
import type { Type } from "./types.ts";

/** An expression that could not be compiled says so whenever it is asked: policies outlive the kinds they were checked with. */
export type Compiled = CelProgram | CelCompileError;

export interface ExpressionOptions {
  result: CompileOptions["result"];
  /** What `Name{…}` may make. */
  structs?: CompileOptions["structs"];
  /** Match conditions see no variables, messages no authorizer. */
  without?: "variables" | "authorizer";
}

/** The expressions of one policy, compiled with its variables. */
export interface Composition {
  compile(expression: string, options: ExpressionOptions): Compiled;
  /** Each variable may name those before it. */
  readonly variables: ReadonlyMap<string, Compiled>;
}

/**
 * @param types what is known of object, oldObject and params; nothing at admission
 * Source: k8s.io/apiserver/pkg/admission/plugin/cel/composition.go.
 */
export function compose(variables: readonly { name: string; expression: string }[] | undefined, hasParams: boolean, structs?: CompileOptions["structs"], types: { object?: CelType; params?: CelType } = {}): Composition {
  const compiled = new Map<string, Compiled>();
  const known = new Map<string, Type>();
  const compile: Composition["compile"] = (expression, { result, without, ...rest }) => {
    const environment = policyVariables(hasParams, without === "variables" ? undefined : variablesType(known), types.object, types.params);
    if (without === "authorizer") environment.types = environment.types["variables"] ? { variables: environment.types["variables"] } : {};
    const roots = ["object", "oldObject", "params"].filter((name) => typeof environment.variables[name] === "object");
    const able = rest.structs ?? structs;
    try {
      return compileCel(expression, { ...environment, roots, result, ...(able && { structs: able }) });
    } catch (error) {
      if (error instanceof CelCompileError) return error;
      throw error;
    }
  };
  for (const { name, expression } of variables ?? []) {
    const program = compile(expression, { result: "any" });
    compiled.set(name, program);
    known.set(name, program instanceof Error ? { kind: "dyn" } : program.type);
  }
  return { compile, variables: compiled };
}
