import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { test } from "node:test";
import { eventually } from "../testing/network.ts";
import { startGateway, startProgram } from "./testing/gateway.ts";

test("an upstream that falls silent within its answer is cut off when the rule says so, on its own terms", async () => {
  await using program = await startProgram((_, response) => void response.write("begun"));
  await using gateway = startGateway([program.port]);
  gateway.routed.timeouts = { silenceMs: 100 };
  const client = await gateway.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const received = await client.until(() => false);
  assert.match(received, /^HTTP\/1\.1 200 /);
  assert.match(received, /begun\r\n$/, "the last chunk is missing: the client knows");
  await eventually(() => gateway.lines.length === 1);
  assert.deepEqual([gateway.lines[0]!["flag"], gateway.lines[0]!["reason"]], ["UT", "nothing came from the upstream for 100 ms"]);
});

test("an upstream that does not begin to answer is not waited for longer than the rule says", async () => {
  await using program = await startProgram(() => {});
  await using gateway = startGateway([program.port]);
  gateway.routed.timeouts = { silenceMs: 100 };
  const client = await gateway.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  const { status, body } = await client.answer();
  assert.deepEqual([status, body.trim()], [504, "nothing came from the upstream for 100 ms"]);
});

test("a tunnel that is silent in both directions ends when the rule says so", async () => {
  await using program = await startProgram(() => {});
  const upgraded = new Promise<Socket>((resolve) =>
    program.on("upgrade", (_, socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      resolve(socket.on("error", () => {}).on("end", () => socket.end()).resume() as Socket);
    }),
  );
  await using gateway = startGateway([program.port]);
  gateway.routed.timeouts = { silenceMs: 100 };
  const client = await gateway.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  const socket = await upgraded;
  await Promise.all([once(socket, "close"), client.until(() => false)]);
  assert.match(client.received, /^HTTP\/1\.1 101 /);
});
