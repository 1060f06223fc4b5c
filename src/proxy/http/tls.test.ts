import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer as createHttps, request as requestHttps } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createSecureServer, type Http2ServerResponse } from "node:http2";
import { test } from "node:test";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { buffer, text } from "node:stream/consumers";
import type { Pair } from "../../apiserver/certificate.ts";
import { authority, certificateFor, makeAuthority } from "./testing/certificates.ts";
import { startGateway, startProgram, Client, until } from "./testing/gateway.ts";
import { startTls } from "./testing/tls-gateway.ts";
import { ListenerCertificates, secureUpstream } from "./tls.ts";

async function openTls(port: number, options: ConnectionOptions): Promise<{ client: Client; names: string }> {
  const socket = connectTls({ port, host: "127.0.0.1", ca: authority.cert, ALPNProtocols: ["http/1.1"], ...options });
  await once(socket, "secureConnect");
  return { client: new Client(socket), names: socket.getPeerCertificate().subjectaltname ?? "" };
}

test("TLS ends here: certificate by server name, the same engine inside, bodies whole, and a proper end", async () => {
  const large = Buffer.alloc(3_000_000, "z");
  await using program = await startProgram((request, response) => void buffer(request).then((body) => response.end(request.url === "/large" ? large : `${String(request.headers["x-forwarded-proto"])} ${body.length}`)));
  await using gateway = startGateway([program.port]);
  const settings = (pair: Pair) => new ListenerCertificates({ mode: "terminate", certificates: [{ certificate: pair.cert, key: pair.key }] });
  await using tls = startTls(gateway, new Map([["a.example", settings(certificateFor(["a.example"]))], ["b.example", settings(certificateFor(["b.example"]))]]));
  for (const name of ["a.example", "b.example"]) {
    const { client, names } = await openTls(tls.port, { servername: name });
    assert.equal(names, `DNS:${name}`);
    client.send(`GET / HTTP/1.1\r\nHost: ${name}\r\n\r\nPOST / HTTP/1.1\r\nHost: ${name}\r\nContent-Length: 300000\r\n\r\n`);
    assert.equal((await client.answer()).body, "https 0");
    client.send(Buffer.alloc(300_000));
    assert.equal((await client.answer()).body, "https 300000");
    client.send(`GET /large HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
    assert.equal((await client.answer()).body.length, large.length);
    await client.end();
    client.socket.destroy();
  }
  await assert.rejects(openTls(tls.port, { servername: "c.example" }));
  await assert.rejects(openTls(tls.port, {}), "nothing is shown to who names no server");
  await until(() => gateway.engine.counters.connections === 0);
  assert.equal(tls.failures.length, 2);
});

test("clients without a certificate of the listener's authority stay outside", async () => {
  await using program = await startProgram((_request, response) => response.end("in"));
  await using gateway = startGateway([program.port]);
  const server = certificateFor(["a.example"]);
  const certificates = new ListenerCertificates({ mode: "terminate", certificates: [{ certificate: server.cert, key: server.key }], clientValidation: { authorities: authority.cert, optional: false } });
  await using tls = startTls(gateway, new Map([["*", certificates]]), { asksForCertificate: true });
  const stranger = certificateFor(["mallory"], { client: true, authority: makeAuthority("another") });
  const friend = certificateFor(["ann"], { client: true });
  for (const [pair, body] of [[friend, "in"], [stranger, undefined], [undefined, undefined]] as const) {
    const { client } = await openTls(tls.port, { servername: "a.example", ...pair });
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    const answer = await client.answer().catch(() => undefined);
    assert.equal(answer?.body, body);
    client.socket.destroy();
  }
});

test("an upstream over TLS: its certificate must fit the policy", async () => {
  const pair = certificateFor(["backend.example"]);
  const server = createHttps({ cert: pair.cert, key: pair.key }, (request, response) => void text(request).then((body) => response.end(`secret ${body}`))).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await using gateway = startGateway([port]);
  const ask = async (tls: Parameters<typeof secureUpstream>[0]) => {
    gateway.engine.removeUpstream("shop/web/80");
    gateway.engine.putUpstream({ id: "shop/web/80", connectMs: 1_000, idleMs: 1_000, secure: secureUpstream(tls) }, gateway.policy);
    const client = await gateway.open();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    const { status, body } = await client.answer();
    return status === 200 ? body : status;
  };
  assert.equal(await ask({ serverName: "backend.example", authorities: authority.cert }), "secret hi");
  assert.equal(await ask({ serverName: "other.example", authorities: authority.cert }), 503);
  assert.equal(await ask({ serverName: "backend.example" }), 503);
  assert.equal(await ask({ serverName: "any", authorities: authority.cert, altNames: ["backend.example"] }), "secret hi");
  assert.equal(await ask({ serverName: "backend.example", authorities: authority.cert, altNames: ["other.example"] }), 503);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test("an upstream of HTTP/2 over TLS is asked for it by ALPN, and must have it", async () => {
  const pair = certificateFor(["backend.example"]);
  for (const speaksHttp2 of [true, false]) {
    const handler = (request: IncomingMessage, response: Http2ServerResponse | ServerResponse) => void text(request).then((body) => (response as ServerResponse).end(`${request.httpVersion} ${request.headers[":scheme"] as string} ${body}`));
    const server = speaksHttp2 ? createSecureServer({ cert: pair.cert, key: pair.key }, handler as never) : createHttps({ cert: pair.cert, key: pair.key }, handler);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    await using gateway = startGateway([(server.address() as { port: number }).port]);
    gateway.engine.putUpstream({ id: "shop/web/80", http2: true, connectMs: 1_000, idleMs: 1_000, secure: secureUpstream({ serverName: "backend.example", authorities: authority.cert }, "h2") }, gateway.policy);
    const client = await gateway.open();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    const { status, body } = await client.answer();
    assert.deepEqual([status, status === 200 ? body : ""], speaksHttp2 ? [200, "2.0 https hi"] : [503, ""]);
    gateway.engine.close();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("a browser's way: node:https with kept connections", async () => {
  await using program = await startProgram((request, response) => response.end(request.url));
  await using gateway = startGateway([program.port]);
  const pair = certificateFor(["*.shop.example"]);
  await using tls = startTls(gateway, new Map([["*", new ListenerCertificates({ mode: "terminate", certificates: [{ certificate: pair.cert, key: pair.key }] })]]));
  for (let i = 0; i < 3; i++) {
    const asked = requestHttps({ host: "127.0.0.1", port: tls.port, servername: "web.shop.example", ca: authority.cert, path: `/${i}`, headers: { Host: "web.shop.example" } }).end();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    assert.equal(await text(answer), `/${i}`);
  }
  const { client, names } = await openTls(tls.port, { checkServerIdentity: () => undefined });
  assert.equal(names, "DNS:*.shop.example", "shown to who names no server, too");
  client.socket.destroy();
});
