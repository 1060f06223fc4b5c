import { compose } from "../../../api/cel/composition.ts";
import { CostBudget } from "../../../api/cel/program.ts";
import type { Kind } from "../../../api/kind.ts";
import { forbiddenError } from "../../../api/status.ts";
import type { Store } from "../../../store/store.ts";
import type { AdmissionRequest } from "../../rest/context.ts";
import { activate } from "../policies/activation.ts";
import { allHold, compileConditions } from "../policies/conditions.ts";
import { ExpressionError, OutOfBudget } from "../policies/expressions.ts";
import type { Hook } from "./configurations.ts";

// Of all match conditions of one webhook together. Source: k8s.io/apiserver/pkg/apis/cel/config.go.
const budgetMax = 2_500_000;

/** Whether all match conditions hold of the objects, seen in the version of `kind`. Throws the StatusError of a request that they cannot judge. */
export type ConditionEvaluator = (hook: Hook, request: AdmissionRequest, kind: Kind) => boolean;

/**
 * Conditions that cannot be evaluated count as the failure policy says. Compiled when first asked, kept while the
 * configuration stays. Source: k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go.
 */
export function createConditionEvaluator(store: Store): ConditionEvaluator {
  const compiled = new WeakMap<Hook, ReturnType<typeof compileConditions>>();
  return (hook, request, kind) => {
    let conditions = compiled.get(hook);
    if (!conditions) compiled.set(hook, (conditions = compileConditions(compose(undefined, false), hook.matchConditions)));
    try {
      return allHold(conditions, activate(store, request, kind, undefined), new CostBudget(budgetMax));
    } catch (error) {
      if (!(error instanceof ExpressionError) && !(error instanceof OutOfBudget)) throw error;
      if (hook.failurePolicy === "Ignore") return false;
      throw forbiddenError(request.kind, request.name || request.object?.metadata.name || "", error.message);
    }
  };
}
