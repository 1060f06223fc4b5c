import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { test, type TestContext } from "node:test";
import { FakeClock } from "../base/clock.ts";
import { CallError, createHttpClient, type EndpointSource, type HttpClientOptions } from "./http-client.ts";
import { createService } from "./service.ts";
import type { FinishedSpan } from "./tracer.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** A server whose nth answer is the script's. */
async function peer(t: TestContext, answer: Answer): Promise<{ url: string; port: number; seen: { method: string; url: string; headers: IncomingMessage["headers"]; body: string }[] }> {
  const seen: { method: string; url: string; headers: IncomingMessage["headers"]; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    seen.push({ method: request.method!, url: request.url!, headers: request.headers, body });
    answer(request, response, seen.length);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => (server.closeAllConnections(), server.close()));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, seen };
}
function clientOf(t: TestContext, options: HttpClientOptions) {
  const client = createHttpClient({ retry: { backoffMs: 1 }, ...options });
  t.after(() => client.close());
  return client;
}
const status = (...statuses: number[]): Answer => (_, response, count) => void response.writeHead(statuses[count - 1] ?? statuses.at(-1)!).end("{}");
const coded = (code: string, tries?: number) => (error: unknown) => (assert.ok(error instanceof CallError, String(error)), assert.equal(error.code, code, error.message), tries !== undefined && assert.equal(error.tries, tries), true);

// The answers of a peer; a call; what the caller gets, and how often the peer was asked.
const tables: [what: string, answers: number[], method: string, options: object, result: number, asked: number][] = [
  ["GET is tried again", [503, 502, 200], "GET", {}, 200, 3],
  ["attempts end", [503], "GET", {}, 503, 3],
  ["POST is not tried again", [503, 200], "POST", { body: { a: 1 } }, 503, 1],
  ["POST with an idempotency key is", [503, 200], "POST", { body: { a: 1 }, idempotencyKey: "order-1" }, 200, 2],
  ["PUT and DELETE are idempotent", [503, 200], "PUT", { body: "x" }, 200, 2],
  ["an error of the caller's is its answer", [404], "GET", {}, 404, 1],
  ["500 is no sign that another try may help", [500, 200], "GET", {}, 500, 1],
];
for (const [what, answers, method, options, result, asked] of tables) {
  test(`HTTP client: ${what}`, async (t) => {
    const server = await peer(t, status(...answers));
    const answer = await clientOf(t, { url: server.url }).request(method, "/x", options);
    assert.deepEqual([answer.status, server.seen.length, answer.tries], [result, asked, asked]);
    if ("idempotencyKey" in options) assert.deepEqual(server.seen.map(({ headers, body }) => [headers["idempotency-key"], body]), [['"order-1"', '{"a":1}'], ['"order-1"', '{"a":1}']]);
  });
}

test("JSON both ways, and problem documents become errors", async (t) => {
  const server = await peer(t, (request, response) => {
    if (request.url === "/v1/bad") response.writeHead(422, { "content-type": "application/problem+json" }).end(JSON.stringify({ status: 422, detail: "out of stock", left: 0 }));
    else response.end(JSON.stringify({ got: request.headers["content-type"] }));
  });
  const client = clientOf(t, { url: `${server.url}/v1/`, headers: { "x-tenant": "a" }, name: "stock" });
  assert.deepEqual(await client.json("POST", "/good", { body: { b: 2 } }), { got: "application/json" });
  assert.deepEqual([server.seen[0]!.url, server.seen[0]!.body, server.seen[0]!.headers["x-tenant"]], ["/v1/good", '{"b":2}', "a"]);
  await assert.rejects(client.json("GET", "/bad"), (error: CallError) => (assert.equal(error.message, "stock: GET /bad answers 422: out of stock"), assert.equal((error.body as { left: number }).left, 0), assert.equal(error.statusCode, 502), true));
});

test("where nobody listens it is tried again, and told as unavailable", async (t) => {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  await assert.rejects(clientOf(t, { url: `http://127.0.0.1:${port}` }).request("POST", "/"), coded("unavailable", 3));
});

test("a kept connection that the server closes just then is no error", async (t) => {
  let sockets = 0;
  const server = createTcpServer((socket: Socket) => {
    let requests = 0;
    sockets++;
    socket.on("data", () => {
      if (requests++ === 0) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
      else socket.destroy();
    });
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const client = clientOf(t, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, retry: false });
  assert.equal((await client.request("GET", "/")).tries, 1);
  const second = await client.request("GET", "/");
  assert.deepEqual([second.text(), second.tries, sockets], ["ok", 2, 2]);
  await assert.rejects(client.request("POST", "/"), coded("unavailable", 1), "a POST may have been done");
});

test("an answer that is cut off is none", async (t) => {
  const server = await peer(t, (_, response, count) => {
    response.writeHead(200, { "content-length": "10" });
    if (count < 2) response.write("half", () => response.destroy());
    else response.end("0123456789");
  });
  const answer = await clientOf(t, { url: server.url }).request("GET", "/");
  assert.deepEqual([answer.text(), answer.tries], ["0123456789", 2]);
});

test("more than the bound is an error, and memory holds no more", async (t) => {
  const server = await peer(t, (_, response) => void response.end("x".repeat(2_000)));
  await assert.rejects(clientOf(t, { url: server.url, bodyBytesMax: 1_000 }).request("GET", "/"), coded("invalid", 1));
});

test("the deadline covers all tries, travels, and is the caller's where that is nearer", async (t) => {
  const behind = await peer(t, (request, response) => request.url === "/warm" && response.end("{}"));
  const middle = createService({ name: "middle", host: "127.0.0.1", port: 0, signals: false, env: {}, log: { level: "silent" } });
  t.after(() => middle.stop());
  const client = createHttpClient({ url: behind.url, service: middle, name: "behind", timeoutMs: 60_000 });
  middle.app.get("/*", async (request) => client.json("GET", request.url));
  await middle.start();
  await (await fetch(`${middle.url}/warm`)).text();
  const asked = performance.now();
  const late = await clientOf(t, { url: middle.url, timeoutMs: 1_000, retry: false }).request("GET", "/never").catch((error: CallError) => error);
  assert.ok(performance.now() - asked < 30_000);
  // Whichever of the two tells first: the middle with 504, or the outer one itself.
  if (late instanceof CallError) assert.equal(late.code, "timeout");
  else assert.equal(late.status, 504);
  const told = Number(behind.seen.find(({ url }) => url === "/never")!.headers["x-envoy-expected-rq-timeout-ms"]);
  assert.ok(told > 0 && told <= 1_000, String(told));
});

test("a try that takes too long is followed by another", async (t) => {
  const server = await peer(t, (_, response, count) => count > 1 && response.end("second"));
  const answer = await clientOf(t, { url: server.url, tryTimeoutMs: 300 }).request("GET", "/");
  assert.equal(answer.text(), "second");
  assert.ok(answer.tries > 1);
});

test("the circuit opens after failures in a row, refuses without asking, and closes again by a trial", async (t) => {
  let isBroken = true;
  const server = await peer(t, (_, response) => void response.writeHead(isBroken ? 500 : 200).end());
  const clock = new FakeClock();
  const client = clientOf(t, { url: server.url, name: "users", clock, retry: false, circuit: { consecutiveFailures: 3, openMs: 5_000 } });
  for (let i = 0; i < 3; i++) assert.equal((await client.request("GET", "/")).status, 500);
  await assert.rejects(client.request("GET", "/"), (error: CallError) => (coded("circuit_open", 0)(error), assert.equal(error.statusCode, 503), true));
  assert.equal(server.seen.length, 3);
  clock.advance(5_000);
  assert.equal((await client.request("GET", "/")).status, 500, "one trial");
  await assert.rejects(client.request("GET", "/"), coded("circuit_open"));
  isBroken = false;
  clock.advance(5_000);
  assert.equal((await client.request("GET", "/")).status, 200);
  assert.equal((await client.request("GET", "/")).status, 200);
});

test("no more calls at a time than it may", async (t) => {
  const waiting: ServerResponse[] = [];
  const both = Promise.withResolvers<void>();
  const server = await peer(t, (_, response) => void (waiting.push(response) === 2 && both.resolve()));
  const client = clientOf(t, { url: server.url, concurrentMax: 2 });
  const calls = [client.request("GET", "/"), client.request("GET", "/")];
  await both.promise;
  await assert.rejects(client.request("GET", "/"), coded("overloaded", 0));
  for (const response of waiting) response.end();
  await Promise.all(calls);
  const third = client.request("GET", "/");
  while (waiting.length < 3) await new Promise((resolve) => setImmediate(resolve));
  waiting[2]!.end();
  assert.equal((await third).status, 200);
});

test("when everything fails, further tries are a share and not a multiple", async (t) => {
  const server = await peer(t, status(503));
  const client = clientOf(t, { url: server.url, circuit: false, clock: new FakeClock(), retry: { backoffMs: 0, attempts: 5 }, retryBudget: { percent: 20, minPerSecond: 1 } });
  for (let i = 0; i < 100; i++) assert.equal((await client.request("GET", "/")).status, 503);
  assert.ok(server.seen.length >= 110 && server.seen.length <= 130, `${server.seen.length}`);
});

test("a slow answer is asked for once more elsewhere, and the first one counts", async (t) => {
  const slow = await peer(t, () => {});
  const quick = await peer(t, (_, response) => void response.end("quick"));
  const endpoints = [slow, quick].map(({ port }) => ({ ip: "127.0.0.1", port, key: `127.0.0.1:${port}` }));
  const source: EndpointSource = { current: () => endpoints, onChange: () => () => {} };
  const client = clientOf(t, { url: "http://pair", endpoints: source, hedgeMs: 20, timeoutMs: 20_000, retryBudget: { percent: 100, minPerSecond: 100 } });
  for (let i = 0; i < 4; i++) assert.equal((await client.request("GET", "/")).text(), "quick");
  assert.ok(slow.seen.length >= 1);
  assert.deepEqual(slow.seen.map(({ headers }) => headers.host), slow.seen.map(() => "pair"), "the name stays");
  assert.deepEqual(client.endpoints().map(({ active }) => active), [0, 0]);
});

test("an endpoint that fails is left for another, and endpoints are followed", async (t) => {
  const good = await peer(t, (_, response) => void response.end("good"));
  const next = await peer(t, (_, response) => void response.end("next"));
  const endpointOf = (port: number) => ({ ip: "127.0.0.1", port, key: `127.0.0.1:${port}` });
  // Port 1 takes no connections.
  let current = [endpointOf(1), endpointOf(good.port)];
  let tell: (endpoints: typeof current) => void = () => {};
  const client = clientOf(t, { url: "http://pair", endpoints: { current: () => current, onChange: (listener) => ((tell = listener), () => {}) } });
  for (let i = 0; i < 4; i++) assert.equal((await client.request("POST", "/")).text(), "good");
  tell((current = [endpointOf(next.port)]));
  assert.equal((await client.request("GET", "/")).text(), "next");
  tell((current = []));
  await assert.rejects(client.request("GET", "/"), coded("unavailable", 0));
});

test("a call belongs to the trace of the work that makes it; every try is a span", async (t) => {
  const server = await peer(t, status(503, 200));
  const spans: FinishedSpan[] = [];
  const service = createService({ name: "front", host: "127.0.0.1", port: 0, signals: false, env: {}, log: { level: "silent" }, tracing: { exporter: { export: async (batch) => void spans.push(...batch) } } });
  t.after(() => service.stop());
  const client = createHttpClient({ url: server.url, name: "behind", service, retry: { backoffMs: 1 } });
  service.app.get("/", async () => (await client.request("GET", "/x?token=secret")).status);
  await service.start();
  await fetch(service.url, { headers: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate: "a=1" } });
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  await service.stop();
  const server2 = spans.find(({ kind }) => kind === "server")!;
  const tries = spans.filter(({ kind }) => kind === "client");
  assert.deepEqual(tries.map(({ parentSpanId, attributes }) => [parentSpanId, attributes["http.response.status_code"], attributes["http.request.resend_count"]]), [[server2.trace.spanId, 503, undefined], [server2.trace.spanId, 200, 1]]);
  assert.deepEqual(server.seen.map(({ headers }) => [headers["traceparent"], headers["tracestate"]]), tries.map(({ trace }) => [`00-0af7651916cd43dd8448eb211c80319c-${trace.spanId}-01`, "a=1"]));
  assert.ok(!JSON.stringify(spans).includes("secret"));
  assert.match(metrics, /http_client_requests_total\{service="front",client="behind",method="GET",result="200"\} 1\n[^]*http_client_retries_total\{service="front",client="behind"\} 1\n/);
});
