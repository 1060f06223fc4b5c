import { age } from "../../duration.ts";
import { type FieldError, invalid, required, tooLong } from "../../field.ts";
import type { Column, Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, immutable } from "../../validation/checks.ts";
import { nameIsDnsSubdomain, nameIsPathSegment, qualifiedName } from "../../validation/names.ts";
import { countText, name, text, wide } from "../columns.ts";

/** `events.k8s.io/v1` names for fields of a `v1` Event; all others are spelt alike in both. */
const renamed: readonly (readonly [core: string, events: string])[] = [
  ["involvedObject", "regarding"],
  ["message", "note"],
  ["source", "deprecatedSource"],
  ["firstTimestamp", "deprecatedFirstTimestamp"],
  ["lastTimestamp", "deprecatedLastTimestamp"],
  ["count", "deprecatedCount"],
  ["reportingComponent", "reportingController"],
];

function rename(object: KubeObject, apiVersion: string, pairs: readonly (readonly [string, string])[]): KubeObject {
  const names = new Map(pairs);
  return { ...Object.fromEntries(Object.entries(object).map(([field, value]) => [names.get(field) ?? field, value])), apiVersion } as KubeObject;
}

/** One stored Event, seen through either API. Source: k8s.io/kubernetes/pkg/apis/events/v1/conversion.go. */
export const eventFromStored = (object: KubeObject): KubeObject => rename(object, "events.k8s.io/v1", renamed);
export const eventToStored = (object: KubeObject): KubeObject => rename(object, "v1", renamed.map(([core, events]) => [events, core] as const));

/** Columns and selectors read the stored form, whichever they are given. */
const stored = (object: KubeObject): KubeObject => (object.apiVersion === "events.k8s.io/v1" ? eventToStored(object) : object);

const noteBytesMax = 1024;
const reasonBytesMax = 128;

function validate(given: KubeObject): FieldError[] {
  const event = stored(given);
  const errors: FieldError[] = [];
  const involved: string = event.involvedObject?.namespace ?? "";
  const own: string = event.metadata.namespace ?? "";
  if (involved === "" ? own !== "" && own !== "default" && (!event.eventTime || own !== "kube-system") : own !== involved) errors.push(invalid("involvedObject.namespace", involved, "does not match event.namespace"));
  const strict = given.apiVersion === "events.k8s.io/v1";
  if (!strict && !event.eventTime) return errors;
  // Events of the new sort say who reports and what was done.
  if (strict && !event.eventTime) errors.push(required("eventTime"));
  const controller = strict ? "reportingController" : "reportingComponent";
  if (!event.reportingComponent) errors.push(required(controller));
  errors.push(...checked(controller, event.reportingComponent ?? "", qualifiedName));
  for (const field of ["reportingInstance", "action", "reason"]) {
    if (!event[field]) errors.push(required(field));
    else if (Buffer.byteLength(event[field]) > reasonBytesMax) errors.push(invalid(field, "", `can have at most ${reasonBytesMax} characters`));
  }
  if (Buffer.byteLength(event.message ?? "") > noteBytesMax) errors.push(strict ? tooLong("note", noteBytesMax) : invalid("message", "", `can have at most ${noteBytesMax} characters`));
  if (strict && event.type !== "Normal" && event.type !== "Warning") errors.push(invalid("type", event.type ?? "", "has invalid value: "));
  return errors;
}

const frozen = ["involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "reason", "type", "eventTime", "action", "related", "reportingComponent", "reportingInstance"];

function validateUpdate(given: KubeObject, before: KubeObject): FieldError[] {
  const event = stored(given);
  const old = stored(before);
  if (given.apiVersion !== "events.k8s.io/v1") return [];
  // Only the series may go on.
  return frozen.flatMap((field) => immutable(field === "reportingComponent" ? "reportingController" : field, event[field], old[field]));
}

function target({ involvedObject }: KubeObject): string {
  const kind = (involvedObject?.kind ?? "").toLowerCase();
  return involvedObject?.name ? `${kind}/${involvedObject.name}` : kind;
}

function source({ source, reportingComponent, reportingInstance }: KubeObject): string {
  return [source?.component || reportingComponent || "", source?.host || reportingInstance || ""].filter((part) => part !== "").join(", ");
}

const firstSeen = (event: KubeObject): string | undefined => event.firstTimestamp || event.eventTime;
const lastSeen = (event: KubeObject): string | undefined => event.series ? event.series.lastObservedTime : event.lastTimestamp || firstSeen(event);

/** As {@link Column}, over the stored form. */
const over = (column: Column): Column => ({ ...column, cell: (object, nowMs) => column.cell(stored(object), nowMs) });

/** Source: k8s.io/kubernetes/pkg/{apis/core/validation/events.go,registry/core/event/strategy.go}. */
export const event: Strategy = {
  createOnUpdate: true,
  validateName: nameIsPathSegment,
  validatesBeforeMetadata: true,
  validate,
  validateUpdate,
  columns: [
    text("Last Seen", (object, nowMs) => age(lastSeen(object), nowMs)),
    text("Type", ({ type }) => type),
    text("Reason", ({ reason }) => reason),
    text("Object", target),
    wide(text("Subobject", ({ involvedObject }) => involvedObject?.fieldPath)),
    wide(text("Source", source)),
    text("Message", ({ message }) => (message ?? "").trim()),
    wide(text("First Seen", (object, nowMs) => age(firstSeen(object), nowMs))),
    wide(countText("Count", ({ series, count }) => series?.count || count || 1)),
    wide(name),
  ].map(over),
  selectableFields(object) {
    const { involvedObject = {}, reason, reportingComponent, source: origin, type } = stored(object);
    const fields = Object.fromEntries(["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"].map((field) => [field, involvedObject[field] ?? ""]));
    const isNew = object.apiVersion === "events.k8s.io/v1";
    const prefixed = (prefix: string): Record<string, string> => Object.fromEntries(Object.entries(fields).map(([field, value]) => [`${prefix}.${field}`, value]));
    return {
      ...prefixed(isNew ? "regarding" : "involvedObject"),
      reason: reason ?? "",
      [isNew ? "reportingController" : "reportingComponent"]: reportingComponent ?? "",
      source: origin?.component || reportingComponent || "",
      type: type ?? "",
    };
  },
};

/** Seen through events.k8s.io, which is stricter about names. */
export const strictEvent: Strategy = { ...event, validateName: nameIsDnsSubdomain, validatesBeforeMetadata: false };
