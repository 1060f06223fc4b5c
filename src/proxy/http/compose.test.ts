import assert from "node:assert/strict";
import { test } from "node:test";
import { composeRequest, framing, type RequestLines } from "./compose.ts";
import { complete, Head } from "./head.ts";
import { Output } from "./output.ts";

const usual: RequestLines = { host: undefined, target: undefined, edits: undefined, client: "10.244.0.5", scheme: "http", port: 80, version: "1.1", trusted: true, isTransparent: true, isAsItCame: true, requestId: "", framing: framing.none, length: 0, upgrade: false };

/** What an upstream hears of it. */
function composed(request: string, lines: Partial<RequestLines>): string {
  const head = new Head(true, 16_384);
  const bytes = Buffer.from(request.replaceAll("\n", "\r\n"), "latin1");
  assert.equal(head.feed(bytes, 0, bytes.length), complete, head.error);
  head.keep();
  head.dropNominated();
  const output = new Output();
  let written = "";
  output.to({ write: (piece: Buffer, from: number, to: number) => ((written += piece.latin1Slice(from, to)), true) });
  const bodyFraming = head.chunked ? framing.chunked : head.contentLength >= 0 ? framing.length : framing.none;
  composeRequest(output, head, { ...usual, framing: bodyFraming, length: head.contentLength, ...lines });
  output.flush();
  return written.replaceAll("\r\n", "\n");
}

/** Between pods. `goesOn` undefined: byte for byte as it came. */
const cases: [request: string, lines: Partial<RequestLines>, goesOn?: string][] = [
  ["GET /a?b HTTP/1.1\nHost: web\nAccept: */*\n\n", {}],
  ["GET / HTTP/1.1\nAccept: */*\nHost: web\nX-Forwarded-For: 192.0.2.1\n\n", {}],
  ["POST / HTTP/1.1\nContent-Length: 5\nHost: web\n\n", {}],
  ["GET //a/../b HTTP/1.1\nHost: web\n\n", {}],
  ["\n\nGET / HTTP/1.1\nHost: web\n\n", {}, "GET / HTTP/1.1\nHost: web\n\n"],
  ["GET //a/../b HTTP/1.1\nHost: web\n\n", { isAsItCame: false }, "GET /b HTTP/1.1\nHost: web\n\n"],
  ["GET http://web/a HTTP/1.1\nHost: other\n\n", {}, "GET /a HTTP/1.1\nHost: web\n\n"],
  ["GET / HTTP/1.0\nHost: web\n\n", {}, "GET / HTTP/1.1\nHost: web\n\n"],
  ["GET / HTTP/1.1\nHost:  web\nA: b \n\n", {}, "GET / HTTP/1.1\nHost: web\nA: b\n\n"],
  ["GET / HTTP/1.1\nHost: web\nConnection: close\n\n", {}, "GET / HTTP/1.1\nHost: web\n\n"],
  ["GET / HTTP/1.1\nHost: web\nConnection: X-Own\nX-Own: 1\nA: b\n\n", {}, "GET / HTTP/1.1\nHost: web\nA: b\n\n"],
  ["GET / HTTP/1.1\nHost: web\nKeep-Alive: 5\nTE: trailers\nProxy-Connection: close\nUpgrade: h2c\n\n", {}, "GET / HTTP/1.1\nHost: web\n\n"],
  ["GET / HTTP/1.1\nHost: web\nX_Forwarded_For: 1\nA: b\n\n", {}, "GET / HTTP/1.1\nHost: web\nA: b\n\n"],
  ["POST / HTTP/1.1\nHost: web\nContent-Length: 5\nExpect: 100-continue\n\n", {}, "POST / HTTP/1.1\nHost: web\nContent-Length: 5\n\n"],
  ["POST / HTTP/1.1\nHost: web\nTransfer-Encoding: chunked\n\n", {}, "POST / HTTP/1.1\nHost: web\nTransfer-Encoding: chunked\n\n"],
  ["GET / HTTP/1.1\nHost: web\nConnection: upgrade\nUpgrade: websocket\n\n", { upgrade: true }, "GET / HTTP/1.1\nHost: web\nConnection: Upgrade\nUpgrade: websocket\n\n"],
  ["GET / HTTP/1.1\nHost: web\nA: b\n\n", { host: "other" }, "GET / HTTP/1.1\nHost: other\nA: b\n\n"],
  ["GET / HTTP/1.1\nHost: web\n\n", { target: "/x" }, "GET /x HTTP/1.1\nHost: web\n\n"],
  ["GET / HTTP/1.1\nHost: web\nA: b\n\n", { edits: { remove: ["a"], set: [["C", "d"]], add: [] } }, "GET / HTTP/1.1\nHost: web\nC: d\n\n"],
];

for (const [request, lines, goesOn] of cases) {
  test(`between pods ${JSON.stringify(request)}${Object.keys(lines).length > 0 ? ` with ${JSON.stringify(lines)}` : ""}`, () => {
    assert.equal(composed(request, lines), goesOn ?? request);
  });
}

test("at a Gateway the same request says who asked", () => {
  const heard = composed("GET / HTTP/1.1\nHost: web\n\n", { isTransparent: false, trusted: false, requestId: "r" });
  assert.equal(heard, "GET / HTTP/1.1\nHost: web\nX-Forwarded-For: 10.244.0.5\nX-Forwarded-Proto: http\nX-Forwarded-Host: web\nX-Forwarded-Port: 80\nX-Request-Id: r\nVia: 1.1 wherry\n\n");
});
