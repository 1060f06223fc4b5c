import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { startGateway, startProgram, until } from "./testing/gateway.ts";

/**
 * Families of request smuggling, by their names. Each line is what an attacker sends on one connection, and what comes of it:
 * the statuses that he gets, and what the program sees, "METHOD TARGET HOST BODY". A request that hides in another one is
 * `/smuggled`; that somebody sees it is the fault, unless it stands there in the open, as a request of its own.
 */
const hidden = "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n";
const post = (fields: string, body: string) => `POST /a HTTP/1.1\r\nHost: web\r\n${fields}\r\n${body}`;
const get = (fields: string, target = "/a") => `GET ${target} HTTP/1.1\r\nHost: web\r\n${fields}\r\n`;
const chunked = "Transfer-Encoding: chunked\r\n";
const families: Record<string, [what: string, sent: string, statuses: string, seen: string[]][]> = {
  "CL.TE": [
    ["a length that ends in the last chunk", post(`Content-Length: 6\r\n${chunked}`, `0\r\n\r\nG${hidden}`), "400", []],
    ["the coding first", post(`${chunked}Content-Length: 5\r\n`, `0\r\n\r\n${hidden}`), "400", []],
    ["a length of nothing", post(`Content-Length: 0\r\n${chunked}`, `0\r\n\r\n${hidden}`), "400", []],
  ],
  "TE.CL": [
    ["a chunk that holds a request", post(`Content-Length: 4\r\n${chunked}`, `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`), "400", []],
    ["without the length it is a body, and stays one", post(chunked, `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`), "200", [`POST /a web ${hidden}`]],
  ],
  "TE.TE": [
    ["twice", post(`${chunked}Transfer-Encoding: identity\r\n`, `0\r\n\r\n${hidden}`), "400", []],
    ["a list", post("Transfer-Encoding: identity, chunked\r\n", `0\r\n\r\n${hidden}`), "501", []],
    ["x behind chunked", post("Transfer-Encoding: chunked, x\r\n", `0\r\n\r\n${hidden}`), "501", []],
    ["a control character before", post("Transfer-Encoding: \x0bchunked\r\n", `0\r\n\r\n${hidden}`), "400", []],
    ["a space before the colon (Node CVE-2024-27982)", post("Transfer-Encoding : chunked\r\n", `0\r\n\r\n${hidden}`), "400", []],
    ["a space before the name", post(" Transfer-Encoding: chunked\r\n", `0\r\n\r\n${hidden}`), "400", []],
    ["a name with _", post("Transfer_Encoding: chunked\r\n", `0\r\n\r\n${hidden}`), "400", []],
    ["quotes", post('Transfer-Encoding: "chunked"\r\n', `0\r\n\r\n${hidden}`), "501", []],
    ["nothing", post("Transfer-Encoding:\r\n", `0\r\n\r\n${hidden}`), "501", []],
    ["an empty element", post("Transfer-Encoding: ,chunked\r\n", `0\r\n\r\n${hidden}`), "501", []],
    ["chunked in HTTP/1.0", `POST /a HTTP/1.0\r\nHost: web\r\n${chunked}\r\n0\r\n\r\n${hidden}`, "400", []],
    ["capitals are the same word", post("Transfer-Encoding: cHuNkEd\r\n", `5\r\nhello\r\n0\r\n\r\n${get("", "/b")}`), "200 200", ["POST /a web hello", "GET /b web "]],
  ],
  "CL.CL": [
    ["two of them", post("Content-Length: 5\r\nContent-Length: 6\r\n", `hello${hidden}`), "400", []],
    ["the same twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", `hello${hidden}`), "400", []],
    ["a list", post("Content-Length: 5, 5\r\n", `hello${hidden}`), "400", []],
    ["empty (HAProxy CVE-2023-40225)", post("Content-Length:\r\n", hidden), "400", []],
    ["a sign", post("Content-Length: +5\r\n", `hello${hidden}`), "400", []],
    ["hexadecimal", post("Content-Length: 0x5\r\n", `hello${hidden}`), "400", []],
    ["a zero in front", post("Content-Length: 05\r\n", `hello${hidden}`), "400", []],
    ["a space within", post("Content-Length: 5 5\r\n", `hello${hidden}`), "400", []],
    ["beyond what can be counted (HAProxy CVE-2021-40346)", post("Content-Length: 18446744073709551621\r\n", `hello${hidden}`), "413", []],
    ["a minus", post("Content-Length: -1\r\n", hidden), "400", []],
  ],
  "CL.0 and 0.CL": [
    ["a GET's body is its body", get(`Content-Length: ${hidden.length}\r\n`) + hidden, "200", [`GET /a web ${hidden}`]],
    ["the body of what the gateway answers itself is not the next request", `OPTIONS * HTTP/1.1\r\nHost: web\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`, "204", []],
    ["an Expect that is none (0.CL)", post(`Content-Length: ${hidden.length}\r\nExpect: y 100-continue\r\n`, hidden), "417", []],
    ["an Expect whose body came along", post("Content-Length: 5\r\nExpect: 100-continue\r\n", `hello${get("", "/b")}`), "200 200", ["POST /a web hello", "GET /b web "]],
  ],
  "obs-fold": [
    ["a value that goes on", get(`X-A: b\r\n ${chunked}`), "400", []],
    ["with a tab", post(`Transfer-Encoding:\r\n\tchunked\r\n`, `0\r\n\r\n${hidden}`), "501", []],
    ["the first field", `GET /a HTTP/1.1\r\n Host: evil\r\nHost: web\r\n\r\n`, "400", []],
  ],
  "bare LF and bare CR (Node CVE-2023-30589)": [
    ["a line's end", post(`X: y\n${chunked}`, `0\r\n\r\n${hidden}`), "400", []],
    ["the head's end", `GET /a HTTP/1.1\r\nHost: web\r\n\n${hidden}`, "400", []],
    ["the first line's", `GET /a HTTP/1.1\nHost: web\r\n\r\n`, "400", []],
    ["a CR within a value", post(`X: y\r${chunked}`, `0\r\n\r\n${hidden}`), "400", []],
    ["a CR, and LF CR", post(`X: y\r\r\n${chunked}`, `0\r\n\r\n${hidden}`), "400", []],
    ["NUL", get("X: a\0b\r\n"), "400", []],
  ],
  "chunk sizes and extensions (Kestrel CVE-2025-55315, Go GO-2023-2382, Node CVE-2024-22019)": [
    ["a bare LF ends the extension", post(chunked, `2;\nxx\r\n2d\r\n0\r\n\r\n${hidden}`), "400", []],
    ["a bare CR in the extension", post(chunked, `5;a\rb\r\nhello\r\n0\r\n\r\n${hidden}`), "400", []],
    ["a bare LF behind the size", post(chunked, `5\nhello\r\n0\r\n\r\n${hidden}`), "400", []],
    ["a bare LF behind the data", post(chunked, `5\r\nhello\n0\r\n\r\n${hidden}`), "400", []],
    ["two bytes behind the data that are none", post(chunked, `5\r\nhelloXX0\r\n\r\n${hidden}`), "400", []],
    ["a size with 0x", post(chunked, `0x5\r\nhello\r\n0\r\n\r\n${hidden}`), "400", []],
    ["a size with _", post(chunked, `1_0\r\nhello\r\n0\r\n\r\n${hidden}`), "400", []],
    ["a sign", post(chunked, `+5\r\nhello\r\n0\r\n\r\n${hidden}`), "400", []],
    ["a size beyond 64 bits", post(chunked, `10000000000000005\r\nhello\r\n0\r\n\r\n${hidden}`), "400", []],
    ["a space before the size", post(chunked, ` 5\r\nhello\r\n0\r\n\r\n${hidden}`), "400", []],
    ["no size", post(chunked, `;a=b\r\nhello\r\n0\r\n\r\n${hidden}`), "400", []],
    ["more extensions than data", post(chunked, `1;${"a".repeat(20_000)}\r\nx\r\n0\r\n\r\n${hidden}`), "400", []],
    ["a quoted extension with line ends", post(chunked, `5;a="\r\n0\r\n\r\n${hidden}"\r\nhello\r\n0\r\n\r\n`), "400", []],
    ["one that is in order", post(chunked, `5;a=b;c="d;e"\r\nhello\r\n0\r\n\r\n${get("", "/b")}`), "200 200", ["POST /a web hello", "GET /b web "]],
  ],
  "trailers": [
    ["a framing field", post(chunked, `0\r\nTransfer-Encoding: chunked\r\n\r\n${hidden}`), "400", []],
    ["a length", post(chunked, `0\r\nContent-Length: 50\r\n\r\n${hidden}`), "400", []],
    ["a host", post(chunked, "0\r\nHost: evil\r\n\r\n"), "400", []],
    ["credentials", post(chunked, "0\r\nAuthorization: Bearer x\r\n\r\n"), "400", []],
    ["an address in another spelling", post(chunked, "0\r\nX_Forwarded_For: 1.2.3.4\r\n\r\n"), "400", []],
    ["no field", post(chunked, `0\r\n${hidden}`), "400", []],
    ["a bare LF at their end", post(chunked, `0\r\nX: y\n\r\n${hidden}`), "400", []],
  ],
  "absolute-form against Host": [
    ["the target has the last word", get("", "http://other/b"), "200", ["GET /b other "]],
    ["another scheme", get("", "ftp://other/b"), "400", []],
    ["a user", get("", "http://web@other/b"), "400", []],
    ["no host", get("", "http:///b"), "400", []],
    ["a path without its slash", get("", "a"), "400", []],
    ["an authority alone", get("", "other:80"), "400", []],
    ["two hosts", get("Host: other\r\n"), "400", []],
    ["none", "GET /a HTTP/1.1\r\n\r\n", "400", []],
    ["a host and a path", "GET /a HTTP/1.1\r\nHost: web/smuggled\r\n\r\n", "400", []],
    ["a list", "GET /a HTTP/1.1\r\nHost: web, evil\r\n\r\n", "400", []],
  ],
  "Upgrade": [
    ["h2c leads nowhere", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n") + get("", "/b"), "200 200", ["GET /a web ", "GET /b web "]],
    ["h2c in a list", get("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n") + get("", "/b"), "200 200", ["GET /a web ", "GET /b web "]],
    ["what the program does not upgrade is no tunnel", get("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n", "/426") + get("", "/b"), "426 200", ["GET /426 web ", "GET /b web "]],
    ["an Upgrade that Connection does not name", get("Upgrade: websocket\r\n") + get("", "/b"), "200 200", ["GET /a web ", "GET /b web "]],
    ["one with a body", post("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", `hello${get("", "/b")}`), "200 200", ["POST /a web hello", "GET /b web "]],
    ["two of them", get("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"), "400", []],
  ],
  "the first line": [
    ["spaces before the version", "GET /a  HTTP/1.1\r\nHost: web\r\n\r\n", "400", []],
    ["a tab", "GET\t/a\tHTTP/1.1\r\nHost: web\r\n\r\n", "400", []],
    ["a target with a space", get("", "/a b"), "400", []],
    ["HTTP/0.9", `GET /a\r\n${hidden}`, "400", []],
    ["HTTP/1.2", "GET /a HTTP/1.2\r\nHost: web\r\n\r\n", "400", []],
    ["HTTP/2.0", "GET /a HTTP/2.0\r\nHost: web\r\n\r\n", "505", []],
    ["an empty name (HAProxy CVE-2023-25725)", get(": x\r\nContent-Length: 5\r\n"), "400", []],
    ["CONNECT", `CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n`, "405", []],
  ],
};

for (const [family, attempts] of Object.entries(families)) {
  test(`smuggling, ${family}`, async (t) => {
    const seen: string[] = [];
    await using program = await startProgram((request, response) => {
      const { method, url, headers } = request;
      void text(request).then((body) => {
        seen.push(`${method} ${url} ${headers.host} ${body}`);
        response.statusCode = url === "/426" ? 426 : 200;
        response.end();
      }, () => {});
    });
    await using gateway = startGateway([program.port]);
    for (const [what, sent, statuses, expected] of attempts) {
      await t.test(what, async () => {
        for (const step of [sent.length, 1]) {
          seen.length = 0;
          const client = await gateway.open();
          const bytes = Buffer.from(sent, "latin1");
          for (let i = 0; i < bytes.length && !client.ended; i += step) {
            client.send(bytes.subarray(i, i + step));
            if (step === 1) await new Promise((resolve) => setImmediate(resolve));
          }
          const got: number[] = [];
          for (const _ of statuses.split(" ")) {
            let answer = await client.answer();
            if (answer.status === 100) answer = await client.answer();
            got.push(answer.status);
          }
          assert.deepEqual([got.join(" "), seen], [statuses, expected]);
          // Whoever broke the rules is left; nothing more of his is read.
          if (expected.length === 0 && !statuses.startsWith("2")) await client.end();
          else assert.equal(client.received, "");
          client.socket.destroy();
        }
      });
    }
    await until(() => gateway.policy.running === 0 && gateway.engine.counters.connections === 0);
    const after = await gateway.open();
    after.send(get("", "/after"));
    assert.equal((await after.answer()).status, 200, "nobody's connection was spoiled");
    assert.deepEqual(seen.slice(-1), ["GET /after web "]);
  });
}
