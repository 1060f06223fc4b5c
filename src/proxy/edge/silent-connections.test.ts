import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { EdgeListener } from "../../api/traffic.ts";
import { authority, certificateFor } from "../http/testing/certificates.ts";
import { until } from "../http/testing/gateway.ts";
import { type EdgeWorld, startEdge } from "./testing/edge-world.ts";

const server = certificateFor(["a.example"]);
const tls: EdgeListener["tls"] = { mode: "terminate", certificates: [{ certificate: server.cert, key: server.key }] };
const streams = (world: EdgeWorld, type: "tcp" | "tls"): void => world.edge.apply({ revision: 2, put: { routes: [{ id: "TCPRoute/default/web", type, createdAt: 0, attachments: [{ listener: "l", hostnames: [""] }], backends: [{ upstream: "default/web/80", weight: 1 }] }] }, remove: {} });
/** When it has ended. Not `once`, which an error ends. */
const ended = (socket: Socket): Promise<unknown> => new Promise((resolve) => socket.on("error", () => {}).on("close", resolve).resume());

/** The listener, and how long both sides may be silent: without a word, for ever. */
const listeners: [why: string, listener: Partial<EdgeListener>, ends: boolean][] = [
  ["bytes as they come", { protocol: "TCP", streamIdleMs: 80 }, true],
  ["and where nothing is said, they stay", { protocol: "TCP" }, false],
  ["bytes that are decrypted", { protocol: "TLS", tls, streamIdleMs: 80 }, true],
];
for (const [why, listener, ends] of listeners) {
  test(`silent connections: ${why}`, async () => {
    // A program that answers late: the answer is a byte, too.
    await using world = await startEdge(listener, { program: (_request, response) => response.end("hello") });
    streams(world, listener.protocol === "TLS" ? "tls" : "tcp");
    const socket = listener.tls ? connectTls({ port: world.port, host: "127.0.0.1", servername: "a.example", ca: authority.cert }) : connect(world.port, "127.0.0.1");
    let heard = "";
    const end = ended(socket.on("data", (piece: Buffer) => (heard += String(piece))));
    socket.write("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    await until(() => heard.includes("hello"));
    if (ends) await end;
    else {
      // It is still there, and answers.
      heard = "";
      socket.write("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
      await until(() => heard.includes("hello"));
      socket.destroy();
      await end;
    }
  });
}

/** The listener, and what a client says before it falls silent. */
const openings: [why: string, listener: Partial<EdgeListener>, says: Buffer][] = [
  ["of a ClientHello", { protocol: "HTTPS", tls, openingMs: 50 }, Buffer.from([22, 3, 1])],
  ["of a PROXY header", { proxyProtocol: "required", openingMs: 50 }, Buffer.from("PROXY TCP4")],
  ["of a PROXY header before TLS", { protocol: "HTTPS", tls, proxyProtocol: "required", openingMs: 50 }, Buffer.from("PROXY")],
];
for (const [why, listener, says] of openings) {
  test(`slow openings: half ${why}`, async () => {
    await using world = await startEdge(listener);
    const socket = connect(world.port, "127.0.0.1");
    const end = ended(socket);
    socket.write(says);
    const since = performance.now();
    await end;
    // Fifteen seconds are what it would have without a word.
    assert.ok(performance.now() - since < 10_000);
  });
}

test("slow openings: a handshake that does not go on", async () => {
  await using world = await startEdge({ protocol: "HTTPS", tls: { ...tls!, handshakeMs: 50 } });
  // The first flight of a client, and nothing behind it.
  const { Duplex } = await import("node:stream");
  const first = await new Promise<Buffer>((resolve) => connectTls({ socket: new Duplex({ read() {}, write: (piece: Buffer, _encoding, done) => (resolve(piece), done()) }), servername: "a.example", maxVersion: "TLSv1.2" }).on("error", () => {}));
  const socket = connect(world.port, "127.0.0.1");
  const end = ended(socket);
  socket.write(first);
  const since = performance.now();
  await end;
  assert.ok(performance.now() - since < 10_000);
});
