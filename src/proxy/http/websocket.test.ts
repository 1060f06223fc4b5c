import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants, createServer, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { startGateway, startProgram, type TestGateway, until } from "./testing/gateway.ts";

/**
 * WebSockets between clients and programs of either protocol (RFC 6455, RFC 8441). Where one side is HTTP/1.1 it is a real
 * WebSocket; where it is HTTP/2 the bytes of its frames are what is compared.
 */
interface Program extends AsyncDisposable {
  port: number;
  seen: IncomingHttpHeaders[];
}
async function oldProgram(): Promise<Program> {
  const seen: IncomingHttpHeaders[] = [];
  const server = await startProgram((_request, response) => response.end("no WebSocket"));
  const sockets = new WebSocketServer({ server, handleProtocols: () => "chat" });
  sockets.on("connection", (socket, request) => {
    seen.push(request.headers);
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  return { port: server.port, seen, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
/** Sends back what comes; "/no" is refused. */
async function newProgram(settings = { enableConnectProtocol: true }): Promise<Program> {
  const seen: IncomingHttpHeaders[] = [];
  const server = createServer({ settings });
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => void sessions.add(session));
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    seen.push(headers);
    stream.on("error", () => {});
    if (headers[":path"] === "/no") return void (stream.respond({ ":status": 403 }), stream.end("not you"));
    stream.respond({ ":status": 200, "sec-websocket-protocol": "chat" });
    stream.pipe(stream);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function openSession(gateway: TestGateway): Promise<ClientHttp2Session & AsyncDisposable> {
  const session = connect(`http://127.0.0.1:${gateway.port}`);
  session.on("error", () => {});
  const [settings] = (await once(session, "remoteSettings")) as [{ enableConnectProtocol?: boolean }];
  assert.equal(settings.enableConnectProtocol, true);
  return Object.assign(session, { [Symbol.asyncDispose]: async () => session.destroy() });
}
function ask(session: ClientHttp2Session, path: string, protocol = "websocket"): ClientHttp2Stream {
  const stream = session.request({ ":method": "CONNECT", ":protocol": protocol, ":path": path, ":authority": "web.example", ":scheme": "http", "sec-websocket-version": "13", "sec-websocket-protocol": "chat" }, { endStream: false });
  stream.on("error", () => {});
  return stream;
}
const statusOf = async (stream: ClientHttp2Stream): Promise<IncomingHttpHeaders & { ":status": number }> => ((await once(stream, "response")) as [IncomingHttpHeaders & { ":status": number }])[0];
/** A frame of a client: masked, with a mask of nothing. */
const frame = (text: string): Buffer => Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)]);
async function received(stream: ClientHttp2Stream, bytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of stream as AsyncIterable<Buffer>) {
    parts.push(part);
    if ((length += part.length) >= bytes) break;
  }
  return Buffer.concat(parts);
}

for (const [name, start, isHttp2] of [["HTTP/1.1", oldProgram, false], ["HTTP/2", newProgram, true]] as const) {
  test(`a client of HTTP/1.1, a program of ${name}`, async () => {
    await using program = await start();
    await using gateway = startGateway([program.port], { http2: isHttp2 });
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/a/../chat?x=1`, ["chat"]);
    await once(socket, "open");
    assert.equal(socket.protocol, "chat");
    if (!isHttp2) {
      for (const text of ["one", "x".repeat(200_000)]) {
        socket.send(text);
        assert.equal(String((await once(socket, "message"))[0]), text);
      }
    }
    assert.equal(gateway.policy.running, 1, "it counts as long as it is open");
    const [headers] = program.seen;
    if (isHttp2) assert.deepEqual([headers![":method"], headers![":protocol"], headers![":path"], headers!["sec-websocket-key"], headers!.upgrade, headers!.via], ["CONNECT", "websocket", "/chat?x=1", undefined, undefined, "1.1 wherry"]);
    socket.terminate();
    await until(() => gateway.policy.running === 0);
  });

  test(`a client of HTTP/2, a program of ${name}: beside other requests of the connection`, async () => {
    await using program = await start();
    await using gateway = startGateway([program.port], { http2: isHttp2 });
    await using session = await openSession(gateway);
    const stream = ask(session, "/a/../chat?x=1");
    const head = await statusOf(stream);
    assert.deepEqual([head[":status"], head["sec-websocket-protocol"], head["sec-websocket-accept"], head.connection, head.upgrade], [200, "chat", undefined, undefined, undefined]);
    stream.write(frame("hello"));
    const back = await received(stream, isHttp2 ? 11 : 7);
    assert.ok(back.includes("hello"));
    const [headers] = program.seen;
    if (isHttp2) assert.deepEqual([headers![":method"], headers![":protocol"], headers![":path"]], ["CONNECT", "websocket", "/chat?x=1"]);
    else assert.match(headers!["sec-websocket-key"]!, /^.{22}==$/);
    stream.close(constants.NGHTTP2_CANCEL);
    await until(() => gateway.policy.running === 0);
    const [line] = (gateway.engine.close(), gateway.lines);
    assert.deepEqual([line!.status, line!.method, line!.protocol], [101, "GET", "HTTP/2"]);
  });

  test(`large messages both ways, and a side that does not read holds up the other: HTTP/2 before ${name}`, async () => {
    await using program = await start();
    await using gateway = startGateway([program.port], { http2: isHttp2 });
    await using session = await openSession(gateway);
    const stream = ask(session, "/chat");
    await statusOf(stream);
    const text = Buffer.alloc(3_000_000, "x");
    const length = Buffer.alloc(14);
    length.set([0x82, 0x80 | 127]);
    length.writeBigUInt64BE(BigInt(text.length), 2);
    stream.write(Buffer.concat([length, text]));
    assert.ok((await received(stream, text.length)).includes(text.subarray(0, 1_000_000)));
  });
}

test("a program that declines is heard, and one that answers as if it were a page is not taken for a tunnel", async () => {
  await using declines = await newProgram();
  await using page = await startProgram((_request, response) => response.end("a page"));
  for (const [program, isHttp2, path, expected] of [[declines, true, "/no", 403], [page, false, "/", 502]] as const) {
    await using gateway = startGateway([program.port], { http2: isHttp2 });
    await using session = await openSession(gateway);
    assert.equal((await statusOf(ask(session, path)))[":status"], expected);
    await until(() => gateway.policy.running === 0);
  }
});

test("a program of HTTP/2 that takes no WebSockets; a tunnel of another kind", async () => {
  await using program = await newProgram({ enableConnectProtocol: false });
  await using gateway = startGateway([program.port], { http2: true });
  const client = await gateway.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n");
  const answer = await client.answer();
  assert.deepEqual([answer.status, answer.body], [502, `127.0.0.1:${program.port}: it takes no WebSockets over HTTP/2\n`]);
  await using session = await openSession(gateway);
  assert.equal((await statusOf(ask(session, "/", "connect-udp")))[":status"], 501);
  // Other upgrades HTTP/2 has not, and nobody needs to take them up.
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n");
  assert.equal((await client.answer()).status, 200);
  assert.equal(program.seen.length, 1);
});

test("the program ends, the client is told; the gateway stops, both are", async () => {
  await using program = await newProgram();
  await using gateway = startGateway([program.port], { http2: true });
  await using session = await openSession(gateway);
  const [first, second] = [ask(session, "/1"), ask(session, "/2")];
  await Promise.all([statusOf(first), statusOf(second)]);
  first.end();
  first.resume();
  await once(first, "close");
  await until(() => gateway.policy.running === 1);
  const stop = new AbortController();
  const drained = gateway.engine.drain(stop.signal);
  second.write("still here");
  assert.equal(String(await received(second, 10)), "still here");
  stop.abort();
  await drained;
  assert.deepEqual([gateway.policy.running, gateway.engine.counters.connections], [0, 0]);
});
