import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { find } from "../../../test/needs.ts";
import { randomInt, seededRandom } from "../../base/random.ts";
import { ChunkReader } from "./chunks.ts";
import { complete, Head } from "./head.ts";

/**
 * Our parser beside llhttp (node:http's own), on seeded mutations of requests. What we take for a request must be the same
 * request for llhttp, field for field and byte for byte of its body; what we refuse may be anything.
 */
interface Message {
  method: string;
  target: string;
  fields: [string, string][];
  body: string;
  /** Whether the message's end was seen, and what came behind it. */
  rest: string | undefined;
}

interface Llhttp {
  initialize(type: number, resource: object): void;
  execute(bytes: Buffer): number | Error;
  [callback: number]: unknown;
}
/** Node has no public door to its parser. */
const binding = createRequire(import.meta.url)("_http_common") as { HTTPParser: (new () => Llhttp) & Record<string, number>; methods: string[] };

function byLlhttp(bytes: Buffer): Message | undefined {
  const { HTTPParser, methods } = binding;
  const parser = new HTTPParser();
  parser.initialize(HTTPParser["REQUEST"]!, {});
  const message: Message = { method: "", target: "", fields: [], body: "", rest: undefined };
  let headed = false;
  let ended = false;
  let pairs: string[] = [];
  let target = "";
  parser[HTTPParser["kOnHeaders"]!] = (fields: string[], url: string) => {
    pairs.push(...fields);
    target += url;
  };
  parser[HTTPParser["kOnHeadersComplete"]!] = (_major: number, _minor: number, fields: string[] | undefined, method: number, url: string) => {
    if (headed) return 0;
    headed = true;
    pairs.push(...(fields ?? []));
    message.method = methods[method]!;
    message.target = target + (url ?? "");
    for (let i = 0; i < pairs.length; i += 2) message.fields.push([pairs[i]!.toLowerCase(), pairs[i + 1]!.replace(/^[ \t]+|[ \t]+$/g, "")]);
    pairs = [];
    return 0;
  };
  parser[HTTPParser["kOnBody"]!] = (piece: Buffer) => {
    if (!ended) message.body += piece.toString("latin1");
  };
  parser[HTTPParser["kOnMessageComplete"]!] = () => {
    ended = true;
  };
  const result = parser.execute(bytes);
  if (!headed) return undefined;
  if (result instanceof Error && !ended) return undefined;
  if (ended) message.rest = "";
  return message;
}

function byUs(bytes: Buffer): Message | undefined {
  const head = new Head(true, 32_768, 16_384);
  if (head.feed(bytes, 0, bytes.length) !== complete) return undefined;
  const at = (from: number, to: number) => bytes.latin1Slice(from, to);
  const fields: [string, string][] = [];
  for (let i = 0; i < head.count; i++) fields.push([head.nameAt(i), head.valueAt(i)]);
  const message: Message = { method: at(head.methodStart, head.methodEnd), target: at(head.targetStart, head.targetEnd), fields, body: "", rest: undefined };
  if (head.chunked) {
    const copy = Buffer.from(bytes);
    const chunks = new ChunkReader();
    chunks.read(copy, head.end, copy.length);
    if (chunks.error !== undefined) return undefined;
    message.body = copy.latin1Slice(chunks.dataStart, chunks.dataEnd);
    if (chunks.done) message.rest = "";
  } else {
    const length = Math.max(head.contentLength, 0);
    message.body = at(head.end, Math.min(head.end + length, bytes.length));
    if (head.end + length <= bytes.length) message.rest = "";
  }
  return message;
}

const seeds = [
  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /a/b?c=d&e HTTP/1.1\r\nHost: a.example:80\r\nUser-Agent: x (y; z)\r\nAccept: */*\r\nX-Empty:\r\n\r\n",
  "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
  "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b;c=\"d e\"\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
  "PUT http://a.example/x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
  "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
  "HEAD /h HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  "DELETE /d HTTP/1.1\r\nHost: a\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
];
const splices = ["\r\n", "\n", "\r", " ", "\t", ":", ";", ",", "\0", "\x0b", "\x7f", "\xa0", "0", "00", "+", "-", "0x", "_", "\r\n ", "\r\n\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Host: b\r\n", "chunked", "5\r\n", "0\r\n\r\n", "%2f", "#", "\\", "..", "HTTP/1.1", "HTTP/1.0", "\"", "=", "GET /s HTTP/1.1\r\nHost: s\r\n\r\n"];

test("what we take for a request is the same request for llhttp", () => {
  const random = seededRandom(20_261_121);
  const corpus = find("../shared/conformance/http1/public.json");
  const all = [...seeds, ...(corpus ? (JSON.parse(readFileSync(corpus, "utf8")) as { raw_base64: string }[]).map(({ raw_base64 }) => Buffer.from(raw_base64, "base64").toString("latin1")).filter((text) => text.length < 1_000) : [])];
  const pick = <T>(list: readonly T[]): T => list[randomInt(random, list.length)]!;
  let both = 0;
  let oursOnly = 0;
  let theirsOnly = 0;
  for (let round = 0; round < 15_000; round++) {
    let text = pick(all);
    for (let n = randomInt(random, 4); n > 0; n--) {
      const at = randomInt(random, text.length + 1);
      const kind = randomInt(random, 5);
      if (kind === 0) text = text.slice(0, at) + text.slice(at + 1 + randomInt(random, 3));
      else if (kind === 1) text = text.slice(0, at) + String.fromCharCode(randomInt(random, 256)) + text.slice(at + 1);
      else if (kind === 2) text = text.slice(0, at) + pick(splices) + text.slice(at);
      else if (kind === 3) text = text.slice(0, at) + pick(all).slice(randomInt(random, 60));
      else {
        const lines = text.split("\r\n");
        const line = pick(lines);
        lines.splice(randomInt(random, lines.length), 0, line);
        text = lines.join("\r\n");
      }
    }
    const bytes = Buffer.from(text, "latin1");
    const ours = byUs(bytes);
    const theirs = byLlhttp(bytes);
    if (ours === undefined) {
      if (theirs !== undefined) theirsOnly++;
      continue;
    }
    // llhttp knows its methods by name; we pass others on. And it may refuse earlier what has no end yet.
    if (theirs === undefined && (!binding.methods.includes(ours.method) || ours.rest === undefined)) continue;
    if (theirs === undefined) oursOnly++;
    assert.deepEqual(ours, theirs, JSON.stringify(text));
    both++;
  }
  assert.ok(both > 1_000, `too few are requests at all: ${both}`);
  assert.ok(theirsOnly > 100, "strictness shows");
  assert.equal(oursOnly, 0);
});
