import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { find, needs } from "../../../test/needs.ts";
import { Head, incomplete, refused } from "./head.ts";
import { startGateway, startProgram, type TestGateway } from "./testing/gateway.ts";

/**
 * The corpus of requests beside the project, each with what a careful server answers: through the gateway to a Node
 * program, at once and byte by byte. Every one that the specification demands must be right.
 */
const path = "../shared/conformance/http1/public.json";
interface Clause {
  status?: (number | string)[];
  then_close?: boolean;
  close?: boolean;
  timeout?: boolean;
  header?: string;
  no_header?: string;
  no_body?: boolean;
  no_interim?: boolean;
  body_lacks?: string;
}
interface Case {
  id: string;
  level: "MUST" | "SHOULD" | "MAY";
  raw_base64: string;
  expect: { any_of: Clause[]; tolerated?: Clause[]; max_responses?: number; min_responses?: number };
}
const cases = (): Case[] => JSON.parse(readFileSync(find(path)!, "utf8")) as Case[];
/** Whoever is asked after it, and answered so often, was not slower: then silence is silence. */
const othersAnswered = 3;
/** The rest of larger ones is sent in pieces. */
const byteByByteMax = 4_000;

interface Seen {
  finals: { status: number; head: string; body: string }[];
  interims: number;
  closed: boolean;
}

/** Resolves when requests on a connection of their own, asked from now on, were answered. */
async function others(gateway: TestGateway): Promise<void> {
  for (let i = 0; i < othersAnswered; i++) {
    const client = await gateway.open();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    await client.end();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function ask(gateway: TestGateway, raw: Buffer, byteByByte: boolean): Promise<Seen> {
  const client = await gateway.open();
  const methods = [...raw.toString("latin1").matchAll(/(?:^|\n)([A-Z]+) [^\r\n]* HTTP\/1/g)].map(([, method]) => method);
  const seen: Seen = { finals: [], interims: 0, closed: false };
  let sent = false;
  void (async () => {
    for (let i = 0; i < raw.length && !client.ended; ) {
      const step = !byteByByte ? raw.length : i < byteByByteMax ? 1 : 1024;
      client.send(raw.subarray(i, i + step));
      i += step;
      await new Promise((resolve) => setImmediate(resolve));
    }
    sent = true;
  })();
  for (;;) {
    const silent = Symbol("silent");
    // Silence counts from when everything was sent.
    const wasSent = sent;
    const came = await Promise.race([client.until((text) => text.length > 0), others(gateway).then(() => silent)]);
    if (came === silent && !wasSent) continue;
    if (came === silent || client.received === "") break;
    const answer = await client.answer({ isHead: methods[seen.finals.length] === "HEAD" });
    if (answer.status < 200) seen.interims++;
    else seen.finals.push(answer);
  }
  seen.closed = client.ended;
  client.socket.destroy();
  return seen;
}

function holds(clause: Clause, { finals, interims, closed }: Seen): boolean {
  if (clause.timeout) return finals.length === 0 && !closed;
  if (clause.close) return finals.length === 0 && closed;
  const [first] = finals;
  const fits = first && clause.status!.some((wanted) => (typeof wanted === "number" ? wanted === first.status : Number(wanted.split("-")[0]) <= first.status && first.status <= Number(wanted.split("-")[1])));
  if (!fits) return false;
  if (clause.then_close && !closed) return false;
  if (clause.header && !new RegExp(`^${clause.header}:`, "im").test(first.head)) return false;
  if (clause.no_header && new RegExp(`^${clause.no_header}:`, "im").test(first.head)) return false;
  if (clause.no_body && first.body !== "") return false;
  if (clause.no_interim && interims > 0) return false;
  return !(clause.body_lacks && first.body.includes(clause.body_lacks));
}
function judge({ expect }: Case, seen: Seen): "pass" | "tolerated" | "fail" {
  if (seen.finals.length > (expect.max_responses ?? Infinity) || seen.finals.length < (expect.min_responses ?? 0)) return "fail";
  if (expect.any_of.some((clause) => holds(clause, seen))) return "pass";
  return (expect.tolerated ?? []).some((clause) => holds(clause, seen)) ? "tolerated" : "fail";
}

async function run(t: TestContext, byteByByte: boolean): Promise<void> {
  await using program = await startProgram((request, response) => {
    request.resume().on("end", () => response.end("OK"));
  });
  await using gateway: TestGateway = startGateway([program.port]);
  const left = cases();
  const score: Record<string, Record<string, number>> = {};
  const failures: string[] = [];
  const work = async () => {
    for (let one = left.shift(); one; one = left.shift()) {
      const seen = await ask(gateway, Buffer.from(one.raw_base64, "base64"), byteByByte);
      const verdict = judge(one, seen);
      const row = (score[one.level] ??= { pass: 0, tolerated: 0, fail: 0 });
      row[verdict]!++;
      if (verdict === "fail") failures.push(`${one.level} ${one.id}: got ${seen.finals.map(({ status }) => status).join("+") || "nothing"}${seen.closed ? ", closed" : ""}`);
    }
  };
  await Promise.all(Array.from({ length: 48 }, work));
  t.diagnostic(JSON.stringify(score));
  assert.deepEqual(failures, []);
  assert.equal(gateway.engine.counters.requestsRunning, 0, "no request is left over");
  assert.equal(gateway.policy.running, 0, "no try is left over");
}

test("the corpus, at once", async (t) => {
  if (needs(t, path)) await run(t, false);
});
test("the corpus, byte by byte", async (t) => {
  if (needs(t, path)) await run(t, true);
});

test("a head split anywhere is the same head", (t) => {
  if (!needs(t, path)) return;
  const outcome = (head: Head, pieces: Buffer[]) => {
    let result = incomplete as number;
    for (const piece of pieces) if ((result = head.feed(piece, 0, piece.length)) !== incomplete) break;
    if (result === refused) return [result, head.errorStatus, head.error];
    if (result === incomplete) return [result];
    return [result, head.host, head.path, head.end, head.count, head.contentLength, head.chunked, ...head.offsets.subarray(0, head.count * 4), ...head.plain.subarray(0, head.count)];
  };
  for (const { id, raw_base64 } of cases()) {
    const raw = Buffer.from(raw_base64, "base64");
    const whole = outcome(new Head(true, 32_768, 16_384), [raw]);
    if (raw.length < byteByByteMax) {
      for (let at = 1; at < raw.length; at++) assert.deepEqual(outcome(new Head(true, 32_768, 16_384), [raw.subarray(0, at), raw.subarray(at)]), whole, `${id}, split at ${at}`);
    }
    assert.deepEqual(outcome(new Head(true, 32_768, 16_384), Array.from(raw, (byte) => Buffer.of(byte))), whole, `${id}, byte by byte`);
  }
});
