import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from "node:crypto";
import { addressBytes, bitString, der, elements, inside, namedBits, objectId, octets, pem, pemBlocks, sequence, setOf, smallInteger, tag, text, time, truth } from "../../base/der.ts";

/**
 * Certificates and certificate requests, written byte by byte with node:crypto alone: a library that can do everything takes
 * longer to load than a new stack takes to answer. Keys are RSA, ECDSA (P-256, P-384, P-521) and Ed25519.
 * Sources: RFC 5280 §4, RFC 2986, RFC 5758, RFC 8410.
 */
export type SubjectPart = readonly [type: keyof typeof subjectTypes, value: string];

export interface AlternativeNames {
  dnsNames?: readonly string[];
  /** Dotted, or with colons. */
  addresses?: readonly string[];
  uris?: readonly string[];
  emails?: readonly string[];
}

/** Names are compared as RFC 5280 §4.2.1.10 says: a DNS name covers those below it. Networks are "10.0.0.0/8". */
export interface NameConstraints {
  permitted?: { dnsDomains?: readonly string[]; ipRanges?: readonly string[]; emailAddresses?: readonly string[]; uriDomains?: readonly string[] };
  excluded?: NameConstraints["permitted"];
  critical?: boolean;
}

export interface CertificateTemplate {
  /** DER of a Name. */
  subject: Buffer;
  /** DER of a SubjectPublicKeyInfo. */
  publicKey: Buffer;
  /** DER of GeneralNames. */
  alternativeNames?: Buffer | undefined;
  notBefore: Date;
  notAfter: Date;
  isCA: boolean;
  /** Of an authority: how many more may stand below it. */
  pathLength?: number;
  /** As the API calls them: "digital signature", "server auth". */
  usages: readonly string[];
  nameConstraints?: NameConstraints;
  crlDistributionPoints?: readonly string[];
  ocspServers?: readonly string[];
  issuingCertificateURLs?: readonly string[];
}

/** Both PEM; the key as PKCS #8 where we made it. */
export interface Pair {
  cert: string;
  key: string;
}

const subjectTypes = { CN: "2.5.4.3", SERIALNUMBER: "2.5.4.5", C: "2.5.4.6", L: "2.5.4.7", ST: "2.5.4.8", STREET: "2.5.4.9", O: "2.5.4.10", OU: "2.5.4.11", POSTALCODE: "2.5.4.17" } as const;
/** RFC 5280 appendix A lets these be nothing else. */
const printable: ReadonlySet<string> = new Set(["C", "SERIALNUMBER"]);

const keyUsages: Record<string, number> = {
  signing: 0,
  "digital signature": 0,
  "content commitment": 1,
  "key encipherment": 2,
  "data encipherment": 3,
  "key agreement": 4,
  "cert sign": 5,
  "crl sign": 6,
  "encipher only": 7,
  "decipher only": 8,
};
const extendedUsages: Record<string, string> = {
  any: "2.5.29.37.0",
  "server auth": "1.3.6.1.5.5.7.3.1",
  "client auth": "1.3.6.1.5.5.7.3.2",
  "code signing": "1.3.6.1.5.5.7.3.3",
  "email protection": "1.3.6.1.5.5.7.3.4",
  "s/mime": "1.3.6.1.5.5.7.3.4",
  "ipsec end system": "1.3.6.1.5.5.7.3.5",
  "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
  "ipsec user": "1.3.6.1.5.5.7.3.7",
  timestamping: "1.3.6.1.5.5.7.3.8",
  "ocsp signing": "1.3.6.1.5.5.7.3.9",
  "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
  "netscape sgc": "2.16.840.1.113730.4.1",
};
export const isUsage = (name: string): boolean => Object.hasOwn(keyUsages, name) || Object.hasOwn(extendedUsages, name);

/** In their order, each a set of its own. */
export const nameOf = (subject: readonly SubjectPart[]): Buffer => sequence(...subject.map(([type, value]) => setOf(sequence(objectId(subjectTypes[type]), printable.has(type) ? der(tag.printable, Buffer.from(value)) : text(value)))));

/** What {@link nameOf} wrote, or others did. */
export function readName(name: Buffer): SubjectPart[] {
  const byId = new Map(Object.entries(subjectTypes).map(([type, id]) => [objectId(id).toString("hex"), type as SubjectPart[0]]));
  return inside(elements(name)[0], tag.sequence)
    .flatMap((set) => inside(set, tag.set))
    .flatMap((pair): SubjectPart[] => {
      const [id, value] = inside(pair, tag.sequence);
      const type = id && byId.get(id.whole.toString("hex"));
      return type && value ? [[type, value.content.toString(value.tag === 0x14 ? "latin1" : "utf8")]] : [];
    });
}

/** DER of the GeneralNames, undefined when there are none. */
export function generalNames({ dnsNames = [], addresses = [], uris = [], emails = [] }: AlternativeNames): Buffer | undefined {
  const names = [...dnsNames.map((name) => der(0x82, Buffer.from(name))), ...emails.map((email) => der(0x81, Buffer.from(email))), ...addresses.map((address) => der(0x87, addressBytes(address))), ...uris.map((uri) => der(0x86, Buffer.from(uri)))];
  return names.length > 0 ? sequence(...names) : undefined;
}

const extension = (id: string, critical: boolean, value: Buffer): Buffer => sequence(objectId(id), ...(critical ? [truth()] : []), octets(value));

function usageExtensions(usages: readonly string[]): Buffer[] {
  const bits = [...new Set(usages.flatMap((name) => keyUsages[name] ?? []))];
  const purposes = [...new Set(usages.flatMap((name) => extendedUsages[name] ?? []))];
  return [...(bits.length > 0 ? [extension("2.5.29.15", true, namedBits(bits))] : []), ...(purposes.length > 0 ? [extension("2.5.29.37", false, sequence(...purposes.map(objectId)))] : [])];
}

/** DER of the extension's value: the same constraints are the same bytes. */
export function constraintsValue({ permitted, excluded }: NameConstraints): Buffer {
  const trees = ({ dnsDomains = [], ipRanges = [], emailAddresses = [], uriDomains = [] }: NonNullable<NameConstraints["permitted"]>) =>
    [
      ...dnsDomains.map((domain) => der(0x82, Buffer.from(domain))),
      ...emailAddresses.map((email) => der(0x81, Buffer.from(email))),
      ...uriDomains.map((domain) => der(0x86, Buffer.from(domain))),
      ...ipRanges.map((range) => der(0x87, networkBytes(range))),
    ].map((name) => sequence(name));
  return sequence(...(permitted ? [der(0xa0, ...trees(permitted))] : []), ...(excluded ? [der(0xa1, ...trees(excluded))] : []));
}
const constraintsExtension = (constraints: NameConstraints): Buffer => extension("2.5.29.30", constraints.critical ?? false, constraintsValue(constraints));

/** Address and mask. */
function networkBytes(range: string): Buffer {
  const [address = "", length] = range.split("/");
  const bytes = addressBytes(address);
  const mask = bytes.map((_, index) => 0xff & (0xff00 >> Math.max(0, Math.min(8, Number(length) - 8 * index))));
  return Buffer.concat([bytes, mask]);
}

const hashes = ["sha256", "sha384", "sha512"] as const;
type Hash = (typeof hashes)[number];
const rsaWith = { sha256: "1.2.840.113549.1.1.11", sha384: "1.2.840.113549.1.1.12", sha512: "1.2.840.113549.1.1.13" };
const ecdsaWith = { sha256: "1.2.840.10045.4.3.2", sha384: "1.2.840.10045.4.3.3", sha512: "1.2.840.10045.4.3.4" };

/** AlgorithmIdentifier and signature, of `content`. Without `hash`: as strong as the key. */
function signed(content: Buffer, key: KeyObject, hash?: Hash): Buffer {
  const [algorithm, digest] = signatureOf(key, hash);
  return sequence(content, algorithm, bitString(sign(digest, content, key)));
}
function signatureOf(key: KeyObject, hash?: Hash): [algorithm: Buffer, digest: Hash | null] {
  const { modulusLength = 2048, namedCurve } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "rsa": {
      const digest = hash ?? (modulusLength >= 4096 ? "sha512" : modulusLength >= 3072 ? "sha384" : "sha256");
      return [sequence(objectId(rsaWith[digest]), der(tag.null)), digest];
    }
    case "ec": {
      const digest = hash ?? (namedCurve === "secp521r1" ? "sha512" : namedCurve === "secp384r1" ? "sha384" : "sha256");
      return [sequence(objectId(ecdsaWith[digest])), digest];
    }
    case "ed25519":
      return [sequence(objectId("1.3.101.112")), null];
    default:
      throw new Error(`unsupported key type ${JSON.stringify(key.asymmetricKeyType)}`);
  }
}

/** SHA-1 of the key's bits: RFC 5280 §4.2.1.2, method 1. */
function keyIdentifier(publicKey: Buffer): Buffer {
  const [, bits] = inside(elements(publicKey)[0], tag.sequence);
  return createHash("sha1").update(bits!.content.subarray(1)).digest();
}

/** The subject of a certificate (PEM or DER), byte by byte as it was written: Go compares no other way. */
export function subjectOf(certificate: string | Buffer): Buffer {
  const bytes = typeof certificate === "string" ? pemBlocks(certificate)[0]!.bytes : certificate;
  const [body] = inside(elements(bytes)[0], tag.sequence);
  const fields = inside(body, tag.sequence);
  // The version stands first only where it is not 1: §4.1.
  return fields[fields[0]!.tag === 0xa0 ? 5 : 4]!.whole;
}

/** PEM. Without `issuer` the key signs its own certificate. */
export function makeCertificate(template: CertificateTemplate, key: KeyObject, issuer?: { cert: string }): string {
  const issuerName = issuer ? subjectOf(issuer.cert) : template.subject;
  const issuerKey = issuer ? createPublicKey(issuer.cert).export({ type: "spki", format: "der" }) : template.publicKey;
  const { isCA, pathLength, alternativeNames, nameConstraints, crlDistributionPoints = [], ocspServers = [], issuingCertificateURLs = [] } = template;
  const place = (url: string) => der(0x86, Buffer.from(url));
  const access = [...ocspServers.map((url) => sequence(objectId("1.3.6.1.5.5.7.48.1"), place(url))), ...issuingCertificateURLs.map((url) => sequence(objectId("1.3.6.1.5.5.7.48.2"), place(url)))];
  const extensions = [
    ...usageExtensions(template.usages),
    extension("2.5.29.19", true, sequence(...(isCA ? [truth(), ...(pathLength === undefined ? [] : [smallInteger(pathLength)])] : []))),
    ...(isCA ? [extension("2.5.29.14", false, octets(keyIdentifier(template.publicKey)))] : []),
    ...(issuer ? [extension("2.5.29.35", false, sequence(der(0x80, keyIdentifier(issuerKey))))] : []),
    ...(access.length > 0 ? [extension("1.3.6.1.5.5.7.1.1", false, sequence(...access))] : []),
    ...(alternativeNames ? [extension("2.5.29.17", template.subject.length <= 2, alternativeNames)] : []),
    ...(nameConstraints ? [constraintsExtension(nameConstraints)] : []),
    ...(crlDistributionPoints.length > 0 ? [extension("2.5.29.31", false, sequence(...crlDistributionPoints.map((url) => sequence(der(0xa0, der(0xa0, place(url)))))))] : []),
  ];
  const body = sequence(
    der(0xa0, smallInteger(2)), // version 3
    // Positive, without a leading zero that is not needed.
    der(tag.integer, Buffer.from([0x40 | (randomBytes(1)[0]! & 0x3f)]), randomBytes(15)),
    signatureOf(key)[0],
    issuerName,
    sequence(time(template.notBefore), time(template.notAfter)),
    template.subject,
    template.publicKey,
    der(0xa3, sequence(...extensions)),
  );
  return pem("CERTIFICATE", signed(body, key));
}

export interface RequestTemplate {
  subject: Buffer;
  alternativeNames?: Buffer | undefined;
  /** Asked for in the request; undefined: nothing is said of it. */
  usages?: readonly string[] | undefined;
  nameConstraints?: NameConstraints | undefined;
  hash?: Hash | undefined;
}

/** A PKCS #10 request, PEM. */
export function makeRequest({ subject, alternativeNames, usages = [], nameConstraints, hash }: RequestTemplate, key: KeyObject): string {
  const extensions = [...(alternativeNames ? [extension("2.5.29.17", subject.length <= 2, alternativeNames)] : []), ...usageExtensions(usages), ...(nameConstraints ? [constraintsExtension(nameConstraints)] : [])];
  const attributes = extensions.length > 0 ? [sequence(objectId("1.2.840.113549.1.9.14"), setOf(sequence(...extensions)))] : [];
  const info = sequence(smallInteger(0), subject, publicKeyOf(key), der(0xa0, ...attributes));
  return pem("CERTIFICATE REQUEST", signed(info, key, hash));
}

/** DER of the public half of a private key. */
export const publicKeyOf = (key: KeyObject): Buffer => createPublicKey(key).export({ type: "spki", format: "der" });

/** An extension's value, or undefined. `certificate`: DER. */
export function extensionOf(certificate: Buffer, id: string): Buffer | undefined {
  const [body] = inside(elements(certificate)[0], tag.sequence);
  const list = inside(body, tag.sequence).find((field) => field.tag === 0xa3);
  for (const one of list ? inside(elements(list.content)[0], tag.sequence) : []) {
    const parts = inside(one, tag.sequence);
    if (parts[0]!.whole.equals(objectId(id))) return parts.at(-1)!.content;
  }
  return undefined;
}
