import { parseAddress } from "../../policy/addresses.ts";

/** Whose request it is, as an upstream is told that cannot read headers. */
export interface Origin {
  readonly address: string;
  /** 0: it is not known, as of a client whose address somebody else has said. */
  readonly port: number;
  /** Where it has come to. */
  readonly listener: { readonly port: number; readonly address?: string };
}

const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const [local, proxied, tcp4, tcp6] = [0x20, 0x21, 0x11, 0x21];

/**
 * HAProxy's PROXY protocol, as it stands before all else on a connection to an endpoint. Without an origin it says that nobody is behind
 * it: health checks, and requests of our own. Source: haproxy.org/download/3.0/doc/proxy-protocol.txt.
 */
export function proxyHeader(version: "v1" | "v2", origin: Origin | undefined): Buffer {
  const from = origin && parseAddress(origin.address);
  if (!from) return version === "v1" ? Buffer.from("PROXY UNKNOWN\r\n") : Buffer.from([...signature, local, 0, 0, 0]);
  const { port: fromPort, listener } = origin;
  // Both are of one family; an IPv4 listener of an IPv6 client is written as IPv6.
  const own = parseAddress(listener.address ?? "127.0.0.1") ?? [0x7f000001];
  const to = own.length === from.length ? own : from.length === 1 ? [0x7f000001] : [0, 0, 0xffff, own[0]!];
  const isFour = from.length === 1;
  if (version === "v1") return Buffer.from(`PROXY ${isFour ? "TCP4" : "TCP6"} ${textOf(from)} ${textOf(to)} ${fromPort} ${listener.port}\r\n`, "latin1");
  const size = from.length * 4;
  const header = Buffer.alloc(16 + 2 * size + 4);
  signature.copy(header);
  header[12] = proxied!;
  header[13] = (isFour ? tcp4 : tcp6)!;
  header.writeUInt16BE(2 * size + 4, 14);
  for (const [i, word] of [...from, ...to].entries()) header.writeUInt32BE(word >>> 0, 16 + i * 4);
  header.writeUInt16BE(fromPort, 16 + 2 * size);
  header.writeUInt16BE(listener.port, 18 + 2 * size);
  return header;
}

function textOf(words: readonly number[]): string {
  if (words.length === 1) return [24, 16, 8, 0].map((bits) => (words[0]! >>> bits) & 255).join(".");
  const parts = words.flatMap((word) => [word >>> 16, word & 0xffff]).map((part) => part.toString(16)).join(":");
  // As RFC 5952 writes it: logs of whoever reads it have the same text as ours.
  return new URL(`http://[${parts}]`).hostname.slice(1, -1);
}
