import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { EdgeListener, ListenerManners, Upstream } from "../../api/traffic.ts";
import { parseAddress } from "../../policy/addresses.ts";
import { dial } from "../dial.ts";
import { proxyHeader } from "../http/proxy-header.ts";
import { reach } from "../http/reach.ts";
import { authority, certificateFor } from "../http/testing/certificates.ts";
import { until } from "../http/testing/gateway.ts";
import { readProxyHeader } from "./proxy-protocol.ts";
import { type EdgeWorld, startEdge } from "./testing/edge-world.ts";

const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

test("a connection that is one too many is told so a while later, and at once where nothing is said", async () => {
  for (const closeDelayMs of [undefined, 3_600_000]) {
    const world = await startEdge({ limits: { connectionsMax: 1, ...(closeDelayMs !== undefined && { closeDelayMs }) } });
    try {
      const first = await world.open();
      first.send(request);
      assert.equal((await first.answer()).status, 200);
      // It may be reset before it has begun.
      const second = await world.open().catch(() => undefined);
      const end = second && ended(second.socket);
      await until(() => world.engine.counters.connectionsRefused === 1);
      if (closeDelayMs === undefined) await end;
      else assert.equal(second!.socket.destroyed, false);
      first.send(request);
      assert.equal((await first.answer()).status, 200, "those that are there are not disturbed");
      // Who waits for its end does not hold up anybody else's.
      world.engine.close();
      await end;
    } finally {
      await world[Symbol.asyncDispose]();
    }
  }
});

test("a connection that has served its time ends idle, and is not asked first; in use it ends with its answer", async () => {
  let answer: (() => void) | undefined;
  await using world = await startEdge({ limits: { connectionMs: 20, endsAtOnce: 1 } }, { program: (_request, response) => void (answer = () => response.end("ok")) });
  const idle = await world.open();
  await idle.until(() => false);
  assert.ok(idle.ended);
  const busy = await world.open();
  busy.send(request);
  await until(() => answer !== undefined);
  const since = performance.now();
  await until(() => performance.now() - since > 20);
  answer!();
  assert.equal((await busy.answer()).header("connection"), "close");
});

/** The manners, the Host that is said, the one that goes on. */
const hosts: [manners: ListenerManners, said: string, goesOn: string][] = [
  [{ healthPath: "/h" }, "a.example.", "a.example."],
  [{ cutsHostDot: true }, "a.example.", "a.example"],
  [{ cutsHostDot: true }, "a.example.:8443", "a.example:8443"],
  [{ cutsHostDot: true }, "a.example", "a.example"],
];
for (const [manners, said, goesOn] of hosts) {
  test(`the dot behind a host: ${said} goes on as ${goesOn}`, async () => {
    await using world = await startEdge({ manners });
    const client = await world.open();
    client.send(`GET / HTTP/1.1\r\nHost: ${said}\r\n\r\n`);
    assert.equal((await client.answer()).status, 200);
    assert.equal(world.asked[0]!.headers.host, goesOn);
  });
}

test("what is left of a limit is told, or is not", async () => {
  for (const hidesLimits of [false, true]) {
    await using world = await startEdge({ manners: { hidesLimits, healthPath: "/h" } }, { filters: [{ type: "quota", rules: [{ id: `told/${hidesLimits}`, limit: 1, unit: "year", hasHeaders: true }] }] });
    const client = await world.open();
    for (const status of [200, 429]) {
      client.send(request);
      const answer = await client.answer();
      assert.deepEqual([answer.status, answer.header("x-ratelimit-remaining"), answer.header("x-ratelimit-limit") !== undefined], [status, hidesLimits ? undefined : "0", !hidesLimits]);
    }
  }
});

/** What is ignored, what is asked for, and whether the connection is upgraded. */
const ignored: [ignored: ListenerManners["ignoredUpgrades"], asked: string, isUpgraded: boolean][] = [
  [undefined, "websocket", true],
  [[{ type: "prefix", value: "tls/" }], "TLS/1.3", false],
  [[{ type: "prefix", value: "tls/" }], "websocket", true],
  [[{ type: "regex", value: "tls/.*|web.*" }], "WebSocket", false],
];
for (const [ignoredUpgrades, asked, isUpgraded] of ignored) {
  test(`an upgrade to ${asked} is ${isUpgraded ? "passed on" : "ignored"}`, async () => {
    await using world = await startEdge({ manners: { ...(ignoredUpgrades && { ignoredUpgrades }), healthPath: "/h" } }, { filters: isUpgraded ? [] : [{ type: "upgrades", protocols: [] }] });
    const client = await world.open();
    client.send(`GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${asked}\r\n\r\n`);
    assert.equal((await client.answer()).status, 200);
    assert.equal(world.asked[0]!.headers.upgrade, isUpgraded ? asked : undefined);
  });
}

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
  const first = await new Promise<Buffer>((resolve) => connectTls({ socket: new Duplex({ read() {}, write: (piece: Buffer, _encoding, done) => (resolve(piece), done()) }), servername: "a.example", maxVersion: "TLSv1.2" }).on("error", () => {}));
  const socket = connect(world.port, "127.0.0.1");
  const end = ended(socket);
  socket.write(first);
  const since = performance.now();
  await end;
  assert.ok(performance.now() - since < 10_000);
});

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
