import { createPublicKey, constants, type KeyObject, verify } from "node:crypto";

/**
 * Certificate requests, read without the library that makes certificates: every write of one is validated, few are
 * signed. Source: RFC 2986 (PKCS #10), RFC 5280 §4.2.1.6 (alternative names), X.690 (DER).
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

interface Element {
  tag: number;
  /** With its header. */
  whole: Buffer;
  content: Buffer;
}

const malformed = (): Error => new Error("asn1: structure error: it is no PKCS #10 certificate request");

/** Throws an Error whose text is for the user. */
export function parseRequest(pem: string): CertificateRequest {
  const [, type, body] = /-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/.exec(pem) ?? [];
  if (type !== "CERTIFICATE REQUEST") throw new Error("PEM block type must be CERTIFICATE REQUEST");
  const [outer, ...rest] = elements(Buffer.from(body!.replace(/\s/g, ""), "base64"));
  if (!outer || rest.length > 0) throw malformed();
  const [info, algorithm, signature] = inside(outer, 0x30);
  const [version, subject, key, attributes] = inside(info, 0x30);
  if (version?.tag !== 0x02 || key?.tag !== 0x30 || signature?.tag !== 0x03 || algorithm?.tag !== 0x30) throw malformed();
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key: key.whole, format: "der", type: "spki" });
  } catch {
    throw new Error("x509: unknown public key algorithm");
  }
  const fields = inside(subject, 0x30).flatMap((set) => inside(set, 0x31)).map((pair) => inside(pair, 0x30));
  const named = (id: string): string[] => fields.filter(([type]) => type && objectId(type) === id).map(([, value]) => textOf(value));
  const alternativeNames = attributes?.tag === 0xa0 ? alternativesOf(attributes) : undefined;
  const names = alternativeNames ? inside(elements(alternativeNames)[0], 0x30) : [];
  const of = (tag: number): Buffer[] => names.filter((name) => name.tag === tag).map((name) => name.content);
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
    signatureError: () => signatureErrorOf(publicKey, objectId(inside(algorithm, 0x30)[0]!), info!.whole, signature.content.subarray(1)),
  };
}

const extensionRequest = "1.2.840.113549.1.9.14";
const subjectAlternativeName = "2.5.29.17";

function alternativesOf(attributes: Element): Buffer | undefined {
  for (const attribute of elements(attributes.content)) {
    const [type, values] = inside(attribute, 0x30);
    if (!type || objectId(type) !== extensionRequest) continue;
    for (const extension of inside(inside(values, 0x31)[0], 0x30)) {
      const parts = inside(extension, 0x30);
      if (parts[0] && objectId(parts[0]) === subjectAlternativeName) return parts.at(-1)!.content;
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

/** The elements of a constructed one with this tag. */
function inside(element: Element | undefined, tag: number): Element[] {
  if (element?.tag !== tag) throw malformed();
  return elements(element.content);
}

function elements(buffer: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < buffer.length; ) {
    let length = buffer[at + 1];
    let begin = at + 2;
    if (length === undefined) throw malformed();
    if (length >= 0x80) {
      const bytes = length & 0x7f;
      if (bytes === 0 || bytes > 4 || begin + bytes > buffer.length) throw malformed();
      length = buffer.readUIntBE(begin, bytes);
      begin += bytes;
    }
    const end = begin + length;
    if (end > buffer.length) throw malformed();
    found.push({ tag: buffer[at]!, whole: buffer.subarray(at, end), content: buffer.subarray(begin, end) });
    at = end;
  }
  return found;
}

function objectId({ tag, content }: Element): string {
  if (tag !== 0x06 || content.length === 0) throw malformed();
  const first = Math.min(Math.floor(content[0]! / 40), 2);
  const parts = [first, content[0]! - first * 40];
  let value = 0;
  for (const byte of content.subarray(1)) {
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      parts.push(value);
      value = 0;
    }
  }
  return parts.join(".");
}

function textOf(element: Element | undefined): string {
  switch (element?.tag) {
    case 0x0c: // UTF8String
    case 0x13: // PrintableString
    case 0x16: // IA5String
      return element.content.toString("utf8");
    case 0x14: // TeletexString
      return element.content.toString("latin1");
    case 0x1e: // BMPString
      if (element.content.length % 2 === 0) return Buffer.from(element.content).swap16().toString("utf16le");
  }
  throw malformed();
}

function addressOf(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new Error("x509: cannot parse IP address of length " + bytes.length);
  return Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16)).join(":");
}
