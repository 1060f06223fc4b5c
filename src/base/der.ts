/**
 * ASN.1 in DER, as far as certificates need it: values are written from the inside out, and read as the elements that lie one
 * behind the other. Sources: X.690, RFC 5280 §4.1.2.5 (times), RFC 7468 (PEM).
 */
export const tag = { boolean: 0x01, integer: 0x02, bits: 0x03, octets: 0x04, null: 0x05, oid: 0x06, utf8: 0x0c, printable: 0x13, ia5: 0x16, sequence: 0x30, set: 0x31, utcTime: 0x17, generalizedTime: 0x18 } as const;

export interface Element {
  tag: number;
  /** With its header. */
  whole: Buffer;
  content: Buffer;
}

export function der(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length > 0xffff) throw new RangeError(`${length} bytes of a certificate`);
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([type, ...head]), content]);
}
export const sequence = (...parts: readonly Uint8Array[]): Buffer => der(tag.sequence, ...parts);
/** Its elements in the order of their bytes, as DER wants them. */
export const setOf = (...parts: readonly Uint8Array[]): Buffer => der(tag.set, ...parts.toSorted(Buffer.compare));
export const truth = (): Buffer => der(tag.boolean, Buffer.from([0xff]));
export const octets = (content: Uint8Array): Buffer => der(tag.octets, content);
/** Whole bytes. */
export const bitString = (content: Uint8Array): Buffer => der(tag.bits, Buffer.from([0]), content);
export const text = (value: string): Buffer => der(tag.utf8, Buffer.from(value));
export const smallInteger = (value: number): Buffer => der(tag.integer, Buffer.from([value]));

/** Named bits, the first being 0; those at the end that are not set are left out. */
export function namedBits(set: readonly number[]): Buffer {
  const highest = Math.max(...set);
  const bytes = Buffer.alloc((highest >> 3) + 1);
  for (const bit of set) bytes[bit >> 3]! |= 0x80 >> (bit & 7);
  return der(tag.bits, Buffer.from([7 - (highest & 7)]), bytes);
}

/** "2.5.29.17". */
export function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [40 * first + second, ...rest].flatMap((part) => {
    const groups = [part & 0x7f];
    for (let more = Math.floor(part / 128); more > 0; more = Math.floor(more / 128)) groups.unshift((more & 0x7f) | 0x80);
    return groups;
  });
  return der(tag.oid, Buffer.from(bytes));
}

/** "2.5.29.17" of an element that is an object identifier. */
export function dottedId(element: Element | undefined): string {
  if (element?.tag !== tag.oid || element.content.length === 0) throw malformed();
  const [head = 0, ...bytes] = element.content;
  const first = Math.min(Math.floor(head / 40), 2);
  const parts = [first, head - first * 40];
  let value = 0;
  for (const byte of bytes) {
    value = value * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      parts.push(value);
      value = 0;
    }
  }
  return parts.join(".");
}

/** UTCTime up to 2049, GeneralizedTime after it. */
export function time(date: Date): Buffer {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  return date.getUTCFullYear() < 2050 ? der(tag.utcTime, Buffer.from(digits.slice(2))) : der(tag.generalizedTime, Buffer.from(digits));
}

/** Bytes that are no DER, or not what was looked for. */
export class DerError extends Error {}
const malformed = (): Error => new DerError("asn1: structure error");

/** Throws when the bytes are none. */
export function elements(bytes: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    let length = bytes[at + 1];
    let begin = at + 2;
    if (length === undefined) throw malformed();
    if (length >= 0x80) {
      const more = length & 0x7f;
      if (more === 0 || more > 4 || begin + more > bytes.length) throw malformed();
      length = bytes.readUIntBE(begin, more);
      begin += more;
    }
    const end = begin + length;
    if (end > bytes.length) throw malformed();
    found.push({ tag: bytes[at]!, whole: bytes.subarray(at, end), content: bytes.subarray(begin, end) });
    at = end;
  }
  return found;
}

/** The elements of a constructed one with this tag. */
export function inside(element: Element | undefined, type: number): Element[] {
  if (element?.tag !== type) throw malformed();
  return elements(element.content);
}

/** 4 or 16 bytes of an IP address. */
export function addressBytes(address: string): Buffer {
  if (!address.includes(":")) return Buffer.from(address.split(".").map(Number));
  // The last 32 bits may be dotted.
  const plain = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => [0, 2].map((at) => (Number(parts[at]) * 256 + Number(parts[at + 1])).toString(16)).join(":"));
  const [head = "", tail] = plain.split("::");
  const words = (part: string) => part.split(":").filter(Boolean).map((word) => Number.parseInt(word, 16));
  const [first, last] = [words(head), words(tail ?? "")];
  const bytes = Buffer.alloc(16);
  for (const [index, word] of first.entries()) bytes.writeUInt16BE(word, 2 * index);
  for (const [index, word] of last.entries()) bytes.writeUInt16BE(word, 16 - 2 * (last.length - index));
  return bytes;
}

export const pem = (label: string, bytes: Uint8Array): string => `-----BEGIN ${label}-----\n${Buffer.from(bytes).toString("base64").replaceAll(/(.{64})(?=.)/g, "$1\n")}\n-----END ${label}-----\n`;

/** The blocks of a PEM text in their order, with their labels. */
export function pemBlocks(textual: string): { label: string; bytes: Buffer; whole: string }[] {
  return Array.from(textual.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----([\s\S]*?)-----END \1-----/g), ([whole, label, body]) => ({ label: label!, bytes: Buffer.from(body!.replaceAll(/\s/g, ""), "base64"), whole: `${whole}\n` }));
}
