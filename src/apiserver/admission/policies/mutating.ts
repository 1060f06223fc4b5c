import { type Compiled, compose } from "../../../api/cel/composition.ts";
import { misnamed, structsOfMutations } from "../../../api/cel/mutation-types.ts";
import { CostBudget, PER_REQUEST_LIMIT } from "../../../api/cel/program.ts";
import { CelMap } from "../../../api/cel/values.ts";
import { toJson } from "../../../api/cel/to-json.ts";
import { ListElementError } from "../../../api/apply/shape.ts";
import { mergeValues } from "../../../api/apply/merge.ts";
import { validateConfig } from "../../../api/apply/validate.ts";
import type { Kind } from "../../../api/kind.ts";
import { apiVersionOf, type KubeObject } from "../../../api/meta.ts";
import { applyJsonPatch } from "../../../api/patch/json.ts";
import { forbiddenError, StatusError } from "../../../api/status.ts";
import { semanticEqual } from "../../../api/validation/checks.ts";
import type { ApiOptions } from "../../api.ts";
import type { AdmissionRequest, AdmissionStep } from "../../rest/context.ts";
import { decode } from "../../rest/decode.ts";
import { shapeOfKind } from "../../rest/managed-fields.ts";
import { converted, inVersion } from "../webhooks/convert.ts";
import { replaceContent } from "../webhooks/dispatch.ts";
import { activate, withVariables } from "./activation.ts";
import { atomicsIn } from "./atomics.ts";
import { Catalogue, type Hook } from "./catalogue.ts";
import { allHold, compileConditions } from "./conditions.ts";
import type { Binding, MutatingPolicy, Mutation } from "./definitions.ts";
import { isExempt } from "./exempt.ts";
import { evaluateRaw, ExpressionError, OutOfBudget } from "./expressions.ts";
import { matchOf, namespaceOf } from "./matching.ts";
import { collectParams, ConfigurationError, paramKindOf } from "./params.ts";

/**
 * MutatingAdmissionPolicy and its bindings: expressions say which fields an object shall have, or how to patch it.
 * Source: k8s.io/apiserver/pkg/admission/plugin/policy/mutating/dispatcher.go and policy/generic/policy_dispatcher.go.
 */
interface Programs {
  readonly conditions: ReturnType<typeof compileConditions>;
  readonly variables: ReadonlyMap<string, Compiled>;
  readonly mutations: readonly { type: Mutation["patchType"]; expression: string; program: Compiled }[];
}
type PolicyHook = Hook<MutatingPolicy, Binding, Programs>;
type Options = Pick<ApiOptions, "store" | "registry">;

function compile({ spec }: MutatingPolicy): Programs {
  const composition = compose(spec.variables, spec.paramKind !== undefined, structsOfMutations);
  return {
    conditions: compileConditions(composition, spec.matchConditions),
    variables: composition.variables,
    mutations: (spec.mutations ?? []).map(({ patchType, applyConfiguration, jsonPatch }) => {
      const { expression } = (patchType === "JSONPatch" ? jsonPatch : applyConfiguration) ?? { expression: "" };
      return { type: patchType, expression, program: composition.compile(expression, { result: "any" }) };
    }),
  };
}

/** A policy that one binding sets to work with one parameter. */
interface Invocation {
  readonly id: string;
  readonly hook: PolicyHook;
  readonly binding: Binding;
  readonly kind: Kind;
  readonly params: KubeObject | null;
}
interface Failure {
  readonly policy: MutatingPolicy;
  readonly binding: Binding | undefined;
  readonly message: string;
}
/** What one request's two rounds know of each other. */
interface Rounds {
  reinvocable: Set<string>;
  wanted: Set<string>;
  output: unknown;
}

export function mutatingPolicies(options: Options): AdmissionStep {
  const catalogue = new Catalogue<MutatingPolicy, Binding, Programs>(options.store, "mutatingadmissionpolicies", compile);
  const rounds = new WeakMap<AdmissionRequest, Rounds>();
  return {
    name: "MutatingAdmissionPolicy",
    mutate(request) {
      const hooks = catalogue.hooks();
      if (hooks.length === 0 || isExempt(request.kind) || !request.object) return;
      let state = rounds.get(request);
      if (!state) rounds.set(request, (state = { reinvocable: new Set(), wanted: new Set(), output: undefined }));
      const failures: Failure[] = [];
      const invocations = hooks.flatMap((hook) => invocationsOf(options, hook, request, failures));
      run(options, invocations, request, state, failures);
      const refused = failures.filter(({ policy }) => policy.spec.failurePolicy !== "Ignore");
      if (refused.length > 0) throw refusal(request, refused);
    },
  };
}

function invocationsOf({ store, registry }: Options, hook: PolicyHook, request: AdmissionRequest, failures: Failure[]): Invocation[] {
  const { policy, bindings } = hook;
  const { spec, metadata } = policy;
  const kind = matchOf(store, registry, spec.matchConstraints ?? {}, request);
  if (!kind) return [];
  const failed = (error: unknown, binding?: Binding): [] => {
    if (!(error instanceof ConfigurationError)) throw error;
    failures.push({ policy, binding, message: `failed to configure ${binding ? "binding" : "policy"}: ${error.message}` });
    return [];
  };
  try {
    if (spec.paramKind) paramKindOf(registry, spec.paramKind);
  } catch (error) {
    return failed(error);
  }
  return bindings.flatMap((binding) => {
    if (binding.spec.matchResources && !matchOf(store, registry, binding.spec.matchResources, request)) return [];
    try {
      const params = collectParams(store, registry, spec.paramKind, binding.spec.paramRef, request.namespace);
      return params.map((each): Invocation => ({ id: JSON.stringify([metadata.name, binding.metadata.name, each?.metadata.namespace, each?.metadata.name]), hook, binding, kind, params: each }));
    } catch (error) {
      return failed(error, binding);
    }
  });
}

function run({ store }: Options, invocations: readonly Invocation[], request: AdmissionRequest, state: Rounds, failures: Failure[]): void {
  const wantAgain = (): void => {
    for (const id of state.reinvocable) state.wanted.add(id);
    state.reinvocable.clear();
  };
  // Other steps of the second round have changed what the policies had seen.
  if (request.round === 1 && !semanticEqual(state.output, request.object)) wantAgain();
  for (const { id, hook, binding, kind, params } of invocations) {
    const { policy, compiled } = hook;
    const budget = new CostBudget(PER_REQUEST_LIMIT);
    const seen = (): Record<string, unknown> => withVariables(activate(store, request, kind, namespaceOf(store, request)), params, compiled.variables, budget);
    try {
      if (!allHold(compiled.conditions, seen(), budget)) continue;
      if (request.round === 1 && !state.wanted.has(id)) continue;
      let changed = false;
      // Each sees what those before it have changed.
      for (const mutation of compiled.mutations) changed = change(mutation, request, kind, seen(), budget) || changed;
      if (changed) {
        wantAgain();
        request.reinvoke = true;
      }
      if (policy.spec.reinvocationPolicy === "IfNeeded") state.reinvocable.add(id);
    } catch (error) {
      if (!(error instanceof ExpressionError) && !(error instanceof OutOfBudget)) throw error;
      failures.push({ policy, binding, message: error.message });
    }
  }
  state.output = JSON.parse(JSON.stringify(request.object));
}

/** Puts what the mutation says on the request's object, in place. Gives whether anything changed. @throws ExpressionError, OutOfBudget */
function change({ type, expression, program }: Programs["mutations"][number], request: AdmissionRequest, as: Kind, activation: Record<string, unknown>, budget: CostBudget): boolean {
  const object = request.object!;
  const value = evaluateRaw(program, expression, activation, budget);
  const before = JSON.parse(JSON.stringify(object)) as KubeObject;
  const shown = inVersion(request, before, as)!;
  const after = type === "JSONPatch" ? patched(shown, value) : merged(shown, value, as);
  if (!after) return false;
  const decoded = request.objectKind ? after : converted(decode(as, after, { fieldValidation: "Ignore", warnings: [] }, false), as, request.kind);
  // Ownership is the server's to write: policies set fields, and own none.
  if (before.metadata?.managedFields && decoded.metadata) decoded.metadata.managedFields = before.metadata.managedFields;
  replaceContent(object, decoded);
  if (!request.objectKind) request.kind.defaults?.(object);
  return !semanticEqual(before, object);
}

function patched(object: KubeObject, value: unknown): KubeObject | undefined {
  if (!Array.isArray(value)) throw new ExpressionError("type mismatch: JSONPatchType.expression should evaluate to array");
  for (const operation of value) {
    // An object of any place: its own name says which.
    const put: unknown = operation.get("value");
    const wrong = misnamed(put, put instanceof CelMap ? put.typeName : undefined);
    if (wrong !== undefined) throw new ExpressionError(`type mismatch: ${wrong}`);
  }
  const operations = toJson(value) as { op: string; path: string; value?: unknown }[];
  try {
    return applyJsonPatch(object as unknown as Record<string, unknown>, operations) as KubeObject;
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    // A test that fails means: not this object.
    const why = error.cause instanceof Error ? error.cause.message : error.message;
    if (why.startsWith("testing value ")) return undefined;
    throw new ExpressionError(`JSONPath: ${why}`);
  }
}

function merged(object: KubeObject, value: unknown, kind: Kind): KubeObject {
  const wrong = misnamed(value);
  if (wrong !== undefined) throw new ExpressionError(`type mismatch: ${wrong}`);
  const configuration = { ...(toJson(value) as object), apiVersion: apiVersionOf(kind.group, kind.version), kind: kind.kind };
  const shape = shapeOfKind(kind);
  const errors = validateConfig(shape, configuration);
  if (errors.length > 0) throw new ExpressionError(`error applying patch: failed to convert patch object to typed object: ${errors.join("\n")}`);
  const atomics = atomicsIn(shape, configuration);
  if (atomics.length > 0) throw new ExpressionError(`error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: ${atomics.join(", ")}`);
  try {
    return mergeValues(shape, object, configuration) as KubeObject;
  } catch (error) {
    if (error instanceof ListElementError) throw new ExpressionError(`error applying patch: failed to merge patch: ${error.message}`);
    throw error;
  }
}

function refusal({ kind, name, object }: AdmissionRequest, failures: readonly Failure[]): StatusError {
  const messages = failures.map(({ policy, binding, message }) => `policy '${policy.metadata.name}' ${binding ? `with binding '${binding.metadata.name}' ` : ""}denied request: ${message}`);
  const { details } = forbiddenError(kind, name || object?.metadata?.generateName || "", "");
  return new StatusError(422, "Invalid", messages[0]!, { ...details, causes: messages.map((message) => ({ message })) });
}
