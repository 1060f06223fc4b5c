import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { test } from "node:test";
import { bindHandle, bindUdpHandle } from "./handles.ts";

test("a bound handle refuses until somebody listens on it", async () => {
  const { handle, port } = bindHandle("127.0.0.1", 0) as { handle: object; port: number };
  const refused = connect(port, "127.0.0.1");
  const [error] = (await once(refused, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "ECONNREFUSED");
  const server = createServer((socket) => socket.end("hello")).listen(handle);
  const client = connect(port, "127.0.0.1").setEncoding("utf8");
  const [text] = (await once(client, "data")) as [string];
  assert.equal(text, "hello");
  server.close();
});

test("a taken port and a foreign address are told by code", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  assert.deepEqual(bindHandle("127.0.0.1", port), { code: "EADDRINUSE" });
  assert.deepEqual(bindHandle("192.0.2.1", 0), { code: "EADDRNOTAVAIL" });
  server.close();
});

test("two may share a port only when both say so", () => {
  const first = bindHandle("127.0.0.1", 0, { reusePort: true }) as { handle: { close(): void; listen(backlog: number): number }; port: number };
  first.handle.listen(1);
  const second = bindHandle("127.0.0.1", first.port, { reusePort: true });
  assert.equal(second.code, undefined);
  assert.deepEqual(bindHandle("127.0.0.1", first.port), { code: "EADDRINUSE" });
  first.handle.close();
  second.handle?.close();
});

test("UDP: the port is ours once bound", () => {
  const first = bindUdpHandle("127.0.0.1", 0) as { handle: { close(): void }; port: number };
  assert.deepEqual(bindUdpHandle("127.0.0.1", first.port), { code: "EADDRINUSE" });
  first.handle.close();
});
