/**
 * What each byte of an HTTP/1.1 head may be (RFC 9110 §5, RFC 9112 §2–5, RFC 3986), as tables that the parsers' inner
 * loops look into, and the header names that mean something to a gateway.
 */
declare global {
  interface Buffer {
    /** Node's own, without the detour over an encoding's name. */
    latin1Slice(from: number, to: number): string;
    latin1Write(text: string, at: number, length: number): number;
  }
}

const tableOf = (text: string, value = 1, table = new Uint8Array(256)): Uint8Array<ArrayBuffer> => {
  for (let i = 0; i < text.length; i++) table[text.charCodeAt(i)] = value;
  return table;
};
const digits = "0123456789";
const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const letters = upper + upper.toLowerCase();

/** 1: a token's character; 2: "_", which is one too, but whose twin with "-" must be looked for. */
export const tokens = tableOf("_", 2, tableOf(`!#$%&'*+-.^\`|~${digits}${letters}`));

/** Of methods. Others than capitals are nobody's, and a backend that ignores case would see another method than our policy. */
export const methodBytes = tableOf(`${upper}${digits}-_`);

/** Of field values: no control characters but the tab; bytes above 0x7f are opaque. */
export const values = new Uint8Array(256).fill(1, 0x20).fill(0, 0x7f, 0x80);
values[9] = 1;

/** In a path: 1 stands for itself; 2 needs a look: it may be the beginning of what the normal form has not. */
export const pathBytes = tableOf("%/.;\\", 2, tableOf(`${digits}${letters}-_~!$&'()*+,=:@[]|`));
pathBytes["\\".charCodeAt(0)] = 0;

/** In a query: what browsers leave as it is; the rest must come percent-encoded. */
export const queryBytes = tableOf(`${digits}${letters}-._~!$&'()*+,;=:@/?%[]|{}^\`\\`);

export const unreserved = tableOf(`${digits}${letters}-._~`);

/** 0–15, or 255. */
export const hexValues = new Uint8Array(256).fill(255);
for (let i = 0; i < 10; i++) hexValues[0x30 + i] = i;
for (let i = 0; i < 6; i++) hexValues[0x41 + i] = hexValues[0x61 + i] = 10 + i;

/** Names that the engine acts on; what stands behind decides what becomes of the field. */
const known = {
  // Framing: looked at by the parser, written anew.
  host: "host",
  contentLength: "content-length",
  transferEncoding: "transfer-encoding",
  expect: "expect",
  // Hop by hop (RFC 9110 §7.6.1).
  connection: "connection",
  keepAlive: "keep-alive",
  proxyConnection: "proxy-connection",
  proxyAuthenticate: "proxy-authenticate",
  proxyAuthorization: "proxy-authorization",
  te: "te",
  trailer: "trailer",
  upgrade: "upgrade",
  http2Settings: "http2-settings",
  // What backends take a gateway's word for: rebuilt, whatever the client says.
  forwarded: "forwarded",
  forwardedFor: "x-forwarded-for",
  forwardedProto: "x-forwarded-proto",
  forwardedHost: "x-forwarded-host",
  forwardedPort: "x-forwarded-port",
  forwardedPrefix: "x-forwarded-prefix",
  forwardedServer: "x-forwarded-server",
  forwardedScheme: "x-forwarded-scheme",
  forwardedSsl: "x-forwarded-ssl",
  forwardedBy: "x-forwarded-by",
  forwardedUri: "x-forwarded-uri",
  forwardedMethod: "x-forwarded-method",
  forwardedClientCert: "x-forwarded-client-cert",
  realIp: "x-real-ip",
  originalUrl: "x-original-url",
  rewriteUrl: "x-rewrite-url",
  requestId: "x-request-id",
  // Only looked at.
  via: "via",
  contentType: "content-type",
  authorization: "authorization",
  cookie: "cookie",
  date: "date",
} as const;

export type KnownName = keyof typeof known;
const knownNames = Object.values(known);
/** Ids count from 1; 0 is any other name. */
export const ids = Object.fromEntries(Object.keys(known).map((key, index) => [key, index + 1])) as Record<KnownName, number>;
export const nameOfId: readonly string[] = ["", ...knownNames];
const idOf = new Map<string, number>(knownNames.map((name, index) => [name, index + 1]));
export const idOfName = (lowerCase: string): number => idOf.get(lowerCase) ?? 0;

/** Slots by length, first and last letters, such that no two known names meet; the multipliers are looked for once. */
const slots = new Uint8Array(512);
const [lengthFactor, firstFactor] = ((): [number, number] => {
  for (let a = 1; a < 200; a++) {
    for (let b = 1; b < 200; b++) {
      const used = new Set(knownNames.map((name) => (name.length * a + name.charCodeAt(0) * b + name.charCodeAt(name.length - 1) + name.charCodeAt(name.length - 2) * 7) & 511));
      if (used.size === knownNames.length) return [a, b];
    }
  }
  throw new Error("no slots for the known names");
})();
const slotOf = (length: number, first: number, last: number, beforeLast: number): number => (length * lengthFactor + first * firstFactor + last + beforeLast * 7) & 511;
knownNames.forEach((name, index) => (slots[slotOf(name.length, name.charCodeAt(0), name.charCodeAt(name.length - 1), name.charCodeAt(name.length - 2))] = index + 1));
const nameBytes = nameOfId.map((name) => Buffer.from(name, "latin1"));

/** The id of the name at [from, to), whatever its case; 0 for any other. */
export function knownName(bytes: Uint8Array, from: number, to: number): number {
  const length = to - from;
  if (length < 2) return 0;
  const id = slots[slotOf(length, bytes[from]! | 0x20, bytes[to - 1]! | 0x20, bytes[to - 2]! | 0x20)]!;
  const name = nameBytes[id]!;
  if (name.length !== length) return 0;
  for (let i = 0; i < length; i++) if ((bytes[from + i]! | 0x20) !== name[i]) return 0;
  return id;
}

/** Whether the bytes are this lower-case text, whatever their case. The text must have letters and "-" only. */
export function isText(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (to - from !== text.length) return false;
  for (let i = 0; i < text.length; i++) if ((bytes[from + i]! | 0x20) !== text.charCodeAt(i)) return false;
  return true;
}
