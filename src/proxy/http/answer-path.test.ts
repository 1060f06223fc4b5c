import assert from "node:assert/strict";
import { once } from "node:events";
import { request as requestHttp, type IncomingMessage } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { AnswerFilter, AnswerHead, Exchange } from "../../policy/exchange.ts";
import { limits } from "../../base/limits.ts";
import { startGateway, startProgram, type TestGateway, until } from "./testing/gateway.ts";

/** Holds an answer back until it is whole, and gives another body. `later`: out of the upstream's turn. */
const replaced = (change: (body: string, head: AnswerHead) => string, later = false): AnswerFilter => (_response, next) => {
  let head: AnswerHead;
  let body = "";
  return {
    isBlocked: false,
    begin: (given) => void (head = given),
    content: (bytes) => void (body += Buffer.from(bytes).toString("latin1")),
    end: (trailers) => {
      const go = () => {
        const changed = Buffer.from(change(body, head), "latin1");
        next.begin({ ...head, length: changed.length });
        next.content(changed);
        next.end(trailers);
      };
      if (later) setImmediate(go);
      else go();
    },
    fail: next.fail,
  };
};

function filtered(gateway: TestGateway, ...filters: AnswerFilter[]): void {
  gateway.routed.handler = (exchange, outcome) => {
    for (const filter of filters) exchange.takeAnswer(filter);
    exchange.upstream = "shop/web/80";
    outcome.forward(exchange);
  };
}

async function ask(gateway: TestGateway, options: { method?: string; path?: string; body?: string; chunked?: boolean; headers?: Record<string, string> } = {}): Promise<{ status: number; body: string; headers: IncomingMessage["headers"] }> {
  const { method = "GET", path = "/", body, chunked } = options;
  const asked = requestHttp({ host: "127.0.0.1", port: gateway.port, method, path, agent: false, headers: { host: "web.example", ...(body !== undefined && !chunked && { "content-length": String(Buffer.byteLength(body)) }), ...options.headers } });
  // What breaks after the head is told by the answer as well.
  asked.on("error", () => {});
  if (chunked) for (const piece of body!.match(/.{1,1000}/gs)!) asked.write(piece);
  asked.end(chunked ? undefined : body);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return { status: answer.statusCode!, body: await text(answer), headers: answer.headers };
}
async function askHttp2(gateway: TestGateway, path = "/", method = "GET"): Promise<{ status: number; body: string; headers: Record<string, unknown> }> {
  const session = connectHttp2(`http://127.0.0.1:${gateway.port}`);
  try {
    const stream = session.request({ ":path": path, ":method": method, ":authority": "web.example" });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    return { status: Number(headers[":status"]), body: await text(stream), headers };
  } finally {
    session.destroy();
  }
}

test("an answer is changed on its way, at once or later, for clients of both protocols; its trailers, cookies and edits stay", async () => {
  await using program = await startProgram((request, response) => {
    response.setHeader("Set-Cookie", ["a=1", "b=2"]);
    response.setHeader("X-Old", "gone by the rule");
    if (request.url === "/length") response.setHeader("Content-Length", "5");
    response.end("hello");
  });
  await using gateway = startGateway([program.port]);
  for (const later of [false, true]) {
    const upper = replaced((body) => `${body.toUpperCase()}!`, later);
    gateway.routed.handler = (exchange, outcome) => {
      exchange.takeAnswer(upper);
      exchange.responseHeaders = { remove: ["x-old"], set: [["x-set", "1"]], add: [] };
      exchange.upstream = "shop/web/80";
      outcome.forward(exchange);
    };
    for (const path of ["/length", "/chunked"]) {
      const answer = await ask(gateway, { path });
      assert.deepEqual([answer.status, answer.body, answer.headers["content-length"], answer.headers["set-cookie"], answer.headers["x-old"], answer.headers["x-set"]], [200, "HELLO!", "6", ["a=1", "b=2"], undefined, "1"]);
      const second = await askHttp2(gateway, path);
      assert.deepEqual([second.status, second.body, second.headers["content-length"], second.headers["set-cookie"], second.headers["x-old"], second.headers["x-set"]], [200, "HELLO!", "6", ["a=1", "b=2"], undefined, "1"]);
    }
    const head = await ask(gateway, { method: "HEAD", path: "/length" });
    assert.deepEqual([head.status, head.body], [200, ""]);
    const second = await askHttp2(gateway, "/length", "HEAD");
    assert.deepEqual([second.status, second.body], [200, ""]);
  }
  await until(() => gateway.lines.length === 12);
  assert.ok(gateway.policy.running === 0);
});

test("who asks first is nearest to the client; who declines is not there; what is made here is seen as such", async () => {
  await using program = await startProgram((_request, response) => response.end("x"));
  await using gateway = startGateway([program.port]);
  const seen: string[] = [];
  filtered(
    gateway,
    replaced((body) => `${body}-first`),
    (response) => void seen.push(`${response.status} ${response.isLocal ?? false} ${response.header("x-none")}`),
    replaced((body) => `${body}-second`),
  );
  assert.equal((await ask(gateway)).body, "x-second-first");
  gateway.policy.update([]);
  const answer = await ask(gateway);
  assert.deepEqual([answer.status, answer.body], [503, "nobody is there\n-second-first"]);
  assert.deepEqual(seen, ["200 false undefined", "503 true undefined"]);
});

test("one that cannot bring it to its end: an answer as long as none has begun, else the connection breaks", async () => {
  await using program = await startProgram((request, response) => {
    response.write("some");
    if (request.url === "/broken") setImmediate(() => response.destroy());
    else response.end();
  });
  await using gateway = startGateway([program.port]);
  filtered(gateway, (_response, next) => ({ isBlocked: false, begin() {}, content() {}, end: () => next.fail("UPE", "what came cannot be read"), fail: next.fail }));
  const refused = await ask(gateway);
  assert.deepEqual([refused.status, refused.body], [502, "what came cannot be read\n"]);
  // Held back, a break further up is an answer as well.
  filtered(gateway, replaced((body) => body));
  assert.equal((await ask(gateway, { path: "/broken" })).status, 503);
  filtered(gateway, (_response, next) => ({ isBlocked: false, begin: next.begin, content: next.content, end: () => next.fail("UPE", "too late"), fail: next.fail }));
  await assert.rejects(ask(gateway), { code: "ECONNRESET" });
  await until(() => gateway.lines.length === 3);
  assert.deepEqual(gateway.lines.map(({ flag }) => flag), ["UPE", "UC", "UPE"]);
});

test("a filter that is blocked holds its upstream up, and lets it go on", async () => {
  const whole = "0123456789abcdef".repeat(256 * 1024);
  await using program = await startProgram((_request, response) => response.end(whole));
  await using gateway = startGateway([program.port]);
  let waiting = 0;
  let waitingMax = 0;
  filtered(gateway, (_response, next, drained) => ({
    get isBlocked() {
      return waiting > 0;
    },
    begin: next.begin,
    content: (bytes) => {
      const copy = Buffer.from(bytes);
      waiting += copy.length;
      waitingMax = Math.max(waitingMax, waiting);
      setImmediate(() => {
        waiting -= copy.length;
        next.content(copy);
        if (waiting === 0) drained();
      });
    },
    end: (trailers) => void setImmediate(() => setImmediate(() => next.end(trailers))),
    fail: next.fail,
  }));
  const { body } = await ask(gateway);
  assert.ok(body === whole);
  assert.ok(waitingMax < whole.length / 4, `${waitingMax} bytes were held`);
});

test("a request's body is read whole, and may be another when it goes on", async () => {
  const got: string[] = [];
  await using program = await startProgram((request, response) => void text(request).then((body) => (got.push(`${request.headers["content-length"]} ${request.headers["transfer-encoding"]} ${body.length}`), response.end(body))));
  await using gateway = startGateway([program.port]);
  const read = (then: (exchange: Exchange, body: Uint8Array) => void) => {
    gateway.routed.handler = (exchange, outcome) =>
      exchange.readBody(200_000, (body) => {
        then(exchange, body);
        exchange.upstream = "shop/web/80";
        outcome.forward(exchange);
      });
  };
  read(() => {});
  const long = "x".repeat(200_000);
  assert.equal((await ask(gateway, { method: "POST", body: long })).body, long);
  assert.equal((await ask(gateway, { method: "POST", body: long, chunked: true })).body, long);
  assert.equal((await ask(gateway, { method: "POST", body: "short", headers: { expect: "100-continue" } })).body, "short");
  assert.equal((await ask(gateway, { method: "GET" })).body, "");
  read((exchange, body) => exchange.replaceBody(Buffer.from(`[${Buffer.from(body).toString()}]`)));
  assert.equal((await ask(gateway, { method: "POST", body: "one" })).body, "[one]");
  assert.equal((await ask(gateway, { method: "POST", body: "two", chunked: true })).body, "[two]");
  assert.equal((await ask(gateway)).body, "[]");
  assert.deepEqual(got, ["200000 undefined 200000", "undefined chunked 200000", "5 undefined 5", "undefined undefined 0", "5 undefined 5", "5 undefined 5", "2 undefined 2"]);
  for (const chunked of [false, true]) assert.equal((await ask(gateway, { method: "POST", body: `${long}x`, chunked })).status, 413);
});

test("what is held is counted for all requests together, and given back", async () => {
  await using program = await startProgram((request, response) => void text(request).then(() => response.end("ok")));
  await using gateway = startGateway([program.port]);
  gateway.routed.handler = (exchange, outcome) => {
    exchange.upstream = "shop/web/80";
    exchange.readBody(1_000, () => outcome.forward(exchange));
  };
  assert.ok(gateway.engine.hold(limits.gatewayHeldBytesMax - 10));
  const refused = await ask(gateway, { method: "POST", body: "more than ten bytes" });
  assert.deepEqual([refused.status, refused.body], [503, "too many bodies are held here\n"]);
  assert.equal((await ask(gateway, { method: "POST", body: "few" })).status, 200);
  assert.ok(gateway.engine.hold(10));
  assert.ok(!gateway.engine.hold(1));
});

test("a client that leaves while its answer is held back leaves nothing behind", async () => {
  await using program = await startProgram((_request, response) => response.end("x"));
  await using gateway = startGateway([program.port]);
  let go: (() => void) | undefined;
  filtered(gateway, (_response, next) => {
    let head: AnswerHead;
    return { isBlocked: false, begin: (given) => void (head = given), content() {}, end: () => void (go = () => (next.begin(head), next.end())), fail: next.fail };
  });
  const client = await gateway.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => go !== undefined);
  client.socket.destroy();
  await until(() => gateway.lines.length === 1);
  go!();
  assert.deepEqual([gateway.lines[0]!["flag"], gateway.engine.counters.requestsRunning, gateway.policy.running], ["DC", 0, 0]);
});
