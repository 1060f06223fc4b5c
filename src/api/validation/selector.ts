import { type FieldError, forbidden, invalid, required } from "../field.ts";
import { checked, each } from "./checks.ts";
import { labelValue, qualifiedName } from "./names.ts";
import { validateLabels } from "./metadata.ts";

/** A metav1.LabelSelector: how workloads, budgets and policies choose pods. */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** Source: k8s.io/apimachinery/pkg/apis/meta/v1/validation. */
export function validateLabelSelector(selector: LabelSelector | null | undefined, path: string): FieldError[] {
  if (!selector) return [];
  return [
    ...validateLabels(selector.matchLabels, `${path}.matchLabels`),
    ...each(`${path}.matchExpressions`, selector.matchExpressions, (expression, at) => {
      const errors: FieldError[] = [];
      const given = (expression.values ?? []).length > 0;
      if (expression.operator === "In" || expression.operator === "NotIn") {
        if (!given) errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      } else if (expression.operator === "Exists" || expression.operator === "DoesNotExist") {
        if (given) errors.push(forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      } else errors.push(invalid(`${at}.operator`, expression.operator ?? "", "not a valid selector operator"));
      errors.push(...checked(`${at}.key`, expression.key ?? "", qualifiedName));
      errors.push(...each(`${at}.values`, expression.values, (value, valueAt) => checked(valueAt, value, labelValue)));
      return errors;
    }),
  ];
}

export const isEmptySelector = (selector: LabelSelector | null | undefined): boolean =>
  Object.keys(selector?.matchLabels ?? {}).length + (selector?.matchExpressions ?? []).length === 0;

/** Nothing matches an absent selector, everything an empty one. The selector was validated before. */
export function selectorMatches(selector: LabelSelector | null | undefined, labels: Record<string, string> | null | undefined): boolean {
  if (!selector) return false;
  const has = (key: string): boolean => Object.hasOwn(labels ?? {}, key);
  return (
    Object.entries(selector.matchLabels ?? {}).every(([key, value]) => has(key) && labels![key] === value) &&
    (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
      switch (operator) {
        case "In":
          return has(key) && values.includes(labels![key]!);
        case "NotIn":
          return !has(key) || !values.includes(labels![key]!);
        case "Exists":
          return has(key);
        case "DoesNotExist":
          return !has(key);
        default:
          return false;
      }
    })
  );
}

/** `app=web,tier in (a,b),!old`: as columns and Scale's status write a selector; keys in order. */
export function formatSelector(selector: LabelSelector | null | undefined): string {
  const terms = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => ({ key, text: `${key}=${value}` }));
  for (const { key, operator, values = [] } of selector?.matchExpressions ?? []) {
    const list = `(${[...values].sort().join(",")})`;
    const text = operator === "In" ? `${key} in ${list}` : operator === "NotIn" ? `${key} notin ${list}` : operator === "Exists" ? key : `!${key}`;
    terms.push({ key, text });
  }
  return terms.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).map(({ text }) => text).join(",");
}
