import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants, createServer, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { mirrorTo, startGateway, startProgram, until, type TestGateway } from "./testing/gateway.ts";

interface Program extends AsyncDisposable {
  port: number;
  sessions: Set<ServerHttp2Session>;
}
/** A program of HTTP/2 behind the gateway, without TLS. */
async function startH2c(handler: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void, settings: { maxConcurrentStreams?: number } = {}): Promise<Program> {
  const server = createServer({ settings });
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    handler(stream as ServerHttp2Stream, headers);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    sessions,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const gatewayBefore = (...ports: number[]): TestGateway => startGateway(ports, { http2: true });

/** What a gRPC server does with a call: each message comes back, then the status. */
function echo(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, seen?: (trailers: IncomingHttpHeaders) => void): void {
  if (headers[":path"] === "/echo.Echo/Missing") return stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "12", "grpc-message": "no such method" }, { endStream: true });
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("trailers", (trailers) => seen?.(trailers));
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "x-te": String(headers.te) }));
  stream.pipe(stream);
}

interface Answer {
  headers: IncomingHttpHeaders & { ":status": number };
  trailers: IncomingHttpHeaders | undefined;
  body: Buffer;
  endedWithHead: boolean;
}
async function finished(stream: ClientHttp2Stream): Promise<Answer> {
  let trailers: IncomingHttpHeaders | undefined;
  stream.on("trailers", (came) => (trailers = came));
  const [headers, flags] = (await once(stream, "response")) as [Answer["headers"], number];
  return { headers, body: await buffer(stream), trailers, endedWithHead: (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0 };
}
const callHeaders = (path: string): OutgoingHttpHeaders => ({ ":method": "POST", ":path": path, ":authority": "echo.example", "content-type": "application/grpc", te: "trailers" });
function call(session: ClientHttp2Session, path: string, message: string): Promise<Answer> {
  const stream = session.request(callHeaders(path));
  stream.end(message);
  return finished(stream);
}
async function open(port: number): Promise<ClientHttp2Session & AsyncDisposable> {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  await once(session, "connect");
  return Object.assign(session, { [Symbol.asyncDispose]: async () => session.destroy() });
}

test("a client of HTTP/1.1 before a program of HTTP/2: lengths, chunks, HEAD, bodies, no field of the other protocol", async () => {
  let seen: IncomingHttpHeaders = {};
  await using program = await startH2c((stream, headers) => {
    seen = headers;
    if (headers[":path"] === "/none") return stream.respond({ ":status": 204 }, { endStream: true });
    if (headers[":path"] === "/empty") return stream.respond({ ":status": 200 }, { endStream: true });
    if (headers[":method"] === "HEAD") return stream.respond({ ":status": 200, "content-length": "5" }, { endStream: true });
    void buffer(stream).then((body) => {
      stream.respond({ ":status": 200, "set-cookie": ["a=1", "b=2"], ...(headers[":path"]!.startsWith("/length") && { "content-length": String(body.length) }) });
      stream.end(body);
    }, () => {});
  });
  await using gateway = gatewayBefore(program.port);
  const client = await gateway.open();
  client.send("POST /a/../length?x=1 HTTP/1.1\r\nHost: web.example\r\nContent-Length: 5\r\nConnection: x-mine\r\nX-Mine: 1\r\nX-Two: 1\r\nX-Two: 2\r\n\r\nhello");
  const first = await client.answer();
  assert.deepEqual([first.status, first.body, first.header("content-length")], [200, "hello", "5"]);
  assert.match(first.head, /set-cookie: a=1\r\nset-cookie: b=2/);
  assert.deepEqual([seen[":path"], seen[":authority"], seen[":scheme"], seen["x-mine"], seen["x-two"], seen["connection"], seen["x-forwarded-for"], seen.host], ["/length?x=1", "web.example", "http", undefined, "1, 2", undefined, "127.0.0.1", undefined]);
  client.send("POST /chunked HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  const second = await client.answer();
  assert.deepEqual([second.status, second.body, second.header("transfer-encoding")], [200, "abcde", "chunked"]);
  for (const [request, status, length] of [["GET /none", 204, undefined], ["GET /empty", 200, "0"], ["HEAD /head", 200, "5"]] as const) {
    client.send(`${request} HTTP/1.1\r\nHost: web.example\r\n\r\n`);
    const answer = await client.answer({ isHead: request.startsWith("HEAD") });
    assert.deepEqual([answer.status, answer.body, answer.header("content-length")], [status, "", length], request);
  }
  assert.equal(program.sessions.size, 1);
});

test("gRPC end to end without TLS: unary, errors in the head alone, both sides streaming, trailers both ways", async () => {
  const trailersSeen: IncomingHttpHeaders[] = [];
  await using program = await startH2c((stream, headers) => echo(stream, headers, (trailers) => trailersSeen.push(trailers)));
  await using gateway = gatewayBefore(program.port);
  await using session = await open(gateway.port);

  const unary = await call(session, "/echo.Echo/Say", "hello");
  assert.deepEqual([unary.headers[":status"], unary.headers["content-type"], unary.body.toString(), unary.trailers?.["grpc-status"], unary.trailers?.["x-te"]], [200, "application/grpc", "hello", "0", "trailers"]);

  const missing = await call(session, "/echo.Echo/Missing", "hello");
  assert.deepEqual([missing.headers["grpc-status"], missing.headers["grpc-message"], missing.endedWithHead], ["12", "no such method", true]);

  // Each message is answered before the next is sent: nothing on the way waits for an end.
  const both = session.request(callHeaders("/echo.Echo/Chat"), { waitForTrailers: true });
  both.on("wantTrailers", () => both.sendTrailers({ "x-checksum": "7", "x-forwarded-for": "6.6.6.6" }));
  let trailers: IncomingHttpHeaders | undefined;
  both.on("trailers", (came) => (trailers = came));
  for (const word of ["one", "two", "three"]) {
    both.write(word);
    const [echoed] = (await once(both, "data")) as [Buffer];
    assert.equal(echoed.toString(), word);
  }
  both.end();
  await once(both, "end");
  assert.equal(trailers?.["grpc-status"], "0");
  assert.deepEqual(trailersSeen.map((seen) => [seen["x-checksum"], seen["x-forwarded-for"]]), [["7", undefined]]);

  const large = await call(session, "/echo.Echo/Say", "x".repeat(3_000_000));
  assert.equal(large.body.length, 3_000_000);
  gateway.engine.close();
  assert.deepEqual(gateway.lines.map(({ protocol, status, flag }) => [protocol, status, flag ?? ""]), Array.from({ length: 4 }, () => ["HTTP/2", 200, ""]));
});

test("gRPC: what the gateway answers itself is a status of gRPC, ended with its head", async () => {
  await using gateway = gatewayBefore(1);
  await using session = await open(gateway.port);
  const answer = await call(session, "/echo.Echo/Say", "hello");
  assert.deepEqual([answer.headers[":status"], answer.headers["content-type"], answer.headers["grpc-status"], answer.endedWithHead], [200, "application/grpc", "14", true]);
  assert.match(String(answer.headers["grpc-message"]), /does not accept connections/);
});

test("a client of HTTP/2 before a program of HTTP/1.1, without TLS; trailers of the program", async () => {
  await using program = await startProgram((request, response) => {
    void buffer(request).then((body) => {
      response.writeHead(200, { Trailer: "X-Sum" });
      response.write(`${request.httpVersion} ${request.method} ${body.length}`);
      response.addTrailers({ "X-Sum": "7" });
      response.end();
    });
  });
  await using gateway = startGateway([program.port]);
  await using session = await open(gateway.port);
  const answer = await call(session, "/up", "hello");
  assert.deepEqual([answer.body.toString(), answer.trailers?.["x-sum"]], ["1.1 POST 5", "7"]);
});

test("HTTP/2's preface may come byte by byte; what only begins like it is a request", async () => {
  await using program = await startProgram((request, response) => response.end(request.method));
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  for (const byte of "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 0\r\n\r\n") {
    client.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal((await client.answer()).body, "POST");
  const other = await gateway.open();
  other.send("PRI * HTTP/2.0\r\n\r\n");
  await new Promise((resolve) => setImmediate(resolve));
  other.send("XX\r\n\r\n");
  assert.match(await other.end(), /^HTTP\/1.1 (400|505) /);
  const third = await gateway.open();
  for (const byte of "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
    third.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  // SETTINGS, of stream 0.
  assert.equal((await third.until((text) => text.length >= 9)).charCodeAt(3), 4);
});

test("each request is balanced for itself, whatever connection it came by; each endpoint has one connection", async () => {
  const counts = [0, 0, 0];
  await using one = await startH2c((stream, headers) => (counts[0]!++, echo(stream, headers)));
  await using two = await startH2c((stream, headers) => (counts[1]!++, echo(stream, headers)));
  await using three = await startH2c((stream, headers) => (counts[2]!++, echo(stream, headers)));
  await using gateway = gatewayBefore(one.port, two.port, three.port);
  await using session = await open(gateway.port);
  for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 9 }, () => call(session, "/echo.Echo/Say", "x")));
  assert.deepEqual(counts, [30, 30, 30]);
  assert.deepEqual([one.sessions.size, two.sessions.size, three.sessions.size], [1, 1, 1]);
  // The same for a client of HTTP/1.1 that keeps its connection.
  const client = await gateway.open();
  for (let i = 0; i < 6; i++) {
    client.send("POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 1\r\n\r\nx");
    assert.equal((await client.answer()).body, "x");
  }
  assert.deepEqual(counts, [32, 32, 32]);
});

test("more requests than one connection may carry get another one; without another they wait", async () => {
  const waiting: (() => void)[] = [];
  await using program = await startH2c((stream) => waiting.push(() => (stream.respond({ ":status": 200 }), stream.end("OK"))), { maxConcurrentStreams: 2 });
  await using gateway = gatewayBefore(program.port);
  await using session = await open(gateway.port);
  const get = () => finished(session.request({ ":path": "/", ":authority": "web.example" }));
  const warm = get();
  await until(() => waiting.length === 1);
  const some = [warm, get(), get(), get()];
  await until(() => waiting.length === 4);
  assert.equal(program.sessions.size, 2);
  gateway.policy.connectionsMax = 2;
  const late = [get(), get()];
  await until(() => gateway.policy.pending === 2);
  assert.equal(waiting.length, 4);
  for (const answer of waiting.splice(0)) answer();
  await until(() => waiting.length === 2);
  for (const answer of waiting) answer();
  assert.deepEqual((await Promise.all([...some, ...late])).map(({ body }) => body.toString()), Array(6).fill("OK"));
  assert.deepEqual([program.sessions.size, gateway.policy.pending, gateway.policy.running], [2, 0, 0]);
});

test("programs that say farewell under load lose nothing", async () => {
  let served = 0;
  let rounds = 0;
  await using program = await startH2c((stream, headers) => {
    echo(stream, headers);
    // With requests before it and behind it.
    if (++served % 50 !== 0) return;
    rounds++;
    stream.session!.close();
  });
  await using gateway = gatewayBefore(program.port);
  await using session = await open(gateway.port);
  let asked = 0;
  const answers: string[] = [];
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (asked++ < 600) {
        const { body, headers, trailers } = await call(session, "/echo.Echo/Say", "hello");
        answers.push(`${body.toString()} ${headers["grpc-status"] ?? trailers?.["grpc-status"]}`);
      }
    }),
  );
  assert.deepEqual([...new Set(answers)], ["hello 0"]);
  assert.ok(rounds >= 10, `${rounds} farewells`);
});

test("a request that the program refused is sent again, also one that may not be repeated; one that it reset is not", async () => {
  let asked = 0;
  await using program = await startH2c((stream, headers) => {
    asked++;
    if (asked === 1) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    if (headers[":path"] === "/reset") return stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    echo(stream, headers);
  });
  await using gateway = gatewayBefore(program.port);
  await using session = await open(gateway.port);
  const again = await call(session, "/echo.Echo/Say", "hello");
  assert.deepEqual([again.body.toString(), asked], ["hello", 2]);
  const lost = await call(session, "/reset", "hello");
  assert.deepEqual([lost.headers["grpc-status"], asked], ["14", 3]);
  assert.match(decodeURIComponent(String(lost.headers["grpc-message"])), /it reset the stream before an answer, with INTERNAL_ERROR/);
});

test("who does not read makes only his own program wait; who leaves takes his request along", async () => {
  const left = Promise.withResolvers<number>();
  let written = 0;
  await using program = await startH2c((stream, headers) => {
    if (headers[":path"] === "/small") return (stream.respond({ ":status": 200 }), void stream.end("OK"));
    stream.respond({ ":status": 200 });
    const more = () => {
      while (stream.write(Buffer.alloc(16_384))) written += 16_384;
    };
    stream.on("drain", more);
    stream.on("close", () => left.resolve(stream.rstCode));
    more();
  });
  await using gateway = gatewayBefore(program.port);
  await using session = await open(gateway.port);
  const endless = session.request({ ":path": "/endless", ":authority": "web.example" });
  await once(endless, "response");
  for (let before = -1; before !== written; ) {
    before = written;
    for (let i = 0; i < 20; i++) assert.equal((await finished(session.request({ ":path": "/small", ":authority": "web.example" }))).body.toString(), "OK");
  }
  assert.ok(written < 4_000_000, `${written} bytes were taken`);
  endless.close(constants.NGHTTP2_CANCEL);
  assert.equal(await left.promise, constants.NGHTTP2_CANCEL);
  await until(() => gateway.policy.running === 0);
});

test("a program of HTTP/1.1 that is called with HTTP/2 is told of as such; one that leaves gets its requests answered first", async () => {
  await using old = await startProgram((_request, response) => response.end("OK"));
  {
    await using gateway = gatewayBefore(old.port);
    await using session = await open(gateway.port);
    const answer = await finished(session.request({ ":path": "/", ":authority": "web.example" }));
    assert.equal(answer.headers[":status"], 502);
    gateway.engine.close();
    assert.equal(gateway.lines[0]!["flag"], "UPE");
  }
  let finish = () => {};
  const running = Promise.withResolvers<void>();
  await using program = await startH2c((stream) => {
    finish = () => (stream.respond({ ":status": 200 }), stream.end("done"));
    running.resolve();
  });
  await using gateway = gatewayBefore(program.port);
  await using session = await open(gateway.port);
  const answer = finished(session.request({ ":path": "/", ":authority": "web.example" }));
  await running.promise;
  gateway.engine.leave("127.0.0.1");
  finish();
  assert.equal((await answer).body.toString(), "done");
  await until(() => program.sessions.size === 0 && gateway.policy.connections === 0);
});

test("a mirror that speaks HTTP/2 gets a copy, and its answer goes nowhere", async () => {
  const copies: string[] = [];
  await using program = await startProgram((_request, response) => response.end("the answer"));
  await using shadow = await startH2c((stream, headers) => void buffer(stream).then((body) => (copies.push(`${headers[":method"]} ${headers[":path"]} ${body.toString()}`), stream.respond({ ":status": 500 }), stream.end("never seen"))));
  await using gateway = startGateway([program.port]);
  const policy = mirrorTo(gateway, shadow.port, { http2: true });
  const client = await gateway.open();
  for (const body of ["one", "two"]) {
    client.send(`POST /m HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n${body}\r\n0\r\n\r\n`);
    assert.equal((await client.answer()).body, "the answer");
  }
  await until(() => copies.length === 2 && policy.running === 0);
  assert.deepEqual(copies.sort(), ["POST /m one", "POST /m two"]);
});

test("what is cut off is never taken for whole: bodies of clients that leave, answers of programs that break", async () => {
  const ends: string[] = [];
  await using program = await startH2c((stream, headers) => {
    const path = headers[":path"]!;
    if (path === "/up?") return void stream.on("end", () => (stream.respond({ ":status": 200 }), stream.end())).resume();
    if (path === "/up") {
      let ended = "cut off";
      // Node has an end behind a break, too.
      stream.on("end", () => (ended = stream.aborted ? ended : "whole"));
      stream.on("close", () => ends.push(ended));
      return void stream.resume();
    }
    stream.respond({ ":status": 200 });
    stream.write("begun", () => setImmediate(() => (path === "/reset" ? stream.destroy(new Error("a fault")) : stream.session!.destroy())));
  });
  await using gateway = gatewayBefore(program.port);
  await using session = await open(gateway.port);
  await call(session, "/up?", "whole");
  const upload = session.request({ ":method": "POST", ":path": "/up", ":authority": "web.example" }, { waitForTrailers: true });
  upload.on("error", () => {});
  upload.write("half");
  await until(() => gateway.policy.running === 1 && program.sessions.size === 1);
  upload.close(constants.NGHTTP2_CANCEL);
  await until(() => ends.length === 1);
  for (const head of ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]) {
    const client = await gateway.open();
    const known = ends.length;
    client.send(`POST /up HTTP/1.1\r\nHost: web.example\r\n${head}`);
    await until(() => gateway.policy.running === 1);
    client.socket.destroy();
    await until(() => ends.length === known + 1);
  }
  assert.deepEqual(ends, ["cut off", "cut off", "cut off"]);
  for (const path of ["/reset", "/broken"]) {
    const stream = session.request({ ":path": path, ":authority": "web.example" });
    stream.on("error", () => {});
    stream.resume();
    await new Promise((resolve) => stream.on("close", resolve));
    assert.notEqual(stream.rstCode, constants.NGHTTP2_NO_ERROR, path);
    const client = await gateway.open();
    client.send(`GET ${path} HTTP/1.1\r\nHost: web.example\r\n\r\n`);
    assert.doesNotMatch(await client.end(), /\r\n0\r\n/, path);
  }
  await until(() => gateway.policy.running === 0);
});

test("early hints reach a client of HTTP/2, from programs of either protocol", async () => {
  await using http1 = await startProgram((_request, response) => response.writeEarlyHints({ link: "</a.css>; rel=preload" }, () => response.end("OK")));
  await using http2 = await startH2c((stream) => (stream.additionalHeaders({ ":status": 103, link: "</a.css>; rel=preload" }), stream.respond({ ":status": 200 }), void stream.end("OK")));
  for (const gateway of [startGateway([http1.port]), gatewayBefore(http2.port)]) {
    await using _gateway = gateway;
    await using session = await open(gateway.port);
    const stream = session.request({ ":path": "/", ":authority": "web.example" });
    const hints = once(stream, "headers");
    const answer = finished(stream);
    const [hint] = (await hints) as [IncomingHttpHeaders & { ":status": number }];
    assert.deepEqual([hint[":status"], hint["link"], (await answer).body.toString()], [103, "</a.css>; rel=preload", "OK"]);
  }
});

test("a client that leaves an answer unread, which its program has ended long since, leaves nothing behind", async () => {
  await using program = await startH2c((stream) => (stream.respond({ ":status": 200 }), void stream.end(Buffer.alloc(1_000_000))), { maxConcurrentStreams: 1 });
  await using gateway = gatewayBefore(program.port);
  gateway.policy.connectionsMax = 1;
  for (let i = 0; i < 3; i++) {
    await using session = await open(gateway.port);
    const stream = session.request({ ":path": "/", ":authority": "web.example" });
    stream.on("error", () => {});
    await once(stream, "response");
    stream.close(constants.NGHTTP2_CANCEL);
    // The connection's only stream is free again.
    assert.equal((await finished(session.request({ ":path": "/", ":authority": "web.example" }))).body.length, 1_000_000);
  }
  await until(() => gateway.policy.running === 0 && gateway.policy.pending === 0);
});
