/**
 * The server name that a client asks for in its first TLS record or records: RFC 8446 §4.1.2, RFC 6066 §3. Reads nothing
 * else, and believes no length that does not fit.
 *
 * undefined: more bytes are needed. `name` is lower case, "" when the client names none; `wrong` says why this is no TLS.
 */
export type ServerName = { name: string; wrong?: undefined } | { name?: undefined; wrong: string };
/** With the protocols that it offers inside, the best first: RFC 7301 §3.1. */
export type ClientHello = { name: string; protocols: readonly string[]; wrong?: undefined } | { name?: undefined; protocols?: undefined; wrong: string };

/** A hello that is longer is not one of a browser's, post-quantum keys and all. */
export const helloBytesMax = 16 * 1024;

const handshakeRecord = 22;
const clientHello = 1;
const serverNameExtension = 0;
const protocolsExtension = 16;

export function serverNameOf(bytes: Uint8Array): ServerName | undefined {
  const hello = readClientHello(bytes);
  return hello?.name === undefined ? hello : { name: hello.name };
}

/** The same, with all that is read of it. */
export function readClientHello(bytes: Uint8Array): ClientHello | undefined {
  const hello = handshakeIn(bytes);
  if (hello === undefined || "wrong" in hello) return hello;
  const reader = new Reader(hello.bytes);
  try {
    reader.skip(2 + 32);
    reader.skip(reader.number(1));
    reader.skip(reader.number(2));
    reader.skip(reader.number(1));
    let name: string | undefined;
    const protocols: string[] = [];
    if (reader.left === 0) return { name: "", protocols };
    const extensions = reader.take(reader.number(2));
    while (extensions.left > 0) {
      const type = extensions.number(2);
      const extension = extensions.take(extensions.number(2));
      if (type === protocolsExtension) {
        const list = extension.take(extension.number(2));
        while (list.left > 0) protocols.push(list.take(list.number(1)).text());
        continue;
      }
      if (type !== serverNameExtension || name !== undefined) continue;
      const names = extension.take(extension.number(2));
      while (names.left > 0) {
        const kind = names.number(1);
        const text = names.take(names.number(2)).text();
        if (kind !== 0) continue;
        if (!/^[\x21-\x7e]+$/.test(text)) return { wrong: "the server name is not one" };
        name ??= text.toLowerCase().replace(/\.$/, "");
      }
    }
    return { name: name ?? "", protocols };
  } catch (error) {
    if (error instanceof RangeError) return { wrong: "the ClientHello's lengths do not fit" };
    throw error;
  }
}

/** The body of the ClientHello, which may be spread over records. */
function handshakeIn(bytes: Uint8Array): { bytes: Uint8Array } | { wrong: string } | undefined {
  const parts: Uint8Array[] = [];
  let have = 0;
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== handshakeRecord || (bytes.length > at + 1 && bytes[at + 1] !== 3)) return { wrong: "the first bytes are no TLS" };
    if (bytes.length < at + 5) return undefined;
    const length = (bytes[at + 3]! << 8) | bytes[at + 4]!;
    if (length === 0) return { wrong: "a record is empty" };
    const part = bytes.subarray(at + 5, at + 5 + length);
    parts.push(part);
    have += part.length;
    at += 5 + length;
    const whole = parts.length === 1 ? part : Buffer.concat(parts);
    if (have >= 1 && whole[0] !== clientHello) return { wrong: "the first message is no ClientHello" };
    if (have < 4) continue;
    const wanted = (whole[1]! << 16) | (whole[2]! << 8) | whole[3]!;
    if (wanted > helloBytesMax) return { wrong: "the ClientHello is too long" };
    if (have >= 4 + wanted) return { bytes: whole.subarray(4, 4 + wanted) };
  }
  return undefined;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  get left(): number {
    return this.#bytes.length - this.#at;
  }
  skip(count: number): void {
    if (count > this.left) throw new RangeError();
    this.#at += count;
  }
  number(size: number): number {
    const from = this.#at;
    this.skip(size);
    let value = 0;
    for (let i = from; i < this.#at; i++) value = (value << 8) | this.#bytes[i]!;
    return value;
  }
  take(count: number): Reader {
    const from = this.#at;
    this.skip(count);
    return new Reader(this.#bytes.subarray(from, this.#at));
  }
  text(): string {
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length).toString("latin1");
  }
}
