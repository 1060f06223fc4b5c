import { constants, createPublicKey, type KeyObject, verify, X509Certificate } from "node:crypto";
import { pemBlocks } from "../../../base/der.ts";
import { type FieldError, invalid, notSupported, required, senseless, tooLong } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, immutable, semanticEqual } from "../../validation/checks.ts";
import { validateConditions } from "../../validation/conditions.ts";
import { dns1123Subdomain } from "../../validation/names.ts";
import { isKubernetesSigner, validateSignerName, validateUserAnnotations } from "../../validation/signer-name.ts";
import { labelsText, name, text } from "../columns.ts";

/** Source: k8s.io/kubernetes/pkg/{apis/certificates/validation/validation.go,registry/certificates/podcertificaterequest/strategy.go}. */
export interface PodCertificateRequestSpec {
  signerName: string;
  podName: string;
  podUID: string;
  serviceAccountName: string;
  serviceAccountUID: string;
  nodeName: string;
  nodeUID: string;
  maxExpirationSeconds: number;
  /** DER of a SubjectPublicKeyInfo, base64. */
  pkixPublicKey: string;
  /** The pod's uid, signed with the key, base64. */
  proofOfPossession: string;
  unverifiedUserAnnotations?: Record<string, string>;
}
export interface PodCertificateRequestStatus {
  conditions?: { type: string; status: string; reason: string; message?: string; lastTransitionTime?: string | null; observedGeneration?: number }[];
  certificateChain?: string;
  notBefore?: string;
  beginRefreshAt?: string;
  notAfter?: string;
}
export interface PodCertificateRequest extends KubeObject {
  spec: PodCertificateRequestSpec;
  status?: PodCertificateRequestStatus;
}

const keyBytesMax = 10 * 1024;
const chainBytesMax = 100 * 1024;
const uidBytesMax = 128;
const secondsLeast = 3600;
const secondsMost = { kubernetes: 86_400, others: 91 * 86_400 };
const decisions = ["Issued", "Denied", "Failed"];
const minuteMs = 60_000;

const keyPath = "spec.pkixPublicKey";
const chainPath = "status.certificateChain";

function validateSpec(spec: Partial<PodCertificateRequestSpec>): FieldError[] {
  const { signerName = "", podUID = "", serviceAccountUID = "", nodeUID = "", maxExpirationSeconds = secondsMost.kubernetes } = spec;
  const uid = (path: string, value: string): FieldError[] => {
    const errors = value === "" ? [invalid(path, value, "must not be empty")] : [];
    return Buffer.byteLength(value) > uidBytesMax ? [...errors, tooLong(path, uidBytesMax)] : errors;
  };
  const errors = [
    ...validateSignerName("spec.signerName", signerName),
    ...validateUserAnnotations("spec.unverifiedUserAnnotations", spec.unverifiedUserAnnotations),
    ...checked("spec.podName", spec.podName ?? "", dns1123Subdomain),
    ...uid("spec.podUID", podUID),
    ...checked("spec.serviceAccountName", spec.serviceAccountName ?? "", dns1123Subdomain),
    ...uid("spec.serviceAccountUID", serviceAccountUID),
    ...checked("spec.nodeName", spec.nodeName ?? "", dns1123Subdomain),
    ...uid("spec.nodeUID", nodeUID),
  ];
  const most = isKubernetesSigner(signerName) ? secondsMost.kubernetes : secondsMost.others;
  if (maxExpirationSeconds < secondsLeast || maxExpirationSeconds > most) errors.push(invalid("spec.maxExpirationSeconds", maxExpirationSeconds, `must be in the range [${secondsLeast}, ${most}]`));
  return [...errors, ...validateKey(spec.pkixPublicKey, spec.proofOfPossession ?? "", podUID)];
}

function validateKey(encoded: string | undefined, encodedProof: string, podUID: string): FieldError[] {
  const [bytes, proof] = [Buffer.from(encoded ?? "", "base64"), Buffer.from(encodedProof, "base64")];
  if (bytes.length > keyBytesMax) return [tooLong(keyPath, keyBytesMax)];
  if (proof.length > keyBytesMax) return [tooLong("spec.proofOfPossession", keyBytesMax)];
  const key = readKey(bytes);
  if (!key) return [invalid(keyPath, encoded, "must be a valid PKIX-serialized public key")];
  const wrong = keyError(key, encoded);
  if (wrong) return [wrong];
  return provesPossession(key, podUID, proof) ? [] : [senseless("spec.proofOfPossession", "could not verify proof-of-possession signature")];
}

/** Undefined: none that Go could read either. */
function readKey(bytes: Buffer): KeyObject | undefined {
  try {
    const key = createPublicKey({ key: bytes, format: "der", type: "spki" });
    const { namedCurve } = key.asymmetricKeyDetails ?? {};
    return namedCurve === undefined || namedCurve in curves ? key : undefined;
  } catch {
    return undefined;
  }
}
const curves: Record<string, string> = { secp224r1: "P-224", prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" };

function keyError(key: KeyObject, encoded: string | undefined): FieldError | undefined {
  const { namedCurve = "", modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "ed25519":
      return undefined;
    case "ec":
      return namedCurve === "secp224r1" ? invalid(keyPath, `curve ${curves[namedCurve]}`, "elliptic public keys must use curve P256 or P384") : undefined;
    case "rsa": {
      const bits = Math.ceil(modulusLength / 8) * 8;
      return bits === 3072 || bits === 4096 ? undefined : invalid(keyPath, `${bits}-bit modulus`, "RSA keys must have modulus size 3072 or 4096");
    }
    default:
      return invalid(keyPath, encoded, "unknown public key type; supported types are Ed25519, ECDSA, and RSA");
  }
}

/** Whether `proof` is the pod's uid, signed with the private half: Ed25519, ECDSA with SHA-256, or RSASSA-PSS with SHA-256. */
export function provesPossession(key: KeyObject, podUID: string, proof: Buffer): boolean {
  const signed = Buffer.from(podUID);
  try {
    if (key.asymmetricKeyType === "ed25519") return verify(null, signed, key, proof);
    return verify("sha256", signed, key.asymmetricKeyType === "rsa" ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO } : key, proof);
  } catch {
    return false; // no signature at all
  }
}

const conditionsOf = ({ status }: KubeObject): NonNullable<PodCertificateRequestStatus["conditions"]> => (status as PodCertificateRequestStatus | undefined)?.conditions ?? [];
const isDecided = (object: KubeObject, types = decisions): boolean => conditionsOf(object).some(({ type, status }) => types.includes(type) && status === "True");

function validateStatus(object: KubeObject, old: KubeObject, nowMs: number): FieldError[] {
  const conditions = conditionsOf(object);
  const errors: FieldError[] = [];
  let known = 0;
  conditions.forEach(({ type = "", status }, index) => {
    // The dot is upstream's.
    const at = `status.conditions.[${index}]`;
    if (!decisions.includes(type)) return errors.push(notSupported(`${at}.type`, type, decisions));
    if (++known > 1) errors.push(invalid(`${at}.type`, type, 'There may be at most one condition with type "Issued", "Denied", or "Failed"'));
    if (status !== "True") errors.push(notSupported(`${at}.status`, status ?? "", ["True"]));
    return undefined;
  });
  errors.push(...validateConditions("status.conditions", conditions));
  if (errors.length > 0) return errors;
  const status = (object.status ?? {}) as PodCertificateRequestStatus;
  const same = (left: unknown, right: unknown, why: string): FieldError[] => (semanticEqual(left, right) ? [] : [senseless("status", why)]);
  if (isDecided(old)) return same(status, old.status ?? {}, "immutable after PodCertificateRequest is issued, denied, or failed");
  if (isDecided(object, ["Denied", "Failed"])) return same(status, { conditions }, "non-condition status fields must be empty when denying or failing the PodCertificateRequest");
  if (isDecided(object)) return validateIssued(status, old.spec as PodCertificateRequestSpec, nowMs);
  return same(status, old.status ?? {}, 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"');
}

function validateIssued(status: PodCertificateRequestStatus, spec: PodCertificateRequestSpec, nowMs: number): FieldError[] {
  const { certificateChain: chain = "", notBefore, notAfter, beginRefreshAt } = status;
  if (Buffer.byteLength(chain) > chainBytesMax) return [tooLong(chainPath, chainBytesMax)];
  const [first, ...rest] = pemBlocks(chain);
  if (!first) return [invalid(chainPath, chain, "issued certificate chain must contain at least one certificate")];
  if (first.label !== "CERTIFICATE") return [invalid(chainPath, chain, "issued certificate chain must consist entirely of CERTIFICATE PEM blocks")];
  const leaf = readCertificate(first.bytes);
  if (!leaf) return [invalid(chainPath, chain, "leaf certificate does not parse as valid X.509")];
  const errors = nameErrors(leaf);
  const wanted = readKey(Buffer.from(spec.pkixPublicKey, "base64"));
  if (!wanted || !leaf.publicKey.equals(wanted)) return [...errors, invalid(chainPath, chain, "leaf certificate was not issued to the requested public key")];
  if (!notBefore) errors.push(required("status.notBefore", "must be present and consistent with the issued certificate"));
  if (!notAfter) errors.push(required("status.notAfter", "must be present and consistent with the issued certificate"));
  if (!beginRefreshAt) errors.push(required("status.beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"));
  if (errors.length > 0) return errors;

  const [fromMs, toMs, refreshMs] = [Date.parse(notBefore!), Date.parse(notAfter!), Date.parse(beginRefreshAt!)];
  const lifeMs = leaf.validToDate.getTime() - leaf.validFromDate.getTime();
  if (fromMs !== leaf.validFromDate.getTime()) return [invalid("status.notBefore", notBefore, "must be set to the NotBefore time encoded in the leaf certificate")];
  if (Math.abs(fromMs - nowMs) >= 5 * minuteMs) return [invalid("status.notBefore", notBefore, "must be set to within 5 minutes of kube-apiserver's current time")];
  if (toMs !== leaf.validToDate.getTime()) return [invalid("status.notAfter", notAfter, "must be set to the NotAfter time encoded in the leaf certificate")];
  // Go prints a duration in nanoseconds.
  if (lifeMs < 60 * minuteMs) return [invalid(chainPath, lifeMs * 1_000_000, "leaf certificate lifetime must be >= 1 hour")];
  if (lifeMs > spec.maxExpirationSeconds * 1000) return [invalid(chainPath, lifeMs * 1_000_000, `leaf certificate lifetime must be <= spec.maxExpirationSeconds (${spec.maxExpirationSeconds})`)];
  if (refreshMs < fromMs + 10 * minuteMs) return [invalid("status.beginRefreshAt", beginRefreshAt, "must be at least 10 minutes after status.notBefore")];
  if (refreshMs > toMs - 10 * minuteMs) return [invalid("status.beginRefreshAt", beginRefreshAt, "must be at least 10 minutes before status.notAfter")];
  for (const { label, bytes } of rest) {
    if (label !== "CERTIFICATE") return [invalid(chainPath, chain, "issued certificate chain must consist entirely of CERTFICATE PEM blocks")];
    if (!readCertificate(bytes)) return [invalid(chainPath, chain, "intermediate certificate does not parse as valid X.509")];
  }
  return [];
}

function readCertificate(bytes: Buffer): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(bytes);
    void certificate.publicKey;
    return certificate;
  } catch {
    return undefined;
  }
}

function nameErrors(leaf: X509Certificate): FieldError[] {
  const of = (type: string): string[] => (leaf.subjectAltName ?? "").split(", ").filter((entry) => entry.startsWith(`${type}:`)).map((entry) => entry.slice(type.length + 1));
  const dns = of("DNS").flatMap((found) => [
    ...(found === "" ? [invalid(chainPath, found, "leaf certificate should not contain empty DNSName")] : []),
    ...(found.includes("..") ? [invalid(chainPath, found, "leaf certificate's DNSName should not contain '..'")] : []),
    ...(found.startsWith(".") || found.endsWith(".") ? [invalid(chainPath, found, "leaf certificate's DNSName should not start or end with '.'")] : []),
  ]);
  return [...dns, ...of("email").filter((address) => !/^[^\s@]+@[^\s@]+$/.test(address)).map((address) => invalid(chainPath, address, "leaf certificate should not contain invalid EmailAddress"))];
}

export const podCertificateRequest: Strategy = {
  hasStatus: true,
  conditionalUpdate: true,
  prepareForCreate(object) {
    object.status = {};
  },
  validate: (object, old) => (old ? [] : validateSpec((object.spec ?? {}) as PodCertificateRequestSpec)),
  validateUpdate: (object, old) => immutable("spec", object.spec, old.spec),
  validateStatusUpdate: (object, old, ofMetadata = [], nowMs = 0) => (ofMetadata.length > 0 ? [] : validateStatus(object, old, nowMs)),
  columns: [
    name,
    text("PodName", ({ spec }) => spec?.podName),
    text("ServiceAccountName", ({ spec }) => spec?.serviceAccountName),
    text("NodeName", ({ spec }) => spec?.nodeName),
    text("SignerName", ({ spec }) => spec?.signerName),
    text("State", (object) => conditionsOf(object).findLast(({ type }) => decisions.includes(type))?.type ?? "Pending"),
    text("UnverifiedUserAnnotations", ({ spec }) => labelsText(spec?.unverifiedUserAnnotations)),
  ],
  selectableFields: ({ spec }) => ({ "spec.signerName": spec?.signerName ?? "", "spec.podName": spec?.podName ?? "", "spec.nodeName": spec?.nodeName ?? "" }),
};
