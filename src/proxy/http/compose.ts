import { randomFillSync } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { HeaderEdits, KeptHead } from "../../policy/exchange.ts";
import { idOfName, ids, values, tokens } from "./bytes.ts";
import { pseudonym, type Head } from "./head.ts";
import type { Output } from "./output.ts";

/**
 * Writes heads anew: what was parsed, minus what ends at a gateway, plus what it says itself. Fields that stay are
 * copied in runs, since the parser has seen each of their bytes.
 */
const kept = 0;
const ends = 1;
const fates = (...names: (keyof typeof ids)[]): Uint8Array => {
  const table = new Uint8Array(Object.keys(ids).length + 1).fill(kept);
  for (const name of names) table[ids[name]] = ends;
  return table;
};
const hopByHop = ["connection", "keepAlive", "proxyConnection", "te", "trailer", "transferEncoding", "upgrade", "http2Settings"] as const;
const rebuilt = ["host", "contentLength", "expect", "forwarded", "forwardedFor", "forwardedProto", "forwardedHost", "forwardedPort", "forwardedPrefix", "forwardedServer", "forwardedScheme", "forwardedSsl", "forwardedBy", "forwardedUri", "forwardedMethod", "forwardedClientCert", "realIp", "originalUrl", "rewriteUrl", "requestId"] as const;
const requestFates = fates(...hopByHop, "proxyAuthenticate", "proxyAuthorization", ...rebuilt);
/** Between pods, where nobody must be told who the client was: only what ends at every hop, or is written anew. */
const transparentFates = fates(...hopByHop, "host", "contentLength", "expect");
/** Host and Content-Length are the same when they are written anew. */
const transparentStays = fates(...hopByHop, "expect");
const responseFates = fates(...hopByHop, "contentLength");
/** Trailers are announced where they may follow (RFC 9110 §6.6.2). */
const withTrailer = (table: Uint8Array): Uint8Array => {
  const copy = table.slice();
  copy[ids.trailer] = kept;
  return copy;
};
const [chunkedRequestFates, chunkedTransparentFates, chunkedResponseFates] = [withTrailer(requestFates), withTrailer(transparentFates), withTrailer(responseFates)];

/** How a message's end is known. */
export const framing = { none: 0, length: 1, chunked: 2, close: 3 } as const;
export type Framing = (typeof framing)[keyof typeof framing];

export interface RequestLines {
  /** Instead of the client's. */
  method?: string | undefined;
  host: string | undefined;
  target: string | undefined;
  edits: HeaderEdits | undefined;
  /** "": X-Forwarded-For goes on as it came. */
  client: string;
  scheme: string;
  port: number;
  /** In which version it was asked, for Via. */
  version: "1.0" | "1.1" | "2.0";
  /** Of whom the client's own X-Forwarded-For and X-Request-Id are believed. */
  trusted: boolean;
  /** Fields go on as they came, and none is added. */
  isTransparent?: boolean | undefined;
  /** So does the path: no rule has judged it. */
  isAsItCame?: boolean | undefined;
  /** "": none. */
  requestId: string;
  framing: Framing;
  length: number;
  upgrade: boolean;
}

/** What configuration may put into a request line. */
const printable = /^[\x21-\x7e]+$/;

/** The request head for the upstream. */
export function composeRequest(out: Output, head: Head, lines: RequestLines): void {
  const { bytes, base } = head;
  out.need(head.end + 1024);
  if (goesAsItCame(head, lines)) return out.copy(bytes, base + head.methodStart, base + head.end);
  if (lines.method === undefined) out.copy(bytes, base + head.methodStart, base + head.methodEnd);
  else out.text(lines.method);
  out.text(" ");
  if (lines.target !== undefined) {
    out.text(printable.test(lines.target) ? lines.target : encodeURI(lines.target));
  } else if (head.unusualPath && !(lines.isAsItCame && !head.absolute)) {
    out.text(head.path);
    out.copy(bytes, base + head.queryStart, base + head.targetEnd);
  } else {
    out.copy(bytes, base + head.targetStart, base + head.targetEnd);
  }
  out.text(" HTTP/1.1\r\nHost: ");
  const from = head.hostField * 4;
  if (lines.host !== undefined && printable.test(lines.host)) out.text(lines.host);
  else if (head.absolute) out.text(/^https?:\/\/([^/]+)/i.exec(bytes.latin1Slice(base + head.targetStart, base + head.queryStart))![1]!);
  else if (head.hostField >= 0) out.copy(bytes, base + head.offsets[from + 2]!, base + head.offsets[from + 3]!);
  out.text("\r\n");
  const isChunked = lines.framing === framing.chunked;
  composeFields(out, head, lines.isTransparent ? (isChunked ? chunkedTransparentFates : transparentFates) : isChunked ? chunkedRequestFates : requestFates, lines.edits);
  if (!lines.isTransparent) composeForwarded(out, head, lines);
  if (lines.framing === framing.length) composeLength(out, lines.length);
  else if (lines.framing === framing.chunked) out.text("Transfer-Encoding: chunked\r\n");
  if (lines.upgrade) {
    const at = head.upgradeField * 4;
    out.text("Connection: Upgrade\r\nUpgrade: ");
    out.copy(bytes, base + head.offsets[at + 2]!, base + head.offsets[at + 3]!);
    out.text("\r\n\r\n");
  } else {
    out.text("\r\n");
  }
}

/** Nothing of it ends here, is written anew or added: most requests between pods. Each of its bytes has been judged by the parser. */
function goesAsItCame(head: Head, lines: RequestLines): boolean {
  if (!lines.isTransparent || lines.method !== undefined || lines.edits || lines.host !== undefined || lines.target !== undefined || lines.upgrade || lines.framing === framing.chunked) return false;
  if (head.minorVersion !== 1 || head.absolute || (head.unusualPath && !lines.isAsItCame)) return false;
  const { fieldIds, plain, dropped, count } = head;
  for (let i = 0; i < count; i++) if (plain[i] === 0 || dropped[i] === 1 || transparentStays[fieldIds[i]!] !== kept) return false;
  return true;
}

/** RFC 9110 §7.6.3: every gateway says so in each request that it forwards; those before it stay. */
const viaLines = { "1.0": `\r\nVia: 1.0 ${pseudonym}\r\n`, "1.1": `\r\nVia: 1.1 ${pseudonym}\r\n`, "2.0": `\r\nVia: 2.0 ${pseudonym}\r\n` };
/** Who asked, how, and for what. */
function composeForwarded(out: Output, head: Head, lines: RequestLines): void {
  const { bytes, base } = head;
  const from = head.hostField * 4;
  out.text("X-Forwarded-For: ");
  if (lines.trusted && head.forwardedForField >= 0) out.text(`${head.find("x-forwarded-for")!}${lines.client === "" ? "" : ", "}`);
  out.text(lines.client);
  out.text(lines.scheme === "https" ? "\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: " : "\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: ");
  if (!head.absolute && head.hostField >= 0) out.copy(bytes, base + head.offsets[from + 2]!, base + head.offsets[from + 3]!);
  else out.text(head.host);
  out.text("\r\nX-Forwarded-Port: ");
  out.text(String(lines.port));
  if (lines.requestId !== "") {
    out.text("\r\nX-Request-Id: ");
    out.text(lines.requestId);
  }
  out.text(viaLines[lines.version]);
}

export interface ResponseLines {
  edits: HeaderEdits | undefined;
  setCookie: string | undefined;
  framing: Framing;
  length: number;
  /** The client takes trailers. */
  trailers: boolean;
  /** Of a HEAD or 304 answer: said, though no body follows. */
  lengthSaid: boolean;
  /** "close", "keep-alive", or "" when HTTP/1.1 says it by itself; "upgrade" for 101. */
  connection: string;
}

/** The response head for the client. */
export function composeResponse(out: Output, head: Head, lines: ResponseLines): void {
  const { bytes, base } = head;
  out.need(head.end + 512);
  if (head.minorVersion === 1 && head.targetEnd > head.methodEnd) {
    out.copy(bytes, base, base + head.fieldsStart);
  } else {
    out.text(`HTTP/1.1 ${head.status} `);
    if (head.targetEnd > head.methodEnd) out.copy(bytes, base + head.methodEnd + 1, base + head.targetEnd);
    out.text("\r\n");
  }
  composeFields(out, head, lines.trailers && lines.framing === framing.chunked ? chunkedResponseFates : responseFates, lines.edits);
  if (!head.hasDate && head.status >= 200) out.text(dateLine());
  if (lines.setCookie !== undefined) out.text(`Set-Cookie: ${lines.setCookie}\r\n`);
  if (lines.framing === framing.length || lines.lengthSaid) composeLength(out, lines.length);
  else if (lines.framing === framing.chunked) out.text("Transfer-Encoding: chunked\r\n");
  if (lines.connection === "upgrade") {
    const at = head.upgradeField * 4;
    out.text("Connection: Upgrade\r\nUpgrade: ");
    out.copy(bytes, base + head.offsets[at + 2]!, base + head.offsets[at + 3]!);
    out.text("\r\n\r\n");
  } else if (lines.connection === "close") {
    out.text("Connection: close\r\n\r\n");
  } else if (lines.connection === "keep-alive") {
    out.text("Connection: keep-alive\r\n\r\n");
  } else {
    out.text("\r\n");
  }
}

function composeLength(out: Output, length: number): void {
  out.text("Content-Length: ");
  out.text(String(length));
  out.text("\r\n");
}

/** Fields that stay, and what the policy sets and adds. */
function composeFields(out: Output, head: Head, fate: Uint8Array, edits: HeaderEdits | undefined): void {
  const { bytes, base, offsets, fieldIds, plain, dropped, count } = head;
  const gone = edits && new Set([...edits.remove, ...edits.set.map(([name]) => name)].map(twinless));
  let from = -1;
  for (let i = 0; i < count; i++) {
    const start = offsets[i * 4]!;
    const keep = fate[fieldIds[i]!] === kept && dropped[i] === 0 && !(gone && gone.has(twinless(head.nameAt(i))));
    if (keep && plain[i] === 1) {
      if (from < 0) from = start;
      continue;
    }
    if (from >= 0) out.copy(bytes, base + from, base + start);
    from = -1;
    if (!keep) continue;
    out.copy(bytes, base + start, base + offsets[i * 4 + 1]!);
    out.text(": ");
    out.copy(bytes, base + offsets[i * 4 + 2]!, base + offsets[i * 4 + 3]!);
    out.text("\r\n");
  }
  if (from >= 0) out.copy(bytes, base + from, base + head.end - 2);
  if (!edits) return;
  for (const [name, value] of edits.set) composeField(out, name, value);
  for (const [name, value] of edits.add) composeField(out, name, value);
}

/** What {@link composeResponse} writes of the fields, for who writes them otherwise. Names in lower case. */
export function responseFields(head: Head, edits: HeaderEdits | undefined): [name: string, value: string][] {
  const fields: [string, string][] = [];
  const gone = edits && new Set([...edits.remove, ...edits.set.map(([name]) => name)].map(twinless));
  for (let i = 0; i < head.count; i++) {
    if (responseFates[head.fieldIds[i]!] !== kept || head.dropped[i] === 1) continue;
    const name = head.nameAt(i);
    if (!gone?.has(twinless(name))) fields.push([name, head.valueAt(i)]);
  }
  if (edits) for (const [name, value] of [...edits.set, ...edits.add]) addField(fields, name, value);
  return fields;
}

/** `x_user` and `X-User` are one header for many backends: who sets one removes both. */
export const twinless = (name: string): string => name.toLowerCase().replaceAll("_", "-");

/** A field from configuration. What would break the head is left out: configuration is checked long before. */
export function composeField(out: Output, name: string, value: string): void {
  const text = fieldValue(name, value);
  if (text !== undefined) out.text(`${name}: ${text}\r\n`);
}
/** The same for who writes fields otherwise. */
export function addField(fields: [name: string, value: string][], name: string, value: string): void {
  const text = fieldValue(name, value);
  if (text !== undefined) fields.push([name.toLowerCase(), text]);
}
function fieldValue(name: string, value: string): string | undefined {
  const id = idOfName(name.toLowerCase());
  if (id === ids.contentLength || id === ids.transferEncoding || id === ids.connection || id === ids.host) return undefined;
  const text = isLatin1(value) ? value : Buffer.from(value, "utf8").toString("latin1");
  return name === "" || !every(name, tokens) || !every(text, values) ? undefined : text;
}
const isLatin1 = (text: string): boolean => !/[\u0100-\uffff]/.test(text);
export function every(text: string, table: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (!table[text.charCodeAt(i)]) return false;
  return true;
}

/** The head of an answer that was made or changed here. */
export function composeBegin(out: Output, status: number, headers: readonly (readonly [name: string, value: string])[], options: { chunked: boolean; length: number | undefined; edits: HeaderEdits | undefined; setCookie: string | undefined; connection: string }): void {
  const { edits, length } = options;
  const gone = edits && new Set([...edits.remove, ...edits.set.map(([name]) => name)].map(twinless));
  out.text(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`);
  let hasDate = false;
  for (const [name, value] of headers) {
    if (gone?.has(twinless(name))) continue;
    hasDate ||= name === "date";
    composeField(out, name, value);
  }
  if (!hasDate) out.text(dateLine());
  if (edits) for (const [name, value] of [...edits.set, ...edits.add]) composeField(out, name, value);
  if (options.setCookie !== undefined) out.text(`Set-Cookie: ${options.setCookie}\r\n`);
  if (options.chunked) out.text("Transfer-Encoding: chunked\r\n");
  else if (length !== undefined) composeLength(out, length);
  out.text(options.connection === "" ? "\r\n" : `Connection: ${options.connection}\r\n\r\n`);
}

/** An answer of ours. */
export function composeLocal(out: Output, status: number, headers: readonly (readonly [name: string, value: string])[], body: string, options: { connection: string; isHead: boolean; edits: HeaderEdits | undefined; bytes?: Uint8Array | undefined }): void {
  const content = options.bytes ? asBuffer(options.bytes) : Buffer.from(body, "utf8");
  const { edits } = options;
  const gone = edits && new Set([...edits.remove, ...edits.set.map(([name]) => name)].map(twinless));
  out.text(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`);
  // What was kept says when it was made.
  if (!headers.some(([name]) => name === "date")) out.text(dateLine());
  for (const [name, value] of headers) if (!gone?.has(twinless(name))) composeField(out, name, value);
  if (edits) for (const [name, value] of [...edits.set, ...edits.add]) composeField(out, name, value);
  if (status >= 200 && status !== 204 && status !== 304) out.text(`Content-Length: ${content.length}\r\n`);
  out.text(options.connection === "" ? "\r\n" : `Connection: ${options.connection}\r\n\r\n`);
  if (!options.isHead && status !== 204 && status !== 304) out.copy(content, 0, content.length);
}

/** From so many bytes on a body is written from where it lies. */
const directFrom = 32 * 1024;

/** One that is given many times: its head is copied as it was made the first time, but for the lines that differ. The head of {@link composeLocal} otherwise. */
export function composeKept(out: Output, status: number, { own, lines }: KeptHead, content: Buffer, options: { connection: string; isHead: boolean }): void {
  own.composed ??= keptHead(status, own.headers, content.length);
  const head = own.composed as Buffer;
  out.need(head.length + lines.length + 64);
  out.copy(head, 0, head.length);
  out.text(lines);
  out.text(options.connection === "" ? "\r\n" : `Connection: ${options.connection}\r\n\r\n`);
  if (options.isHead) return;
  if (content.length < directFrom) out.copy(content, 0, content.length);
  else out.direct(content);
}
function keptHead(status: number, headers: readonly (readonly [name: string, value: string])[], length: number): Buffer {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n`;
  for (const [name, value] of headers) {
    const told = fieldValue(name, value);
    if (told !== undefined) text += `${name}: ${told}\r\n`;
  }
  if (status !== 204 && status !== 304) text += `Content-Length: ${length}\r\n`;
  const head = Buffer.allocUnsafeSlow(text.length);
  head.latin1Write(text, 0, text.length);
  return head;
}

export const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

let dateText = "";
let dateAt = 0;
/** Once a second is enough. */
function dateLine(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateAt) {
    dateAt = second;
    dateText = `Date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return dateText;
}

const randomBytes = Buffer.alloc(4096);
let randomAt = randomBytes.length;
/** 32 hexadecimal digits that nobody can guess. */
export function newRequestId(): string {
  if (randomAt === randomBytes.length) {
    randomFillSync(randomBytes);
    randomAt = 0;
  }
  return randomBytes.hexSlice(randomAt, (randomAt += 16));
}
declare global {
  interface Buffer {
    hexSlice(from: number, to: number): string;
  }
}
