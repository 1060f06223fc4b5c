import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants, createServer, type ClientHttp2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { buffer } from "node:stream/consumers";
import type { Duplex } from "node:stream";
import { startGateway, startProgram, until, type TestGateway } from "./testing/gateway.ts";

/**
 * What runs when the gateway stops, or when the listener that it came by goes: it ends as if nothing were, and its connection with it.
 * Each way to leave is asked for both.
 */
const ways: [name: string, leave: (gateway: TestGateway) => Promise<void>][] = [
  ["the gateway stops", (gateway) => gateway.engine.drain(AbortSignal.timeout(10_000))],
  ["its listener goes", async (gateway) => gateway.engine.retire(({ id }) => id === "test")],
];
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

async function open(port: number): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  await once(session, "connect");
  // Its settings have been answered: the gateway knows that it is there.
  await new Promise<void>((resolve, reject) => session.ping((error) => (error ? reject(error) : resolve())));
  return session;
}

for (const [name, leave] of ways) {
  test(`${name}: HTTP/1.1, idle, asked and not answered, in the middle of its answer`, async () => {
    const finish: (() => void)[] = [];
    await using program = await startProgram((request, response) => {
      if (request.url === "/begun") response.write("be");
      if (request.url === "/short") response.end();
      else finish.push(() => response.end("gun"));
    });
    await using gateway = startGateway([program.port]);
    const [idle, asked, begun] = [await gateway.open(), await gateway.open(), await gateway.open()];
    idle.send(get("/short"));
    await idle.answer();
    asked.send(get("/asked"));
    begun.send(get("/begun"));
    await begun.until((received) => received.includes("be"));
    await until(() => finish.length === 2);
    const left = leave(gateway);
    assert.equal(await idle.end(), "");
    for (const end of finish) end();
    const [first, second] = [await asked.answer(), await begun.answer()];
    assert.deepEqual([first.body, first.header("connection"), second.body, second.header("connection")], ["gun", "close", "begun", undefined]);
    await Promise.all([asked.end(), begun.end()]);
    await left;
    await until(() => gateway.engine.counters.connections === 0);
  });

  test(`${name}: HTTP/2 is told which requests were the last, and they end`, async () => {
    let finish = () => {};
    await using program = await startProgram((_request, response) => (response.write("be"), (finish = () => response.end("gun"))));
    await using gateway = startGateway([program.port]);
    const [idle, busy] = [await open(gateway.port), await open(gateway.port)];
    const streams = [busy.request({ ":path": "/1" }), busy.request({ ":path": "/2" })] as const;
    await Promise.all(streams.map((stream) => once(stream, "response")));
    // The first is ended by its client: the last one counts.
    streams[0].close(constants.NGHTTP2_CANCEL);
    await once(streams[0], "close");
    const farewells = Promise.all([idle, busy].map((session) => once(session, "goaway") as Promise<[number, number]>));
    const left = leave(gateway);
    assert.deepEqual((await farewells).map(([code, lastStream]) => [code, lastStream]), [[constants.NGHTTP2_NO_ERROR, 0], [constants.NGHTTP2_NO_ERROR, 3]]);
    finish();
    assert.equal((await buffer(streams[1])).toString(), "begun");
    await Promise.all([idle, busy].map((session) => session.destroyed || once(session, "close")));
    await left;
    assert.equal(gateway.engine.counters.connections, 0);
  });

  test(`${name}: a gRPC call in both directions goes on to its status`, async () => {
    const server = createServer();
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.pipe(stream);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    await using gateway = startGateway([(server.address() as AddressInfo).port], { http2: true });
    const session = await open(gateway.port);
    const call = session.request({ ":method": "POST", ":path": "/echo.Echo/Chat", "content-type": "application/grpc", te: "trailers" });
    call.write("one");
    assert.equal(String((await once(call, "data"))[0]), "one");
    const farewell = once(session, "goaway");
    const left = leave(gateway);
    await farewell;
    call.write("two");
    assert.equal(String((await once(call, "data"))[0]), "two");
    const trailers = once(call, "trailers") as Promise<[IncomingHttpHeaders]>;
    call.end("three");
    assert.equal(String((await once(call, "data"))[0]), "three");
    assert.equal((await trailers)[0]["grpc-status"], "0");
    await left;
    await until(() => gateway.engine.counters.connections === 0);
    server.close();
  });
}

test("the gateway stops: a WebSocket goes on until the time is over, and is closed then", async () => {
  await using program = await startProgram(() => {});
  program.on("upgrade", (_request, socket: Duplex) => {
    socket.on("error", () => {});
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    socket.on("data", (data: Buffer) => socket.write(data));
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  assert.equal((await client.answer()).status, 101);
  const deadline = new AbortController();
  const left = gateway.engine.drain(deadline.signal);
  client.send("still here");
  await client.until((received) => received === "still here");
  deadline.abort();
  await client.end();
  await left;
  assert.deepEqual([gateway.engine.counters.connections, gateway.policy.running], [0, 0]);
  assert.deepEqual(gateway.lines.map(({ status }) => status), [101]);
});
