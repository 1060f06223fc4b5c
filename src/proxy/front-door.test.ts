import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, createServer, request, type IncomingMessage, type RequestListener } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { serviceListenerId } from "./mesh/listener-id.ts";
import { eventually, port, snapshot, startSupervisor } from "./testing/network.ts";

async function program(handler: RequestListener) {
  const server = createServer(handler).listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(server, {
    port: (server.address() as { port: number }).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
const service = (name: string, server: { port: number }, ready = true) => ({ name, namespace: "shop", clusterIPs: [], ports: [port(80, [{ ip: "127.0.0.1", port: server.port, ready }], { name: "http", appProtocol: "http" })] });

interface Answer {
  status: number;
  body: string;
  headers: IncomingMessage["headers"];
}
function get(door: number, host: string, options: { agent?: Agent; method?: string; body?: string; path?: string; headers?: Record<string, string> } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port: door, path: options.path ?? "/", method: options.method ?? "GET", agent: options.agent ?? false, headers: { Host: `${host}:${door}`, ...options.headers } });
    asked.on("error", reject).on("response", (answer) => void text(answer).then((body) => resolve({ status: answer.statusCode!, body, headers: answer.headers }), reject));
    asked.end(options.body);
  });
}
const doorOf = (net: { hostAddresses(): { url: string }[] }) => Number(new URL(net.hostAddresses()[0]!.url).port);

test("one connection may ask many Services: each request goes by its own Host", async () => {
  await using net = await startSupervisor();
  await using one = await program((_request, response) => response.end("one"));
  await using two = await program((_request, response) => response.end("two"));
  net.publish(snapshot(1, service("one", one), service("two", two), service("down", one, false)));
  const door = doorOf(net);
  await eventually(() => get(door, "one.shop.localhost"));
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const bodies = [];
  for (const host of ["one.shop.localhost", "two.shop.localhost", "ONE.shop.localhost"]) bodies.push((await get(door, host, { agent })).body);
  assert.deepEqual(bodies, ["one", "two", "one"]);
  assert.deepEqual((await get(door, "down.shop.localhost", { agent })).status, 503);
  assert.deepEqual((await get(door, "nobody.shop.localhost", { agent })).status, 404);
  assert.deepEqual((await get(door, "one.shop.evil.example", { agent })).status, 404);
  agent.destroy();
});

test("what the program sees, and what comes back", async () => {
  await using net = await startSupervisor();
  let seen: IncomingMessage | undefined;
  let body = "";
  await using server = await program((incoming, response) => {
    seen = incoming;
    void text(incoming).then((sent) => {
      body = sent;
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.writeHead(201, { "x-instance": "7", connection: "x-secret", "x-secret": "for the proxy" });
      response.write("first ");
      response.end("second");
    });
  });
  net.publish(snapshot(1, service("web", server)));
  const door = doorOf(net);
  const answer = await eventually(() => get(door, "web.shop.localhost", { method: "POST", path: "/orders?x=%2F1", body: "sent", headers: { "X-Forwarded-For": "192.0.2.9", Connection: "X-Private", "X-Private": "1" } }));
  assert.deepEqual([answer.status, answer.body, answer.headers["x-instance"], answer.headers["set-cookie"], answer.headers["x-secret"]], [201, "first second", "7", ["a=1", "b=2"], undefined]);
  assert.equal(body, "sent");
  assert.deepEqual([seen!.method, seen!.url, seen!.headers["host"], seen!.headers["x-forwarded-for"], seen!.headers["x-forwarded-proto"], seen!.headers["x-private"]], ["POST", "/orders?x=%2F1", `web.shop.localhost:${door}`, "192.0.2.9, 127.0.0.1", "http", undefined]);
  const chunked = await get(door, "web.shop.localhost", { method: "DELETE", body: "unknown length", headers: { "Transfer-Encoding": "chunked" } });
  assert.deepEqual([chunked.status, body], [201, "unknown length"]);
});

test("an upgrade becomes a pipe", async () => {
  await using net = await startSupervisor();
  await using server = await program((_request, response) => response.end());
  server.on("upgrade", (incoming, socket) => {
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${incoming.headers.upgrade}\r\n\r\n`);
    socket.pipe(socket);
  });
  net.publish(snapshot(1, service("web", server)));
  const door = doorOf(net);
  await eventually(() => get(door, "web.shop.localhost"));
  const socket = connect(door, "127.0.0.1").setEncoding("latin1");
  socket.write("GET /chat HTTP/1.1\r\nHost: web.shop.localhost\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n");
  const [head] = (await once(socket, "data")) as [string];
  assert.match(head, /^HTTP\/1\.1 101 Switching Protocols\r\n(.*\r\n)*Upgrade: chat\r\n/);
  socket.write("hello");
  assert.deepEqual(await once(socket, "data"), ["hello"]);
  socket.destroy();
});

test("a body streams: its beginning arrives before its end exists; a client that leaves is told to the program", async () => {
  await using net = await startSupervisor();
  const left = Promise.withResolvers<void>();
  await using server = await program((incoming, response) => {
    if (incoming.url !== "/events") return response.end();
    response.write("event 1\n");
    response.on("close", () => left.resolve());
  });
  net.publish(snapshot(1, service("web", server)));
  const door = doorOf(net);
  await eventually(() => get(door, "web.shop.localhost"));
  const socket = connect(door, "127.0.0.1").setEncoding("latin1");
  socket.write("GET /events HTTP/1.1\r\nHost: web.shop.localhost\r\n\r\n");
  let heard = "";
  for await (const chunk of socket) if ((heard += chunk).includes("event 1")) break;
  socket.destroy();
  await left.promise;
});

test("gRPC by name: HTTP/2 to both sides, trailers too, and the port that says grpc goes before one that says nothing", async () => {
  await using net = await startSupervisor();
  const server = createHttp2Server().listen(0, "127.0.0.1");
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream: ServerHttp2Stream, headers: Record<string, unknown>) => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(`${headers[":path"]}`);
  });
  await once(server, "listening");
  const at = [{ ip: "127.0.0.1", port: (server.address() as { port: number }).port, ready: true }];
  net.publish(snapshot(1, { name: "calls", namespace: "shop", clusterIPs: [], ports: [port(5000, [], { name: "metrics", appProtocol: "tcp" }), port(9000, at, { name: "grpc", appProtocol: "grpc" })] }));
  const url = (await eventually(() => net.hostAddresses().find(({ port: number }) => number === 9000)))!.url;
  assert.match(url, /^http:\/\/calls\.shop\.localhost:\d+$/);
  // The worker learns of it a moment after its address is known here.
  await eventually(async () => (await get(Number(new URL(url).port), "calls.shop.localhost").catch(() => undefined))?.status === 200);
  const client = connectHttp2(`http://127.0.0.1:${new URL(url).port}`);
  try {
    const stream = client.request({ ":method": "POST", ":path": "/shop.Calls/Make", ":authority": new URL(url).host, "content-type": "application/grpc", te: "trailers" });
    const trailers = once(stream, "trailers");
    stream.end();
    assert.equal(await text(stream), "/shop.Calls/Make");
    assert.equal(((await trailers)[0] as Record<string, string>)["grpc-status"], "0");
  } finally {
    client.destroy();
    for (const session of sessions) session.destroy();
    server.close();
  }
});

test("routes that are attached to a Service hold at the front door too, as they come and go under one connection", async () => {
  await using net = await startSupervisor();
  await using one = await program((_request, response) => response.end("one"));
  await using two = await program((asked, response) => response.end(`two ${asked.headers["x-forwarded-for"]}`));
  net.publish(snapshot(1, service("one", one), service("two", two)));
  const door = doorOf(net);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const becomes = (path: string, expected: string) => eventually(async () => ((answer) => `${answer.status} ${answer.body}`.startsWith(expected))(await get(door, "one.shop.localhost", { agent, path })), 30_000);
  await becomes("/new", "200 one");
  const rule = { name: "0", matches: [{ path: { type: "prefix" as const, value: "/new" } }], filters: [], backends: [{ upstream: "shop/two/80", weight: 1 }] };
  const route = { id: "HTTPRoute/shop/one@services", type: "http" as const, createdAt: 1, attachments: [{ listener: serviceListenerId("shop", "one", 80), hostnames: [""] }], rules: [rule] };
  net.publishTraffic({ revision: 1, remove: {}, put: { routes: [route], upstreams: [{ id: "shop/two/80", namespace: "shop", service: "two", port: 80, protocol: "http1" }] } });
  await becomes("/new", "200 two 127.0.0.1");
  await becomes("/", "404 ");
  net.publishTraffic({ revision: 2, put: {}, remove: { routes: [route.id] } });
  await becomes("/new", "200 one");
  agent.destroy();
});
