/** DNS messages on the wire, as far as a cluster's name server needs them. Source: RFC 1035, 2308, 2782, 6891. */
export const types = { A: 1, NS: 2, CNAME: 5, SOA: 6, PTR: 12, MX: 15, TXT: 16, AAAA: 28, SRV: 33, OPT: 41, ANY: 255 } as const;
export const rcodes = { ok: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4, refused: 5, badVersion: 16 } as const;

export interface Query {
  id: number;
  recursionDesired: boolean;
  /** Lower case, no final dot; "" is the root. */
  name: string;
  type: number;
  class: number;
  /** The question as it came: echoed byte by byte, since some resolvers check the case of letters. */
  question: Buffer;
  /** The sender's UDP buffer when it speaks EDNS. */
  edns: { udpBytes: number; version: number } | undefined;
}

export type DnsRecord = { name: string; ttl: number } & (
  | { type: "A"; ip: string }
  | { type: "CNAME" | "PTR" | "NS"; target: string }
  | { type: "SRV"; priority: number; weight: number; port: number; target: string }
  | { type: "MX"; priority: number; target: string }
  | { type: "TXT"; texts: string[] }
  | { type: "SOA"; primary: string; contact: string; serial: number; minimumSeconds: number }
);

export interface Response {
  rcode: number;
  authoritative: boolean;
  answers: DnsRecord[];
  authority?: DnsRecord[];
  additional?: DnsRecord[];
}

const headerBytes = 12;
const nameBytesMax = 255;
/** What we promise to take by UDP; larger answers may be lost in fragments on real networks. */
const ednsBytes = 1232;
const classicBytes = 512;

/**
 * The one question of a message; a number is the rcode to answer with, undefined means that no answer is due
 * (too short to have an id, or itself an answer: answering those would let two servers talk for ever).
 */
export function decodeQuery(message: Buffer): Query | { id: number; rcode: number } | undefined {
  if (message.length < headerBytes) return undefined;
  const id = message.readUInt16BE(0);
  const flags = message.readUInt16BE(2);
  if (flags & 0x8000) return undefined;
  if ((flags >> 11) & 15) return { id, rcode: rcodes.notImplemented };
  if (message.readUInt16BE(4) !== 1 || message.readUInt16BE(6) !== 0) return { id, rcode: rcodes.formatError };
  const name = readPlainName(message, headerBytes);
  if (!name || name.end + 4 > message.length) return { id, rcode: rcodes.formatError };
  return {
    id,
    recursionDesired: (flags & 0x0100) !== 0,
    name: name.text.toLowerCase(),
    type: message.readUInt16BE(name.end),
    class: message.readUInt16BE(name.end + 2),
    question: Buffer.from(message.subarray(headerBytes, name.end + 4)),
    edns: readEdns(message, name.end + 4, message.readUInt16BE(8) + message.readUInt16BE(10)),
  };
}

/** A question's name has no compression, and each label's bytes stand for themselves. */
function readPlainName(message: Buffer, start: number): { text: string; end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > 63 || at - start > nameBytesMax) return undefined;
    if (length === 0) return { text: labels.join("."), end: at + 1 };
    if (at + 1 + length > message.length) return undefined;
    const label = message.toString("latin1", at + 1, at + 1 + length);
    // A dot inside a label would look like two labels.
    labels.push(label.includes(".") ? label.replaceAll(".", "\\046") : label);
    at += 1 + length;
  }
}

function readEdns(message: Buffer, start: number, records: number): Query["edns"] {
  let at = start;
  for (let i = 0; i < Math.min(records, 16); i++) {
    // Names here may be compressed: skip labels up to the root or a pointer.
    while (at < message.length && message[at] !== 0 && message[at]! < 0xc0) at += 1 + message[at]!;
    at += (message[at] ?? 0) >= 0xc0 ? 2 : 1;
    if (at + 10 > message.length) return undefined;
    if (message.readUInt16BE(at) === types.OPT) return { udpBytes: message.readUInt16BE(at + 2), version: message[at + 5]! };
    at += 10 + message.readUInt16BE(at + 8);
  }
  return undefined;
}

/** The answer to a message that was not understood. */
export function encodeError(id: number, rcode: number): Buffer {
  const message = Buffer.alloc(headerBytes);
  message.writeUInt16BE(id, 0);
  message.writeUInt16BE(0x8000 | rcode, 2);
  return message;
}

/** `transport` decides how long the answer may be; what does not fit is left out, and the TC bit says so. */
export function encodeResponse(query: Query, response: Response, transport: "udp" | "tcp"): Buffer {
  const limit = transport === "tcp" ? 65_535 : query.edns ? Math.max(classicBytes, Math.min(query.edns.udpBytes, ednsBytes)) : classicBytes;
  const writer = new Writer(limit - (query.edns ? 11 : 0), query);
  const answers = response.answers.filter((record) => writer.record(record)).length;
  const truncated = answers < response.answers.length;
  const authority = (truncated ? [] : (response.authority ?? [])).filter((record) => writer.record(record)).length;
  // Additional records are a courtesy: without them the client asks once more.
  const additional = (truncated ? [] : (response.additional ?? [])).filter((record) => writer.record(record)).length;
  const message = writer.finish(query.edns ? (response.rcode >> 4) & 255 : undefined);
  const recursion = query.recursionDesired ? 0x0180 : 0x0080;
  message.writeUInt16BE(query.id, 0);
  message.writeUInt16BE(0x8000 | (response.authoritative ? 0x0400 : 0) | (truncated ? 0x0200 : 0) | recursion | (response.rcode & 15), 2);
  message.writeUInt16BE(1, 4);
  message.writeUInt16BE(answers, 6);
  message.writeUInt16BE(authority, 8);
  message.writeUInt16BE(additional + (query.edns ? 1 : 0), 10);
  return message;
}

class Writer {
  #bytes = Buffer.allocUnsafe(1024);
  #length: number;
  readonly #limit: number;
  /** Where names that were written begin: later ones point there. */
  readonly #names = new Map<string, number>();

  constructor(limit: number, query: Query) {
    this.#limit = limit;
    this.#bytes.fill(0, 0, headerBytes);
    query.question.copy(this.#bytes, headerBytes);
    this.#length = headerBytes + query.question.length;
    let at = headerBytes;
    for (let name = query.name; name !== ""; name = parentOf(name)) {
      this.#names.set(name, at);
      at += 1 + this.#bytes[at]!;
    }
  }

  /** Whether it fitted; otherwise nothing was written. */
  record(record: DnsRecord): boolean {
    const start = this.#length;
    const known = this.#names.size;
    this.#name(record.name);
    this.#uint16(types[record.type]);
    this.#uint16(1);
    this.#uint32(record.ttl);
    this.#uint16(0);
    const data = this.#length;
    this.#data(record);
    this.#bytes.writeUInt16BE(this.#length - data, data - 2);
    if (this.#length <= this.#limit) return true;
    this.#length = start;
    // Names of a record that was taken back must not be pointed to.
    for (const name of [...this.#names.keys()].slice(known)) this.#names.delete(name);
    return false;
  }

  #data(record: DnsRecord): void {
    switch (record.type) {
      case "A":
        for (const part of record.ip.split(".")) this.#uint8(Number(part));
        return;
      case "CNAME":
      case "PTR":
      case "NS":
        return this.#name(record.target);
      case "SRV":
        this.#uint16(record.priority);
        this.#uint16(record.weight);
        this.#uint16(record.port);
        // RFC 2782: the target is never compressed.
        return this.#name(record.target, false);
      case "MX":
        this.#uint16(record.priority);
        return this.#name(record.target);
      case "TXT":
        for (const text of record.texts) {
          const bytes = Buffer.from(text).subarray(0, 255);
          this.#uint8(bytes.length);
          this.#copy(bytes);
        }
        return;
      case "SOA":
        this.#name(record.primary);
        this.#name(record.contact);
        this.#uint32(record.serial);
        for (const seconds of [7200, 1800, 86_400, record.minimumSeconds]) this.#uint32(seconds);
    }
  }

  #name(name: string, compress = true): void {
    let rest = name.toLowerCase();
    while (rest !== "") {
      const known = compress ? this.#names.get(rest) : undefined;
      if (known !== undefined) return this.#uint16(0xc000 | known);
      if (this.#length < 0x4000) this.#names.set(rest, this.#length);
      const dot = rest.indexOf(".");
      const label = Buffer.from(dot < 0 ? rest : rest.slice(0, dot), "latin1").subarray(0, 63);
      // An empty label in the middle would end the name and shift all that follows.
      if (label.length > 0) {
        this.#uint8(label.length);
        this.#copy(label);
      }
      rest = parentOf(rest);
    }
    this.#uint8(0);
  }

  finish(extendedRcode: number | undefined): Buffer {
    if (extendedRcode !== undefined) {
      this.#uint8(0);
      this.#uint16(types.OPT);
      this.#uint16(ednsBytes);
      this.#uint32(extendedRcode << 24);
      this.#uint16(0);
    }
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe((this.#bytes.length + bytes) * 2);
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
  #uint8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }
  #uint16(value: number): void {
    this.#reserve(2);
    this.#length = this.#bytes.writeUInt16BE(value, this.#length);
  }
  #uint32(value: number): void {
    this.#reserve(4);
    this.#length = this.#bytes.writeUInt32BE(value >>> 0, this.#length);
  }
  #copy(bytes: Buffer): void {
    this.#reserve(bytes.length);
    this.#length += bytes.copy(this.#bytes, this.#length);
  }
}

function parentOf(name: string): string {
  const dot = name.indexOf(".");
  return dot < 0 ? "" : name.slice(dot + 1);
}
