import { createPublicKey, constants, type KeyObject, verify } from "node:crypto";
import { DerError, dottedId, type Element, elements, inside, pemBlocks, tag } from "../../../base/der.ts";

/**
 * Certificate requests, as strangers write them: every write of one is validated, few are signed.
 * Source: RFC 2986 (PKCS #10), RFC 5280 §4.2.1.6 (alternative names), X.690 (DER).
 */
export interface CertificateRequest {
  /** DER. */
  subject: Buffer;
  commonName: string;
  organizations: string[];
  /** DER of the SubjectPublicKeyInfo. */
  publicKey: Buffer;
  /** DER of the GeneralNames, if there are any. */
  alternativeNames: Buffer | undefined;
  dnsNames: string[];
  addresses: string[];
  emails: string[];
  uris: string[];
  /** What is wrong with its signature, in Go's words. */
  signatureError(): string | undefined;
}

/** Throws an Error whose text is for the user. */
export function parseRequest(pem: string): CertificateRequest {
  const [block] = pemBlocks(pem);
  if (block?.label !== "CERTIFICATE REQUEST") throw new Error("PEM block type must be CERTIFICATE REQUEST");
  try {
    return read(block.bytes);
  } catch (error) {
    if (error instanceof DerError) throw new Error(`${error.message}: it is no PKCS #10 certificate request`, { cause: error });
    throw error;
  }
}

function read(bytes: Buffer): CertificateRequest {
  const [outer, ...rest] = elements(bytes);
  if (!outer || rest.length > 0) throw new DerError("asn1: structure error");
  const [info, algorithm, signature] = inside(outer, tag.sequence);
  const [version, subject, key, attributes] = inside(info, tag.sequence);
  if (version?.tag !== tag.integer || key?.tag !== tag.sequence || signature?.tag !== tag.bits || algorithm?.tag !== tag.sequence) throw new DerError("asn1: structure error");
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key: key.whole, format: "der", type: "spki" });
  } catch {
    throw new Error("x509: unknown public key algorithm");
  }
  const fields = inside(subject, tag.sequence).flatMap((set) => inside(set, tag.set)).map((pair) => inside(pair, tag.sequence));
  const named = (id: string): string[] => fields.filter(([type]) => dottedId(type) === id).map(([, value]) => textOf(value));
  const alternativeNames = attributes?.tag === 0xa0 ? alternativesOf(attributes) : undefined;
  const names = alternativeNames ? inside(elements(alternativeNames)[0], tag.sequence) : [];
  const of = (type: number): Buffer[] => names.filter((name) => name.tag === type).map((name) => name.content);
  const signedWith = dottedId(inside(algorithm, tag.sequence)[0]);
  return {
    subject: subject!.whole,
    commonName: named("2.5.4.3").at(-1) ?? "",
    organizations: named("2.5.4.10"),
    publicKey: key.whole,
    alternativeNames,
    emails: of(0x81).map(String),
    dnsNames: of(0x82).map(String),
    uris: of(0x86).map(String),
    addresses: of(0x87).map(addressOf),
    signatureError: () => signatureErrorOf(publicKey, signedWith, info!.whole, signature.content.subarray(1)),
  };
}

const extensionRequest = "1.2.840.113549.1.9.14";
const subjectAlternativeName = "2.5.29.17";

function alternativesOf(attributes: Element): Buffer | undefined {
  for (const attribute of elements(attributes.content)) {
    const [type, values] = inside(attribute, tag.sequence);
    if (dottedId(type) !== extensionRequest) continue;
    for (const extension of inside(inside(values, tag.set)[0], tag.sequence)) {
      const parts = inside(extension, tag.sequence);
      if (dottedId(parts[0]) === subjectAlternativeName) return parts.at(-1)!.content;
    }
  }
  return undefined;
}

const rsa = (hash: string) => ({ hash, key: "rsa", failure: "crypto/rsa: verification error" });
const ecdsa = (hash: string) => ({ hash, key: "ec", failure: "x509: ECDSA verification failure" });
const algorithms: Record<string, { hash: string | null; key: string; failure: string }> = {
  "1.2.840.113549.1.1.11": rsa("sha256"),
  "1.2.840.113549.1.1.12": rsa("sha384"),
  "1.2.840.113549.1.1.13": rsa("sha512"),
  "1.2.840.10045.4.3.2": ecdsa("sha256"),
  "1.2.840.10045.4.3.3": ecdsa("sha384"),
  "1.2.840.10045.4.3.4": ecdsa("sha512"),
  "1.3.101.112": { hash: null, key: "ed25519", failure: "x509: Ed25519 verification failure" },
};
const insecure: Record<string, string> = { "1.2.840.113549.1.1.4": "MD5-RSA", "1.2.840.113549.1.1.5": "SHA1-RSA", "1.2.840.10045.4.1": "ECDSA-SHA1" };
const rsaPss = "1.2.840.113549.1.1.10";

function signatureErrorOf(key: KeyObject, id: string, content: Buffer, signature: Buffer): string | undefined {
  if (insecure[id]) return `x509: cannot verify signature: insecure algorithm ${insecure[id]}`;
  if (id === rsaPss) {
    const fits = ["sha256", "sha384", "sha512"].some((hash) => key.asymmetricKeyType === "rsa" && verify(hash, content, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }, signature));
    return fits ? undefined : "crypto/rsa: verification error";
  }
  const algorithm = algorithms[id];
  if (!algorithm || algorithm.key !== key.asymmetricKeyType) return "x509: cannot verify signature: algorithm unimplemented";
  try {
    return verify(algorithm.hash, content, key, signature) ? undefined : algorithm.failure;
  } catch {
    return algorithm.failure;
  }
}

function textOf(element: Element | undefined): string {
  switch (element?.tag) {
    case tag.utf8:
    case tag.printable:
    case tag.ia5:
      return element.content.toString("utf8");
    case 0x14: // TeletexString
      return element.content.toString("latin1");
    case 0x1e: // BMPString
      if (element.content.length % 2 === 0) return Buffer.from(element.content).swap16().toString("utf16le");
  }
  throw new DerError("asn1: structure error");
}

function addressOf(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new Error("x509: cannot parse IP address of length " + bytes.length);
  return Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16)).join(":");
}
