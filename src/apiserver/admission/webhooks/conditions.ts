import { type CelProgram, compileCel, CostBudget } from "../../../api/cel/program.ts";
import type { AdmissionRequest } from "../../rest/context.ts";
import type { Hook } from "./configurations.ts";
import { type ConditionEvaluator, conditionError } from "./match.ts";
import { createReview } from "./review.ts";

// Of all match conditions of one webhook together. Source: k8s.io/apiserver/pkg/apis/cel/config.go.
const budgetMax = 2_500_000;

/**
 * Match conditions: all must hold. One that is false decides, whatever the others do; one that cannot be evaluated
 * counts as the failure policy says. Compiled when first asked, kept while the configuration stays.
 * Source: k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go.
 */
export function createConditionEvaluator(): ConditionEvaluator {
  const compiled = new WeakMap<Hook, (CelProgram | Error)[]>();
  return (hook, request, object, old) => {
    let programs = compiled.get(hook);
    if (!programs) compiled.set(hook, (programs = hook.matchConditions!.map(({ expression }) => tried(() => compileCel(expression, { variables: { object: "dyn", oldObject: "dyn", request: "dyn" }, result: "bool" })))));
    const activation = { object: object ?? null, oldObject: old ?? null, request: requestOf(request, hook) };
    const budget = new CostBudget(budgetMax);
    const errors: string[] = [];
    for (const program of programs) {
      const result = program instanceof Error ? program : tried(() => program.evaluate(activation, budget));
      if (result === false) return false;
      if (result instanceof Error) errors.push(result.message);
      else if (result !== true) errors.push("cel expression evaluation did not give a bool");
    }
    if (errors.length === 0) return true;
    if (hook.failurePolicy === "Ignore") return false;
    throw conditionError(request, errors.length === 1 ? errors[0]! : `[${errors.join(", ")}]`);
  };
}

function tried<T>(run: () => T): T | Error {
  try {
    return run();
  } catch (error) {
    return error as Error;
  }
}

/** As in the review, but for the objects, which are variables of their own. */
function requestOf(request: AdmissionRequest, hook: Hook): object {
  const { request: review } = createReview(request, request.kind, undefined, undefined, hook.admissionReviewVersions).body as { request: Record<string, unknown> };
  const { object: _, oldObject: __, uid: ___, ...rest } = review;
  return { name: "", namespace: "", subResource: "", requestSubResource: "", ...rest };
}
