import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttp2, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { createServer as createTcp, type Socket } from "node:net";
import { buffer, text } from "node:stream/consumers";
import { test } from "node:test";
import type { HttpFilter } from "../../api/traffic.ts";
import { seededRandom, systemRandom } from "../../base/random.ts";
import { decodeCheck, encodeCheck } from "../../policy/ext-auth/check.ts";
import { type ProtobufField, ProtobufWriter, readProtobuf } from "../../policy/ext-auth/protobuf.ts";
import type { FilterTools, Handler } from "../../policy/exchange.ts";
import { extAuth } from "../../policy/filters/ext-auth.ts";
import { requestView } from "../../policy/testing/request.ts";
import { startGateway, startProgram, type TestGateway, TurnPolicy } from "./testing/gateway.ts";

type Config = Extract<HttpFilter, { type: "extAuth" }>;

/** A gateway whose requests are judged by whoever listens at `port`, and a program behind it that says what it got. */
async function judgedBy(port: number | undefined, config: Partial<Config>): Promise<{ gateway: TestGateway; auth: TurnPolicy; asked: () => number; ask(request: string): Promise<{ status: number; head: string; body: string; header(name: string): string | undefined }> } & AsyncDisposable> {
  let asked = 0;
  const program = await startProgram((request, response) => void text(request).then((body) => {
    asked++;
    response.setHeader("x-own", "program").end(JSON.stringify({ url: request.url, headers: request.headers, body }));
  }));
  const gateway = startGateway([program.port]);
  const auth = new TurnPolicy();
  if (port !== undefined) auth.update([{ ip: "127.0.0.1", port, key: `127.0.0.1:${port}` }]);
  gateway.engine.putUpstream({ id: "auth", http2: config.protocol === "grpc", connectMs: 1_000, idleMs: 30_000 }, auth);
  const tools: FilterTools = { random: systemRandom, nowMs: () => performance.now(), dateMs: () => 1_700_000_000_500, setTimer: () => ({ cancel() {} }), call: (request, then) => gateway.engine.call(request, then) };
  const forward: Handler = (exchange, outcome) => {
    exchange.upstream = "shop/web/80";
    outcome.forward(exchange);
  };
  gateway.routed.handler = extAuth({ type: "extAuth", upstreams: [{ upstream: "auth", weight: 1 }], protocol: "http", timeoutMs: 10_000, ...config }, tools)(forward);
  return {
    gateway,
    auth,
    asked: () => asked,
    async ask(request) {
      const client = await gateway.open();
      client.send(request.replaceAll("\n", "\r\n"));
      const answer = await client.answer({ isHead: request.startsWith("HEAD") });
      client.socket.destroy();
      return answer;
    },
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      await program[Symbol.asyncDispose]();
    },
  };
}
const get = (path = "/a?x=1", headers = ""): string => `GET ${path} HTTP/1.1\nHost: shop.example:8080\n${headers}\n`;

test("over HTTP: what is asked, and what of the answer goes where", async () => {
  const heard: string[] = [];
  await using service = await startProgram((request, response) => void text(request).then((body) => {
    heard.push(`${request.method} ${request.url} ${request.headers.host} ${JSON.stringify({ ...request.headers, host: undefined, connection: undefined })} ${body}`);
    response.setHeader("X-User", "ann").setHeader("X-Secret", "inner").setHeader("Set-Cookie", "a=1").end("ignored");
  }));
  await using stack = await judgedBy(service.port, { pathPrefix: "/check/", headers: ["X-Tenant", "x-forwarded-for"], headersToBackend: ["X-User", "X-Role"], bodyBytesMax: 100 });
  const answer = await stack.ask("POST /a?x=1 HTTP/1.1\nHost: shop.example\nContent-Length: 4\nAuthorization: Bearer t\nX-Tenant: blue\nX-Other: o\nX-User: root\nX_Role: admin\nX-Forwarded-For: 10.9.9.9\n\nbody");
  assert.equal(answer.status, 200);
  assert.deepEqual(heard, ['POST /check/a?x=1 shop.example {"authorization":"Bearer t","x-tenant":"blue","x-forwarded-for":"127.0.0.1","content-length":"4"} body']);
  const got = JSON.parse(answer.body) as { headers: Record<string, string>; body: string };
  // The client's own are gone, also those that backends take for the same, and one that the service did not set this time.
  assert.deepEqual([got.headers["x-user"], got.headers["x-role"], got.headers["x_role"], got.headers["x-secret"], got.headers["x-other"], got.body], ["ann", undefined, undefined, undefined, "o", "body"]);
  assert.equal(answer.header("x-secret"), undefined);
  assert.equal(answer.header("set-cookie"), undefined);
});

test("over HTTP: a path of its own, and no body", async () => {
  const heard: string[] = [];
  await using service = await startProgram((request, response) => {
    heard.push(`${request.method} ${request.url} ${request.headers["content-length"]} ${request.headers["x-a"]}`);
    response.end();
  });
  await using stack = await judgedBy(service.port, { pathOverride: "/auth" });
  assert.equal((await stack.ask("PUT /a?x=1 HTTP/1.1\nHost: h\nContent-Length: 4\nX-A: 1\n\nbody")).status, 200);
  assert.equal((await stack.ask("HEAD /b HTTP/1.1\nHost: h\n\n")).status, 200);
  assert.deepEqual(heard, ["PUT /auth 0 undefined", "HEAD /auth undefined undefined"]);
});

test("over HTTP: whatever is not 200 goes to the client as it is; its framing is ours", async () => {
  await using service = await startProgram((request, response) => {
    const status = Number(request.url!.slice(1));
    response.writeHead(status, { Location: "https://login.example/", "Set-Cookie": ["a=1", "b=2"], "WWW-Authenticate": "Basic", "Content-Type": "text/x", Connection: "close" }).end(status === 204 || status === 304 ? undefined : `says ${status}`);
  });
  await using stack = await judgedBy(service.port, {});
  for (const status of [201, 204, 302, 304, 401, 403, 404, 429]) {
    const answer = await stack.ask(get(`/${status}`));
    assert.deepEqual([answer.status, answer.body, answer.header("location"), answer.header("www-authenticate")], [status, status === 204 || status === 304 ? "" : `says ${status}`, "https://login.example/", "Basic"], String(status));
    assert.equal(answer.head.match(/^set-cookie: /gim)?.length, 2);
  }
  assert.equal(stack.asked(), 0);
});

const clientOfGrpc = "POST /shop.Users/Get HTTP/1.1\nHost: h\nContent-Type: application/grpc\nTE: trailers\nContent-Length: 0\n\n";
test("a gRPC client is denied in its own words", async () => {
  await using service = await startProgram((_request, response) => response.writeHead(401, { "X-Why": "because" }).end("no"));
  await using stack = await judgedBy(service.port, {});
  const answer = await stack.ask(clientOfGrpc);
  assert.deepEqual([answer.status, answer.header("grpc-status"), answer.header("x-why"), answer.header("content-type"), answer.body], [200, "16", "because", "application/grpc", ""]);
});

test("a body that is longer than may be told: 413, and nobody is asked", async () => {
  let heard = 0;
  await using service = await startProgram((_request, response) => void (heard++, response.end()));
  await using stack = await judgedBy(service.port, { bodyBytesMax: 3 });
  assert.equal((await stack.ask("POST /a HTTP/1.1\nHost: h\nContent-Length: 4\n\nbody")).status, 413);
  assert.equal((await stack.ask("POST /a HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n4\nbody\n0\n\n")).status, 413);
  assert.deepEqual([heard, stack.asked()], [0, 0]);
});

/** What whoever is asked does → the client's answer, closed, with a status of its own, and open. */
const failures: { name: string; serve?(socket: Socket): void; config?: Partial<Config> }[] = [
  { name: "nobody is there" },
  { name: "it hangs", serve() {}, config: { timeoutMs: 50 } },
  { name: "it breaks", serve: (socket) => void socket.once("data", () => socket.destroy()) },
  { name: "it answers 500", serve: (socket) => void socket.once("data", () => socket.end("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno")) },
  { name: "it answers 503", serve: (socket) => void socket.once("data", () => socket.end("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")) },
  { name: "it ends within its answer", serve: (socket) => void socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok")) },
  { name: "it does not speak HTTP", serve: (socket) => void socket.once("data", () => socket.end("220 smtp.example ESMTP\r\n")) },
  { name: "it switches protocols", serve: (socket) => void socket.once("data", () => socket.end("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")) },
];
for (const protocol of ["http", "grpc"] as const) {
  for (const { name, serve, config } of failures) {
    test(`over ${protocol}, ${name}: nothing goes, unless it fails open`, async () => {
      const sockets = new Set<Socket>();
      const server = createTcp((socket) => {
        sockets.add(socket.on("error", () => {}));
        serve?.(socket);
      }).listen(0, "127.0.0.1");
      await once(server, "listening");
      const port = serve && (server.address() as { port: number }).port;
      for (const [more, status, went] of [[{}, 403, 0], [{ statusOnError: 503 }, 503, 0], [{ failOpen: true }, 200, 1]] as const) {
        await using stack = await judgedBy(port, { protocol, ...config, ...more });
        const answer = await stack.ask(get("/a", "X-User: root\n"));
        assert.deepEqual([answer.status, stack.asked()], [status, went]);
        assert.equal(stack.auth.running, 0);
      }
      // Also open, nobody says for himself what the service would say.
      await using stack = await judgedBy(port, { protocol: "http", ...config, failOpen: true, headersToBackend: ["x-user"] });
      assert.equal((JSON.parse((await stack.ask(get("/a", "X-User: root\n"))).body) as { headers: Record<string, string> }).headers["x-user"], undefined);
      for (const socket of sockets) socket.destroy();
      server.close();
    });
  }
}

test("the client goes away while somebody is asked: nothing is left", async () => {
  const asked = Promise.withResolvers<void>();
  await using service = await startProgram(() => asked.resolve());
  await using stack = await judgedBy(service.port, {});
  const client = await stack.gateway.open();
  client.send(get().replaceAll("\n", "\r\n"));
  await asked.promise;
  client.socket.destroy();
  while (stack.auth.running > 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(stack.asked(), 0);
});

/** An Authorization service that says what it got and answers with these bytes. */
async function startGrpc(answer: (request: Map<string, string>) => { message?: Buffer; frame?: Buffer; headers?: Record<string, string>; trailers?: Record<string, string> }): Promise<{ port: number; heard: Map<string, string>[] } & AsyncDisposable> {
  const heard: Map<string, string>[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const server = createHttp2().on("session", (session) => sessions.add(session)).on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    void buffer(stream).then((body) => {
      const request = new Map([["path", String(headers[":path"])], ["type", String(headers["content-type"])], ["te", String(headers.te)], ...(body.length >= 5 ? flat(body.subarray(5)) : [])]);
      heard.push(request);
      const { message = Buffer.alloc(0), frame, headers: more, trailers = { "grpc-status": "0" } } = answer(request);
      if (stream.destroyed) return;
      const size = Buffer.alloc(5);
      size.writeUInt32BE(message.length, 1);
      stream.respond({ ":status": 200, "content-type": "application/grpc", ...more }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      stream.end(frame ?? Buffer.concat([size, message]));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    heard,
    port: (server.address() as { port: number }).port,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
/** "4.2.2" → "GET": by field numbers; of maps "4.2.3.NAME". */
function flat(message: Uint8Array, prefix = ""): [string, string][] {
  const texts = new Set(["1.1.1.1.2", "1.4.2.1", "1.4.2.2", "1.4.2.4", "1.4.2.5", "1.4.2.6", "1.4.2.10", "1.4.2.11", "1.4.2.12"]);
  const isMap = (path: string): boolean => path === "1.4.2.3" || path === "1.10";
  return [...readProtobuf(message)].flatMap((field: ProtobufField): [string, string][] => {
    const path = `${prefix}${field.number}`;
    if (!field.bytes) return [[path, String(field.integer)]];
    if (texts.has(path)) return [[path, field.bytes.toString("latin1")]];
    if (isMap(path)) {
      const [key, value] = [...readProtobuf(field.bytes)];
      return [[`${path}.${key!.bytes!.toString()}`, value?.bytes?.toString() ?? ""]];
    }
    return flat(field.bytes, `${path}.`);
  });
}
const option = (name: string, value: string, isAdded = false) => (inner: ProtobufWriter): void => {
  inner.message(1, (header) => void header.text(1, name).text(2, value));
  if (isAdded) inner.message(2, (append) => void append.integer(1, 1));
};
const allowed = (write: (ok: ProtobufWriter) => void): Buffer => new ProtobufWriter().message(1, () => {}).message(3, write).done();
const denied = (code: number, write?: (no: ProtobufWriter) => void): Buffer => {
  const message = new ProtobufWriter().message(1, (status) => void status.integer(1, code).text(2, "not you"));
  if (write) message.message(2, write);
  return message.done();
};

test("over gRPC: what is told, and what an answer does to the request and to the client's answer", async () => {
  await using service = await startGrpc(() => ({
    message: allowed((ok) => {
      ok.message(2, option("X-User", "ann")).message(2, option("x-tag", "two", true)).text(5, "x-secret").text(5, "cookie").message(6, option("x-limit", "7"));
      ok.message(7, (query) => void query.text(1, "tenant").text(2, "blue & green")).text(8, "token");
    }),
  }));
  await using stack = await judgedBy(service.port, { protocol: "grpc", context: { team: "shop" }, bodyBytesMax: 100 });
  const answer = await stack.ask("POST /a?token=t&y=1 HTTP/1.1\nHost: shop.example\nContent-Length: 4\nX-Tag: one\nX-User: root\nX-Secret: s\nCookie: a=1\nX-Forwarded-For: 10.9.9.9\n\nbody");
  assert.equal(answer.status, 200);
  const [told] = service.heard;
  const expected = { path: "/envoy.service.auth.v3.Authorization/Check", type: "application/grpc", te: "trailers", "1.1.1.1.2": "127.0.0.1", "1.4.1.1": "1700000000", "1.4.1.2": "500000000", "1.4.2.2": "POST", "1.4.2.4": "/a?token=t&y=1", "1.4.2.5": "shop.example", "1.4.2.6": "http", "1.4.2.9": "4", "1.4.2.11": "body", "1.4.2.3.x-user": "root", "1.4.2.3.:path": "/a?token=t&y=1", "1.4.2.3.x-forwarded-for": "127.0.0.1", "1.10.team": "shop" };
  for (const [path, value] of Object.entries(expected)) assert.equal(told!.get(path), value, path);
  const got = JSON.parse(answer.body) as { url: string; headers: Record<string, string> };
  assert.deepEqual([got.url, got.headers["x-user"], got.headers["x-tag"], got.headers["x-secret"], got.headers.cookie], ["/a?y=1&tenant=blue+%26+green", "ann", "one, two", undefined, undefined]);
  assert.equal(answer.header("x-limit"), "7");
});

test("over gRPC: only the headers that are named; bytes that are no text", async () => {
  await using service = await startGrpc(() => ({ message: allowed(() => {}) }));
  await using stack = await judgedBy(service.port, { protocol: "grpc", headers: ["X-A"], bodyBytesMax: 10 });
  assert.equal((await stack.ask("POST / HTTP/1.1\nHost: h\nContent-Length: 2\nX-A: 1\nX-B: 2\n\n\xff\xfe")).status, 200);
  assert.deepEqual([...service.heard[0]!.keys()].filter((path) => path.startsWith("1.4.2.3.")), ["1.4.2.3.x-a"]);
  assert.deepEqual([service.heard[0]!.get("1.4.2.11"), service.heard[0]!.get("1.4.2.12")], [undefined, "\xff\xfe"]);
});

/** What comes back → status and body; "went" is the program's. */
const outcomes: { name: string; answer: Parameters<typeof startGrpc>[0]; status: number; body?: string; header?: [string, string] }[] = [
  { name: "OK alone", answer: () => ({ message: Buffer.alloc(0) }), status: 200 },
  { name: "denied, and nothing else", answer: () => ({ message: denied(7) }), status: 403, body: "" },
  { name: "denied with an answer", answer: () => ({ message: denied(16, (no) => void no.message(1, (status) => void status.integer(1, 401)).message(2, option("www-authenticate", "Bearer")).text(3, "who?")) }), status: 401, body: "who?", header: ["www-authenticate", "Bearer"] },
  { name: "a redirect", answer: () => ({ message: denied(16, (no) => void no.message(1, (status) => void status.integer(1, 302)).message(2, option("location", "https://login.example/"))) }), status: 302, header: ["location", "https://login.example/"] },
  { name: "denied with a status that is none", answer: () => ({ message: denied(7, (no) => void no.message(1, (status) => void status.integer(1, 99))) }), status: 403 },
  // An OK beside a denial counts for nothing.
  { name: "denied with headers for the request", answer: () => ({ message: Buffer.concat([denied(7), new ProtobufWriter().message(3, (ok) => void ok.message(2, option("x", "y"))).done()]) }), status: 403 },
  { name: "the call fails", answer: () => ({ trailers: { "grpc-status": "14", "grpc-message": "later" } }), status: 403 },
  { name: "no status", answer: () => ({ message: allowed(() => {}), trailers: {} }), status: 403 },
  { name: "bytes that are no message", answer: () => ({ message: Buffer.from("0aff01", "hex") }), status: 403 },
  { name: "half a frame", answer: () => ({ frame: Buffer.from([0, 0, 0, 0, 9, 1, 2]) }), status: 403 },
  { name: "two frames", answer: () => ({ frame: Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), Buffer.from([0, 0, 0, 0, 0])]) }), status: 403 },
  { name: "a compressed frame", answer: () => ({ frame: Buffer.from([1, 0, 0, 0, 0]) }), status: 403 },
  { name: "a header that would end the head", answer: () => ({ message: allowed((ok) => void ok.message(2, option("x-a", "1\r\nX-Evil: 1"))) }), status: 403 },
  { name: "a header that frames", answer: () => ({ message: allowed((ok) => void ok.message(2, option("Transfer-Encoding", "chunked"))) }), status: 403 },
  { name: "another host", answer: () => ({ message: allowed((ok) => void ok.message(2, option("Host", "evil"))) }), status: 403 },
  { name: "another path", answer: () => ({ message: allowed((ok) => void ok.message(2, option(":path", "/admin"))) }), status: 403 },
  { name: "an action that is not honoured", answer: () => ({ message: allowed((ok) => void ok.message(2, (inner) => void inner.message(1, (header) => void header.text(1, "x").text(2, "y")).integer(3, 1))) }), status: 403 },
];
for (const { name, answer, status, body, header } of outcomes) {
  test(`over gRPC, ${name}: ${status}`, async () => {
    await using service = await startGrpc(answer);
    await using stack = await judgedBy(service.port, { protocol: "grpc" });
    const got = await stack.ask(get());
    assert.equal(got.status, status);
    assert.equal(stack.asked(), status === 200 ? 1 : 0);
    if (body !== undefined) assert.equal(got.body, body);
    if (header) assert.equal(got.header(header[0]), header[1]);
  });
}

test("a request as its bytes, written down by hand from the definitions", () => {
  const bytes = encodeCheck({ request: requestView({ method: "GET", host: "h", target: "/p", client: "1.2.3.4", port: 80 }), headers: [["a", "b"]], body: undefined, context: {}, now: 1_000 });
  const source = "0a0d0a0b0a091207312e322e332e34";
  const destination = "12060a040a021850";
  const http = "1203474554 1a060a0161120162 22022f70 2a0168 320468747470 5208485454502f312e31".replaceAll(" ", "");
  assert.equal(bytes.toString("hex"), `00000000450a43${source}${destination}222a0a0208011224${http}`);
});

test("random answers are read, or refused in words", () => {
  const random = seededRandom(7);
  for (let round = 0; round < 5_000; round++) {
    const message = Buffer.from(Array.from({ length: Math.floor(random.next() * 40) }, () => Math.floor(random.next() * 256)));
    const frame = Buffer.alloc(5);
    frame.writeUInt32BE(message.length, 1);
    try {
      const { code, status } = decodeCheck(Buffer.concat([frame, message]));
      assert.ok(Number.isFinite(code) && Number.isFinite(status));
    } catch (error) {
      assert.match((error as Error).message, /message|append_action|encoded data/);
    }
  }
});
