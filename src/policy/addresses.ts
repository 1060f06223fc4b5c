import { PolicyError } from "./policy-error.ts";

/** An address as numbers that can be compared: one for IPv4, four for IPv6. */
type Words = readonly number[];

interface Range {
  words: Words;
  bits: number;
}

/** Whether an address lies in any of some ranges: "10.0.0.0/8", "2001:db8::/32", or a single address. */
export class AddressRanges {
  readonly #four: Range[] = [];
  readonly #six: Range[] = [];

  /** @throws PolicyError naming `field[i]` */
  constructor(ranges: readonly string[], field: string) {
    for (const [i, text] of ranges.entries()) {
      const range = parseRange(text.trim());
      if (!range) throw new PolicyError(`${field}[${i}]`, text, "must be an IP address or a CIDR");
      (range.words.length === 1 ? this.#four : this.#six).push(range);
    }
  }

  includes(address: string): boolean {
    const words = parseAddress(address);
    if (!words) return false;
    const ranges = words.length === 1 ? this.#four : this.#six;
    return ranges.some((range) => within(words, range));
  }
}

function within(words: Words, range: Range): boolean {
  let { bits } = range;
  for (let i = 0; bits > 0; i++, bits -= 32) {
    const shift = Math.max(0, 32 - bits);
    if (words[i]! >>> shift !== range.words[i]! >>> shift) return false;
  }
  return true;
}

function parseRange(text: string): Range | undefined {
  const slash = text.indexOf("/");
  const words = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!words) return undefined;
  const most = words.length * 32;
  if (slash < 0) return { words, bits: most };
  const length = text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(length)) return undefined;
  // "::ffff:10.0.0.0/104" is 10.0.0.0/8.
  const bits = Number(length) - (words.length === 1 && text.includes(":") ? 96 : 0);
  return bits < 0 || bits > most ? undefined : { words, bits };
}

/** IPv4 that is written as IPv6 is IPv4: a dual-stack socket shows its clients so. Zones are ignored. */
export function parseAddress(text: string): Words | undefined {
  if (!text.includes(":")) {
    const word = parseFour(text);
    return word === undefined ? undefined : [word];
  }
  const zone = text.indexOf("%");
  let rest = zone < 0 ? text : text.slice(0, zone);
  const tail: number[] = [];
  const lastColon = rest.lastIndexOf(":");
  if (rest.includes(".")) {
    const word = parseFour(rest.slice(lastColon + 1));
    if (word === undefined) return undefined;
    tail.push(word >>> 16, word & 0xffff);
    // The colon stays when it is one of two.
    rest = rest[lastColon - 1] === ":" ? rest.slice(0, lastColon + 1) : rest.slice(0, lastColon);
  }
  const halves = rest.split("::");
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  if (groups.flat().some((group) => !/^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  const [head, end] = [groups[0]!.map(hexadecimal), [...(groups[1] ?? []).map(hexadecimal), ...tail]];
  const missing = 8 - head.length - end.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const all = [...head, ...Array.from({ length: missing }, () => 0), ...end];
  const words = [0, 2, 4, 6].map((i) => ((all[i]! << 16) | all[i + 1]!) >>> 0);
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff ? [words[3]!] : words;
}

const hexadecimal = (text: string): number => Number.parseInt(text, 16);

function parseFour(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let word = 0;
  for (const part of parts) {
    // A leading zero is octal to some: what means two things means nothing.
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    word = (word << 8) | Number(part);
  }
  return word >>> 0;
}
