import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { randomInt, seededRandom } from "../../base/random.ts";
import type { RequestView } from "../../policy/exchange.ts";
import { startGateway, startProgram, until } from "./testing/gateway.ts";
import { hostOf, normalPath } from "./target.ts";

/**
 * The classes of faults that gateways have had, one test each, named after the class and an example. The unit is what the
 * program behind the gateway sees.
 */
async function seenBehind(head: string, options: { trusted?: boolean } = {}): Promise<{ status: number; seen: IncomingMessage | undefined; view: RequestView | undefined }> {
  let seen: IncomingMessage | undefined;
  let view: RequestView | undefined;
  await using program = await startProgram((request, response) => {
    seen = request;
    request.resume().on("end", () => response.end("OK"));
  });
  await using gateway = startGateway([program.port], options);
  gateway.routed.handler = (exchange, outcome) => {
    view = exchange.request;
    // Made of strings now: they are not there for ever.
    for (const name of ["x-hop", "x-role", "x-user"]) void view.header(name);
    const { request } = exchange;
    view = { method: request.method, scheme: request.scheme, host: request.host, port: request.port, path: request.path, query: request.query, client: request.client, header: ((values) => (name: string) => values.get(name))(new Map(["x-hop", "x-role", "x-user"].map((name) => [name, request.header(name)]))) };
    exchange.upstream = "shop/web/80";
    outcome.forward(exchange);
  };
  const client = await gateway.open();
  client.send(head);
  const { status } = await client.answer();
  return { status, seen, view };
}
const get = (target: string, fields = "") => `GET ${target} HTTP/1.1\r\nHost: web.example\r\n${fields}\r\n`;

test("1 framing: whatever is sent, the program sees exactly the requests that the gateway judged", async () => {
  const random = seededRandom(7);
  const pick = <T>(list: readonly T[]): T => list[randomInt(random, list.length)]!;
  const seen: string[] = [];
  await using program = await startProgram((request, response) => {
    void text(request).then((body) => {
      seen.push(`${request.method} ${request.url}`);
      response.end(`<${body.length}>`);
    }, () => {});
  });
  await using gateway = startGateway([program.port]);
  const smuggled = "GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n";
  const names = ["Transfer-Encoding", "transfer-encoding", "Transfer-Encoding ", " Transfer-Encoding", "Transfer_Encoding", "X: x\r\nTransfer-Encoding", "X: x\nTransfer-Encoding", "X: x\rTransfer-Encoding", "Transfer-Encoding\t", "\x0bTransfer-Encoding", "Foo: bar\r\n Transfer-Encoding"];
  const values = ["chunked", " chunked", "\tchunked", "\x0bchunked", "chunked, identity", "identity, chunked", "chunked\r\n\tfoo", "\"chunked\"", "chunKed", "x", "chunked\0", "chunked;q=1", ",chunked", "chunked,", "\xa0chunked", "gzip, chunked", ""];
  const lengths = ["", "Content-Length: 0\r\n", `Content-Length: ${smuggled.length}\r\n`, `Content-Length: ${smuggled.length + 5}\r\n`, "Content-Length: +5\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 5\r\n", "Content-Length : 5\r\n", "Content-Length: 0x5\r\n", "Content_Length: 5\r\n", "Content-Length:\r\n"];
  const bodies = [`0\r\n\r\n${smuggled}`, smuggled, `5\r\nhello\r\n0\r\n\r\n${smuggled}`, `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`, `5;ext\n${smuggled}`, `0\r\nX: y\r\n${smuggled}`, `00005\r\nhello\r\n0\r\n\r\n`, `fffffffffffffffff\r\n${smuggled}`, `0\n\n${smuggled}`, `5\r\nhello0\r\n\r\n${smuggled}`];
  for (let round = 0; round < 400; round += 50) {
    const clients = await Promise.all(Array.from({ length: 50 }, () => gateway.open()));
    for (const [i, client] of clients.entries()) {
      const coding = randomInt(random, 2) === 0 ? "" : `${pick(names)}:${pick([" ", "", "  "])}${pick(values)}\r\n`;
      const fields = randomInt(random, 2) === 0 ? pick(lengths) + coding : coding + pick(lengths);
      client.send(`${pick(["POST", "GET", "PUT"])} /outer-${round + i} HTTP/1.${pick(["1", "1", "1", "0"])}\r\nHost: a\r\n${fields}\r\n${pick(bodies)}`);
    }
    // What is incomplete is never answered: whoever asked later was, again and again.
    for (let i = 0; i < 3; i++) {
      const other = await gateway.open();
      other.send(get(`/other-${round}-${i}`, "Connection: close\r\n"));
      await other.end();
    }
    for (const client of clients) client.socket.end();
    await Promise.all(clients.map((client) => client.end()));
    for (const client of clients) client.socket.destroy();
  }
  await until(() => gateway.engine.counters.connections === 0 && gateway.policy.running === 0);
  gateway.engine.close();
  const judged = gateway.lines.filter(({ upstream, status }) => upstream !== undefined && status === 200).map(({ method, path }) => `${String(method)} ${String(path)}`);
  const unjudged = [...seen];
  for (const line of gateway.lines.filter(({ upstream }) => upstream !== undefined)) {
    const at = unjudged.indexOf(`${String(line["method"])} ${String(line["path"])}`);
    if (at >= 0) unjudged.splice(at, 1);
  }
  assert.deepEqual(unjudged, [], "seen by the program, and unknown to the gateway");
  assert.ok(judged.length > 24 + 20, `${judged.length} went through`);
});

test("2 hop-by-hop abuse (Traefik CVE-2024-45410, Fabio CVE-2025-48865): Connection cannot remove what the gateway says", async () => {
  const { seen, view } = await seenBehind(get("/", "Connection: close, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Request-Id, Host, Content-Type, Authorization, X-Hop\r\nX-Hop: 1\r\nAuthorization: Bearer t\r\nContent-Type: a/b\r\n"));
  assert.deepEqual([seen!.headers["x-forwarded-for"], seen!.headers["x-forwarded-host"], seen!.headers["x-forwarded-proto"], seen!.headers.host, seen!.headers["authorization"], seen!.headers["content-type"]], ["127.0.0.1", "web.example", "http", "web.example", "Bearer t", "a/b"]);
  assert.ok(seen!.headers["x-request-id"]);
  assert.deepEqual([seen!.headers["x-hop"], view!.header("x-hop")], [undefined, undefined], "removed for the policy as for the program");
});

test("3 spoofed trust (Traefik GHSA-6384-m2mw-rf54, oauth2-proxy CVE-2025-64484): the whole family is rebuilt, twins with _ included", async () => {
  const spoofed = ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-Client-Cert", "X-Real-Ip", "X-Original-Url", "X-Rewrite-Url", "Forwarded", "X-Request-Id"];
  const fields = spoofed.flatMap((name) => [`${name}: evil\r\n`, `${name.replaceAll("-", "_")}: evil\r\n`, `${name.replace("-", "_").toUpperCase()}: evil\r\n`]).join("").replace("FORWARDED: evil\r\n", "");
  const { seen } = await seenBehind(get("/", fields));
  assert.deepEqual(Object.entries(seen!.headers).filter(([, value]) => String(value).includes("evil")), []);
  for (const name of ["Content_Length: 5", "Transfer_Encoding: chunked"]) assert.equal((await seenBehind(get("/", `${name}\r\n`))).status, 400);
});

const paths: [target: string, seen: string | 400][] = [
  ["/a/b", "/a/b"],
  ["/%61%2D%7e", "/a-~"],
  ["//admin", "/admin"],
  ["/a//b///c/", "/a/b/c/"],
  ["/public/../admin", "/admin"],
  ["/public/%2e%2e/admin", "/admin"],
  ["/public/.%2E/admin", "/admin"],
  ["/./a/./", "/a/"],
  ["/a/..", "/"],
  ["/..", 400],
  ["/a/../../b", 400],
  ["/public/..%2Fadmin", 400],
  ["/public/..%2fadmin", 400],
  ["/public%2f..%2fadmin", 400],
  ["/public/%2e%2e%2fadmin", 400],
  ["/public/..%5Cadmin", 400],
  ["/public/..\\admin", 400],
  ["/public/..;/admin", 400],
  ["/public/..;x=y/admin", 400],
  ["/public/.;/admin", 400],
  ["/group%2fproject", "/group%2Fproject"],
  ["/a%5cb", "/a%5Cb"],
  ["/a;v=1/b", "/a;v=1/b"],
  ["/a%252fb", "/a%252fb"],
  ["/caf%c3%a9", "/caf%C3%A9"],
  ["/a%00b", 400],
  ["/a%0d%0ab", 400],
  ["/a%zz", 400],
  ["/a%4", 400],
  ["/a#b", 400],
  ["/a\xe9", 400],
  ["/ADMIN", "/ADMIN"],
  ["http://web.example/x/../y", "/y"],
];
test("4 path confusion (Istio CVE-2021-31920, Envoy CVE-2021-29492, CVE-2019-9901, Traefik GHSA-6jwx-7vp4-9847): one normal form for match, policy and program", async (t) => {
  for (const [target, wanted] of paths) {
    await t.test(target, async () => {
      const { status, seen, view } = await seenBehind(get(`${target}${target.includes("#") ? "" : "?q=%2f../"}`));
      if (wanted === 400) return assert.deepEqual([status, seen], [400, undefined]);
      assert.deepEqual([status, view!.path, view!.query, seen!.url], [200, wanted, "q=%2f../", `${wanted}?q=%2f../`]);
      assert.equal(normalPath(wanted), wanted, "the normal form's normal form is itself");
    });
  }
});

test("5 repeated headers and spellings of hosts (Istio CVE-2026-31838): the policy sees all values, and one spelling", async () => {
  const { view, seen } = await seenBehind("GET / HTTP/1.1\r\nHost: WEB.Example.:8080\r\nX-Role: user\r\nx-ROLE: admin\r\n\r\n");
  assert.deepEqual([view!.header("x-role"), view!.host, seen!.headers["x-role"]], ["user, admin", "web.example", "user, admin"]);
  for (const twice of ["Authorization: a\r\nAuthorization: b\r\n", "Content-Type: a/b\r\nContent-Type: c/d\r\n", "Host: b\r\n"]) assert.equal((await seenBehind(get("/", twice))).status, 400, twice);
  const hosts: [string, string | undefined][] = [["a", "a"], ["A.b.", "a.b"], ["a:80", "a"], ["[::1]:80", "[::1]"], ["[::1]x", undefined], ["a..b", undefined], ["a:99999", undefined], ["a:8a", undefined], ["a,b", undefined], ["a@b", undefined], ["a/b", undefined], ["", undefined], ["xn--caf-dma.example", "xn--caf-dma.example"], [".a", undefined]];
  for (const [authority, host] of hosts) assert.equal(hostOf(authority), host, authority);
  const absolute = await seenBehind("GET http://other.example/x HTTP/1.1\r\nHost: web.example\r\n\r\n");
  assert.deepEqual([absolute.view!.host, absolute.seen!.headers.host, absolute.seen!.headers["x-forwarded-host"]], ["other.example", "other.example", "other.example"]);
});

test("7 limits: number and size of fields, length of the target, trailers, chunk extensions", async () => {
  const field = (length: number) => `X-A: ${"a".repeat(length)}\r\n`;
  const asked: [string, number][] = [
    [get("/", "X: 1\r\n".repeat(99)), 200],
    [get("/", "X: 1\r\n".repeat(100)), 431],
    [get("/", field(32_000)), 200],
    [get("/", field(33_000)), 431],
    [get(`/${"a".repeat(16_000)}`), 200],
    [get(`/${"a".repeat(17_000)}`), 414],
    ["A".repeat(40_000), 414],
    [`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${"X: 1\r\n".repeat(33)}\r\n`, 400],
    [`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ${"a".repeat(9_000)}\r\n\r\n`, 400],
    [`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=b\r\nx\r\n".repeat(400)}0\r\n\r\n`, 400],
  ];
  await using program = await startProgram((request, response) => request.resume().on("end", () => response.end()));
  program.maxHeadersCount = 1_000;
  await using gateway = startGateway([program.port]);
  for (const [head, status] of asked) {
    const client = await gateway.open();
    client.send(head);
    const wanted = head.includes(field(32_000)) || head.includes("a".repeat(16_000)) ? [status, 431] : [status];
    const answer = await client.answer();
    assert.ok(wanted.includes(answer.status), `${answer.status} instead of ${status}: ${head.slice(0, 60)}`);
  }
});

test("7 limits: 500 clients that send slowly cost little, keep nobody else waiting, and are told to go", async () => {
  await using program = await startProgram((request, response) => request.resume().on("end", () => response.end("OK")));
  await using gateway = startGateway([program.port]);
  const before = process.memoryUsage().arrayBuffers;
  const slow = await Promise.all(
    Array.from({ length: 500 }, async (_, i) => {
      const client = await gateway.open();
      client.send(i % 2 === 0 ? "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx");
      return client;
    }),
  );
  await until(() => gateway.engine.counters.requestsRunning === 250);
  const normal = await gateway.open();
  normal.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal((await normal.answer()).body, "OK");
  assert.ok(process.memoryUsage().arrayBuffers - before < 8e6, "buffers of slow clients");
  gateway.engine.sweeper.tick(performance.now() + 40_000);
  const statuses = await Promise.all(slow.map(async (client) => (await client.answer()).status));
  assert.deepEqual([...new Set(statuses)], [408]);
  await Promise.all(slow.map((client) => client.end()));
});

test("7 limits: connections of one client, and in all; a tunnel that is silent; a client that takes nothing", async () => {
  await using program = await startProgram((_request, response) => {
    const chunk = Buffer.alloc(256 * 1024);
    const more = () => {
      while (!response.destroyed && response.write(chunk));
      response.once("drain", more);
    };
    more();
  });
  program.on("upgrade", (_request, socket) => void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"));
  await using gateway = startGateway([program.port], { bounds: { connectionsPerClient: 2, tunnelIdleMs: 30_000 } });
  const tunnel = await gateway.open();
  tunnel.send(get("/", "Connection: Upgrade\r\nUpgrade: x\r\n"));
  assert.equal((await tunnel.answer()).status, 101);
  const deaf = await gateway.open();
  deaf.send(get("/"));
  deaf.socket.pause();
  assert.equal(await gateway.open().then((third) => third.end(), () => ""), "", "refused");
  let time = performance.now();
  const later = () => gateway.engine.sweeper.tick((time += 40_000));
  later();
  await tunnel.end();
  // Blocked as soon as the kernel's buffers are full.
  await until(() => (later(), gateway.engine.counters.connections === 0));
  assert.equal(gateway.policy.running, 0);
});

test("7 limits: a connection after a long silence has its whole time; one that says nothing is closed after it", async () => {
  await using gateway = startGateway([]);
  // Nobody has moved the clock while nobody was there.
  gateway.engine.sweeper.now = performance.now() - 3_600_000;
  const client = await gateway.open();
  await until(() => gateway.engine.counters.connections === 1);
  gateway.engine.sweeper.tick(performance.now() + 1_000);
  assert.equal(gateway.engine.counters.connections, 1);
  gateway.engine.sweeper.tick(performance.now() + 16_000);
  assert.equal(gateway.engine.counters.connections, 0);
  await client.end();
});

test("7 limits: nobody writes lines of his own into the log", async () => {
  await using program = await startProgram((_request, response) => response.end());
  await using gateway = startGateway([program.port]);
  const client = await gateway.open();
  client.send('GET /x?a=\\"},{ HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.end();
  const other = await gateway.open();
  other.send(`GET /x?${"{\\}".repeat(3_000)} HTTP/1.1\r\nHost: a\r\n\r\n`);
  await other.answer();
  gateway.engine.close();
  assert.equal(gateway.lines.length, 2);
  assert.ok(String(gateway.lines[1]!["path"]).length < 3_000);
});
