import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createTcpServer, type Socket } from "node:net";
import { createServer as createHttp2 } from "node:http2";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { SideAnswer, SideRequest } from "../../policy/exchange.ts";
import { startGateway, startProgram, type TestGateway } from "./testing/gateway.ts";

const about: SideRequest = { upstream: "shop/web/80", method: "GET", target: "/keys?x=1", host: "issuer.example", headers: [["accept", "application/json"]], timeoutMs: 5_000, bytesMax: 1_000 };
const ask = (gateway: TestGateway, more: Partial<SideRequest> = {}) => new Promise<{ answer: SideAnswer | undefined; reason: string }>((resolve) => void gateway.engine.call({ ...about, ...more }, (answer, reason) => resolve({ answer, reason })));

test("a request of our own, and its whole answer; connections are kept, and one that has ended is no failure", async () => {
  const asked: string[] = [];
  await using program = await startProgram((request, response) => void text(request).then((body) => {
    asked.push(`${request.method} ${request.url} ${request.headers.host} ${request.headers["content-length"]} ${body}`);
    response.writeHead(201, { "Set-Cookie": ["a=1", "b=2"] }).end("made");
  }));
  await using gateway = startGateway([program.port]);
  const { answer } = await ask(gateway);
  assert.deepEqual([answer!.status, answer!.body.toString(), answer!.headers.filter(([name]) => name === "set-cookie")], [201, "made", [["set-cookie", "a=1"], ["set-cookie", "b=2"]]]);
  await ask(gateway, { method: "POST", body: Buffer.from("grant"), target: "/token with blanks\r\nX-Evil: 1" });
  await ask(gateway, { method: "DELETE" });
  assert.deepEqual(asked, ["GET /keys?x=1 issuer.example undefined ", "POST /token%20with%20blanks%0D%0AX-Evil:%201 issuer.example 5 grant", "DELETE /keys?x=1 issuer.example 0 "]);
  assert.equal(gateway.engine.pool("shop/web/80")!.connections, 1);
  // The program ends it at the same moment as it is used again.
  program.closeAllConnections();
  assert.equal((await ask(gateway)).answer!.status, 201);
  assert.equal(gateway.policy.running, 0);
});

test("HTTP/2 as well", async () => {
  const server = createHttp2((request, response) => response.end(`${request.headers[":authority"]} ${request.url}`)).listen(0, "127.0.0.1");
  await once(server, "listening");
  await using gateway = startGateway([(server.address() as { port: number }).port], { http2: true });
  assert.equal((await ask(gateway)).answer!.body.toString(), "issuer.example /keys?x=1");
  gateway.engine.close();
  server.close();
});

/** What the other side does → what is heard. */
const failures: { name: string; serve(socket: Socket): void; more?: Partial<SideRequest>; reason: RegExp }[] = [
  { name: "hangs", serve() {}, more: { timeoutMs: 50 }, reason: /^no answer within 50 ms$/ },
  { name: "breaks", serve: (socket) => void socket.once("data", () => socket.destroy()), reason: /: / },
  { name: "answers without end", serve: (socket) => void socket.once("data", () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n${"x".repeat(2_000)}`)), reason: /^its answer is longer than 1000 bytes$/ },
  { name: "stops in the middle", serve: (socket) => void socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhalf")), reason: /: / },
  { name: "does not speak HTTP", serve: (socket) => void socket.once("data", () => socket.write("SSH-2.0-OpenSSH\r\n")), reason: /: / },
];
for (const { name, serve, more, reason } of failures) {
  test(`whoever is asked ${name}: no answer, a reason, nothing left`, async () => {
    const sockets = new Set<Socket>();
    const server = createTcpServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => {});
      serve(socket);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    await using gateway = startGateway([(server.address() as { port: number }).port]);
    const heard = await ask(gateway, more);
    assert.equal(heard.answer, undefined);
    assert.match(heard.reason, reason);
    assert.equal(gateway.policy.running, 0);
    for (const socket of sockets) socket.destroy();
    server.close();
  });
}

test("nobody is there; no such upstream; given up", async () => {
  await using gateway = startGateway([]);
  assert.equal((await ask(gateway)).reason, "nobody is there");
  assert.equal((await ask(gateway, { upstream: "none" })).reason, "there is no upstream none");
  let heard = 0;
  gateway.engine.call(about, () => heard++).cancel();
  await ask(gateway);
  assert.equal(heard, 0);
});

test("an endpoint that does not accept connections is not the last word where there is another", async () => {
  const closed = createTcpServer().listen(0, "127.0.0.1");
  await once(closed, "listening");
  const { port } = closed.address() as { port: number };
  await new Promise((resolve) => closed.close(resolve));
  await using program = await startProgram((_request, response) => response.end("here"));
  await using gateway = startGateway([port, program.port]);
  for (let i = 0; i < 4; i++) assert.equal((await ask(gateway, { method: "POST" })).answer?.body.toString(), "here");
});
