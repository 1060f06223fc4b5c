import { BlockList, isIP } from "node:net";

/** Values as annotations have them: text. Each throws what is wrong with it, as the second half of a sentence. */
export class ValueError extends Error {}

/** As Go's strconv.ParseBool. */
export function bool(text: string): boolean {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw new ValueError("must be true or false");
}

export function int(text: string, min = 0, max = 2_147_483_647): number {
  const value = /^[+-]?\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw new ValueError(`must be a whole number from ${min}${max === 2_147_483_647 ? " on" : ` to ${max}`}`);
  return value;
}

export const seconds = (text: string): number => int(text, 1, 2_000_000) * 1000;

/** nginx's sizes: 8m, 512k, 1g, 100. */
export function size(text: string): number {
  const [, number, unit] = /^(\d{1,12})([kmg]?)$/i.exec(text) ?? [];
  if (number === undefined) throw new ValueError("must be a size as nginx writes it: 8m, 512k, 0 for none");
  return Number(number) * { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[unit!.toLowerCase() as "" | "k" | "m" | "g"];
}

export function list(text: string): string[] {
  return text.split(",").map((part) => part.trim()).filter((part) => part !== "");
}

/** Addresses and networks, at least one. */
export function ranges(text: string): string[] {
  const found = list(text);
  if (found.length === 0) throw new ValueError("must name addresses or networks");
  const wrong = found.find((range) => !isRange(range));
  if (wrong !== undefined) throw new ValueError(`${JSON.stringify(wrong)} is not an address or a network`);
  return found;
}

function isRange(range: string): boolean {
  const [address = "", bits, more] = range.split("/");
  const family = isIP(address);
  if (family === 0 || more !== undefined) return false;
  if (bits === undefined) return true;
  if (!/^\d{1,3}$/.test(bits)) return false;
  try {
    new BlockList().addSubnet(address, Number(bits), family === 6 ? "ipv6" : "ipv4");
    return true;
  } catch {
    return false;
  }
}

export function oneOf<T extends string>(...values: T[]): (text: string) => T {
  return (text) => {
    if (!(values as string[]).includes(text)) throw new ValueError(`must be one of ${values.join(", ")}`);
    return text as T;
  };
}

export function matching(pattern: RegExp, what: string): (text: string) => string {
  return (text) => {
    if (!pattern.test(text)) throw new ValueError(`must be ${what}`);
    return text;
  };
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
export const headerName = matching(token, "the name of a header");
export const cookieName = matching(token, "the name of a cookie");
export const hostName = matching(/^[-.\w:[\]]+$/, "a host name");
/** What may stand in a path, and captures. */
export const target = matching(/^[!-"$-~]+$/, "a path, with $1 to $9 for captures");

export function headerNames(text: string): string[] {
  const names = list(text);
  if (names.length === 0 || names.some((name) => name !== "*" && !token.test(name))) throw new ValueError("must be a list of header names");
  return names;
}
