import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from "node:crypto";

/**
 * Certificates of our own making, written byte by byte: an authority and what it signs, always on P-256. The library
 * that can do everything takes longer to load than all else that a new stack does before it answers. It stays for
 * requests that strangers made (authn/sign-request.ts). Sources: RFC 5280 §4, RFC 5480, X.690 (DER).
 */
export interface CertificateWish {
  /** In order, as they are shown: O before CN. */
  subject: readonly (readonly ["CN" | "O", string])[];
  notBefore: Date;
  notAfter: Date;
  /** Who signs; undefined: it is an authority and signs itself. */
  authority: Pair | undefined;
  /** What a server is known by; addresses are dotted or with colons. */
  names?: readonly string[];
  addresses?: readonly string[];
  /** For a client; else for a server. */
  client?: boolean;
}

/** Both PEM; the key as PKCS #8. */
export interface Pair {
  cert: string;
  key: string;
}

export function makeCertificate(wish: CertificateWish): Pair {
  const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = keys.publicKey.export({ type: "spki", format: "der" });
  const name = nameOf(wish.subject);
  const { authority } = wish;
  const issuer = authority === undefined ? { name, key } : issuerOf(authority.cert);
  const alternatives = [...(wish.names ?? []).map((text) => der(0x82, Buffer.from(text))), ...(wish.addresses ?? []).map((text) => der(0x87, addressBytes(text)))];
  const extensions =
    authority === undefined
      ? [extension(oid.basicConstraints, true, sequence(der(tag.boolean, Buffer.from([0xff])))), extension(oid.keyUsage, true, bits(0b1000_0110, 1)), extension(oid.subjectKeyIdentifier, false, der(tag.octets, keyIdentifier(key)))]
      : [
          extension(oid.basicConstraints, true, sequence()),
          extension(oid.keyUsage, true, bits(0b1000_0000, 7)),
          extension(oid.extendedKeyUsage, false, sequence(wish.client ? oid.clientAuth : oid.serverAuth)),
          extension(oid.authorityKeyIdentifier, false, sequence(der(0x80, keyIdentifier(issuer.key)))),
          ...(alternatives.length > 0 ? [extension(oid.subjectAltName, false, sequence(...alternatives))] : []),
        ];
  const body = sequence(
    der(0xa0, der(tag.integer, Buffer.from([2]))), // version 3
    // Positive, without a leading zero that is not needed.
    der(tag.integer, Buffer.concat([Buffer.from([0x40 | (randomBytes(1)[0]! & 0x3f)]), randomBytes(15)])),
    ecdsaWithSha256,
    issuer.name,
    sequence(time(wish.notBefore), time(wish.notAfter)),
    name,
    key,
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign("sha256", body, authority === undefined ? keys.privateKey : createPrivateKey(authority.key));
  const whole = sequence(body, ecdsaWithSha256, der(tag.bits, Buffer.concat([Buffer.from([0]), signature])));
  return { cert: pem("CERTIFICATE", whole), key: keys.privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

/** For names that nobody has a certificate for, signed by an authority that is forgotten at once: no client trusts it. */
export function makeFakeCertificate(nowMs: number): { certificate: string; key: string } {
  const common = { notBefore: new Date(nowMs - 3_600_000), notAfter: new Date(nowMs + 365 * 86_400_000) };
  const authority = makeCertificate({ ...common, subject: [["O", "Wherry"], ["CN", "Ingress Fake Authority"]], authority: undefined });
  const { cert, key } = makeCertificate({ ...common, subject: [["O", "Wherry"], ["CN", "Ingress Fake Certificate"]], authority, names: ["ingress.local"] });
  return { certificate: cert, key };
}

const tag = { boolean: 0x01, integer: 0x02, bits: 0x03, octets: 0x04, oid: 0x06, utf8: 0x0c, sequence: 0x30, set: 0x31, utcTime: 0x17, generalizedTime: 0x18 } as const;

function der(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  if (length > 0xffff) throw new RangeError(`${length} bytes of a certificate`);
  return Buffer.concat([Buffer.from([type, ...head]), content]);
}
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(tag.sequence, ...parts);
const identifier = (hex: string): Buffer => der(tag.oid, Buffer.from(hex, "hex"));

/** 2.5.4.n, 2.5.29.n and 1.3.6.1.5.5.7.3.n. */
const oid = {
  CN: identifier("550403"),
  O: identifier("55040a"),
  subjectKeyIdentifier: identifier("551d0e"),
  keyUsage: identifier("551d0f"),
  subjectAltName: identifier("551d11"),
  basicConstraints: identifier("551d13"),
  authorityKeyIdentifier: identifier("551d23"),
  extendedKeyUsage: identifier("551d25"),
  serverAuth: identifier("2b06010505070301"),
  clientAuth: identifier("2b06010505070302"),
};
/** 1.2.840.10045.4.3.2, without parameters. */
const ecdsaWithSha256 = sequence(identifier("2a8648ce3d040302"));

const extension = (id: Buffer, critical: boolean, value: Buffer): Buffer => sequence(id, ...(critical ? [der(tag.boolean, Buffer.from([0xff]))] : []), der(tag.octets, value));
/** Flags of one byte, the last `unused` of which are none. */
const bits = (flags: number, unused: number): Buffer => der(tag.bits, Buffer.from([unused, flags]));
const nameOf = (subject: CertificateWish["subject"]): Buffer => sequence(...subject.map(([type, text]) => der(tag.set, sequence(oid[type], der(tag.utf8, Buffer.from(text))))));

/** UTCTime up to 2049, GeneralizedTime after it: RFC 5280 §4.1.2.5. */
function time(date: Date): Buffer {
  const text = `${date.toISOString().replaceAll(/[-:T]|\.\d+/g, "")}`;
  return date.getUTCFullYear() < 2050 ? der(tag.utcTime, Buffer.from(text.slice(2))) : der(tag.generalizedTime, Buffer.from(text));
}

/** SHA-1 of the key's bits: RFC 5280 §4.2.1.2, method 1. `key`: a SubjectPublicKeyInfo. */
function keyIdentifier(key: Buffer): Buffer {
  const [, point] = children(children(key)[0]!.content);
  return createHash("sha1").update(point!.content.subarray(1)).digest();
}

/** The subject of a certificate, byte by byte as it was written, and its key. */
function issuerOf(cert: string): { name: Buffer; key: Buffer } {
  const whole = Buffer.from(cert.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  const [body] = children(children(whole)[0]!.content);
  // Version, serial, algorithm, issuer, validity, subject, key: §4.1.
  const fields = children(body!.content);
  return { name: fields[5]!.whole, key: createPublicKey(cert).export({ type: "spki", format: "der" }) };
}

/** The elements that lie one behind the other. */
function children(bytes: Buffer): { whole: Buffer; content: Buffer }[] {
  const found: { whole: Buffer; content: Buffer }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at + 1]!;
    const more = first < 0x80 ? 0 : first & 0x7f;
    const length = more === 0 ? first : bytes.readUIntBE(at + 2, more);
    const start = at + 2 + more;
    found.push({ whole: bytes.subarray(at, start + length), content: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return found;
}

/** 4 or 16 bytes of an address, as subjectAltName has them. */
function addressBytes(text: string): Buffer {
  if (!text.includes(":")) return Buffer.from(text.split(".").map(Number));
  const [head = "", tail] = text.split("::");
  const words = (part: string) => part.split(":").filter(Boolean).map((word) => Number.parseInt(word, 16));
  const [first, last] = [words(head), words(tail ?? "")];
  const bytes = Buffer.alloc(16);
  for (const [index, word] of first.entries()) bytes.writeUInt16BE(word, 2 * index);
  for (const [index, word] of last.entries()) bytes.writeUInt16BE(word, 16 - 2 * (last.length - index));
  return bytes;
}

const pem = (label: string, bytes: Buffer): string => `-----BEGIN ${label}-----\n${bytes.toString("base64").replaceAll(/(.{64})(?=.)/g, "$1\n")}\n-----END ${label}-----\n`;
