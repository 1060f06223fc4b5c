import assert from "node:assert/strict";
import { test } from "node:test";
import { startGateway, startProgram, until } from "./testing/gateway.ts";

/** What each sends over and over, until it is told to go. */
const bombs: [what: string, first: string, more: string, status: number][] = [
  ["fields without an end", "GET / HTTP/1.1\r\nHost: a\r\n", "X: 1\r\n".repeat(50), 431],
  ["one field without an end", "GET / HTTP/1.1\r\nHost: a\r\nX: ", "a".repeat(4_096), 431],
  ["a name without an end", "GET / HTTP/1.1\r\nHost: a\r\n", "a".repeat(4_096), 431],
  ["a target without an end", "GET /", "a".repeat(4_096), 414],
  ["a method without an end", "", "A".repeat(4_096), 414],
  ["a chunk's extension without an end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;", "a".repeat(4_096), 400],
  ["trailers without an end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: 1\r\n".repeat(50), 400],
  ["a trailer without an end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", "a".repeat(4_096), 400],
];
const attackers = 50;
const never = 1_000;

for (const [what, first, more, status] of bombs) {
  test(`header bombs, ${what}: ${status}, memory stays flat, others are served`, { timeout: 30_000 }, async () => {
    await using program = await startProgram((request, response) => request.resume().on("end", () => response.end("OK")));
    await using gateway = startGateway([program.port]);
    const before = process.memoryUsage().arrayBuffers;
    const clients = await Promise.all(Array.from({ length: attackers }, () => gateway.open()));
    for (const client of clients) client.send(first);
    const again = Buffer.from(more, "latin1");
    let steps = 0;
    let held = 0;
    while (clients.some((client) => client.received === "") && steps++ < never) {
      for (const client of clients) if (client.received === "") client.send(again);
      await new Promise((resolve) => setImmediate(resolve));
      // The clients live in this process, too: an answer is read into a buffer of theirs.
      if (clients.every((client) => client.received === "")) held = Math.max(held, process.memoryUsage().arrayBuffers - before);
    }
    assert.ok(steps < never, "they were listened to for ever");
    assert.ok(held < attackers * 64 * 1024, `${held} bytes for ${attackers} of them`);
    for (const client of clients) {
      assert.equal((await client.answer()).status, status);
      client.socket.destroy();
    }
    const other = await gateway.open();
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await other.answer()).body, "OK");
    other.socket.destroy();
    await until(() => gateway.engine.counters.connections === 0 && gateway.policy.running === 0);
  });
}
