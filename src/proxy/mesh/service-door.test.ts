import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, createServer, request, type IncomingMessage, type Server as HttpServer } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import type { HttpRoute, HttpRule, TrafficPatch } from "../../api/traffic.ts";
import { eventually as within, exchange, listen, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";
import { serviceListenerId } from "./listener-id.ts";

/** Machines may be slow; what never comes true fails all the same. */
const eventually = <T>(attempt: () => Promise<T> | T): Promise<T> => within(attempt, 30_000);

type Closable<T> = T & AsyncDisposable & { port: number };

/** Answers with its name, and with what it was asked in headers of the answer. */
async function web(name: string): Promise<Closable<HttpServer>> {
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => response.writeHead(200, { "x-asked": JSON.stringify({ url: request.url, raw: request.rawHeaders, peer: request.socket.remoteAddress }) }).end(name));
  });
  server.on("upgrade", (request, socket: Socket, head) => {
    socket.on("error", () => {}).write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n${name}:`);
    socket.write(head);
    socket.pipe(socket);
  });
  return ready(server);
}

async function http2Web(name: string): Promise<Closable<ReturnType<typeof createHttp2Server>>> {
  return ready(createHttp2Server((request, response) => response.writeHead(200).end(`${name} ${request.httpVersion}`)));
}

async function ready<T extends HttpServer | ReturnType<typeof createHttp2Server>>(server: T): Promise<Closable<T>> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(server, {
    port: (server.address() as { port: number }).port,
    [Symbol.asyncDispose]: async () => {
      server.close();
      if ("closeAllConnections" in server) server.closeAllConnections();
    },
  });
}

const local = (server: { port: number }) => ({ ip: "127.0.0.1", port: server.port });

/** Clients with one kept connection. */
function client(ip: string, number: number): Disposable & { get(path?: string, headers?: Record<string, string>): Promise<{ status: number; text: string; asked: { url: string; raw: string[] }; headers: IncomingMessage["headers"] }>; connections: Set<number> } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const connections = new Set<number>();
  return {
    connections,
    get: (path = "/", headers = {}) =>
      new Promise((resolve, reject) => {
        const asked = request({ agent, host: ip, port: number, path, headers: { host: "web.shop", ...headers } }, (response) => {
          connections.add(response.socket.localPort!);
          let text = "";
          response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
          response.on("end", () => resolve({ status: response.statusCode!, text, asked: JSON.parse((response.headers["x-asked"] as string) ?? "{}"), headers: response.headers }));
        });
        asked.on("error", reject).end();
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

const counted = (names: readonly string[]): Record<string, number> => names.reduce<Record<string, number>>((counts, name) => ({ ...counts, [name]: (counts[name] ?? 0) + 1 }), {});

function route(name: string, at: string, rules: Partial<HttpRule>[], isNamed = false): HttpRoute {
  return {
    id: `HTTPRoute/shop/${name}@services`,
    type: "http",
    createdAt: 1,
    attachments: [{ listener: at, hostnames: [""], ...(isNamed && { isNamed }) }],
    rules: rules.map((rule, index) => ({ name: String(index), matches: [{ path: { type: "prefix", value: "/" } }], filters: [], backends: [], ...rule })),
  };
}

let revision = 0;
const upstream = (service: string, number = 7000) => ({ id: `shop/${service}/${number}`, namespace: "shop", service, port: number, protocol: "http1" as const });
const patch = (put: TrafficPatch["put"], remove: TrafficPatch["remove"] = {}): TrafficPatch => ({ revision: ++revision, put, remove });

/** A Service of namespace shop, at an address of its own. */
const service = (name: string, ip: string, appProtocol: string | undefined, servers: { port: number }[]) => ({ name, namespace: "shop", clusterIPs: [ip], ports: [port(7000, servers.map(local), appProtocol === undefined ? {} : { appProtocol })] });
const open = (ip: string): Promise<string> => eventually(() => exchange(ip, 7000, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));

test("one connection, many requests: spread exactly, with the fields that they had", async () => {
  await using net = await startSupervisor();
  await using a = await web("a");
  await using b = await web("b");
  await using c = await web("c");
  const ip = nextAddress();
  net.publish(snapshot(1, service("web", ip, "http", [a, b, c])));
  await open(ip);
  using one = client(ip, 7000);
  const answers = [];
  for (let i = 0; i < 30; i++) answers.push(await one.get("/a//b/%2e%2e/;v=1?q=%20", { "x-forwarded-for": "192.0.2.1", "x-request-id": "mine", forwarded: "for=192.0.2.1" }));
  assert.equal(one.connections.size, 1);
  assert.deepEqual(counted(answers.map(({ text }) => text)), { a: 10, b: 10, c: 10 });
  const { url, raw } = answers[0]!.asked;
  assert.equal(url, "/a//b/%2e%2e/;v=1?q=%20");
  assert.deepEqual(raw, ["Host", "web.shop", "x-forwarded-for", "192.0.2.1", "x-request-id", "mine", "forwarded", "for=192.0.2.1"]);
});

test("one connection of HTTP/2: its requests are spread exactly, and stay HTTP/2", async () => {
  await using net = await startSupervisor();
  await using a = await http2Web("a");
  await using b = await http2Web("b");
  const ip = nextAddress();
  for (const [index, appProtocol] of ["grpc", "http"].entries()) {
    net.publish(snapshot(index + 1, service(`web-${index}`, ip, appProtocol, [a, b])));
    const session = await eventually(async () => {
      const tried = connectHttp2(`http://${ip}:7000`);
      await once(tried, "connect");
      return tried;
    });
    const answers = [];
    for (let i = 0; i < 20; i++) {
      const stream = session.request({ ":path": "/" }).setEncoding("utf8");
      let text = "";
      for await (const chunk of stream) text += chunk;
      answers.push(text);
    }
    session.destroy();
    assert.deepEqual(counted(answers), { "a 2.0": 10, "b 2.0": 10 }, appProtocol);
  }
});

test("upgraded connections are tunnels", async () => {
  await using net = await startSupervisor();
  await using a = await web("a");
  const ip = nextAddress();
  net.publish(snapshot(1, service("web", ip, "kubernetes.io/ws", [a])));
  await open(ip);
  const socket = connect(7000, ip).setEncoding("latin1");
  socket.write("GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping");
  let got = "";
  for await (const chunk of socket) {
    got += chunk;
    if (got.endsWith("a:ping")) break;
  }
  assert.match(got, /^HTTP\/1\.1 101 /);
});

test("what is not HTTP passes untouched, wherever routes are attached", async () => {
  await using net = await startSupervisor();
  await using echo = await listen((socket) => socket.pipe(socket));
  await using greeter = await listen((socket) => {
    socket.write("220 ready\r\n");
    socket.pipe(socket);
  });
  const [echoIp, greeterIp, declaredIp] = [nextAddress(), nextAddress(), nextAddress()];
  net.publish(snapshot(1, service("echo", echoIp, undefined, [echo]), service("greeter", greeterIp, undefined, [greeter]), service("declared", declaredIp, "http", [echo])));
  net.publishTraffic(patch({ routes: ["echo", "greeter"].map((name) => route(name, serviceListenerId("shop", name, 7000), [{ filters: [{ type: "respond", status: 204 }] }])) }));
  const hello = Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).toString("latin1");
  for (const [ip, sent] of [[echoIp, hello], [echoIp, "PING\r\n"], [echoIp, "CONNECT x:1 HTTP/1.1\r\n\r\n"], [declaredIp, hello], [declaredIp, "\0"]] as const) assert.equal(await eventually(() => talk(ip, sent, sent.length)), sent);
  assert.equal(await eventually(() => talk(greeterIp, "", 11)), "220 ready\r\n");
  await eventually(async () => (await exchange(echoIp, 7000, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).startsWith("HTTP/1.1 204 "));
  // Byte by byte, an upper-case letter may be the beginning of a method for a while.
  const slow = connect(7000, declaredIp).setNoDelay(true).setEncoding("latin1");
  for (const byte of "PINK") {
    slow.write(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const [first] = (await once(slow, "data")) as [string];
  assert.match(first, /^P/);
  slow.destroy();
});

/** Connects, sends, and returns the first bytes. */
async function talk(ip: string, text: string, length: number): Promise<string> {
  const socket = connect(7000, ip).setEncoding("latin1");
  if (text !== "") socket.write(text, "latin1");
  let got = "";
  for await (const chunk of socket) {
    got += chunk;
    if (got.length >= length) break;
  }
  return got;
}

test("routes: a rule's backend, its filters, and 404 for what none fits; as they come and go under one connection", async () => {
  await using net = await startSupervisor();
  await using a = await web("a");
  await using b = await web("b");
  const [ip, frontIp] = [nextAddress(), nextAddress()];
  net.publish(snapshot(1, service("web", ip, "http", [a]), service("new", nextAddress(), "http", [b]), service("front", frontIp, undefined, [])));
  await open(ip);
  using one = client(ip, 7000);
  assert.equal((await one.get("/v2")).text, "a");
  const at = serviceListenerId("shop", "web", 7000);
  const rule = { matches: [{ path: { type: "prefix" as const, value: "/v2" } }], filters: [{ type: "responseHeaders" as const, set: [{ name: "x-route", value: "yes" }] }], backends: [{ upstream: "shop/new/7000", weight: 1 }] };
  net.publishTraffic(patch({ upstreams: [upstream("new")], routes: [route("web", at, [rule])] }));
  const second = (await eventually(async () => {
    const answer = await one.get("/v2/x", { "x-forwarded-for": "192.0.2.1" });
    return answer.text === "b" ? answer : undefined;
  }))!;
  assert.equal(second.headers["x-route"], "yes");
  assert.deepEqual(second.asked.raw, ["Host", "web.shop", "x-forwarded-for", "192.0.2.1"]);
  assert.equal((await one.get("/")).status, 404);
  // A Service without endpoints may be nothing but a name for its routes.
  net.publishTraffic(patch({ routes: [route("front", serviceListenerId("shop", "front", 7000), [rule], true)] }));
  using front = client(frontIp, 7000);
  assert.equal((await eventually(() => front.get("/v2"))).text, "b");
  net.publishTraffic(patch({}, { routes: ["HTTPRoute/shop/web@services", "HTTPRoute/shop/front@services"] }));
  await eventually(async () => (await one.get("/v2")).text === "a");
  assert.equal(one.connections.size, 1);
  await eventually(() => exchange(frontIp, 7000).then(() => false, (error: Error) => error.message === "ECONNREFUSED"));
});

test("routes of another namespace hold for its pods alone, and in place of the Service's own", async () => {
  await using net = await startSupervisor();
  await using a = await web("a");
  const ip = nextAddress();
  net.publish(snapshot(1, service("web", ip, "http", [a])));
  await open(ip);
  const status = (name: string, at: string, code: number, path = "/") => route(name, at, [{ matches: [{ path: { type: "prefix", value: path } }], filters: [{ type: "respond", status: code }] }]);
  const at = (consumer?: string) => serviceListenerId("shop", "web", 7000, consumer);
  using one = client(ip, 7000);
  const becomes = (expected: number, path = "/") => eventually(async () => (await one.get(path)).status === expected);
  net.publishTraffic(patch({ routes: [status("theirs", at("billing"), 202, "/pay")] }));
  net.setPod!("127.0.0.1", { namespace: "shop", name: "p", serviceAccount: "default" });
  await becomes(200, "/pay");
  net.setPod!("127.0.0.1", { namespace: "billing", name: "p", serviceAccount: "default" });
  await becomes(202, "/pay");
  net.publishTraffic(patch({ routes: [status("ours", at(), 203)] }));
  await becomes(404, "/other");
  await becomes(202, "/pay");
  net.setPod!("127.0.0.1", undefined);
  await becomes(203, "/pay");
});

test("endpoints and ports change while requests run on kept connections: none is lost", async () => {
  await using net = await startSupervisor();
  await using a = await web("a");
  await using b = await web("b");
  const ip = nextAddress();
  net.publish(snapshot(1, service("web", ip, "http", [a])));
  await open(ip);
  const stop = new AbortController();
  const statuses: number[] = [];
  const clients = Array.from({ length: 4 }, async () => {
    using one = client(ip, 7000);
    while (!stop.signal.aborted) statuses.push((await one.get()).status);
    assert.equal(one.connections.size, 1);
  });
  const at = serviceListenerId("shop", "web", 7000);
  for (let i = 2; i < 42; i++) {
    net.publish(snapshot(i, service("web", ip, "http", [[a], [b], [a, b]][i % 3]!)));
    if (i % 5 === 0) net.publishTraffic(patch({ upstreams: [upstream("web")], routes: [route("web", at, [{ backends: [{ upstream: "shop/web/7000", weight: 1 }] }])] }));
    if (i % 5 === 3) net.publishTraffic(patch({}, { routes: ["HTTPRoute/shop/web@services"], upstreams: ["shop/web/7000"] }));
    const before = statuses.length;
    await eventually(() => statuses.length > before + 4);
  }
  stop.abort();
  await Promise.all(clients);
  assert.deepEqual(Object.keys(counted(statuses.map(String))), ["200"]);
});

test("the connections of a Service that is gone end", async () => {
  await using net = await startSupervisor();
  await using a = await web("a");
  const ip = nextAddress();
  net.publish(snapshot(1, service("web", ip, "http", [a])));
  await open(ip);
  const socket = connect(7000, ip).setEncoding("latin1");
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await once(socket, "data");
  net.publish(snapshot(2));
  await once(socket.resume(), "end");
});
