import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { test } from "node:test";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { createHash, X509Certificate } from "node:crypto";
import type { ClientValidation, EdgeListener, ListenerManners, ListenerTls } from "../../api/traffic.ts";
import { authority, certificateFor, makeAuthority } from "../http/testing/certificates.ts";
import { Client, until } from "../http/testing/gateway.ts";
import { startEdge } from "./testing/edge-world.ts";

interface Told {
  url: string;
  headers: Record<string, string>;
}

/** One request on a connection of its own: its status, and what the program heard, or the answer's text. */
async function ask(listener: Partial<EdgeListener>, request: string): Promise<{ status: number; told: Told; body: string; header(name: string): string | undefined; client: unknown }> {
  await using world = await startEdge(listener);
  const client = await world.open();
  client.send(request.replaceAll("\n", "\r\n"));
  const answer = await client.answer();
  await until(() => world.lines.length > 0);
  const told = (answer.body.startsWith("{") ? JSON.parse(answer.body) : { url: "", headers: {} }) as Told;
  return { status: answer.status, told, body: answer.body, header: answer.header, client: world.lines[0]!["client"] };
}
const get = (path = "/", ...headers: string[]): string => `GET ${path} HTTP/1.1\nHost: a.example\n${headers.map((header) => `${header}\n`).join("")}\n`;

const trusts = (client: ListenerManners["client"], more: ListenerManners = {}): Partial<EdgeListener> => ({ manners: { ...(client && { client }), ...more } });
const hops = (count: number) => trusts({ type: "hops", hops: count });
const proxies = (...ranges: string[]) => trusts({ type: "proxies", ranges });
const header = (required: boolean) => trusts({ type: "header", name: "x-client", required });
/** The listener, what its client says, whose request it is then ("" for 403), and what X-Forwarded-For tells behind. The peer is 127.0.0.1. */
const clients: [why: string, listener: Partial<EdgeListener>, says: string[], client: string, forwarded: string][] = [
  ["nobody is believed without a word of configuration", {}, ["X-Forwarded-For: 9.9.9.9"], "127.0.0.1", "127.0.0.1"],
  ["the first hop's word", hops(1), ["X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3"], "3.3.3.3", "1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"],
  ["two hops: what is before them is the client's own word", hops(2), ["X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3"], "2.2.2.2", "1.1.1.1, 2.2.2.2, 3.3.3.3, 127.0.0.1"],
  ["several lines are one list", hops(2), ["X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2,3.3.3.3"], "2.2.2.2", "1.1.1.1, 2.2.2.2,3.3.3.3, 127.0.0.1"],
  ["fewer entries than hops: the peer", hops(3), ["X-Forwarded-For: 1.1.1.1, 2.2.2.2"], "127.0.0.1", "1.1.1.1, 2.2.2.2, 127.0.0.1"],
  ["no entry at all: the peer", hops(1), [], "127.0.0.1", "127.0.0.1"],
  ["what is no address: the peer", hops(1), ["X-Forwarded-For: 1.1.1.1, unknown"], "127.0.0.1", "1.1.1.1, unknown, 127.0.0.1"],
  ["with ports, as some proxies write", hops(1), ["X-Forwarded-For: 2.2.2.2:4711"], "2.2.2.2", "2.2.2.2:4711, 127.0.0.1"],
  ["IPv6 in brackets", hops(1), ["X-Forwarded-For: [2001:db8::1]:443"], "2001:db8::1", "[2001:db8::1]:443, 127.0.0.1"],
  ["a peer that is no proxy of ours is nobody's voice", proxies("10.0.0.0/8"), ["X-Forwarded-For: 1.1.1.1"], "127.0.0.1", "127.0.0.1"],
  ["the first from the right that is none of ours", proxies("127.0.0.0/8", "10.0.0.0/8"), ["X-Forwarded-For: 9.9.9.9, 1.1.1.1, 10.0.0.7, 10.0.0.8"], "1.1.1.1", "9.9.9.9, 1.1.1.1, 10.0.0.7, 10.0.0.8, 127.0.0.1"],
  ["all of them ours: the leftmost", proxies("127.0.0.0/8", "10.0.0.0/8"), ["X-Forwarded-For: 10.0.0.7, 10.0.0.8"], "10.0.0.7", "10.0.0.7, 10.0.0.8, 127.0.0.1"],
  ["nothing behind what is no address is believed", proxies("127.0.0.0/8", "10.0.0.0/8"), ["X-Forwarded-For: 9.9.9.9, 10.0.0.7%0, 10.0.0.8"], "10.0.0.8", "9.9.9.9, 10.0.0.7%0, 10.0.0.8, 127.0.0.1"],
  ["IPv4 written as IPv6 is the same address", proxies("127.0.0.1", "::ffff:10.0.0.0/104"), ["X-Forwarded-For: 1.1.1.1, ::ffff:10.1.1.1"], "1.1.1.1", "1.1.1.1, ::ffff:10.1.1.1, 127.0.0.1"],
  ["octal is no address", proxies("127.0.0.1", "10.0.0.0/8"), ["X-Forwarded-For: 1.1.1.1, 010.0.0.1"], "127.0.0.1", "1.1.1.1, 010.0.0.1, 127.0.0.1"],
  ["the list goes on as it came where it is asked for", trusts({ type: "hops", hops: 1 }, { keepsForwardedFor: true }), ["X-Forwarded-For: 1.1.1.1"], "1.1.1.1", "1.1.1.1"],
  ["a header of the proxy's own", header(true), ["X-Client: 4.4.4.4", "X-Forwarded-For: 9.9.9.9"], "4.4.4.4", "127.0.0.1"],
  ["two of them are no address", header(true), ["X-Client: 4.4.4.4", "X-Client: 5.5.5.5"], "", ""],
  ["a twin with an underscore is not it", header(true), ["X_Client: 4.4.4.4"], "", ""],
  ["it must be there", header(true), [], "", ""],
  ["or need not", header(false), ["X-Client: nobody"], "127.0.0.1", "127.0.0.1"],
];
for (const [why, listener, says, client, forwarded] of clients) {
  test(`client address: ${why}`, async () => {
    const answer = await ask(listener, get("/", ...says));
    if (client === "") return assert.equal(answer.status, 403);
    assert.deepEqual([answer.status, answer.client, answer.told.headers["x-forwarded-for"]], [200, client, forwarded]);
  });
}

const manners = (own: ListenerManners): Partial<EdgeListener> => ({ manners: own });
/** The listener, the request, the status, and headers or the URL that the program got; undefined: it is not there. */
const heads: [why: string, own: ListenerManners, request: string, status: number, told: Record<string, string | undefined>][] = [
  ["a request id is new", { healthPath: "/h" }, get("/", "X-Request-Id: mine"), 200, {}],
  ["or the client's", { requestId: "keep" }, get("/", "X-Request-Id: mine"), 200, { "x-request-id": "mine" }],
  ["or the client's or none", { requestId: "given" }, get(), 200, { "x-request-id": undefined }],
  ["and never one that could be another line", { requestId: "given" }, get("/", "X-Request-Id: a b"), 200, { "x-request-id": undefined }],
  ["or none", { requestId: "none" }, get("/", "X-Request-Id: mine"), 200, { "x-request-id": undefined }],
  ["names with an underscore are refused", { underscores: "refuse" }, get("/", "X_User: a"), 400, {}],
  ["or dropped, and others stay", { underscores: "drop" }, get("/", "X_User: a", "X-Other: b"), 200, { x_user: undefined, "x-other": "b" }],
  ["headers are changed before anybody looks", { requestHeaders: { set: [{ name: "X-Set", value: "1" }], add: [{ name: "X-Add", value: "2" }], addIfAbsent: [{ name: "X-Other", value: "3" }, { name: "X-New", value: "4" }], remove: ["X-Gone"], removeMatching: [{ type: "prefix", value: "x-internal-" }] } }, get("/", "X-Set: own", "X-Add: own", "X-Other: own", "X-Gone: own", "X-Internal-User: root"), 200, { "x-set": "1", "x-add": "own, 2", "x-other": "own", "x-new": "4", "x-gone": undefined, "x-internal-user": undefined }],
  ["an encoded slash stays", { healthPath: "/h" }, get("/a%2fb"), 200, { url: "/a%2Fb" }],
  ["is refused", { escapedSlashes: "refuse" }, get("/a%5Cb"), 400, {}],
  ["is decoded", { escapedSlashes: "decode" }, get("/a%2fb//c?x=%2F"), 200, { url: "/a/b/c?x=%2F" }],
  ["and never hides dots", { escapedSlashes: "decode" }, get("/a/b%2f..%2fc"), 400, {}],
  ["nor climbs", { escapedSlashes: "decode" }, get("/a%2f..%2f..%2fetc"), 400, {}],
  ["slashes are one", { healthPath: "/h" }, get("/a//b"), 200, { url: "/a/b" }],
  ["or stay, dot segments resolved", { keepsSlashes: true }, get("/a//b/../c/./d"), 200, { url: "/a//c/d" }],
  ["HTTP/1.0 without a host gets the listener's", { defaultHost: "a.example" }, "GET / HTTP/1.0\n\n", 200, { host: "a.example" }],
  ["the health of the listener is nobody else's to answer", { healthPath: "/healthz" }, get("/healthz"), 200, { url: "" }],
];
for (const [why, own, request, status, told] of heads) {
  test(`heads: ${why}`, async () => {
    const answer = await ask(manners(own), request);
    assert.equal(answer.status, status, answer.body);
    for (const [name, value] of Object.entries(told)) assert.equal(name === "url" ? answer.told.url : answer.told.headers[name], value, name);
  });
}

test("an encoded slash is redirected, with its query; a request id that is new is not the client's", async () => {
  const answer = await ask(manners({ escapedSlashes: "redirect" }), get("/a%2Fb?x=1%2F2"));
  assert.deepEqual([answer.status, answer.header("location")], [307, "/a/b?x=1%2F2"]);
  const fresh = await ask(manners({ healthPath: "/h" }), get("/", "X-Request-Id: mine"));
  assert.match(fresh.told.headers["x-request-id"]!, /^[0-9a-f]{32}$/);
});

test("answers are changed after all that rules say of them, those that are made here as well", async () => {
  const responseHeaders = { set: [{ name: "X-Frame", value: "deny" }], addIfAbsent: [{ name: "Content-Type", value: "text/never" }, { name: "X-By", value: "wherry" }], remove: ["X-Powered-By"] };
  await using world = await startEdge(manners({ responseHeaders }), { filters: [{ type: "responseHeaders", set: [{ name: "X-Frame", value: "rule" }] }], program: (_request, response) => response.writeHead(200, { "x-powered-by": "program", "content-type": "text/plain" }).end("ok") });
  const client = await world.open();
  for (const [request, type] of [[get(), "text/plain"], ["OPTIONS * HTTP/1.1\nHost: a\n\n", "text/never"]] as const) {
    client.send(request.replaceAll("\n", "\r\n"));
    const answer = await client.answer();
    assert.deepEqual([answer.header("x-frame"), answer.header("x-by"), answer.header("x-powered-by"), answer.header("content-type")], ["deny", "wherry", undefined, type]);
  }
});

test("a policy that goes while a request runs is that request's until its end", async () => {
  let answer: (() => void) | undefined;
  const listener: EdgeListener = { id: "l", address: "127.0.0.1", port: 0, protocol: "HTTP" };
  await using world = await startEdge(manners({ responseHeaders: { set: [{ name: "X-Edge", value: "1" }] } }), { program: (_request, response) => void (answer = () => response.end("ok")) });
  const client = await world.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => answer !== undefined);
  world.edge.apply({ revision: 2, put: { listeners: [{ ...listener, port: world.port }] }, remove: {} });
  answer!();
  assert.equal((await client.answer()).header("x-edge"), "1");
  answer = undefined;
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await until(() => answer !== undefined);
  answer!();
  assert.equal((await client.answer()).header("x-edge"), undefined);
});

test("a listener whose policy is refused answers 500, whatever is asked, and says whose it is in the log alone", async () => {
  await using world = await startEdge({ refusal: "ClientTrafficPolicy p/edge: spec.http3 is not honoured here" });
  const client = await world.open();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal((await client.answer()).status, 500);
  await until(() => world.lines.length > 0);
  assert.deepEqual([world.lines[0]!["flag"], world.asked.length], ["NC", 0]);
});

test("a connection has so many requests, and a listener so many connections", async () => {
  await using world = await startEdge({ limits: { requestsMax: 2, connectionsMax: 2 } });
  const first = await world.open();
  for (const connection of [undefined, "close"]) {
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert.equal((await first.answer()).header("connection"), connection);
  }
  await first.until(() => false);
  assert.ok(first.ended);
  await until(() => world.engine.counters.connections === 0);
  const open = [await world.open(), await world.open()];
  await until(() => world.engine.counters.connections === 2);
  // It may be reset before it has begun.
  const third = await world.open().catch(() => undefined);
  await third?.until(() => false);
  open[0]!.socket.destroy();
  await until(() => world.engine.counters.connections === 1);
  const fourth = await world.open();
  fourth.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal((await fourth.answer()).status, 200, "one that left has left its place");
});

test("HTTP/2 is told its bounds, and ends after so many requests", async () => {
  await using world = await startEdge({ limits: { requestsMax: 2, streamsMax: 7, streamWindow: 70_000 } });
  const session = connectHttp2(`http://127.0.0.1:${world.port}`);
  await once(session, "remoteSettings");
  assert.deepEqual([session.remoteSettings.maxConcurrentStreams, session.remoteSettings.initialWindowSize], [7, 70_000]);
  const farewell = once(session, "goaway");
  for (let i = 0; i < 2; i++) {
    const stream = session.request({ ":path": "/", ":authority": "a" });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    assert.equal(headers[":status"], 200);
    stream.resume();
    await once(stream, "close");
  }
  await farewell;
  session.destroy();
  // One that is answered at once is answered all the same.
  await using short = await startEdge({ limits: { requestsMax: 1 }, manners: { healthPath: "/health" } });
  const last = connectHttp2(`http://127.0.0.1:${short.port}`);
  const stream = last.request({ ":path": "/health", ":authority": "a" });
  const [answer] = (await once(stream, "response")) as [Record<string, unknown>];
  assert.equal(answer[":status"], 200);
  last.destroy();
});

test("a request is received within its time, and answered within its own", async () => {
  await using slow = await startEdge({ limits: { receiveMs: 50 } });
  const client = await slow.open();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
  assert.equal((await client.answer()).status, 408);
  await using silent = await startEdge({ limits: { exchangeMs: 50 } }, { program: () => {} });
  const waiting = await silent.open();
  waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assert.equal((await waiting.answer()).status, 504);
});

const server = certificateFor(["a.example"]);
const terminate = (more: Partial<ListenerTls> = {}, own: Partial<EdgeListener> = {}): Partial<EdgeListener> => ({ protocol: "HTTPS", tls: { mode: "terminate", certificates: [{ certificate: server.cert, key: server.key }], ...more }, ...own });

/** A handshake and a request; undefined: there is no answer. */
async function askTls(listener: Partial<EdgeListener>, options: ConnectionOptions, request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"): Promise<{ status: number; body: string; protocol: string; alpn: string; cipher: string } | undefined> {
  await using world = await startEdge(listener);
  const socket = connectTls({ port: world.port, host: "127.0.0.1", servername: "a.example", ca: authority.cert, ...options });
  try {
    await once(socket, "secureConnect");
    const found = { protocol: socket.getProtocol() ?? "", alpn: socket.alpnProtocol || "", cipher: socket.getCipher().name };
    if (found.alpn === "h2") return { status: 0, body: "", ...found };
    const client = new Client(socket);
    client.send(request);
    const { status, body } = await client.answer();
    return { status, body, ...found };
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

test("TLS: versions, ciphers and protocols are the listener's", async () => {
  assert.equal((await askTls(terminate({ minVersion: "TLSv1.3" }), { maxVersion: "TLSv1.2" }))?.status, undefined);
  assert.equal((await askTls(terminate({ minVersion: "TLSv1.3" }), {}))?.protocol, "TLSv1.3");
  assert.equal((await askTls(terminate({ maxVersion: "TLSv1.2" }), {}))?.protocol, "TLSv1.2");
  const one = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
  assert.match((await askTls(terminate({ maxVersion: "TLSv1.2", ciphers: one }), {}))!.cipher, /AES256-GCM/);
  assert.equal(await askTls(terminate({ maxVersion: "TLSv1.2", ciphers: one }), { ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256" }), undefined);
  const ALPNProtocols = ["h2", "http/1.1"];
  assert.equal((await askTls(terminate(), { ALPNProtocols }))?.alpn, "h2");
  assert.equal((await askTls(terminate({ protocols: ["http/1.1"] }), { ALPNProtocols }))?.alpn, "http/1.1");
});

const ann = certificateFor(["ann.example"], { client: true });
const bob = certificateFor(["bob.example"], { client: true });
const stranger = certificateFor(["ann.example"], { client: true, authority: makeAuthority("another") });
const hashOf = ({ cert }: { cert: string }): string => createHash("sha256").update(new X509Certificate(cert).raw).digest("hex");
const keyHashOf = ({ cert }: { cert: string }): string => createHash("sha256").update(new X509Certificate(cert).publicKey.export({ type: "spki", format: "der" })).digest("base64");
const verified = { authorities: authority.cert, optional: false };
/** What is asked of a client's certificate, and who is let in: ann and bob, whom our authority knows, a stranger, and one without. */
const validations: [why: string, validation: ClientValidation, letIn: string][] = [
  ["verified", verified, "ann bob"],
  ["verified if given", { ...verified, mode: "ifGiven" }, "ann bob none"],
  ["any", { authorities: "", optional: false, mode: "any" }, "ann bob stranger"],
  ["asked for", { authorities: "", optional: true }, "ann bob stranger none"],
  ["of a name", { ...verified, names: [{ of: "DNS", type: "suffix", value: "ann.example" }] }, "ann"],
  ["of a name that is another kind's", { ...verified, names: [{ of: "URI", type: "exact", value: "ann.example" }] }, ""],
  ["of a pattern that is the whole name", { ...verified, names: [{ of: "DNS", type: "regex", value: "bob" }, { of: "DNS", type: "regex", value: "an+\\.example" }] }, "ann"],
  ["by its hash", { ...verified, certificateHashes: [hashOf(bob)] }, "bob"],
  ["by its key or the other's hash", { ...verified, certificateHashes: [hashOf(bob)], keyHashes: [keyHashOf(ann)] }, "ann bob"],
  ["any, by its hash", { authorities: "", optional: false, mode: "any", certificateHashes: [hashOf(stranger)] }, "stranger"],
  ["a name if given", { ...verified, mode: "ifGiven", names: [{ of: "DNS", type: "exact", value: "ann.example" }] }, "ann none"],
];
for (const [why, clientValidation, letIn] of validations) {
  test(`client certificates: ${why}`, async () => {
    const found: string[] = [];
    for (const [name, pair] of Object.entries({ ann, bob, stranger, none: undefined })) if ((await askTls(terminate({ clientValidation }), pair ?? {}))?.status === 200) found.push(name);
    assert.equal(found.join(" "), letIn);
  });
}

test("X-Forwarded-Client-Cert is what the listener says, and never the client's word alone", async () => {
  const forged = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Client-Cert: Hash=forged\r\n\r\n";
  const heard = async (mode: NonNullable<ListenerManners["clientCertificate"]>["mode"] | undefined, pair: ConnectionOptions) => {
    const listener = terminate({ clientValidation: { ...verified, mode: "ifGiven" } }, { manners: { ...(mode && { clientCertificate: { mode, details: ["Subject", "DNS"] } }) } });
    return (JSON.parse((await askTls(listener, pair, forged))!.body) as Told).headers["x-forwarded-client-cert"];
  };
  const own = `Hash=${hashOf(ann)};Subject="CN=ann.example";DNS=ann.example`;
  assert.equal(await heard(undefined, ann), undefined);
  assert.equal(await heard("set", ann), own);
  assert.equal(await heard("set", {}), undefined);
  assert.equal(await heard("append", ann), `Hash=forged,${own}`);
  assert.equal(await heard("forward", ann), "Hash=forged");
  assert.equal(await heard("forward", {}), undefined);
  assert.equal(await heard("always", {}), "Hash=forged");
});

test("PROXY protocol: the address that it says, before HTTP/1.1, HTTP/2 and TLS; none where it must be is no connection", async () => {
  const line = "PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n";
  const request = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
  for (const [mode, sent, from] of [["required", line + request, "198.51.100.7"], ["optional", line + request, "198.51.100.7"], ["optional", request, "127.0.0.1"], ["required", request, undefined], ["optional", "PROXY TCP4 1.1.1.1\r\n" + request, undefined], [undefined, line + request, undefined]] as const) {
    await using world = await startEdge(mode ? { proxyProtocol: mode } : {});
    const client = await world.open();
    client.send(sent);
    const answer = await client.answer().catch(() => undefined);
    assert.equal(answer?.status === 200 ? (JSON.parse(answer.body) as Told).headers["x-forwarded-for"] : undefined, from, `${mode}: ${JSON.stringify(sent)}`);
  }
  // Byte by byte, and with TLS behind it.
  await using world = await startEdge(terminate({}, { proxyProtocol: "required" }));
  const { socket } = await world.open();
  for (const character of line) socket.write(character);
  const tls = connectTls({ socket, servername: "a.example", ca: authority.cert });
  await once(tls, "secureConnect");
  const client = new Client(tls);
  client.send(request);
  assert.equal((JSON.parse((await client.answer()).body) as Told).headers["x-forwarded-for"], "198.51.100.7");
  tls.destroy();
});
