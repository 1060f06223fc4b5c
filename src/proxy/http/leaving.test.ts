import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { startGateway, startProgram, until } from "./testing/gateway.ts";

/** Accepts and, as a listener that is closed does, breaks off what nobody has looked at. */
async function startLeaving() {
  const held: Socket[] = [];
  const server = createServer((socket) => void held.push(socket.on("error", () => {}))).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { held, port: (server.address() as { port: number }).port, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => (held.forEach((socket) => socket.destroy()), server.close(() => resolve()))) };
}
const cases: [what: string, head: string, leaves: boolean, answers: string[]][] = [
  ["a GET goes to another one", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, ["200"]],
  ["of one that stays the client is told", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, ["503"]],
  ["a POST may have been begun", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", true, ["503"]],
];
test("an endpoint that leaves and breaks what it has not looked at", async (t) => {
  for (const [what, head, leaves, answers] of cases) {
    await t.test(what, async () => {
      await using leaving = await startLeaving();
      await using program = await startProgram((_request, response) => response.end("OK"));
      await using gateway = startGateway([leaving.port]);
      const client = await gateway.open();
      client.send(head);
      await until(() => leaving.held.length === 1);
      const endpoint = (port: number) => ({ ip: "127.0.0.1", port, key: `127.0.0.1:${port}` });
      if (leaves) gateway.policy.update([endpoint(program.port)]);
      for (const socket of leaving.held) socket.resetAndDestroy();
      assert.deepEqual([String((await client.answer()).status)], answers);
      await until(() => gateway.policy.running === 0);
    });
  }
});
