import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { startGateway, startProgram, until } from "./testing/gateway.ts";
import { Frames, headers, request } from "./testing/http2-frames.ts";

/**
 * What a program that was taken over, or is broken, might do to the gateway and to the clients of others. Each answer goes
 * through to a client of HTTP/1.1 and to one of HTTP/2; the next request on the same connections must get its own answer.
 */
async function startRogue(answer: (asked: number) => string | Buffer | undefined, ends = false) {
  const sockets = new Set<Socket>();
  let asked = 0;
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    let text = "";
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        text = text.slice(end + 4);
        const now = answer(asked++);
        if (now === undefined) continue;
        const whole = typeof now === "string" ? Buffer.from(now, "latin1") : now;
        if (ends) socket.end(whole);
        else socket.write(whole);
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
const get = "GET / HTTP/1.1\r\nHost: web.example\r\n\r\n";
const good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
const second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

/** 502: refused before a byte of it was passed on. */
const answers: [what: string, answer: string, status: number][] = [
  ["a second answer behind the first (response splitting)", `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK${second}`, 200],
  ["a second answer behind a 204", `HTTP/1.1 204 No Content\r\n\r\n${second}`, 204],
  ["a second answer behind a 304", `HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n${second}`, 304],
  ["a second answer behind chunks", `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n${second}`, 200],
  ["a bare CR in a field", `HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b=c\r\nContent-Length: 2\r\n\r\nOK`, 502],
  ["a bare LF in a field", `HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b=c\r\nContent-Length: 2\r\n\r\nOK`, 502],
  ["NUL in a field", `HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nOK`, 502],
  ["a folded field", `HTTP/1.1 200 OK\r\nX: a\r\n Set-Cookie: b=c\r\nContent-Length: 2\r\n\r\nOK`, 502],
  ["a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nOK", 502],
  ["a field without a name", "HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 2\r\n\r\nOK", 502],
  ["length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\nOK", 502],
  ["a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nOK", 502],
  ["a coding that we do not read", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 502],
  ["a reason with a line end", "HTTP/1.1 200 OK\nX: a\r\nContent-Length: 2\r\n\r\nOK", 502],
  ["a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nOK", 502],
  ["a status of four", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nOK", 502],
  ["a status beyond 599", "HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nOK", 502],
  ["HTTP/2 in plain text", "HTTP/2 200\r\nContent-Length: 2\r\n\r\nOK", 502],
  ["101 that nobody asked for", `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n${second}`, 502],
  ["a head without an end (64 KiB)", `HTTP/1.1 200 OK\r\nX: ${"a".repeat(70_000)}`, 502],
  ["a head of many fields", `HTTP/1.1 200 OK\r\n${"X: a\r\n".repeat(200)}Content-Length: 2\r\n\r\nOK`, 502],
  ["fields of a hop stay here", "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: a\r\nProxy-Connection: keep-alive\r\nContent-Length: 2\r\n\r\nOK", 200],
];
test("answers of a rogue program: nothing of one is another's, nothing that is ambiguous goes on", async (t) => {
  for (const [what, answer, status] of answers) {
    await t.test(what, async () => {
      await using rogue = await startRogue((asked) => (asked % 2 === 0 ? answer : good));
      await using gateway = startGateway([rogue.port]);
      const client = await gateway.open();
      client.send(get);
      const first = await client.answer();
      assert.deepEqual([first.status, first.header("set-cookie"), first.header("x-secret"), first.header("proxy-connection")], [status, undefined, undefined, undefined]);
      client.send(get);
      assert.equal((await client.answer()).body, "good");
      assert.equal(client.received, "", "and not a byte more");
      using http2 = new Frames(gateway.port);
      await http2.send(headers(1, request()));
      await http2.until((said) => said.includes("end #1"));
      await http2.send(headers(3, request()));
      await http2.until((said) => said.includes("end #3"));
      assert.deepEqual(http2.said.filter((word) => /^\d/.test(word)), [`${status} #1`, "200 #3"]);
    });
  }
});

/** What comes too late for another status: the client sees that the answer is not whole. */
const broken: [what: string, answer: string][] = [
  ["a chunk size that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\nzz\r\n"],
  ["a chunk that is longer than it says", `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK${second}`],
  ["a trailer that frames (trailer smuggling)", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\nContent-Length: 50\r\n\r\n"],
  ["trailers without an end", `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n${"X: a\r\n".repeat(5_000)}`],
  ["chunk extensions without an end", `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n2;${"a".repeat(20_000)}`],
];
test("answers that break within: the client's connection breaks too, and is no other's", async (t) => {
  for (const [what, answer] of broken) {
    await t.test(what, async () => {
      await using rogue = await startRogue(() => answer);
      await using gateway = startGateway([rogue.port]);
      const client = await gateway.open();
      client.send(get + get);
      const all = await client.end();
      assert.ok(all.startsWith("HTTP/1.1 200") && !all.includes("poison") && !all.endsWith("0\r\n\r\n"), JSON.stringify(all.slice(-200)));
      using http2 = new Frames(gateway.port);
      await http2.send(headers(1, request()));
      await http2.until((said) => said.some((word) => word.startsWith("reset")));
      assert.ok(!http2.said.includes("end #1"), http2.said.join(", "));
    });
  }
});

test("1xx flood: interim answers without an end are bounded", { timeout: 30_000 }, async () => {
  await using rogue = await startRogue(() => "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(10_000));
  await using gateway = startGateway([rogue.port]);
  const client = await gateway.open();
  client.send(get);
  for (;;) {
    const answer = await client.answer();
    if (answer.status === 103) continue;
    assert.equal(answer.status, 502);
    break;
  }
  gateway.engine.close();
  assert.equal(gateway.lines[0]!["flag"], "UPE");
});

test("an early answer before an unread body: the body's rest is no request, and no other's answer waits for it", async () => {
  await using program = await startProgram((asked, response) => {
    if (asked.method === "GET") return void response.end("good");
    response.writeHead(403, { "Content-Length": 2 }).end("no");
  });
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbeginning");
  const { status, header } = await client.answer();
  assert.deepEqual([status, header("connection")], [403, "close"]);
  client.send(get);
  assert.equal(await client.end(), "", "what looks like a request is the body that was promised");
  const other = await gateway.open();
  other.send(get);
  assert.equal((await other.answer()).body, "good");
  await until(() => gateway.policy.running === 0);
});

test("compressed bodies are nobody's business here: no bomb is unpacked, Accept-Encoding is the client's own", async () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000));
  let accepted: unknown;
  await using program = await startProgram((asked, response) => {
    accepted = asked.headers["accept-encoding"];
    response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": bomb.length }).end(bomb);
  });
  await using gateway = startGateway([program.port]);
  const before = process.memoryUsage().arrayBuffers;
  const client = await gateway.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip;q=0.5, br\r\n\r\n");
  const answer = await client.answer();
  assert.deepEqual([answer.header("content-encoding"), Buffer.from(answer.body, "latin1").equals(bomb), accepted], ["gzip", true, "gzip;q=0.5, br"]);
  assert.ok(process.memoryUsage().arrayBuffers - before < 20e6);
});
