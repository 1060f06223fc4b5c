import { decodeHuffman } from "./huffman.ts";

/** Header compression of HTTP/2. Source: RFC 7541. */
export class HpackError extends Error {}

export type Field = readonly [name: string, value: string];

const staticTable: readonly Field[] = [
  ":authority", ":method GET", ":method POST", ":path /", ":path /index.html", ":scheme http", ":scheme https",
  ":status 200", ":status 204", ":status 206", ":status 304", ":status 400", ":status 404", ":status 500",
  "accept-charset", "accept-encoding gzip, deflate", "accept-language", "accept-ranges", "accept", "access-control-allow-origin",
  "age", "allow", "authorization", "cache-control", "content-disposition", "content-encoding", "content-language", "content-length",
  "content-location", "content-range", "content-type", "cookie", "date", "etag", "expect", "expires", "from", "host", "if-match",
  "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "link", "location", "max-forwards",
  "proxy-authenticate", "proxy-authorization", "range", "referer", "refresh", "retry-after", "server", "set-cookie",
  "strict-transport-security", "transfer-encoding", "user-agent", "vary", "via", "www-authenticate",
].map((line) => {
  const space = line.indexOf(" ");
  return space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
});
const entryOverhead = 32;
const tableBytesMax = 4096;

/** One direction of a connection: header blocks must be decoded in the order in which they came. */
export class HpackDecoder {
  /** The newest last. */
  #table: Field[] = [];
  #bytes = 0;
  #bytesMax = tableBytesMax;
  readonly #listBytesMax: number;

  /** `listBytesMax`: of all names and values of one block, 32 bytes each besides. */
  constructor(listBytesMax: number) {
    this.#listBytesMax = listBytesMax;
  }

  /** Throws HpackError, after which the connection cannot go on. */
  decode(block: Uint8Array): Field[] {
    const reader = new Reader(block);
    const fields: Field[] = [];
    let bytes = 0;
    let begun = false;
    while (reader.at < block.length) {
      const first = block[reader.at]!;
      if ((first & 0xe0) === 0x20) {
        const size = reader.number(5);
        if (begun || size > tableBytesMax) throw new HpackError("a table size that is not allowed");
        this.#bytesMax = size;
        this.#evict();
        continue;
      }
      begun = true;
      let field: Field;
      if (first & 0x80) field = this.#at(reader.number(7));
      else {
        const indexed = (first & 0x40) !== 0;
        const index = reader.number(indexed ? 6 : 4);
        const name = index === 0 ? reader.text() : this.#at(index)[0];
        field = [name, reader.text()];
        if (indexed) this.#add(field);
      }
      bytes += field[0].length + field[1].length + entryOverhead;
      if (bytes > this.#listBytesMax) throw new HpackError("the header list is too large");
      fields.push(field);
    }
    return fields;
  }

  #at(index: number): Field {
    const field = index <= staticTable.length ? staticTable[index - 1] : this.#table[this.#table.length - (index - staticTable.length)];
    if (!field) throw new HpackError(`there is no field ${index}`);
    return field;
  }

  #add(field: Field): void {
    this.#table.push(field);
    this.#bytes += sizeOf(field);
    this.#evict();
  }

  #evict(): void {
    let gone = 0;
    for (; this.#bytes > this.#bytesMax; gone++) this.#bytes -= sizeOf(this.#table[gone]!);
    if (gone > 0) this.#table.splice(0, gone);
  }
}

const sizeOf = ([name, value]: Field): number => name.length + value.length + entryOverhead;

class Reader {
  readonly #bytes: Uint8Array;
  at = 0;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  #next(): number {
    const byte = this.#bytes[this.at++];
    if (byte === undefined) throw new HpackError("the block ends too soon");
    return byte;
  }

  /** §5.1, with a prefix of so many bits. */
  number(bits: number): number {
    const mask = (1 << bits) - 1;
    let value = this.#next() & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      if (shift > 21) throw new HpackError("a number is too large");
      const byte = this.#next();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  /** §5.2: one character a byte. */
  text(): string {
    const isHuffman = (this.#bytes[this.at] ?? 0) & 0x80;
    const length = this.number(7);
    const start = this.at;
    this.at += length;
    if (this.at > this.#bytes.length) throw new HpackError("the block ends too soon");
    if (!isHuffman) return latin1(this.#bytes, start, this.at);
    const text = decodeHuffman(this.#bytes, start, this.at);
    if (text === undefined) throw new HpackError("a text is not encoded as it should be");
    return text;
  }
}

const latin1 = (bytes: Uint8Array, start: number, end: number): string => (bytes as Buffer).latin1Slice(start, end);

// — encoding: without a table of our own, so that blocks can be made in any order —

const staticNames = new Map<string, number>();
const staticFields = new Map<string, number>();
for (const [index, [name, value]] of staticTable.entries()) {
  if (!staticNames.has(name)) staticNames.set(name, index + 1);
  if (value !== "") staticFields.set(`${name} ${value}`, index + 1);
}

/** A field as the bytes of a block, one character a byte. `name` in lower case; `value` is latin1. */
export function encodeField(name: string, value: string): string {
  const whole = staticFields.get(`${name} ${value}`);
  if (whole !== undefined) return encodeNumber(whole, 7, 0x80);
  return headOf(name) + encodeNumber(value.length, 7, 0) + value;
}

/** The first part of a literal that is not to be remembered; there are few names. */
const heads = new Map<string, string>();
const headsMax = 256;

function headOf(name: string): string {
  let head = heads.get(name);
  if (head === undefined) {
    const index = staticNames.get(name);
    head = index !== undefined ? encodeNumber(index, 4, 0) : `\0${encodeNumber(name.length, 7, 0)}${name}`;
    if (heads.size < headsMax) heads.set(name, head);
  }
  return head;
}

function encodeNumber(value: number, bits: number, flags: number): string {
  const mask = (1 << bits) - 1;
  if (value < mask) return String.fromCharCode(flags | value);
  let text = String.fromCharCode(flags | mask);
  let rest = value - mask;
  for (; rest >= 128; rest >>>= 7) text += String.fromCharCode((rest & 127) | 128);
  return text + String.fromCharCode(rest);
}
