/**
 * NaCl's secretbox: XSalsa20 with a Poly1305 tag in front. Node's crypto has neither (its ChaCha20-Poly1305 is another
 * construction), and configurations in use name it. Source: nacl.cr.yp.to/secretbox.html, "Extending the Salsa20 nonce".
 */
const tagBytes = 16;
export const secretboxNonceBytes = 24;
/** The first half block of the key stream keys the tag. */
const tagKeyBytes = 32;
const sigma = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;

/** Tag and ciphertext. */
export function seal(message: Uint8Array, nonce: Uint8Array, key: Uint8Array): Buffer {
  const stream = xsalsa20(message.length + tagKeyBytes, nonce, key);
  const sealed = Buffer.alloc(tagBytes + message.length);
  for (let i = 0; i < message.length; i++) sealed[tagBytes + i] = message[i]! ^ stream[tagKeyBytes + i]!;
  sealed.set(poly1305(sealed.subarray(tagBytes), stream.subarray(0, tagKeyBytes)));
  return sealed;
}

/** The message; undefined when key or bytes are not the right ones. */
export function open(sealed: Uint8Array, nonce: Uint8Array, key: Uint8Array): Buffer | undefined {
  if (sealed.length < tagBytes) return undefined;
  const body = sealed.subarray(tagBytes);
  const stream = xsalsa20(body.length + tagKeyBytes, nonce, key);
  const tag = poly1305(body, stream.subarray(0, tagKeyBytes));
  let difference = 0;
  for (let i = 0; i < tagBytes; i++) difference |= tag[i]! ^ sealed[i]!;
  if (difference !== 0) return undefined;
  const message = Buffer.alloc(body.length);
  for (let i = 0; i < body.length; i++) message[i] = body[i]! ^ stream[tagKeyBytes + i]!;
  return message;
}

/** So many bytes of the key stream. */
function xsalsa20(length: number, nonce: Uint8Array, key: Uint8Array): Uint8Array {
  const subkey = hsalsa20(nonce.subarray(0, 16), words(key));
  const input = stateOf(subkey, [...words(nonce.subarray(16, 24)), 0, 0]);
  const blocks = new Uint32Array(Math.ceil(length / 64) * 16);
  for (let at = 0, count = 0; at < blocks.length; at += 16, count++) {
    input[8] = count;
    const mixed = rounds(input);
    for (let i = 0; i < 16; i++) blocks[at + i] = mixed[i]! + input[i]!;
  }
  return bytesOf(blocks);
}

/** A key of its own for each first two thirds of a nonce. */
function hsalsa20(nonce: Uint8Array, key: readonly number[]): number[] {
  const mixed = rounds(stateOf(key, words(nonce)));
  return [0, 5, 10, 15, 6, 7, 8, 9].map((i) => mixed[i]! >>> 0);
}

const stateOf = (key: readonly number[], input: readonly number[]): Uint32Array => Uint32Array.of(sigma[0], ...key.slice(0, 4), sigma[1], ...input, sigma[2], ...key.slice(4), sigma[3]);

/** Which word is changed by which two, and how far their sum is rotated: four a column, then four a row. */
const steps = Uint8Array.of(
  4, 0, 12, 7, 8, 4, 0, 9, 12, 8, 4, 13, 0, 12, 8, 18,
  9, 5, 1, 7, 13, 9, 5, 9, 1, 13, 9, 13, 5, 1, 13, 18,
  14, 10, 6, 7, 2, 14, 10, 9, 6, 2, 14, 13, 10, 6, 2, 18,
  3, 15, 11, 7, 7, 3, 15, 9, 11, 7, 3, 13, 15, 11, 7, 18,
  1, 0, 3, 7, 2, 1, 0, 9, 3, 2, 1, 13, 0, 3, 2, 18,
  6, 5, 4, 7, 7, 6, 5, 9, 4, 7, 6, 13, 5, 4, 7, 18,
  11, 10, 9, 7, 8, 11, 10, 9, 9, 8, 11, 13, 10, 9, 8, 18,
  12, 15, 14, 7, 13, 12, 15, 9, 14, 13, 12, 13, 15, 14, 13, 18,
);

/** Gives an array that the next call overwrites. */
function rounds(input: Uint32Array): Int32Array {
  mixing.set(input);
  for (let round = 0; round < 20; round += 2) {
    for (let i = 0; i < steps.length; i += 4) {
      const sum = (mixing[steps[i + 1]!]! + mixing[steps[i + 2]!]!) | 0;
      const by = steps[i + 3]!;
      mixing[steps[i]!]! ^= (sum << by) | (sum >>> (32 - by));
    }
  }
  return mixing;
}
const mixing = new Int32Array(16);

/** Limbs of 13 bits: what two such numbers multiply to stays exact in a double. */
const limbs = 10;
const limbBits = 13;
const base = 2 ** limbBits;

/** Source: RFC 8439 §2.5; numbers modulo 2^130 - 5. */
function poly1305(message: Uint8Array, key: Uint8Array): Uint8Array {
  const clamped = Uint8Array.from(key.subarray(0, 16));
  for (const i of [3, 7, 11, 15]) clamped[i]! &= 15;
  for (const i of [4, 8, 12]) clamped[i]! &= 252;
  const r = limbsOf(clamped, 0, 16, 0, new Float64Array(limbs));
  // What lies above 2^130 comes back five times: r, and before it five times r.
  const factors = Float64Array.of(...r.map((limb) => 5 * limb), ...r);
  const sum = new Float64Array(limbs);
  const block = new Float64Array(limbs);
  const product = new Float64Array(limbs);
  for (let at = 0; at < message.length; at += 16) {
    const size = Math.min(16, message.length - at);
    limbsOf(message, at, size, 1, block);
    for (let i = 0; i < limbs; i++) sum[i]! += block[i]!;
    for (let i = 0; i < limbs; i++) {
      let total = 0;
      for (let j = 0; j < limbs; j++) total += sum[j]! * factors[limbs + i - j]!;
      product[i] = total;
    }
    carry(product);
    sum.set(product);
  }
  carry(sum);
  // Once less the modulus, if that is not below nothing.
  const less = Float64Array.from(sum);
  less[0]! += 5;
  for (let i = 0; i < limbs - 1; i++) {
    less[i + 1]! += Math.floor(less[i]! / base);
    less[i]! %= base;
  }
  const isOver = less[limbs - 1]! >= base ? 1 : 0;
  less[limbs - 1]! %= base;
  let number = 0n;
  for (let i = limbs - 1; i >= 0; i--) number = number * BigInt(base) + BigInt(isOver * less[i]! + (1 - isOver) * sum[i]!);
  for (let i = 0; i < 16; i++) number += BigInt(key[16 + i]!) << BigInt(8 * i);
  return Uint8Array.from({ length: tagBytes }, (_, i) => Number((number >> BigInt(8 * i)) & 255n));
}

/** Little-endian bytes, and `top` above them. */
function limbsOf(bytes: Uint8Array, at: number, size: number, top: 0 | 1, result: Float64Array): Float64Array {
  result.fill(0);
  let held = 0;
  let heldBits = 0;
  let limb = 0;
  for (let i = 0; i <= size; i++) {
    held |= (i < size ? bytes[at + i]! : top) << heldBits;
    heldBits += 8;
    if (heldBits >= limbBits) {
      result[limb++] = held & (base - 1);
      held >>>= limbBits;
      heldBits -= limbBits;
    }
  }
  if (limb < limbs) result[limb] = held;
  return result;
}

/** Each limb below 2^13 again. */
function carry(number: Float64Array): void {
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < limbs; i++) {
      const over = Math.floor(number[i]! / base);
      number[i]! -= over * base;
      if (i < limbs - 1) number[i + 1]! += over;
      else number[0]! += over * 5;
    }
  }
}

const words = (bytes: Uint8Array): number[] => Array.from({ length: bytes.length / 4 }, (_, i) => (bytes[4 * i]! | (bytes[4 * i + 1]! << 8) | (bytes[4 * i + 2]! << 16) | (bytes[4 * i + 3]! << 24)) >>> 0);

/** Little-endian, as every machine is that Wherry runs on. */
const bytesOf = (numbers: Uint32Array): Uint8Array => new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
