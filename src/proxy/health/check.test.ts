import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { createSecureServer, createServer as createHttp2, type ServerHttp2Stream } from "node:http2";
import { createServer as createHttps } from "node:https";
import type { AddressInfo, Server, Socket } from "node:net";
import { test } from "node:test";
import type { GrpcAsk, HealthCheck, HttpAsk, TcpAsk } from "../../api/traffic-health.ts";
import { dial } from "../dial.ts";
import { Engine } from "../http/engine.ts";
import { authority, certificateFor } from "../http/testing/certificates.ts";
import { secureUpstream } from "../http/tls.ts";
import type { UpstreamSettings } from "../http/upstream-pool.ts";
import { listen } from "../testing/network.ts";
import { checkEndpoint } from "./check.ts";

const engine = new Engine();
const base64 = (text: string): string => Buffer.from(text).toString("base64");

function check(port: number, ask: HealthCheck["ask"], { timeoutMs = 5_000, ...settings }: Partial<UpstreamSettings> & { timeoutMs?: number } = {}): Promise<string> {
  const asked = { ask, intervalMs: 1_000, timeoutMs, unhealthyThreshold: 1, healthyThreshold: 1 };
  return checkEndpoint(asked, { ip: "127.0.0.1", port, key: `127.0.0.1:${port}` }, { id: "u", connectMs: 5_000, idleMs: 1_000, ...settings }, { dial, output: engine.output, sweeper: engine.sweeper }).then(({ finding, reason }) => `${finding}: ${reason.replaceAll(`127.0.0.1:${port}`, "IT")}`);
}
async function serving<S extends Server>(server: S): Promise<S & AsyncDisposable & { port: number }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const sockets = new Set<Socket>();
  for (const event of ["connection", "secureConnection"]) server.on(event, (socket: Socket) => sockets.add(socket));
  return Object.assign(server, {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}
const http = (listener: RequestListener) => serving(createServer(listener));
const get = (rest: Partial<HttpAsk> = {}): HttpAsk => ({ type: "http", method: "GET", path: "/health", statuses: [200], ...rest });

test("HTTP: status and body decide", async (t) => {
  const cases: { what: string; status?: number; body?: string; ask?: Partial<HttpAsk>; found: string }[] = [
    { what: "200", found: "well: 200" },
    { what: "another status", status: 503, found: "unwell: 503" },
    { what: "a redirect is not followed", status: 302, found: "unwell: 302" },
    { what: "one of those that are expected", status: 418, ask: { statuses: [200, 418] }, found: "well: 418" },
    { what: "200 is not expected where others are", ask: { statuses: [204] }, found: "unwell: 200" },
    { what: "one that decides nothing by itself", status: 429, ask: { retriable: [429] }, found: "silent: 429" },
    { what: "what is expected goes first", status: 429, ask: { statuses: [429], retriable: [429] }, found: "well: 429" },
    { what: "a body that is expected", body: "all is ok here", ask: { expect: base64("ok") }, found: "well: 200" },
    { what: "another body", body: "no", ask: { expect: base64("ok") }, found: "unwell: 200, and its body does not contain what is expected" },
    { what: "a long body is not read to its end", body: "x".repeat(2_000_000), found: "well: 200" },
    { what: "what stands at the end of a long one is not found", body: `${"x".repeat(200_000)}ok`, ask: { expect: base64("ok") }, found: "unwell: 200, and its body does not contain what is expected" },
    { what: "HEAD has no body", ask: { method: "HEAD" }, found: "well: 200" },
  ];
  for (const { what, status = 200, body = "", ask, found } of cases) {
    await t.test(what, async () => {
      await using server = await http((_, response) => response.writeHead(status, { "content-length": body.length }).end(body));
      assert.equal(await check(server.port, get(ask)), found);
    });
  }
});

test("HTTP: what the endpoint is asked", async () => {
  const asked: unknown[] = [];
  await using server = await http((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
      asked.push([request.method, request.url, request.headers.host, request.headers["user-agent"], Buffer.concat(chunks).toString()]);
      response.end();
    });
  });
  await check(server.port, get({ method: "POST", path: "/health?deep=1", host: "shop.example", body: base64("hello") }));
  await check(server.port, get());
  assert.deepEqual(asked, [
    ["POST", "/health?deep=1", "shop.example", "wherry/health", "hello"],
    ["GET", "/health", `127.0.0.1:${server.port}`, "wherry/health", ""],
  ]);
});

test("who does not answer, breaks off, or is not there", async () => {
  await using silent = await listen(() => {});
  assert.equal(await check(silent.port, get(), { timeoutMs: 50 }), "silent: no answer within 50 ms");
  await using breaking = await listen((socket) => socket.once("data", () => socket.resetAndDestroy()));
  assert.equal(await check(breaking.port, get()), "silent: IT: it broke before an answer");
  await using babbling = await listen((socket) => socket.once("data", () => socket.end("SSH-2.0-OpenSSH\r\n\r\n")));
  assert.match(await check(babbling.port, get()), /^silent: IT: /);
  // A head without an end, a byte at a time, is bounded by time.
  await using endless = await listen((socket) => {
    socket.write("HTTP/1.1 200 OK\r\n");
    const timer = setInterval(() => socket.write("a"), 5);
    socket.on("close", () => clearInterval(timer));
  });
  assert.equal(await check(endless.port, get(), { timeoutMs: 60 }), "silent: no answer within 60 ms");
  const gone = await listen(() => {});
  await gone[Symbol.asyncDispose]();
  assert.equal(await check(gone.port, get()), "silent: IT: it does not accept connections");
  assert.equal(await check(gone.port, { type: "tcp" }), "silent: IT: it does not accept connections");
});

test("as the upstream is called: TLS that is verified, and HTTP/2", async () => {
  const pair = certificateFor(["backend.example"]);
  await using tls = await serving(createHttps(pair, (_, response) => response.end("ok")) as unknown as Server);
  const secured = (serverName: string, protocol: "http1" | "h2" = "http1") => ({ secure: secureUpstream({ serverName, authorities: authority.cert }, protocol) });
  assert.equal(await check(tls.port, get(), secured("backend.example")), "well: 200");
  assert.match(await check(tls.port, get(), secured("other.example")), /^silent: IT: TLS: /);
  assert.match(await check(tls.port, get()), /^(silent: IT: it|unwell: 400)/);
  assert.equal(await check(tls.port, { type: "tcp" }, secured("backend.example")), "well: it accepts connections");
  await using both = await serving(createSecureServer(pair, (_, response) => response.end("ok")) as unknown as Server);
  assert.equal(await check(both.port, get(), { ...secured("backend.example", "h2"), http2: true }), "well: 200");
  await using plain = await serving(createHttp2((_, response) => response.end("ok")) as unknown as Server);
  assert.equal(await check(plain.port, get(), { http2: true }), "well: 200");
});

test("TCP: bytes that are sent and expected", async (t) => {
  await using echo = await listen((socket) => socket.on("data", (data) => socket.write(data.toString().replace("PING", "+PONG"))));
  await using closing = await listen((socket) => socket.end());
  const cases: { what: string; port: number; ask: Partial<TcpAsk>; timeoutMs?: number; found: string }[] = [
    { what: "a connection is enough", port: echo.port, ask: {}, found: "well: it accepts connections" },
    { what: "an answer", port: echo.port, ask: { send: base64("PING\r\n"), expect: base64("PONG") }, found: "well: it answers what is expected" },
    { what: "another answer", port: echo.port, ask: { send: base64("HELLO"), expect: base64("PONG") }, timeoutMs: 80, found: "silent: IT: no answer within 80 ms" },
    { what: "none", port: closing.port, ask: { expect: base64("x") }, found: "silent: IT: it ended before it said what is expected" },
  ];
  for (const { what, port, ask, timeoutMs, found } of cases) await t.test(what, async () => assert.equal(await check(port, { type: "tcp", ...ask }, timeoutMs === undefined ? {} : { timeoutMs }), found));
});

test("TCP: who talks without end is not listened to without end", async () => {
  await using talking = await listen((socket) => {
    const talk = (): void => void (!socket.destroyed && socket.write(Buffer.alloc(16_384, "x"), () => setImmediate(talk)));
    talk();
  });
  assert.equal(await check(talking.port, { type: "tcp", expect: base64("PONG") }), "silent: IT: what is expected is not in the first 65536 bytes");
});

test("gRPC health", async (t) => {
  const grpc = createHttp2();
  grpc.on("stream", (stream: ServerHttp2Stream, headers: Record<string, string>) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
      assert.equal(headers[":path"], "/grpc.health.v1.Health/Check");
      const service = Buffer.concat(chunks).subarray(7).toString();
      const trailersOnly = (status: number) => stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": status }, { endStream: true });
      if (service === "unknown") return trailersOnly(5);
      if (service === "none") return trailersOnly(12);
      if (service === "silent") return;
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.from(service === "vague" ? [0, 0, 0, 0, 0] : [0, 0, 0, 0, 2, 0x08, service === "down" ? 2 : 1]));
    });
  });
  await using server = await serving(grpc as unknown as Server);
  const cases: { service: string; timeoutMs?: number; found: string }[] = [
    { service: "", found: "well: SERVING" },
    { service: "shop.Users", found: "well: SERVING" },
    { service: "down", found: "unwell: NOT_SERVING" },
    { service: "vague", found: "unwell: UNKNOWN" },
    { service: "unknown", found: "unwell: its call ended with status 5" },
    { service: "none", found: "unwell: it has no health service (grpc.health.v1.Health)" },
    { service: "silent", timeoutMs: 80, found: "silent: no answer within 80 ms" },
  ];
  const ask = (service: string): GrpcAsk => ({ type: "grpc", service });
  for (const { service, timeoutMs, found } of cases) await t.test(`service ${JSON.stringify(service)}`, async () => assert.equal(await check(server.port, ask(service), timeoutMs === undefined ? {} : { timeoutMs }), found));
  await using other = await http((_, response) => response.end("no gRPC"));
  assert.match(await check(other.port, ask("")), /^silent: /);
});
