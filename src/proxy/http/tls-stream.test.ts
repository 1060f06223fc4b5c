import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { Duplex } from "node:stream";
import { test } from "node:test";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { buffer, text } from "node:stream/consumers";
import { makeCertificate, nameOf, publicKeyOf } from "../../api/x509/certificate.ts";
import { randomInt, seededRandom } from "../../base/random.ts";
import { authority, certificateFor } from "./testing/certificates.ts";
import { Client, startGateway, startProgram, until } from "./testing/gateway.ts";
import { startTls } from "./testing/tls-gateway.ts";
import { ListenerCertificates } from "./tls.ts";

/** The handle that OpenSSL has is used without Node's sockets in between: what they take care of is proved here. */
const pair = certificateFor(["a.example"]);
const large = Buffer.alloc(8_000_000, "z");

async function setUp(more: Partial<ConstructorParameters<typeof ListenerCertificates>[0]> = {}, options: Parameters<typeof startTls>[2] = {}) {
  const program = await startProgram((request, response) => void buffer(request).then((body) => response.end(request.url === "/large" ? large : `${request.url} ${body.length}`)));
  const gateway = startGateway([program.port]);
  const certificates = new ListenerCertificates({ mode: "terminate", certificates: [{ certificate: pair.cert, key: pair.key }], ...more });
  const tls = startTls(gateway, new Map([["*", certificates]]), options);
  const stop = async () => {
    await tls[Symbol.asyncDispose]();
    await gateway[Symbol.asyncDispose]();
    await program[Symbol.asyncDispose]();
  };
  const sessions: Buffer[] = [];
  const open = async (options: ConnectionOptions = {}): Promise<TLSSocket> => {
    const socket = connectTls({ port: tls.port, host: "127.0.0.1", servername: "a.example", ca: authority.cert, ...options });
    socket.on("session", (session: Buffer) => sessions.push(session));
    await once(socket, "secureConnect");
    return socket.on("error", () => {});
  };
  return { gateway, tls, open, sessions, [Symbol.asyncDispose]: stop };
}
const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: a.example\r\n${more}\r\n`;

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`${version}: requests in one piece and many, answers in order, large ones whole for a client that is slow to read`, async () => {
    await using world = await setUp();
    const client = new Client(await world.open({ minVersion: version, maxVersion: version }));
    client.send(get("/1") + get("/2") + get("/3"));
    for (const path of ["/1", "/2", "/3"]) assert.equal((await client.answer()).body, `${path} 0`);
    const bytes = Buffer.from(`POST /post HTTP/1.1\r\nHost: a.example\r\nContent-Length: 30000\r\n\r\n${"x".repeat(30_000)}`);
    for (let i = 0; i < bytes.length; i += 999) client.send(bytes.subarray(i, i + 999));
    assert.equal((await client.answer()).body, "/post 30000");
    client.socket.destroy();

    const slow = await world.open({ minVersion: version, maxVersion: version });
    slow.pause();
    slow.write(get("/large", "Connection: close\r\n"));
    // As much as fits into the kernel's buffers has come; nobody takes the rest.
    await until(() => world.gateway.engine.counters.requestsTotal > 0);
    const whole = await buffer(slow);
    assert.equal(whole.subarray(whole.indexOf("\r\n\r\n") + 4).length, large.length);
    await until(() => world.gateway.engine.counters.connections === 0);
  });

  test(`${version}: a session is taken up again, a client's certificate with it`, async () => {
    const ann = certificateFor(["ann"], { client: true });
    await using world = await setUp({ clientValidation: { authorities: authority.cert, optional: false } }, { asksForCertificate: true });
    const first = await world.open({ minVersion: version, maxVersion: version, cert: ann.cert, key: ann.key });
    first.write(get("/first", "Connection: close\r\n"));
    await text(first);
    const [session] = world.sessions;
    const second = await world.open({ minVersion: version, maxVersion: version, cert: ann.cert, key: ann.key, session });
    assert.equal(second.isSessionReused(), true);
    second.write(get("/second", "Connection: close\r\n"));
    assert.match(await text(second), /\/second 0/);
  });
}

test("a client's certificate that only says whose it is: no error of a connection that may go on without", async () => {
  const [genuine, impostor, own] = [0, 1, 2].map(() => generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey) as [KeyObject, KeyObject, KeyObject];
  const now = Date.now();
  const times = { notBefore: new Date(now - 60_000), notAfter: new Date(now + 3_600_000) };
  const issuer = { cert: makeCertificate({ ...times, subject: nameOf([["CN", "clients"]]), publicKey: publicKeyOf(genuine), isCA: true, usages: ["cert sign"] }, genuine) };
  const rogue = makeCertificate({ ...times, subject: nameOf([["CN", "ann"]]), publicKey: publicKeyOf(own), isCA: false, usages: ["client auth"] }, impostor, issuer);
  await using world = await setUp({ clientValidation: { authorities: issuer.cert, optional: true } });
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    const client = await world.open({ minVersion: version, maxVersion: version, cert: rogue, key: own.export({ type: "pkcs8", format: "pem" }) });
    client.write(get("/rogue", "Connection: close\r\n"));
    assert.match(await text(client), /\/rogue 0/);
  }
});

test("HTTP/2 by ALPN, with bodies both ways", async () => {
  await using world = await setUp();
  const session = connectHttp2(`https://127.0.0.1:${world.tls.port}`, { ca: authority.cert, servername: "a.example" });
  const asked = Array.from({ length: 20 }, async (_, i) => {
    const stream = session.request({ ":method": "POST", ":path": `/${i}`, ":authority": "a.example" });
    stream.end(Buffer.alloc(i * 10_000));
    assert.equal(await text(stream), `/${i} ${i * 10_000}`);
  });
  await Promise.all(asked);
  const stream = session.request({ ":path": "/large", ":authority": "a.example" });
  assert.equal((await buffer(stream)).length, large.length);
  session.destroy();
  await until(() => world.gateway.engine.counters.connections === 0);
});

test("a client that negotiates again is left (CVE-2011-1473)", async () => {
  await using world = await setUp({ maxVersion: "TLSv1.2" }, { bounds: { headersMs: 300 } });
  const client = await world.open();
  client.renegotiate({}, (error) => assert.ok(error));
  await new Promise((resolve) => client.on("close", resolve).resume());
  await until(() => world.gateway.engine.counters.connections === 0);
});

test("clients that leave at any moment leave nothing behind, and end nobody else's connection", async () => {
  await using world = await setUp();
  const { counters } = world.gateway.engine;
  const random = seededRandom(11);
  const steady = new Client(await world.open());
  const plain = (): Promise<void> =>
    new Promise((resolve) => {
      const socket = connect(world.tls.port, "127.0.0.1", () => socket.end(Buffer.from("160301020001000", "hex").subarray(0, randomInt(random, 8))));
      socket.on("error", () => {}).on("close", () => resolve()).resume();
    });
  /** TLS over a socket that is cut after so many bytes of the handshake or behind it. */
  const cut = (bytes: number): Promise<void> =>
    new Promise((resolve) => {
      const raw = connect(world.tls.port, "127.0.0.1");
      const relay = new Duplex({ read() {}, write: (chunk: Buffer, _encoding, done) => void raw.write(chunk, () => done()) });
      const socket = connectTls({ socket: relay, servername: "a.example", ca: authority.cert });
      socket.on("error", () => {}).on("secureConnect", () => socket.write(get("/large"))).resume();
      raw.on("data", (chunk: Buffer) => (raw.bytesRead > bytes ? raw.resetAndDestroy() : relay.push(chunk)));
      raw.on("error", () => {}).on("close", () => {
        socket.destroy();
        resolve();
      });
    });
  const garbage = async (): Promise<void> => {
    const raw = connect(world.tls.port, "127.0.0.1");
    const socket = connectTls({ socket: raw, servername: "a.example", ca: authority.cert }).on("error", () => {});
    await once(socket, "secureConnect");
    const closed = once(raw, "close");
    raw.write(Buffer.from("not a record of TLS at all"));
    raw.resume();
    await closed;
  };
  const halfClosed = async (): Promise<void> => {
    const socket = await world.open({ allowHalfOpen: true } as ConnectionOptions);
    socket.end(get("/half", "Connection: close\r\n"));
    await text(socket).catch(() => "");
  };
  for (let round = 0; round < 8; round++) {
    await Promise.all([plain(), cut(randomInt(random, 1_500)), cut(randomInt(random, 200_000)), cut(2_000_000), garbage(), halfClosed()]);
    steady.send(get(`/${round}`));
    assert.equal((await steady.answer()).body, `/${round} 0`);
  }
  steady.socket.destroy();
  await until(() => counters.connections === 0 && counters.requestsRunning === 0);
});
