import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:http2";
import { createServer } from "node:net";
import { test } from "node:test";
import { startGateway, startProgram } from "./testing/gateway.ts";

/** What HTTP demands of an intermediary (RFC 9110, RFC 9112): a line each. The program tells what it was asked, and answers as the line says. */
interface Case {
  what: string;
  asks: string;
  /** Of the program, or the whole of its answer's head and body. */
  answer?: string;
  status: number;
  body?: string;
  /** Of the answer; null: it must not be there. */
  headers?: Record<string, string | null>;
  /** Of what the program was asked; null: it must not be there. Absent: it is not asked. */
  seen?: Record<string, string | null> | null;
  flag?: string;
  isHead?: boolean;
}
const cases: Case[] = [
  // Via, and circles
  { what: "Via says that a gateway was here", asks: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", status: 200, seen: { via: "1.1 wherry" } },
  { what: "Via goes on a list", asks: "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred, 1.1 wherry\r\n\r\n", status: 200, seen: { via: "1.0 fred, 1.1 wherry, 1.1 wherry" } },
  { what: "Via names the version that was received", asks: "GET / HTTP/1.0\r\nHost: a\r\n\r\n", status: 200, seen: { via: "1.0 wherry" } },
  { what: "a circle is cut", asks: `GET / HTTP/1.1\r\nHost: a\r\n${"Via: 1.1 wherry, 1.1 wherry\r\n".repeat(5)}\r\n`, status: 508, seen: null, flag: "LD" },
  { what: "Connection does not hide a circle", asks: `GET / HTTP/1.1\r\nHost: a\r\nConnection: Via\r\n${"Via: 1.1 wherry, 1.1 wherry\r\n".repeat(5)}\r\n`, status: 508, seen: null, flag: "LD" },
  // Whom a request asks
  { what: "OPTIONS * asks the gateway", asks: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", status: 204, headers: { allow: "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS" }, seen: null, flag: "DR" },
  { what: "Max-Forwards: 0 asks the gateway", asks: "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", status: 204, headers: { allow: "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS" }, seen: null, flag: "DR" },
  { what: "Max-Forwards is counted", asks: "OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 5\r\n\r\n", status: 200, seen: { "max-forwards": "4" } },
  { what: "and only of OPTIONS and TRACE", asks: "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", status: 200, seen: { "max-forwards": "0" } },
  { what: "and is no number that is none", asks: "OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n", status: 200, seen: { "max-forwards": "-1" } },
  { what: "TRACE is not served", asks: "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", status: 405, headers: { allow: "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS" }, seen: null, flag: "DR" },
  { what: "CONNECT is not served", asks: "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", status: 405, headers: { connection: "close" }, seen: null, flag: "DPE" },
  { what: "the whole address counts, whatever Host says", asks: "GET http://b.example:8080/x?y HTTP/1.1\r\nHost: a\r\n\r\n", status: 200, seen: { host: "b.example:8080", ":url": "/x?y" } },
  { what: "an address of https over what is not secured", asks: "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", status: 421, seen: null, flag: "MD" },
  // Expectations
  { what: "an expectation that nobody knows", asks: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: cake\r\n\r\n", status: 417, seen: null, flag: "DPE" },
  { what: "HTTP/1.0 expects nothing", asks: "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi", status: 200, seen: { expect: null } },
  { what: "who has begun to send waits for no leave", asks: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi", status: 200, seen: { expect: null } },
  // Bodies that are none
  { what: "204 has no length", asks: "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", status: 204, body: "", headers: { "content-length": null, "transfer-encoding": null }, seen: {} },
  { what: "204 is not chunked", asks: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", status: 204, body: "", headers: { "transfer-encoding": null }, seen: {} },
  { what: "304 says the length that would be", asks: "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n", answer: 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 5\r\n\r\n', status: 304, body: "", headers: { "content-length": "5", etag: '"x"' }, seen: { "if-none-match": '"x"' } },
  { what: "HEAD says the length that would be", asks: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", isHead: true, answer: "HTTP/1.1 200 OK\r\nContent-Length: 12345678901\r\n\r\n", status: 200, body: "", headers: { "content-length": "12345678901" }, seen: {} },
  { what: "what the gateway says to HEAD has no body", asks: "HEAD https://a/ HTTP/1.1\r\nHost: a\r\n\r\n", isHead: true, status: 421, body: "", seen: null, flag: "MD" },
  { what: "GET with a body is a request with a body", asks: "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", status: 200, seen: { "content-length": "2", ":body": "hi" } },
  { what: "POST without one says so", asks: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", status: 200, seen: { "content-length": "0", "transfer-encoding": null } },
  // What is the program's own
  { what: "ranges pass", asks: 'GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1-2, 4-\r\nIf-Range: "x"\r\n\r\n', answer: "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/5\r\nAccept-Ranges: bytes\r\nContent-Length: 2\r\n\r\nel", status: 206, body: "el", headers: { "content-range": "bytes 1-2/5", "accept-ranges": "bytes" }, seen: { range: "bytes=1-2, 4-", "if-range": '"x"' } },
  { what: "a range that cannot be", asks: "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=9-\r\n\r\n", answer: "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n", status: 416, headers: { "content-range": "bytes */5" }, seen: {} },
  { what: "Server and Date are the program's", asks: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nServer: mine/1\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 0\r\n\r\n", status: 200, headers: { server: "mine/1", date: "Tue, 15 Nov 1994 08:12:31 GMT" }, seen: {} },
  { what: "a program without a clock gets ours, and no name", asks: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, headers: { server: null, date: "" }, seen: {} },
  { what: "caching, codings and cookies are between the two", asks: "GET / HTTP/1.1\r\nHost: a\r\nCache-Control: no-cache\r\nPragma: no-cache\r\nAccept-Encoding: br\r\nCookie: a=1\r\nAuthorization: Basic eDp5\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nCache-Control: no-transform\r\nContent-Encoding: br\r\nVary: Accept-Encoding\r\nAge: 7\r\nContent-Length: 2\r\n\r\n\x0b\x03", status: 200, body: "\x0b\x03", headers: { "cache-control": "no-transform", "content-encoding": "br", vary: "Accept-Encoding", age: "7" }, seen: { "cache-control": "no-cache", pragma: "no-cache", "accept-encoding": "br", cookie: "a=1", authorization: "Basic eDp5" } },
  { what: "an unknown status is passed, with its reason", asks: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer: "HTTP/1.1 299 Whatever It Is\r\nContent-Length: 0\r\n\r\n", status: 299, seen: {} },
  { what: "an unknown method is passed", asks: "PROPFIND / HTTP/1.1\r\nHost: a\r\nDepth: 1\r\nContent-Length: 0\r\n\r\n", status: 200, seen: { depth: "1" } },
  // What is of one connection
  { what: "what Connection names ends here, whatever the case", asks: "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-One ,,x-two\r\nx-ONE: 1\r\nX-Two: 2\r\nX-Three: 3\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nTE: gzip\r\nUpgrade: websocket\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nConnection: x-mine\r\nX-Mine: 1\r\nX-Yours: 2\r\nKeep-Alive: timeout=9\r\nProxy-Connection: x\r\nUpgrade: h3\r\nContent-Length: 0\r\n\r\n", status: 200, headers: { connection: null, "x-mine": null, "x-yours": "2", "keep-alive": null, "proxy-connection": null, upgrade: null }, seen: { connection: null, "x-one": null, "x-two": null, "x-three": "3", "keep-alive": null, "proxy-connection": null, te: null, upgrade: null } },
  { what: "an upgrade that only its field speaks of is none", asks: "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", status: 200, seen: { upgrade: null } },
  { what: "an upgrade that the program declines", asks: "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", status: 200, body: "no", seen: { upgrade: "websocket", connection: "Upgrade" } },
  // HTTP/1.0
  { what: "HTTP/1.0 needs no Host, and its connection ends", asks: "GET / HTTP/1.0\r\n\r\n", status: 200, headers: { connection: "close" }, seen: { ":version": "1.1", host: "" } },
  { what: "HTTP/1.0 may stay, when it says so", asks: "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, headers: { connection: "keep-alive" }, seen: {} },
  { what: "HTTP/1.0 gets no chunks", asks: "GET / HTTP/1.0\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", status: 200, body: "hi", headers: { "transfer-encoding": null, connection: "close" }, seen: {} },
  { what: "HTTP/1.0 gets no hints", asks: "GET / HTTP/1.0\r\n\r\n", answer: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", status: 200, body: "hi", seen: {} },
  { what: "a program of HTTP/1.0 is answered for in HTTP/1.1", asks: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", status: 200, body: "hi", headers: { connection: null, ":version": "1.1" }, seen: {} },
];

test("HTTP's demands of an intermediary, a line each", async (t) => {
  for (const { what, asks, answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", status, body, headers = {}, seen, flag, isHead = false } of cases) {
    await t.test(what, async () => {
      let asked = "";
      const program = createServer((socket) => {
        socket.on("error", () => {});
        socket.on("data", (data: Buffer) => {
          asked += data.toString("latin1");
          const end = asked.indexOf("\r\n\r\n");
          const length = Number(/^content-length: (\d+)\r$/im.exec(asked)?.[1] ?? 0);
          if (end >= 0 && asked.length >= end + 4 + length) socket.write(answer, "latin1");
        });
      }).listen(0, "127.0.0.1");
      await once(program, "listening");
      await using gateway = startGateway([(program.address() as { port: number }).port]);
      const client = await gateway.open();
      client.send(asks);
      const got = await client.answer({ isHead });
      assert.equal(got.status, status, got.body);
      if (body !== undefined) assert.equal(got.body, body);
      for (const [name, value] of Object.entries({ ":version": "1.1", ...headers })) {
        if (name === ":version") assert.ok(got.head.startsWith(`HTTP/${value} `));
        else if (value === "") assert.ok(got.header(name), `${name} is there`);
        else assert.equal(got.header(name), value ?? undefined, name);
      }
      if (seen === null) assert.equal(asked, "");
      else for (const [name, value] of Object.entries(seen ?? {})) assert.equal(seenOf(asked, name), value, name);
      client.socket.destroy();
      gateway.engine.close();
      const [line] = gateway.lines;
      assert.deepEqual([gateway.lines.length, line!.flag], [1, flag], JSON.stringify(line));
      if (flag) assert.match(line!.reason as string, /\S/);
      await new Promise((resolve) => program.close(resolve));
    });
  }
});

function seenOf(asked: string, name: string): string | null {
  const end = asked.indexOf("\r\n\r\n");
  const [first, ...fields] = asked.slice(0, end).split("\r\n");
  if (name === ":url") return first!.split(" ")[1]!;
  if (name === ":version") return first!.split("HTTP/")[1]!;
  if (name === ":body") return asked.slice(end + 4);
  const values = fields.filter((field) => field.toLowerCase().startsWith(`${name}:`)).map((field) => field.slice(name.length + 1).trim());
  return values.length === 0 ? null : values.join(", ");
}

test("Via of a request that came by HTTP/2", async () => {
  let via: unknown;
  await using program = await startProgram((request, response) => ((via = request.headers.via), response.end()));
  await using gateway = startGateway([program.port]);
  const session = connect(`http://127.0.0.1:${gateway.port}`);
  await new Promise((resolve) => session.request({ ":path": "/" }).on("response", resolve).resume());
  session.destroy();
  assert.equal(via, "2.0 wherry");
});
