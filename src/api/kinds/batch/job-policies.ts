import { duplicate, type FieldError, invalid, notSupported, required, senseless, tooLong, tooMany } from "../../field.ts";
import { checked, each, notNegative } from "../../validation/checks.ts";
import { qualifiedName } from "../../validation/names.ts";

/** `podFailurePolicy` and `successPolicy`. Source: k8s.io/kubernetes/pkg/apis/batch/validation/validation.go. */
const rulesMax = 20;
const patternsMax = 20;
const exitCodesMax = 255;
const indexesTextMax = 64 * 1024;
const actions = ["Count", "FailIndex", "FailJob", "Ignore"];
const statuses = ["False", "True", "Unknown"];
const operators = ["In", "NotIn"];
const quoted = (values: readonly string[]): string => `valid values: [${values.map((value) => JSON.stringify(value)).join(" ")}]`;

export function validateFailurePolicy(path: string, spec: any): FieldError[] {
  if (!spec.podFailurePolicy) return [];
  const rules = spec.podFailurePolicy.rules ?? [];
  const names = new Set([...(spec.template?.spec?.containers ?? []), ...(spec.template?.spec?.initContainers ?? [])].map((container: any) => container.name));
  return [
    ...(rules.length > rulesMax ? [tooMany(`${path}.rules`, rules.length, rulesMax)] : []),
    ...each(`${path}.rules`, rules as any[], (rule, at) => {
      const errors: FieldError[] = [];
      if (!rule.action) errors.push(required(`${at}.action`, quoted(actions)));
      else if (rule.action === "FailIndex" && spec.backoffLimitPerIndex === undefined) errors.push(invalid(`${at}.action`, rule.action, "requires the backoffLimitPerIndex to be set"));
      else if (!actions.includes(rule.action)) errors.push(notSupported(`${at}.action`, rule.action, actions));
      const conditions = rule.onPodConditions ?? [];
      if (rule.onExitCodes) errors.push(...validateExitCodes(`${at}.onExitCodes`, rule.onExitCodes, names));
      if (conditions.length > patternsMax) errors.push(tooMany(`${at}.onPodConditions`, conditions.length, patternsMax));
      errors.push(
        ...each(`${at}.onPodConditions`, conditions as any[], (pattern, patternAt) => [
          ...checked(`${patternAt}.type`, pattern.type ?? "", qualifiedName),
          ...(statuses.includes(pattern.status) ? [] : [notSupported(`${patternAt}.status`, pattern.status, statuses)]),
        ]),
      );
      if (rule.onExitCodes && conditions.length > 0) errors.push(senseless(at, "specifying both OnExitCodes and OnPodConditions is not supported"));
      if (!rule.onExitCodes && conditions.length === 0) errors.push(senseless(at, "specifying one of OnExitCodes and OnPodConditions is required"));
      return errors;
    }),
  ];
}

function validateExitCodes(path: string, codes: any, names: ReadonlySet<string>): FieldError[] {
  const errors: FieldError[] = [];
  const values = (codes.values ?? []) as number[];
  if (!codes.operator) errors.push(required(`${path}.operator`, quoted(operators)));
  else if (!operators.includes(codes.operator)) errors.push(notSupported(`${path}.operator`, codes.operator, operators));
  if (codes.containerName !== undefined && !names.has(codes.containerName)) errors.push(invalid(`${path}.containerName`, codes.containerName, "must be one of the container or initContainer names in the pod template"));
  if (values.length === 0) errors.push(invalid(`${path}.values`, values, "at least one value is required"));
  else if (values.length > exitCodesMax) errors.push(tooMany(`${path}.values`, values.length, exitCodesMax));
  for (const [index, value] of values.entries()) {
    if (codes.operator === "In" && value === 0) errors.push(invalid(`${path}.values[${index}]`, value, "must not be 0 for the In operator"));
    if (values.indexOf(value) < index) errors.push(duplicate(`${path}.values[${index}]`, value));
  }
  if (values.some((value, index) => index > 0 && values[index - 1]! > value)) errors.push(invalid(`${path}.values`, values, "must be ordered"));
  return errors;
}

export function validateSuccessPolicy(path: string, spec: any): FieldError[] {
  if (!spec.successPolicy) return [];
  if (spec.completionMode !== "Indexed") return [invalid(path, spec.successPolicy, "requires indexed completion mode")];
  const rules = spec.successPolicy.rules ?? [];
  const completions: number = spec.completions ?? 0;
  const errors: FieldError[] = rules.length === 0 ? [required(`${path}.rules`, "at least one rules must be specified when the successPolicy is specified")] : [];
  if (rules.length > rulesMax) errors.push(tooMany(`${path}.rules`, rules.length, rulesMax));
  return [
    ...errors,
    ...each(`${path}.rules`, rules as any[], ({ succeededCount: count, succeededIndexes: text }, at) => {
      const wrong: FieldError[] = count === undefined && text === undefined ? [required(at, "at least one of succeededCount or succeededIndexes must be specified")] : [];
      let total = 0;
      if (text !== undefined) {
        if (Buffer.byteLength(text) > indexesTextMax) wrong.push(tooLong(`${at}.succeededIndexes`, indexesTextMax));
        const counted = countIndexes(text, completions);
        if (typeof counted === "string") wrong.push(invalid(`${at}.succeededIndexes`, text, `error parsing succeededIndexes: ${counted}`));
        else total = counted;
      }
      if (count === undefined) return wrong;
      wrong.push(...notNegative(`${at}.succeededCount`, count));
      if (count > completions) wrong.push(invalid(`${at}.succeededCount`, count, `must be less than or equal to ${completions} (the number of specified completions)`));
      if (text !== undefined && count > total) wrong.push(invalid(`${at}.succeededCount`, count, `must be less than or equal to ${total} (the number of indexes in the specified succeededIndexes field)`));
      return wrong;
    }),
  ];
}

/** How many indexes "0-2,5" names, or what is wrong with it. */
export function countIndexes(text: string, completions: number): number | string {
  let total = 0;
  let last = -1;
  for (const part of text === "" ? [] : text.split(",")) {
    const limits = part.split("-");
    if (limits.length > 2) return `the fragment ${JSON.stringify(part)} violates the requirement that an index interval can have at most two parts separated by '-'`;
    for (const limit of limits) {
      if (!/^\d+$/.test(limit)) return `cannot convert string to integer for index: ${JSON.stringify(limit)}`;
      if (Number(limit) >= completions) return `too large index: ${JSON.stringify(limit)}`;
    }
    const [first, end = first] = limits.map(Number) as [number, number?];
    if (limits.length === 2 && first >= end) return `non-increasing order, previous: ${first}, current: ${end}`;
    if (last >= first) return `non-increasing order, previous: ${last}, current: ${first}`;
    total += end - first + 1;
    last = end;
  }
  return total;
}
