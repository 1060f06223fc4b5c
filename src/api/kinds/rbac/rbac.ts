import { type FieldError, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { labelSelectorOf } from "../../selectors.ts";
import { each, semanticEqual } from "../../validation/checks.ts";
import { nameIsDnsSubdomain, nameIsPathSegment } from "../../validation/names.ts";
import { validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, createdAt, name, text, wide } from "../columns.ts";

/** Source of all: k8s.io/kubernetes/pkg/apis/rbac/{v1/defaults.go,validation/validation.go}. */
const group = "rbac.authorization.k8s.io";

function validateRules(path: string, rules: any[] | undefined, namespaced: boolean): FieldError[] {
  return each(path, rules, (rule, at) => {
    const some = (field: string): boolean => (rule[field] ?? []).length > 0;
    const errors: FieldError[] = some("verbs") ? [] : [required(`${at}.verbs`, "verbs must contain at least one value")];
    if (some("nonResourceURLs")) {
      if (namespaced) errors.push(invalid(`${at}.nonResourceURLs`, rule.nonResourceURLs, "namespaced rules cannot apply to non-resource URLs"));
      if (some("apiGroups") || some("resources") || some("resourceNames")) errors.push(invalid(`${at}.nonResourceURLs`, rule.nonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"));
      return errors;
    }
    if (!some("apiGroups")) errors.push(required(`${at}.apiGroups`, "resource rules must supply at least one api group"));
    if (!some("resources")) errors.push(required(`${at}.resources`, "resource rules must supply at least one resource"));
    return errors;
  });
}

const roleStrategy = (validate: (object: KubeObject) => FieldError[]): Strategy => ({
  createOnUpdate: true,
  validateName: nameIsPathSegment,
  validate,
  columns: [name, createdAt],
});

export const role = roleStrategy((object) => validateRules("rules", object.rules, true));

export const clusterRole = roleStrategy((object) => {
  const errors = validateRules("rules", object.rules, false);
  const selectors = object.aggregationRule?.clusterRoleSelectors;
  if (!object.aggregationRule) return errors;
  if ((selectors ?? []).length === 0) return [...errors, required("aggregationRule.clusterRoleSelectors", "at least one clusterRoleSelector required if aggregationRule is non-nil")];
  return [...errors, ...each("aggregationRule.clusterRoleSelectors", selectors, (selector, at) => [...validateLabelSelector(selector, at), ...(isSelector(selector) ? [] : [invalid(at, null, "invalid label selector.")])])];
});

/** Upstream tells twice of one that cannot be followed. */
function isSelector(selector: Parameters<typeof labelSelectorOf>[0]): boolean {
  try {
    labelSelectorOf(selector);
    return true;
  } catch {
    return false;
  }
}

function validateSubject(path: string, subject: any, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = subject.name ? [] : [required(`${path}.name`)];
  const apiGroup = subject.apiGroup ?? "";
  switch (subject.kind) {
    case "ServiceAccount":
      if (subject.name) errors.push(...nameIsDnsSubdomain(subject.name, false).map((text) => invalid(`${path}.name`, subject.name, text)));
      if (apiGroup !== "") errors.push(notSupported(`${path}.apiGroup`, apiGroup, [""]));
      if (!subject.namespace && !namespaced) errors.push(required(`${path}.namespace`));
      return errors;
    case "User":
    case "Group":
      return apiGroup === group ? errors : [...errors, notSupported(`${path}.apiGroup`, apiGroup, [group])];
    default:
      return [...errors, notSupported(`${path}.kind`, subject.kind ?? "", ["ServiceAccount", "User", "Group"])];
  }
}

function bindingStrategy(namespaced: boolean): Strategy {
  const kinds = namespaced ? ["Role", "ClusterRole"] : ["ClusterRole"];
  const validate = ({ roleRef, subjects }: KubeObject): FieldError[] => {
    const errors: FieldError[] = roleRef.apiGroup === group ? [] : [notSupported("roleRef.apiGroup", roleRef.apiGroup, [group])];
    if (!kinds.includes(roleRef.kind)) errors.push(notSupported("roleRef.kind", roleRef.kind ?? "", kinds));
    if (!roleRef.name) errors.push(required("roleRef.name"));
    else errors.push(...nameIsPathSegment(roleRef.name, false).map((text) => invalid("roleRef.name", roleRef.name, text)));
    return [...errors, ...each("subjects", subjects, (subject, at) => validateSubject(at, subject, namespaced))];
  };
  const named = (kind: string) => ({ subjects }: KubeObject): string =>
    (subjects ?? []).filter((subject: any) => subject.kind === kind).map((subject: any) => (kind === "ServiceAccount" ? `${subject.namespace ?? ""}/${subject.name}` : subject.name)).join(", ");
  return {
    createOnUpdate: true,
    validateName: nameIsPathSegment,
    defaults(object) {
      const reference = (object.roleRef ??= {});
      reference.apiGroup ||= group;
      for (const subject of object.subjects ?? []) if (subject.kind === "User" || subject.kind === "Group") subject.apiGroup ||= group;
    },
    validate,
    validateUpdate: (object, old) => (semanticEqual(object.roleRef, old.roleRef) ? [] : [invalid("roleRef", { APIGroup: object.roleRef.apiGroup, Kind: object.roleRef.kind, Name: object.roleRef.name }, "cannot change roleRef")]),
    columns: [
      name,
      text("Role", ({ roleRef }) => `${roleRef?.kind}/${roleRef?.name}`),
      ageOf,
      wide(text("Users", named("User"))),
      wide(text("Groups", named("Group"))),
      wide(text("ServiceAccounts", named("ServiceAccount"))),
    ],
  };
}
export const roleBinding = bindingStrategy(true);
export const clusterRoleBinding = bindingStrategy(false);
