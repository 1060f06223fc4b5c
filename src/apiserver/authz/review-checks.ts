import { type FieldError, forbidden, invalid, required } from "../../api/field.ts";
import { parseFieldSelector, parseLabelSelector } from "../../api/selectors.ts";
import { checked } from "../../api/validation/checks.ts";
import { labelValue, qualifiedName } from "../../api/validation/names.ts";

interface Requirement {
  key?: string;
  operator?: string;
  values?: string[];
}
export interface SelectorAttributes {
  rawSelector?: string;
  requirements?: Requirement[];
}
export interface AccessSpec {
  user?: string;
  groups?: string[];
  resourceAttributes?: { namespace?: string; verb?: string; group?: string; resource?: string; subresource?: string; name?: string; labelSelector?: SelectorAttributes; fieldSelector?: SelectorAttributes };
  nonResourceAttributes?: { path?: string; verb?: string };
}

/** Source: k8s.io/kubernetes/pkg/apis/authorization/validation/validation.go. */
export function accessErrors({ user, groups, resourceAttributes, nonResourceAttributes }: AccessSpec, ofSelf: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (resourceAttributes && nonResourceAttributes) errors.push(invalid("spec.nonResourceAttributes", shown(nonResourceAttributes), "cannot be specified in combination with resourceAttributes"));
  if (!resourceAttributes && !nonResourceAttributes) errors.push(invalid("spec.resourceAttributes", null, "exactly one of nonResourceAttributes or resourceAttributes must be specified"));
  if (!ofSelf && !user && !groups?.length) errors.push(invalid("spec.user", user ?? "", "at least one of user or group must be specified"));
  const { fieldSelector, labelSelector } = resourceAttributes ?? {};
  return [...errors, ...selectorErrors(fieldSelector, "spec.resourceAttributes.fieldSelector", false), ...selectorErrors(labelSelector, "spec.resourceAttributes.labelSelector", true)];
}

/** As Go prints a struct that has no names for JSON. */
export const shown = ({ path, verb }: { path?: string; verb?: string }): object => ({ Path: path ?? "", Verb: verb ?? "" });

function selectorErrors(selector: SelectorAttributes | undefined | null, at: string, ofLabels: boolean): FieldError[] {
  if (!selector) return [];
  const { rawSelector, requirements = [] } = selector;
  const errors: FieldError[] = [];
  if (rawSelector && requirements.length > 0) errors.push(invalid(`${at}.rawSelector`, rawSelector, "may not specified at the same time as requirements"));
  if (!rawSelector && requirements.length === 0) errors.push(required(`${at}.requirements`, `when ${at} is specified, requirements or rawSelector is required`));
  requirements.forEach(({ key = "", operator = "", values = [] }, index) => {
    const place = `${at}.requirements[${index}]`;
    if (!ofLabels && key === "") errors.push(required(`${place}.key`, "must be specified"));
    if (["In", "NotIn"].includes(operator) && values.length === 0) errors.push(required(`${place}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
    if (["Exists", "DoesNotExist"].includes(operator) && values.length > 0) errors.push(forbidden(`${place}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    if (!ofLabels) return;
    errors.push(...checked(`${place}.key`, key, qualifiedName), ...values.flatMap((value, number) => checked(`${place}.values[${number}]`, value, labelValue)));
  });
  return errors;
}

/** What could not be read of the selectors: the question was answered without that part. Source: k8s.io/kubernetes/pkg/registry/authorization/util/helpers.go. */
export function evaluationError({ resourceAttributes }: AccessSpec): string {
  const { fieldSelector, labelSelector } = resourceAttributes ?? {};
  return [ignored("fieldSelector", fieldSelector, fieldIsRead), ignored("labelSelector", labelSelector, labelIsRead)].filter((text) => text !== "").join("; ");
}

function ignored(name: "fieldSelector" | "labelSelector", selector: SelectorAttributes | undefined | null, isRead: (requirement: Requirement) => boolean): string {
  if (!selector) return "";
  const { rawSelector, requirements = [] } = selector;
  const read = requirements.filter(isRead);
  if (rawSelector ? parses(name, rawSelector) : read.length === requirements.length) return "";
  return `spec.resourceAttributes.${name} ${read.length > 0 ? "partially " : ""}ignored due to parse error`;
}

const labelIsRead = ({ operator = "" }: Requirement): boolean => ["In", "NotIn", "Exists", "DoesNotExist"].includes(operator);
const fieldIsRead = ({ operator = "", values = [] }: Requirement): boolean => ["In", "NotIn"].includes(operator) && values.length === 1;

function parses(name: "fieldSelector" | "labelSelector", text: string): boolean {
  try {
    if (name === "fieldSelector") parseFieldSelector(text);
    else parseLabelSelector(text);
    return true;
  } catch {
    return false;
  }
}
