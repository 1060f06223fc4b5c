import { parseAddress } from "../../policy/addresses.ts";

/**
 * HAProxy's PROXY protocol, versions 1 and 2, as whoever stands in front of us writes it before the client's first byte. Strict: what is
 * not exactly one of them is none, since whoever could slip in another address would be whoever he likes.
 * Source: haproxy.org/download/3.0/doc/proxy-protocol.txt.
 */
export interface ProxyHeader {
  /** The client's address; undefined: it says none (LOCAL, UNKNOWN), and the connection's own counts. */
  address: string | undefined;
  /** Of the header; what follows is the client's. */
  length: number;
}

/** Behind the longest of version 1; version 2 says its own length, and of that no more is taken. */
const textMax = 107;
const binaryMax = 16 + 4096;
export const proxyHeaderMax = binaryMax;

const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const word = Buffer.from("PROXY ", "latin1");

/** Undefined: more must come first; "none": these bytes are no such header, and never will be. */
export function readProxyHeader(bytes: Buffer): ProxyHeader | "none" | undefined {
  if (begins(bytes, signature)) return bytes.length < 16 ? undefined : readBinary(bytes);
  if (begins(bytes, word)) return readText(bytes);
  return "none";
}

/** Whether the bytes are, as far as they go, the beginning of it. */
function begins(bytes: Buffer, of: Buffer): boolean {
  const length = Math.min(bytes.length, of.length);
  return bytes.compare(of, 0, length, 0, length) === 0;
}

function readText(bytes: Buffer): ProxyHeader | "none" | undefined {
  const end = bytes.subarray(0, textMax).indexOf("\r\n", 0, "latin1");
  if (end < 0) return bytes.length < textMax ? undefined : "none";
  const line = bytes.toString("latin1", 0, end);
  const length = end + 2;
  if (line === "PROXY UNKNOWN" || line.startsWith("PROXY UNKNOWN ")) return { address: undefined, length };
  const [, family, from, to, fromPort, toPort] = /^PROXY (TCP4|TCP6) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (\d{1,5}) (\d{1,5})$/.exec(line) ?? [];
  if (family === undefined || !isPort(fromPort!) || !isPort(toPort!)) return "none";
  const isRight = family === "TCP4" ? isFour : isSix;
  return isRight(from!) && isRight(to!) ? { address: from!, length } : "none";
}

const isPort = (text: string): boolean => Number(text) <= 65_535 && (text === "0" || !text.startsWith("0"));
const isFour = (text: string): boolean => /^(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})$/.test(text) && text.split(".").every((part) => Number(part) <= 255);
const isSix = (text: string): boolean => text.includes(":") && parseAddress(text) !== undefined;

function readBinary(bytes: Buffer): ProxyHeader | "none" | undefined {
  const [command, family] = [bytes[12]!, bytes[13]!];
  const length = 16 + bytes.readUInt16BE(14);
  if (command >>> 4 !== 2 || (command & 15) > 1 || length > binaryMax) return "none";
  const [addresses, transport] = [family >>> 4, family & 15];
  if (addresses > 3 || transport > 2) return "none";
  if (bytes.length < length) return undefined;
  // LOCAL: the proxy asks for itself, as its health checks do.
  if ((command & 15) === 0) return { address: undefined, length };
  // A UNIX socket has no address that anybody could be told; neither has "unspecified".
  if (addresses === 0 || addresses === 3) return { address: undefined, length };
  if (transport !== 1) return "none";
  const size = addresses === 1 ? 4 : 16;
  if (length < 16 + size * 2 + 4) return "none";
  const raw = bytes.subarray(16, 16 + size);
  if (addresses === 1) return { address: raw.join("."), length };
  return { address: Array.from({ length: 8 }, (_, i) => raw.readUInt16BE(i * 2).toString(16)).join(":"), length };
}
