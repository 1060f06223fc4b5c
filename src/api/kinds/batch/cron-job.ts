import { type FieldError, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { notNegative } from "../../validation/checks.ts";
import { ageOf, containers, integer, name, selector, since, text } from "../columns.ts";
import { defaultPodTemplate } from "../core/pod/defaults.ts";
import { indexWarnings, validateJobSpec } from "./job.ts";
import { scheduleError } from "./schedule.ts";
import { isTimeZone } from "./time-zone.ts";
import { podWarnings } from "../core/pod/warnings.ts";
import { nameWarnings } from "../workload.ts";

/** Jobs are named after their CronJob with 11 characters more. */
const nameBytesMax = 52;

function validateSchedule(spec: any): FieldError[] {
  if (!spec.schedule) return [required("spec.schedule")];
  const wrong = scheduleError(spec.schedule);
  const errors = wrong === undefined ? [] : [invalid("spec.schedule", spec.schedule, wrong)];
  const zoned = spec.schedule.includes("TZ");
  if (zoned && spec.timeZone !== undefined) errors.push(invalid("spec.schedule", spec.schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"));
  else if (zoned) errors.push(invalid("spec.schedule", spec.schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
  return errors;
}

function validateTimeZone(zone: string | undefined): FieldError[] {
  if (zone === undefined || isTimeZone(zone)) return [];
  const local = zone.toLowerCase() === "local";
  return [invalid("spec.timeZone", zone, zone === "" ? "timeZone must be nil or non-empty string" : local ? "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones" : `unknown time zone ${zone}`)];
}

function validate({ spec }: KubeObject, old?: KubeObject): FieldError[] {
  const errors = [...validateSchedule(spec), ...notNegative("spec.startingDeadlineSeconds", spec.startingDeadlineSeconds)];
  if (!old || old.spec.timeZone !== spec.timeZone) errors.push(...validateTimeZone(spec.timeZone));
  const policies = ["Allow", "Forbid", "Replace"];
  if (!policies.includes(spec.concurrencyPolicy)) errors.push(notSupported("spec.concurrencyPolicy", spec.concurrencyPolicy, policies));
  for (const field of ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"]) errors.push(...notNegative(`spec.${field}`, spec[field]));
  const template = spec.jobTemplate?.spec ?? {};
  errors.push(...validateJobSpec("spec.jobTemplate.spec", template));
  if (template.manualSelector === true) errors.push(notSupported("spec.jobTemplate.spec.manualSelector", true, ["nil", "false"]));
  if (template.selector !== undefined) errors.push(invalid("spec.jobTemplate.spec.selector", template.selector, "`selector` will be auto-generated"));
  return errors;
}

const podSpec = (object: KubeObject): any => object.spec?.jobTemplate?.spec?.template?.spec;

/** Source: k8s.io/kubernetes/pkg/apis/batch/{v1/defaults.go,validation/validation.go}. */
export const cronJob: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.concurrencyPolicy ||= "Allow";
    spec.suspend ??= false;
    spec.successfulJobsHistoryLimit ??= 3;
    spec.failedJobsHistoryLimit ??= 1;
    const template = (spec.jobTemplate ??= {});
    template.metadata ??= {};
    template.spec ??= {};
    defaultPodTemplate((template.spec.template ??= {}));
  },
  prepareForCreate(object) {
    object.status = {};
  },
  validate: (object, old) => [...validate(object, old), ...(Buffer.byteLength(object.metadata.name ?? "") > nameBytesMax ? [invalid("metadata.name", object.metadata.name, `must be no more than ${nameBytesMax} characters`)] : [])],
  warnings(object, old) {
    if (old && old.metadata.generation === object.metadata.generation) return [];
    const { spec } = object.spec.jobTemplate;
    return [...nameWarnings(object, old), ...indexWarnings("spec.jobTemplate.spec", spec), ...podWarnings("spec.jobTemplate.spec.template", spec.template)];
  },
  columns: [
    name,
    text("Schedule", ({ spec }) => spec?.schedule),
    text("Timezone", ({ spec }) => spec?.timeZone, "<none>"),
    { ...text("Suspend", ({ spec }) => (spec?.suspend === undefined ? "" : spec.suspend ? "True" : "False"), "<unset>"), type: "boolean" },
    integer("Active", ({ status }) => (status?.active ?? []).length),
    since("Last Schedule", ({ status }) => status?.lastScheduleTime, "<none>"),
    ageOf,
    ...containers(podSpec),
    selector((object) => object.spec?.jobTemplate?.spec?.selector),
  ],
};
