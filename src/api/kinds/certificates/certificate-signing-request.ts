import { humanDuration } from "../../duration.ts";
import { type FieldError, invalid, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { immutable } from "../../validation/checks.ts";
import { ageOf, name, text } from "../columns.ts";

function validate({ spec }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const pem = Buffer.from(spec?.request ?? "", "base64").toString();
  if (!/-----BEGIN (NEW )?CERTIFICATE REQUEST-----/.test(pem)) errors.push(invalid("spec.request", spec?.request ?? "", "PEM block type must be CERTIFICATE REQUEST"));
  if ((spec?.usages ?? []).length === 0) errors.push(required("spec.usages", "usages must be provided"));
  if (!spec?.signerName) errors.push(required("spec.signerName"));
  else if (!/^[a-z0-9.-]+\/.+$/.test(spec.signerName)) errors.push(invalid("spec.signerName", spec.signerName, "must be a fully qualified domain and path of the form 'example.com/signer-name'"));
  if (spec?.expirationSeconds < 600) errors.push(invalid("spec.expirationSeconds", spec.expirationSeconds, "may not specify a duration less than 600 seconds (10 minutes)"));
  return errors;
}

function condition({ status }: KubeObject): string {
  const has = (type: string): boolean => (status?.conditions ?? []).some((entry: { type: string }) => entry.type === type);
  const words = [has("Denied") ? "Denied" : has("Approved") ? "Approved" : "Pending"];
  if (has("Failed")) words.push("Failed");
  if (status?.certificate) words.push("Issued");
  return words.join(",");
}

/** Source: k8s.io/kubernetes/pkg/{apis/certificates/validation,registry/certificates/certificates/strategy.go}. */
export const certificateSigningRequest: Strategy = {
  hasStatus: true,
  prepareForCreate(object) {
    object.status = {};
  },
  validate,
  validateUpdate: (object, old) => immutable("spec", object.spec, old.spec),
  columns: [
    name,
    ageOf,
    text("SignerName", ({ spec }) => spec?.signerName, "<none>"),
    text("Requestor", ({ spec }) => spec?.username),
    text("RequestedDuration", ({ spec }) => (spec?.expirationSeconds === undefined ? "" : humanDuration(spec.expirationSeconds * 1000)), "<none>"),
    text("Condition", condition),
  ],
  selectableFields: ({ spec }) => ({ "spec.signerName": spec?.signerName ?? "" }),
};
