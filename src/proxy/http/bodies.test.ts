import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type OutgoingHttpHeaders } from "node:http2";
import type { IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { test } from "node:test";
import { buffer, text } from "node:stream/consumers";
import { limits } from "../../base/limits.ts";
import { mirrorTo, startGateway, startProgram, type TestGateway, type TurnPolicy, until } from "./testing/gateway.ts";

const sha = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

async function ask(port: number, headers: OutgoingHttpHeaders, body: Buffer | undefined, trailers: OutgoingHttpHeaders = {}): Promise<{ status: number; headers: OutgoingHttpHeaders; body: string; reset: number }> {
  const session = connect(`http://127.0.0.1:${port}`);
  try {
    const stream = session.request({ ":authority": "web.example", ":path": "/", ...headers }, { endStream: body === undefined, waitForTrailers: body !== undefined });
    stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    stream.on("error", () => {});
    if (body) stream.end(body);
    const [answer] = (await once(stream, "response")) as [OutgoingHttpHeaders & { ":status": number }];
    const content = await text(stream).catch(() => "cut off");
    return { status: answer[":status"], headers: answer, body: content, reset: stream.rstCode };
  } finally {
    session.destroy();
  }
}

test("a request's trailers reach a program of HTTP/1.1: none that frames, routes, or that the rule speaks of", async () => {
  const seen: unknown[] = [];
  await using program = await startProgram((request, response) => void buffer(request).then(() => (seen.push([request.trailers, request.headers.trailer]), response.end())));
  await using gateway = startGateway([program.port]);
  gateway.routed.handler = (exchange, outcome) => {
    exchange.upstream = "shop/web/80";
    exchange.requestHeaders = { remove: ["x-gone"], set: [["x-user", "ann"]], add: [] };
    outcome.forward(exchange);
  };
  const client = await gateway.open();
  const last = "X-Sum: 7\r\nX-User: mallory\r\nx_user: mallory\r\nX-Gone: 1\r\nX-Real-Ip: 6.6.6.6\r\n";
  client.send(`POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n${last}\r\n`);
  assert.equal((await client.answer()).status, 200);
  await ask(gateway.port, { ":method": "POST" }, Buffer.from("hi"), { "x-sum": "8", "x-user": "mallory" });
  // What has a length has no place for them.
  await ask(gateway.port, { ":method": "POST", "content-length": "2" }, Buffer.from("hi"), { "x-sum": "9" });
  assert.deepEqual(seen.map((one) => JSON.parse(JSON.stringify(one)) as unknown), [[{ "x-sum": "7" }, "X-Sum"], [{ "x-sum": "8" }, null], [{}, null]]);
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n");
  assert.equal((await client.answer()).status, 400, "a trailer that frames is no trailer");
});

test("an answer's trailers are announced to who takes them, and neither to others", async () => {
  await using program = await startProgram((_request, response) => {
    response.writeHead(200, { Trailer: "X-Sum" });
    response.write("OK");
    response.addTrailers({ "X-Sum": "7" });
    response.end();
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  for (const wants of [true, false]) {
    client.send(`GET / HTTP/1.1\r\nHost: a\r\n${wants ? "TE: trailers\r\nConnection: TE\r\n" : ""}\r\n`);
    await client.until((received) => /\r\n0\r\n(?:.+\r\n)*\r\n$/.test(received));
    assert.deepEqual([/^trailer: X-Sum\r$/im.test(client.received), client.received.endsWith("\r\n0\r\nx-sum: 7\r\n\r\n")], [wants, wants]);
    client.received = "";
  }
});

/** A gateway that sends copies to another program as well. */
function mirrored(main: number, shadow: number): { gateway: TestGateway; policy: TurnPolicy } {
  const gateway = startGateway([main]);
  return { gateway, policy: mirrorTo(gateway, shadow) };
}

test("a mirror gets the whole of a large body, however it is framed, and its trailers", async () => {
  const copies: string[] = [];
  await using program = await startProgram((request, response) => void buffer(request).then((body) => response.end(sha(body))));
  await using shadow = await startProgram((request, response) => void buffer(request).then((body) => (copies.push(`${sha(body)} ${request.trailers["x-sum"] ?? ""}`), response.end("never seen"))));
  const { gateway, policy } = mirrored(program.port, shadow.port);
  await using _ = gateway;
  // Less than may wait for the mirror: it is sent at its own pace, and a machine that is busy must not have it given up.
  const body = randomBytes(900_000);
  const client = await gateway.open();
  client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`);
  client.send(body);
  assert.equal((await client.answer()).body, sha(body));
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (let at = 0; at < body.length; at += 300_000) client.send(Buffer.concat([Buffer.from(`${(300_000).toString(16)}\r\n`), body.subarray(at, at + 300_000), Buffer.from("\r\n")]));
  client.send("0\r\nX-Sum: 7\r\n\r\n");
  assert.equal((await client.answer()).body, sha(body));
  await until(() => copies.length === 2 && policy.running === 0);
  assert.deepEqual(copies.sort(), [`${sha(body)} `, `${sha(body)} 7`]);
  assert.deepEqual([gateway.engine.counters.mirrorsSkipped, gateway.engine.counters.mirrorsDropped], [0, 0]);
});

test("a mirror that does not take its copy holds up nobody, and is given up after so much", async () => {
  const sockets: Socket[] = [];
  const shadow = createTcpServer((socket) => void sockets.push(socket.pause().on("error", () => {}))).listen(0, "127.0.0.1");
  await once(shadow, "listening");
  await using program = await startProgram((request, response) => {
    let length = 0;
    request.on("data", (data: Buffer) => (length += data.length)).on("end", () => response.end(String(length)));
  });
  const { gateway, policy } = mirrored(program.port, (shadow.address() as AddressInfo).port);
  await using _ = gateway;
  const client = await gateway.open();
  // More than kernels take, and than may wait.
  const total = 24 * 1024 * 1024;
  client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`);
  const piece = Buffer.alloc(1024 * 1024);
  for (let sent = 0; sent < total; sent += piece.length) if (!client.socket.write(piece)) await once(client.socket, "drain");
  assert.equal((await client.answer()).body, String(total));
  assert.equal(gateway.engine.counters.mirrorsDropped, 1);
  await until(() => policy.running === 0);
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => shadow.close(resolve));
});

test("a body that breaks off is no whole one for the mirror either", async () => {
  const ends: string[] = [];
  const serve = (name: string) => (request: IncomingMessage) => void request.on("data", () => {}).on("end", () => ends.push(`${name} whole`)).on("close", () => ends.push(`${name} closed`)).on("error", () => {});
  await using program = await startProgram(serve("program"));
  await using shadow = await startProgram(serve("shadow"));
  const { gateway, policy } = mirrored(program.port, shadow.port);
  await using _ = gateway;
  const client = await gateway.open();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  await until(() => gateway.policy.running === 1 && policy.running === 1 && policy.connections === 1);
  client.socket.destroy();
  await until(() => ends.length === 2 && policy.running === 0);
  assert.deepEqual(ends.sort(), ["program closed", "shadow closed"]);
});

const bounds: [what: string, bytes: number, bodyBytesMax: number | undefined, statuses: number[]][] = [
  ["what fits is sent again", limits.gatewayRetryBodyBytes, undefined, [200, 2]],
  ["what does not fit is tried once", limits.gatewayRetryBodyBytes + 1, undefined, [503, 1]],
  ["a rule that keeps more", 2_000_000, 2_000_000, [200, 2]],
  ["and not that much", 2_000_001, 2_000_000, [503, 1]],
  ["a rule that keeps nothing", 10, 0, [503, 1]],
];
test("bodies are sent again as far as they were kept", async (t) => {
  let asked = 0;
  await using program = await startProgram((request, response) => {
    void buffer(request).then((body) => {
      response.statusCode = ++asked === 1 ? 503 : 200;
      response.end(sha(body));
    });
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  // A connection that is there: what comes goes on at once, and is no longer at hand unless it is kept.
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await client.answer();
  for (const [what, bytes, bodyBytesMax, expected] of bounds) {
    await t.test(what, async () => {
      asked = 0;
      gateway.routed.retry = { attempts: 1, backoffMs: 0, statuses: [503], ...(bodyBytesMax !== undefined && { bodyBytesMax }) };
      const body = randomBytes(bytes);
      client.send(`PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: ${bytes}\r\n\r\n`);
      await until(() => gateway.policy.running === 1);
      client.send(body);
      const answer = await client.answer();
      assert.deepEqual([answer.status, asked], expected);
      assert.equal(answer.body, sha(body));
    });
  }
});

test("gRPC: the client's own deadline ends the call, and is told as what it is; so is the rule's", async () => {
  const server = createServer();
  let cancelled = 0;
  server.on("stream", (stream) => {
    stream.on("error", () => {}).on("aborted", () => cancelled++);
    stream.resume();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  await using gateway = startGateway([(server.address() as AddressInfo).port], { http2: true });
  const call = (headers: OutgoingHttpHeaders) => ask(gateway.port, { ":method": "POST", "content-type": "application/grpc", te: "trailers", ...headers }, Buffer.from("hello"));
  const told = async (headers: OutgoingHttpHeaders) => {
    const { status, headers: answer } = await call(headers);
    return [status, answer["grpc-status"], answer["grpc-message"]];
  };
  assert.deepEqual(await told({ "grpc-timeout": "20m" }), [200, "4", "no answer within 20 ms"]);
  gateway.routed.timeouts = { requestMs: 30 };
  assert.deepEqual(await told({ "grpc-timeout": "1H" }), [200, "4", "no answer within 30 ms"]);
  assert.deepEqual(await told({ "grpc-timeout": "soon" }), [200, "4", "no answer within 30 ms"]);
  const plain = await ask(gateway.port, { ":method": "POST" }, Buffer.from("hello"));
  assert.deepEqual([plain.status, plain.body], [504, "no answer within 30 ms\n"]);
  await until(() => cancelled === 4);
  gateway.engine.close();
  assert.deepEqual([...new Set(gateway.lines.map(({ flag }) => flag))], ["UT"]);
  server.close();
});
