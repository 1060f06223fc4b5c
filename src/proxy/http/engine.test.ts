import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as requestHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { test } from "node:test";
import { text } from "node:stream/consumers";
import { mirrorTo, startGateway, startProgram, until } from "./testing/gateway.ts";
import { onceAsked, startScript } from "./testing/script.ts";

const get = (path = "/", more = "") => `GET ${path} HTTP/1.1\r\nHost: web.example\r\n${more}\r\n`;
const sha = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

test("what the program sees, and what comes back", async () => {
  let seen: IncomingMessage | undefined;
  await using program = await startProgram((request, response) => {
    seen = request;
    response.setHeader("Set-Cookie", ["a=1", "b=2"]);
    response.writeHead(201, "Made", { "X-Instance": "7", Connection: "X-Secret", "X-Secret": "for the gateway" });
    response.write("first ");
    response.end("second");
  });
  await using gateway = startGateway([program.port]);
  gateway.routed.handler = (exchange, outcome) => {
    exchange.upstream = "shop/web/80";
    exchange.requestHeaders = { remove: ["x-remove"], set: [["x-user", "ann"]], add: [["x-more", "2"]] };
    exchange.responseHeaders = { remove: ["x-instance"], set: [["x-set", "by the rule"]], add: [] };
    outcome.forward(exchange);
  };
  const client = await gateway.open();
  client.send(get("/a/./b/../c%41?x=%2f&y", "X-Forwarded-For: 6.6.6.6\r\nX-User: mallory\r\nX_User: mallory\r\nX-Remove: 1\r\nX-More:1\r\nX-Forwarded-Host: evil\r\nTE: trailers\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"));
  const answer = await client.answer();
  assert.deepEqual([answer.status, answer.body, answer.head.split("\r\n")[0]], [201, "first second", "HTTP/1.1 201 Made"]);
  assert.match(answer.head, /Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n/);
  assert.deepEqual([answer.header("x-instance"), answer.header("x-set"), answer.header("x-secret"), answer.header("connection")], [undefined, "by the rule", undefined, undefined]);
  assert.ok(answer.header("date"));
  assert.equal(seen!.url, "/a/cA?x=%2f&y");
  const names = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-user", "x_user", "x-more", "x-remove", "x-hop", "te", "connection"];
  assert.deepEqual(
    names.map((name) => seen!.headers[name]),
    ["web.example", "127.0.0.1", "web.example", "http", String(gateway.port), "ann", undefined, "1, 2", undefined, undefined, undefined, "keep-alive"].map((value, i) => (i === 11 ? undefined : value)),
  );
  assert.match(seen!.headers["x-request-id"] as string, /^[0-9a-f]{32}$/);
});

test("a trusted client's addresses and request id go on", async () => {
  let seen: IncomingMessage["headers"] = {};
  await using program = await startProgram((request, response) => ((seen = request.headers), response.end()));
  await using gateway = startGateway([program.port], { trusted: true });
  const client = await gateway.open();
  client.send(get("/", "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 192.0.2.10\r\nX-Request-Id: abc-1\r\n"));
  await client.answer();
  assert.deepEqual([seen["x-forwarded-for"], seen["x-request-id"]], ["192.0.2.9, 192.0.2.10, 127.0.0.1", "abc-1"]);
});

test("requests in one connection, in one packet, are answered in order; other connections are used again", async () => {
  let connections = 0;
  await using program = await startProgram((request, response) => void text(request).then((body) => setImmediate(() => response.end(`${request.method} ${request.url} ${body}`))));
  program.on("connection", () => connections++);
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  const posts = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyPOST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nfir\r\n2\r\nst\r\n0\r\n\r\n";
  client.send(`${get("/1")}${posts}HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n${get("/5")}`);
  const bodies = [];
  for (let i = 1; i <= 5; i++) bodies.push((await client.answer({ isHead: i === 4 })).body);
  assert.deepEqual(bodies, ["GET /1 ", "POST /2 body", "POST /3 first", "", "GET /5 "]);
  assert.equal(connections, 1);
  assert.equal(gateway.engine.counters.requestsTotal, 5);
});

test("large bodies in both directions are whole, with and without a length, also from a client that reads slowly", async () => {
  const download = randomBytes(5_000_003);
  let uploaded = "";
  await using program = await startProgram((request, response) => {
    const hash = createHash("sha256");
    request.on("data", (data: Buffer) => hash.update(data)).on("end", () => {
      uploaded = hash.digest("hex");
      if (request.url === "/length") response.setHeader("content-length", download.length);
      response.write(download.subarray(0, 1_000_000));
      response.end(download.subarray(1_000_000));
    });
  });
  await using gateway = startGateway([program.port]);
  for (const path of ["/length", "/chunked"]) {
    const upload = randomBytes(3_000_001);
    const asked = requestHttp({ host: "127.0.0.1", port: gateway.port, path, method: "POST", headers: { Host: "a", ...(path === "/length" ? { "Content-Length": upload.length } : {}) } });
    for (let i = 0; i < upload.length; i += 100_000) asked.write(upload.subarray(i, i + 100_000));
    asked.end();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of answer) {
      chunks.push(chunk as Buffer);
      // The socket's buffers fill, so that the gateway has to stop reading.
      if (chunks.length % 16 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assert.equal(sha(Buffer.concat(chunks)), sha(download), path);
    assert.equal(uploaded, sha(upload), path);
  }
});

test("a client that does not read stops the program's sending, not the gateway's memory", async () => {
  let written = 0;
  let blocked = false;
  await using program = await startProgram((_request, response) => {
    const chunk = Buffer.alloc(64 * 1024, "x");
    const send = () => {
      while (written < 1e9) {
        written += chunk.length;
        if (!response.write(chunk)) return void ((blocked = true), response.once("drain", send));
      }
    };
    send();
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.socket.pause();
  client.send(get());
  await until(() => blocked);
  let before = -1;
  while (before !== written) {
    before = written;
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(written < 64e6, `${written} bytes`);
  assert.equal(gateway.engine.counters.requestsRunning, 1);
});

const framings: { name: string; answer: string; asks?: string; body?: string; status?: number; length?: string | undefined; ends?: boolean; closesUpstream?: boolean }[] = [
  { name: "length", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", body: "hello", length: "5" },
  { name: "until the end, to HTTP/1.1", answer: "HTTP/1.1 200 OK\r\n\r\nhello", body: "hello", ends: true },
  { name: "HTTP/1.0, until the end", answer: "HTTP/1.0 200 OK\r\n\r\nhello", body: "hello", ends: true },
  { name: "without a reason", answer: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", body: "" },
  { name: "304 with a length", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", body: "", status: 304, length: "5" },
  { name: "204 with a length", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", body: "", status: 204, length: undefined },
  { name: "HEAD", asks: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", body: "", length: "5" },
  { name: "HEAD, chunked", asks: "HEAD", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body: "" },
  { name: "103 first", answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", body: "OK" },
];
test("framings of answers", async (t) => {
  for (const { name, answer, asks = "GET", body, status = 200, ends, ...rest } of framings) {
    await t.test(name, async () => {
      await using program = await startScript((socket) => onceAsked(socket, () => (ends ? socket.end(answer, "latin1") : socket.write(answer, "latin1"))));
      await using gateway = startGateway([program.port]);
      const client = await gateway.open();
      for (let round = 0; round < 2; round++) {
        client.send(`${asks} / HTTP/1.1\r\nHost: a\r\n\r\n`);
        let got = await client.answer({ isHead: asks === "HEAD" });
        if (name.startsWith("103")) {
          assert.match(got.head, /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>\r\n$/);
          got = await client.answer();
        }
        assert.deepEqual([got.status, got.body], [status, body]);
        if ("length" in rest) assert.equal(got.header("content-length"), rest.length);
      }
      assert.equal(program.connections(), ends ? 2 : 1);
    });
  }
});

test("an answer of unknown length to HTTP/1.0 ends with the connection", async () => {
  await using program = await startProgram((_request, response) => (response.write("hel"), response.end("lo")));
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const answer = await client.answer();
  assert.deepEqual([answer.body, answer.header("transfer-encoding"), answer.header("connection"), client.ended], ["hello", undefined, "close", true]);
});

const brokenAnswers: [name: string, answer: string][] = [
  ["not HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
  ["both lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"],
  ["a bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"],
  ["101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"],
  ["a folded field", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"],
  ["closed without a word", ""],
];
test("an upstream that breaks the rules is answered for", async (t) => {
  for (const [name, answer] of brokenAnswers) {
    await t.test(name, async () => {
      await using program = await startScript((socket) => onceAsked(socket, () => socket.end(answer, "latin1")));
      await using gateway = startGateway([program.port]);
      const client = await gateway.open();
      client.send(get());
      const got = await client.answer();
      gateway.engine.close();
      assert.deepEqual([got.status, gateway.lines[0]!["flag"]], answer === "" ? [503, "UC"] : [502, "UPE"]);
      assert.match(got.body, /^127\.0\.0\.1:\d+: /);
    });
  }
});

test("surplus bytes of an upstream are nobody's answer", async () => {
  await using program = await startScript((socket, connection) => onceAsked(socket, () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${connection}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`, "latin1")));
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  for (const expected of ["0", "1", "2"]) {
    client.send(get());
    assert.equal((await client.answer()).body, expected);
  }
});

test("Expect: 100-continue is answered when the request goes on, and not when it does not", async () => {
  await using program = await startProgram((request, response) => void text(request).then((body) => response.end(body)));
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  assert.equal((await client.answer()).status, 100);
  client.send("hi");
  assert.equal((await client.answer()).body, "hi");
  gateway.routed.answer = { status: 403, headers: [], body: "no\n", flag: "AD", reason: "no" };
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  const refused = await client.answer();
  assert.deepEqual([refused.status, refused.header("connection")], [403, "close"]);
  await client.end();
});

test("a body that is too large: told before it is sent, or as soon as it is", async () => {
  await using program = await startProgram((request, response) => void text(request).then((body) => response.end(body)));
  await using gateway = startGateway([program.port], { bounds: { bodyBytesMax: 10 } });
  for (const asked of ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n"]) {
    const client = await gateway.open();
    client.send(asked);
    assert.equal((await client.answer()).status, 413);
    await client.end();
  }
});

test("an upgrade becomes a tunnel, with what was sent too early, and ends with either side", async () => {
  const ended = Promise.withResolvers<void>();
  await using program = await startProgram((_request, response) => response.end("no"));
  program.on("upgrade", (request, socket, head) => {
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\nwelcome ${head.toString()}`);
    socket.on("data", (data: Buffer) => socket.write(data));
    socket.on("end", () => (ended.resolve(), socket.end("bye")));
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send(get("/chat", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"));
  const answer = await client.answer();
  assert.deepEqual([answer.status, answer.header("upgrade"), answer.header("connection")], [101, "websocket", "Upgrade"]);
  await client.until((received) => received.includes("welcome "));
  const large = "x".repeat(3_000_000);
  client.send(large);
  await client.until((received) => received.length >= "welcome ".length + large.length);
  assert.equal(client.received, `welcome ${large}`);
  client.socket.end();
  await ended.promise;
  assert.equal((await client.end()).slice(-3), "bye");
  await until(() => gateway.policy.running === 0);
  const other = await gateway.open();
  other.send(get("/", "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"));
  assert.deepEqual((await other.answer()).body, "no", "h2c leads nowhere");
});

test("a client that leaves is told to the program; a program that breaks off is told to the client", async () => {
  const left = Promise.withResolvers<void>();
  await using program = await startProgram((request, response) => {
    response.write("event 1\n");
    if (request.url === "/break") return void setImmediate(() => response.destroy());
    response.on("close", () => left.resolve());
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send(get("/events"));
  await client.until((received) => received.includes("event 1"));
  client.socket.destroy();
  await left.promise;
  const other = await gateway.open();
  other.send(get("/break"));
  const received = await other.end();
  assert.ok(received.includes("event 1") && !received.endsWith("0\r\n\r\n"), "cut off, and seen to be");
});

test("between pods the program says what it means that a client has said all: it answers, or ends a request that nobody waits for", async () => {
  const begun: ServerResponse[] = [];
  const left = Promise.withResolvers<void>();
  // Such as Node's, which takes it for leaving.
  await using hung = await startProgram((_request, response) => {
    begun.push(response);
    response.on("close", () => left.resolve());
  });
  await using gateway = startGateway([hung.port], { isTransparent: true });
  const client = await gateway.open();
  client.send(get());
  await until(() => begun.length === 1);
  client.socket.end();
  await left.promise;
  await until(() => gateway.lines.length === 1 && gateway.engine.counters.connections === 0);
  assert.deepEqual([begun.length, gateway.policy.connections, gateway.policy.results.map(({ type }) => type), gateway.lines.map(({ flag }) => flag)], [1, 0, ["cancelled"], ["DC"]]);

  // Such as one that reads to the end, and answers then.
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => void socket.resume().on("end", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  await using patient = startGateway([(server.address() as { port: number }).port], { isTransparent: true });
  // While it is dialled, and when it was asked.
  for (const isAsked of [false, true]) {
    const other = await patient.open();
    other.send(get());
    if (isAsked) await until(() => patient.policy.connections === 1);
    other.socket.end();
    assert.match(await other.end(), /^HTTP\/1\.1 200 OK[^]*late$/);
  }
  server.close();
});

test("drain: idle connections end, running requests finish and say close, nothing new gets in", async () => {
  let finish = () => {};
  const running = Promise.withResolvers<void>();
  await using program = await startProgram((request, response) => {
    if (request.url !== "/long") return void response.end("short");
    finish = () => response.end("done");
    running.resolve();
  });
  await using gateway = startGateway([program.port]);
  const [idle, busy] = [await gateway.open(), await gateway.open()];
  idle.send(get());
  await idle.answer();
  busy.send(get("/long"));
  await running.promise;
  const drained = gateway.engine.drain(AbortSignal.timeout(5_000));
  await idle.end();
  assert.equal(await gateway.open().then((late) => late.end(), () => ""), "");
  finish();
  const answer = await busy.answer();
  assert.deepEqual([answer.body, answer.header("connection")], ["done", "close"]);
  await drained;
  assert.equal(gateway.engine.counters.connections, 0);
});

test("a mirror gets a copy, and its answer goes nowhere", async () => {
  const copies: string[] = [];
  await using program = await startProgram((_request, response) => response.end("the answer"));
  await using shadow = await startProgram((request, response) => void text(request).then((body) => (copies.push(`${request.method} ${request.url} ${body}`), response.end("never seen"))));
  await using gateway = startGateway([program.port]);
  const policy = mirrorTo(gateway, shadow.port, { more: ["shop/nobody/80"] });
  const client = await gateway.open();
  for (const body of ["one", "two"]) {
    client.send(`POST /m HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n${body}\r\n0\r\n\r\n`);
    assert.equal((await client.answer()).body, "the answer");
  }
  await until(() => copies.length === 2 && policy.running === 0);
  assert.deepEqual(copies.sort(), ["POST /m one", "POST /m two"]);
  assert.equal(gateway.engine.counters.mirrorsSkipped, 2);
});

test("the log: one line a request, whatever a client sends, with who answered and why", async () => {
  await using program = await startProgram((_request, response) => response.end("OK"));
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send(get('/a?q={x\\y}', 'User-Agent: "}\\n{\r\n'));
  await client.answer();
  gateway.routed.answer = { status: 404, headers: [], body: "", flag: "NR", reason: "no route fits" };
  client.send(get("/b"));
  await client.answer();
  client.send("GARBAGE\r\n\r\n");
  await client.end();
  gateway.engine.close();
  assert.deepEqual(gateway.lines.map(({ path, status, flag, upstream, sentBytes }) => [path, status, flag, upstream, sentBytes]), [
    ['/a?q={x\\y}', 200, undefined, "shop/web/80", 2],
    ["/b", 404, "NR", undefined, 0],
    [undefined, 400, "DPE", undefined, undefined],
  ]);
});
