import { type FieldError, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { each } from "../../validation/checks.ts";
import { ageOf, integer, name, text } from "../columns.ts";
import { bindingColumns, blank, defaultMatch, expressionErrors, validateBindingSpec, validatePolicySpec } from "./policies.ts";
import { lazyModule } from "../../../base/lazy.ts";

const celTypes = lazyModule<typeof import("../../cel/types.ts")>(import.meta.url, "../../cel/types.ts");
const mutations = lazyModule<typeof import("../../cel/mutation-types.ts")>(import.meta.url, "../../cel/mutation-types.ts");

const compositions = lazyModule<typeof import("../../cel/composition.ts")>(import.meta.url, "../../cel/composition.ts");

/** Policies that change writes. Source: k8s.io/kubernetes/pkg/apis/admissionregistration/{v1beta1/defaults.go,validation}. */
type Draft = any;

const patchTypes = { ApplyConfiguration: "applyConfiguration", JSONPatch: "jsonPatch" } as const;
const operations = ["*", "CONNECT", "CREATE", "UPDATE"];

function validatePolicy({ spec }: KubeObject): FieldError[] {
  const composition = compositions().compose(spec.variables, spec.paramKind !== undefined, mutations().structsOfMutations);
  const errors = validatePolicySpec(spec, composition);
  errors.push(
    ...each("spec.matchConstraints.resourceRules", spec.matchConstraints?.resourceRules, (rule: Draft, at) =>
      each(`${at}.operations`, rule.operations, (operation: string, operationAt) => (operation === "DELETE" ? [notSupported(operationAt, operation, operations)] : [])),
    ),
  );
  if ((spec.mutations ?? []).length === 0) errors.push(required("spec.mutations", "mutations must contain at least one item"));
  errors.push(
    ...each("spec.mutations", spec.mutations, (mutation: Draft, at) => {
      const type = mutation.patchType as keyof typeof patchTypes | undefined;
      if (!type) return [required(`${at}.patchType`)];
      if (!Object.hasOwn(patchTypes, type)) return [notSupported(`${at}.patchType`, type, Object.keys(patchTypes))];
      const found: FieldError[] = [];
      for (const [other, field] of Object.entries(patchTypes)) {
        if (other !== type && mutation[field]) found.push(invalid(`${at}.${field}`, `{${field}}`, `must not be specified when patchType is ${type}`));
      }
      const body = mutation[patchTypes[type]];
      const path = `${at}.${patchTypes[type]}`;
      if (!body) return [...found, required(path, `must be specified when patchType is ${type}`)];
      if (blank(body.expression)) return [...found, required(`${path}.expression`, "expression is not specified")];
      return [...found, ...expressionErrors(`${path}.expression`, body.expression, composition.compile(body.expression, { result: "any" }), [celTypes().formatType(mutations().mutationResults[type])])];
    }),
  );
  if (!spec.reinvocationPolicy) errors.push(required("spec.reinvocationPolicy"));
  else if (!["Never", "IfNeeded"].includes(spec.reinvocationPolicy)) errors.push(notSupported("spec.reinvocationPolicy", spec.reinvocationPolicy, ["IfNeeded", "Never"]));
  return errors;
}

export const mutatingAdmissionPolicy: Strategy = {
  conditionalUpdate: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.failurePolicy ??= "Fail";
    spec.reinvocationPolicy ??= "Never";
    defaultMatch(spec.matchConstraints);
  },
  validate: validatePolicy,
  columns: [name, integer("Mutations", ({ spec }) => (spec?.mutations ?? []).length), text("ParamKind", ({ spec }) => (spec?.paramKind ? `${spec.paramKind.apiVersion}/${spec.paramKind.kind}` : ""), "<unset>"), ageOf],
};

export const mutatingAdmissionPolicyBinding: Strategy = {
  conditionalUpdate: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    defaultMatch(spec.matchResources);
    if (spec.paramRef) spec.paramRef.parameterNotFoundAction ??= "Deny";
  },
  validate: ({ spec }) => validateBindingSpec(spec),
  columns: bindingColumns,
};
