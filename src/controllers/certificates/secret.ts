import { createPrivateKey, type X509Certificate } from "node:crypto";
import { annotation, type Certificate, type CertificateRequest, groupOf, kindOf, label } from "../../api/cert-manager/types.ts";
import type { Secret } from "../../api/types.ts";
import { base64, fieldOf } from "./keys.ts";
import { namesIn, subjectFields } from "./wish.ts";

/** Whose fields of a Secret are ours. */
export const fieldManager = "cert-manager-certificates-issuing";

/** PEM. */
export interface Issued {
  key: string;
  certificate: string;
  ca: string;
}

/** What we want of the Secret of a Certificate, to be applied: what others wrote beside it stays. Source: cert-manager pkg/controller/certificates/issuing/internal/secret.go. */
export function secretFor({ metadata, spec }: Certificate, { key, certificate, ca }: Issued, leaf: X509Certificate, type: string, issuer: Record<string, string>): Secret {
  const formats = (spec.additionalOutputFormats ?? []).map((format) => format.type);
  const { labels = {}, annotations = {} } = spec.secretTemplate ?? {};
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: spec.secretName, namespace: metadata.namespace!, labels: { ...labels, [label.managed]: "true" }, annotations: { ...annotations, ...annotationsFor(leaf), [annotation.certificateName]: metadata.name, ...issuer } },
    type,
    data: {
      "tls.key": base64(key),
      "tls.crt": base64(certificate),
      ...(ca && { "ca.crt": base64(ca) }),
      ...(formats.includes("DER") && { "key.der": base64(createPrivateKey(key).export({ type: derType(key), format: "der" })) }),
      ...(formats.includes("CombinedPEM") && { "tls-combined.pem": base64(`${key}\n${certificate}`) }),
    },
  } as unknown as Secret;
}
const derType = (key: string): "pkcs8" => (key.includes("RSA PRIVATE") ? "pkcs1" : key.includes("EC PRIVATE") ? "sec1" : "pkcs8") as "pkcs8";

export const issuerAnnotations = ({ spec }: CertificateRequest): Record<string, string> => ({ [annotation.issuerName]: spec.issuerRef.name, [annotation.issuerKind]: kindOf(spec.issuerRef), [annotation.issuerGroup]: groupOf(spec.issuerRef) });

const csv = (values: readonly string[]): string => values.map((value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)).join(",");

/** What is noted of a certificate on its Secret. */
function annotationsFor(leaf: X509Certificate): Record<string, string> {
  const subject = subjectFields(leaf);
  const { names, addresses, uris, emails } = namesIn(leaf);
  const kept = { [annotation.commonName]: subject.CN?.[0] ?? "", [annotation.altNames]: csv(names), [annotation.ipSans]: csv(addresses), [annotation.uriSans]: csv(uris) };
  const fields = { organizations: subject.O, organizationalunits: subject.OU, countries: subject.C, provinces: subject.ST, localities: subject.L, postalcodes: subject.POSTALCODE, streetaddresses: subject.STREET, serialnumber: subject.SERIALNUMBER };
  const more = Object.entries(fields).flatMap(([name, values]) => (values ? [[`cert-manager.io/subject-${name}`, csv(values)]] : []));
  return { ...kept, ...(emails.length > 0 && { [annotation.emailSans]: csv(emails) }), ...(Object.fromEntries(more) as Record<string, string>) };
}

/** Whether the Secret shows all that we want of it, and nothing that we wanted before. */
export function isAsWanted(secret: Secret, wanted: Secret): boolean {
  const contains = (has: Record<string, string> = {}, wants: Record<string, string> = {}) => Object.entries(wants).every(([name, value]) => has[name] === value);
  if (!contains(secret.metadata.labels, wanted.metadata.labels) || !contains(secret.metadata.annotations, wanted.metadata.annotations) || !contains(secret.data, wanted.data)) return false;
  const ours = secret.metadata.managedFields?.find(({ manager, operation }) => manager === fieldManager && operation === "Apply")?.fieldsV1 as { [field: string]: { [field: string]: object } } | undefined;
  const extra = (fields: object = {}, wants: object = {}) => Object.keys(fields).some((name) => name.startsWith("f:") && !(name.slice(2) in wants));
  return !extra(ours?.["f:metadata"]?.["f:labels"], wanted.metadata.labels) && !extra(ours?.["f:metadata"]?.["f:annotations"], wanted.metadata.annotations) && !extra(ours?.["f:data"], wanted.data);
}

export const issuedIn = (secret: Secret | undefined): Issued => ({ key: fieldOf(secret, "tls.key"), certificate: fieldOf(secret, "tls.crt"), ca: fieldOf(secret, "ca.crt") });
