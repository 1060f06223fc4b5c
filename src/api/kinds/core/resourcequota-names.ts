import { type FieldError, invalid, required } from "../../field.ts";
import { checked } from "../../validation/checks.ts";
import { qualifiedName } from "../../validation/names.ts";
import type { QuotaSpec, ScopeRequirement } from "./resourcequota-usage.ts";

/** Which resources and scopes a quota or a limit may name. Source: k8s.io/kubernetes/pkg/apis/core/{helper,validation}. */
const compute = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const ofQuotas = new Set([...compute, "ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage", "requests.storage", "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "persistentvolumeclaims", "configmaps", "services.nodeports", "services.loadbalancers"]);
const ofContainers = new Set(["cpu", "memory", "ephemeral-storage"]);
const isHugePagesQuota = (name: string): boolean => name.startsWith("hugepages-") || name.startsWith("requests.hugepages-");
const isOfQuotas = (name: string): boolean => ofQuotas.has(name) || isHugePagesQuota(name);

function nameErrors(path: string, name: string): FieldError[] {
  const errors = checked(path, name, qualifiedName);
  if (errors.length > 0 || name.includes("/") || isOfQuotas(name) || name === "storage") return errors;
  return [invalid(path, name, "must be a standard resource type or fully qualified")];
}

export const quotaNameErrors = (path: string, name: string): FieldError[] => [...nameErrors(path, name), ...(name.includes("/") || isOfQuotas(name) ? [] : [invalid(path, name, "must be a standard resource for quota")])];

/** The name must still be one behind "requests.". Source: helper.IsExtendedResourceName. */
export const followsExtended = (name: string): boolean => name.includes("kubernetes.io/") || (!name.startsWith("requests.") && qualifiedName(`requests.${name}`).length === 0);

/** Of a LimitRange: what it limits decides which resources there are. */
export function limitNameErrors(path: string, type: string, name: string): FieldError[] {
  const errors = nameErrors(path, name);
  if (type !== "Pod" && type !== "Container") return errors;
  if (name.includes("/")) return followsExtended(name) ? errors : [...errors, invalid(path, name, "doesn't follow extended resource name standard")];
  if (ofContainers.has(name) || name.startsWith("hugepages-")) return errors;
  return [...errors, invalid(path, name, "must be a standard resource for containers")];
}

/** Resources that are only given out whole: what is asked for is what may be used. */
export const cannotOvercommit = (name: string): boolean => name.startsWith("hugepages-") || (name.includes("/") && !name.split("/")[0]!.endsWith("kubernetes.io"));

const podScope = new Set(["pods", ...compute]);
/** Scope → what it can choose of; other resources know no such scope. */
const scopes: Readonly<Record<string, ReadonlySet<string>>> = {
  Terminating: podScope,
  NotTerminating: podScope,
  BestEffort: new Set(["pods"]),
  NotBestEffort: podScope,
  PriorityClass: podScope,
  CrossNamespacePodAffinity: podScope,
  VolumeAttributesClass: new Set(["persistentvolumeclaims", "requests.storage"]),
};
const conflicting = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] as const;
const onlyExists = new Set(["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"]);

export function scopeErrors({ hard = {}, scopes: given = [], scopeSelector }: QuotaSpec): FieldError[] {
  const chosen = scopeSelector?.matchExpressions ?? [];
  const at = "spec.scopeSelector.matchExpressions";
  const resources = Object.keys(hard).sort();
  const unfitting = (scope: string) => resources.filter((name) => isOfQuotas(name) && scopes[scope] && !scopes[scope].has(name));
  const conflicts = (names: readonly string[]) => conflicting.filter(([one, other]) => names.includes(one) && names.includes(other));
  // What upstream prints of a selector is the struct of its own.
  const selector = () => ({ MatchExpressions: chosen.map(({ scopeName, operator, values }) => ({ ScopeName: scopeName, Operator: operator, Values: values ?? null })) });
  return [
    ...given.flatMap((scope) => [...(scopes[scope] ? [] : [invalid("spec.scopes", given, "unsupported scope")]), ...unfitting(scope).map(() => invalid("spec.scopes", given, "unsupported scope applied to resource"))]),
    ...conflicts(given).map(() => invalid("spec.scopes", given, "conflicting scopes")),
    ...chosen.flatMap((requirement) => [
      ...(scopes[requirement.scopeName] ? [] : [invalid(`${at}.scopeName`, requirement.scopeName, "unsupported scope")]),
      ...unfitting(requirement.scopeName).map(() => invalid(at, selector(), "unsupported scope applied to resource")),
      ...requirementErrors(at, requirement),
    ]),
    ...conflicts(chosen.map(({ scopeName }) => scopeName)).map(() => invalid(at, given.length > 0 ? given : undefined, "conflicting scopes")),
  ];
}

function requirementErrors(at: string, { scopeName, operator, values = [] }: ScopeRequirement): FieldError[] {
  const errors: FieldError[] = [];
  if (onlyExists.has(scopeName) && operator !== "Exists") {
    errors.push(invalid(`${at}.operator`, operator, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"));
  }
  if (operator === "In" || operator === "NotIn") {
    if (values.length === 0) errors.push(required(`${at}.values`, "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"));
  } else if (operator === "Exists" || operator === "DoesNotExist") {
    if (values.length > 0) errors.push(invalid(`${at}.values`, values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"));
  } else errors.push(invalid(`${at}.operator`, operator, "not a valid selector operator"));
  return errors;
}
