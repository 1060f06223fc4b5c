import type { Persistence } from "../api/traffic.ts";
import type { RequestView } from "./exchange.ts";
import { cookieValue } from "./values.ts";

/**
 * The names that sessions have for upstreams and endpoints: keyed hashes, so that a cookie tells nobody an address and nobody
 * can make one up. The same key gives the same names, in all workers and after a restart.
 *
 * SipHash-2-4, 64 bits, in halves of 32: https://www.aumasson.jp/siphash/siphash.pdf. By hand because the policy
 * also runs where there is no node:crypto, and because 64 bits of it are all that is needed.
 */
export class SessionNames {
  readonly #key: readonly [number, number, number, number];

  /** 32 hexadecimal digits. */
  constructor(key: string) {
    if (!/^[0-9a-fA-F]{32}$/.test(key)) throw new Error("a session key has 32 hexadecimal digits");
    const bytes = key.match(/../g)!.map((pair) => Number.parseInt(pair, 16));
    const word = (at: number) => (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
    this.#key = [word(0), word(4), word(8), word(12)];
  }

  /** 16 hexadecimal digits. */
  name(text: string): string {
    return sipHash(this.#key, text);
  }
}

/** What a session carries: which of the rule's upstreams, and which endpoint of it. */
export const sessionOf = (names: SessionNames, upstream: string, endpoint: string): string => names.name(upstream) + names.name(`${upstream} ${endpoint}`);
export const upstreamPartOf = (session: string): string => session.slice(0, 16);

/** What the client shows of its session; undefined when there is none, or none can be. */
export function sessionIn(request: RequestView, { type, name }: Persistence): string | undefined {
  if (type === "cookie") return cookieValue(request.header("cookie"), name);
  return type === "header" ? request.header(name.toLowerCase()) : undefined;
}

function sipHash([k0, k1, k2, k3]: readonly [number, number, number, number], text: string): string {
  // v0…v3 as low and high halves.
  const v = new Uint32Array([k0 ^ 0x70736575, k1 ^ 0x736f6d65, k2 ^ 0x6e646f6d, k3 ^ 0x646f7261, k0 ^ 0x6e657261, k1 ^ 0x6c796765, k2 ^ 0x79746573, k3 ^ 0x74656462]);
  const { length } = text;
  for (let i = 0; i + 8 <= length; i += 8) block(v, wordOf(text, i), wordOf(text, i + 4));
  const tail = length & ~7;
  block(v, wordOf(text, tail), (wordOf(text, tail + 4) & 0x00ffffff) | ((length & 0xff) << 24));
  v[4]! ^= 0xff;
  for (let i = 0; i < 4; i++) round(v);
  const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
  return hex(v[1]! ^ v[3]! ^ v[5]! ^ v[7]!) + hex(v[0]! ^ v[2]! ^ v[4]! ^ v[6]!);
}

/** Four characters as bytes; names of Services and addresses are ASCII. */
function wordOf(text: string, at: number): number {
  const byte = (i: number) => (i < text.length ? text.charCodeAt(i) & 0xff : 0);
  return byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24);
}

function block(v: Uint32Array, low: number, high: number): void {
  v[6]! ^= low;
  v[7]! ^= high;
  round(v);
  round(v);
  v[0]! ^= low;
  v[1]! ^= high;
}

function round(v: Uint32Array): void {
  add(v, 0, 2);
  rotate(v, 2, 13);
  mix(v, 2, 0);
  rotate(v, 0, 32);
  add(v, 4, 6);
  rotate(v, 6, 16);
  mix(v, 6, 4);
  add(v, 0, 6);
  rotate(v, 6, 21);
  mix(v, 6, 0);
  add(v, 4, 2);
  rotate(v, 2, 17);
  mix(v, 2, 4);
  rotate(v, 4, 32);
}

function add(v: Uint32Array, to: number, from: number): void {
  const low = v[to]! + v[from]!;
  v[to + 1]! += v[from + 1]! + (low > 0xffffffff ? 1 : 0);
  v[to] = low;
}

function mix(v: Uint32Array, to: number, from: number): void {
  v[to]! ^= v[from]!;
  v[to + 1]! ^= v[from + 1]!;
}

function rotate(v: Uint32Array, at: number, bits: number): void {
  const [low, high] = [v[at]!, v[at + 1]!];
  if (bits === 32) [v[at], v[at + 1]] = [high, low];
  else [v[at], v[at + 1]] = [(low << bits) | (high >>> (32 - bits)), (high << bits) | (low >>> (32 - bits))];
}
