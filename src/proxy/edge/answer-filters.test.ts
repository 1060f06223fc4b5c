import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as requestHttp, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { brotliDecompressSync, createGunzip, createZstdDecompress, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { HttpFilter } from "../../api/traffic.ts";
import type { OverrideFilter } from "../../api/traffic-answers.ts";
import { until } from "../http/testing/gateway.ts";
import { type EdgeWorld, startEdge } from "./testing/edge-world.ts";

const compress: HttpFilter = { type: "compress", encodings: [{ name: "gzip", minBytes: 30 }, { name: "br", minBytes: 30 }, { name: "zstd", minBytes: 30 }] };
const text = "shop ".repeat(200);

async function ask(world: EdgeWorld, { method = "GET", path = "/", headers = {} }: { method?: string; path?: string; headers?: Record<string, string> } = {}): Promise<{ answer: IncomingMessage; body: Buffer }> {
  const asked = requestHttp({ host: "127.0.0.1", port: world.port, method, path, agent: false, headers: { host: "a", ...headers } }).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return { answer, body: await buffer(answer) };
}
const decoders: Record<string, (body: Buffer) => Buffer> = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };

test("compression: what a client takes, byte for byte what the program gave, over HTTP/1.1 and HTTP/2", async () => {
  await using world = await startEdge({}, { filters: [compress], program: (_request, response) => response.writeHead(200, { "content-type": "text/html; charset=utf-8", "content-length": text.length, etag: '"1"', "accept-ranges": "bytes", vary: "Origin" }).end(text) });
  for (const [name, decode] of Object.entries(decoders)) {
    const { answer, body } = await ask(world, { headers: { "accept-encoding": `${name}, x;q=0.1` } });
    const { headers } = answer;
    assert.deepEqual([headers["content-encoding"], headers["content-length"], headers.vary, headers.etag, headers["accept-ranges"]], [name, undefined, "Origin, Accept-Encoding", 'W/"1"', undefined]);
    assert.ok(body.length < text.length / 4);
    assert.equal(decode(body).toString(), text);
  }
  const plain = await ask(world);
  assert.deepEqual([plain.answer.headers["content-encoding"], plain.answer.headers.vary, plain.answer.headers.etag, plain.body.toString()], [undefined, "Origin, Accept-Encoding", '"1"', text]);
  const session = connectHttp2(`http://127.0.0.1:${world.port}`);
  const stream = session.request({ ":path": "/", ":authority": "a", "accept-encoding": "br" });
  const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
  assert.equal(headers["content-encoding"], "br");
  assert.equal(brotliDecompressSync(await buffer(stream)).toString(), text);
  session.destroy();
});

/** What goes as it is: why, the status and headers of the program, and the method. */
const untouched: [why: string, status: number, headers: Record<string, string>, method?: string][] = [
  ["encoded already", 200, { "content-type": "text/plain", "content-encoding": "deflate" }],
  ["no-transform", 200, { "content-type": "text/plain", "cache-control": "max-age=5, no-transform" }],
  ["a part", 206, { "content-type": "text/plain", "content-range": `bytes 0-${text.length - 1}/${text.length}` }],
  ["an image", 200, { "content-type": "image/png" }],
  ["gRPC", 200, { "content-type": "application/grpc" }],
  ["of no type", 200, {}],
  ["a HEAD", 200, { "content-type": "text/plain" }, "HEAD"],
];
for (const [why, status, headers, method] of untouched) {
  test(`compression: not ${why}`, async () => {
    await using world = await startEdge({}, { filters: [compress], program: (_request, response) => response.writeHead(status, { ...headers, "content-length": text.length }).end(text) });
    const { answer, body } = await ask(world, { method: method ?? "GET", headers: { "accept-encoding": "gzip" } });
    assert.deepEqual([answer.statusCode, answer.headers["content-encoding"], answer.headers["content-length"], body.toString()], [status, headers["content-encoding"], String(text.length), method === "HEAD" ? "" : text]);
  });
}

test("compression: not what is short, and answers that are made here", async () => {
  await using world = await startEdge({}, { filters: [compress, { type: "fault", abort: { status: 503, perMillion: 0 } }], program: (request, response) => response.writeHead(200, { "content-type": "text/plain", "content-length": 29 }).end("a".repeat(29)) });
  const { answer } = await ask(world, { headers: { "accept-encoding": "gzip" } });
  assert.deepEqual([answer.headers["content-encoding"], answer.headers.vary], [undefined, "Accept-Encoding"]);
  await using local = await startEdge({}, { filters: [compress, { type: "respond", status: 200, body: text }] });
  const made = await ask(local, { headers: { "accept-encoding": "gzip" } });
  assert.equal(gunzipSync(made.body).toString(), text);
});

test("compression: each event goes out when it comes", async () => {
  let program: ServerResponse | undefined;
  await using world = await startEdge({}, { filters: [compress], program: (_request, response) => void (program = response.writeHead(200, { "content-type": "text/event-stream" })).flushHeaders() });
  const asked = requestHttp({ host: "127.0.0.1", port: world.port, agent: false, headers: { host: "a", "accept-encoding": "gzip" } }).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  assert.equal(answer.headers["content-encoding"], "gzip");
  const events = answer.pipe(createGunzip());
  for (let i = 0; i < 3; i++) {
    program!.write(`data: ${i}\n\n`);
    const [event] = (await once(events, "data")) as [Buffer];
    assert.equal(String(event), `data: ${i}\n\n`, "before the next is sent");
  }
  const end = once(events, "end");
  program!.end();
  await end;
});

test("compression: a program waits for a client that reads slowly, and the answer comes whole", async () => {
  const size = 64 * 1024 * 1024;
  const count = { sent: 0, received: 0, between: 0, length: 0 };
  const program: RequestListener = (_request, response) => {
    response.writeHead(200, { "content-type": "text/plain" });
    const more = (): void => {
      while (count.sent < size) {
        // What does not get shorter fills every buffer on the way: loopback's grow to some 10 MB a connection.
        const noise = randomBytes(1024 * 1024);
        count.sent += noise.length;
        if (!response.write(noise)) return void response.once("drain", more);
      }
      response.end();
    };
    more();
  };
  await using world = await startEdge({}, { filters: [compress], program });
  const asked = requestHttp({ host: "127.0.0.1", port: world.port, agent: false, headers: { host: "a", "accept-encoding": "zstd" } }).end();
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  const decoder = createZstdDecompress().on("data", (piece: Buffer) => void (count.length += piece.length));
  let turns = 0;
  for await (const piece of answer) {
    count.received += (piece as Buffer).length;
    count.between = Math.max(count.between, count.sent - count.received);
    decoder.write(piece);
    for (; turns < count.received / 10_000; turns++) await new Promise((resolve) => setImmediate(resolve));
  }
  const end = once(decoder, "end");
  decoder.end();
  await end;
  assert.equal(count.length, size);
  assert.ok(count.between < 40 * 1024 * 1024, `${count.between} bytes lay between the two`);
});

test("compression: a client that leaves, and a program that breaks off, leave nothing behind", async () => {
  await using world = await startEdge({}, { filters: [compress], program: (request, response) => {
    response.writeHead(200, { "content-type": "text/plain" }).write(text);
    if (request.url === "/break") setImmediate(() => response.destroy());
  } });
  for (const path of ["/leave", "/break"]) {
    const asked = requestHttp({ host: "127.0.0.1", port: world.port, path, agent: false, headers: { host: "a", "accept-encoding": "gzip" } }).on("error", () => {}).end();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    // Not `once`, which an error ends.
    const closed = new Promise((resolve) => answer.on("error", () => {}).on("close", resolve).resume());
    if (path === "/leave") asked.destroy();
    await closed;
    assert.ok(!answer.complete);
  }
  await until(() => world.engine.counters.requestsRunning === 0);
});

const override = (...rules: OverrideFilter["rules"]): HttpFilter => ({ type: "override", rules });
/** The rules, the path (its number is the program's status), and what the client gets: status, type, body, Location. */
const overrides: [why: string, filters: HttpFilter[], path: string, expected: [status: number, type: string | undefined, body: string, location?: string]][] = [
  ["a page for a status", [override({ statuses: [{ from: 404, to: 404 }], body: "no", contentType: "text/x" })], "/404", [404, "text/x", "no"]],
  ["another stays", [override({ statuses: [{ from: 404, to: 404 }], body: "no" })], "/403", [403, "text/html", "<p>403"]],
  ["a range, and another status", [override({ statuses: [{ from: 500, to: 599 }], body: "later", status: 503 })], "/507", [503, "text/plain", "later"]],
  ["the first that fits", [override({ statuses: [{ from: 500, to: 501 }], body: "a" }, { statuses: [{ from: 500, to: 599 }], body: "b" })], "/501", [501, "text/plain", "a"]],
  ["of a header", [override({ statuses: [{ from: 400, to: 499 }], headers: [{ name: "X-Kind", value: { type: "prefix", value: "in" } }], body: "x" })], "/404", [404, "text/plain", "x"]],
  ["of a header that is otherwise", [override({ statuses: [{ from: 400, to: 499 }], headers: [{ name: "X-Kind", value: { type: "exact", value: "in" } }], body: "x" })], "/404", [404, "text/html", "<p>404"]],
  ["the status alone", [override({ statuses: [{ from: 404, to: 404 }], status: 410 })], "/404", [410, "text/html", "<p>404"]],
  ["sent elsewhere", [override({ statuses: [{ from: 404, to: 404 }], redirect: { hostname: "b.example", path: { type: "full", value: "/lost" }, scheme: "https", status: 302 } })], "/404", [302, undefined, "", "https://b.example/lost"]],
  ["of the upstream's alone", [override({ statuses: [{ from: 400, to: 599 }], source: "upstream", body: "x" }), { type: "respond", status: 401, body: "mine" }], "/404", [401, "text/plain; charset=utf-8", "mine"]],
  ["of ours alone", [override({ statuses: [{ from: 400, to: 599 }], source: "local", body: "x" })], "/404", [404, "text/html", "<p>404"]],
  ["ours", [override({ statuses: [{ from: 401, to: 401 }], source: "local", body: "sign in" }), { type: "respond", status: 401, body: "mine" }], "/", [401, "text/plain", "sign in"]],
  ["compressed after that", [compress, override({ statuses: [{ from: 404, to: 404 }], body: text })], "/404", [404, "text/plain", text]],
];
for (const [why, filters, path, [status, type, body, location]] of overrides) {
  test(`override: ${why}`, async () => {
    await using world = await startEdge({}, { filters, program: (request, response) => response.writeHead(Number(request.url!.slice(1)), { "content-type": "text/html", "x-kind": "internal", etag: '"1"' }).end(`<p>${request.url!.slice(1)}`) });
    const { answer, body: came } = await ask(world, { path, headers: { "accept-encoding": "br" } });
    assert.deepEqual([answer.statusCode, answer.headers["content-type"], String(answer.headers["content-encoding"] === "br" ? brotliDecompressSync(came) : came), answer.headers.location], [status, type, body, location]);
  });
}

test("request buffer: nothing is asked before the whole body is here; too much of it is 413", async () => {
  await using world = await startEdge({}, { filters: [{ type: "requestBuffer", bytes: 10 }], program: (request, response) => void buffer(request).then((body) => response.end(`${request.headers["content-length"] ?? request.headers["transfer-encoding"]} ${String(body)}`)) });
  const client = await world.open();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
  const other = await world.open();
  other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal((await other.answer()).status, 200, "one without a body goes at once");
  assert.equal(world.asked.length, 1);
  client.send("llo");
  assert.equal((await client.answer()).body, "5 hello");
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  assert.match((await client.answer()).body, / hello$/);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
  assert.equal((await client.answer()).status, 413);
});
