import { createPublicKey, X509Certificate } from "node:crypto";
import { annotation, type Certificate, type CertificateRequest, certManagerGroup, groupOf, kindOf } from "../../api/cert-manager/types.ts";
import { parseRequest } from "../../api/kinds/certificates/pkcs10.ts";
import type { Secret } from "../../api/types.ts";
import { keyMismatches, readKey } from "./keys.ts";
import { issuedIn } from "./secret.ts";
import { certificateMismatches, renewalMs, requestMismatches } from "./wish.ts";

/**
 * Why the certificate in the Secret is not what the Certificate wants, with cert-manager's reasons and texts: the first
 * that holds. Source: cert-manager internal/controller/certificates/policies.
 */
export interface Input {
  certificate: Certificate;
  secret: Secret | undefined;
  /** The request that led to what is in the Secret. */
  current: CertificateRequest | undefined;
  nowMs: number;
}
export interface Violation {
  reason: string;
  message: string;
}
type Policy = (input: Input) => Violation | undefined;

const list = (fields: readonly string[]): string => `[${fields.join(" ")}]`;

export function leafOf(secret: Secret | undefined): X509Certificate | undefined {
  try {
    return new X509Certificate(issuedIn(secret).certificate);
  } catch {
    return undefined;
  }
}

const exists: Policy = ({ secret }) => (secret ? undefined : { reason: "DoesNotExist", message: "Issuing certificate as Secret does not exist" });

const hasData: Policy = ({ secret }) => {
  const missing = (what: string): Violation => ({ reason: "MissingData", message: `Issuing certificate as Secret does not contain ${what}` });
  if (!secret?.data || Object.keys(secret.data).length === 0) return missing("any data");
  if (!secret.data["tls.key"]) return missing("a private key");
  return secret.data["tls.crt"] ? undefined : missing("a certificate");
};

const isPair: Policy = ({ secret }) => {
  const key = readKey(issuedIn(secret).key);
  if (!key) return { reason: "InvalidKeyPair", message: "Issuing certificate as Secret contains invalid private key data: error decoding private key PEM block" };
  const leaf = leafOf(secret);
  if (!leaf) return { reason: "InvalidCertificate", message: "Issuing certificate as Secret contains an invalid certificate: error decoding certificate PEM block" };
  return leaf.checkPrivateKey(key) ? undefined : { reason: "InvalidKeyPair", message: "Issuing certificate as Secret contains a private key that does not match the certificate" };
};

const isOfIssuer: Policy = ({ secret, certificate: { spec } }) => {
  const { [annotation.issuerName]: name = "", [annotation.issuerKind]: kind = "", [annotation.issuerGroup]: group = "" } = secret?.metadata.annotations ?? {};
  if (name === spec.issuerRef.name && (kind || "Issuer") === kindOf(spec.issuerRef) && (group || certManagerGroup) === groupOf(spec.issuerRef)) return undefined;
  return { reason: "IncorrectIssuer", message: `Issuing certificate as Secret was previously issued by ${JSON.stringify(`${kind || "Issuer"}.${group || certManagerGroup}/${name}`)}` };
};

const isOfCertificate: Policy = ({ secret, certificate }) => {
  const name = secret?.metadata.annotations?.[annotation.certificateName];
  if (name === undefined || name === certificate.metadata.name) return undefined;
  return { reason: "IncorrectCertificate", message: `Secret was issued for ${JSON.stringify(name)}. If this message is not transient, you might have two conflicting Certificates pointing to the same secret.` };
};

const keyFits: Policy = ({ secret, certificate }) => {
  const mismatches = keyMismatches(readKey(issuedIn(secret).key)!, certificate.spec.privateKey);
  return mismatches.length > 0 ? { reason: "SecretMismatch", message: `Existing private key is not up to date for spec: ${list(mismatches)}` } : undefined;
};

const keyIsOfRequest: Policy = ({ secret, current }) => {
  if (!current) return undefined;
  const wanted = publicKeyIn(current);
  if (!wanted) return { reason: "InvalidCertificateRequest", message: "Failed to decode current CertificateRequest: error decoding certificate request PEM block" };
  const has = createPublicKey(readKey(issuedIn(secret).key) as never).export({ type: "spki", format: "der" });
  return has.equals(wanted) ? undefined : { reason: "SecretMismatch", message: "Secret contains a private key that does not match the current CertificateRequest" };
};

/** DER; undefined: there is none to be read. */
export function publicKeyIn({ spec }: CertificateRequest): Buffer | undefined {
  try {
    return parseRequest(Buffer.from(spec.request, "base64").toString("latin1")).publicKey;
  } catch {
    return undefined;
  }
}

const requestFits: Policy = ({ secret, current, certificate: { spec } }) => {
  if (!current) {
    const mismatches = certificateMismatches(leafOf(secret)!, spec);
    return mismatches.length > 0 ? { reason: "SecretMismatch", message: `Issuing certificate as Existing issued Secret is not up to date for spec: ${list(mismatches)}` } : undefined;
  }
  const mismatches = requestMismatches(current, spec) ?? [];
  return mismatches.length > 0 ? { reason: "RequestChanged", message: `Fields on existing CertificateRequest resource not up to date: ${list(mismatches)}` } : undefined;
};

const isYoung: Policy = ({ secret, certificate, nowMs }) => {
  const atMs = renewalMs(certificate.spec, leafOf(secret)!);
  if (atMs === undefined || nowMs < atMs) return undefined;
  return { reason: "Renewing", message: `Renewing certificate as renewal was scheduled at ${goTime(certificate.status?.renewalTime)}` };
};

const isValid: Policy = ({ secret, nowMs }) => {
  const { validToDate } = leafOf(secret)!;
  return nowMs > validToDate.getTime() ? { reason: "Expired", message: `Certificate expired on ${validToDate.toUTCString().replace("GMT", "UTC")}` } : undefined;
};

/** As Go prints times. */
const goTime = (text: string | undefined): string => (text ? `${text.replace("T", " ").replace("Z", "")} +0000 UTC` : "<nil>");

const common: readonly Policy[] = [exists, hasData, isPair, isOfIssuer, isOfCertificate, keyFits, keyIsOfRequest, requestFits];
const firstOf = (policies: readonly Policy[], input: Input): Violation | undefined => {
  for (const policy of policies) {
    const violation = policy(input);
    if (violation) return violation;
  }
  return undefined;
};

/** Why it must be issued. */
export const reissueReason = (input: Input): Violation | undefined => firstOf([...common, isYoung], input);
/** Why it is not ready. */
export const unreadyReason = (input: Input): Violation | undefined => firstOf([...common, isValid], input);
