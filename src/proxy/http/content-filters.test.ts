import assert from "node:assert/strict";
import { once } from "node:events";
import { request as requestHttp, type IncomingMessage } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import type { ContentFilter } from "../../api/traffic-content.ts";
import { systemRandom } from "../../base/random.ts";
import type { Filter, FilterTools, Handler } from "../../policy/exchange.ts";
import { filters } from "../../policy/filters/index.ts";
import { startGateway, startProgram, type TestGateway, until } from "./testing/gateway.ts";

const tools: FilterTools = { random: systemRandom, nowMs: () => performance.now(), dateMs: () => 0, setTimer: () => ({ cancel() {} }) };

/** In this order, before the upstream. */
function filtered(gateway: TestGateway, ...configs: ContentFilter[]): void {
  const forward: Handler = (exchange, outcome) => {
    exchange.upstream = "shop/web/80";
    outcome.forward(exchange);
  };
  gateway.routed.handler = configs.reduceRight((next, config) => (filters[config.type] as Filter<ContentFilter>)(config, tools)(next), forward);
}

interface Asked {
  method?: string;
  path?: string;
  body?: string | Buffer;
  chunked?: boolean;
  headers?: Record<string, string>;
}
async function ask(gateway: TestGateway, { method = "POST", path = "/", body, chunked, headers = {} }: Asked): Promise<{ status: number; body: string; headers: IncomingMessage["headers"] }> {
  const asked = requestHttp({ host: "127.0.0.1", port: gateway.port, method, path, agent: false, headers: { host: "web.example", ...(body !== undefined && !chunked && { "content-length": String(Buffer.byteLength(body)) }), ...headers } });
  asked.on("error", () => {});
  asked.end(body);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return { status: answer.statusCode!, body: await text(answer), headers: answer.headers };
}
async function askHttp2(gateway: TestGateway, { method = "POST", path = "/", body, headers = {} }: Asked): Promise<{ status: number; body: string; headers: Record<string, unknown> }> {
  const session = connectHttp2(`http://127.0.0.1:${gateway.port}`);
  try {
    const stream = session.request({ ":path": path, ":method": method, ":authority": "web.example", ...headers });
    stream.end(body);
    const [answer] = (await once(stream, "response")) as [Record<string, unknown>];
    return { status: Number(answer[":status"]), body: await text(stream), headers: answer };
  } finally {
    session.destroy();
  }
}
const json = { "content-type": "application/json" };

test("a body that is not as the schema says is answered with what is wrong, and never sent on; one on trial is, and the log says so", async () => {
  const got: string[] = [];
  await using program = await startProgram((request, response) => void text(request).then((body) => (got.push(body), response.end("ok"))));
  await using gateway = startGateway([program.port]);
  const schema = { type: "object", required: ["sku"], properties: { sku: { type: "string" }, count: { type: "integer", minimum: 1 } } };
  const config = { type: "validate", body: { content: { "application/json": schema } }, parameters: [{ in: "query", name: "page", schema: { type: "integer" } }] } satisfies ContentFilter;
  filtered(gateway, config);
  for (const chunked of [false, true]) assert.equal((await ask(gateway, { body: '{"sku":"a"}', chunked, headers: json })).body, "ok");
  for (const asking of [ask, askHttp2]) {
    const answer = await asking(gateway, { path: "/?page=x", body: '{"count":0}', headers: json });
    assert.deepEqual([answer.status, answer.headers["content-type"]], [400, "application/problem+json"]);
    assert.deepEqual(JSON.parse(answer.body), {
      type: "about:blank",
      title: "Bad Request",
      status: 400,
      detail: "the request is not as its API describes it: 3 errors",
      errors: [
        { in: "query", name: "page", value: "x", detail: "must be an integer" },
        { in: "body", pointer: "#/sku", detail: "is required" },
        { in: "body", pointer: "#/count", value: 0, detail: "must be at least 1" },
      ],
    });
  }
  filtered(gateway, { ...config, dryRun: true });
  assert.equal((await askHttp2(gateway, { body: '{"count":0}', headers: json })).body, "ok");
  assert.deepEqual(got, ['{"sku":"a"}', '{"sku":"a"}', '{"count":0}']);
  await until(() => gateway.lines.length === 5);
  assert.deepEqual(gateway.lines.map(({ status, flag, notes }) => [status, flag ?? "", notes ?? ""]), [
    [200, "", ""],
    [200, "", ""],
    [400, "RV", ""],
    [400, "RV", ""],
    [200, "", "RV would refuse with 400: body #/sku: is required"],
  ]);
});

test("rules look into bodies of both protocols before a byte of them goes on", async () => {
  let got = 0;
  await using program = await startProgram((_request, response) => (got++, response.end("ok")));
  await using gateway = startGateway([program.port]);
  filtered(gateway, { type: "requestRules", bodyBytesMax: 1000, rules: [{ name: "script", deny: { in: ["body", "headers"], pattern: "<script" } }, { name: "head", max: { headers: 8 } }] });
  for (const asking of [ask, askHttp2]) {
    assert.equal((await asking(gateway, { body: "fine" })).body, "ok");
    assert.deepEqual([(await asking(gateway, { body: '{"a":"\\u003cscript>"}' })).status, (await asking(gateway, { body: "x", headers: { "x-a": "<script" } })).status], [403, 403]);
    assert.equal((await asking(gateway, { body: "x".repeat(1001) })).status, 413);
    assert.equal((await asking(gateway, { body: "x", headers: Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`x-${i}`, "1"])) })).status, 431);
  }
  assert.equal(got, 2);
});

test("templates make what goes on and what comes back, for both protocols; what fails tells nobody of its insides", async () => {
  const got: string[] = [];
  await using program = await startProgram((request, response) => {
    void text(request).then((body) => {
      got.push(`${request.method} ${request.headers["content-length"] ?? ""} ${request.headers["x-by"] ?? ""} ${request.headers["accept-encoding"] ?? ""} ${body}`);
      response.setHeader("ETag", '"1"');
      if (request.url === "/packed") response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("{}"));
      else if (request.url === "/long") response.end(JSON.stringify("x".repeat(3000)));
      else if (request.url === "/wrong") response.end("not JSON");
      else response.writeHead(request.url === "/gone" ? 410 : 200, { "content-type": "application/json" }).end('{"name":"Ann","secret":1}');
    });
  });
  await using gateway = startGateway([program.port]);
  filtered(
    gateway,
    { type: "requestTemplate", passthrough: "never", templates: { "application/json": `#set($context.requestOverride.header.x-by = "$context.identity.sourceIp"){"user":$input.json('$.name')}` } },
    { type: "responseTemplate", bytesMax: 2000, responses: [{ pattern: "41.", status: 404 }, { templates: { "application/json": `#set($context.responseOverride.header.x-made = "yes"){"greeting":"Hello $input.path('$.name')"}` } }] },
  );
  for (const asking of [ask, askHttp2]) {
    const answer = await asking(gateway, { body: '{"name":"Bob"}', headers: { ...json, "accept-encoding": "gzip" } });
    assert.deepEqual([answer.status, answer.body, answer.headers["x-made"], answer.headers["etag"], answer.headers["content-type"]], [200, '{"greeting":"Hello Ann"}', "yes", undefined, "application/json"]);
    const gone = await asking(gateway, { path: "/gone", body: "{}", headers: json });
    assert.deepEqual([gone.status, gone.body], [404, '{"name":"Ann","secret":1}']);
    for (const path of ["/packed", "/long", "/wrong"]) {
      const failed = await asking(gateway, { path, body: "{}", headers: json });
      assert.equal(failed.status, 500, path);
      if (path === "/wrong") assert.equal(failed.body, "the answer could not be transformed\n");
    }
    const head = await asking(gateway, { method: "HEAD", headers: json });
    assert.deepEqual([head.status, head.body, head.headers["x-made"]], [200, "", "yes"]);
    // What a client sends wrong is not the gateway's failure.
    const broken = await asking(gateway, { body: '{"name":', headers: json });
    assert.deepEqual([broken.status, broken.body], [400, "the body is not JSON\n"]);
  }
  assert.deepEqual(got.slice(0, 2), ['POST 14 127.0.0.1  {"user":"Bob"}', 'POST 11 127.0.0.1  {"user":""}']);
  await until(() => gateway.lines.length === 14);
  assert.equal(gateway.lines.filter(({ flag }) => flag === "TF").length, 8);
  assert.equal(gateway.lines.filter(({ notes }) => notes === "the template failed: line 1: $input: the body is not JSON").length, 2);
  assert.ok(gateway.policy.running === 0);
});
