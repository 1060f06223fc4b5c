import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, get } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test, type TestContext } from "node:test";
import { FakeClock } from "../base/clock.ts";
import { currentContext, remainingMs } from "./context.ts";
import { Problem } from "./problem.ts";
import { createService, type Service, type ServiceOptions } from "./service.ts";
import type { FinishedSpan } from "./tracer.ts";

/** A service on a port of its own, with its log lines and spans. */
function testService(t: TestContext, options: Partial<ServiceOptions> = {}): { service: Service; lines: Record<string, unknown>[]; spans: FinishedSpan[] } {
  const lines: Record<string, unknown>[] = [];
  const spans: FinishedSpan[] = [];
  const write = (text: string) => void lines.push(...text.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>));
  const service = createService({ name: "greeter", host: "127.0.0.1", port: 0, signals: false, env: {}, log: { level: "debug", write }, tracing: { exporter: { export: async (batch) => void spans.push(...batch) } }, ...options });
  t.after(() => service.stop().catch(() => {}));
  return { service, lines, spans };
}
const json = async (response: Response) => (await response.json()) as Record<string, unknown>;
const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

test("the four addresses of every service answer as the seed's have it", async (t) => {
  const { service } = testService(t);
  let isBroken = false;
  service.addCheck("database", () => {
    if (isBroken) throw new Error("connection refused");
  }, { intervalMs: 0 });
  service.addCheck("mail", () => Promise.reject(new Error("slow today")), { critical: false, intervalMs: 0 });
  await service.start();
  const health = await fetch(`${service.url}/health`);
  const { timestamp, checks, ...rest } = await json(health);
  assert.equal(health.status, 200);
  assert.deepEqual(rest, { status: "degraded", service: "greeter", instance_id: service.instanceId });
  assert.match(String(timestamp), /^\d{4}-\d\d-\d\dT/);
  assert.deepEqual(Object.entries(checks as Record<string, { status: string; error?: string }>).map(([name, { status, error }]) => [name, status, error]), [["database", "ok", undefined], ["mail", "failed", "slow today"]]);
  assert.deepEqual(await json(await fetch(`${service.url}/ready`)), { status: "ready" });
  isBroken = true;
  const broken = await fetch(`${service.url}/health`);
  assert.equal(broken.status, 503);
  const report = await json(broken);
  assert.equal(report["status"], "unhealthy");
  assert.equal(report["error"], "health check 'database' failed: connection refused");
  const unready = await fetch(`${service.url}/health/ready`);
  assert.equal(unready.status, 503);
  assert.equal((await json(unready))["status"], "not ready");
  assert.equal((await fetch(`${service.url}/health/live`)).status, 200, "a restart would not mend the database");
});

test("without details health says how it is, and no more", async (t) => {
  const { service } = testService(t, { healthDetails: false });
  let isBroken = false;
  service.addCheck("database", () => {
    if (isBroken) throw new Error("connection refused");
  }, { intervalMs: 0 });
  await service.start();
  const ask = async (path: string) => await json(await fetch(`${service.url}${path}`));
  assert.deepEqual(Object.keys(await ask("/health")), ["status", "service", "instance_id", "timestamp"]);
  isBroken = true;
  assert.deepEqual(await ask("/health"), { status: "unhealthy", error: "health check 'database' failed: connection refused" });
  assert.deepEqual([await ask("/ready"), await ask("/health/live")], [{ status: "not ready" }, { status: "live" }]);
});

test("not ready before it is prepared, and a step that fails is tried again", async (t) => {
  const { service, lines } = testService(t);
  const seen: number[] = [];
  let attempts = 0;
  service.prepare("migrations", async () => {
    seen.push((await fetch(`${service.url}/ready`)).status);
    if (++attempts === 1) throw new Error("the database is not there yet");
  });
  let rounds = 0;
  service.loop("tidy", 60_000, () => void rounds++);
  await service.start();
  assert.deepEqual(seen, [503, 503]);
  assert.equal((await fetch(`${service.url}/ready`)).status, 200);
  assert.ok(rounds <= 1);
  await service.stop();
  assert.equal(rounds, 1);
  assert.ok(lines.some(({ msg, step }) => msg === "not prepared yet" && step === "migrations"));
});

test("requests are counted by the template of their route, logged and traced, and so is what is not there", async (t) => {
  const { service, lines, spans } = testService(t);
  service.app.get("/hello/:name", async (request) => {
    request.log.info({ of: "handler" }, "greeting");
    return { hello: (request.params as { name: string }).name };
  });
  await service.start();
  for (const name of ["anna", "bert"]) await (await fetch(`${service.url}/hello/${name}?token=secret`, { headers: { traceparent, tracestate: "a=1" } })).text();
  await (await fetch(`${service.url}/nowhere`)).text();
  const text = await (await fetch(`${service.url}/metrics`)).text();
  const open = await fetch(`${service.url}/metrics`, { headers: { accept: "application/openmetrics-text;version=1.0.0" } });
  const openText = await open.text();
  await service.stop();

  for (const line of ['http_requests_total{service="greeter",method="GET",route="/hello/:name",status="200"} 2', 'http_request_duration_seconds_count{service="greeter",method="GET",route="/hello/:name"} 2', 'http_errors_total{service="greeter"} 1', 'http_requests_total{service="greeter",method="",route="",status="404"} 1', 'active_connections{service="greeter"} 1']) assert.ok(text.includes(`${line}\n`), `${line} in\n${text}`);
  for (const name of ["process_cpu_seconds_total", "process_resident_memory_bytes", "nodejs_eventloop_lag_seconds", "nodejs_gc_duration_seconds"]) assert.match(text, new RegExp(`^# TYPE ${name} `, "m"));
  assert.doesNotMatch(text, /# \{/);
  assert.match(openText, /^http_request_duration_seconds_bucket\{[^}]*route="\/hello\/:name"[^}]*\} \d+ # \{trace_id="0af7651916cd43dd8448eb211c80319c"\} /m);
  assert.match(openText, /# TYPE http_requests counter\n[^]*# EOF\n$/);
  assert.equal(open.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");

  const [first, second] = lines.filter(({ trace_id: id }) => id === "0af7651916cd43dd8448eb211c80319c");
  assert.deepEqual([first!["msg"], first!["of"], first!["service"]], ["greeting", "handler", "greeter"]);
  assert.deepEqual([second!["msg"], second!["method"], second!["path"], second!["route"], second!["status"], second!["level"]], ["request", "GET", "/hello/anna", "/hello/:name", 200, "info"]);
  assert.equal(first!["span_id"], second!["span_id"]);
  assert.ok(!JSON.stringify(lines).includes("secret") && !JSON.stringify(spans).includes("secret"), "queries are where secrets are");
  const span = spans.find(({ trace }) => trace.spanId === first!["span_id"])!;
  assert.deepEqual([span.name, span.kind, span.parentSpanId, span.trace.tracestate, span.attributes["http.route"], span.attributes["http.response.status_code"]], ["GET /hello/:name", "server", "b7ad6b7169203331", "a=1", "/hello/:name", 200]);
  assert.deepEqual(spans.map(({ name }) => name).sort(), ["GET", "GET /hello/:name", "GET /hello/:name"], "no span of a probe or a scrape");
});

test("the context is kept through a body that comes in pieces, and brings the caller's deadline", async (t) => {
  const { service } = testService(t);
  service.app.post("/work", async () => {
    const before = currentContext();
    await new Promise((resolve) => setImmediate(resolve));
    return { same: currentContext() === before, trace: before?.trace.traceId, left: remainingMs() };
  });
  await service.start();
  const body = new ReadableStream({
    async start(controller) {
      controller.enqueue(new TextEncoder().encode('{"a":'));
      await new Promise((resolve) => setImmediate(resolve));
      controller.enqueue(new TextEncoder().encode("1}"));
      controller.close();
    },
  });
  const answer = await json(await fetch(`${service.url}/work`, { method: "POST", body, duplex: "half", headers: { "content-type": "application/json", traceparent, "x-envoy-expected-rq-timeout-ms": "30000" } } as RequestInit));
  await service.stop();
  assert.equal(answer["same"], true);
  assert.equal(answer["trace"], "0af7651916cd43dd8448eb211c80319c");
  assert.ok((answer["left"] as number) > 0 && (answer["left"] as number) <= 30_000);
});

test("errors are problem documents", async (t) => {
  const { service, lines } = testService(t);
  const body = { type: "object", required: ["quantity"], additionalProperties: false, properties: { quantity: { type: "integer", minimum: 1 }, items: { type: "array", items: { type: "object", required: ["id"] } } } };
  service.app.post("/orders", { schema: { body } }, async () => ({}));
  service.app.get("/search", { schema: { querystring: { type: "object", properties: { limit: { type: "integer" } } } } }, async () => ({}));
  service.app.get("/conflict", async () => {
    throw new Problem(409, "the order was shipped already", { type: "https://shop.example/problems/shipped", title: "Already shipped", extensions: { order: 7 }, retryAfterSeconds: 3 });
  });
  service.app.get("/broken", async () => {
    throw new Error("password of the database");
  });
  await service.start();
  const post = (value: unknown) => fetch(`${service.url}/orders`, { method: "POST", headers: { "content-type": "application/json" }, body: typeof value === "string" ? value : JSON.stringify(value) });
  const documents: [Promise<Response>, number, Record<string, unknown>][] = [
    [post({}), 400, { detail: "'quantity' is required", errors: [{ detail: "is required", pointer: "#/quantity" }] }],
    [post({ quantity: 0 }), 400, { detail: "'quantity' must be >= 1", errors: [{ detail: "must be >= 1", pointer: "#/quantity" }] }],
    [post({ quantity: 1, items: [{ id: 1 }, {}] }), 400, { detail: "'items.1.id' is required", errors: [{ detail: "is required", pointer: "#/items/1/id" }] }],
    [post("{"), 400, { title: "Bad Request" }],
    [fetch(`${service.url}/search?limit=many`), 400, { detail: "query parameter 'limit' must be integer", errors: [{ detail: "must be integer", parameter: "limit", in: "query" }] }],
    [fetch(`${service.url}/conflict`), 409, { type: "https://shop.example/problems/shipped", title: "Already shipped", status: 409, detail: "the order was shipped already", instance: "/conflict", order: 7 }],
    [fetch(`${service.url}/broken`), 500, { type: "about:blank", title: "Internal Server Error", status: 500, instance: "/broken" }],
    [fetch(`${service.url}/nothing?a=1`), 404, { type: "about:blank", title: "Not Found", status: 404, detail: "nothing is at GET /nothing", instance: "/nothing" }],
  ];
  for (const [asked, status, expected] of documents) {
    const response = await asked;
    assert.equal(response.status, status);
    assert.match(response.headers.get("content-type")!, /^application\/problem\+json/);
    const document = await json(response);
    for (const [field, value] of Object.entries(expected)) assert.deepEqual(document[field], value, JSON.stringify(document));
    if (status === 500) assert.deepEqual(document, expected, "nothing of the error");
    if (status === 409) assert.equal(response.headers.get("retry-after"), "3");
  }
  await service.stop();
  const failed = lines.find(({ path }) => path === "/broken")!;
  assert.equal((failed["err"] as { message: string }).message, "password of the database");
  assert.equal(failed["level"], "error");
});

test("a client that goes away is counted as 499, and the handler is told", async (t) => {
  const { service, lines } = testService(t);
  const begun = Promise.withResolvers<void>();
  const told = Promise.withResolvers<unknown>();
  service.app.get("/slow", () => {
    const { signal } = currentContext()!;
    begun.resolve();
    return new Promise((resolve) => signal!.addEventListener("abort", () => (told.resolve(signal!.reason), resolve("late"))));
  });
  await service.start();
  const call = get(`${service.url}/slow`).on("error", () => {});
  await begun.promise;
  call.destroy();
  assert.match(String(await told.promise), /the client went away/);
  await service.stop();
  assert.equal(lines.find(({ path }) => path === "/slow")!["status"], 499);
});

test("the end comes in order: unready, answered while waiting, drained, closed from the last to the first", async (t) => {
  const clock = new FakeClock();
  const { service } = testService(t, { clock, shutdown: { endpointsMs: 5_000, deadlineMs: 60_000 } });
  const order: string[] = [];
  const release = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  service.app.get("/slow", async () => {
    begun.resolve();
    await release.promise;
    order.push("answered");
    return "done";
  });
  service.app.get("/quick", async () => "quick");
  service.loop("work", 1, (signal) => new Promise<void>((resolve) => signal.addEventListener("abort", () => (order.push("loop ended"), resolve()))));
  service.onClose("first", () => void order.push("first closed"));
  service.onClose("second", () => void order.push("second closed"));
  await service.start();
  const agent = new Agent({ keepAlive: true });
  const slow = fetch(`${service.url}/slow`).then((response) => response.text());
  await begun.promise;
  const { url } = service;
  const stopped = service.stop("test");
  assert.equal((await fetch(`${url}/ready`)).status, 503);
  const quick = await new Promise<{ status: number; connection: string | undefined }>((resolve, reject) => get(`${url}/quick`, { agent }, (response) => (response.resume(), resolve({ status: response.statusCode!, connection: response.headers.connection }))).on("error", reject));
  assert.deepEqual(quick, { status: 200, connection: "close" });
  clock.advance(5_000);
  release.resolve();
  assert.equal(await slow, "done");
  await stopped;
  agent.destroy();
  assert.deepEqual(order.filter((what) => what !== "loop ended"), ["answered", "second closed", "first closed"]);
  assert.ok(order.indexOf("loop ended") < order.indexOf("second closed"));
  await assert.rejects(fetch(`${url}/quick`));
});

test("what does not end by the deadline is cut off, and said", async (t) => {
  const { service, lines } = testService(t, { shutdown: { endpointsMs: 0, deadlineMs: 100 } });
  const begun = Promise.withResolvers<void>();
  service.app.get("/never", () => (begun.resolve(), new Promise(() => {})));
  await service.start();
  const call = fetch(`${service.url}/never`);
  await begun.promise;
  await assert.rejects(service.stop(), /ShutdownError: not ended within 100 ms: drain/);
  await assert.rejects(call);
  assert.equal(lines.find(({ msg }) => msg === "cut off")!["in_flight"], 1);
});

test("SIGTERM: the request under way is answered, the process ends with 0, and the log is whole", { timeout: 60_000 }, async () => {
  const program = `
    import { createService } from ${JSON.stringify(join(import.meta.dirname, "service.ts"))};
    const service = createService({ name: "child", host: "127.0.0.1", port: 0 });
    service.app.get("/slow", async () => { process.send("begun"); await new Promise((resolve) => process.once("message", resolve)); return "answered"; });
    await service.start();
    process.send(service.url);`;
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "--input-type=module-typescript", "-e", program], { stdio: ["ignore", "pipe", "inherit", "ipc"], env: { PATH: process.env["PATH"] } });
  const lines: { msg: string }[] = [];
  const ending = Promise.withResolvers<void>();
  createInterface(child.stdout!).on("line", (line) => {
    lines.push(JSON.parse(line) as { msg: string });
    if (lines.at(-1)!.msg === "shutting down") ending.resolve();
  });
  const exited = once(child, "close");
  try {
    const [url] = (await once(child, "message")) as [string];
    const begun = once(child, "message");
    const slow = fetch(`${url}/slow`).then((response) => response.text());
    await begun;
    child.kill("SIGTERM");
    await ending.promise;
    child.send("go on");
    assert.equal(await slow, "answered");
    assert.deepEqual((await exited).slice(0, 2), [0, null]);
    assert.deepEqual(lines.map(({ msg }) => msg), [`listening at ${url}`, "ready", "shutting down", "request", "ended"]);
  } finally {
    child.kill("SIGKILL");
  }
});
