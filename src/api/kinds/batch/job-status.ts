import { duplicate, type FieldError, invalid, required, senseless } from "../../field.ts";
import type { KubeObject } from "../../meta.ts";
import { each, notNegative, semanticEqual } from "../../validation/checks.ts";
import { countIndexes } from "./job-policies.ts";

export const conditionIs = ({ status }: KubeObject, type: string): boolean => (status?.conditions ?? []).some((condition: any) => condition.type === type && condition.status === "True");

/**
 * Which statuses of a Job make sense, and which may follow another. What a write does not change is not judged again, as the
 * spec may have moved since. Source: k8s.io/kubernetes/pkg/{apis/batch/validation,registry/batch/job}, validateJobStatus and
 * getStatusValidationOptions.
 */
export function validateJobStatus(object: KubeObject, old: KubeObject): FieldError[] {
  const { spec } = object;
  const status: any = object.status ?? {};
  const errors = ["active", "succeeded", "failed", "ready", "terminating"].flatMap((field) => notNegative(`status.${field}`, status[field]));
  errors.push(...validateUncounted(status.uncountedTerminatedPods));
  const is = (type: string): boolean => conditionIs(object, type);
  const turned = (...types: string[]): boolean => types.some((type) => is(type) !== conditionIs(old, type));
  const changed = (field: string): boolean => !semanticEqual(status[field], old.status?.[field]);
  const over = is("Complete") || is("Failed");
  const overTurned = over !== (conditionIs(old, "Complete") || conditionIs(old, "Failed"));
  const conditions = (wrong: boolean, text: string): void => void (wrong && errors.push(senseless("status.conditions", text)));
  conditions(turned("Complete", "Failed") && is("Complete") && is("Failed"), "cannot set Complete=True and Failed=true conditions");
  conditions(turned("Complete", "FailureTarget") && is("Complete") && is("FailureTarget"), "cannot set Complete=True and FailureTarget=true conditions");
  if (turned("Complete") || changed("completionTime")) {
    if (status.completionTime && !is("Complete")) errors.push(invalid("status.completionTime", status.completionTime, "cannot set completionTime when there is no Complete=True condition"));
    if (!status.completionTime && is("Complete")) errors.push(required("status.completionTime", "completionTime is required for Complete jobs"));
  }
  if ((changed("startTime") || changed("completionTime")) && status.startTime && status.completionTime < status.startTime) errors.push(invalid("status.completionTime", status.completionTime, "must be equal to or after `startTime`"));
  conditions((turned("Failed") || changed("failedIndexes")) && is("Failed") && !is("FailureTarget"), "cannot set Failed=True condition without the FailureTarget=true condition");
  conditions(turned("Complete", "SuccessCriteriaMet") && is("Complete") && !is("SuccessCriteriaMet"), "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
  if ((overTurned || changed("active")) && over && status.active > 0) errors.push(invalid("status.active", status.active, "active>0 is invalid for finished job"));
  if ((overTurned || changed("startTime")) && over && !status.startTime && !(spec.suspend === true && spec.completions === 0)) errors.push(required("status.startTime", "startTime is required for finished job"));
  const uncounted = status.uncountedTerminatedPods;
  if ((overTurned || changed("uncountedTerminatedPods")) && over && (uncounted?.succeeded ?? []).length + (uncounted?.failed ?? []).length > 0) errors.push(invalid("status.uncountedTerminatedPods", uncounted, "must be empty for finished job"));
  errors.push(...validateIndexes(object, old));
  if ((overTurned || changed("terminating")) && over && status.terminating > 0) errors.push(invalid("status.terminating", status.terminating, "terminating>0 is invalid for finished job"));
  if ((changed("ready") || changed("active")) && status.ready > (status.active ?? 0)) errors.push(invalid("status.ready", status.ready, "cannot set more ready pods than active"));
  conditions(is("SuccessCriteriaMet") && is("Failed"), "cannot set SuccessCriteriaMet=True and Failed=true conditions");
  conditions(is("SuccessCriteriaMet") && is("FailureTarget"), "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
  conditions(spec.successPolicy !== undefined && !is("SuccessCriteriaMet") && is("Complete"), "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
  return [...errors, ...validateStatusChange(object, old)];
}

/** Pods that ended and are not in the counters yet; each once. */
function validateUncounted(uncounted: any): FieldError[] {
  const seen = new Set<string>();
  return ["succeeded", "failed"].flatMap((list) =>
    each<string>(`status.uncountedTerminatedPods.${list}`, uncounted?.[list], (uid, at) => {
      if (uid === "") return [invalid(at, uid, "must not be empty")];
      if (seen.has(uid)) return [duplicate(at, uid)];
      seen.add(uid);
      return [];
    }),
  );
}

/** "1,3-5": what of an indexed job is done or has failed. Only what changes is checked. */
function validateIndexes({ spec, status }: KubeObject, old: KubeObject): FieldError[] {
  const { completedIndexes = "", failedIndexes } = status ?? {};
  const { completions } = spec;
  const errors: FieldError[] = [];
  const doneChanged = completedIndexes !== (old.status?.completedIndexes ?? "");
  const failedChanged = failedIndexes !== old.status?.failedIndexes;
  const wrong = (text: string): string => (completions === undefined ? "" : [countIndexes(text, completions)].filter((found) => typeof found === "string").join(""));
  const done = wrong(completedIndexes);
  const failed = wrong(failedIndexes ?? "");
  if (doneChanged && done !== "") errors.push(invalid("status.completedIndexes", completedIndexes, `error parsing completedIndexes: ${done}`));
  if (failedChanged && spec.backoffLimitPerIndex !== undefined && failed !== "") errors.push(invalid("status.failedIndexes", failedIndexes, `error parsing failedIndexes: ${failed}`));
  if (doneChanged && completedIndexes !== "" && spec.completionMode !== "Indexed") errors.push(invalid("status.completedIndexes", completedIndexes, "cannot set non-empty completedIndexes when non-indexed completion mode"));
  if (failedChanged && spec.backoffLimitPerIndex === undefined && failedIndexes !== undefined) errors.push(invalid("status.failedIndexes", failedIndexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null"));
  if ((doneChanged || failedChanged) && completions !== undefined && failedIndexes !== undefined && done === "" && failed === "") {
    const shared = intervals(failedIndexes).flatMap(([first, last]) => intervals(completedIndexes).filter(([from, to]) => from <= last && first <= to).map(([from]) => Math.max(first, from)))[0];
    if (shared !== undefined) errors.push(invalid("status.failedIndexes", failedIndexes, `failedIndexes and completedIndexes overlap at index: ${shared}`));
  }
  return errors;
}

const intervals = (text: string): [first: number, last: number][] =>
  text === "" ? [] : text.split(",").map((part) => part.split("-").map(Number)).map((ends) => [ends[0]!, ends[1] ?? ends[0]!]);

/** What a status may not take back. */
function validateStatusChange(object: KubeObject, old: KubeObject): FieldError[] {
  const { spec, status } = object;
  const errors: FieldError[] = [];
  const lost = (type: string): boolean => conditionIs(old, type) && !conditionIs(object, type);
  for (const type of ["Failed", "Complete", "FailureTarget"]) if (lost(type)) errors.push(senseless("status.conditions", `cannot disable the terminal ${type}=True condition`));
  const less = (field: string): boolean => (status?.[field] ?? 0) < (old.status?.[field] ?? 0);
  if (less("failed")) errors.push(invalid("status.failed", status?.failed ?? 0, "cannot decrease the failed counter"));
  if (less("succeeded") && (spec.completionMode !== "Indexed" || spec.completions !== spec.parallelism)) errors.push(invalid("status.succeeded", status?.succeeded ?? 0, "cannot decrease the succeeded counter"));
  if (status?.completionTime && old.status?.completionTime && status.completionTime !== old.status.completionTime) errors.push(invalid("status.completionTime", status.completionTime, "field is immutable"));
  const resumes = conditionIs(old, "Suspended") && (status?.conditions ?? []).some((condition: any) => condition.type === "Suspended" && condition.status === "False");
  if (old.status?.startTime && status?.startTime !== old.status.startTime && !resumes && spec.suspend !== true) errors.push(required("status.startTime", "startTime cannot be removed for unsuspended job"));
  if (lost("SuccessCriteriaMet")) errors.push(senseless("status.conditions", "cannot disable the SuccessCriteriaMet=True condition"));
  return errors;
}
