import type { IncomingHttpHeaders } from "node:http";
import type { Field } from "./hpack.ts";

export interface Head {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came. */
  rawHeaders: string[];
  /** Of a CONNECT that asks for a tunnel (RFC 8441). */
  protocol?: string;
}

/** Of which the first counts, as Node has it; others are joined by commas. */
const single = new Set(["age", "authorization", "content-length", "content-type", "etag", "expires", "from", "host", "if-modified-since", "if-unmodified-since", "last-modified", "location", "max-forwards", "proxy-authorization", "referer", "retry-after", "server", "user-agent"]);
/** Of one hop of HTTP/1.1, which HTTP/2 has not. */
const ofConnection = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);
const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
// oxlint-disable-next-line no-control-regex
const valuePattern = /^[^\0\r\n]*$/;

/** A request's method, path and headers; undefined for what is malformed. Source: RFC 9113 §8.2, §8.3. */
export function readHead(fields: readonly Field[], takesTunnels = false): Head | undefined {
  const headers = Object.create(null) as Record<string, string>;
  const rawHeaders: string[] = [];
  let [method, url, scheme, authority, protocol]: (string | undefined)[] = [];
  let isRegular = false;
  for (const [name, value] of fields) {
    if (name.charCodeAt(0) === 0x3a) {
      if (isRegular) return undefined;
      if (name === ":method" && method === undefined) method = value;
      else if (name === ":path" && url === undefined) url = value;
      else if (name === ":scheme" && scheme === undefined) scheme = value;
      else if (name === ":authority" && authority === undefined) authority = value;
      else if (takesTunnels && name === ":protocol" && protocol === undefined) protocol = value;
      else return undefined;
      continue;
    }
    isRegular = true;
    if (!isToken(name) || ofConnection.has(name) || !valuePattern.test(value) || (name === "te" && value !== "trailers")) return undefined;
    rawHeaders.push(name, value);
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else if (name === "content-length" && before !== value) return undefined;
    else if (!single.has(name)) headers[name] = `${before}${name === "cookie" ? "; " : ", "}${value}`;
  }
  // CONNECT, which has neither scheme nor path, is nothing that we do.
  if (!method || !url || !scheme || !/^(?:\/[!-~]*|\*)$/.test(url) || !tokenPattern.test(method.toLowerCase())) return undefined;
  // It becomes a line of HTTP/1.1, as all values do.
  if (authority !== undefined && !valuePattern.test(authority)) return undefined;
  if (protocol !== undefined && (method !== "CONNECT" || !isToken(protocol) || headers["content-length"] !== undefined)) return undefined;
  if (authority !== undefined) headers["host"] = authority;
  return { method, url, headers, rawHeaders, ...(protocol !== undefined && { protocol }) };
}

const tokens = new Set<string>();
const tokensMax = 256;

/** There are few names, and they come again. */
function isToken(name: string): boolean {
  if (tokens.has(name)) return true;
  if (!tokenPattern.test(name)) return false;
  if (tokens.size < tokensMax) tokens.add(name);
  return true;
}
