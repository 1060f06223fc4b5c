import type { KubeObject } from "../../../api/meta.ts";
import type { labelSelectorOf } from "../../../api/selectors.ts";
import type { Rule } from "../webhooks/configurations.ts";

type LabelSelector = NonNullable<Parameters<typeof labelSelectorOf>[0]>;

/** The kinds of policies, as far as they decide. Source: k8s.io/api/admissionregistration/v1/types.go. */
export interface NamedRule extends Rule {
  resourceNames?: string[];
}
export interface MatchResources {
  namespaceSelector?: LabelSelector;
  objectSelector?: LabelSelector;
  resourceRules?: NamedRule[];
  excludeResourceRules?: NamedRule[];
  matchPolicy?: "Exact" | "Equivalent";
}
export interface NamedExpression {
  name: string;
  expression: string;
}
export interface ParamKind {
  apiVersion: string;
  kind: string;
}
interface PolicySpec {
  paramKind?: ParamKind;
  matchConstraints?: MatchResources;
  matchConditions?: NamedExpression[];
  variables?: NamedExpression[];
  failurePolicy?: "Fail" | "Ignore";
}
export interface Validation {
  expression: string;
  message?: string;
  messageExpression?: string;
  reason?: "Unauthorized" | "Forbidden" | "Invalid" | "RequestEntityTooLarge";
}
export interface Mutation {
  patchType: "ApplyConfiguration" | "JSONPatch";
  applyConfiguration?: { expression: string };
  jsonPatch?: { expression: string };
}
export interface ParamRef {
  name?: string;
  namespace?: string;
  selector?: LabelSelector;
  parameterNotFoundAction?: "Allow" | "Deny";
}
export interface Policy extends KubeObject {
  spec: PolicySpec;
}
export interface ValidatingPolicy extends Policy {
  spec: PolicySpec & { validations?: Validation[]; auditAnnotations?: { key: string; valueExpression: string }[] };
}
export interface MutatingPolicy extends Policy {
  spec: PolicySpec & { mutations?: Mutation[]; reinvocationPolicy?: "Never" | "IfNeeded" };
}
export interface Binding extends KubeObject {
  spec: { policyName: string; paramRef?: ParamRef; matchResources?: MatchResources };
}
export interface ValidatingBinding extends Binding {
  spec: Binding["spec"] & { validationActions?: ("Deny" | "Warn" | "Audit")[] };
}
