import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { until } from "../http/testing/gateway.ts";
import { startEdge } from "./testing/edge-world.ts";

test("bandwidth: an answer comes whole, and not before its time; its upstream waits, and the connection is used again", async () => {
  const rate = 400_000;
  const body = randomBytes(rate + rate / 4);
  await using world = await startEdge({}, { filters: [{ type: "bandwidth", answerBytesPerSecond: rate }], program: (_request, response) => response.end(body) });
  const since = performance.now();
  const answer = await fetch(`http://127.0.0.1:${world.port}/`, { headers: { connection: "close" } });
  const came = Buffer.from(await answer.arrayBuffer());
  assert.ok(performance.now() - since >= 200, "a quarter of a second's worth had to wait");
  assert.equal(createHash("sha256").update(came).digest("hex"), createHash("sha256").update(body).digest("hex"));
  assert.equal(world.engine.pool("default/web/80")!.connections, 1);
});

test("bandwidth: a client that leaves while its answer waits leaves nothing behind", async () => {
  await using world = await startEdge({}, { filters: [{ type: "bandwidth", answerBytesPerSecond: 1000 }], program: (_request, response) => response.end(randomBytes(500_000)) });
  const client = await world.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => world.engine.counters.requestsRunning === 1 && client.socket.bytesRead > 500);
  client.socket.destroy();
  await until(() => world.engine.counters.requestsRunning === 0);
  await until(() => world.engine.pool("default/web/80")!.connections === 0);
});
