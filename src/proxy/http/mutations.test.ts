import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { randomInt, seededRandom } from "../../base/random.ts";
import { startGateway, startProgram, until } from "./testing/gateway.ts";

/**
 * Conversations of requests, mutated, through the gateway to a program of node:http, which writes down what it was asked. It
 * must have been asked exactly what the gateway counted, each with the same beginning and the same end.
 */
const seeds = process.env["WHERRY_CONFORMANCE"] ? 5_000 : 250;
const together = 50;
const splices = ["\r\n", "\n", "\r", " ", "\t", ":", ";", ",", "\0", "\x0b", "0", "-", "+", "0x", "_", "\r\n ", "\r\n\r\n", "0\r\n\r\n", "1\r\nx\r\n", "Content-Length: 5\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Connection: close\r\n", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "Expect: 100-continue\r\n", "Host: b\r\n", "chunked", "HTTP/1.0", "..", "%2f", "GET /spliced HTTP/1.1\r\nHost: s\r\n\r\n"];

function conversation(seed: number): string {
  const random = seededRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[randomInt(random, list.length)]!;
  const body = () => "0123456789".repeat(randomInt(random, 6)) + pick(["", "0\r\n\r\n", "GET /in-body HTTP/1.1\r\nHost: s\r\n\r\n"]);
  const request = (n: number): string => {
    const target = `/${seed}-${n}`;
    const content = body();
    const cut = randomInt(random, content.length + 1);
    const chunk = (text: string) => (text === "" ? "" : `${text.length.toString(16)}${pick(["", ";a=b", ";c"])}\r\n${text}\r\n`);
    return pick([
      () => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`,
      () => `POST ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: ${content.length}\r\n\r\n${content}`,
      () => `PUT ${target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(content.slice(0, cut))}${chunk(content.slice(cut))}0\r\n\r\n`,
      () => `DELETE ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n`,
    ])();
  };
  let text = Array.from({ length: 1 + randomInt(random, 4) }, (_, n) => request(n)).join("");
  for (let n = randomInt(random, 4); n > 0; n--) {
    const at = randomInt(random, text.length + 1);
    const kind = randomInt(random, 4);
    if (kind === 0) text = text.slice(0, at) + text.slice(at + 1 + randomInt(random, 3));
    else if (kind === 1) text = text.slice(0, at) + String.fromCharCode(randomInt(random, 256)) + text.slice(at + 1);
    else if (kind === 2) text = text.slice(0, at) + pick(splices) + text.slice(at);
    else {
      const lines = text.split("\r\n");
      lines.splice(randomInt(random, lines.length), 0, pick(lines));
      text = lines.join("\r\n");
    }
  }
  return text;
}

test(`smuggling mutations: of ${seeds} conversations the program sees what the gateway counted, with the same boundaries`, { timeout: 300_000 }, async (t) => {
  /** By the gateway's own number of a request, which no client can choose. */
  const seen = new Map<string, { line: string; bytes: number; hash: string; whole: boolean }>();
  await using program = await startProgram((request, response) => {
    const id = request.headers["x-request-id"] as string;
    const hash = createHash("sha1");
    const entry = { line: `${request.method} ${request.url}`, bytes: 0, hash: "", whole: false };
    assert.ok(!seen.has(id), "one request, twice");
    seen.set(id, entry);
    request.on("data", (bytes: Buffer) => {
      entry.bytes += bytes.length;
      hash.update(bytes);
    });
    request.on("end", () => {
      entry.whole = true;
      entry.hash = hash.digest("hex");
      response.end(entry.hash);
    });
    request.on("error", () => {});
  });
  // What the gateway passes on is what a strict reader takes for the same.
  program.on("clientError", (error: Error, socket) => {
    const { code = "", rawPacket } = error as NodeJS.ErrnoException & { rawPacket?: Buffer };
    // Any method goes on, and llhttp knows its own: it answers 400 to the request, which is that of the others.
    // And a body whose client left ends in the middle.
    if (!["ECONNRESET", "HPE_INVALID_METHOD", "HPE_INVALID_EOF_STATE"].includes(code)) broken.push(`${code} ${JSON.stringify(rawPacket?.toString("latin1"))}`);
    socket.destroy();
  });
  const broken: string[] = [];
  await using gateway = startGateway([program.port]);
  for (let first = 0; first < seeds; first += together) {
    const clients = await Promise.all(Array.from({ length: together }, () => gateway.open()));
    clients.forEach((client, n) => client.send(conversation(first + n)));
    // What is not complete is answered never: others are, again and again, until nothing moves any more.
    for (let before = -1; before !== gateway.engine.counters.requestsTotal; ) {
      before = gateway.engine.counters.requestsTotal;
      for (let i = 0; i < 3; i++) {
        const other = await gateway.open();
        other.send(`GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
        await other.end();
        before++;
      }
    }
    for (const client of clients) client.socket.destroy();
    await until(() => gateway.engine.counters.connections === 0 && gateway.policy.running === 0);
  }
  gateway.engine.close();
  const counted = new Map(gateway.lines.filter(({ endpoint }) => endpoint !== undefined).map((line) => [String(line["requestId"]), line]));
  let whole = 0;
  for (const [id, { line, bytes, whole: isWhole }] of seen) {
    const own = counted.get(id);
    assert.ok(own, `the program saw ${line}, of which the gateway knows nothing`);
    assert.equal(line, `${String(own["method"])} ${String(own["path"])}`);
    if (isWhole) assert.equal(bytes, own["receivedBytes"], line);
    if (isWhole) whole++;
  }
  for (const [id, line] of counted) if (line["status"] === 200) assert.ok(seen.get(id)?.whole, `answered, and not seen whole: ${JSON.stringify(line)}`);
  assert.deepEqual(broken, [], "the program could not read what it was sent");
  t.diagnostic(`${seen.size} requests seen, ${whole} of them whole; ${gateway.lines.length - counted.size} refused`);
  assert.ok(whole > seeds / 2 && gateway.lines.length - counted.size > seeds / 20);
});
