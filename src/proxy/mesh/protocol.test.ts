import assert from "node:assert/strict";
import { test } from "node:test";
import { readServiceListenerId, serviceListenerId } from "./listener-id.ts";
import { declaredBy, protocolOfName, spokenBy } from "./protocol.ts";

/** What a client sends first, and what it is; "?": too little to say. */
const first = `
GET / HTTP/1.1          http1
POST /x                 http1
OPTIONS *               http1
TRACE /                 http1
PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n http2
PRI * HTTP/2.0\\r\\n    ?
P                       ?
PRI                     ?
PATC                    ?
DELETE                  ?
PING\\r\\n              other
PURGE /x                other
get /                   other
CONNECT x:1             other
EHLO x                  other
*1\\r\\n$4\\r\\nPING     other
\\x16\\x03\\x01          other
\\x00                    other
GETS x                  other
`;

test("first bytes", () => {
  for (const line of first.trim().split("\n")) {
    const [, text, expected] = /^(.*?)\s+(\S+)$/.exec(line)!;
    const bytes = Buffer.from(`--${text!.replace(/\\x(..)|\\r|\\n/g, (escape, hex?: string) => (hex ? String.fromCharCode(Number.parseInt(hex, 16)) : escape === "\\r" ? "\r" : "\n"))}--`, "latin1");
    assert.equal(spokenBy(bytes, 2, bytes.length - 2) ?? "?", expected, line);
  }
});

/** Name of a port, its appProtocol or "-", and what is spoken there. */
const ports = `
http        -                  http
http-web    -                  http
grpc-users  -                  http
httpd       -                  unknown
web         -                  unknown
https       -                  opaque
mysql-main  -                  opaque
web         kubernetes.io/h2c  http
web         kubernetes.io/ws   http
web         kubernetes.io/wss  opaque
http        tcp                opaque
http        example.com/other  unknown
tls-http    http               http
`;

test("what ports say", () => {
  for (const line of ports.trim().split("\n")) {
    const [name, appProtocol, expected] = line.split(/\s+/) as [string, string, string];
    assert.equal(declaredBy(appProtocol === "-" ? protocolOfName(name) : appProtocol), expected, line);
  }
});

test("ids of listeners", () => {
  assert.deepEqual(readServiceListenerId(serviceListenerId("a", "b", 80)), { key: "a/b/TCP/80", consumer: undefined });
  assert.deepEqual(readServiceListenerId(serviceListenerId("a", "b", 80, "c")), { key: "a/b/TCP/80", consumer: "c" });
  for (const id of ["service/gateway/80", "service/gateway/ns/set/80", "ingress/http"]) assert.equal(readServiceListenerId(id), undefined);
});
