import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { test } from "node:test";
import type { Upstream } from "../../api/traffic.ts";
import { parseAddress } from "../../policy/addresses.ts";
import { until } from "../http/testing/gateway.ts";
import { proxyHeader } from "../http/proxy-header.ts";
import { readProxyHeader } from "./proxy-protocol.ts";
import { type EdgeWorld, startEdge } from "./testing/edge-world.ts";

const at = (address: string, port: number, bound?: string) => ({ address, port, listener: { port: 443, ...(bound !== undefined && { address: bound }) } });
/** Version 1 as it is written, and whose it is to whoever reads either version. */
const headers: [origin: ReturnType<typeof at> | undefined, line: string, address: string | undefined][] = [
  [undefined, "PROXY UNKNOWN", undefined],
  [at("198.51.100.7", 4711, "127.99.0.1"), "PROXY TCP4 198.51.100.7 127.99.0.1 4711 443", "198.51.100.7"],
  [at("::ffff:198.51.100.7", 4711, "127.99.0.1"), "PROXY TCP4 198.51.100.7 127.99.0.1 4711 443", "198.51.100.7"],
  [at("2001:db8::7", 0, "127.99.0.1"), "PROXY TCP6 2001:db8::7 ::ffff:7f63:1 0 443", "2001:db8::7"],
  [at("2001:db8::7", 1, "::1"), "PROXY TCP6 2001:db8::7 ::1 1 443", "2001:db8::7"],
  [at("198.51.100.7", 65535, "::1"), "PROXY TCP4 198.51.100.7 127.0.0.1 65535 443", "198.51.100.7"],
  [at("nobody\r\nPROXY TCP4 1.1.1.1 1.1.1.1 1 1", 1), "PROXY UNKNOWN", undefined],
];
for (const [origin, line, address] of headers) {
  test(`PROXY header: ${line}`, () => {
    assert.equal(proxyHeader("v1", origin).toString("latin1"), `${line}\r\n`);
    for (const version of ["v1", "v2"] as const) {
      const bytes = proxyHeader(version, origin);
      const { address: read, length } = readProxyHeader(bytes) as { address: string | undefined; length: number };
      assert.deepEqual([read && parseAddress(read), length], [address && parseAddress(address), bytes.length]);
    }
  });
}

interface Heard {
  header: Buffer;
  requests: number;
  socket: Socket;
}
/** A program that wants to be told whose each connection is, and answers each request with how many there were. */
async function startProgram(): Promise<{ server: Server; port: number; connections: Heard[] }> {
  const connections: Heard[] = [];
  const server = createServer((socket) => {
    let bytes = Buffer.alloc(0);
    let heard: Heard | undefined;
    socket.on("error", () => {}).on("data", (piece: Buffer) => {
      bytes = Buffer.concat([bytes, piece]);
      if (!heard) {
        const header = readProxyHeader(bytes);
        if (header === undefined) return;
        assert.notEqual(header, "none");
        heard = { header: bytes.subarray(0, (header as { length: number }).length), requests: 0, socket };
        connections.push(heard);
        bytes = bytes.subarray(heard.header.length);
      }
      for (let end = bytes.indexOf("\r\n\r\n"); end >= 0; end = bytes.indexOf("\r\n\r\n")) {
        bytes = bytes.subarray(end + 4);
        const body = String(++heard.requests);
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as { port: number }).port, connections };
}
const put = (world: EdgeWorld, port: number, more: Partial<Upstream>, revision = 2): void => world.edge.apply({ revision, put: { upstreams: [{ id: "default/web/80", namespace: "default", service: "web", port: 80, protocol: "http1", endpoints: [{ ip: "127.0.0.1", port }], ...more }] }, remove: {} });
const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

for (const proxyProtocol of ["v1", "v2"] as const) {
  test(`PROXY protocol to endpoints, ${proxyProtocol}: each client has connections of its own, and they are used again`, async () => {
    const program = await startProgram();
    try {
      await using world = await startEdge({ proxyProtocol: "optional" });
      put(world, program.port, { proxyProtocol });
      const [ann, bob] = [await world.open(), await world.open()];
      const ports = [ann, bob].map(({ socket }) => socket.localPort!);
      for (const [client, answer] of [[ann, "1"], [bob, "1"], [ann, "2"], [bob, "2"]] as const) {
        client.send(request);
        assert.equal((await client.answer()).body, answer);
      }
      // One of whom somebody in front has said who it is.
      const cat = await world.open();
      cat.send(`PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n${request}`);
      assert.equal((await cat.answer()).body, "1");
      const told = program.connections.map(({ header }) => header.toString("latin1"));
      const origins = [...ports.map((port) => at("127.0.0.1", port, "127.0.0.1")), at("198.51.100.7", 0, "127.0.0.1")].map((origin) => ({ ...origin, listener: { address: "127.0.0.1", port: world.port } }));
      assert.deepEqual(told, origins.map((origin) => proxyHeader(proxyProtocol, origin).toString("latin1")));
      // Where nobody is told any more, what was told is nobody's to be taken for another.
      const closed = Promise.all(program.connections.map(({ socket }) => once(socket, "close")));
      put(world, program.port, { proxyProtocol: proxyProtocol === "v1" ? "v2" : "v1" }, 3);
      await closed;
    } finally {
      program.server.close();
    }
  });
}

test("a connection to an endpoint ends with its age, and not within a request", async () => {
  await using world = await startEdge({}, { program: (asked, response) => response.end(String(asked.socket.remotePort)) });
  const port = Number(world.edge.engine.pool("default/web/80")!.policy.endpoints()[0]!.key.split(":")[1]);
  put(world, port, { connectionAgeMs: 1 });
  const client = await world.open();
  const ports = new Set<string>();
  for (let i = 0; i < 3; i++) {
    client.send(request);
    ports.add((await client.answer()).body);
    await until(() => world.edge.engine.pool("default/web/80")!.connections === 0);
  }
  assert.equal(ports.size, 3);
});

test("TCP asks endpoints that are silent", async () => {
  await using world = await startEdge({});
  const kept: unknown[][] = [];
  const { dial } = await import("../dial.ts");
  const { reach } = await import("../http/reach.ts");
  const { key } = world.edge.engine.pool("default/web/80")!.policy.endpoints()[0]!;
  const settings = { id: "x", connectMs: 1000, idleMs: 1000, keepAliveSeconds: 30 };
  await new Promise<void>((resolve, reject) => {
    const spied: typeof dial = (ip, port, ms, done) => dial(ip, port, ms, (status, handle) => {
      if (handle) {
        const { setKeepAlive } = handle;
        handle.setKeepAlive = (...given: [boolean, number]) => (kept.push(given), setKeepAlive.apply(handle, given));
      }
      done(status, handle);
    });
    reach(spied, { ip: "127.0.0.1", port: Number(key.split(":")[1]), key }, settings, undefined, (connected, reason) => {
      if (!connected) return reject(new Error(reason));
      connected.close();
      resolve();
    });
  });
  assert.deepEqual(kept, [[true, 30]]);
});
