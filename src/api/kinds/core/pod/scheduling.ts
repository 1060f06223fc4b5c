import { duplicate, type FieldError, forbidden, invalid, notSupported, required } from "../../../field.ts";
import { checked, each } from "../../../validation/checks.ts";
import { dns1123Label, labelValue, nameIsDnsSubdomain, qualifiedName } from "../../../validation/names.ts";
import { validateLabelSelector } from "../../../validation/selector.ts";

// Shapes were proved by the schema; `any` stands for "as the schema says".
type Draft = any;

/**
 * What a pod says about where it may run: affinity, tolerations, spreading.
 * Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
 */
export function validateAffinity(path: string, affinity: Draft): FieldError[] {
  if (!affinity) return [];
  const errors: FieldError[] = [];
  const node = affinity.nodeAffinity;
  if (node) {
    const at = `${path}.nodeAffinity`;
    if (node.requiredDuringSchedulingIgnoredDuringExecution) errors.push(...validateNodeSelector(`${at}.requiredDuringSchedulingIgnoredDuringExecution`, node.requiredDuringSchedulingIgnoredDuringExecution));
    errors.push(
      ...each(`${at}.preferredDuringSchedulingIgnoredDuringExecution`, node.preferredDuringSchedulingIgnoredDuringExecution, (term, termAt) => [
        ...(term.weight >= 1 && term.weight <= 100 ? [] : [invalid(`${termAt}.weight`, term.weight, "must be in the range 1-100")]),
        ...validateNodeSelectorTerm(`${termAt}.preference`, term.preference ?? {}),
      ]),
    );
  }
  for (const sort of ["podAffinity", "podAntiAffinity"]) {
    const at = `${path}.${sort}`;
    errors.push(...each(`${at}.requiredDuringSchedulingIgnoredDuringExecution`, affinity[sort]?.requiredDuringSchedulingIgnoredDuringExecution, (term, termAt) => validatePodAffinityTerm(termAt, term)));
    errors.push(
      ...each(`${at}.preferredDuringSchedulingIgnoredDuringExecution`, affinity[sort]?.preferredDuringSchedulingIgnoredDuringExecution, (term, termAt) => [
        ...(term.weight >= 1 && term.weight <= 100 ? [] : [invalid(`${termAt}.weight`, term.weight, "must be in the range 1-100")]),
        ...validatePodAffinityTerm(`${termAt}.podAffinityTerm`, term.podAffinityTerm ?? {}),
      ]),
    );
  }
  return errors;
}

function validatePodAffinityTerm(path: string, term: Draft): FieldError[] {
  const errors = [...validateLabelSelector(term.labelSelector, `${path}.labelSelector`), ...validateLabelSelector(term.namespaceSelector, `${path}.namespaceSelector`)];
  errors.push(...each(`${path}.namespaces`, term.namespaces, (name: string, at) => checked(at, name, dns1123Label)));
  if (!term.topologyKey) errors.push(required(`${path}.topologyKey`, "can not be empty"));
  return [...errors, ...checked(`${path}.topologyKey`, term.topologyKey ?? "", qualifiedName)];
}

export function validateNodeSelector(path: string, selector: Draft): FieldError[] {
  const at = `${path}.nodeSelectorTerms`;
  if ((selector.nodeSelectorTerms ?? []).length === 0) return [required(at, "must have at least one node selector term")];
  return each(at, selector.nodeSelectorTerms, (term, termAt) => validateNodeSelectorTerm(termAt, term));
}

function validateNodeSelectorTerm(path: string, term: Draft): FieldError[] {
  return [
    ...each(`${path}.matchExpressions`, term.matchExpressions, (requirement, at) => {
      const errors: FieldError[] = [];
      const values: string[] = requirement.values ?? [];
      if (["In", "NotIn"].includes(requirement.operator)) {
        if (values.length === 0) errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      } else if (["Exists", "DoesNotExist"].includes(requirement.operator)) {
        if (values.length > 0) errors.push(forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      } else if (["Gt", "Lt"].includes(requirement.operator)) {
        if (values.length !== 1) errors.push(required(`${at}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
      } else errors.push(invalid(`${at}.operator`, requirement.operator ?? "", "not a valid selector operator"));
      errors.push(...checked(`${at}.key`, requirement.key ?? "", qualifiedName));
      return [...errors, ...each(`${at}.values`, values, (value, valueAt) => checked(valueAt, value, labelValue))];
    }),
    ...each(`${path}.matchFields`, term.matchFields, (requirement, at) => {
      const errors: FieldError[] = [];
      if (["In", "NotIn"].includes(requirement.operator)) {
        if ((requirement.values ?? []).length !== 1) errors.push(required(`${at}.values`, "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"));
      } else errors.push(invalid(`${at}.operator`, requirement.operator ?? "", "not a valid selector operator"));
      if (requirement.key !== "metadata.name") return [...errors, invalid(`${at}.key`, requirement.key ?? "", "not a valid field selector key")];
      return [...errors, ...each(`${at}.values`, requirement.values, (value: string, valueAt) => nameIsDnsSubdomain(value, false).map((text) => invalid(valueAt, value, text)))];
    }),
  ];
}

const effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/** Operators of a feature that is off; upstream names them where they are used. */
const comparing = ["Lt", "Gt"];

export function validateTolerations(path: string, tolerations: Draft[] | undefined): FieldError[] {
  return each(path, tolerations, (toleration, at) => {
    const { key = "", operator = "", value = "", effect = "" } = toleration;
    const errors = key === "" ? [] : checked(`${at}.key`, key, qualifiedName);
    if (key === "" && operator !== "Exists") errors.push(invalid(`${at}.operator`, operator, 'operator must be Exists when `key` is empty, which means "match all values and all keys"'));
    if (toleration.tolerationSeconds !== undefined && effect !== "NoExecute") errors.push(invalid(`${at}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
    if (operator === "Equal" || operator === "") {
      const wrong = labelValue(value);
      if (wrong.length > 0) errors.push(invalid(`${at}.operator`, value, wrong.join(";")));
    } else if (operator === "Exists") {
      if (value !== "") errors.push(invalid(`${at}.operator`, value, "value must be empty when `operator` is 'Exists'"));
    } else errors.push(notSupported(`${at}.operator`, operator, comparing.includes(operator) ? ["Equal", "Exists", ...comparing] : ["Equal", "Exists"]));
    if (effect !== "" && !effects.includes(effect)) errors.push(notSupported(`${at}.effect`, effect, effects));
    return errors;
  });
}

export function validateTaints(path: string, taints: Draft[] | undefined): FieldError[] {
  const seen = new Set<string>();
  return each(path, taints, (taint, at) => {
    const errors = checked(`${at}.key`, taint.key ?? "", qualifiedName);
    const wrong = labelValue(taint.value ?? "");
    if (wrong.length > 0) errors.push(invalid(`${at}.value`, taint.value, wrong.join(";")));
    if (!taint.effect) errors.push(required(`${at}.effect`));
    else if (!effects.includes(taint.effect)) errors.push(notSupported(`${at}.effect`, taint.effect, effects));
    const pair = `${taint.key} ${taint.effect}`;
    if (seen.has(pair)) {
      const error = duplicate(at, taint);
      errors.push({ ...error, body: `${error.body}: taints must be unique by key and effect pair` });
    }
    seen.add(pair);
    return errors;
  });
}

/** Labels of the pod itself whose values count: `matchLabelKeys` and `mismatchLabelKeys` beside a selector. */
function validateLabelKeys(path: string, { matchLabelKeys, mismatchLabelKeys, labelSelector }: Draft): FieldError[] {
  const errors = Object.entries({ matchLabelKeys, mismatchLabelKeys }).flatMap(([field, keys]) => {
    if ((keys ?? []).length === 0) return [];
    return labelSelector ? each(`${path}.${field}`, keys as string[], (key, at) => checked(at, key, qualifiedName)) : [forbidden(`${path}.${field}`, "must not be specified when labelSelector is not set")];
  });
  const selected = new Set(Object.keys(labelSelector?.matchLabels ?? {}));
  for (const { key } of (labelSelector?.matchExpressions ?? []) as { key: string }[]) {
    const index = ((matchLabelKeys ?? []) as string[]).lastIndexOf(key);
    if (index >= 0 && selected.has(key)) errors.push(invalid(`${path}[${index}]`, key, "exists in both matchLabelKeys and labelSelector"));
    selected.add(key);
  }
  return [...errors, ...each(`${path}.matchLabelKeys`, matchLabelKeys as string[], (key, at) => ((mismatchLabelKeys ?? []).includes(key) ? [invalid(at, key, "exists in both matchLabelKeys and mismatchLabelKeys")] : []))];
}

export function validateSpread(path: string, constraints: Draft[] | undefined): FieldError[] {
  return each(path, constraints, (constraint, at, index) => {
    const errors: FieldError[] = [];
    if (!(constraint.maxSkew > 0)) errors.push(invalid(`${at}.maxSkew`, constraint.maxSkew ?? 0, "must be greater than zero"));
    if (!constraint.topologyKey) errors.push(required(`${at}.topologyKey`, "can not be empty"));
    const actions = ["DoNotSchedule", "ScheduleAnyway"];
    if (!actions.includes(constraint.whenUnsatisfiable)) errors.push(notSupported(`${at}.whenUnsatisfiable`, constraint.whenUnsatisfiable ?? "", actions));
    const pairOf = ({ topologyKey = "", whenUnsatisfiable = "" }: Draft): string => `{${topologyKey}, ${whenUnsatisfiable}}`;
    const pair = pairOf(constraint);
    if (constraints!.slice(index + 1).some((other) => pairOf(other) === pair)) errors.push(duplicate(`${at}.{topologyKey, whenUnsatisfiable}`, pair));
    if (constraint.minDomains !== undefined) {
      if (constraint.minDomains <= 0) errors.push(invalid(`${at}.minDomains`, constraint.minDomains, "must be greater than zero"));
      if (constraint.whenUnsatisfiable !== "DoNotSchedule") {
        errors.push(invalid(`${at}.minDomains`, constraint.minDomains, `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${constraint.whenUnsatisfiable ?? ""}`));
      }
    }
    for (const field of ["nodeAffinityPolicy", "nodeTaintsPolicy"]) {
      if (constraint[field] !== undefined && !["Honor", "Ignore"].includes(constraint[field])) errors.push(notSupported(`${at}.${field}`, constraint[field], ["Honor", "Ignore"]));
    }
    errors.push(...validateLabelKeys(at, constraint));
    return [...errors, ...validateLabelSelector(constraint.labelSelector, `${at}.labelSelector`)];
  });
}
