import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http2";
import { test } from "node:test";
import { dial } from "../dial.ts";
import { startGateway, startProgram, until } from "./testing/gateway.ts";

/** Reaches endpoints when it is told to. */
function slowDial() {
  const held: (() => void)[] = [];
  return { held, dial: ((ip, port, timeoutMs, done) => void held.push(() => dial(ip, port, timeoutMs, done))) satisfies typeof dial as typeof dial };
}

for (const http2 of [false, true]) {
  test(`HTTP/${http2 ? 2 : 1.1}: requests whose upstream is removed while it is dialled are served, waiting ones too; nothing is left open`, { timeout: 30_000 }, async () => {
    const server = http2 ? createServer((_request, response) => void response.end("OK")).listen(0, "127.0.0.1") : undefined;
    if (server) await once(server, "listening");
    await using program = await startProgram((_request, response) => void response.end("OK"));
    const slow = slowDial();
    await using gateway = startGateway([server ? (server.address() as { port: number }).port : program.port], { engine: { dial: slow.dial }, http2 });
    gateway.policy.connectionsMax = 1;
    const clients = await Promise.all([gateway.open(), gateway.open(), gateway.open()]);
    for (const client of clients) client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await until(() => gateway.engine.counters.requestsRunning === 3 && slow.held.length === 1);
    gateway.engine.removeUpstream("shop/web/80");
    const answers = Promise.all(clients.map((client) => client.answer()));
    // One at a time, as many connections as it takes.
    let isOver = false;
    void answers.finally(() => (isOver = true));
    await until(() => (slow.held.shift()?.(), isOver));
    assert.deepEqual((await answers).map(({ status, body }) => `${status} ${body}`), ["200 OK", "200 OK", "200 OK"]);
    await until(() => gateway.policy.connections === 0 && gateway.policy.pending === 0 && gateway.policy.running === 0);
    server?.close();
  });
}

for (const http2 of [false, true]) {
  test(`HTTP/${http2 ? 2 : 1.1}: a connection ends when it has had as many requests as it may, and nobody notices`, { timeout: 30_000 }, async () => {
    let connections = 0;
    const server = http2 ? createServer((_request, response) => void response.end("OK")).listen(0, "127.0.0.1") : undefined;
    if (server) await once(server, "listening");
    server?.on("connection", () => connections++);
    await using program = await startProgram((_request, response) => void response.end("OK"));
    program.on("connection", () => connections++);
    const { port } = server ? (server.address() as { port: number }) : program;
    await using gateway = startGateway([port], { http2 });
    gateway.engine.putUpstream({ id: "shop/web/80", http2, connectMs: 5_000, idleMs: 30_000, requestsMax: 3 }, gateway.policy);
    const client = await gateway.open();
    for (let i = 0; i < 9; i++) {
      client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      assert.equal((await client.answer()).body, "OK");
    }
    assert.equal(connections, 3);
    await until(() => gateway.policy.connections === 0);
    client.socket.destroy();
    server?.close();
  });
}
