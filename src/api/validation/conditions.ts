import { duplicate, type FieldError, invalid, notSupported, required, tooLong } from "../field.ts";
import { checked, each } from "./checks.ts";
import { formError, qualifiedName } from "./names.ts";

interface Condition {
  type?: string;
  status?: string;
  observedGeneration?: number;
  lastTransitionTime?: string | null;
  reason?: string;
  message?: string;
}

const reasonForm = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?";
const reasonPattern = new RegExp(`^(${reasonForm})$`);
const reasonBytesMax = 1024;
const messageBytesMax = 32 * 1024;

/** Conditions of the common form (metav1.Condition). Source: k8s.io/apimachinery/pkg/apis/meta/v1/validation, ValidateConditions. */
export function validateConditions(path: string, conditions: readonly Condition[] | null | undefined): FieldError[] {
  const types = new Set<string>();
  return each(path, conditions, ({ type = "", status = "", observedGeneration = 0, lastTransitionTime, reason = "", message = "" }, at) => {
    const errors: FieldError[] = types.has(type) ? [duplicate(`${at}.type`, type)] : [];
    types.add(type);
    errors.push(...checked(`${at}.type`, type, qualifiedName));
    if (!["False", "True", "Unknown"].includes(status)) errors.push(notSupported(`${at}.status`, status, ["False", "True", "Unknown"]));
    if (observedGeneration < 0) errors.push(invalid(`${at}.observedGeneration`, observedGeneration, "must be greater than or equal to zero"));
    if (!lastTransitionTime) errors.push(required(`${at}.lastTransitionTime`));
    if (reason === "") errors.push(required(`${at}.reason`));
    else if (!reasonPattern.test(reason)) errors.push(invalid(`${at}.reason`, reason, formError("a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'", reasonForm, "my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")));
    if (Buffer.byteLength(reason) > reasonBytesMax) errors.push(tooLong(`${at}.reason`, reasonBytesMax));
    if (Buffer.byteLength(message) > messageBytesMax) errors.push(tooLong(`${at}.message`, messageBytesMax));
    return errors;
  });
}
