import { X509Certificate } from "node:crypto";
import { humanDuration } from "../../duration.ts";
import { duplicate, type FieldError, forbidden, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { each, semanticEqual } from "../../validation/checks.ts";
import { nameIsPathSegment } from "../../validation/names.ts";
import { validateSignerName } from "../../validation/signer-name.ts";
import { ageOf, name, text } from "../columns.ts";
import { parseRequest } from "./pkcs10.ts";

/** Source: k8s.io/kubernetes/pkg/{apis/certificates/validation/validation.go,registry/certificates/certificates/strategy.go}. */
const knownUsages = [
  "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system",
  "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
];
const decisions = ["Approved", "Denied"];
const onlyTrue = [...decisions, "Failed"];

interface Condition {
  type: string;
  status: string;
  lastUpdateTime?: string | null;
  lastTransitionTime?: string | null;
}
const conditionsOf = ({ status }: KubeObject): Condition[] => status?.conditions ?? [];
const ofType = (object: KubeObject, type: string): Condition[] => conditionsOf(object).filter((entry) => entry.type === type);

function validate(object: KubeObject): FieldError[] {
  const { spec, status } = object;
  const errors: FieldError[] = [];
  const wrong = requestError(spec?.request ?? "");
  if (wrong) errors.push(invalid("spec.request", spec?.request, wrong));
  const usages: string[] = spec?.usages ?? [];
  if (usages.length === 0) errors.push(required("spec.usages"));
  errors.push(...each("spec.usages", usages, (usage, at) => (knownUsages.includes(usage) ? [] : [notSupported(at, usage, knownUsages)])));
  errors.push(...usages.flatMap((usage, index) => (usages.indexOf(usage) < index ? [duplicate(`spec.usages[${index}]`, usage)] : [])));
  const signer: string = spec?.signerName ?? "";
  errors.push(...(signer === "kubernetes.io/legacy-unknown" ? [invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version")] : validateSignerName("spec.signerName", signer)));
  if (spec?.expirationSeconds < 600) errors.push(invalid("spec.expirationSeconds", spec.expirationSeconds, "may not specify a duration less than 600 seconds (10 minutes)"));
  errors.push(...validateConditions(conditionsOf(object)));
  const damage = certificateError(status?.certificate ?? "");
  if (damage) errors.push(invalid("status.certificate", "<certificate data>", damage));
  return errors;
}

function requestError(request: string): string | undefined {
  try {
    return parseRequest(Buffer.from(request, "base64").toString("latin1")).signatureError();
  } catch (error) {
    return (error as Error).message;
  }
}

function validateConditions(conditions: Condition[]): FieldError[] {
  const errors = each("status.conditions", conditions, (entry, at) => {
    const found: FieldError[] = entry.type ? [] : [required(`${at}.type`)];
    const allowed = onlyTrue.includes(entry.type) ? ["True"] : ["False", "True", "Unknown"];
    if (!entry.status) found.push(required(`${at}.status`));
    else if (!allowed.includes(entry.status)) found.push(notSupported(`${at}.status`, entry.status, allowed));
    return found;
  });
  const decided = conditions.filter(({ type }) => decisions.includes(type));
  for (const entry of decided.slice(1)) if (entry.type !== decided[0]!.type) errors.push(invalid("status.conditions", entry.type, "Approved and Denied conditions are mutually exclusive"));
  conditions.forEach(({ type }, index) => {
    if (conditions.findIndex((other) => other.type === type) < index) errors.push(duplicate(`status.conditions[${index}].type`, type));
  });
  return errors;
}

function certificateError(encoded: string): string | undefined {
  if (encoded === "") return undefined;
  const blocks = [...Buffer.from(encoded, "base64").toString("latin1").matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g)];
  for (const [block, type, body] of blocks) {
    if (type !== "CERTIFICATE") return `only CERTIFICATE PEM blocks are allowed, found ${JSON.stringify(type)}`;
    if (body!.includes(":")) return "no PEM block headers are permitted";
    try {
      void new X509Certificate(block).serialNumber;
    } catch {
      return "x509: malformed certificate";
    }
  }
  return blocks.length === 0 ? "must contain at least one CERTIFICATE PEM block" : undefined;
}

/** What no write may do; `may` says which of the two worlds of a request this one is for. */
function validateChange(object: KubeObject, old: KubeObject, may: { decide?: boolean; issue?: boolean }): FieldError[] {
  const errors = onlyTrue.flatMap((type) => (ofType(object, type).length < ofType(old, type).length ? [forbidden("status.conditions", `updates may not remove a condition of type ${JSON.stringify(type)}`)] : []));
  for (const type of may.decide ? [] : decisions) {
    const [now, before] = [ofType(object, type), ofType(old, type)];
    if (now.length > before.length) errors.push(forbidden("status.conditions", `updates may not add a condition of type ${JSON.stringify(type)}`));
    else if (now.length === before.length && !semanticEqual(now, before)) errors.push(forbidden("status.conditions", `updates may not modify a condition of type ${JSON.stringify(type)}`));
  }
  const [certificate, issued] = [object.status?.certificate ?? "", old.status?.certificate ?? ""];
  if (certificate === issued) return errors;
  if (!may.issue) errors.push(forbidden("status.certificate", "updates may not set certificate content"));
  else if (issued !== "") errors.push(forbidden("status.certificate", "updates may not modify existing certificate content"));
  return errors;
}

function condition(object: KubeObject): string {
  const has = (type: string): boolean => ofType(object, type).length > 0;
  const words = [has("Denied") ? "Denied" : has("Approved") ? "Approved" : "Pending"];
  if (has("Failed")) words.push("Failed");
  if (object.status?.certificate) words.push("Issued");
  return words.join(",");
}

export const certificateSigningRequest: Strategy = {
  hasStatus: true,
  validateName: nameIsPathSegment,
  prepareForCreate(object) {
    object.status = {};
  },
  prepareForUpdate(object, old) {
    object.spec = old.spec;
  },
  validate,
  validateUpdate: (object, old) => validateChange(object, old, {}),
  validateStatusUpdate: (object, old) => [...validate(object), ...validateChange(object, old, { issue: true })],
  parts: {
    approval: {
      hasStatus: false,
      prepareForUpdate(object, old) {
        object.spec = old.spec;
        const { conditions: _, ...rest } = old.status ?? {};
        const conditions = conditionsOf(object);
        object.status = { ...rest, ...(conditions.length > 0 && { conditions }) };
      },
      validateUpdate: (object, old) => validateChange(object, old, { decide: true }),
    },
  },
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
