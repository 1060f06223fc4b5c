import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test } from "node:test";
import { connect } from "node:tls";
import { seededRandom, randomInt } from "../../base/random.ts";
import { helloBytesMax, serverNameOf } from "./server-name.ts";

/** What Node's own TLS says first. */
async function hello(servername: string | undefined): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ port: (server.address() as { port: number }).port, host: "127.0.0.1", ...(servername !== undefined && { servername }) });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [import("node:net").Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

test("the name of a real hello, whole, byte by byte, and spread over records", async () => {
  const bytes = await hello("API.example.com");
  assert.deepEqual(serverNameOf(bytes), { name: "api.example.com" });
  for (let length = 0; length < bytes.length; length++) assert.equal(serverNameOf(bytes.subarray(0, length)), undefined, `${length} bytes say nothing yet`);
  const body = bytes.subarray(5);
  const spread = Buffer.concat([body.subarray(0, 3), body.subarray(3, 100), body.subarray(100)].map((part) => Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part])));
  assert.deepEqual(serverNameOf(spread), { name: "api.example.com" });
  assert.deepEqual(serverNameOf(await hello(undefined)), { name: "" });
});

test("what is no TLS is told from what is not all there", () => {
  for (const [text, wrong] of [
    ["GET / HTTP/1.1\r\n", "the first bytes are no TLS"],
    ["\x16\x03\x01\x00\x00", "a record is empty"],
    ["\x16\x03\x01\x00\x01\x02", "the first message is no ClientHello"],
    ["\x16\x03\x01\x00\x04\x01\x10\x00\x00", "the ClientHello is too long"],
    ["\x16\x03\x01\x00\x06\x01\x00\x00\x02ab", "the ClientHello's lengths do not fit"],
  ] as const) {
    assert.deepEqual(serverNameOf(Buffer.from(text, "latin1")), { wrong }, JSON.stringify(text));
  }
  assert.equal(serverNameOf(Buffer.from("\x16\x03", "latin1")), undefined);
});

test("nonsense in place of bytes of a hello: an answer, never an exception, never beyond the bound", async () => {
  const bytes = await hello("a.example");
  const random = seededRandom(7);
  for (let round = 0; round < 5_000; round++) {
    const broken = Buffer.from(bytes);
    for (let i = 0; i <= randomInt(random, 4); i++) broken[randomInt(random, broken.length)] = randomInt(random, 256);
    const found = serverNameOf(broken);
    assert.ok(found === undefined || found.wrong !== undefined || found.name.length < helloBytesMax);
  }
});
