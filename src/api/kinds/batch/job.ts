import { humanDuration } from "../../duration.ts";
import { type FieldError, invalid, notSupported, required, tooLong } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { domainPrefixedPath, immutable, notNegative, oneOfOptional, semanticEqual } from "../../validation/checks.ts";
import { dns1123Label } from "../../validation/names.ts";
import { selectorMatches, validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, containers, name, selector, text } from "../columns.ts";
import { defaultPodTemplate } from "../core/pod/defaults.ts";
import { validatePodTemplate } from "../core/pod/spec.ts";
import { validateFailurePolicy, validateSuccessPolicy } from "./job-policies.ts";
import { conditionIs, validateJobStatus } from "./job-status.ts";
import { nameWarnings, templateWarnings, validateMatch } from "../workload.ts";

const uidLabel = "batch.kubernetes.io/controller-uid";
const ownLabels = (object: KubeObject): Record<string, string> => ({
  "controller-uid": object.metadata.uid,
  [uidLabel]: object.metadata.uid,
  "job-name": object.metadata.name ?? "",
  "batch.kubernetes.io/job-name": object.metadata.name ?? "",
});

/** In the order in which upstream misses them. */
const toldLabels = ["controller-uid", "job-name", uidLabel, "batch.kubernetes.io/job-name"];

const int32Max = 2 ** 31 - 1;
const indexedMax = 100_000;

/** What a Job and a CronJob's template share; `path` is where the JobSpec stands. */
export function validateJobSpec(path: string, spec: any): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"]) errors.push(...notNegative(`${path}.${field}`, spec[field]));
  if (spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined) errors.push(required(`${path}.backoffLimitPerIndex`, "when maxFailedIndexes is specified"));
  errors.push(...validateManagedBy(`${path}.managedBy`, spec.managedBy));
  if (spec.completionMode !== undefined) errors.push(...oneOfOptional(`${path}.completionMode`, spec.completionMode, ["NonIndexed", "Indexed"]));
  if (spec.completionMode === "Indexed") {
    if (spec.completions === undefined) errors.push(required(`${path}.completions`, "when completion mode is Indexed"));
    if (spec.parallelism > indexedMax) errors.push(invalid(`${path}.parallelism`, spec.parallelism, `must be less than or equal to ${indexedMax} when completion mode is Indexed`));
    errors.push(...validateLimits(path, spec));
  } else if (spec.completionMode === undefined || spec.completionMode === "NonIndexed") {
    for (const field of ["backoffLimitPerIndex", "maxFailedIndexes"]) if (spec[field] !== undefined) errors.push(invalid(`${path}.${field}`, spec[field], "requires indexed completion mode"));
  }
  errors.push(...validateFailurePolicy(`${path}.podFailurePolicy`, spec), ...validateSuccessPolicy(`${path}.successPolicy`, spec));
  const replacement = spec.podReplacementPolicy;
  if (replacement !== undefined) {
    errors.push(...oneOfOptional(`${path}.podReplacementPolicy`, replacement, ["Failed", "TerminatingOrFailed"]));
    if (spec.podFailurePolicy && replacement === "TerminatingOrFailed") errors.push(notSupported(`${path}.podReplacementPolicy`, replacement, ["Failed"]));
  }
  errors.push(...validatePodTemplate(`${path}.template`, spec.template));
  const at = `${path}.template.spec.restartPolicy`;
  const policy = spec.template?.spec?.restartPolicy;
  if (policy === undefined || policy === "Always") errors.push(required(at, 'valid values: "OnFailure", "Never"'));
  else if (policy !== "OnFailure" && policy !== "Never") errors.push(notSupported(at, policy, ["OnFailure", "Never"]));
  else if (spec.podFailurePolicy && policy !== "Never") errors.push(invalid(at, policy, `only "Never" is supported when podFailurePolicy is specified`));
  return errors;
}

export const indexWarnings = (path: string, spec: any): string[] => (spec.completionMode === "Indexed" && spec.completions > highCompletions && spec.parallelism > highLimit ? [`${path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail`] : []);

/** Above so many indexes with a limit each, their failures no longer fit in a status. */
const highCompletions = 100_000;
const highLimit = 10_000;

function validateLimits(path: string, spec: any): FieldError[] {
  const errors: FieldError[] = [];
  const at = `${path}.maxFailedIndexes`;
  const { completions, parallelism, maxFailedIndexes, backoffLimitPerIndex } = spec;
  if (maxFailedIndexes !== undefined && completions !== undefined && maxFailedIndexes > completions) errors.push(invalid(at, maxFailedIndexes, "must be less than or equal to completions"));
  if (maxFailedIndexes > indexedMax) errors.push(invalid(at, maxFailedIndexes, `must be less than or equal to ${indexedMax}`));
  if (!(completions > highCompletions) || backoffLimitPerIndex === undefined) return errors;
  const tooHigh = `must be less than or equal to ${highLimit} when completions are above ${highCompletions} and used with backoff limit per index`;
  if (maxFailedIndexes === undefined) errors.push(required(at, `must be specified when completions is above ${highCompletions}`));
  if (parallelism > highLimit) errors.push(invalid(`${path}.parallelism`, parallelism, tooHigh));
  if (maxFailedIndexes > highLimit) errors.push(invalid(at, maxFailedIndexes, tooHigh));
  return errors;
}

const managedByMax = 63;
/** "acme.io/foo". */
function validateManagedBy(path: string, value: string | undefined): FieldError[] {
  if (value === undefined) return [];
  const errors = domainPrefixedPath(path, value);
  return value.length > managedByMax ? [...errors, tooLong(path, managedByMax)] : errors;
}

function validate(object: KubeObject, old?: KubeObject): FieldError[] {
  const { spec } = object;
  const isNew = !object.metadata.resourceVersion;
  const errors: FieldError[] = [];
  const labels = spec.template?.metadata?.labels;
  if (spec.selector && spec.manualSelector !== true && object.metadata.uid) {
    // A job of before the labels with a prefix does without them.
    const before = old?.spec.template?.metadata?.labels;
    const isOlder = old !== undefined && (before?.[uidLabel] === undefined || before["batch.kubernetes.io/job-name"] === undefined);
    const expected = Object.fromEntries(Object.entries(ownLabels(object)).filter(([key]) => !isOlder || !key.includes("/")));
    for (const key of toldLabels.filter((known) => expected[known] !== undefined)) {
      const at = `spec.template.metadata.labels[${key}]`;
      if (labels?.[key] === undefined) errors.push(required(at, `must be '${expected[key]}'`));
      else if (labels[key] !== expected[key]) errors.push(invalid(at, labels, `must be '${expected[key]}'`));
    }
    if (validateLabelSelector(spec.selector, "").length === 0 && !selectorMatches(spec.selector, expected)) errors.push(invalid("spec.selector", spec.selector, "`selector` not auto-generated"));
  }
  errors.push(...validateJobSpec("spec", spec));
  if (spec.selector) errors.push(...validateLabelSelector(spec.selector, "spec.selector"));
  else errors.push(required("spec.selector"));
  if (validateLabelSelector(spec.selector, "").length === 0) errors.push(...validateMatch("spec.template", spec.selector, spec.template));
  if (isNew && spec.completionMode === "Indexed" && spec.completions > 0) {
    // The longest host name that one of its pods will have.
    const hostname = `${object.metadata.name ?? ""}-${spec.completions - 1}`;
    if (dns1123Label(hostname).length > 0) errors.push(invalid("metadata.name", object.metadata.name ?? "", `will not able to create pod with invalid DNS label: ${hostname}`));
  }
  return errors;
}

/** Until its first pod started, a suspended job's template may still be moved elsewhere. */
const movable = (template: any): any => ({
  ...template,
  metadata: { ...template?.metadata, labels: undefined, annotations: undefined },
  spec: { ...template?.spec, nodeSelector: undefined, tolerations: undefined, affinity: undefined, schedulingGates: undefined },
});

function validateUpdate(object: KubeObject, old: KubeObject): FieldError[] {
  const { spec } = object;
  const before = old.spec;
  const errors: FieldError[] = [];
  if (spec.completions !== before.completions) {
    if (spec.completionMode !== "Indexed") errors.push(...immutable("spec.completions", spec.completions ?? null, before.completions));
    else if (spec.completions !== undefined && spec.completions !== spec.parallelism) errors.push(invalid("spec.completions", spec.completions, `can only be modified in tandem with spec.parallelism`));
  }
  errors.push(...immutable("spec.selector", spec.selector, before.selector));
  const maybeMoved = before.suspend === true && !old.status?.startTime;
  const same = maybeMoved ? semanticEqual(movable(spec.template), movable(before.template)) : semanticEqual(spec.template, before.template);
  if (!same) errors.push(invalid("spec.template", spec.template, "field is immutable"));
  for (const field of ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]) errors.push(...immutable(`spec.${field}`, spec[field] ?? null, before[field]));
  return errors;
}

function statusOf(job: KubeObject): string {
  if (conditionIs(job, "Complete")) return "Complete";
  if (conditionIs(job, "Failed")) return "Failed";
  if (job.metadata.deletionTimestamp) return "Terminating";
  return ["Suspended", "FailureTarget", "SuccessCriteriaMet"].find((type) => conditionIs(job, type)) ?? "Running";
}

function completions({ spec, status }: KubeObject): string {
  const done = status?.succeeded ?? 0;
  if (spec?.completions !== undefined) return `${done}/${spec.completions}`;
  return (spec?.parallelism ?? 0) > 1 ? `${done}/1 of ${spec.parallelism}` : `${done}/1`;
}

function duration({ status }: KubeObject, nowMs: number): string {
  if (!status?.startTime) return "";
  return humanDuration((status.completionTime ? Date.parse(status.completionTime) : nowMs) - Date.parse(status.startTime));
}

/** Source: k8s.io/kubernetes/pkg/{apis/batch/v1/defaults.go,apis/batch/validation,registry/batch/job/strategy.go}. */
export const job: Strategy = {
  defaultPropagation: "Orphan",
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
    spec.parallelism ??= 1;
    spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? 6 : int32Max;
    const labels = spec.template?.metadata?.labels;
    if (labels && Object.keys(object.metadata.labels ?? {}).length === 0) object.metadata.labels = { ...labels };
    spec.completionMode ??= "NonIndexed";
    spec.suspend ??= false;
    for (const rule of spec.podFailurePolicy?.rules ?? []) for (const pattern of rule.onPodConditions ?? []) pattern.status ||= "True";
    spec.manualSelector ??= false;
    spec.podReplacementPolicy ??= spec.podFailurePolicy ? "Failed" : "TerminatingOrFailed";
    defaultPodTemplate((spec.template ??= {}));
  },
  prepareForCreate(object) {
    object.status = {};
    const { spec } = object;
    if (spec.manualSelector === true) return;
    // Values that the client set stay, and are refused by validation when they contradict.
    spec.template.metadata.labels = { ...ownLabels(object), ...spec.template.metadata.labels };
    spec.selector = { ...spec.selector, matchLabels: { [uidLabel]: object.metadata.uid, ...spec.selector?.matchLabels } };
    // As the defaults will, whenever it is read.
    if (Object.keys(object.metadata.labels ?? {}).length === 0) object.metadata.labels = { ...spec.template.metadata.labels };
  },
  validate,
  validateUpdate,
  validateStatusUpdate: validateJobStatus,
  warnings: (object, old) => [...nameWarnings(object, old), ...(old && old.metadata.generation === object.metadata.generation ? [] : [...indexWarnings("spec", object.spec), ...templateWarnings(object)])],
  columns: [name, text("Status", statusOf), text("Completions", completions), text("Duration", duration), ageOf, ...containers(), selector()],
  selectableFields: ({ status }) => ({ "status.successful": String(status?.succeeded ?? 0) }),
};
