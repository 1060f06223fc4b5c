import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import type { IncomingMessage } from "node:http";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { authority, certificateFor } from "./testing/certificates.ts";
import { startGateway, startProgram, until, type TestGateway } from "./testing/gateway.ts";
import { startTls } from "./testing/tls-gateway.ts";
import { ListenerCertificates } from "./tls.ts";

const pair = certificateFor(["web.example"]);
const certificates = new Map([["*", new ListenerCertificates({ mode: "terminate", certificates: [{ certificate: pair.cert, key: pair.key }] })]]);

async function open(port: number): Promise<ClientHttp2Session & AsyncDisposable> {
  const session = connect(`https://127.0.0.1:${port}`, { ca: authority.cert, servername: "web.example" });
  session.on("error", () => {});
  await once(session, "connect");
  return Object.assign(session, { [Symbol.asyncDispose]: async () => session.destroy() });
}
async function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders, body?: Buffer): Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer; trailers: IncomingHttpHeaders | undefined }> {
  const stream = session.request({ ":authority": "web.example", ...headers }, { endStream: body === undefined });
  let trailers: IncomingHttpHeaders | undefined;
  stream.on("trailers", (came) => (trailers = came));
  if (body) stream.end(body);
  const [answer] = (await once(stream, "response")) as [IncomingHttpHeaders & { ":status": number }];
  return { status: answer[":status"], headers: answer, body: await buffer(stream), trailers };
}

test("HTTP/2 in front: the same view, the same heads, bodies both ways at once, trailers", async () => {
  let seen: IncomingMessage | undefined;
  const large = Buffer.alloc(2_000_000, "z");
  await using program = await startProgram((request, response) => {
    seen = request;
    void buffer(request).then((body) => {
      response.writeHead(200, { "Set-Cookie": ["a=1", "b=2"], "Keep-Alive": "timeout=5", Trailer: "X-Sum" });
      response.write(request.url === "/large" ? large : `${request.method} ${body.length}`);
      response.addTrailers({ "X-Sum": "7" });
      response.end();
    });
  });
  await using gateway = startGateway([program.port]);
  await using tls = startTls(gateway, certificates);
  await using session = await open(tls.port);
  const answer = await ask(session, { ":path": "/a/../b?x=1", cookie: ["a=1", "b=2"], te: "trailers", "x-forwarded-for": "6.6.6.6" });
  assert.deepEqual([answer.status, answer.body.toString(), answer.headers["set-cookie"], answer.headers["keep-alive"], answer.trailers?.["x-sum"]], [200, "GET 0", ["a=1", "b=2"], undefined, "7"]);
  assert.deepEqual([seen!.url, seen!.headers.host, seen!.headers.cookie, seen!.headers["x-forwarded-for"], seen!.headers["x-forwarded-proto"], seen!.headers["transfer-encoding"]], ["/b?x=1", "web.example", "a=1; b=2", "127.0.0.1", "https", undefined]);
  const all = await Promise.all([ask(session, { ":method": "POST", ":path": "/up" }, Buffer.alloc(1_500_000)), ask(session, { ":path": "/large" }), ask(session, { ":method": "POST", ":path": "/small", "content-length": 3 }, Buffer.from("abc"))]);
  assert.deepEqual(all.map(({ body }) => (body.length > 100 ? body.length : body.toString())), ["POST 1500000", large.length, "POST 3"]);
  gateway.engine.close();
  assert.deepEqual([...new Set(gateway.lines.map(({ protocol }) => protocol))], ["HTTP/2"]);
});

const attempts: [name: string, headers: OutgoingHttpHeaders, status: number][] = [
  ["two hosts", { host: "other.example" }, 400],
  ["a path out of the root", { ":path": "/../x" }, 400],
  ["a path with an encoded way up", { ":path": "/a/..%2fb" }, 400],
  ["a host that is none", { ":authority": "a b" }, 400],
  ["a framing header in another spelling", { content_length: "5" }, 400],
  ["a method in small letters", { ":method": "get" }, 501],
  ["TRACE", { ":method": "TRACE" }, 405],
];
test("6 HTTP/2: what could be smuggled by way of the other protocol is refused by the same parser", async (t) => {
  let asked = 0;
  await using program = await startProgram((_request, response) => (asked++, response.end()));
  await using gateway = startGateway([program.port]);
  await using tls = startTls(gateway, certificates);
  for (const [name, headers, status] of attempts) {
    await t.test(name, async () => {
      await using session = await open(tls.port);
      assert.equal((await ask(session, { ":path": "/", ...headers })).status, status);
    });
  }
  assert.equal(asked, 0);
});

test("6 HTTP/2 rapid reset (CVE-2023-44487): the connection ends, the programs are spared, others are served", async () => {
  let asked = 0;
  await using program = await startProgram((_request, response) => (asked++, response.end("OK")));
  await using gateway = startGateway([program.port]);
  await using tls = startTls(gateway, certificates);
  const attacker = await open(tls.port);
  let sent = 0;
  while (!attacker.destroyed && !attacker.closed && sent < 20_000) {
    for (let i = 0; i < 100 && !attacker.destroyed && !attacker.closed; i++, sent++) {
      const stream = attacker.request({ ":path": "/", ":authority": "web.example" });
      stream.on("error", () => {});
      stream.close(constants.NGHTTP2_CANCEL);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  attacker.destroy();
  assert.ok(sent < 20_000, "the gateway has ended it");
  assert.ok(asked < 3_000, `${asked} reached the program`);
  await using other = await open(tls.port);
  assert.equal((await ask(other, { ":path": "/" })).body.toString(), "OK");
  await until(() => gateway.policy.running === 0);
});

test("a stream that its client resets takes its request along; drain lets running ones finish", async () => {
  const left = Promise.withResolvers<void>();
  let finish = () => {};
  const running = Promise.withResolvers<void>();
  await using program = await startProgram((request, response) => {
    if (request.url === "/long") return void ((finish = () => response.end("done")), running.resolve());
    response.write("event");
    response.on("close", () => left.resolve());
  });
  await using gateway: TestGateway = startGateway([program.port]);
  await using tls = startTls(gateway, certificates);
  await using session = await open(tls.port);
  const events = session.request({ ":path": "/events", ":authority": "web.example" });
  await once(events, "data");
  events.close(constants.NGHTTP2_CANCEL);
  await left.promise;
  const long = ask(session, { ":path": "/long" });
  await running.promise;
  const farewell = once(session, "goaway");
  const drained = gateway.engine.drain(AbortSignal.timeout(5_000));
  // The client hears of it while its request runs, so that it asks elsewhere from now on.
  assert.equal((await farewell)[0], constants.NGHTTP2_NO_ERROR);
  finish();
  assert.equal((await long).body.toString(), "done");
  await drained;
  assert.equal(gateway.engine.counters.connections, 0);
});
