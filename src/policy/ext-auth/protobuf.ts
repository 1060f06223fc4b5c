/** The wire format of protocol buffers, as far as a few known messages need it. Source: protobuf.dev/programming-guides/encoding. */

export class ProtobufWriter {
  readonly #pieces: Buffer[] = [];

  /** Zero is what an absent field means. */
  integer(field: number, value: number): this {
    if (value !== 0) this.#pieces.push(varint(field * 8), varint(value));
    return this;
  }
  text(field: number, value: string): this {
    return value === "" ? this : this.bytes(field, Buffer.from(value, "utf8"));
  }
  bytes(field: number, value: Uint8Array): this {
    this.#pieces.push(varint(field * 8 + 2), varint(value.length), Buffer.from(value.buffer, value.byteOffset, value.length));
    return this;
  }
  message(field: number, write: (inner: ProtobufWriter) => void): this {
    const inner = new ProtobufWriter();
    write(inner);
    return this.bytes(field, inner.done());
  }
  /** An entry of a map from texts to texts. */
  entry(field: number, key: string, value: string): this {
    return this.message(field, (inner) => void inner.text(1, key).text(2, value));
  }
  done(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A field of a message: its number, and an integer or bytes. */
export interface ProtobufField {
  number: number;
  integer: number;
  bytes: Buffer | undefined;
}

const strict = new TextDecoder("utf-8", { fatal: true });
/** @throws Error where it is not UTF-8 */
export const textOf = ({ bytes }: ProtobufField): string => strict.decode(need(bytes));
export const need = <T>(value: T | undefined): T => {
  if (value === undefined) throw new Error("a field of a message has another type");
  return value;
};

/** @throws Error where the bytes are no message */
export function* readProtobuf(message: Uint8Array): Generator<ProtobufField> {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length);
  let at = 0;
  const integer = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= bytes.length) break;
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new Error("an integer of a message does not end");
  };
  const span = (length: number): Buffer => {
    if (length > bytes.length - at) throw new Error("a field of a message is longer than the message");
    return bytes.subarray(at, (at += length));
  };
  while (at < bytes.length) {
    const tag = integer();
    const number = Math.floor(tag / 8);
    if (number < 1) throw new Error("a field of a message has no number");
    switch (tag % 8) {
      case 0:
        yield { number, integer: integer(), bytes: undefined };
        break;
      case 1:
        span(8);
        break;
      case 2:
        yield { number, integer: 0, bytes: span(integer()) };
        break;
      case 5:
        span(4);
        break;
      default:
        throw new Error("a field of a message has an unknown type");
    }
  }
}
