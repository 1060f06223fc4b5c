import { type Compiled, compose } from "../../../api/cel/composition.ts";
import { CostBudget, PER_REQUEST_LIMIT } from "../../../api/cel/program.ts";
import { forbiddenError, StatusError } from "../../../api/status.ts";
import type { ApiOptions } from "../../api.ts";
import type { AdmissionRequest, AdmissionStep } from "../../rest/context.ts";
import { activate, withVariables } from "./activation.ts";
import { Catalogue, type Hook } from "./catalogue.ts";
import { allHold, compileConditions } from "./conditions.ts";
import type { Validation, ValidatingBinding, ValidatingPolicy } from "./definitions.ts";
import { isExempt } from "./exempt.ts";
import { evaluate, ExpressionError, OutOfBudget } from "./expressions.ts";
import { matchOf, namespaceOf } from "./matching.ts";
import { collectParams, ConfigurationError, paramKindOf } from "./params.ts";

/**
 * ValidatingAdmissionPolicy and its bindings: a failed validation refuses, warns, or is left for the audit log.
 * Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/{dispatcher,validator}.go.
 */
const messageBytesMax = 5 * 1024;
const auditValueMax = 10 * 1024;
const codes: Record<string, number> = { Unauthorized: 401, Forbidden: 403, Invalid: 422, RequestEntityTooLarge: 413 };

interface Programs {
  readonly conditions: ReturnType<typeof compileConditions>;
  readonly variables: ReadonlyMap<string, Compiled>;
  readonly validations: readonly { validation: Validation; program: Compiled; message: Compiled | undefined }[];
  readonly annotations: readonly { key: string; expression: string; program: Compiled }[];
}
type PolicyHook = Hook<ValidatingPolicy, ValidatingBinding, Programs>;

function compile({ spec }: ValidatingPolicy): Programs {
  const composition = compose(spec.variables, spec.paramKind !== undefined);
  return {
    conditions: compileConditions(composition, spec.matchConditions),
    variables: composition.variables,
    validations: (spec.validations ?? []).map((validation) => ({ validation, program: composition.compile(validation.expression, { result: "bool" }), message: validation.messageExpression ? composition.compile(validation.messageExpression, { result: "string", without: "authorizer" }) : undefined })),
    annotations: (spec.auditAnnotations ?? []).map(({ key, valueExpression }) => ({ key, expression: valueExpression, program: composition.compile(valueExpression.trim(), { result: "any" }) })),
  };
}

/** What one evaluation says of one validation. */
interface Denial {
  readonly index: number;
  readonly message: string;
  readonly reason: string;
}
interface Verdict {
  readonly denials: readonly Denial[];
  readonly annotations: readonly { key: string; value: string }[];
  /** Refuse whatever the binding's actions are. */
  readonly errors: readonly string[];
}

export function validatingPolicies({ store, registry }: Pick<ApiOptions, "store" | "registry">): AdmissionStep {
  const catalogue = new Catalogue<ValidatingPolicy, ValidatingBinding, Programs>(store, "validatingadmissionpolicies", compile);
  return {
    name: "ValidatingAdmissionPolicy",
    validate(request) {
      const hooks = catalogue.hooks();
      if (hooks.length === 0 || isExempt(request.kind)) return;
      const refusals = hooks.flatMap((hook) => judge({ store, registry }, hook, request));
      if (refusals.length > 0) throw refusals[0];
    },
  };
}

/** The refusals of one policy. */
function judge({ store, registry }: Pick<ApiOptions, "store" | "registry">, { policy, compiled, bindings }: PolicyHook, request: AdmissionRequest): StatusError[] {
  const { spec, metadata } = policy;
  const kind = matchOf(store, registry, spec.matchConstraints ?? {}, request);
  if (!kind) return [];
  const refusals: StatusError[] = [];
  const failed = (error: unknown, binding?: ValidatingBinding): void => {
    if (!(error instanceof ConfigurationError)) throw error;
    if (spec.failurePolicy !== "Ignore") refusals.push(refusal(request, metadata.name, binding?.metadata.name, `failed to configure ${binding ? "binding" : "policy"}: ${error.message}`, "Invalid"));
  };
  if (spec.paramKind) {
    try {
      paramKindOf(registry, spec.paramKind);
    } catch (error) {
      failed(error);
      return refusals;
    }
  }
  const annotations = new Map<string, Set<string>>();
  let activation: Record<string, unknown> | undefined;
  for (const binding of bindings) {
    if (binding.spec.matchResources && !matchOf(store, registry, binding.spec.matchResources, request)) continue;
    try {
      for (const params of collectParams(store, registry, spec.paramKind, binding.spec.paramRef, request.namespace)) {
        activation ??= activate(store, request, kind, namespaceOf(store, request));
        const verdict = evaluatePolicy(policy, compiled, activation, params);
        refusals.push(...follow(verdict, policy, binding, request));
        for (const { key, value } of verdict.annotations) annotations.set(key, (annotations.get(key) ?? new Set()).add(value));
      }
    } catch (error) {
      failed(error, binding);
    }
  }
  for (const [key, values] of annotations) (request.annotations ??= {})[`${metadata.name}/${key}`] = [...values].join(", ");
  return refusals;
}

function evaluatePolicy(policy: ValidatingPolicy, compiled: Programs, activation: Record<string, unknown>, params: Awaited<ReturnType<typeof collectParams>>[number]): Verdict {
  const { failurePolicy } = policy.spec;
  const budget = new CostBudget(PER_REQUEST_LIMIT);
  const variables = withVariables(activation, params, compiled.variables, budget);
  const denials: Denial[] = [];
  const errors: string[] = [];
  const annotations: { key: string; value: string }[] = [];
  const failed = (index: number, error: unknown): void => {
    if (!(error instanceof ExpressionError) && !(error instanceof OutOfBudget)) throw error;
    if (failurePolicy !== "Ignore") denials.push({ index, message: error.message, reason: "Invalid" });
  };
  try {
    if (!allHold(compiled.conditions, variables, budget)) return { denials, annotations, errors };
  } catch (error) {
    failed(0, error);
    return { denials, annotations, errors };
  }
  for (const [index, { validation, program, message }] of compiled.validations.entries()) {
    try {
      if (evaluate(program, validation.expression, variables, budget) !== true) denials.push({ index, message: messageOf(validation, message, variables, budget), reason: validation.reason ?? "Invalid" });
    } catch (error) {
      failed(index, error);
      if (error instanceof OutOfBudget) return { denials: denials.slice(-1), annotations, errors };
    }
  }
  for (const { key, expression, program } of compiled.annotations) {
    try {
      const value = evaluate(program, expression, variables, budget);
      if (value !== null && typeof value !== "string") errors.push(`valueExpression '${expression}' resulted in unsupported return type: ${typeof value}. Return type must be either string or null.`);
      else if (value?.trim()) annotations.push({ key, value: value.trim().slice(0, auditValueMax) });
    } catch (error) {
      if (!(error instanceof ExpressionError) && !(error instanceof OutOfBudget)) throw error;
      if (failurePolicy !== "Ignore") errors.push(error.message);
    }
  }
  return { denials, annotations, errors };
}

/** What messageExpression says, if it says one short line; else the message; else the expression. */
function messageOf(validation: Validation, program: Compiled | undefined, variables: Record<string, unknown>, budget: CostBudget): string {
  let message = "";
  if (program) {
    try {
      const said = evaluate(program, validation.messageExpression!, variables, budget);
      if (typeof said === "string") message = said.trim();
    } catch (error) {
      if (error instanceof OutOfBudget) throw new ExpressionError(`failed messageExpression: ${error.message}`);
      if (!(error instanceof ExpressionError)) throw error;
    }
    if (Buffer.byteLength(message) > messageBytesMax || message.includes("\n")) message = "";
  }
  return message || validation.message?.trim() || `failed expression: ${validation.expression.trim()}`;
}

/** Does what the binding says is to be done. */
function follow({ denials, errors }: Verdict, { metadata }: ValidatingPolicy, binding: ValidatingBinding, request: AdmissionRequest): StatusError[] {
  const refusals: StatusError[] = [];
  const actions = binding.spec.validationActions ?? [];
  for (const { index, message, reason } of denials) {
    for (const action of actions) {
      if (action === "Deny") refusals.push(refusal(request, metadata.name, binding.metadata.name, message, reason));
      else if (action === "Warn") request.warnings.push(`Validation failed for ValidatingAdmissionPolicy '${metadata.name}' with binding '${binding.metadata.name}': ${message}`);
      // What was noted first stays, as upstream.
      else (request.annotations ??= {})["validation.policy.admission.k8s.io/validation_failure"] ??= JSON.stringify([{ message, policy: metadata.name, binding: binding.metadata.name, expressionIndex: index, validationActions: actions }]);
    }
  }
  return [...refusals, ...errors.map((message) => refusal(request, metadata.name, binding.metadata.name, message, "Invalid"))];
}

function refusal({ kind, name, object }: AdmissionRequest, policy: string, binding: string | undefined, why: string, reason: string): StatusError {
  const message = `ValidatingAdmissionPolicy '${policy}' ${binding === undefined ? "" : `with binding '${binding}' `}denied request: ${why}`;
  const { message: text, details } = forbiddenError(kind, name || object?.metadata?.name || object?.metadata?.generateName || "", message);
  return new StatusError(codes[reason] ?? 422, reason, text, { ...details, causes: [{ message }] });
}
